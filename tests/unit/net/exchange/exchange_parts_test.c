/* SPDX-License-Identifier: MIT
 *
 * The small parts of the exchange: CID table, timers, token bucket. */
#include "net/exchange/cidmap.h"
#include "net/exchange/timerheap.h"
#include "store/base/tokens.h"
#include "store/base/rng.h"
#include "tests/lib/short_memory.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct entry {
    int value;
    struct cidnode node;
};

static struct entry *entry_of(struct cidnode *n)
{
    return (struct entry *)(void *)((char *)n - offsetof(struct entry, node));
}

Test(cidmap, same_block_under_several_cids)
{
    static const uint8_t key[CIDMAP_KEY_SIZE] = {1, 2, 3};
    struct cidmap m;
    cidmap_init(&m, key);
    struct cid raw, pb, other;
    cid_of(&raw, CODEC_RAW, span_str("x"));
    cid_recode(&pb, &raw, CODEC_DAG_PB);
    cid_of(&other, CODEC_RAW, span_str("y"));
    struct entry *a = CIDNODE_NEW(&m, struct entry, &raw), *b = CIDNODE_NEW(&m, struct entry, &pb);
    cr_assert_null(cidmap_first(&m, &raw));
    cidmap_add(&m, &a->node);
    cidmap_add(&m, &b->node);
    struct cidnode *first = cidmap_first(&m, &pb), *second = cidmap_more(first);
    cr_assert(first && second && first != second && !cidmap_more(second));
    cr_assert(cidnode_is(&a->node, &raw) && !cidnode_is(&a->node, &pb));
    cr_assert_null(cidmap_first(&m, &other));
    struct cid back;
    cidnode_cid(&b->node, &back);
    cr_assert(cid_eq(&back, &pb));
    cidmap_remove(&m, &a->node);
    cr_assert_eq(cidmap_first(&m, &raw), &b->node);
    cidmap_remove(&m, &b->node);
    cr_assert_eq(m.count, 0);
    free(a);
    free(b);
    cidmap_done(&m);
}

static void thousands(size_t buckets_least, size_t buckets_most)
{
    static const uint8_t key[CIDMAP_KEY_SIZE] = {9};
    enum { N = 5000 };
    struct cidmap m;
    cidmap_init(&m, key);
    struct entry *all[N];
    for (int i = 0; i < N; i++) {
        struct cid c;
        cid_of(&c, CODEC_RAW, span_of(&i, sizeof i));
        all[i] = CIDNODE_NEW(&m, struct entry, &c);
        all[i]->value = i;
        cidmap_add(&m, &all[i]->node);
    }
    for (int i = 0; i < N; i++) {
        struct cid c;
        cid_of(&c, CODEC_RAW, span_of(&i, sizeof i));
        cr_assert_eq(entry_of(cidmap_first(&m, &c))->value, i);
    }
    cr_assert(m.bucket_count >= buckets_least && m.bucket_count <= buckets_most, "%zu buckets", m.bucket_count);
    for (int i = 0; i < N; i++) {
        cidmap_remove(&m, &all[i]->node);
        free(all[i]);
    }
    cr_assert_eq(m.count, 0);
    cidmap_done(&m);
}

Test(cidmap, thousands)
{
    thousands(4096, 16384);
}

Test(cidmap, thousands_without_memory_for_a_bigger_table)
{
    short_memory_from = 4096;
    thousands(16, 4096 / sizeof(void *) - 1);
    cr_assert_gt(short_memory_refused, 0);
}

