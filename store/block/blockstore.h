/* SPDX-License-Identifier: MIT
 *
 * The block store: one LMDB environment that holds blocks (keyed by multihash), reference counts, pins, and the records of
 * others (tree/, repo/). One committer thread owns the write transaction and batches what arrives: one commit, one sync,
 * many waiters. Readers are per thread, take no lock and read straight from the map.
 *
 * Liveness. A block is live when something refers to it: a pin, a record's root (tree/), or a live block that is held. The
 * store keeps a count per multihash, also for blocks that are not held yet: "count > 0 and not held" is what a pin still
 * misses. Counts of a block's children change when it becomes live and held, or stops being so; long cascades are a queue in
 * the store itself, worked off in small steps between commits, so neither pinning nor dropping stops anything. What is held
 * with count 0 is cache: evicted least recently used first when the quota is passed, or all of it by a collection.
 * Holds (open handles, unfinished writes) are counts in memory only.
 */
#ifndef STORE_BLOCK_BLOCKSTORE_H
#define STORE_BLOCK_BLOCKSTORE_H

#include "store/base/mailbox.h"
#include "store/base/workers.h"
#include "store/block/guard.h"
#include "store/block/source.h"

#include <lmdb.h>
#include <stdbool.h>

struct blockstore;

struct blockstore_options {
    const char *dir;       /* exists; the LMDB files are made in it */
    uint64_t quota_bytes;  /* 0: no limit */
    struct budget *budget; /* BUDGET_STORE: the open transaction and queued operations */
};

/* Opens or makes the environment and starts the committer. 0, or ERR_CORRUPT, ERR_VERSION, ERR_IO, ERR_NO_SPACE, ERR_DENIED
 * with a sentence. */
int blockstore_open(struct blockstore **ret, const struct blockstore_options *o, struct why *why);
/* Commits what is queued, syncs, joins the committer. All readers must have been freed. NULL accepted. */
struct blockstore *blockstore_close(struct blockstore *bs);

/* ---- reading: one reader per thread ---- */

struct store_reader;
int  store_reader_new(struct blockstore *bs, struct store_reader **ret);
struct store_reader *store_reader_free(struct store_reader *r);
/* A snapshot of the last commit. Begin is cheap; spans live until end. Keep it short: pages freed meanwhile cannot be reused.
 * Nested begin/end pairs count. ERR_AGAIN: for a moment after the disk has failed; or the disk's error. */
int  store_read_begin(struct store_reader *r);
void store_read_end(struct store_reader *r);
/* 0, ERR_MISSING, ERR_IO, ERR_CORRUPT: its bytes are, or were, damaged. A block that has not been read since the start is
 * hashed first; a damaged one is dropped, and wanted when something refers to it. The span points into the map. Marks the
 * block as used (coarsely, without writing now). */
int  store_get(struct store_reader *r, const struct cid *cid, struct span *ret);
/* The bytes into a block of ours, whose `cap` is the size that store_size gave; sets len. `direct`: a big one that is not in
 * the page cache is read past it. Errors as store_get. */
int  store_copy(struct store_reader *r, const struct cid *cid, bool direct, struct block *into);
bool store_has(struct store_reader *r, const struct cid *cid);
int  store_size(struct store_reader *r, const struct cid *cid, uint64_t *ret); /* 0, ERR_MISSING */
MDB_txn *store_reader_txn(struct store_reader *r); /* for the modules of store/ that keep records here */
/* The reader as a source. Valid while the reader lives; gets between begin and end only. */
struct block_source *store_reader_source(struct store_reader *r);

/* ---- writing: operations for the committer ---- */

struct store_op;
struct store_txn; /* the write transaction as an operation sees it: blockstore_txn.h */

/* An operation is a message to the committer. apply() runs in the write transaction, on the committer; operations are applied
 * in the order they were submitted. Each is atomic; those of one group commit together. When an apply fails only its own
 * changes are undone. After the commit, mail.run is called on `reply`'s thread (`reply` NULL: on the committer, with owner
 * NULL) with `result` filled: what it did is visible to readers that begin from now on. Durable: see blockstore_sync. */
