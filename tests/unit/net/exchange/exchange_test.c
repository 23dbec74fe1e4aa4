/* SPDX-License-Identifier: MIT
 *
 * One exchange and a peer that says whatever we like, byte by byte: the duties of a server, and what a hostile peer cannot do.
 * Transfers between real exchanges are in tests/sim/exchange_net_test.c. */
#include "net/exchange/bitswap_codec.h"
#include "store/base/tokens.h"

#include "store/base/uvarint.h"
#include "store/codec/dagpb.h"
#include "tests/lib/short_memory.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>

#define NOW0 (1000 * MONO_S)

struct lone {
    struct exchange *x;
    struct budget *budget;
    struct exchange_peer *p;
    struct exchange_stream *s;
    mono_ns now;
    struct block *held[8]; /* our store */
    unsigned held_count;
    struct buf sent; /* what the peer got */
    unsigned opens, closes, drops, settled, stored, loads, resumes, seeks, silent;
    int drop_err;
    struct want *last;
    bool hold_output;
    bool shut; /* our store is being opened again */
    bool slow; /* it takes blocks, and says later that it has them */
    bool late; /* it answers no read until read_late: */
    uint64_t reading[8];
    unsigned reading_count;
};

static void act(struct lone *l, struct exchange_action *a)
{
    struct block *b = NULL;
    struct span out;
    switch (a->type) {
    case EXCHANGE_SETTLE:
        l->settled++;
        l->last = a->want;
        break;
    case EXCHANGE_DROP:
        l->drops++;
        l->drop_err = a->result;
        break;
    case EXCHANGE_VERIFY: {
        int r = exchange_verify_block(a->block, &a->prefix);
        exchange_verified(l->x, a->tag, a->block, r, l->now);
        break;
    }
    case EXCHANGE_STORE:
        l->stored++;
        if (!l->slow)
            exchange_stored(l->x, &a->cid, 0, l->now);
        (void)block_unref(a->block);
        break;
    case EXCHANGE_LOAD:
        l->loads++;
        if (l->late) {
            l->reading[l->reading_count++] = a->tag;
            break;
        }
        if (l->shut) {
            exchange_loaded(l->x, a->tag, ERR_AGAIN, 0, NULL, l->now);
            break;
        }
        for (unsigned i = 0; i < l->held_count; i++)
            if (cid_same_block(&l->held[i]->cid, &a->cid))
                b = l->held[i];
        exchange_loaded(l->x, a->tag, b ? 0 : ERR_MISSING, b ? b->len : 0, b && b->len <= a->most ? block_ref(b) : NULL,
                        l->now);
        break;
    case EXCHANGE_OPEN:
        l->opens++;
        exchange_opened(l->x, a->peer, 0, l->now);
        break;
    case EXCHANGE_READY:
        while (!l->hold_output) {
            size_t n = exchange_output(l->x, a->peer, 1000, &out, l->now);
            if (!n)
                break;
            buf_add_span(&l->sent, out);
        }
        break;
    case EXCHANGE_CLOSE:
        l->closes++;
        break;
    case EXCHANGE_RESUME:
        l->resumes++;
        break;
    case EXCHANGE_SEEK:
        l->seeks++;
        break;
    case EXCHANGE_SILENT:
        l->silent++;
        break;
    case EXCHANGE_NONE:
        break;
    }
}

static void pump(struct lone *l)
{
    struct exchange_action a;
    while (exchange_next(l->x, &a))
        act(l, &a);
}

static void setup_with(struct lone *l, unsigned flags, uint64_t budget)
{
    *l = (struct lone){.now = NOW0};
    l->budget = budget_new(budget);
    struct exchange_config c = {l->budget, 1, 0, 0};
    l->x = exchange_new(&c, l->now);
    l->p = exchange_peer_added(l->x, l, flags, l->now);
    l->s = exchange_stream_opened(l->x, l->p, l);
}

static void setup(struct lone *l, unsigned flags)
{
    setup_with(l, flags, BUDGET_MIN);
}

static void teardown(struct lone *l)
{
    l->x = exchange_free(l->x);
    buf_done(&l->sent);
    for (unsigned i = 0; i < l->held_count; i++)
        (void)block_unref(l->held[i]);
    cr_assert_eq(budget_used(l->budget), 0, "%u bytes of the budget were kept", (unsigned)budget_used(l->budget));
    budget_free(l->budget);
}

static struct cid hold(struct lone *l, struct span data)
{
    struct cid cid;
    cid_of(&cid, CODEC_RAW, data);
    l->held[l->held_count++] = block_from(NULL, BUDGET_NET, &cid, data);
    return cid;
}

static struct cid cid_number(unsigned i)
{
    struct cid cid;
    cid_of(&cid, CODEC_RAW, span_of(&i, sizeof i));
    return cid;
}

static int tell(struct lone *l, struct span message)
{
    struct buf stream = BUF_INIT;
    bitswap_add_message(&stream, message);
    int r = exchange_stream_data(l->x, l->s, buf_span(&stream), l->now);
    buf_done(&stream);
    return r;
}

static int say(struct lone *l, struct span message)
{
    int r = tell(l, message);
    pump(l);
    return r;
}

static void say_wants(struct lone *l, const struct bitswap_entry *e, unsigned count, bool full)
{
    struct buf list = BUF_INIT, body = BUF_INIT;
    for (unsigned i = 0; i < count; i++)
        bitswap_add_entry(&list, &e[i]);
    bitswap_add_wantlist(&body, buf_span(&list), full);
    cr_assert_gt(say(l, buf_span(&body)), 0);
    buf_done(&list);
    buf_done(&body);
}

static int say_block(struct lone *l, const struct cid *cid, struct span data)
{
    struct buf body = BUF_INIT;
    bitswap_add_block_head(&body, cid, (uint32_t)data.len);
    buf_add_span(&body, data);
    int r = say(l, buf_span(&body));
    buf_done(&body);
    return r;
}

struct heard {
    unsigned wants, blocks, haves, dont_haves, cancels, fulls, messages;
    struct cid last;
    enum bitswap_want last_want;
    uint64_t bytes;
};

/* What the peer got since the last time. */
static struct heard hear(struct lone *l)
{
    struct heard h = {0};
    struct bitswap_reader r;
    bitswap_reader_init(&r);
    struct span in = buf_span(&l->sent);
    struct bitswap_item it;
    int err;
    while ((err = bitswap_read(&r, &in, &it)) == 1) {
        switch (it.type) {
        case BITSWAP_WANT:
            h.wants += !it.cancel;
            h.cancels += it.cancel;
            h.last = it.cid;
            h.last_want = it.want;
            break;
        case BITSWAP_PRESENCE:
            h.haves += it.have;
            h.dont_haves += !it.have;
            h.last = it.cid;
            break;
        case BITSWAP_BEGIN:
            bitswap_accept(&r, block_new(NULL, BUDGET_NET, it.size));
            break;
        case BITSWAP_BLOCK:
            cr_assert_eq(exchange_verify_block(it.block, &it.prefix), 0);
            h.last = it.block->cid;
            h.blocks++;
            h.bytes += it.size;
            (void)block_unref(it.block);
            break;
        case BITSWAP_END:
            h.fulls += it.full;
            h.messages++;
            break;
        }
    }
    cr_assert_eq(err, 0);
    cr_assert(!bitswap_partial(&r), "messages end where a turn ends");
    bitswap_reader_done(&r);
    buf_clear(&l->sent);
    return h;
}

/* ---- server ---- */

