/* SPDX-License-Identifier: MIT */
#include "store/content/checksum.h"

#include <xxhash.h>
#ifdef __x86_64__
#include <xxh_x86dispatch.h> /* with what this processor has, not only what all have: four times as fast */
#endif

uint64_t checksum(struct span data)
{
    return XXH3_64bits(data.data, data.len);
}
