/* SPDX-License-Identifier: MIT
 *
 * Inside the block store: big blocks, whose bytes are in segments (segment.h) and whose places are in LMDB; and blocks' bytes
 * wherever they are. Functions with a transaction are the committer's.
 */
#ifndef STORE_BLOCK_STORE_EXTENT_H
#define STORE_BLOCK_STORE_EXTENT_H

#include "store/block/blockstore_txn.h"
#include "store/block/segment.h"

/* 0 or ERR_CORRUPT. The sum is not known of small blocks and those of format 2. */
int extent_parse(struct span in, struct extent *ret, struct block_sum *ret_sum);
/* `sum` may be NULL */
int extent_put(struct store_txn *txn, struct span hash, struct span data, const struct block_sum *sum);
int extent_drop(struct store_txn *txn, struct span hash); /* ERR_NOT_FOUND: it is not one */
/* The bytes of an entry in "extents". 0, ERR_CORRUPT, ERR_IO. */
int extent_bytes(struct blockstore *bs, struct span in, struct span *ret);
/* The bytes of a block, wherever they are, unverified. 0, ERR_NOT_FOUND, or an error. Any thread. */
int block_find(struct blockstore *bs, MDB_txn *mdb, struct span hash, struct span *ret);
int block_find_sum(struct blockstore *bs, MDB_txn *mdb, struct span hash, struct span *ret, struct block_sum *ret_sum);
/* Its bytes past the page cache (segments_read). ERR_UNSUPPORTED: to be had from block_find. */
int extent_read(struct blockstore *bs, MDB_txn *mdb, struct span hash, uint8_t *into, struct block_sum *ret_sum);
/* The same in the transaction, what it has put included. */
int txn_block_find(struct store_txn *txn, struct span hash, struct span *ret);
int block_drop(struct store_txn *txn, struct span hash); /* its bytes alone. ERR_NOT_FOUND: there are none */
/* When nothing of the segment that is written to is in use, the next one is: so that it can be removed, with what was written
 * to it and never committed. */
int extents_move_on(struct store_txn *txn);
/* In the first transaction: the totals as they have to be, whatever they were. When the end is before something that lives, a
 * segment begins: what is behind the end is cut off. */
int extents_begin(struct store_txn *txn);
/* Up to `most` of those dropped before the queue's number `below`; returns how many. */
int extents_give_back(struct store_txn *txn, uint64_t below, unsigned most);
/* Between transactions: what was written and not committed takes no room. */
void extents_cut(struct blockstore *bs);
/* Removes segments in which nothing is in use any more. After a commit; nobody's snapshot may show them. */
void extents_sweep(struct blockstore *bs);

#endif