Test(exchange, server_duties)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid small = hold(&l, span_str("small")), none = cid_number(1), v0;
    static const uint8_t zeros[5000];
    struct cid big = hold(&l, span_of(zeros, sizeof zeros));
    say_wants(&l, &(struct bitswap_entry){&small, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    struct heard h = hear(&l);
    cr_assert(h.blocks == 1 && cid_eq(&h.last, &small));
    cr_assert_eq(l.opens, 1, "answers go on a stream of ours");
    say_wants(&l, &(struct bitswap_entry){&small, 1, BITSWAP_WANT_HAVE, false, true}, 1, false);
    h = hear(&l);
    cr_assert(h.blocks == 1 && h.haves == 0, "a small block is its own Have");
    say_wants(&l, &(struct bitswap_entry){&big, 1, BITSWAP_WANT_HAVE, false, true}, 1, false);
    h = hear(&l);
    cr_assert(h.blocks == 0 && h.haves == 1 && cid_eq(&h.last, &big));
    say_wants(&l, &(struct bitswap_entry){&none, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    h = hear(&l);
    cr_assert(h.dont_haves == 1 && cid_eq(&h.last, &none), "DontHave at once");
    say_wants(&l, &(struct bitswap_entry){&none, 1, BITSWAP_WANT_HAVE, false, false}, 1, false);
    cr_assert_eq(hear(&l).messages, 0, "silence when it did not ask for DontHave");
    cr_assert_eq(cid_from_hash(&v0, 0, CODEC_DAG_PB, cid_hash(&big)), 0);
    say_wants(&l, &(struct bitswap_entry){&v0, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    h = hear(&l);
    cr_assert(h.blocks == 1 && cid_eq(&h.last, &v0), "answered with the version and codec that were asked for");
    cr_assert_eq(l.opens, 1, "one stream while messages flow");
    l.now += 2 * MONO_S;
    exchange_expire(l.x, l.now);
    pump(&l);
    cr_assert_eq(l.closes, 1, "and its end when they stop");
    teardown(&l);
}

Test(exchange, unmet_wants_cancel_and_full)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a = cid_number(1), b = cid_number(2), c = cid_number(3);
    struct bitswap_entry e[] = {{&a, 1, BITSWAP_WANT_BLOCK, false, true},
                                {&b, 1, BITSWAP_WANT_HAVE, false, true},
                                {&c, 1, BITSWAP_WANT_BLOCK, false, false}};
    say_wants(&l, e, 3, false);
    cr_assert_eq(hear(&l).dont_haves, 2);
    e[2].cancel = true;
    say_wants(&l, &e[2], 1, false);
    unsigned one = 1, two = 2, three = 3;
    hold(&l, span_of(&one, sizeof one));
    hold(&l, span_of(&two, sizeof two));
    hold(&l, span_of(&three, sizeof three));
    exchange_have_block(l.x, &a, l.now);
    exchange_have_block(l.x, &b, l.now);
    exchange_have_block(l.x, &c, l.now);
    pump(&l);
    cr_assert_eq(hear(&l).blocks, 2, "served when they appear; the cancelled one is not");
    l.held_count = 0; /* the leftovers are freed below */
    struct cid many[10];
    struct bitswap_entry w[10];
    for (unsigned i = 0; i < 10; i++) {
        many[i] = cid_number(100 + i);
        w[i] = (struct bitswap_entry){&many[i], 1, BITSWAP_WANT_BLOCK, false, true};
    }
    say_wants(&l, w, 10, false);
    struct exchange_ledger g;
    exchange_ledger(l.x, l.p, &g);
    cr_assert_eq(g.their_wants, 10);
    say_wants(&l, &w[4], 2, true);
    exchange_ledger(l.x, l.p, &g);
    cr_assert_eq(g.their_wants, 2, "a full list replaces");
    say_wants(&l, NULL, 0, true);
    exchange_ledger(l.x, l.p, &g);
    cr_assert_eq(g.their_wants, 0);
    for (unsigned i = 0; i < 3; i++)
        (void)block_unref(l.held[i]);
    teardown(&l);
}

/* A block that appears after DontHave: who asked has asked another meanwhile, so it is offered first. */
static struct cid denied_then_held(struct lone *l, uint8_t fill)
{
    uint8_t data[5000];
    struct cid cid;
    memset(data, fill, sizeof data);
    cid_of(&cid, CODEC_RAW, span_of(data, sizeof data));
    say_wants(l, &(struct bitswap_entry){&cid, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    cr_assert_eq(hear(l).dont_haves, 1);
    hold(l, span_of(data, sizeof data));
    exchange_have_block(l->x, &cid, l->now);
    pump(l);
    struct heard h = hear(l);
    cr_assert(h.blocks == 0 && h.haves == 1 && cid_eq(&h.last, &cid), "offered, not sent");
    return cid;
}

static void later(struct lone *l, mono_ns time)
{
    l->now += time;
    exchange_expire(l->x, l->now);
    pump(l);
}

Test(exchange, a_block_that_was_denied_is_offered)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid again = denied_then_held(&l, 1);
    say_wants(&l, &(struct bitswap_entry){&again, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    cr_assert_eq(hear(&l).blocks, 1, "it still wants it");
    struct cid other = denied_then_held(&l, 2);
    say_wants(&l, &(struct bitswap_entry){&other, 1, BITSWAP_WANT_HAVE, false, false}, 1, false);
    cr_assert_eq(hear(&l).blocks, 0, "it gets it from somebody else");
    struct cid cancelled = denied_then_held(&l, 3);
    say_wants(&l, &(struct bitswap_entry){&cancelled, 0, BITSWAP_WANT_BLOCK, true, false}, 1, false);
    later(&l, MONO_S);
    cr_assert_eq(hear(&l).blocks, 0);
    struct cid waits = denied_then_held(&l, 4);
    later(&l, 400 * MONO_MS);
    cr_assert_eq(hear(&l).blocks, 0);
    later(&l, 200 * MONO_MS);
    struct heard h = hear(&l);
    cr_assert(h.blocks == 1 && cid_eq(&h.last, &waits), "some wait for the block alone");
    struct exchange_ledger g;
    exchange_ledger(l.x, l.p, &g);
    cr_assert_eq(g.their_wants, 0);
    teardown(&l);
}

Test(exchange, refused_and_incapable_peers)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE | EXCHANGE_REFUSED);
    struct cid a = hold(&l, span_str("mine"));
    say_wants(&l, &(struct bitswap_entry){&a, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    struct heard h = hear(&l);
    cr_assert(h.blocks == 0 && h.dont_haves == 1);
    exchange_peer_flags(l.x, l.p, 0, l.now); /* no bitswap protocol: nothing is sent */
    say_wants(&l, &(struct bitswap_entry){&a, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    cr_assert_eq(hear(&l).messages, 0);
    exchange_peer_flags(l.x, l.p, EXCHANGE_CAPABLE, l.now); /* identify came late */
    pump(&l);
    cr_assert_eq(hear(&l).blocks, 1);
    teardown(&l);
}

Test(exchange, want_flood_is_bounded)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    for (unsigned i = 0; i < 5000; i++) {
        struct cid c = cid_number(i);
        say_wants(&l, &(struct bitswap_entry){&c, (int)i, BITSWAP_WANT_BLOCK, false, false}, 1, false);
    }
    struct exchange_ledger g;
    exchange_ledger(l.x, l.p, &g);
    cr_assert_eq(g.their_wants, EXCHANGE_PEER_WANTS_MAX);
    cr_assert_lt(budget_peak(l.budget), 1u << 20);
    struct cid last = cid_number(4999), first = cid_number(0);
    unsigned n = 4999, zero = 0;
    hold(&l, span_of(&n, sizeof n));
    hold(&l, span_of(&zero, sizeof zero));
    exchange_have_block(l.x, &last, l.now);
    exchange_have_block(l.x, &first, l.now);
    pump(&l);
    cr_assert_eq(hear(&l).blocks, 1, "the oldest gave way");
    teardown(&l);
}

/* A peer that asks for everything and reads nothing costs a bounded number of blocks. */
/* Others hold all that tables may have, and go on to. */
Test(exchange, a_few_wants_are_taken_without_memory_for_tables)
{
    enum { WANTS = 20, SURE = 16 };
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    size_t taken = 0;
    for (size_t piece = 1 << 20; piece; piece /= 2)
        for (; budget_take(l.budget, BUDGET_TABLE, piece); taken += piece)
            ;
    struct cid cid[WANTS];
    struct bitswap_entry e[WANTS];
    for (unsigned i = 0; i < WANTS; i++) {
        cid[i] = cid_number(i);
        e[i] = (struct bitswap_entry){&cid[i], 1, BITSWAP_WANT_BLOCK, false, true};
    }
    say_wants(&l, e, WANTS, false);
    cr_assert_eq(hear(&l).dont_haves, SURE);
    unsigned last = SURE - 1;
    hold(&l, span_of(&last, sizeof last));
    exchange_have_block(l.x, &cid[last], l.now);
    pump(&l);
    cr_assert_eq(hear(&l).blocks, 1);
    budget_give(l.budget, BUDGET_TABLE, taken);
    teardown(&l);
}

/* What peers want and we lack is kept as long as they are here, and there may be many of them. */
Test(exchange, wants_of_many_leave_memory_for_tables)
{
    enum { PEERS = 60, WANTS = 256, TURNS = 4 };
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid cid[WANTS];
    struct bitswap_entry e[WANTS];
    for (unsigned n = 0; n < PEERS * TURNS; n++) {
        if (n % TURNS == 0)
            l.s = exchange_stream_opened(l.x, exchange_peer_added(l.x, &l, EXCHANGE_CAPABLE, l.now), &l);
        for (unsigned i = 0; i < WANTS; i++) {
            cid[i] = cid_number(n * WANTS + i);
            e[i] = (struct bitswap_entry){&cid[i], 1, BITSWAP_WANT_BLOCK, false, false};
        }
        l.now += MONO_S;
        exchange_expire(l.x, l.now);
        say_wants(&l, e, WANTS, false);
        buf_clear(&l.sent);
    }
    struct exchange_stats s;
    exchange_stats(l.x, &s);
    cr_assert_leq(budget_class_used(l.budget, BUDGET_TABLE), BUDGET_MIN / 3);
    cr_assert_gt(s.total.their_wants, PEERS * 100, "%u", s.total.their_wants);
    struct want keep = {.kind = WANT_BLOCK, .priority = WANT_KEEP, .cid = cid[0], .root = cid[0], .deadline = MONO_NEVER};
    cr_assert_eq(exchange_want(l.x, &keep, l.now), 0);
    exchange_cancel(l.x, &keep, l.now);
    pump(&l);
    teardown(&l);
}

/* One block by many CIDs: whoever asks for it next has all of them looked at. */
Test(exchange, wants_for_one_block_are_bounded)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    const struct cid block = hold(&l, span_str("small"));
    struct cid cid[1000];
    struct bitswap_entry e[1000];
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert_eq(cid_from_hash(&cid[i], 1, 0x300000 + i, cid_hash(&block)), 0);
        e[i] = (struct bitswap_entry){&cid[i], 1, BITSWAP_WANT_BLOCK, false, true};
    }
    say_wants(&l, e, 1000, false);
    struct heard h = hear(&l);
    cr_assert_eq(h.blocks, 4, "%u", h.blocks);
    cr_assert_eq(cid_codec(&h.last), 0x300000 + 999);
    teardown(&l);
}

Test(exchange, who_names_too_much_waits)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct buf list = BUF_INIT, body = BUF_INIT, stream = BUF_INIT;
    for (unsigned i = 0; i < 500; i++) {
        struct cid c = cid_number(i);
        bitswap_add_entry(&list, &(struct bitswap_entry){&c, 1, BITSWAP_WANT_BLOCK, false, false});
    }
    bitswap_add_wantlist(&body, buf_span(&list), true);
    bitswap_add_message(&stream, buf_span(&body));
    struct exchange_ledger g = {0};
    mono_ns start = l.now;
    for (unsigned messages = 0; messages < 1000;) { /* as fast as they are taken */
        int n = exchange_stream_data(l.x, l.s, buf_span(&stream), l.now);
        cr_assert(n == 0 || (size_t)n == buf_len(&stream));
        pump(&l);
        if (n) {
            messages++;
            continue;
        }
        exchange_ledger(l.x, l.p, &g);
        uint64_t may = (uint64_t)(l.now - start) * EXCHANGE_ITEMS_RATE / MONO_S + TOKENS_BURST_MIN + 1000;
        cr_assert_leq(g.wants_received, may, "%u wants were looked at, %u may be", (unsigned)g.wants_received, (unsigned)may);
        unsigned resumes = l.resumes;
        cr_assert_lt(exchange_deadline(l.x), l.now + MONO_S);
        l.now = exchange_deadline(l.x);
        exchange_expire(l.x, l.now);
        pump(&l);
        cr_assert(l.resumes > resumes || l.now < start + MONO_S, "it goes on");
    }
    cr_assert_gt(l.now - start, 9 * MONO_S, "500,000 wants take ten seconds, less the first burst");
    cr_assert_lt(l.now - start, 11 * MONO_S);
    buf_done(&list);
    buf_done(&body);
    buf_done(&stream);
    teardown(&l);
}

Test(exchange, reader_that_does_not_read)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    l.hold_output = true;
    uint8_t *data = calloc(1, 1u << 20);
    struct cid c[8];
    struct bitswap_entry e[8];
    for (unsigned i = 0; i < 8; i++) {
        data[0] = (uint8_t)i;
        c[i] = hold(&l, span_of(data, 1u << 20));
        e[i] = (struct bitswap_entry){&c[i], 1, BITSWAP_WANT_BLOCK, false, true};
    }
    say_wants(&l, e, 8, false);
    cr_assert_leq(l.loads, 3, "two MiB are read ahead, not %u", l.loads);
    struct span out;
    l.hold_output = false;
    for (int i = 0; i < 3; i++) {
        size_t n = exchange_output(l.x, l.p, 100, &out, l.now);
        cr_assert(n > 0 && n <= 100);
        buf_add_span(&l.sent, out);
    }
    while (true) {
        size_t n = exchange_output(l.x, l.p, 1u << 20, &out, l.now);
        cr_assert_leq(n, EXCHANGE_CHUNK_MAX);
        if (n)
            buf_add_span(&l.sent, out);
        else
            break;
    }
    pump(&l);
    cr_assert_eq(hear(&l).blocks, 8);
    free(data);
    teardown(&l);
}

/* Who has taken what it asked for has more read ahead of it, while there is room for all; who comes then has what everybody has. */
Test(exchange, reader_that_reads)
{
    struct lone l;
    setup_with(&l, EXCHANGE_CAPABLE, UINT64_C(64) << 20);
    uint8_t *data = calloc(1, 1u << 20);
    struct cid c[8];
    struct bitswap_entry e[8];
    for (unsigned i = 0; i < 8; i++) {
        data[0] = (uint8_t)i;
        c[i] = hold(&l, span_of(data, 1u << 20));
        e[i] = (struct bitswap_entry){&c[i], 1, BITSWAP_WANT_BLOCK, false, true};
    }
    say_wants(&l, e, 8, false);
    cr_assert_eq(hear(&l).blocks, 8);
    l.hold_output = true;
    l.loads = 0;
    say_wants(&l, e, 8, false);
    cr_assert_eq(l.loads, 4, "half of an eighth of 64 MiB, not %u", l.loads);
    l.p = exchange_peer_added(l.x, &l, EXCHANGE_CAPABLE, l.now);
    l.s = exchange_stream_opened(l.x, l.p, &l);
    l.loads = 0;
    say_wants(&l, e, 8, false);
    cr_assert_leq(l.loads, 3, "two MiB for who took nothing yet, not %u", l.loads);
    free(data);
    teardown(&l);
}

static void tell_wants(struct lone *l, const struct cid *cids, unsigned count)
{
    struct buf list = BUF_INIT, body = BUF_INIT;
    for (unsigned i = 0; i < count; i++)
        bitswap_add_entry(&list,
                          &(struct bitswap_entry){&cids[i], 1, i % 2 ? BITSWAP_WANT_HAVE : BITSWAP_WANT_BLOCK, false, true});
    bitswap_add_wantlist(&body, buf_span(&list), false);
    cr_assert_gt(tell(l, buf_span(&body)), 0);
    buf_done(&list);
    buf_done(&body);
}

/* ---- many that flood ---- */

enum { FLOODERS = 20 };

struct talker {
    struct exchange_peer *p;
    struct exchange_stream *s;
    struct span message;
    size_t at;
    unsigned left; /* so many messages */
};

/* As the host does: until it is to wait */
static void talk(struct lone *l, struct talker *t)
{
    for (int n = 1; t->left && n > 0;) {
        n = exchange_stream_data(l->x, t->s, span_from(t->message, t->at), l->now);
        cr_assert_geq(n, 0);
        t->at += (size_t)n;
        t->left -= t->at == t->message.len;
        t->at %= t->message.len;
    }
}

static void talk_for(struct lone *l, mono_ns time)
{
    struct exchange_action a;
    for (mono_ns end = l->now + time; l->now < end; l->now = mono_min(exchange_deadline(l->x), end)) {
        exchange_expire(l->x, l->now);
        while (exchange_next(l->x, &a)) {
            act(l, &a);
            if (a.type == EXCHANGE_RESUME)
                talk(l, a.owner);
        }
    }
}

static void talker_new(struct lone *l, struct talker *t, const struct cid *cids, unsigned count, struct buf *message)
{
    struct buf list = BUF_INIT, body = BUF_INIT;
    for (unsigned i = 0; i < count; i++)
        bitswap_add_entry(&list, &(struct bitswap_entry){&cids[i], 1, BITSWAP_WANT_BLOCK, false, true});
    bitswap_add_wantlist(&body, buf_span(&list), false);
    bitswap_add_message(message, buf_span(&body));
    buf_done(&list);
    buf_done(&body);
    *t = (struct talker){.p = exchange_peer_added(l->x, t, EXCHANGE_CAPABLE, l->now), .message = buf_span(message)};
    t->s = exchange_stream_opened(l->x, t->p, t);
}

static uint64_t named(struct lone *l, const struct talker *t)
{
    struct exchange_ledger g;
    exchange_ledger(l->x, t->p, &g);
    return g.wants_received;
}

Test(exchange, many_that_flood_share)
{
    static struct talker all[FLOODERS], honest;
    static struct cid cids[1000];
    struct buf messages[FLOODERS] = {0}, one = BUF_INIT;
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    for (unsigned i = 0; i < 1000; i++)
        cids[i] = cid_number(i);
    for (unsigned i = 0; i < FLOODERS; i++) {
        talker_new(&l, &all[i], cids, 1000, &messages[i]);
        all[i].left = UINT_MAX;
        talk(&l, &all[i]);
    }
    talk_for(&l, 4 * MONO_S);
    uint64_t sum = 0, least = UINT64_MAX;
    for (unsigned i = 0; i < FLOODERS; i++) {
        uint64_t n = named(&l, &all[i]);
        sum += n;
        least = n < least ? n : least;
    }
    uint64_t may = 4 * EXCHANGE_ITEMS_RATE + TOKENS_BURST_MIN;
    cr_assert_leq(sum, may + 2000, "%u in all", (unsigned)sum);
    cr_assert_geq(sum, may / 2, "%u in all", (unsigned)sum);
    cr_assert_geq(least, sum / FLOODERS / 2, "one has named %u", (unsigned)least);

    /* a newcomer has his turn soon, and once he is given blocks none of his wants waits */
    struct cid here = hold(&l, span_str("a block that is here"));
    talker_new(&l, &honest, &here, 1, &one);
    honest.left = 1;
    talk(&l, &honest);
    cr_assert_eq(honest.left, 1, "it waits");
    talk_for(&l, 100 * MONO_MS);
    cr_assert_eq(honest.left, 0);
    for (unsigned i = 0; i < 500; i++) {
        honest.left = 1;
        talk(&l, &honest);
        cr_assert_eq(honest.left, 0, "%u", i);
        struct exchange_action a;
        while (exchange_next(l.x, &a))
            act(&l, &a);
    }
    for (unsigned i = 0; i < FLOODERS; i++)
        buf_done(&messages[i]);
    buf_done(&one);
    teardown(&l);
}

/* What is asked of a store that does not answer yet; the bytes that it may bring */
static unsigned ask_store(struct lone *l, struct exchange_action *ret, unsigned most, uint64_t *ret_bytes)
{
    struct exchange_action a;
    unsigned n = 0;
    *ret_bytes = 0;
    while (exchange_next(l->x, &a)) {
        if (a.type != EXCHANGE_LOAD) {
            act(l, &a);
            continue;
        }
        cr_assert_lt(n, most);
        *ret_bytes += a.most;
        ret[n++] = a;
    }
    return n;
}

/* One or two at a time each had a turn of the engine, two wake-ups and a message of its own */
Test(exchange, what_is_not_here_is_looked_up_many_at_a_time)
{
    enum { WANTS = 900 };
    static struct cid cids[WANTS];
    static struct exchange_action asked[WANTS];
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    for (unsigned i = 0; i < WANTS; i++)
        cids[i] = cid_number(i);
    tell_wants(&l, cids, WANTS);
    unsigned n, rounds = 0, widest = 0;
    uint64_t bytes;
    for (; (n = ask_store(&l, asked, WANTS, &bytes)); rounds++) {
        cr_assert_leq(bytes, 2u * BLOCK_MAX + 256u * 1024, "%u bytes may come at once", (unsigned)bytes);
        widest = n > widest ? n : widest;
        for (unsigned i = 0; i < n; i++)
            exchange_loaded(l.x, asked[i].tag, ERR_MISSING, 0, NULL, l.now);
    }
    cr_assert_geq(widest, 256, "%u at a time", widest);
    cr_assert_leq(rounds, 50, "%u rounds", rounds);
    teardown(&l);
}

/* Who asked for much that is not here may ask for what is: it comes, and no more is read at once than for others */
Test(exchange, what_was_looked_up_is_read)
{
    enum { MISSED = 200, HERE = 40 };
    static uint8_t data[1u << 20];
    static struct cid cids[MISSED + 2 * HERE];
    static struct exchange_action asked[MISSED + 2 * HERE];
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    for (unsigned i = 0; i < MISSED + 2 * HERE; i++)
        cids[i] = cid_number(i);
    tell_wants(&l, cids, MISSED);
    pump(&l);
    for (unsigned i = 0; i < HERE; i++) { /* the wants for blocks are those that are here */
        data[0] = (uint8_t)i;
        cid_of(&cids[MISSED + 2 * i], CODEC_RAW, span_of(data, sizeof data));
    }
    tell_wants(&l, cids + MISSED, 2 * HERE);
    uint64_t bytes;
    unsigned n, came = 0;
    while ((n = ask_store(&l, asked, MISSED + 2 * HERE, &bytes))) {
        cr_assert_leq(bytes, 3u * BLOCK_MAX + 256u * 1024, "%u bytes may come at once", (unsigned)bytes);
        for (unsigned i = 0; i < n; i++) {
            bool here = false, whole = asked[i].most >= sizeof data;
            for (unsigned k = 0; k < HERE; k++)
                here |= cid_same_block(&cids[MISSED + 2 * k], &asked[i].cid);
            struct block *b = here && whole ? block_from(NULL, BUDGET_NET, &asked[i].cid, span_of(data, sizeof data)) : NULL;
            came += b != NULL;
            exchange_loaded(l.x, asked[i].tag, here ? 0 : ERR_MISSING, here ? sizeof data : 0, b, l.now);
        }
    }
    cr_assert_eq(came, HERE, "%u", came);
    teardown(&l);
}

Test(exchange, lost_stream_begins_its_message_anew)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    static const uint8_t zeros[5000];
    struct cid big = hold(&l, span_of(zeros, sizeof zeros));
    l.hold_output = true;
    say_wants(&l, &(struct bitswap_entry){&big, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    struct span out;
    cr_assert_eq(exchange_output(l.x, l.p, 1000, &out, l.now) > 0, true);
    cr_assert_eq(exchange_output(l.x, l.p, 1000, &out, l.now), 1000);
    exchange_output_lost(l.x, l.p, l.now);
    l.hold_output = false;
    exchange_expire(l.x, l.now);
    pump(&l);
    cr_assert_eq(l.opens, 2);
    cr_assert_eq(hear(&l).blocks, 1);
    teardown(&l);
}

/* ---- client ---- */

static void want(struct lone *l, struct want *w, const struct cid *cid)
{
    *w = (struct want){.kind = WANT_BLOCK, .priority = WANT_NOW, .cid = *cid, .deadline = MONO_NEVER};
    cr_assert_eq(exchange_want(l->x, w, l->now), 0);
    pump(l);
}

Test(exchange, client_asks_and_cancels)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a = cid_number(1), b = cid_number(2);
    struct want w, v;
    want(&l, &w, &a);
    struct heard h = hear(&l);
    cr_assert(h.wants == 1 && cid_eq(&h.last, &a) && h.last_want == BITSWAP_WANT_BLOCK && h.fulls == 1,
              "the only peer is asked for the block itself; the first list is a full one");
    want(&l, &v, &b);
    h = hear(&l);
    cr_assert(h.wants == 1 && h.fulls == 0);
    exchange_cancel(l.x, &v, l.now);
    pump(&l);
    h = hear(&l);
    cr_assert(l.settled == 1 && v.result == ERR_CANCELLED && h.cancels == 1 && cid_eq(&h.last, &b));
    unsigned one = 1;
    cr_assert_gt(say_block(&l, &a, span_of(&one, sizeof one)), 0);
    cr_assert(l.settled == 2 && w.result == 0 && w.block && l.stored == 1);
    cr_assert_eq(hear(&l).messages, 0, "whoever delivered needs no cancel");
    (void)block_unref(w.block);
    teardown(&l);
}

Test(exchange, who_owes_and_is_silent_is_looked_at)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a = cid_number(1);
    struct want w;
    want(&l, &w, &a);
    for (unsigned i = 0; i < 100; i++) { /* ten seconds; each stall is twice as long as the one before */
        l.now += 100 * MONO_MS;
        exchange_expire(l.x, l.now);
        pump(&l);
    }
    cr_assert(l.silent >= 1 && l.silent <= 3, "%u", l.silent);
    exchange_cancel(l.x, &w, l.now);
    pump(&l);
    teardown(&l);
}

Test(exchange, who_may_have_forgotten_us_is_asked_anew)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a = cid_number(1), b = cid_number(2);
    struct want w, v;
    want(&l, &w, &a);
    want(&l, &v, &b);
    cr_assert_eq(hear(&l).wants, 2);
    l.now += 1500 * MONO_MS; /* our stream is idle and closed: what breaks then is not it */
    exchange_expire(l.x, l.now);
    pump(&l);
    cr_assert_eq(hear(&l).messages, 0);
    exchange_peer_back(l.x, l.p, l.now);
    pump(&l);
    struct heard h = hear(&l);
    cr_assert(h.fulls == 1 && h.wants == 2, "%u %u", h.fulls, h.wants);
    exchange_cancel(l.x, &w, l.now);
    exchange_cancel(l.x, &v, l.now);
    pump(&l);
    teardown(&l);
}

Test(exchange, what_is_being_stored_is_given_to_who_asks_next)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    unsigned one = 1;
    struct cid a = cid_number(one);
    struct want w, v;
    l.slow = true;
    want(&l, &w, &a);
    cr_assert_gt(say_block(&l, &a, span_of(&one, sizeof one)), 0);
    cr_assert(l.settled == 1 && w.result == 0 && w.block && l.stored == 1);
    want(&l, &v, &a);
    cr_assert(l.settled == 2 && v.result == 0 && v.block, "the store would not show it, and it would be asked for again");
    exchange_stored(l.x, &a, 0, l.now);
    (void)block_unref(w.block);
    (void)block_unref(v.block);
    teardown(&l);
}

Test(exchange, have_leads_to_a_want_block)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct exchange_peer *first = l.p;
    struct exchange_peer *second = exchange_peer_added(l.x, &l, EXCHANGE_CAPABLE, l.now);
    struct exchange_stream *s2 = exchange_stream_opened(l.x, second, &l);
    struct cid a = cid_number(1);
    struct want w;
    want(&l, &w, &a);
    struct heard h = hear(&l);
    cr_assert_eq(h.wants, 2, "one is asked for the block, the other whether it has it");
    struct buf body = BUF_INIT;
    bitswap_add_presence(&body, &a, false);
    say(&l, buf_span(&body));
    h = hear(&l);
    cr_assert(h.wants == 1 && h.last_want == BITSWAP_WANT_HAVE, "what lacks it shall tell when it gets it, not send it");
    buf_clear(&body);
    bitswap_add_presence(&body, &a, true);
    l.s = s2;
    say(&l, buf_span(&body));
    h = hear(&l);
    cr_assert(h.wants == 1 && h.last_want == BITSWAP_WANT_BLOCK);
    unsigned one = 1;
    say_block(&l, &a, span_of(&one, sizeof one));
    cr_assert(l.settled == 1 && w.result == 0);
    (void)block_unref(w.block);
    struct exchange_ledger g;
    exchange_ledger(l.x, first, &g);
    cr_assert_eq(g.our_wants, 0);
    exchange_ledger(l.x, second, &g);
    cr_assert(g.blocks_received == 1 && g.inflight_bytes == 0);
    buf_done(&body);
    teardown(&l);
}

