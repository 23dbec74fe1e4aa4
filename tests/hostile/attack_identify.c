/* SPDX-License-Identifier: MIT
 *
 * Lies in identify (PROTOCOLS.md sections 8, 9): the node asks us who we are on every connection. Each round is one
 * connection; the verdict comes a moment after our answer. */
#include "net/addr/envelope.h"
#include "net/proto/identify.h"
#include "store/base/uvarint.h"
#include "tests/hostile/hostile.h"

#include <stdio.h>

#define FIELD_ADDR     0x12 /* listenAddrs = 2, bytes */
#define FIELD_PROTOCOL 0x1a /* protocols = 3, string */
#define FIELD_RECORD   0x42 /* signedPeerRecord = 8, bytes */

static void answer(struct hostile *h, void (*lie)(struct session *s, struct buf *out))
{
    const struct session_plan plan = {.identify = lie};
    struct session *s = session_new(h, &plan);
    if (!s) {
        hostile_note(h, GOT_REFUSED);
        return;
    }
    session_run(s, 500 * MONO_MS);
    session_verdict(s);
}

static void add_field(struct buf *m, uint8_t field, struct span value)
{
    buf_add_u8(m, field);
    buf_add_uvarint(m, value.len);
    buf_add_span(m, value);
}

static void frame(struct buf *out, struct buf *message)
{
    buf_add_uvarint(out, buf_len(message));
    buf_add_span(out, buf_span(message));
    buf_done(message);
}

static void say_other_key(struct session *s, struct buf *out)
{
    struct identity mine = s->identity, other;
    identity_new(&other, &s->h->rng);
    memcpy(s->identity.public_key, other.public_key, sizeof other.public_key);
    session_say_identify(s, out);
    s->identity = mine;
}

static void other_key(struct hostile *h)
{
    answer(h, say_other_key);
}

static void say_huge(struct session *s, struct buf *out)
{
    (void)s;
    buf_add_uvarint(out, UINT64_C(1) << 40);
    buf_add_str(out, "and so on");
}

static void huge(struct hostile *h)
{
    answer(h, say_huge);
}

static void say_cut(struct session *s, struct buf *out)
{
    session_say_identify(s, out);
    buf_truncate(out, buf_len(out) / 2);
}

static void cut(struct hostile *h)
{
    answer(h, say_cut);
}

static void say_garbage(struct session *s, struct buf *out)
{
    struct buf m = BUF_INIT;
    uint8_t *at = buf_reserve(&m, 3000);
    rng_fill(&s->h->rng, at, 3000);
    buf_commit(&m, 3000);
    frame(out, &m);
}

static void garbage(struct hostile *h)
{
    answer(h, say_garbage);
}

/* As many messages as it takes, each as long as is allowed. The 32 KiB that fit the node's patience hold thousands. */
static void say_many(struct session *s, struct buf *out, uint8_t field, bool addrs)
{
    session_say_identify(s, out);
    for (unsigned n = 0; n < 100000;) {
        struct buf m = BUF_INIT;
        for (; n < 100000 && buf_len(&m) < 8000; n++) {
            uint8_t addr[] = {4, 10, 1, (uint8_t)(n >> 8), (uint8_t)n, 6, (uint8_t)(n >> 16), 1};
            char name[24];
            int len = snprintf(name, sizeof name, "/no/%x", n);
            add_field(&m, field, addrs ? span_of(addr, sizeof addr) : span_of(name, (size_t)len));
        }
        frame(out, &m);
    }
    s->h->tally.units += 100000;
}

static void say_many_addrs(struct session *s, struct buf *out)
{
    say_many(s, out, FIELD_ADDR, true);
}

static void many_addrs(struct hostile *h)
{
    answer(h, say_many_addrs);
}

static void say_many_protocols(struct session *s, struct buf *out)
{
    say_many(s, out, FIELD_PROTOCOL, false);
}

static void many_protocols(struct hostile *h)
{
    answer(h, say_many_protocols);
}

/* A signed record of somebody else, with addresses of a third */
static void say_record(struct session *s, struct buf *out)
{
    struct identity other;
    struct multiaddr addr;
    struct buf record = BUF_INIT, m = BUF_INIT;
    identity_new(&other, &s->h->rng);
    (void)multiaddr_from_text(span_str("/ip4/10.77.0.1/tcp/4001"), &addr, NULL); /* a constant that is right */
    const struct peer_record r = {.peer = other.id, .seq = UINT64_MAX, .count = 1, .addrs = &addr};
    peer_record_seal(&other, &r, &record);
    session_say_identify(s, out);
    add_field(&m, FIELD_RECORD, buf_span(&record));
    frame(out, &m);
    buf_done(&record);
}

