/* SPDX-License-Identifier: MIT */
#include "store/content/checksum.h"

#include <criterion/criterion.h>

enum { LEN = 5000 };

static void fill(uint8_t data[LEN])
{
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 37);
}

/* From xxhsum -H3: stores that were written keep their sums. */
Test(checksum, is_what_it_was)
{
    static const uint8_t zeros[16];
    uint8_t data[LEN];
    fill(data);
    cr_assert_eq(checksum(SPAN_NONE), UINT64_C(0x2d06800538d394c2));
    cr_assert_eq(checksum(span_of(zeros, 16)), UINT64_C(0xd0a66a65c7528968));
    cr_assert_eq(checksum(span_str("p2p")), UINT64_C(0xf67eb20cd0c66d42));
    cr_assert_eq(checksum(span_of(data, LEN)), UINT64_C(0x8bc9a3f201747476));
}

Test(checksum, sees_each_bit)
{
    uint8_t data[LEN];
    fill(data);
    uint64_t sum = checksum(span_of(data, LEN));
    for (size_t bit = 0; bit < LEN * 8; bit += 7) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(checksum(span_of(data, LEN)), sum, "bit %zu", bit);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_neq(checksum(span_of(data, LEN - 1)), sum);
    cr_assert_eq(checksum(span_of(data, LEN)), sum);
}

/* What disks do: a page comes back as zeros, or as its neighbour */
Test(checksum, sees_pages_lost_and_mixed_up)
{
    enum { PAGE = 512, PAGES = 9 };
    uint8_t data[PAGES * PAGE], other[sizeof data];
    uint64_t x = 1;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)((x = x * UINT64_C(6364136223846793005) + 1442695040888963407) >> 56);
    uint64_t sum = checksum(span_of(data, sizeof data));
    for (size_t a = 0; a < PAGES; a++) {
        memcpy(other, data, sizeof data);
        memset(other + a * PAGE, 0, PAGE);
        cr_assert_neq(checksum(span_of(other, sizeof other)), sum, "page %zu", a);
        for (size_t b = 0; b < PAGES; b++) {
            memcpy(other, data, sizeof data);
            memcpy(other + a * PAGE, data + b * PAGE, PAGE);
            memcpy(other + b * PAGE, data + a * PAGE, PAGE);
            cr_assert(a == b || checksum(span_of(other, sizeof other)) != sum, "pages %zu and %zu", a, b);
        }
    }
}
