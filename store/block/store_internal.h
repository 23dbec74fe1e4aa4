/* SPDX-License-Identifier: MIT
 *
 * The block store from the inside: what its own files share, and nobody else includes.
 *
 *   blockstore.c      the committer: mailbox → groups → commits → answers
 *   store_env.c       the LMDB environment: opening, checking (index_rebuild.h), reopening after a fatal error
 *   store_row.c       one row per multihash: held or not, counts; the indexes that follow from it
 *   store_extent.c    big blocks, which are in files of their own (segment.h)
 *   store_epoch.c     what is loaded when it is opened, or opened again after a fatal error
 *   store_cascade.c   brings the counts of children to where they should be, in steps
 *   store_evict.c     holds, touches, eviction in steps (store_evict.h)
 *   store_queue.c     what waits for the committer    store_ops.c   operations that need nothing of its inside
 *   store_pin.c       pins                    store_reader.c   readers                verify.c   the check
 *
 * Databases (format 3: extents have sums; 2: they have none; 1: no extents; integers little-endian, in keys big-endian):
 *
 *   info     "format" → u32; "totals" → struct totals as stored; "epoch" → u32
 *   blocks   multihash → the block
 *   rows     multihash → row (store_row.c). Exists while held, counted, or still to be cascaded
 *   lru      u64 stamp → multihash     every held block with live count 0, least recently used first (and some just evicted)
 *   wanted   multihash → cid           every block with live count > 0 that is not held
 *   pins     cid → u8 flags, i64 since, name
 *   extents, places, dead: big blocks (store_extent.c)
 *   liveq    u64 number → multihash    rows whose live lane is not settled; heldq: the held lane, void after a restart
 *
 * Two lanes of counts, one machine. The live lane counts references from roots and live parents and is durable. The held
 * lane counts holds and is valid only in the epoch (the run of the program) it was written in. In each lane, always:
 * `done` of the block's links have been counted into its children; the goal is none when count is 0, all of them when the
 * block is counted and held, and as it is when it is counted and not held; a row that is not at its goal is in the queue.
 */
#ifndef STORE_BLOCK_STORE_INTERNAL_H
#define STORE_BLOCK_STORE_INTERNAL_H

#include "store/block/blockstore_txn.h"
#include "store/block/pin.h"
#include "store/block/store_cascade.h"
#include "store/block/store_env.h"
#include "store/block/store_evict.h"
#include "store/block/store_extent.h"
#include "store/block/store_row.h"
#include "store/block/store_slot.h"
#include "store/block/vouched.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#define STORE_FORMAT 3

/* ---- the write transaction ---- */

struct totals {
    uint64_t blocks, bytes, live_blocks, live_bytes, wanted, pins, pins_incomplete;
    uint64_t stamp;      /* last one given in the eviction order */
    uint64_t queue_next; /* next number of the queues */
    uint64_t pending[LANES];
    /* since format 2 */
    uint64_t segment, unit; /* where the next big block goes */
    uint64_t dead;          /* big blocks whose room is to be given back */
};
#define TOTALS_BEFORE offsetof(struct totals, segment)
#define TOTALS_COUNT  (sizeof(struct totals) / sizeof(uint64_t))

#define TXN_TOUCHED 65536

struct store_txn {
    struct blockstore *bs;
    MDB_txn *mdb;
    struct totals t;
    bool wrote, counted; /* since it was last cleared; something of the live lane */
    int hard;            /* ERR_*: LMDB refused; the transaction can only be aborted */
    uint64_t need, room; /* bytes a put did not find room for under the quota; that puts may take of the disk, or UINT64_MAX */
    uint64_t damaged;    /* blocks that were found so, and dropped */
    struct block_source source;
    /* what it wrote: LMDB has a copy of each such page, and keeps for ever the memory of the most that it had */
    uint32_t writes[STORE_DBIS], writes_all;
    uint8_t touched[TXN_TOUCHED / 8]; /* hashes of what was written: again it has its page */
    size_t big_bytes;                 /* of values that have pages of their own */
    unsigned long faults, epoch;      /* of mapfault.h when it began: it is refused when the disk did not give something */
};

int store_txn_begin(struct blockstore *bs, struct store_txn *txn);
int store_txn_commit(struct store_txn *txn); /* commits or aborts; counters go to bs->t on success */
void store_txn_abort(struct store_txn *txn);
/* What came of its work; ERR_IO when something of the index was not there */
int store_txn_result(const struct store_txn *txn, int r);
bool store_txn_look(struct store_txn *txn, struct span data); /* Are the bytes of a block there? It is no fault when not */
int store_txn_append(struct store_txn *txn, MDB_dbi db, struct span key, struct span value); /* keys ascend */
/* Of its pages, about */
size_t store_txn_bytes(const struct store_txn *txn);
/* It has as many pages as it should: whoever can go on in the next one, does. */
bool store_txn_full(const struct store_txn *txn);

