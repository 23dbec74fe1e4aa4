/* SPDX-License-Identifier: MIT
 *
 * The ring of a live service: one writer, many readers, each with a place of its own in an endless stream of bytes. The writer
 * is never held up: what is older than LIVE_KEEP, or does not fit LIVE_MAX, goes; a reader whose place has gone is moved to
 * where a new one would begin, LIVE_BACK before the end. Pure.
 */
#ifndef NET_SERVICE_LIVE_H
#define NET_SERVICE_LIVE_H

#include "store/base/mono.h"
#include "store/base/span.h"

#define LIVE_BACK  (2 * MONO_S)
#define LIVE_KEEP  (6 * MONO_S)
#define LIVE_MAX   ((size_t)8 << 20)
#define LIVE_MARKS 64 /* of time: one each tenth of a second, at least */

struct live {
    struct buf bytes;
    uint64_t begin; /* place of the first of them in the stream */
    struct live_mark {
        mono_ns at;
        uint64_t place;
    } marks[LIVE_MARKS]; /* the oldest first */
    unsigned mark_count;
};

void live_done(struct live *l);
void live_write(struct live *l, struct span data, mono_ns now);
uint64_t live_start(const struct live *l, mono_ns now); /* where a new reader begins */
uint64_t live_end(const struct live *l);
/* What is at *place, which is moved forward if that has gone (*ret_skipped bytes); empty: nothing yet. Until the next write. */
struct span live_read(const struct live *l, uint64_t *place, mono_ns now, uint64_t *ret_skipped);

#endif
