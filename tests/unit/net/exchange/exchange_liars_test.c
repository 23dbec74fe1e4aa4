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
};

struct crowd {
    struct exchange *x;
    mono_ns now;
    struct crowd_peer peers[LIARS + 1];
    struct reply replies[4 * LIARS];
    unsigned reply_count, settled;
};

static void hear(struct crowd_peer *p, struct span in)
{
    struct bitswap_item it;
    while (bitswap_read(&p->heard, &in, &it) == 1)
        if (it.type == BITSWAP_WANT && !it.cancel && (p->honest || it.want == BITSWAP_WANT_HAVE)) {
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
        buf_add_u8(&body, 7);
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

Test(exchange_liars, who_has_it_is_asked_in_the_end)
{
    static struct crowd c;
    c.now = NOW0;
    struct exchange_config config = {budget_new(BUDGET_MIN), 1, 0, 0};
    c.x = exchange_new(&config, c.now);
    for (unsigned i = 0; i <= LIARS; i++) {
        struct crowd_peer *p = &c.peers[i];
        p->crowd = &c;
        p->honest = i == LIARS;
        p->p = exchange_peer_added(c.x, p, EXCHANGE_CAPABLE | EXCHANGE_LAN, c.now);
        p->s = exchange_stream_opened(c.x, p->p, p);
    }
    struct cid cid;
    cid_of(&cid, CODEC_RAW, span_of("\7", 1));
    struct want w = {.kind = WANT_BLOCK, .priority = WANT_NOW, .cid = cid, .root = cid, .deadline = MONO_NEVER};
    cr_assert_eq(exchange_want(c.x, &w, c.now), 0);
    while (!c.settled && c.now < NOW0 + 600 * MONO_S)
        step(&c);
    cr_assert(c.settled && w.result == 0, "each of them is waited for once, and not again and again");
    cr_assert_lt(c.now, NOW0 + (LIARS + 60) * MONO_S);
    exchange_free(c.x);
    budget_free(config.budget);
}
