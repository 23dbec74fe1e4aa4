/* SPDX-License-Identifier: MIT
 *
 * Messages on a stream, each behind its length as a uvarint: an incremental reader with a maximum.
 *
 * A message that lies whole in the bytes at hand is handed out in place; only one that is split over several calls is
 * collected, and its memory grows with the bytes that came, never with the length that was announced.
 */
#ifndef NET_WIRE_FRAME_H
#define NET_WIRE_FRAME_H

#include "store/base/err.h"
#include "store/base/span.h"

struct frame_reader {
    size_t max;      /* of one message, without its length */
    struct buf held; /* the beginning of a split message, with its length */
    size_t spent;    /* bytes of held that were handed out and go with the next call */
};

void frame_init(struct frame_reader *f, size_t max);
void frame_done(struct frame_reader *f);

/* 1: a message, borrowed from `in` or from f until the next call; `in` is moved past it. 0: `in` was used up, more is needed.
 * ERR_TOO_BIG: longer than max; ERR_INVALID: bad length. After an error the stream is lost. */
int frame_next(struct frame_reader *f, struct span *in, struct span *ret_message);
/* Is a message begun and not complete? At the end of a stream this means it was cut. */
bool frame_partial(const struct frame_reader *f);

void frame_add(struct buf *out, struct span message); /* length and message */

#endif
