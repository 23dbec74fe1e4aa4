/* SPDX-License-Identifier: MIT
 *
 * Peers that the node asks for blocks, and who lie: the node is one that fetches, and has an honest peer too. */
#include "net/exchange/bitswap_codec.h"
#include "store/base/uvarint.h"
#include "store/block/block.h"
#include "tests/hostile/hostile.h"

#include <stdlib.h>

#define DRIP_EVERY (100 * MONO_MS)
#define LIARS      4
#define OUT_MOST   ((size_t)8 << 20)

enum lie { LIE_HAVE, LIE_WRONG, LIE_STALL, LIE_DRIP, LIE_DONT_HAVE, LIE_ANEW };

struct liar {
    enum lie lie;
    struct bitswap_reader in;
    uint32_t in_stream; /* whose bytes `in` reads */
    uint32_t out_stream;
    bool begun; /* a block: nothing else may follow in its stream */
    mono_ns dripped;
    struct buf out;
};

static void wrong_block(struct session *s, struct liar *l, const struct cid *cid, uint32_t size, uint32_t given)
{
    struct buf m = BUF_INIT;
    uint8_t *data = mem_new(given);
    rng_fill(&s->h->rng, data, given < 64 ? given : 64);
    bitswap_add_block_head(&m, cid, size);
    buf_add(&m, data, given);
    buf_add_uvarint(&l->out, buf_len(&m) + (size - given));
    buf_add_span(&l->out, buf_span(&m));
    free(data);
    buf_done(&m);
}

static void on_want(struct session *s, struct liar *l, const struct bitswap_item *it)
{
    if (it->cancel || l->begun || buf_len(&l->out) > OUT_MOST)
        return;
    s->h->tally.units++;
    if (it->want == BITSWAP_WANT_BLOCK && (l->lie == LIE_WRONG || l->lie == LIE_ANEW)) {
        wrong_block(s, l, &it->cid, 1u << 20, 1u << 20);
        l->begun = l->lie == LIE_ANEW;
        return;
    }
    if (it->want == BITSWAP_WANT_BLOCK && (l->lie == LIE_STALL || l->lie == LIE_DRIP)) {
        wrong_block(s, l, &it->cid, 1u << 20, 1000); /* the rest of it never comes, or slowly */
        l->begun = true;
        return;
    }
    if (it->want == BITSWAP_WANT_BLOCK && l->lie == LIE_HAVE)
        return;
    struct buf m = BUF_INIT;
    bitswap_add_presence(&m, &it->cid, l->lie != LIE_DONT_HAVE);
    bitswap_add_message(&l->out, buf_span(&m));
    buf_done(&m);
}

static void on_data(struct session *s, struct liar *l, struct span in)
{
    struct bitswap_item it;
    while (bitswap_read(&l->in, &in, &it) > 0) {
        if (it.type == BITSWAP_BEGIN)
            bitswap_accept(&l->in, NULL);
        else if (it.type == BITSWAP_WANT)
            on_want(s, l, &it);
    }
}

static void liar_event(struct session *s, const struct conn_event *ev)
{
    struct liar *l = s->arg;
    if (ev->type == CONN_STREAM && ev->protocol == 1) { /* bitswap */
        bitswap_reader_done(&l->in);
        bitswap_reader_init(&l->in);
        l->in_stream = ev->stream;
    }
    if (ev->type == CONN_DATA && ev->stream == l->in_stream)
        on_data(s, l, ev->data);
    if ((ev->type == CONN_RESET || ev->type == CONN_STREAM_CLOSED) && ev->stream == l->out_stream)
        l->out_stream = 0;
}

static void liar_pump(struct session *s)
{
    struct liar *l = s->arg;
    mono_ns now = mono_now();
    if (l->begun && l->lie == LIE_DRIP && now >= l->dripped + DRIP_EVERY) {
        buf_add_u8(&l->out, 0);
        l->dripped = now;
    }
    if (s->over || buf_len(&l->out) == 0)
        return;
    if (!l->out_stream)
        l->out_stream = session_open(s, EXCHANGE_PROTOCOL);
    int n = l->out_stream ? conn_write(s->conn, l->out_stream, buf_span(&l->out)) : 0;
    if (n > 0)
        buf_consume(&l->out, (size_t)n);
}

static struct session *liar_new(struct hostile *h, struct liar *l)
{
    static const struct session_plan plan = {.event = liar_event};
    struct session *s = session_new(h, &plan);
    if (!s) {
        hostile_note(h, GOT_REFUSED);
        return NULL;
    }
    bitswap_reader_init(&l->in);
    s->arg = l;
    h->tally.open_most++;
    return s;
}

/* One lie each, and all of it was taken: comes again as somebody else */
static bool has_lied(const struct session *s)
{
    const struct liar *l = s->arg;
    return l->lie == LIE_ANEW && l->begun && buf_len(&l->out) == 0 && buf_len(&s->out) == 0;
}

static void liars(struct hostile *h, enum lie lie)
{
    struct session *all[LIARS] = {0};
    struct liar states[LIARS] = {0};
    while (!hostile_over(h)) {
        for (unsigned i = 0; i < LIARS; i++) {
            if (all[i] && !all[i]->over) {
                liar_pump(all[i]);
                if (!has_lied(all[i]))
                    continue;
            }
            if (all[i])
                session_verdict(all[i]); /* thrown out: comes again as somebody else */
            bitswap_reader_done(&states[i].in);
            buf_done(&states[i].out);
            states[i] = (struct liar){.lie = lie};
            all[i] = liar_new(h, &states[i]);
        }
        session_turn(all, LIARS, 10 * MONO_MS);
    }
    for (unsigned i = 0; i < LIARS; i++) {
        if (all[i])
            session_verdict(all[i]);
        bitswap_reader_done(&states[i].in);
        buf_done(&states[i].out);
    }
}

static void have_all(struct hostile *h)
{
    liars(h, LIE_HAVE);
}

static void wrong(struct hostile *h)
{
    liars(h, LIE_WRONG);
}

static void stall(struct hostile *h)
{
    liars(h, LIE_STALL);
}

static void drip(struct hostile *h)
{
    liars(h, LIE_DRIP);
}

static void dont_have(struct hostile *h)
{
    liars(h, LIE_DONT_HAVE);
}

static void anew(struct hostile *h)
{
    liars(h, LIE_ANEW);
}

static const struct attack liar_table[] = {
    {"liar-have", "liar-have", 0, have_all, "4 peers say HAVE to everything and send nothing"},
    {"liar-wrong", "liar-wrong", 0, wrong, "4 peers answer each want with other bytes"},
    {"liar-stall", "liar-stall", 0, stall, "4 peers begin the first block and stop"},
    {"liar-drip", "liar-drip", 0, drip, "4 peers begin the first block and go on a byte at a time"},
    {"liar-dont-have", "liar-dont-have", 0, dont_have, "4 peers have nothing, at length"},
    {"liar-anew", "liar-anew", 0, anew, "4 peers answer one want with other bytes, and come again as somebody else"},
};
const struct attack_table attacks_liar = {liar_table, sizeof liar_table / sizeof *liar_table};
