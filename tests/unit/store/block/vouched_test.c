/* SPDX-License-Identifier: MIT */
#include "store/block/vouched.h"

#include "store/base/span.h"

#include <criterion/criterion.h>

static void cid_at(uint64_t n, struct cid *ret)
{
    cid_of(ret, CODEC_RAW, span_of(&n, sizeof n));
}

Test(vouched, knows_what_it_was_told)
{
    struct vouched *v = vouched_new();
    struct cid a, b;
    cid_at(1, &a);
    cid_at(2, &b);
    cr_assert_not(vouched_has(v, &a));
    vouched_add(v, &a);
    vouched_add(v, &a);
    cr_assert(vouched_has(v, &a));
    cr_assert_not(vouched_has(v, &b));
    vouched_drop(v, &b);
    vouched_drop(v, &a);
    cr_assert_not(vouched_has(v, &a));
    vouched_free(v);
    vouched_free(NULL);
}

/* Many times as many as fit: it never grows, the latest is known, and what was never told is not. */
Test(vouched, forgets_and_stays_small)
{
    enum { MANY = 300000 };
    struct vouched *v = vouched_new();
    struct cid c;
    unsigned known = 0;
    for (uint64_t n = 0; n < MANY; n++) {
        cid_at(n, &c);
        vouched_add(v, &c);
        cr_assert(vouched_has(v, &c));
    }
    for (uint64_t n = 0; n < MANY; n++) {
        cid_at(n, &c);
        known += vouched_has(v, &c);
        cid_at(MANY + n, &c);
        cr_assert_not(vouched_has(v, &c));
    }
    cr_assert_gt(known, 60000);
    cr_assert_leq(known, 65536);
    vouched_free(v);
}