/* The one that was asked for the block lacks it, or says nothing, when the other has said already that it has it: then it is that
 * one's turn. How long it took. */
static mono_ns turn_after_have(bool silent)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct exchange_stream *s1 = l.s;
    struct exchange_peer *second = exchange_peer_added(l.x, &l, EXCHANGE_CAPABLE, l.now);
    struct cid a = cid_number(1);
    struct want w;
    struct buf body = BUF_INIT;
    l.s = exchange_stream_opened(l.x, second, &l);
    want(&l, &w, &a);
    cr_assert_eq(hear(&l).wants, 2);
    bitswap_add_presence(&body, &a, true);
    say(&l, buf_span(&body));
    cr_assert_eq(hear(&l).wants, 0, "the other may bring it any moment");
    buf_clear(&body);
    bitswap_add_presence(&body, &a, false);
    l.s = s1;
    if (!silent)
        say(&l, buf_span(&body));
    mono_ns begun = l.now;
    struct exchange_ledger g = {0};
    for (unsigned k = 0; k < 200 && g.inflight_bytes == 0; k++) {
        l.now += MONO_S / 10;
        exchange_expire(l.x, l.now);
        pump(&l);
        exchange_ledger(l.x, second, &g);
    }
    cr_expect_gt(g.inflight_bytes, 0);
    exchange_cancel(l.x, &w, l.now);
    pump(&l);
    buf_done(&body);
    teardown(&l);
    return l.now - begun;
}

