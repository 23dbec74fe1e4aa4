/* SPDX-License-Identifier: MIT */
#include "net/service/datagram.h"

#include "tests/lib/short_memory.h"

#include <criterion/criterion.h>

static void push(struct datagram_queue *q, const char *text, mono_ns now)
{
    datagram_push(q, span_str(text), DATAGRAM_QUEUE_LEAST, now);
}

/* Takes the front off; its datagram as text */
static const char *pop(struct datagram_queue *q, mono_ns now)
{
    static char text[64];
    struct span d, front = datagram_front(q, now);
    size_t n = datagram_next(front, &d);
    cr_assert_eq(n, front.len, "the front is one whole datagram");
    cr_assert_lt(d.len, sizeof text);
    memcpy(text, d.data, d.len);
    text[d.len] = 0;
    datagram_pop(q);
    return text;
}

Test(datagram, boundaries_are_kept)
{
    struct datagram_queue q = {.dropped = 0};
    push(&q, "one", 5);
    push(&q, "", 6);
    push(&q, "three", 7);
    cr_assert_str_eq(pop(&q, 8), "one");
    cr_assert_str_eq(pop(&q, 8), "");
    cr_assert_str_eq(pop(&q, 8), "three");
    cr_assert_eq(datagram_front(&q, 8).len, 0);
    cr_assert_eq(q.dropped, 0);
    datagram_queue_done(&q);
}

Test(datagram, every_truncation_waits_for_more)
{
    static const uint8_t wire[] = {0, 3, 'a', 'b', 'c', 0, 0};
    struct span d;
    for (size_t n = 0; n < 5; n++)
        cr_assert_eq(datagram_next(span_of(wire, n), &d), 0, "%zu", n);
    cr_assert_eq(datagram_next(span_of(wire, sizeof wire), &d), 5);
    cr_assert(span_eq_str(d, "abc"));
    cr_assert_eq(datagram_next(span_of(wire + 5, 2), &d), 2, "an empty one");
    cr_assert_eq(d.len, 0);
}

Test(datagram, without_memory_the_new_one_is_lost)
{
    static uint8_t big[1200];
    struct datagram_queue q = {.dropped = 0};
    push(&q, "first", 5);
    short_memory_from = 1024;
    datagram_push(&q, span_of(big, sizeof big), DATAGRAM_QUEUE_LEAST, 5);
    cr_assert_eq(q.dropped, 1);
    push(&q, "small", 6); /* there is room for it */
    cr_assert_str_eq(pop(&q, 7), "first");
    cr_assert_str_eq(pop(&q, 7), "small");
    cr_assert_eq(datagram_front(&q, 7).len, 0);
    short_memory_from = SIZE_MAX;
    datagram_push(&q, span_of(big, sizeof big), DATAGRAM_QUEUE_LEAST, 7);
    cr_assert_eq(datagram_front(&q, 7).len, sizeof big + DATAGRAM_HEAD);
    cr_assert_eq(q.dropped, 1);
    datagram_queue_done(&q);
}

Test(datagram, the_oldest_goes_when_behind)
{
    struct datagram_queue q = {.dropped = 0};
    static uint8_t big[1200];
    const unsigned fit = DATAGRAM_QUEUE_LEAST / (sizeof big + 10);
    for (unsigned i = 0; i < fit + 10; i++) {
        big[0] = (uint8_t)i;
        datagram_push(&q, span_of(big, sizeof big), DATAGRAM_QUEUE_LEAST, 1);
    }
    cr_assert_eq(q.dropped, 10);
    struct span d;
    cr_assert_gt(datagram_next(datagram_front(&q, 1), &d), 0);
    cr_assert_eq(d.data[0], 10, "the first ten went");
    cr_assert_leq(buf_len(&q.bytes), DATAGRAM_QUEUE_LEAST);
    datagram_queue_done(&q);
}

Test(datagram, the_newest_stays_whatever_may)
{
    struct datagram_queue q = {.dropped = 0};
    struct span d;
    datagram_push(&q, span_str("old"), DATAGRAM_QUEUE_MAX, 1);
    datagram_push(&q, span_str("new"), 1, 1);
    cr_assert_eq(q.dropped, 1);
    cr_assert_gt(datagram_next(datagram_front(&q, 1), &d), 0);
    cr_assert(span_eq_str(d, "new"));
    datagram_queue_done(&q);
}

Test(datagram, the_stale_go_unsent)
{
    struct datagram_queue q = {.dropped = 0};
    push(&q, "stale", 0);
    push(&q, "fresh", DATAGRAM_AGE_MAX);
    cr_assert_str_eq(pop(&q, DATAGRAM_AGE_MAX + 1), "fresh");
    cr_assert_eq(q.dropped, 1);
    push(&q, "waited", 0);
    push(&q, "too", 0);
    datagram_freshen(&q, 10 * DATAGRAM_AGE_MAX);
    cr_assert_str_eq(pop(&q, 10 * DATAGRAM_AGE_MAX + 1), "waited");
    cr_assert_str_eq(pop(&q, 10 * DATAGRAM_AGE_MAX + 1), "too");
    datagram_queue_done(&q);
}

Test(datagram, the_largest_fits_and_a_larger_one_does_not)
{
    struct datagram_queue q = {.dropped = 0};
    uint8_t *big = mem_new(DATAGRAM_MAX + 1);
    struct span d;
    datagram_push(&q, span_of(big, DATAGRAM_MAX + 1), DATAGRAM_QUEUE_LEAST, 0);
    cr_assert_eq(q.dropped, 1);
    datagram_push(&q, span_of(big, DATAGRAM_MAX), DATAGRAM_QUEUE_LEAST, 0);
    cr_assert_eq(datagram_next(datagram_front(&q, 0), &d), DATAGRAM_MAX + DATAGRAM_HEAD);
    datagram_queue_done(&q);
    free(big);
}
