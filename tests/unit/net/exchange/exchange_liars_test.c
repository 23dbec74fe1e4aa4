/* SPDX-License-Identifier: MIT
 *
 * Many peers that say they have a block and send nothing, and one that has it. */
#include "net/exchange/bitswap_codec.h"

#include "store/base/uvarint.h"
#include "store/block/block.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define NOW0    (1000 * MONO_S)
#define STEP    (5 * MONO_MS) /* from a want to its answer */
#define LIARS   95            /* more than a session has peers */
#define REPLIES 8192

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
    unsigned sends;     /* so many blocks, though it is not */
    bool begins, begun; /* it sends the head of a block, and no more; it has */
    struct buf rest;    /* not taken yet */
};

struct crowd {
    struct exchange *x;
    mono_ns now;
    struct crowd_peer peers[LIARS + 1];
    struct reply replies[REPLIES];
    unsigned reply_count, settled;
    uint8_t byte; /* of the block */
    size_t len;   /* of blocks that are many; 0: it is a byte */
    struct cid cids[LIARS];
};

static void hear(struct crowd_peer *p, struct span in)
{
    struct bitswap_item it;
    while (bitswap_read(&p->heard, &in, &it) == 1)
        if (it.type == BITSWAP_WANT && !it.cancel && (p->honest || p->sends || p->begins || it.want == BITSWAP_WANT_HAVE)) {
            p->sends -= p->sends && it.want != BITSWAP_WANT_HAVE;
            cr_assert_lt(p->crowd->reply_count, REPLIES);
            p->crowd->replies[p->crowd->reply_count++] = (struct reply){p, it.cid, it.want};
        }
}

static void go(struct crowd_peer *p)
{
    int n = 1;
    while (n > 0 && buf_len(&p->rest)) {
        n = exchange_stream_data(p->crowd->x, p->s, buf_span(&p->rest), p->crowd->now);
        cr_assert_geq(n, 0);
        buf_consume(&p->rest, (size_t)n);
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
    case EXCHANGE_RESUME:
        go(a->owner);
        break;
    case EXCHANGE_DROP:
        ((struct crowd_peer *)a->owner)->s = NULL;
        exchange_peer_removed(c->x, a->peer, c->now);
        break;
    case EXCHANGE_SETTLE:
        c->settled++;
        (void)block_unref(a->want->block);
        break;
    default:
        break;
    }
}

static void begin_block(struct crowd *c, const struct reply *r);

/* What is not taken waits for EXCHANGE_RESUME */
static void say(struct crowd_peer *p, struct span bytes)
{
    buf_add_span(&p->rest, bytes);
    go(p);
}

static void answer(struct crowd *c, const struct reply *r)
{
    struct buf body = BUF_INIT, stream = BUF_INIT;
    if (!r->to->s)
        return;
    if (r->want != BITSWAP_WANT_HAVE && r->to->begins) {
        if (!r->to->begun)
            begin_block(c, r);
        return;
    }
    if (r->want == BITSWAP_WANT_HAVE) {
        bitswap_add_presence(&body, &r->cid, true);
    } else {
        uint8_t which = c->byte;
        for (unsigned i = 0; c->len && i < LIARS; i++)
            if (cid_same_block(&c->cids[i], &r->cid))
                which = (uint8_t)i;
        bitswap_add_block_head(&body, &r->cid, c->len ? (uint32_t)c->len : 1);
        for (size_t i = 0; i < (c->len ? c->len : 1); i++)
            buf_add_u8(&body, which);
    }
    bitswap_add_message(&stream, buf_span(&body));
    say(r->to, buf_span(&stream));
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

static void crowd_done(struct crowd *c, unsigned liars, struct budget *b)
{
    for (unsigned i = 0; i <= liars; i++)
        buf_done(&c->peers[i].rest);
    exchange_free(c->x);
    budget_free(b);
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
    crowd_done(&c, liars, b);
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
    crowd_done(&c, 1, b);
    return took;
}

Test(exchange_liars, who_has_it_is_asked_beside_who_delivered_once)
{
    double read = fetch_after_delivery(WANT_NOW), kept = fetch_after_delivery(WANT_KEEP);
    cr_assert_lt(read, 5, "%.1f s", read);
    cr_assert_lt(kept, 15, "%.1f s", kept);
}

/* ---- blocks that begin and never end ---- */

static void drip(struct crowd_peer *p)
{
    static const uint8_t byte = 0;
    (void)exchange_stream_data(p->crowd->x, p->s, span_of(&byte, 1), p->crowd->now); /* < 0: it is to be dropped */
}

static void begin_block(struct crowd *c, const struct reply *r)
{
    struct buf head = BUF_INIT, stream = BUF_INIT;
    bitswap_add_block_head(&head, &r->cid, BLOCK_MAX);
    buf_add_uvarint(&stream, buf_len(&head) + BLOCK_MAX);
    buf_add_span(&stream, buf_span(&head));
    int n = exchange_stream_data(c->x, r->to->s, buf_span(&stream), c->now);
    r->to->begun = n > 0;
    buf_done(&head);
    buf_done(&stream);
}

Test(exchange_liars, blocks_that_do_not_grow_hold_up_nobody)
{
    enum { COUNT = 60, LEN = 300000 };
    static struct crowd c;
    static struct want w[COUNT];
    struct budget *b = budget_new(BUDGET_MIN);
    crowd_of(&c, COUNT, b);
    c.len = LEN;
    for (unsigned i = 0; i < COUNT; i++)
        c.peers[i].begins = true;
    uint8_t *data = mem_new(LEN);
    struct cid cid;
    for (unsigned i = 0; i < COUNT; i++) {
        memset(data, (int)i, LEN);
        cid_of(&cid, CODEC_RAW, span_of(data, LEN));
        w[i] = (struct want){.kind = WANT_BLOCK, .priority = WANT_AHEAD, .cid = cid, .root = cid, .deadline = MONO_NEVER};
        c.cids[i] = cid;
        w[i].root = w[0].cid;
        cr_assert_eq(exchange_want(c.x, &w[i], c.now), 0);
    }
    for (unsigned n = 0; c.settled < COUNT && c.now < NOW0 + 600 * MONO_S; n++) {
        step(&c);
        for (unsigned i = 0; n % 100 == 0 && i < COUNT; i++)
            if (c.peers[i].begun && c.peers[i].s)
                drip(&c.peers[i]);
    }
    cr_assert_eq(c.settled, COUNT, "%u", c.settled);
    cr_assert_lt(c.now, NOW0 + 60 * MONO_S, "%.1f s", (double)(c.now - NOW0) / (double)MONO_S);
    free(data);
    crowd_done(&c, COUNT, b);
}
