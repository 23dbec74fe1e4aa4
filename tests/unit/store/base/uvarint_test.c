/* SPDX-License-Identifier: MIT */
#include "store/base/uvarint.h"

#include "store/base/err.h"

#include <criterion/criterion.h>

/* github.com/multiformats/unsigned-varint, examples */
Test(uvarint, published_vectors)
{
    static const struct {
        uint64_t value;
        const char *bytes;
        size_t len;
    } table[] = {
        {1, "\x01", 1},
        {127, "\x7f", 1},
        {128, "\x80\x01", 2},
        {255, "\xff\x01", 2},
        {300, "\xac\x02", 2},
        {16384, "\x80\x80\x01", 3},
        {UINT64_C(0x7fffffffffffffff), "\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 9},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint64_t v = 0;
        struct span bytes = span_of(table[i].bytes, table[i].len);
        cr_assert_eq(uvarint_read(bytes, &v), (int)table[i].len);
        cr_assert_eq(v, table[i].value);
        cr_assert_eq(uvarint_len(v), table[i].len);
        uint8_t out[UVARINT_LAX_LEN];
        cr_assert(span_eq(span_of(out, uvarint_put(out, v)), bytes));
        for (size_t cut = 0; cut < bytes.len; cut++)
            cr_assert_eq(uvarint_read(span_sub(bytes, 0, cut), &v), ERR_TRUNCATED);
    }
}

Test(uvarint, refuses_padding_and_excess)
{
    uint64_t v = 5;
    cr_assert_eq(uvarint_read(span_of("\x81\x00", 2), &v), ERR_INVALID);
    cr_assert_eq(uvarint_read(span_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), &v), ERR_INVALID);
    cr_assert_eq(v, 5, "written only on success");
    cr_assert_eq(uvarint_read_lax(span_of("\x81\x00", 2), &v), 2);
    cr_assert_eq(v, 1);
    cr_assert_eq(uvarint_read_lax(span_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), &v), 10);
    cr_assert_eq(v, UINT64_MAX);
    cr_assert_eq(uvarint_read_lax(span_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10), &v), ERR_INVALID);
    cr_assert_eq(uvarint_read_lax(span_of("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11), &v), ERR_INVALID);
}
