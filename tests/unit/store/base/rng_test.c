/* SPDX-License-Identifier: MIT */
#include "store/base/rng.h"

#include <criterion/criterion.h>
#include <string.h>

Test(rng, a_seed_replays)
{
    struct rng a, b, c;
    rng_init_seed(&a, 1);
    rng_init_seed(&b, 1);
    rng_init_seed(&c, 2);
    uint8_t x[100], y[100], z[100];
    rng_fill(&a, x, sizeof x);
    rng_fill(&b, y, sizeof y);
    rng_fill(&c, z, sizeof z);
    cr_assert_eq(memcmp(x, y, sizeof x), 0);
    cr_assert_neq(memcmp(x, z, sizeof x), 0);
}

/* splitmix64 from seed 1234567: the reference implementation's first outputs */
Test(rng, splitmix_vector)
{
    struct rng r;
    rng_init_seed(&r, 1234567);
    cr_assert_eq(rng_u64(&r), UINT64_C(6457827717110365317));
    cr_assert_eq(rng_u64(&r), UINT64_C(3203168211198807973));
}

Test(rng, below_is_uniform_enough)
{
    struct rng r;
    rng_init_seed(&r, 3);
    unsigned hits[7] = {0};
    for (int i = 0; i < 70000; i++)
        hits[rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++)
        cr_assert(hits[i] > 9500 && hits[i] < 10500, "%u", hits[i]);
    cr_assert_eq(rng_below(&r, 1), 0);
}

Test(rng, secure_is_not_constant)
{
    struct rng r;
    rng_init_secure(&r);
    cr_assert_neq(rng_u64(&r), rng_u64(&r));
}
