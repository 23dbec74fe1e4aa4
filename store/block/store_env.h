/* SPDX-License-Identifier: MIT
 *
 * Inside the block store: the LMDB environment. All but store_env_mend are called when no other thread uses it.
 */
#ifndef STORE_BLOCK_STORE_ENV_H
#define STORE_BLOCK_STORE_ENV_H

#include "store/base/err.h"
#include "store/block/blockstore_txn.h"

#include <limits.h>
#include <stdatomic.h>

enum store_db {
    DB_INFO,
    DB_BLOCKS,
    DB_ROWS,
    DB_LRU,
    DB_WANTED,
    DB_PINS,
    DB_LIVE_QUEUE,
    DB_HELD_QUEUE,
    DB_EXTENTS,
    DB_PLACES,
    DB_DEAD,
    STORE_DBS
};

struct record_db {
    char name[32];
    unsigned flags;
    MDB_dbi dbi;
    record_refers_fn *refers; /* NULL: none does */
};

struct store_env {
    MDB_env *mdb;
    struct mapfault *watch; /* of its map */
    MDB_dbi db[STORE_DBS];
    struct record_db records[BLOCKSTORE_RECORD_DBS]; /* opened in this order, so that a reopening gives the same handles */
    unsigned record_count;
    atomic_bool rebuilt; /* it was damaged when it was opened: what it had may be gone in part */
    atomic_bool suspect; /* it was found damaged since */
    char dir[PATH_MAX - 64];
};

#define STORE_DBIS (2 + STORE_DBS + BLOCKSTORE_RECORD_DBS) /* LMDB gives handles from 2 on; 0 and 1 are its own */

/* One per row of LMDB's reader table; LMDB's default is 126. */
#define READERS_MAX 96

int store_env_open(struct store_env *e, const char *dir, struct why *why);
void store_env_close(struct store_env *e);
void store_env_mend(struct store_env *e); /* what the disk did not give is asked for again (mapfault.h). Any thread */
/* After MDB_PANIC: no transaction may be open. The same handles afterwards, or an error and a closed environment. */
int store_env_reopen(struct store_env *e, struct why *why);
bool store_env_panicked(const struct store_env *e); /* after a commit that failed */
int store_env_record_db(struct store_env *e, MDB_txn *mdb, const char *name, unsigned flags, MDB_dbi *ret);
int store_error(int mdb_code); /* LMDB's or errno → ERR_*; 0 → 0 */
uint64_t store_env_file_bytes(const struct store_env *e);
uint64_t store_env_free_bytes(const struct store_env *e, uint64_t unknown); /* `unknown`: when the file system does not say */
/* A file of a few pages that is given up when the disk is full: so that even then blocks can be deleted. */
void store_ballast_make(const struct store_env *e);
bool store_ballast_burn(const struct store_env *e); /* true: there was one */

#endif