/* ---- keys ---- */

static inline void put_be64(uint8_t out[8], uint64_t v)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (56 - 8 * i));
}

static inline uint64_t get_be64(const uint8_t in[8])
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | in[i];
    return v;
}

/* ---- store_epoch.c ---- */

int epoch_check(const struct blockstore *bs, const char *dir, struct why *why); /* before it is opened: what belongs together */
int epoch_begin(struct blockstore *bs);  /* loads the totals; 0 or an error */
int epoch_reopen(struct blockstore *bs); /* ends `broken`; ERR_AGAIN: a reader is active for long */

/* ---- verify.c ---- */

/* Is what the disk gave what it was given? (vouched.h) By its sum, or else by its hash; 0, or ERR_CORRUPT. Functions that we
 * cannot compute are believed. `sum` may be NULL. */
int store_vouch(struct blockstore *bs, const struct cid *cid, struct span data, const struct block_sum *sum);

/* ---- blockstore.c ---- */

#define GROUP_OPS_MAX 4096

struct collect_op;

struct blockstore {
    struct store_env env;
    struct budget *budget;
    struct mailbox *inbox; /* of struct store_op */
    pthread_t thread;

    /* the committer's */
    struct totals t; /* as committed */
    uint32_t epoch;
    struct mail *pending, **pending_end; /* taken from the inbox, in order */
    mono_ns due;                         /* when they are to be committed, now for all but lazy ones */
    size_t lazy_most;                    /* bytes of lazy operations that are worth a commit */
    struct store_op *group[GROUP_OPS_MAX];
    unsigned group_count;
    unsigned group_most;            /* halves and more when a commit fails, doubles when one succeeds */
    size_t group_bytes_most;        /* of a group's data; and of the pages of a transaction */
    struct store_op *room_made_for, *counted_for; /* for this one eviction was tried; what is pending was counted */
    bool room_wanted;               /* the first pending operation waits for the eviction, … */
    uint64_t room_below;            /* … until no more bytes than these are held, or until its end */
    bool careful;                   /* the present group: every operation in a nested transaction */
    bool alone;                     /* the present group: no cascades ride along, for their errors are not its own */
    struct hold_table *holds;
    struct evict evict;
    struct cascade cascade;
    struct collect_op *collects, *collecting; /* waiting; those the present pass answers */
    bool stop;
    bool unsynced;    /* the last commit's meta page may not be on disk */
    bool sync_failed; /* since the last commit: that page counts as clean, and another sync would not write it */
    bool broken;      /* LMDB wants to be reopened */
    bool refused;     /* something could not be written, and nothing was since */
    int commit_error; /* of the last commit that failed: why it is broken */
    bool check_quota;
    bool dead_pass;                        /* room of big blocks is being given back: of those dropped before … */
    uint64_t dead_below;                   /* … this number of the queue, when readers have … */
    uint64_t dead_epoch;                   /* … begun in this epoch of reading or later */
    mono_ns dead_at;                       /* look again */
    mono_ns refresh_at, sync_at, retry_at; /* retry_at: of maintenance that failed */
    mono_ns reopen_at;                     /* when `broken`; a moment after the last time */

    /* shared */
    struct vouched *vouched, *rotten; /* rotten: found damaged, and neither come again nor found sound */
    struct segments *segments;
    _Atomic uint64_t read_epoch;
    atomic_int gate;           /* what readers are told: ERR_AGAIN while it is opened again, its error when it cannot be; 0 */
    atomic_bool poked, checks; /* a touch poke is under way; a check has its table */
    atomic_bool timed;         /* a lazy operation is waiting and the committer knows */
    _Atomic size_t lazy_bytes; /* of those in the inbox or pending */
    struct reader_slot readers[READERS_MAX];
    _Atomic uint64_t quota;
    struct {
        _Atomic uint64_t blocks, bytes, live_blocks, live_bytes, wanted, pins, pins_incomplete, pending, evicted_blocks,
            evicted_bytes, commits, disk_bytes, disk_free, damaged;
        atomic_bool collecting;
        atomic_int fault;
    } stats;
};

static inline MDB_val store_val(struct span s)
{
    return (MDB_val){s.len, (void *)(uintptr_t)s.data};
}

static inline struct span store_span(MDB_val v)
{
    return (struct span){v.mv_data, v.mv_size};
}

/* ---- store_pin.c, store_reader.c ---- */
int pin_parse(struct span key, struct span value, struct pin *ret); /* 0 or ERR_CORRUPT */
int pins_all_complete(struct store_txn *txn);
int pins_none_complete(struct store_txn *txn);

bool store_readers_idle(struct blockstore *bs); /* the gate is shut: aborts their transactions; false: one is active */
bool store_readers_since(const struct blockstore *bs, uint64_t epoch); /* nobody reads a snapshot from before */
void store_readers_close(struct blockstore *bs);
void store_reader_poke(struct blockstore *bs);

#endif