Test(timerheap, fires_in_order_whatever_is_moved)
{
    enum { N = 300 };
    struct timerheap h = {0};
    struct timer t[N] = {0};
    mono_ns at[N];
    struct rng rng;
    rng_init_seed(&rng, 5);
    for (int i = 0; i < N; i++)
        timer_set(&h, &t[i], at[i] = 1 + rng_below(&rng, 1000));
    for (int round = 0; round < 2000; round++) {
        size_t i = rng_below(&rng, N);
        at[i] = rng_below(&rng, 4) ? 1 + rng_below(&rng, 1000) : MONO_NEVER;
        timer_set(&h, &t[i], at[i]);
    }
    mono_ns last = 0;
    struct timer *due;
    unsigned fired = 0, set = 0;
    for (int i = 0; i < N; i++)
        set += at[i] != MONO_NEVER;
    cr_assert_null(timerheap_due(&h, 0));
    while ((due = timerheap_due(&h, 5000))) {
        cr_assert(due->at >= last && due->at == at[due - t] && !timer_is_set(due));
        last = due->at;
        fired++;
    }
    cr_assert_eq(fired, set);
    cr_assert_eq(timerheap_first(&h), MONO_NEVER);
    timer_clear(&h, &t[0]);
    cr_assert_null(h.first);
}

/* As each turn of a loop sets them: moved to later again and again, cleared from anywhere, in rising and in falling order */
Test(timerheap, many)
{
    enum { N = 100000 };
    struct timerheap h = {0};
    struct timer *t = mem_array(N, sizeof *t);
    for (int order = 0; order < 2; order++) {
        for (mono_ns i = 0; i < N; i++)
            timer_set(&h, &t[order ? N - 1 - i : i], 1 + i);
        for (mono_ns i = 0; i < N; i++)
            timer_set(&h, &t[i * 7919 % N], N + 1 + i);
        for (int i = 0; i < N; i += 3)
            timer_clear(&h, &t[i]);
        unsigned fired = 0;
        mono_ns last = 0;
        struct timer *due;
        for (; (due = timerheap_due(&h, 3 * N)); fired++, last = due->at)
            cr_assert(due->at >= last && (due - t) % 3 && !timer_is_set(due));
        cr_assert_eq(fired, N - (N + 2) / 3);
    }
    free(t);
}

Test(tokens, rate_is_kept)
{
    struct tokens t;
    tokens_init(&t, 1000000, 0);
    uint64_t sent = 0;
    for (mono_ns now = 0; now <= 10 * MONO_S; now += 7 * MONO_MS) {
        size_t n = tokens_room(&t, 1u << 20, now);
        tokens_spend(&t, n);
        sent += n;
    }
    cr_assert(sent > 10000000 && sent <= 10250000, "%u bytes in 10 s", (unsigned)sent);
    cr_assert_eq(tokens_room(&t, 100, 10 * MONO_S + MONO_NEVER / 4), 100);
    tokens_set_rate(&t, 0, 0);
    cr_assert_eq(tokens_room(&t, 1u << 30, 0), 1u << 30);
    tokens_init(&t, 1, 0);
    cr_assert_eq(tokens_room(&t, 1u << 20, 0), TOKENS_BURST_MIN);
    tokens_spend(&t, TOKENS_BURST_MIN);
    cr_assert_eq(tokens_room(&t, 1, MONO_S / 2), 0);
    cr_assert(tokens_when(&t, 1) > MONO_S / 2 && tokens_when(&t, 1) <= MONO_S + 1);
    cr_assert_eq(tokens_room(&t, 5, MONO_S + 1), 1, "fractions add up");
}

/* Pieces that cannot be cut */
Test(tokens, what_was_spent_on_top_is_owed)
{
    struct tokens t;
    tokens_init(&t, 10000, 0);
    uint64_t sent = 0;
    for (mono_ns now = 0; now <= 100 * MONO_S; now += 7 * MONO_MS)
        if (tokens_room(&t, 60000, now)) {
            tokens_spend(&t, 60000);
            sent += 60000;
            cr_assert_eq(tokens_room(&t, 1, tokens_when(&t, 1) - 2), 0);
        }
    cr_assert(sent > 900000 && sent <= 1080000, "%u bytes in 100 s", (unsigned)sent);
}
