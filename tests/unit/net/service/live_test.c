/* SPDX-License-Identifier: MIT */
#include "net/service/live.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define SECOND MONO_S

/* Ten bytes each tenth of a second, their time in them */
static void feed(struct live *l, mono_ns from, mono_ns to)
{
    for (mono_ns now = from; now < to; now += 100 * MONO_MS) {
        char text[11];
        (void)snprintf(text, sizeof text, "%09d\n", (int)(now / (100 * MONO_MS)));
        live_write(l, span_of(text, 10), now);
    }
}

Test(live, a_reader_begins_two_seconds_back)
{
    struct live l = {.begin = 0};
    uint64_t skipped;
    cr_assert_eq(live_start(&l, 0), 0, "nothing was written yet");
    feed(&l, 0, 10 * SECOND);
    uint64_t place = live_start(&l, 10 * SECOND);
    struct span got = live_read(&l, &place, 10 * SECOND, &skipped);
    cr_assert_eq(skipped, 0);
    cr_assert(got.len >= 190 && got.len <= 210, "%zu", got.len);
    cr_assert(memcmp(got.data + got.len - 10, "000000099\n", 10) == 0);
    place += got.len;
    cr_assert_eq(live_read(&l, &place, 10 * SECOND, &skipped).len, 0);
    cr_assert_eq(place, live_end(&l));
    live_done(&l);
}

Test(live, a_slow_reader_skips_and_the_writer_never_waits)
{
    struct live l = {.begin = 0};
    uint64_t slow, skipped;
    feed(&l, 0, SECOND);
    slow = live_start(&l, SECOND);
    feed(&l, SECOND, 30 * SECOND);
    struct span got = live_read(&l, &slow, 30 * SECOND, &skipped);
    cr_assert_gt(skipped, 0);
    cr_assert(got.len >= 190 && got.len <= 210, "%zu", got.len);
    cr_assert_eq(got.data[9], '\n', "it goes on where a write began");
    cr_assert_leq(buf_len(&l.bytes), 100 * (LIVE_KEEP / SECOND) + 30);
    live_done(&l);
}

Test(live, is_bounded_in_bytes)
{
    struct live l = {.begin = 0};
    size_t size = (size_t)1 << 20;
    uint8_t *piece = mem_new(3 * LIVE_MAX);
    uint64_t place = 0, skipped;
    for (int i = 0; i < 40; i++)
        live_write(&l, span_of(piece, size), SECOND + (mono_ns)i * MONO_MS);
    cr_assert_eq(buf_len(&l.bytes), LIVE_MAX);
    cr_assert_eq(live_end(&l), 40 * size);
    live_write(&l, span_of(piece, 3 * LIVE_MAX), 2 * SECOND);
    cr_assert_eq(buf_len(&l.bytes), LIVE_MAX);
    cr_assert_eq(live_end(&l), 40 * size + 3 * LIVE_MAX);
    cr_assert_eq(live_read(&l, &place, 2 * SECOND, &skipped).len + skipped, live_end(&l));
    live_done(&l);
    free(piece);
}