Test(exchange, who_said_have_before_is_asked)
{
    cr_expect_leq(turn_after_have(false), MONO_S / 10);
    cr_expect_leq(turn_after_have(true), 4 * MONO_S); /* it is late then */
}

/* `in` of a message a second; *ret_heard: of two wants, the second behind the first. */
static void trickle(size_t in, mono_ns ret_heard[2], mono_ns *ret_last)
{
    static const uint8_t zeros[1u << 20];
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a, b = cid_number(1);
    cid_of(&a, CODEC_RAW, span_of(zeros, sizeof zeros));
    struct want w[2];
    want(&l, &w[0], &a);
    want(&l, &w[1], &b); /* one block of who has not proved itself is asked for */
    struct buf body = BUF_INIT, stream = BUF_INIT;
    bitswap_add_presence(&body, &b, true);
    say(&l, buf_span(&body));
    buf_clear(&body);
    bitswap_add_block_head(&body, &a, sizeof zeros);
    buf_add(&body, zeros, sizeof zeros);
    bitswap_add_message(&stream, buf_span(&body));
    for (size_t at = 0, i = 0; i < 20 && at + in < sizeof zeros; i++) {
        at += (size_t)exchange_stream_data(l.x, l.s, span_sub(buf_span(&stream), at, in), l.now);
        for (unsigned k = 0; k < 10; k++) {
            l.now += MONO_S / 10;
            exchange_expire(l.x, l.now);
            pump(&l);
        }
    }
    ret_heard[0] = w[0].heard;
    ret_heard[1] = w[1].heard;
    *ret_last = l.now;
    buf_done(&body);
    buf_done(&stream);
    teardown(&l);
}

