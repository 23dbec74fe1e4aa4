/* SPDX-License-Identifier: MIT */
#include "net/wire/frame.h"

#include "store/base/uvarint.h"
#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>

/* Feeds `all` in pieces of `step` bytes; the messages must be those that were framed. */
static void feed(struct span all, size_t step, const size_t *lens, size_t count)
{
    struct frame_reader f;
    size_t seen = 0;
    frame_init(&f, 70000);
    for (size_t at = 0; at < all.len; at += step) {
        uint8_t *mem;
        struct span in = exact(span_sub(all, at, step), &mem), m;
        int r;
        while ((r = frame_next(&f, &in, &m)) == 1) {
            cr_assert_lt(seen, count);
            cr_assert_eq(m.len, lens[seen]);
            for (size_t i = 0; i < m.len; i++)
                cr_assert_eq(m.data[i], (uint8_t)(seen + i));
            seen++;
        }
        cr_assert_eq(r, 0);
        cr_assert_eq(in.len, 0);
        free(mem);
    }
    cr_assert_eq(seen, count);
    cr_assert(!frame_partial(&f));
    frame_done(&f);
}

Test(frame, any_split)
{
    static const size_t lens[] = {0, 1, 5, 127, 128, 300, 0, 0, 70000, 3};
    enum { COUNT = sizeof lens / sizeof *lens };
    struct buf all = BUF_INIT, m = BUF_INIT;
    for (size_t k = 0; k < COUNT; k++) {
        buf_clear(&m);
        for (size_t i = 0; i < lens[k]; i++)
            buf_add_u8(&m, (uint8_t)(k + i));
        frame_add(&all, buf_span(&m));
    }
    static const size_t steps[] = {1, 2, 3, 7, 64, 1000, 65536, 1 << 20};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        feed(buf_span(&all), steps[i], lens, COUNT);
    buf_done(&all);
    buf_done(&m);
}

Test(frame, whole_messages_are_not_copied)
{
    struct frame_reader f;
    struct span in = span_str("\003abc\002de"), m;
    const uint8_t *base = in.data;
    frame_init(&f, 10);
    cr_assert_eq(frame_next(&f, &in, &m), 1);
    cr_assert_eq(m.data, base + 1);
    cr_assert_eq(frame_next(&f, &in, &m), 1);
    cr_assert_eq(m.data, base + 5);
    cr_assert_eq(frame_next(&f, &in, &m), 0);
    frame_done(&f);
}

Test(frame, bounds)
{
    struct frame_reader f;
    struct span m, in = span_str("\013");
    frame_init(&f, 10);
    cr_assert_eq(frame_next(&f, &in, &m), ERR_TOO_BIG, "known from the length alone");
    frame_done(&f);
    frame_init(&f, 1 << 20);
    struct buf b = BUF_INIT;
    hex_add(&b, "8000");
    in = buf_span(&b);
    cr_assert_eq(frame_next(&f, &in, &m), ERR_INVALID, "not minimal");
    frame_done(&f);
    frame_init(&f, 1 << 20);
    buf_clear(&b);
    for (int i = 0; i < 12; i++)
        hex_add(&b, "ff");
    int r = 0;
    for (size_t i = 0; i < 12 && r == 0; i++) {
        in = span_sub(buf_span(&b), i, 1);
        r = frame_next(&f, &in, &m);
    }
    cr_assert_eq(r, ERR_INVALID);
    frame_done(&f);
    /* the announced length is not allocated */
    frame_init(&f, 1u << 30);
    buf_clear(&b);
    buf_add_uvarint(&b, 1u << 30);
    buf_add_str(&b, "x");
    in = buf_span(&b);
    cr_assert_eq(frame_next(&f, &in, &m), 0);
    cr_assert(frame_partial(&f));
    cr_assert_lt(f.held.cap, 1024);
    frame_done(&f);
    buf_done(&b);
}