static void record(struct hostile *h)
{
    answer(h, say_record);
}

/* Addresses inside the node's own machine and net, that it should not be led to */
static void say_inside(struct session *s, struct buf *out)
{
    static const char *const texts[] = {"/ip4/127.0.0.1/tcp/22",     "/ip4/0.0.0.0/tcp/1",         "/ip6/::1/tcp/631",
                                        "/ip4/224.0.0.251/tcp/5353", "/ip4/255.255.255.255/tcp/9", "/ip4/10.77.0.1/tcp/4001"};
    struct buf m = BUF_INIT;
    session_say_identify(s, out);
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct multiaddr addr;
        if (multiaddr_from_text(span_str(texts[i]), &addr, NULL) == 0)
            add_field(&m, FIELD_ADDR, multiaddr_span(&addr));
    }
    frame(out, &m);
}

static void inside(struct hostile *h)
{
    answer(h, say_inside);
}

/* Push after push */
static void push_ready(struct session *s)
{
    for (unsigned i = 0; i < 100; i++) {
        uint32_t stream = session_open(s, IDENTIFY_PUSH_PROTOCOL);
        struct buf out = BUF_INIT;
        if (!stream)
            break;
        session_say_identify(s, &out);
        (void)conn_write(s->conn, stream, buf_span(&out));
        (void)conn_close_write(s->conn, stream);
        buf_done(&out);
        s->h->tally.units++;
    }
}

/* The same on one connection for a second, or until it is closed */
static void again_and_again(struct hostile *h, void (*say)(struct session *s))
{
    const struct session_plan plan = {.ready = say};
    struct session *s = session_new(h, &plan);
    if (!s) {
        hostile_note(h, GOT_REFUSED);
        return;
    }
    for (unsigned i = 0; i < 50 && !s->over && !hostile_over(h); i++) {
        session_run(s, 20 * MONO_MS);
        if (conn_is_ready(s->conn))
            say(s);
    }
    session_verdict(s);
}

static void push_flood(struct hostile *h)
{
    again_and_again(h, push_ready);
}

/* Who are you, again and again: each answer is 25 times the question */
static void ask_ready(struct session *s)
{
    for (unsigned i = 0; i < 100 && session_open(s, IDENTIFY_PROTOCOL); i++)
        s->h->tally.units++;
}

static void ask_flood(struct hostile *h)
{
    again_and_again(h, ask_ready);
}

#define DEAF_PEERS   24
#define DEAF_STREAMS 2000

/* Streams that are left open, and not read: what is the answer kept in? */
static void ask_deaf(struct hostile *h)
{
    static struct link all[DEAF_PEERS];
    unsigned count = 0;
    while (count < DEAF_PEERS && link_dial(&all[count], h) && link_secure(&all[count], h))
        count++;
    for (unsigned i = 0; i < count && !hostile_over(h); i++) {
        all[i].deaf = true;
        for (unsigned k = 0; k < DEAF_STREAMS; k++) {
            mux_open(&all[i], 2 * k + 1, IDENTIFY_PROTOCOL);
            if (!mux_flush_some(&all[i]))
                break;
            h->tally.units++;
        }
        (void)mux_flush(&all[i]);
    }
    hostile_sleep(h, h->until);
    hostile_note(h, count ? GOT_ANSWERED : GOT_REFUSED);
    while (count)
        link_end(&all[--count]);
}

static const struct attack identify_table[] = {
    {"identify-other-key", "identify", GETS_CLOSED, other_key, "a key that is not theirs"},
    {"identify-huge", "identify", GETS(GOT_RESET) | GETS_CLOSED, huge, "a message of 1 TiB is announced"},
    {"identify-cut", "identify", 0, cut, "half a message, then FIN"},
    {"identify-garbage", "identify", 0, garbage, "3,000 random bytes"},
    {"identify-many-addrs", "identify", GETS(GOT_RESET) | GETS_CLOSED, many_addrs, "100,000 addresses"},
    {"identify-many-protocols", "identify", GETS(GOT_RESET) | GETS_CLOSED, many_protocols, "100,000 protocols"},
    {"identify-record", "identify", 0, record, "somebody else's signed record"},
    {"identify-inside", "identify", 0, inside, "addresses of the node's own machine and net"},
    {"push-flood", "push-flood", 0, push_flood, "pushes as fast as they go"},
    {"identify-deaf", "identify-deaf", 0, ask_deaf, "24 peers ask on 2,000 streams each, and read nothing"},
    {"identify-flood", "identify-flood", 0, ask_flood, "the question as fast as it goes"},
};
const struct attack_table attacks_identify = {identify_table, sizeof identify_table / sizeof *identify_table};