Test(exchange, what_comes_slowly_is_heard)
{
    mono_ns heard[2], last;
    trickle(30000, heard, &last);
    cr_assert_gt(heard[0], last - 5 * MONO_S, "the block is on its way");
    cr_assert_gt(heard[1], last - 5 * MONO_S, "this one's turn comes");
    trickle(100, heard, &last);
    cr_assert(heard[0] == 0 && heard[1] == 0, "a byte now and then is not progress");
}

Test(exchange, wants_of_a_peer_are_not_what_was_asked_for)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a = cid_number(1), c;
    struct want w;
    want(&l, &w, &a);
    for (unsigned i = 0; i < 300; i++) { /* busy with us, and never answers */
        struct buf list = BUF_INIT, body = BUF_INIT;
        for (unsigned k = 0; k < 100; k++) {
            c = cid_number(100 * i + k + 2);
            bitswap_add_entry(&list, &(struct bitswap_entry){&c, 1, BITSWAP_WANT_HAVE, false, false});
        }
        bitswap_add_wantlist(&body, buf_span(&list), false);
        cr_assert_gt(say(&l, buf_span(&body)), 0);
        l.now += MONO_S / 10;
        exchange_expire(l.x, l.now);
        pump(&l);
        buf_done(&list);
        buf_done(&body);
    }
    cr_assert_eq(w.heard, 0);
    teardown(&l);
}

