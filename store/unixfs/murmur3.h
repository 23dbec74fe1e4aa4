/* SPDX-License-Identifier: MIT
 *
 * MurmurHash3 x64-128 (seed 0), its first 64 bits: what places a name in a HAMT. Not a secret, not safe against collisions on
 * purpose. Pure, any thread.
 */
#ifndef STORE_UNIXFS_MURMUR3_H
#define STORE_UNIXFS_MURMUR3_H

#include "store/base/span.h"

/* As a number whose most significant bits are consumed first (multihash murmur3-x64-64, big-endian). */
uint64_t murmur3_x64_64(struct span data);

#endif
