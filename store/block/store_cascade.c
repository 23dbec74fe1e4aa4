/* SPDX-License-Identifier: MIT
 *
 * Works off the queues: takes the first row that is not settled and counts, or uncounts, a run of its links, from where `done`
 * says. Links are numbered as links_of reports them, which depends on the block's bytes alone, so a cascade can stop anywhere,
 * turn round, and go on after a restart. */
#include "store/block/store_internal.h"

#include "store/base/log.h"
#include "store/codec/links.h"

#include <stdlib.h>

/* Links a run: one pass over the block's bytes each. A run is never cut, and each link may be another of LMDB's pages; blocks
 * of our own making have at most 1024 links. */
#define RUN_MAX 448 /* CIDs in less than 64 KiB */

struct run {
    struct cid *children;
    unsigned count, most;
    uint32_t skip; /* links before the run */
};

static int collect_child(void *arg, const struct cid *child)
{
    struct run *run = arg;
    if (run->skip > 0) {
        run->skip--;
        return 0;
    }
    if (run->count == run->most)
        return 1;
    if (run->count % 64 == 0)
        run->children = mem_grow(run->children, run->count + 64, sizeof *run->children);
    run->children[run->count++] = *child;
    return 0;
}

/* Links `from` … `from + most`. A block that cannot be parsed has those that come before the mistake. ERR_VERIFY: its bytes are
 * damaged. */
static int links_run(struct store_txn *txn, const struct cid *cid, struct run *run)
{
    struct span data;
    if (!cid_inline(cid, &data)) {
        int r = txn_block_find(txn, cid_hash(cid), &data);
        if (r == ERR_NOT_FOUND) {
            static struct log_limit limit;
            char text[CID_TEXT_SIZE];
            log_limited(&limit, "store.damaged", "block=%s why=\"held and not there\" next=\"p2p verify\"",
                        cid_text(cid, text));
            return 0;
        }
        if (r)
            return r;
        if (store_vouch(txn->bs, cid, data, NULL) != 0)
            return ERR_VERIFY;
    }
    (void)links_of(cid, data, collect_child, run); /* damage: what was reported before it counts; 1: the run is full */
    return 0;
}

static int count_children(struct store_txn *txn, const struct run *run, enum lane lane, int delta)
{
    for (unsigned i = 0; i < run->count; i++) {
        int r = row_count(txn, &run->children[i], lane, delta, false);
        if (r == ERR_CORRUPT && delta < 0 && txn->hard == 0) {
            static struct log_limit limit;
            char text[CID_TEXT_SIZE];
            log_limited(&limit, "store.count", "block=%s why=\"count below zero\" next=\"p2p verify\"",
                        cid_text(&run->children[i], text));
            continue;
        }
        if (r)
            return r;
    }
    return 0;
}

/* One run for this row. Returns how many links it went over. */
static int advance(struct store_txn *txn, struct span hash, enum lane lane)
{
    struct row row;
    struct cid cid;
    int r = row_load(txn, hash, &row);
    if (r || (r = row_cid(hash, &row, &cid)))
        return r;
    bool up = row.held && row.lane[lane].count > 0;
    uint32_t done = row.lane[lane].done;
    uint32_t from = up ? done : done > RUN_MAX ? done - RUN_MAX : 0;
    struct run run = {.most = up ? RUN_MAX : done - from, .skip = from};
    if (row.held)
        r = links_run(txn, &cid, &run);
    if (r == ERR_VERIFY && up) { /* its children are counted when it comes back */
        r = row_drop_damaged(txn, hash, &row);
        return r ? r : 1;
    }
    if (r == ERR_VERIFY) /* children stay counted that nobody refers to: too much is kept, until p2p verify --repair */
        r = 0;
    unsigned counted = run.count;
    if (r == 0)
        r = count_children(txn, &run, lane, up ? 1 : -1);
    free(run.children);
    if (r)
        return r;
    if ((r = row_load(txn, hash, &row))) /* again: counting children writes rows */
        return r;
    row.lane[lane].done = up ? done + counted : from;
    row.lane[lane].all = up && counted < RUN_MAX;
    r = row_save(txn, hash, &row);
    return r ? r : (int)counted;
}

int index_first(struct store_txn *txn, MDB_dbi db, uint8_t key[8], struct cid *ret_hash)
{
    MDB_cursor *c;
    MDB_val k, v;
    int rc = mdb_cursor_open(txn->mdb, db, &c);
    if (rc)
        return store_error(rc);
    rc = mdb_cursor_get(c, &k, &v, MDB_FIRST);
    if (rc == 0 && (k.mv_size != 8 || v.mv_size == 0 || v.mv_size > MULTIHASH_MAX))
        rc = MDB_CORRUPTED;
    if (rc == 0) {
        memcpy(key, k.mv_data, 8);
        memcpy(ret_hash->bytes, v.mv_data, v.mv_size); /* copied: the row's writes may move it */
        ret_hash->len = (uint8_t)v.mv_size;
        ret_hash->hash_at = 0;
    }
    mdb_cursor_close(c);
    return store_error(rc);
}

/* The first of the queue: one run, or out of the queue when it is settled. Returns links counted, at least 1 for the look. */
static int cascade_first(struct store_txn *txn, enum lane lane)
{
    MDB_dbi db = txn->bs->env.db[lane == LANE_LIVE ? DB_LIVE_QUEUE : DB_HELD_QUEUE];
    uint8_t key[8];
    struct cid hash;
    struct row row;
    int r = index_first(txn, db, key, &hash);
    if (r == ERR_NOT_FOUND) { /* the total was wrong */
        txn->t.pending[lane] = 0;
        txn->wrote = true;
        return 0;
    }
    if (r || (r = row_load(txn, cid_hash(&hash), &row)))
        return r;
    if (row.exists && !row_settled(&row, lane)) {
        r = advance(txn, cid_hash(&hash), lane);
        return r < 0 ? r : r + 1;
    }
    r = store_txn_del(txn, db, span_of(key, sizeof key));
    if (r)
        return r;
    txn->t.pending[lane]--;
    if (row.exists) {
        row.lane[lane].queued = false;
        r = row_save(txn, cid_hash(&hash), &row);
    }
    return r ? r : 1;
}

int cascade_step(struct store_txn *txn, unsigned links)
{
    unsigned did = 0;
    for (int lane = 0; lane < LANES; lane++)
        while (did < links && txn->t.pending[lane] > 0 && !store_txn_full(txn)) {
            int r = cascade_first(txn, lane);
            if (r < 0)
                return r;
            did += (unsigned)r;
        }
    return (int)did;
}
