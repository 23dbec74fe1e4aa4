/* LINK: net_service */
/* SPDX-License-Identifier: MIT
 *
 * Datagrams from a peer's stream, in pieces as they come; what comes out is framed again, and gives the same bytes. */
#include "net/service/datagram.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct datagram_queue q = {.dropped = 0};
    struct buf in = BUF_INIT;
    struct span d, rest = span_of(data, size);
    mono_ns now = 1;
    while (rest.len) {
        struct span piece = span_sub(rest, 0, 1 + rest.data[0] % 29u);
        buf_add_span(&in, piece);
        rest = span_from(rest, piece.len);
        for (size_t n; (n = datagram_next(buf_span(&in), &d)); buf_consume(&in, n)) {
            must(n == d.len + DATAGRAM_HEAD && n <= buf_len(&in));
            datagram_push(&q, d, DATAGRAM_QUEUE_LEAST, now);
            struct span front = datagram_front(&q, now);
            must(span_eq(front, span_sub(buf_span(&in), 0, n)));
            if (d.len % 3)
                datagram_pop(&q);
            else
                now += DATAGRAM_AGE_MAX + 1; /* it is dropped by its age */
        }
    }
    must(buf_len(&in) <= DATAGRAM_HEAD + DATAGRAM_MAX + 29);
    datagram_queue_done(&q);
    buf_done(&in);
    return 0;
}
