/* SPDX-License-Identifier: MIT
 *
 * Walks a DAG depth first, children in order, each block once: the order of a CAR. It goes on where it stopped, so who cannot
 * wait calls it again when the missing blocks have come.
 *
 * What was visited is remembered by a keyed hash of 16 bytes for each block, so hostile CIDs cannot be made to look alike. That
 * table and the stack are all that grows: both are charged to BUDGET_TABLE and bounded by `most_bytes`.
 *
 * One owner, the source's thread.
 */
#ifndef STORE_BLOCK_DAGWALK_H
#define STORE_BLOCK_DAGWALK_H

#include "store/block/source.h"

struct dagwalk;

struct dagwalk *dagwalk_new(const struct cid *root, struct budget *budget, uint64_t most_bytes); /* budget NULL: not charged */
struct dagwalk *dagwalk_free(struct dagwalk *w);                                                 /* NULL accepted */

/* 1: the next block (identity CIDs are passed over, what they link to is not; a damaged block is one without links); 0: that
 * was all. ERR_MISSING: it is not held; it and those of the next ones that are not held either are noted in the source.
 * ERR_AGAIN: the budget says not now; ERR_NO_MEMORY: the machine has not what it grants. ERR_TOO_BIG: more blocks than
 * most_bytes can remember. Errors of the source. After an error the same call may be made again. */
int dagwalk_next(struct dagwalk *w, struct block_source *s, struct cid *ret, struct span *ret_block);

bool dagwalk_done(const struct dagwalk *w);
/* The n-th of the blocks that come next as far as they are known, NULL: no more. They may have been visited. */
const struct cid *dagwalk_ahead(const struct dagwalk *w, size_t n);

#endif
