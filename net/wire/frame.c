/* SPDX-License-Identifier: MIT */
#include "net/wire/frame.h"

#include "store/base/uvarint.h"

#include <assert.h>

void frame_init(struct frame_reader *f, size_t max)
{
    assert(max > 0 && max < SIZE_MAX / 2);
    *f = (struct frame_reader){.max = max, .held = BUF_INIT};
}

void frame_done(struct frame_reader *f)
{
    buf_done(&f->held);
    f->spent = 0;
}

/* The length of the whole frame in *ret, its length field in *ret_head. 1, 0: not known yet, or an error. */
static int frame_measure(const struct frame_reader *f, struct span in, size_t *ret_head, size_t *ret)
{
    uint64_t len;
    int n = uvarint_read(in, &len);
    if (n == ERR_TRUNCATED)
        return 0;
    if (n < 0)
        return ERR_INVALID;
    if (len > f->max)
        return ERR_TOO_BIG;
    *ret_head = (size_t)n;
    *ret = (size_t)n + (size_t)len;
    return 1;
}

/* Moves up to `n` bytes from `in` to held. */
static void frame_hold(struct frame_reader *f, struct span *in, size_t n)
{
    struct span part = span_sub(*in, 0, n);
    buf_add_span(&f->held, part);
    *in = span_from(*in, part.len);
}

/* Completes the message in held. */
static int frame_next_held(struct frame_reader *f, struct span *in, struct span *ret_message)
{
    size_t head, whole;
    int r;
    while ((r = frame_measure(f, buf_span(&f->held), &head, &whole)) == 0) {
        if (in->len == 0)
            return 0;
        frame_hold(f, in, 1); /* the length itself is split */
    }
    if (r < 0)
        return r;
    frame_hold(f, in, whole - buf_len(&f->held));
    if (buf_len(&f->held) < whole)
        return 0;
    *ret_message = span_from(buf_span(&f->held), head);
    f->spent = whole;
    return 1;
}

int frame_next(struct frame_reader *f, struct span *in, struct span *ret_message)
{
    if (f->spent) {
        f->spent = 0;
        buf_done(&f->held); /* a stream may be idle for long: do not keep its largest message */
    }
    if (buf_len(&f->held) > 0)
        return frame_next_held(f, in, ret_message);
    size_t head, whole;
    int r = frame_measure(f, *in, &head, &whole);
    if (r < 0)
        return r;
    if (r == 0 || whole > in->len) {
        frame_hold(f, in, in->len);
        return 0;
    }
    *ret_message = span_sub(*in, head, whole - head);
    *in = span_from(*in, whole);
    return 1;
}

bool frame_partial(const struct frame_reader *f)
{
    return buf_len(&f->held) > f->spent;
}

void frame_add(struct buf *out, struct span message)
{
    buf_add_uvarint(out, message.len);
    buf_add_span(out, message);
}
