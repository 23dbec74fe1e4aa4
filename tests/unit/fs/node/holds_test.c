/* SPDX-License-Identifier: MIT */
#include "fs/node/holds.h"

#include "store/codec/dagpb.h"

#include <criterion/criterion.h>

static struct cid number(unsigned i)
{
    struct cid c;
    cid_of(&c, i % 2 ? CODEC_RAW : CODEC_DAG_PB, span_of(&i, sizeof i));
    return c;
}

static void add(struct holds *h, unsigned from, unsigned to)
{
    for (; from < to; from++) {
        struct cid c = number(from);
        holds_add(h, &c);
    }
}

static void expect(struct holds *h, unsigned from, unsigned to)
{
    struct cid c, should;
    cr_assert_eq(h->count, to - from);
    while (to-- > from) {
        should = number(to);
        cr_assert(holds_is_newest(h, &should));
        cr_assert(holds_take(h, &c) && cid_eq(&c, &should), "%u", to);
    }
    cr_assert(!holds_take(h, &c) && !holds_is_newest(h, &should) && !h->newest && !h->oldest && h->count == 0);
}

Test(holds, the_newest_goes_first)
{
    struct holds h = {0};
    for (unsigned n = 0; n < 1000; n = n * 2 + 1) {
        add(&h, 0, n);
        expect(&h, 0, n);
    }
}

Test(holds, move)
{
    static const unsigned sizes[] = {0, 1, 2, 119, 120, 121, 500};
    enum { N = sizeof sizes / sizeof sizes[0] };
    for (unsigned a = 0; a < N; a++)
        for (unsigned b = 0; b < N; b++) {
            struct holds to = {0}, from = {0};
            unsigned all = sizes[a] + sizes[b];
            add(&to, 0, sizes[a]);
            add(&from, sizes[a], all);
            holds_move(&to, &from);
            cr_assert(!from.newest && from.count == 0);
            add(&to, all, all + 3);
            expect(&to, 0, all + 3);
        }
}

Test(holds, taken_and_added_in_turn)
{
    struct holds h = {0};
    struct cid c;
    add(&h, 0, 300);
    for (unsigned i = 0; i < 200; i++)
        cr_assert(holds_take(&h, &c));
    add(&h, 100, 400);
    expect(&h, 0, 400);
}

/* A node that links to them is held in their place, whoever lets go of what */
Test(holds, what_is_folded_is_linked_to)
{
    enum { N = 5000 };
    struct holds h = {0};
    unsigned folds = 0, linked = 0;
    for (unsigned i = 0; i < N; i++) {
        add(&h, i, i + 1);
        struct buf node = BUF_INIT;
        struct holds below = {0};
        struct cid child, of_node;
        if (holds_fold(&h, &below, &node)) {
            folds++;
            cr_assert_leq(buf_len(&node), 65536);
            struct dagpb pb;
            cr_assert_eq(dagpb_parse(buf_span(&node), &pb), 0);
            struct dagpb_iter it = dagpb_iter(&pb);
            struct dagpb_link link;
            for (unsigned k = i + 1; dagpb_next(&it, &link); linked++) {
                struct cid should = number(--k);
                dagpb_link_cid(&link, &child);
                cr_assert(cid_eq(&child, &should));
            }
            cr_assert_eq(below.count, HOLDS_FOLD);
            for (unsigned k = i + 1 - HOLDS_FOLD; holds_take(&below, &child); k++) {
                struct cid should = number(k);
                cr_assert(cid_eq(&child, &should));
            }
            cid_of(&of_node, CODEC_DAG_PB, buf_span(&node));
            holds_add(&h, &of_node);
        }
        buf_done(&node);
        cr_assert_leq(h.count, HOLDS_FOLD + N / HOLDS_FOLD);
    }
    cr_assert_eq(folds, N / HOLDS_FOLD);
    cr_assert_eq(linked, folds * HOLDS_FOLD);
    cr_assert_eq(h.count, folds + N % HOLDS_FOLD);
    struct holds other = {0};
    holds_move(&other, &h);
    add(&h, 0, HOLDS_FOLD - 1);
    struct buf node = BUF_INIT;
    struct holds below = {0};
    cr_assert(!holds_fold(&h, &below, &node), "begun anew");
    struct cid c;
    while (holds_take(&h, &c) || holds_take(&other, &c))
        ;
    buf_done(&node);
}
