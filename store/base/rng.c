/* SPDX-License-Identifier: MIT */
#include "store/base/rng.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

void rng_init_secure(struct rng *r)
{
    int rc = sodium_init(); /* 0 done, 1 already done */
    assert(rc >= 0);
    (void)rc;
    *r = (struct rng){0, 0};
}

void rng_init_seed(struct rng *r, uint64_t seed)
{
    *r = (struct rng){seed, 1};
}

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 */
static uint64_t split_mix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void rng_fill(struct rng *r, void *out, size_t len)
{
    if (!r->seeded) {
        randombytes_buf(out, len);
        return;
    }
    uint8_t *p = out;
    while (len) {
        uint64_t v = split_mix(&r->state);
        size_t n = len < sizeof v ? len : sizeof v;
        memcpy(p, &v, n);
        p += n;
        len -= n;
    }
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t v;
    rng_fill(r, &v, sizeof v);
    return v;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    assert(bound > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound; /* reject the uneven tail */
    uint64_t v;
    do
        v = rng_u64(r);
    while (v >= limit);
    return v % bound;
}
