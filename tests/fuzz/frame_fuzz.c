/* LINK: net_wire */
/* SPDX-License-Identifier: MIT
 *
 * Framed messages: cut anywhere, they must be the same. The first byte is the size of the pieces. */
#include "net/wire/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGE_MAX 1000

/* Appends what was read; returns the error that ended it, or 0. */
static int read_all(struct span in, size_t step, struct buf *out)
{
    struct frame_reader f;
    int r = 0;
    frame_init(&f, MESSAGE_MAX);
    for (size_t at = 0; at < in.len && r == 0; at += step) {
        struct span part = span_sub(in, at, step), m;
        while ((r = frame_next(&f, &part, &m)) > 0) {
            if (m.len > MESSAGE_MAX)
                abort();
            frame_add(out, m);
        }
    }
    frame_done(&f);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct buf whole = BUF_INIT, pieces = BUF_INIT;
    struct span in = span_of(data + 1, size - 1);
    int r = read_all(in, in.len + 1, &whole);
    if (read_all(in, 1 + data[0] % 64u, &pieces) != r || !span_eq(buf_span(&whole), buf_span(&pieces)))
        abort();
    buf_done(&whole);
    buf_done(&pieces);
    return 0;
}
