/* SPDX-License-Identifier: MIT
 *
 * Inside the block store: the queues of rows whose links are to be counted. The committer's thread only.
 */
#ifndef STORE_BLOCK_STORE_CASCADE_H
#define STORE_BLOCK_STORE_CASCADE_H

#include "store/block/blockstore_txn.h"
#include "store/block/store_row.h"

#include <stdatomic.h>

/* What waits for children that are to come (store_cascade.c) */
struct cascade {
    mono_ns due;         /* until then; 0: nothing waits */
    mono_ns quiet;       /* of a test that has time; 0: the usual */
    bool waits;          /* some do */
    bool left;           /* some were ready and had no room */
    atomic_int settle;   /* so many ask that nothing waits; they look at … */
    atomic_uint counted; /* … how often something was counted, since the start, */
    atomic_uint refused; /* how often it could not be, */
    atomic_int why;      /* and ERR_* of the last time */
    uint64_t near, next; /* numbers in the queue: where some were ready, where to look else */
    uint64_t looked;     /* links gone over to see who is ready, since the start */
};

/* Counts up to about `links` links, the live lane first; returns how many, 0 when all is settled. */
int cascade_step(struct store_txn *txn, unsigned links);
/* The same of the live lane, in a transaction that stored something, and those only that need not wait. */
int cascade_along(struct store_txn *txn, unsigned links);
/* The time begins when it is on the disk, which may have taken long. */
void cascade_committed(struct blockstore *bs);
void cascade_refused(struct blockstore *bs, int err);
/* In a transaction of its own: all, or those that need not wait while others do. */
int cascade_work(struct store_txn *txn, unsigned links, mono_ns until);
/* When there is something to do in one, or a pin to be called complete: 0, at once; MONO_NEVER. */
mono_ns cascade_due(const struct blockstore *bs);
/* The first entry of an index, u64 → multihash. 0, ERR_NOT_FOUND: it is empty, or an error. */
int index_first(struct store_txn *txn, MDB_dbi db, uint8_t key[8], struct cid *ret_hash);
/* The entry after the multihash `at`, which moves to it; of len 0: the first. 1, 0: end, or an error. */
int index_next(MDB_txn *mdb, MDB_dbi db, struct cid *at, struct span *ret_value);
/* An entry, also one that is not found by its key: in a damaged page it is not in its place. */
int index_del(struct store_txn *txn, MDB_dbi db, const uint8_t key[8]);

#endif
