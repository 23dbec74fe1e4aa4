/* SPDX-License-Identifier: MIT
 *
 * The start of an epoch: after opening, and after opening again. LMDB refuses everything after a meta page could not be written
 * (MDB_PANIC); it must be opened again, and for that the readers must be out for a moment. What is held can be read as soon as
 * it is open, also when the disk takes no write: until it does, operations fail with the disk's error. */
#include "store/block/store_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The index is gone and big blocks are still there: to begin anew would take them for leftovers and delete them. */
int epoch_check(const struct blockstore *bs, const char *dir, struct why *why)
{
    char path[PATH_MAX];
    struct stat st;
    uint32_t *list = NULL;
    (void)snprintf(path, sizeof path, "%s/data.mdb", dir);
    int count = stat(path, &st) == 0 && st.st_size > 0 ? 0 : segments_list(bs->segments, &list);
    if (count == 0 || count == ERR_NOT_FOUND)
        return 0;
    free(list);
    if (count < 0)
        return why_set(why, count, "cannot tell what is in %s: %s", dir, err_text(count));
    return why_set(why, ERR_CORRUPT,
                   "%s is gone or empty, and files of blocks are beside it. Restore it, or move %s away to start empty", path,
                   dir);
}

/* What waits to be counted, as the queue has it: a bit of the totals may have rotted, and what is forgotten there, or put over,
 * would protect nothing below it. */
static int look_at_queue(struct store_txn *txn)
{
    MDB_dbi db = txn->bs->env.db[DB_LIVE_QUEUE];
    MDB_cursor *c;
    MDB_stat stat;
    MDB_val k, v;
    int rc = mdb_stat(txn->mdb, db, &stat);
    if (rc || (rc = mdb_cursor_open(txn->mdb, db, &c)))
        return store_error(rc);
    txn->t.pending[LANE_LIVE] = stat.ms_entries;
    rc = index_move(c, &k, &v, MDB_LAST);
    if (rc == 0 && k.mv_size == 8 && get_be64(k.mv_data) >= txn->t.queue_next)
        txn->t.queue_next = get_be64(k.mv_data) + 1;
    mdb_cursor_close(c);
    return rc == MDB_NOTFOUND ? 0 : store_error(rc);
}

static int load_totals(struct store_txn *txn)
{
    MDB_dbi info = txn->bs->env.db[DB_INFO];
    struct span v;
    int r = store_txn_get(txn, info, span_str("totals"), &v);
    txn->t = (struct totals){0};
    if (r == 0 && v.len != sizeof txn->t && v.len != TOTALS_BEFORE)
        return ERR_CORRUPT;
    if (r == 0)
        memcpy(&txn->t, v.data, v.len);
    else if (r != ERR_NOT_FOUND)
        return r;
    uint32_t epoch = 0;
    r = store_txn_get(txn, info, span_str("epoch"), &v);
    if (r == 0 && v.len == sizeof epoch)
        memcpy(&epoch, v.data, sizeof epoch);
    else if (r != ERR_NOT_FOUND)
        return r ? r : ERR_CORRUPT;
    txn->bs->epoch = ++epoch;
    txn->t.pending[LANE_HELD] = 0;
    if ((r = look_at_queue(txn)))
        return r;
    int rc = mdb_drop(txn->mdb, txn->bs->env.db[DB_HELD_QUEUE], 0);
    return rc ? store_error(rc) : store_txn_set(txn, info, span_str("epoch"), span_of(&epoch, sizeof epoch));
}

int epoch_begin(struct blockstore *bs)
{
    struct store_txn txn;
    int r = store_txn_begin(bs, &txn);
    if (r)
        return r;
    if ((r = load_totals(&txn)) || (r = extents_begin(&txn))) {
        store_txn_abort(&txn);
        return r;
    }
    return store_txn_commit(&txn);
}

int epoch_reopen(struct blockstore *bs)
{
    struct why why;
    atomic_store(&bs->gate, ERR_AGAIN);
    for (int i = 0; i < 100 && !store_readers_idle(bs); i++)
        usleep(2000);
    if (!store_readers_idle(bs))
        return ERR_AGAIN;
    int opened = store_env_reopen(&bs->env, &why), r;
    if (opened) {
        atomic_store(&bs->gate, opened);
        return opened;
    }
    bs->broken = false;
    r = epoch_begin(bs);
    if (r && store_env_panicked(&bs->env))
        opened = store_env_reopen(&bs->env, &why); /* to be read */
    atomic_store(&bs->gate, opened);
    bs->broken = r != 0;
    return r;
}
