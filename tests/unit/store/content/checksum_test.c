/* SPDX-License-Identifier: MIT */
#include "store/content/checksum.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* The first is NIST's GCM test case 1. All from `openssl mac -cipher AES-128-GCM -macopt hexkey:00… -macopt hexiv:00… GMAC` */
Test(checksum, is_what_it_was)
{
    static const uint8_t zeros[16];
    cr_assert_eq(checksum(SPAN_NONE), UINT64_C(0x58e2fccefa7e3061));
    cr_assert_eq(checksum(span_of(zeros, 16)), UINT64_C(0x21c2eb20cd2214db));
    cr_assert_eq(checksum(span_str("p2p")), UINT64_C(0x49c5f43645ffc828));
}

Test(checksum, sees_each_bit)
{
    enum { LEN = 5000 };
    uint8_t data[LEN];
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 37);
    uint64_t sum = checksum(span_of(data, LEN));
    for (size_t bit = 0; bit < LEN * 8; bit += 7) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(checksum(span_of(data, LEN)), sum, "bit %zu", bit);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_neq(checksum(span_of(data, LEN - 1)), sum);
    cr_assert_eq(checksum(span_of(data, LEN)), sum);
}