Test(exchange, unasked_blocks_cost_nothing_and_end_it)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    uint8_t *data = calloc(1, 1u << 20);
    for (unsigned i = 0; i < 10 && !l.drops; i++) {
        data[0] = (uint8_t)i;
        struct cid c;
        cid_of(&c, CODEC_RAW, span_of(data, 1u << 20));
        cr_assert_gt(say_block(&l, &c, span_of(data, 1u << 20)), 0);
    }
    cr_assert(l.drops == 1 && l.drop_err == ERR_VERIFY);
    cr_assert_lt(budget_peak(l.budget), 65536, "not even kept for hashing");
    struct cid again = cid_number(1);
    cr_assert_lt(say_block(&l, &again, SPAN_NONE), 0, "mute from then on");
    cr_assert_eq(l.drops, 1);
    free(data);
    teardown(&l);
}

Test(exchange, wrong_block_does_not_answer)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a = cid_number(1);
    struct want w;
    want(&l, &w, &a);
    unsigned two = 2;
    cr_assert_gt(say_block(&l, &a, span_of(&two, sizeof two)), 0);
    cr_assert(l.settled == 0 && l.stored == 0);
    struct exchange_ledger g;
    exchange_ledger(l.x, l.p, &g);
    cr_assert(g.wrong == 1 && g.blocks_received == 0);
    exchange_cancel(l.x, &w, l.now);
    pump(&l);
    unsigned one = 1;
    exchange_cancel(l.x, &w, l.now);
    (void)say_block(&l, &a, span_of(&one, sizeof one));
    exchange_ledger(l.x, l.p, &g);
    cr_assert_eq(g.wrong + g.duplicates, 2, "after the cancel it is late or unasked for, never stored");
    cr_assert_eq(l.stored, 0);
    teardown(&l);
}

Test(exchange, malformed_streams)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(l.drops, 0);
        cr_assert_eq(exchange_stream_data(l.x, l.s, span_of("\x02\x0b\x00", 3), l.now), ERR_PROTOCOL);
        exchange_stream_closed(l.x, l.s, l.now);
        l.s = exchange_stream_opened(l.x, l.p, &l);
        pump(&l);
    }
    cr_assert(l.drops == 1 && l.drop_err == ERR_PROTOCOL);
    cr_assert_null(l.s);
    teardown(&l);
}

Test(exchange, streams_are_bounded)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    unsigned opened = 1;
    while (exchange_stream_opened(l.x, l.p, &l))
        opened++;
    cr_assert_eq(opened, EXCHANGE_STREAMS_MAX);
    teardown(&l);
}

/* A block that was announced and does not come holds memory for a bounded time; and while we ourselves did not read, not at all. */
Test(exchange, slow_loris_block)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a = cid_number(1);
    struct want w;
    want(&l, &w, &a);
    struct buf body = BUF_INIT, stream = BUF_INIT;
    bitswap_add_block_head(&body, &a, 1u << 20);
    buf_add_str(&body, "some");
    uint8_t *rest = calloc(1, (1u << 20) - 4);
    buf_add(&body, rest, (1u << 20) - 4);
    bitswap_add_message(&stream, buf_span(&body));
    cr_assert_eq(exchange_stream_data(l.x, l.s, span_sub(buf_span(&stream), 0, 60), l.now), 60);
    cr_assert_gt(budget_used(l.budget), 1u << 20);
    for (int i = 0; i < 100 && !l.drops; i++) {
        l.now += 500 * MONO_MS;
        exchange_expire(l.x, l.now);
        pump(&l);
    }
    cr_assert(l.drops == 1 && l.drop_err == ERR_TIMEOUT);
    cr_assert_leq(l.now - NOW0, 25 * MONO_S);
    free(rest);
    buf_done(&body);
    buf_done(&stream);
    exchange_peer_removed(l.x, l.p, l.now);
    exchange_cancel(l.x, &w, l.now);
    pump(&l);
    teardown(&l);
}

/* All that class `c` can have */
static size_t use_up(struct budget *b, enum budget_class c)
{
    size_t taken = 0;
    while (budget_take(b, c, 4096))
        taken += 4096;
    while (budget_take(b, c, 1))
        taken++;
    return taken;
}

/* Our class is used up by those who wait for this very block, say: it comes all the same, as long as the whole has room. */
Test(exchange, one_block_comes_when_the_class_is_full)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    unsigned one = 1;
    struct cid a = cid_number(1);
    struct want w;
    want(&l, &w, &a);
    size_t taken = use_up(l.budget, BUDGET_NET);
    struct buf body = BUF_INIT, stream = BUF_INIT;
    bitswap_add_block_head(&body, &a, sizeof one);
    buf_add(&body, &one, sizeof one);
    bitswap_add_message(&stream, buf_span(&body));
    cr_assert_eq(exchange_stream_data(l.x, l.s, buf_span(&stream), l.now), (int)buf_len(&stream));
    pump(&l);
    cr_assert(l.settled == 1 && w.result == 0);
    cr_assert_leq(budget_used(l.budget), budget_limit(l.budget));
    (void)block_unref(w.block);
    budget_give(l.budget, BUDGET_NET, taken);
    buf_done(&body);
    buf_done(&stream);
    teardown(&l);
}

static void begin_big(struct lone *l, struct exchange_stream *s, const struct cid *cid)
{
    struct buf head = BUF_INIT, stream = BUF_INIT;
    bitswap_add_block_head(&head, cid, BLOCK_MAX);
    buf_add_uvarint(&stream, buf_len(&head) + BLOCK_MAX);
    buf_add_span(&stream, buf_span(&head));
    buf_add_u8(&stream, 1);
    cr_assert_eq(exchange_stream_data(l->x, s, buf_span(&stream), l->now), (int)buf_len(&stream));
    buf_done(&head);
    buf_done(&stream);
}

