/* SPDX-License-Identifier: MIT
 *
 * Inside the block store: one row per multihash, and the two lanes of counts (store_internal.h). The committer's thread only.
 */
#ifndef STORE_BLOCK_STORE_ROW_H
#define STORE_BLOCK_STORE_ROW_H

#include "store/block/blockstore_txn.h"

enum lane { LANE_LIVE, LANE_HELD, LANES };

struct lane_state {
    uint64_t count;
    uint32_t done;
    bool all, queued;
};

struct row {
    bool exists, held, inline_block;
    bool damaged; /* not held because its bytes were damaged, and not come again */
    uint32_t codec, size;
    uint32_t roots; /* of lane[LANE_LIVE].count: from outside (pins, records) */
    uint64_t stamp; /* place in the eviction order, when evictable */
    struct lane_state lane[LANES];
};

#define ROW_SIZE_MAX 64

/* *ret is all zero when there is no row. ERR_CORRUPT for a damaged one. */
int row_parse(struct span in, uint32_t epoch, struct row *ret);
size_t row_format(const struct row *row, uint32_t epoch, uint8_t out[ROW_SIZE_MAX]);
int row_load(struct store_txn *txn, struct span hash, struct row *ret);
/* Queues the lanes that are not settled, then writes the row, or deletes it when it says nothing. */
int row_save(struct store_txn *txn, struct span hash, struct row *row);
bool row_settled(const struct row *row, enum lane lane);
static inline bool row_in_lru(const struct row *row)
{
    return row->held && !row->inline_block && row->lane[LANE_LIVE].count == 0;
}
/* And it says so itself: of a count that rotted to 0 it does not. */
static inline bool row_ordered(const struct row *row)
{
    return row_in_lru(row) && row->stamp > 0 && row->roots == 0;
}
static inline bool row_is_wanted(const struct row *row)
{
    return !row->held && row->lane[LANE_LIVE].count > 0;
}

/* One more or one less reference in a lane. `root`: from outside. Identity CIDs without links are not counted. */
int row_count(struct store_txn *txn, const struct cid *cid, enum lane lane, int delta, bool root);
int row_touch(struct store_txn *txn, struct span hash, struct row *row);        /* moves it to the end of the eviction order */
int row_drop_block(struct store_txn *txn, struct span hash, struct row *row);   /* no longer held; row saved */
int row_drop_damaged(struct store_txn *txn, struct span hash, struct row *row); /* the same; remembered while it is live */
/* The CID of a row: its multihash with its codec */
int row_cid(struct span hash, const struct row *row, struct cid *ret);

#endif