struct store_op {
    struct mail mail;
    /* 0 or ERR_*. May be called more than once (after a failed commit, or when its group is redone): only the last call counts,
     * so it must leave no trace outside `txn` but in op itself. */
    int (*apply)(struct store_op *op, struct store_txn *txn);
    struct mailbox *reply;
    size_t cost;   /* bytes it keeps in memory until committed, charged by whoever made it; groups are bounded by it */
    struct store_guard *guard; /* counts it when it is refused; NULL */
    bool lazy;     /* nobody waits for the answer: it may wait for company, so that small ones share a commit */
    int result;
};
#define STORE_LAZY_MOST (50 * MONO_MS) /* how long a lazy operation waits for others */

/* Never blocks and cannot fail. Who submits is bounded by the budget its operations were charged to. */
void blockstore_submit(struct blockstore *bs, struct store_op *take_op);
/* Submits and waits; returns op->result. mail.run and reply are not used. For start-up, command lines without loop, and
 * tests. */
int  blockstore_do(struct blockstore *bs, struct store_op *op);

/* Ready-made operations */

/* Stores a block (verified by the caller). done(arg, result) is called on `reply`'s thread after the commit. Consumes one
 * reference. */
void blockstore_put(struct blockstore *bs, struct block *take_b, struct mailbox *reply,
                    void (*done)(void *arg, struct block *b, int result), void *arg);
/* The same, of a block that a record will tell of (guard.h) */
void blockstore_put_guarded(struct blockstore *bs, struct block *take_b, struct store_guard *g, struct mailbox *reply,
                            void (*done)(void *arg, struct block *b, int result), void *arg);
/* Answers when everything submitted before it is on disk. */
void blockstore_sync(struct blockstore *bs, struct mailbox *reply, void (*done)(void *arg, int result), void *arg);
/* Evicts everything that is neither live nor held (blocks put after this call excepted), in small steps between other
 * operations; progress is in the stats (evicted_*). done: how much went. */
struct collect_result {
    int result;
    uint64_t blocks, bytes;
};
void blockstore_collect(struct blockstore *bs, struct mailbox *reply,
                        void (*done)(void *arg, const struct collect_result *r), void *arg);

/* ---- holds: open handles and unfinished writes; memory only, any thread ---- */
/* The block and everything below it stay while held, also what arrives later. Nested holds count. A hold is ordered before
 * whatever its thread submits afterwards: hold first, then put. */
void blockstore_hold(struct blockstore *bs, const struct cid *root);
void blockstore_unhold(struct blockstore *bs, const struct cid *root);

/* ---- figures: atomic snapshots, any thread, never from disk ---- */
struct blockstore_stats {
    uint64_t blocks, bytes;             /* held */
    uint64_t live_blocks, live_bytes;   /* of them: referred to */
    uint64_t wanted_blocks;             /* referred to and not held */
    uint64_t pins, pins_incomplete;
    uint64_t pending;                   /* blocks whose children's counts are still to be changed; the others are no older */
    uint64_t evicted_blocks, evicted_bytes; /* since the start */
    uint64_t commits;                   /* since the start */
    uint64_t damaged;                   /* blocks found damaged since the start, and dropped */
    bool     collecting;
    uint64_t quota_bytes;
    uint64_t disk_bytes;                /* size of the data file */
    uint64_t disk_free_bytes;           /* of the file system, a few seconds old at most */
    bool     rebuilt, suspect;          /* the index was damaged when it was opened; was found so since: index_rebuild.h */
    int      fault;                     /* ERR_* of the last failed commit, 0 since one succeeded */
};
void blockstore_stats(const struct blockstore *bs, struct blockstore_stats *ret);
void blockstore_set_quota(struct blockstore *bs, uint64_t quota_bytes);

#endif
