/* SPDX-License-Identifier: MIT
 *
 * Randomness as an object that is handed in, so that simulations replay from a seed.
 *
 * A secure rng asks the kernel (libsodium); a seeded one is a splitmix64 sequence, only for tests and simulations: never
 * for keys outside them. Not shared between threads.
 */
#ifndef STORE_BASE_RNG_H
#define STORE_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
    int seeded;
};

void     rng_init_secure(struct rng *r);
void     rng_init_seed(struct rng *r, uint64_t seed);
void     rng_fill(struct rng *r, void *out, size_t len);
uint64_t rng_u64(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t bound); /* uniform in [0, bound), bound > 0 */

#endif