/* Blocks that are begun have all that these may have. An empty one needs nothing, and no byte comes behind it. */
Test(exchange, an_empty_block_waits_for_no_memory)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct exchange_peer *other = exchange_peer_added(l.x, &l, EXCHANGE_CAPABLE, l.now);
    struct exchange_stream *others = exchange_stream_opened(l.x, other, &l), *second = exchange_stream_opened(l.x, l.p, &l);
    struct cid cid[3] = {cid_number(1), cid_number(2)};
    struct want w[3];
    cid_of(&cid[2], CODEC_RAW, SPAN_NONE);
    for (unsigned i = 0; i < 3; i++)
        want(&l, &w[i], &cid[i]);
    begin_big(&l, l.s, &cid[0]);
    begin_big(&l, others, &cid[1]);
    l.s = second;
    cr_assert_gt(say_block(&l, &cid[2], SPAN_NONE), 0);
    cr_assert(l.settled == 1 && l.last == &w[2] && w[2].result == 0, "%u", l.settled);
    (void)block_unref(w[2].block);
    exchange_cancel(l.x, &w[0], l.now);
    exchange_cancel(l.x, &w[1], l.now);
    pump(&l);
    teardown(&l);
}

Test(exchange, no_memory_is_back_pressure)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    unsigned one = 1;
    struct cid a = cid_number(1);
    struct want w;
    want(&l, &w, &a);
    size_t taken = use_up(l.budget, BUDGET_NET), others[2];
    others[0] = use_up(l.budget, BUDGET_WRITE);
    others[1] = use_up(l.budget, BUDGET_STORE);
    size_t read = use_up(l.budget, BUDGET_READ);
    struct buf body = BUF_INIT, stream = BUF_INIT;
    bitswap_add_block_head(&body, &a, sizeof one);
    buf_add(&body, &one, sizeof one);
    bitswap_add_message(&stream, buf_span(&body));
    int r = exchange_stream_data(l.x, l.s, buf_span(&stream), l.now);
    cr_assert(r > 0 && (size_t)r < buf_len(&stream), "stops before the data");
    buf_consume(&stream, (size_t)r);
    pump(&l);
    unsigned retried = l.resumes;
    budget_give(l.budget, BUDGET_NET, taken);
    budget_give(l.budget, BUDGET_WRITE, others[0]);
    budget_give(l.budget, BUDGET_STORE, others[1]);
    budget_give(l.budget, BUDGET_READ, read);
    exchange_budget_freed(l.x, l.now);
    pump(&l);
    cr_assert_eq(l.resumes, retried + 1);
    cr_assert_eq(exchange_stream_data(l.x, l.s, buf_span(&stream), l.now), (int)buf_len(&stream));
    pump(&l);
    cr_assert(l.settled == 1 && w.result == 0);
    (void)block_unref(w.block);
    buf_done(&body);
    buf_done(&stream);
    teardown(&l);
}

Test(exchange, a_store_that_is_shut_for_a_moment)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid held = hold(&l, span_str("held"));
    struct want dag = {.kind = WANT_DAG, .priority = WANT_KEEP, .cid = held, .root = held, .deadline = MONO_NEVER};
    l.shut = true;
    cr_assert_eq(exchange_want(l.x, &dag, l.now), 0);
    say_wants(&l, &(struct bitswap_entry){&held, 1, BITSWAP_WANT_BLOCK, false, true}, 1, false);
    struct heard h = hear(&l);
    cr_assert(h.dont_haves == 0 && h.wants == 0 && l.settled == 0, "nobody is told or asked while we cannot know");
    l.shut = false;
    l.now = exchange_deadline(l.x);
    cr_assert_lt(l.now, NOW0 + MONO_S);
    exchange_expire(l.x, l.now);
    pump(&l);
    h = hear(&l);
    cr_assert(h.blocks == 1 && cid_eq(&h.last, &held));
    cr_assert(l.settled == 1 && dag.result == 0, "what is here is found");
    teardown(&l);
}

/* Blocks of which two fill what may be read for one peer; these two are taken back while they are read. */
Test(exchange, what_waits_behind_reads_that_are_taken_back_is_served)
{
    enum { SIZE = 1 << 20 };
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid cid[3];
    struct bitswap_entry e[3];
    uint8_t *data = mem_new(SIZE);
    for (unsigned i = 0; i < 3; i++) {
        data[0] = (uint8_t)i;
        cid[i] = hold(&l, span_of(data, SIZE));
        e[i] = (struct bitswap_entry){&cid[i], 1, BITSWAP_WANT_BLOCK, false, true};
    }
    free(data);
    l.late = true;
    say_wants(&l, e, 3, false);
    cr_assert_eq(l.loads, 2);
    e[0].cancel = e[1].cancel = true;
    say_wants(&l, e, 2, false);
    l.late = false;
    for (unsigned i = 0; i < l.reading_count; i++)
        exchange_loaded(l.x, l.reading[i], 0, SIZE, NULL, l.now);
    pump(&l);
    struct heard h = hear(&l);
    cr_assert(h.blocks == 1 && cid_eq(&h.last, &cid[2]), "%u", h.blocks);
    teardown(&l);
}

/* Nobody has it, it is imported, and the store cannot be read at this moment. */
Test(exchange, what_appears_while_the_store_is_shut_is_found)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid cid = cid_number(1);
    struct want w = {.kind = WANT_BLOCK, .priority = WANT_NOW, .cid = cid, .root = cid, .deadline = MONO_NEVER};
    cr_assert_eq(exchange_want(l.x, &w, l.now), 0);
    pump(&l);
    unsigned one = 1;
    hold(&l, span_of(&one, sizeof one));
    l.shut = true;
    exchange_have_block(l.x, &cid, l.now);
    pump(&l);
    cr_assert_eq(l.settled, 0);
    l.shut = false;
    later(&l, MONO_S);
    cr_assert(l.settled == 1 && w.result == 0, "it is here: %u", l.settled);
    teardown(&l);
}

/* Nobody has it, and it comes to be here without a word: a folder's node, which is made when its CID is asked for. */
Test(exchange, what_is_lost_is_looked_for_here_too)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid cid = cid_number(1);
    struct want w = {.kind = WANT_BLOCK, .priority = WANT_NOW, .cid = cid, .root = cid, .deadline = MONO_NEVER};
    cr_assert_eq(exchange_want(l.x, &w, l.now), 0);
    pump(&l);
    unsigned one = 1;
    hold(&l, span_of(&one, sizeof one));
    for (unsigned i = 0; i < 30; i++)
        later(&l, MONO_S);
    cr_assert(l.settled == 1 && w.result == 0, "%u", l.settled);
    teardown(&l);
}

/* It waits for the store, appears meanwhile, and the time to ask again comes before the answer. */
Test(exchange, what_appears_while_it_waits_for_the_store_is_read_once)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid held = hold(&l, span_str("held"));
    struct want w = {.kind = WANT_BLOCK, .priority = WANT_NOW, .cid = held, .root = held, .deadline = MONO_NEVER};
    l.shut = true;
    cr_assert_eq(exchange_want(l.x, &w, l.now), 0);
    pump(&l);
    l.shut = false;
    l.late = true;
    exchange_have_block(l.x, &held, l.now);
    pump(&l);
    later(&l, MONO_S);
    cr_assert_eq(l.reading_count, 1);
    exchange_loaded(l.x, l.reading[0], 0, 4, NULL, l.now);
    pump(&l);
    cr_assert(l.settled == 1 && w.result == 0);
    teardown(&l);
}

