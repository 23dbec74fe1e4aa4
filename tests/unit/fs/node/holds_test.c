/* SPDX-License-Identifier: MIT */
#include "fs/node/holds.h"

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
