/* SPDX-License-Identifier: MIT */
#include "net/service/tally.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(tally, counts_and_keeps)
{
    struct tally t = {.count = 0};
    struct tally_row *r = tally_open(&t, span_str("10.0.0.1"));
    struct tally_row *again = tally_open(&t, span_str("10.0.0.1"));
    cr_assert_eq(r, again);
    r->count.bytes_in += 5;
    tally_close(&t, r, 3 * MONO_S);
    tally_close(&t, again, MONO_S);
    const struct tally_row *found = tally_find(&t, span_str("10.0.0.1"));
    cr_assert(found);
    cr_assert_eq(found->count.open, 0);
    cr_assert_eq(found->count.streams, 2);
    cr_assert_eq(found->count.bytes_in, 5);
    cr_assert_eq(found->count.time, 4 * MONO_S);
    cr_assert_null(tally_find(&t, span_str("10.0.0.2")));
    tally_done(&t);
}

Test(tally, the_row_used_longest_ago_goes_and_open_ones_never)
{
    struct tally t = {.count = 0};
    char key[16];
    struct tally_row *first = tally_open(&t, span_str("first"));
    for (int i = 1; i < TALLY_MOST; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        tally_close(&t, tally_open(&t, span_str(key)), 0);
    }
    tally_close(&t, tally_open(&t, span_str("one more")), 0);
    cr_assert_eq(tally_find(&t, span_str("first")), first, "its stream is open");
    cr_assert_null(tally_find(&t, span_str("1")));
    cr_assert(tally_find(&t, span_str("2")));
    cr_assert_eq(t.count, TALLY_MOST);
    for (int i = 0; i < TALLY_MOST - 1; i++) {
        (void)snprintf(key, sizeof key, "open %d", i);
        cr_assert(tally_open(&t, span_str(key)));
    }
    cr_assert_null(tally_open(&t, span_str("none left")));
    tally_close(&t, NULL, 0);
    tally_done(&t);
}