Test(exchange, too_many_wants)
{
    struct lone l;
    setup(&l, 0);
    struct want *w = calloc(EXCHANGE_WANTS_MAX + 1, sizeof *w);
    unsigned i;
    for (i = 0; i <= EXCHANGE_WANTS_MAX; i++) {
        w[i] = (struct want){.kind = WANT_BLOCK, .priority = WANT_KEEP, .cid = cid_number(i), .deadline = MONO_NEVER};
        if (exchange_want(l.x, &w[i], l.now) < 0)
            break;
    }
    cr_assert(i > 1000 && i < EXCHANGE_WANTS_MAX, "the budget ends before the table does: %u", i);
    struct want now = {.kind = WANT_BLOCK, .priority = WANT_NOW, .cid = cid_number(i), .deadline = MONO_NEVER};
    cr_assert_eq(exchange_want(l.x, &now, l.now), 0, "who sits and waits is served all the same");
    exchange_stop(l.x);
    pump(&l);
    cr_assert_eq(l.settled, i + 1, "every want comes back, once");
    cr_assert_eq(exchange_want(l.x, &now, l.now), 0);
    pump(&l);
    cr_assert(now.result == ERR_CANCELLED && l.settled == i + 2);
    free(w);
    teardown(&l);
}

Test(exchange, resync_after_many_cancels)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    enum { N = 3000 };
    struct want *w = calloc(N, sizeof *w);
    struct cid keep = cid_number(N + 1);
    struct want k;
    for (unsigned i = 0; i < N; i++) { /* one root, so that all are asked of the peer */
        w[i] = (struct want){.kind = WANT_BLOCK, .priority = WANT_AHEAD, .cid = cid_number(i), .deadline = MONO_NEVER};
        w[i].root = keep;
        cr_assert_eq(exchange_want(l.x, &w[i], l.now), 0);
    }
    want(&l, &k, &keep);
    struct heard h = hear(&l);
    cr_assert_gt(h.wants, 10);
    l.hold_output = true;
    for (unsigned i = 0; i < N; i++)
        exchange_cancel(l.x, &w[i], l.now);
    pump(&l);
    l.hold_output = false;
    struct span out;
    size_t n;
    while ((n = exchange_output(l.x, l.p, 4096, &out, l.now)))
        buf_add_span(&l.sent, out);
    pump(&l);
    h = hear(&l);
    cr_assert(h.cancels > 10 || h.fulls == 1);
    struct exchange_ledger g;
    exchange_ledger(l.x, l.p, &g);
    cr_assert_leq(g.our_wants, 1);
    exchange_cancel(l.x, &k, l.now);
    pump(&l);
    free(w);
    teardown(&l);
}

/* ---- walks of DAGs, when memory is short ---- */

/* Holds a node with so many links to blocks that nobody has */
static struct cid hold_node(struct lone *l, unsigned links)
{
    struct buf node = BUF_INIT;
    struct cid cid;
    for (unsigned i = 0; i < links; i++) {
        struct cid child = cid_number(i);
        dagpb_add_link(&node, &child, SPAN_NONE, 4);
    }
    cid_of(&cid, CODEC_DAG_PB, buf_span(&node));
    l->held[l->held_count++] = block_from(NULL, BUDGET_NET, &cid, buf_span(&node));
    buf_done(&node);
    return cid;
}

static struct want walk_of(const struct cid *root)
{
    return (struct want){.kind = WANT_DAG, .priority = WANT_KEEP, .cid = *root, .root = *root, .deadline = MONO_NEVER};
}

Test(exchange, a_walk_without_memory_to_remember_more)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid root = hold_node(&l, 300); /* more than its table has room for without two in one place */
    struct want dag = walk_of(&root);
    short_memory_from = 2 * 1024 * sizeof(uint64_t);
    cr_assert_eq(exchange_want(l.x, &dag, l.now), 0);
    pump(&l);
    cr_assert_gt(short_memory_refused, 0);
    cr_assert_eq(l.loads, 301, "all of it is looked for: %u", l.loads);
    cr_assert_eq(l.settled, 0);
    exchange_cancel(l.x, &dag, l.now);
    pump(&l);
    cr_assert_eq(l.settled, 1);
    teardown(&l); /* what was charged for the table that could not be had is given back */
}

Test(exchange, a_walk_without_memory_for_what_waits)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid root = hold_node(&l, 3000); /* more than are kept of one node at a time */
    struct want dag = walk_of(&root);
    short_memory_from = 256;
    cr_assert_eq(exchange_want(l.x, &dag, l.now), 0);
    pump(&l);
    short_memory_from = SIZE_MAX;
    cr_assert(l.settled == 1 && dag.result == ERR_NO_MEMORY, "%u %s", l.settled, err_name(dag.result));
    teardown(&l);
}

static uint64_t used_by_walk(unsigned links)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid root = hold_node(&l, links);
    struct want dag = walk_of(&root);
    cr_assert_eq(exchange_want(l.x, &dag, l.now), 0);
    pump(&l);
    uint64_t used = budget_used(l.budget);
    exchange_cancel(l.x, &dag, l.now);
    pump(&l);
    teardown(&l);
    return used;
}

Test(exchange, what_a_walk_comes_back_to_is_charged)
{
    cr_assert_gt(used_by_walk(2049), used_by_walk(2048), "2048 links are kept of a node, and it when there are more");
}

/* Answers what it asks for, number after number; returns up to which. */
static unsigned answer_wants(struct lone *l, unsigned told)
{
    for (unsigned asked; (asked = told + hear(l).wants) > told;)
        for (; told < asked; told++) {
            struct cid cid = cid_number(told);
            cr_assert_gt(say_block(l, &cid, span_of(&told, sizeof told)), 0);
        }
    return told;
}

Test(exchange, a_walk_asks_on_while_small_blocks_are_being_stored)
{
    enum { LINKS = 3000, ASKED = 512, MOST = 2048 };
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid root = hold_node(&l, LINKS);
    struct want dag = walk_of(&root);
    l.slow = true;
    cr_assert_eq(exchange_want(l.x, &dag, l.now), 0);
    pump(&l);
    unsigned told = answer_wants(&l, 0);
    cr_assert(told == MOST && l.stored == MOST, "a commit has room for many: %u, %u", told, l.stored);
    for (unsigned i = 0; i < ASKED; i++) {
        struct cid cid = cid_number(i);
        exchange_stored(l.x, &cid, 0, l.now);
    }
    pump(&l);
    told = answer_wants(&l, told);
    cr_assert_eq(told, MOST + ASKED, "as many more: %u", told);
    l.slow = false;
    for (unsigned i = ASKED; i < told; i++) {
        struct cid cid = cid_number(i);
        exchange_stored(l.x, &cid, 0, l.now);
    }
    pump(&l);
    cr_assert_eq(answer_wants(&l, told), LINKS);
    cr_assert(l.settled == 1 && dag.result == 0 && atomic_load(&dag.blocks) == LINKS);
    teardown(&l);
}

/* The read was answered while it was being stored, and then it was refused. */
Test(exchange, what_could_not_be_stored_is_not_passed_over)
{
    struct lone l;
    setup(&l, EXCHANGE_CAPABLE);
    struct cid a[2] = {cid_number(0), cid_number(1)};
    struct want w[2], again[2], dag = walk_of(&a[1]);
    l.slow = true;
    for (unsigned i = 0; i < 2; i++) {
        want(&l, &w[i], &a[i]);
        cr_assert_gt(say_block(&l, &a[i], span_of(&i, sizeof i)), 0);
        again[i] = (struct want){.kind = WANT_BLOCK, .cid = a[i], .root = a[i], .deadline = MONO_NEVER};
    }
    cr_assert(l.settled == 2 && l.stored == 2);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(exchange_want(l.x, &again[i], l.now), 0);
    cr_assert_eq(exchange_want(l.x, &dag, l.now), 0);
    exchange_stored(l.x, &a[1], ERR_NO_SPACE, l.now);
    pump(&l);
    cr_assert_eq(hear(&l).wants, 3, "it is asked for again");
    cr_assert_eq(l.settled, 3);
    for (unsigned i = 0; i < 2; i++)
        (void)block_unref(w[i].block);
    (void)block_unref(again[0].block);
    teardown(&l);
}
