/* SPDX-License-Identifier: MIT
 *
 * Many peers that say they have a block and send nothing, and one that has it. */
#include "net/exchange/bitswap_codec.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define NOW0  (1000 * MONO_S)
#define STEP  (5 * MONO_MS) /* from a want to its answer */
#define LIARS 95            /* more than a session has peers */

struct crowd_peer;

struct reply {
    struct crowd_peer *to;
    struct cid cid;
    enum bitswap_want want;
};

struct crowd_peer {
    struct crowd *crowd;
    struct exchange_peer *p;
    struct exchange_stream *s;
    struct bitswap_reader heard;
    bool honest;
    unsigned sends; /* so many blocks, though it is not */
};

struct crowd {
    struct exchange *x;
    mono_ns now;
    struct crowd_peer peers[LIARS + 1];
    struct reply replies[4 * LIARS];
    unsigned reply_count, settled;
    uint8_t byte; /* of the block */
};

static void hear(struct crowd_peer *p, struct span in)
{
    struct bitswap_item it;
    while (bitswap_read(&p->heard, &in, &it) == 1)
        if (it.type == BITSWAP_WANT && !it.cancel && (p->honest || p->sends || it.want == BITSWAP_WANT_HAVE)) {
            p->sends -= p->sends && it.want != BITSWAP_WANT_HAVE;
            cr_assert_lt(p->crowd->reply_count, 4 * LIARS);
            p->crowd->replies[p->crowd->reply_count++] = (struct reply){p, it.cid, it.want};
        }
}

static void act(struct crowd *c, const struct exchange_action *a)
{
    struct span out;
    switch (a->type) {
    case EXCHANGE_LOAD:
        exchange_loaded(c->x, a->tag, ERR_MISSING, 0, NULL, c->now);
        break;
    case EXCHANGE_OPEN:
        exchange_opened(c->x, a->peer, 0, c->now);
        break;
    case EXCHANGE_READY:
        while (exchange_output(c->x, a->peer, EXCHANGE_CHUNK_MAX, &out, c->now))
            hear(a->owner, out);
        break;
    case EXCHANGE_VERIFY:
        exchange_verified(c->x, a->tag, a->block, exchange_verify_block(a->block, &a->prefix), c->now);
        break;
    case EXCHANGE_STORE:
        exchange_stored(c->x, &a->cid, 0, c->now);
        (void)block_unref(a->block);
        break;
    case EXCHANGE_SETTLE:
        c->settled++;
        (void)block_unref(a->want->block);
        break;
    default:
        break;
    }
}

static void answer(struct crowd *c, const struct reply *r)
{
    struct buf body = BUF_INIT, stream = BUF_INIT;
    if (r->want == BITSWAP_WANT_HAVE) {
        bitswap_add_presence(&body, &r->cid, true);
    } else {
        bitswap_add_block_head(&body, &r->cid, 1);
        buf_add_u8(&body, c->byte);
    }
    bitswap_add_message(&stream, buf_span(&body));
    cr_assert_eq(exchange_stream_data(c->x, r->to->s, buf_span(&stream), c->now), (int)buf_len(&stream));
    buf_done(&body);
    buf_done(&stream);
}

static void step(struct crowd *c)
{
    struct exchange_action a;
    unsigned count = c->reply_count;
    c->now += STEP;
    if (exchange_deadline(c->x) <= c->now)
        exchange_expire(c->x, c->now);
    for (unsigned i = 0; i < count; i++)
        answer(c, &c->replies[i]);
    c->reply_count = 0;
    while (exchange_next(c->x, &a))
        act(c, &a);
}

static void have(struct crowd_peer *p, const struct cid *cid)
{
    struct reply r = {p, *cid, BITSWAP_WANT_HAVE};
    answer(p->crowd, &r);
}

static void crowd_of(struct crowd *c, unsigned liars, struct budget *b)
{
    *c = (struct crowd){.now = NOW0};
    struct exchange_config config = {b, 1, 0, 0};
    c->x = exchange_new(&config, c->now);
    for (unsigned i = 0; i <= liars; i++) {
        struct crowd_peer *p = &c->peers[i];
        p->crowd = c;
        p->honest = i == liars;
        p->p = exchange_peer_added(c->x, p, EXCHANGE_CAPABLE | EXCHANGE_LAN, c->now);
        p->s = exchange_stream_opened(c->x, p->p, p);
    }
}

/* `chat`: the liars say that they have it, again and again */
static void go_on(struct crowd *c, unsigned liars, bool chat, const struct cid *cid)
{
    bool now = chat && (c->now - NOW0) / STEP % 40 == 0;
    step(c);
    for (unsigned i = 0; now && i < liars; i++)
        have(&c->peers[i], cid);
}

/* Seconds */
static double fetch(struct crowd *c, uint8_t byte, unsigned liars, bool chat, enum want_priority priority)
{
    struct cid cid;
    cid_of(&cid, CODEC_RAW, span_of(&byte, 1));
    while (c->now < NOW0 + MONO_S) /* so slow they seem to be */
        go_on(c, liars, chat, &cid);
    struct want w = {.kind = WANT_BLOCK, .priority = priority, .cid = cid, .root = cid, .deadline = MONO_NEVER};
    mono_ns begun = c->now;
    c->byte = byte;
    c->settled = 0;
    cr_assert_eq(exchange_want(c->x, &w, c->now), 0);
    while (!c->settled && c->now < begun + 600 * MONO_S)
        go_on(c, liars, chat, &cid);
    cr_assert(c->settled && w.result == 0, "each of them is waited for once, and not again and again");
    return (double)(c->now - begun) / (double)MONO_S;
}

static double fetch_among(unsigned liars, bool chat)
{
    static struct crowd c;
    struct budget *b = budget_new(BUDGET_MIN);
    crowd_of(&c, liars, b);
    double took = fetch(&c, 7, liars, chat, WANT_NOW);
    exchange_free(c.x);
    budget_free(b);
    return took;
}

Test(exchange_liars, who_has_it_is_asked_in_the_end)
{
    double took = fetch_among(LIARS, false);
    cr_assert_lt(took, 20, "%.1f s", took);
}

Test(exchange_liars, who_has_it_is_asked_beside_who_never_falls_silent)
{
    double one = fetch_among(1, true), many = fetch_among(60, true);
    cr_assert_lt(one, 5, "%.1f s", one);
    cr_assert_lt(many, 20, "%.1f s", many);
}

/* One of two delivers a block, and then says that it has the next one. The other has that. Seconds. */
static double fetch_after_delivery(enum want_priority priority)
{
    static struct crowd c;
    struct budget *b = budget_new(BUDGET_MIN);
    crowd_of(&c, 1, b);
    c.peers[0].sends = 1;
    cr_assert_lt(fetch(&c, 7, 1, true, WANT_NOW), 5);
    double took = fetch(&c, 8, 1, true, priority);
    exchange_free(c.x);
    budget_free(b);
    return took;
}

Test(exchange_liars, who_has_it_is_asked_beside_who_delivered_once)
{
    double read = fetch_after_delivery(WANT_NOW), kept = fetch_after_delivery(WANT_KEEP);
    cr_assert_lt(read, 5, "%.1f s", read);
    cr_assert_lt(kept, 15, "%.1f s", kept);
}
