/* SPDX-License-Identifier: MIT
 *
 * What the apply() of an operation may do: the write transaction, on the committer only.
 *
 * Everything that is written goes through these functions: so the store knows whether a failed apply has to be undone, its
 * counters go back with it, and tests can make the n-th write fail. Reading may also use the MDB_txn directly (index_get,
 * index_move).
 * Spans that come from the transaction live until its next write.
 */
#ifndef STORE_BLOCK_BLOCKSTORE_TXN_H
#define STORE_BLOCK_BLOCKSTORE_TXN_H

#include "store/block/blockstore.h"

/* Opens or makes a named database for records ("tree.entries"; the store's own names have no dot). Waits for the committer:
 * call it at start-up, before readers begin that will use it. `mdb_flags`: MDB_DUPSORT, MDB_INTEGERKEY … or 0. The handle
 * stays valid until blockstore_close. 0, ERR_LIMIT (too many), or a store's error. */
#define BLOCKSTORE_RECORD_DBS 16
int blockstore_record_db(struct blockstore *bs, const char *name, unsigned mdb_flags, MDB_dbi *ret);
/* Which block an entry refers to (store_txn_ref): 1 and *ret; 0: to none. Pure. For checks, which know of pins by themselves.
 * Before the first check. */
typedef int record_refers_fn(struct span key, struct span value, struct cid *ret);
void blockstore_record_refers(struct blockstore *bs, MDB_dbi db, record_refers_fn *refers);

/* ---- records ---- */

MDB_txn *store_txn_mdb(struct store_txn *txn); /* for reading */
/* mdb_get, mdb_cursor_get; of a page that is damaged or not there MDB_CORRUPTED, where LMDB may end the process */
int index_get(MDB_txn *mdb, MDB_dbi db, MDB_val *k, MDB_val *v);
int index_move(MDB_cursor *c, MDB_val *k, MDB_val *v, MDB_cursor_op op);
/* 0, ERR_NOT_FOUND, or a store's error. Keys: 1 to 511 bytes. */
int store_txn_get(struct store_txn *txn, MDB_dbi db, struct span key, struct span *ret);
int store_txn_set(struct store_txn *txn, MDB_dbi db, struct span key, struct span value);
/* 0 or ERR_NOT_FOUND …; with MDB_DUPSORT: all of the key */
int store_txn_del(struct store_txn *txn, MDB_dbi db, struct span key);

/* ---- blocks ---- */

/* Stores a block (verified by the caller). 0 also when it is held; ERR_QUOTA, ERR_NO_SPACE, ERR_IO, ERR_TOO_BIG. Identity
 * CIDs: nothing is stored. The operation's `cost` should count these bytes, which have to live until it is answered.
 * `sum`: of big ones; NULL or not known: it is made here. */
int store_txn_put(struct store_txn *txn, const struct cid *cid, struct span data, const struct block_sum *sum);
/* A record refers to this DAG, or no longer does: it and everything below is live while refs > unrefs. Held or not. Unref of
 * what was not referred to: ERR_CORRUPT, nothing changed. */
int store_txn_ref(struct store_txn *txn, const struct cid *cid);
int store_txn_unref(struct store_txn *txn, const struct cid *cid);
/* Blocks as this transaction sees them, what it has put included. Forget its missing ones before use. */
struct block_source *store_txn_source(struct store_txn *txn);

#endif
