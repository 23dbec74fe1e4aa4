/* SPDX-License-Identifier: MIT
 *
 * MurmurHash3 x64-128, from its published definition (public domain, A. Appleby); only the first half is kept, but both
 * halves take part in it.
 */
#include "store/unixfs/murmur3.h"

#define C1 UINT64_C(0x87c37b91114253d5)
#define C2 UINT64_C(0x4cf5ad432745937f)

static uint64_t rotl(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

static uint64_t u64le(const uint8_t *p, size_t len)
{
    uint64_t v = 0;
    for (size_t i = len; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static uint64_t mix1(uint64_t k)
{
    return rotl(k * C1, 31) * C2;
}

static uint64_t mix2(uint64_t k)
{
    return rotl(k * C2, 33) * C1;
}

static uint64_t finish(uint64_t k)
{
    k = (k ^ k >> 33) * UINT64_C(0xff51afd7ed558ccd);
    k = (k ^ k >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return k ^ k >> 33;
}

uint64_t murmur3_x64_64(struct span data)
{
    uint64_t h1 = 0, h2 = 0;
    size_t at = 0;
    for (; data.len - at >= 16; at += 16) {
        h1 ^= mix1(u64le(data.data + at, 8));
        h1 = (rotl(h1, 27) + h2) * 5 + 0x52dce729;
        h2 ^= mix2(u64le(data.data + at + 8, 8));
        h2 = (rotl(h2, 31) + h1) * 5 + 0x38495ab5;
    }
    struct span tail = span_from(data, at);
    if (tail.len > 8)
        h2 ^= mix2(u64le(tail.data + 8, tail.len - 8));
    if (tail.len)
        h1 ^= mix1(u64le(tail.data, tail.len < 8 ? tail.len : 8));
    h1 ^= data.len;
    h2 ^= data.len;
    h1 += h2;
    h2 += h1;
    return finish(h1) + finish(h2);
}
