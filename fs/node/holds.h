/* SPDX-License-Identifier: MIT
 *
 * Blocks that are held in the store, in the order in which they were: of an unfinished file its leaves, one for each MiB, and
 * of a published folder those that nothing links to yet. In small pieces, so that a long list asks for no more at a time than a
 * short one, and moving it costs nothing. One owner.
 *
 * A hold takes 33 bytes here and 200 in the store, charged to nobody: 23 MB for 100 GB. So of an unfinished file each GiB is
 * folded: a block that links to its leaves is stored and held in their place, and the store counts on the disk what is below a
 * held block. To charge them would not do, since a writer gives nothing back before it has finished; nor would one number,
 * that nothing goes which came since the oldest unfinished file was begun: a program may keep one open for days.
 */
#ifndef FS_NODE_HOLDS_H
#define FS_NODE_HOLDS_H

#include "store/content/cid.h"
#include "store/base/span.h"

struct holds_piece;
struct holds { /* zero is empty */
    struct holds_piece *newest, *oldest;
    size_t count, folded; /* of count, those that are not to be folded again */
};

void holds_add(struct holds *h, const struct cid *cid); /* one of our own: sha2-256, raw or dag-pb */
void holds_move(struct holds *to, struct holds *from);  /* behind those of `to` */
bool holds_is_newest(const struct holds *h, const struct cid *cid);
bool holds_take(struct holds *h, struct cid *ret); /* the newest goes; false: there is none */

/* Takes the newest HOLDS_FOLD when so many came since the last that were; `node` becomes a dag-pb node that links to them.
 * The owner holds it and adds it to `h`, and lets go of `ret_below` when it is stored. false: not yet, or no memory now. */
#define HOLDS_FOLD 1024 /* as many as a file's own nodes link to: 50 KB */
bool holds_fold(struct holds *h, struct holds *ret_below, struct buf *node);

#endif
