/* SPDX-License-Identifier: MIT */
#include "store/base/span.h"

#include "store/base/rng.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(span, compares_and_cuts)
{
    struct span s = span_str("abcdef");
    cr_assert(span_eq_str(span_sub(s, 2, 3), "cde"));
    cr_assert(span_eq_str(span_sub(s, 4, 100), "ef"));
    cr_assert_eq(span_sub(s, 100, 1).len, 0);
    cr_assert(span_eq_str(span_from(s, 5), "f"));
    cr_assert(span_cmp(span_str("a"), span_str("b")) < 0);
    cr_assert(span_cmp(span_str("ab"), span_str("a")) > 0);
    cr_assert_eq(span_cmp(span_str("ab"), span_str("ab")), 0);
    cr_assert(span_cmp(SPAN_NONE, span_str("a")) < 0);
    cr_assert(span_starts(s, "abc") && !span_starts(s, "abcdefg") && span_starts(SPAN_NONE, ""));
}

/* A buf against a plain array that does the same, over random appends and consumes */
Test(buf, behaves_like_a_queue)
{
    struct rng r;
    rng_init_seed(&r, 7);
    struct buf b = BUF_INIT;
    uint8_t *model = malloc(1 << 22);
    size_t from = 0, to = 0;
    uint8_t next = 0;
    for (int i = 0; i < 4000; i++) {
        uint8_t piece[300];
        size_t n = rng_below(&r, sizeof piece + 1);
        for (size_t k = 0; k < n; k++)
            model[to++] = piece[k] = next++;
        buf_add(&b, piece, n);
        size_t gone = rng_below(&r, buf_len(&b) + 1);
        if (rng_below(&r, 3)) {
            buf_consume(&b, gone);
            from += gone;
        }
        cr_assert(span_eq(buf_span(&b), span_of(model + from, to - from)), "step %d", i);
    }
    buf_truncate(&b, buf_len(&b) / 2);
    cr_assert_eq(memcmp(buf_span(&b).data, model + from, buf_len(&b)), 0);
    free(model);
    buf_done(&b);
}

Test(buf, reuses_its_allocation_when_it_is_drained)
{
    struct buf b = BUF_INIT;
    uint8_t piece[1000] = {0};
    for (int i = 0; i < 10000; i++) {
        buf_add(&b, piece, sizeof piece);
        buf_consume(&b, sizeof piece);
    }
    cr_assert(b.cap <= 4096, "an empty buf does not grow: %zu", b.cap);
    for (int i = 0; i < 10000; i++) { /* never empty, bounded contents: still no growth without end */
        buf_add(&b, piece, sizeof piece);
        if (buf_len(&b) > 3000)
            buf_consume(&b, sizeof piece);
    }
    cr_assert(b.cap <= 16384, "%zu", b.cap);
    buf_done(&b);
}

Test(buf, formats)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s=%d;", "x", 42);
    buf_add_str(&b, "tail");
    buf_add_u8(&b, '!');
    cr_assert_str_eq(buf_cstr(&b), "x=42;tail!");
    cr_assert_eq(buf_len(&b), 10);
    buf_wipe(&b);
    cr_assert_eq(buf_len(&b), 0);
    struct span inner = span_of("a\0b", 3);
    char *text = mem_strn(inner);
    cr_assert_eq(memcmp(text, "a\0b\0", 4), 0);
    free(text);
}

Test(buf, a_try_adds)
{
    struct buf b = BUF_INIT;
    cr_assert(buf_try_add(&b, SPAN_NONE) && !b.base);
    cr_assert(buf_try_add(&b, span_str("ab")) && buf_try_add(&b, span_str("c")));
    cr_assert(span_eq_str(buf_span(&b), "abc"));
    buf_done(&b);
}

#ifndef __SANITIZE_ADDRESS__ /* which does not refuse, but end */

/* The machine's memory is not to be used up here: what it refuses is a size that it cannot have. */
Test(buf, a_soft_one_is_cut_where_memory_ends)
{
    struct buf b = BUF_SOFT;
    static const uint8_t nothing;
    buf_add_str(&b, "one ");
    buf_printf(&b, "%d ", 2);
    cr_assert(!b.cut);
    buf_add(&b, &nothing, SIZE_MAX / 4); /* not looked at: there is no room for it */
    cr_assert(b.cut && span_eq_str(buf_span(&b), "one 2 "));
    buf_add_str(&b, "three");
    buf_printf(&b, "%d", 4);
    buf_add_u8(&b, '5');
    cr_assert(b.cut && span_eq_str(buf_span(&b), "one 2 "), "nothing follows a gap");
    cr_assert_str_eq(buf_cstr(&b), "");
    buf_done(&b);
    cr_assert(!b.cut && !b.soft);
}

#endif
