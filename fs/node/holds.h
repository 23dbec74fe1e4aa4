/* SPDX-License-Identifier: MIT
 *
 * Blocks that are held in the store, in the order in which they were: one for each MiB of an unfinished file, and of a
 * published folder those that nothing links to yet. In small pieces, so that a long list asks for no more at a time than a
 * short one, and moving it costs nothing. One owner.
 */
#ifndef FS_NODE_HOLDS_H
#define FS_NODE_HOLDS_H

#include "store/content/cid.h"

struct holds_piece;
struct holds { /* zero is empty */
    struct holds_piece *newest, *oldest;
    size_t count;
};

void holds_add(struct holds *h, const struct cid *cid); /* one of our own: sha2-256, raw or dag-pb */
void holds_move(struct holds *to, struct holds *from);  /* behind those of `to` */
bool holds_is_newest(const struct holds *h, const struct cid *cid);
bool holds_take(struct holds *h, struct cid *ret); /* the newest goes; false: there is none */

#endif
