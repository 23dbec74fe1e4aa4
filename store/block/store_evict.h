/* SPDX-License-Identifier: MIT
 *
 * Inside the block store: holds, touches and eviction. The committer's thread only.
 *
 * Holds are counts in memory. Before anything is evicted they are written down into the held lane (store_internal.h), so that
 * they protect what is below them too; which of them are written is remembered here, and changes only with a commit:
 * hold_write_down, then hold_written or hold_not_written.
 */
#ifndef STORE_BLOCK_STORE_EVICT_H
#define STORE_BLOCK_STORE_EVICT_H

#include "store/block/blockstore_txn.h"

struct hold_table;
struct hold_table *hold_table_new(void);
struct hold_table *hold_table_free(struct hold_table *h);
void hold_change(struct hold_table *h, const struct cid *cid, int delta);
/* What changed since, into the held lane, each once: none changes while a transaction is under way. 1: all; 0: the transaction
 * is full, the rest is for the next one; or an error. */
int hold_write_down(struct hold_table *h, struct store_txn *txn);
void hold_written(struct hold_table *h);        /* … was committed */
void hold_not_written(struct hold_table *h);    /* … failed */
void hold_forget_written(struct hold_table *h); /* a new epoch: nothing is written down any more */

/* Applies the touches that readers noted; returns how many moved a block. */
int touch_apply(struct blockstore *bs, struct store_txn *txn);

/* One pass of eviction */
struct evict {
    bool active, finished;
    bool walks;             /* it goes through the rows first, … */
    struct cid at;          /* … behind this multihash */
    uint64_t target;        /* until no more bytes than these are held; 0: all that may go */
    uint64_t until;         /* stamps above are newer than this pass; 0: it has not begun */
    uint64_t blocks, bytes; /* gone so far */
};

void evict_begin(struct blockstore *bs, uint64_t target_bytes);
/* `most` bytes less some slack, so that not every put evicts */
uint64_t evict_quota_target(const struct blockstore *bs, uint64_t most);
/* One step: holds, cascades, then up to `blocks` blocks. Sets `finished` when the target is reached or nothing is left to
 * take. */
int evict_step(struct blockstore *bs, struct store_txn *txn, unsigned blocks);

#endif
