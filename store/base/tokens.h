/* SPDX-License-Identifier: MIT
 *
 * Token bucket: so many bytes a second, with a burst of a quarter of a second's worth (at least one network chunk).
 */
#ifndef STORE_BASE_TOKENS_H
#define STORE_BASE_TOKENS_H

#include "store/base/mono.h"

#include <stdbool.h>
#include <stddef.h>

#define TOKENS_BURST_MIN 16384

struct tokens {
    uint64_t rate; /* bytes a second; 0: no limit */
    uint64_t have, owed;
    mono_ns filled;
};

void tokens_init(struct tokens *t, uint64_t rate, mono_ns now);
void tokens_set_rate(struct tokens *t, uint64_t rate, mono_ns now);
size_t tokens_room(struct tokens *t, size_t want, mono_ns now); /* how many of `want` bytes may go now */
void tokens_spend(struct tokens *t, size_t bytes); /* more than tokens_room said is owed: there is no room until it came in */
mono_ns tokens_when(const struct tokens *t, size_t bytes); /* when that many (≤ the burst) are there; in the past: now */

#endif
