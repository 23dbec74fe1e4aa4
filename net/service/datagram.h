/* SPDX-License-Identifier: MIT
 *
 * Datagrams on a byte stream, boundaries kept: one stream for each flow, and on it
 *
 *      0        2
 *      +--------+----------------+
 *      | length | datagram       |      length: big-endian, of the datagram; 0 is an empty one
 *      +--------+----------------+
 *
 * A sender that falls behind drops the oldest: what waits here is bounded in bytes and in age, so that a slow path loses
 * datagrams, as UDP does, and does not become seconds of stale audio. Pure; tests/fuzz/datagram_fuzz.c.
 */
#ifndef NET_SERVICE_DATAGRAM_H
#define NET_SERVICE_DATAGRAM_H

#include "store/base/mono.h"
#include "store/base/span.h"

#define DATAGRAM_MAX  65535
#define DATAGRAM_HEAD 2
#define DATAGRAM_QUEUE_LEAST                                                                                                   \
    ((size_t)128 << 10)                      /* bytes that may wait, with heads, in any queue: more than the largest datagram */
#define DATAGRAM_QUEUE_MAX ((size_t)1 << 20) /* the same, where there is memory for it */
#define DATAGRAM_AGE_MAX   (250 * MONO_MS)
#define DATAGRAM_IDLE      (60 * MONO_S) /* a flow without any is over */

/* The first datagram of `in`: how many bytes it takes with its head (then *ret borrows from in), or 0: not all of it
 * is there. */
size_t datagram_next(struct span in, struct span *ret);

struct datagram_queue {
    struct buf bytes; /* each: when it came (8), length (2), datagram */
    uint64_t dropped;
};

void datagram_queue_done(struct datagram_queue *q);
/* Of all that wait, not more than `most` bytes stay. Longer than DATAGRAM_MAX: dropped. */
void datagram_push(struct datagram_queue *q, struct span datagram, size_t most, mono_ns now);
/* The oldest that is not too old, with its head, ready for the stream; empty: none. Until the next call. */
struct span datagram_front(struct datagram_queue *q, mono_ns now);
void datagram_pop(struct datagram_queue *q);
void datagram_freshen(struct datagram_queue *q, mono_ns now); /* they waited for the stream to be opened: as if they came now */

#endif
