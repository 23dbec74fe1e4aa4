/* SPDX-License-Identifier: MIT
 *
 * Works off the queues: takes the first row that is not settled and counts, or uncounts, a run of its links, from where `done`
 * says. Links are numbered as links_of reports them, which depends on the block's bytes alone, so a cascade can stop anywhere,
 * turn round, and go on after a restart.
 *
 * What is fetched comes from the top, a block soon before its children. To count a child that is not here writes a row and an
 * entry of `wanted`, and its coming changes both: pages at random places each. So a block whose children are not here waits for
 * them while blocks come: each is counted in the transaction that stores it, which has copies of these pages already. */
#include "store/block/store_internal.h"

#include "store/base/log.h"
#include "store/codec/links.h"

#include <stdlib.h>

/* Links a run: one pass over the block's bytes each. A run is never cut, and each link may be another of LMDB's pages; blocks
 * of our own making have at most 1024 links. */
#define RUN_MAX 448 /* CIDs in less than 64 KiB */

#define LOOKS      1024            /* blocks of the queue, for such as are ready: a group */
#define LOOK_LINKS (8 * LOOKS)     /* gone over for that: of wide blocks fewer are looked at */
#define READY_MAX  64              /* of them */
#define QUIET      (500 * MONO_MS) /* nothing waits when nothing was stored for so long */

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
        if (!store_txn_look(txn, data) || store_vouch(txn->bs, cid, data, NULL) != 0) {
            vouched_drop(txn->bs->vouched, cid);
            return ERR_VERIFY;
        }
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
    rc = index_move(c, &k, &v, MDB_FIRST);
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

int index_next(MDB_txn *mdb, MDB_dbi db, struct cid *at, struct span *ret_value)
{
    MDB_cursor *c;
    MDB_val k = store_val(cid_span(at)), v;
    int rc = mdb_cursor_open(mdb, db, &c);
    if (rc)
        return store_error(rc);
    rc = index_move(c, &k, &v, at->len ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && at->len && span_cmp(store_span(k), cid_span(at)) <= 0) /* less: the page is damaged */
        rc = index_move(c, &k, &v, MDB_NEXT);
    mdb_cursor_close(c);
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && k.mv_size > MULTIHASH_MAX)
        rc = MDB_CORRUPTED;
    if (rc)
        return store_error(rc);
    *at = (struct cid){.len = (uint8_t)k.mv_size};
    memcpy(at->bytes, k.mv_data, k.mv_size);
    *ret_value = store_span(v);
    return 1;
}

int index_del(struct store_txn *txn, MDB_dbi db, const uint8_t key[8])
{
    MDB_cursor *c;
    MDB_val k, v;
    int r = store_txn_del(txn, db, span_of(key, 8));
    if (r != ERR_NOT_FOUND || mdb_cursor_open(txn->mdb, db, &c) != 0)
        return r;
    int rc = index_move(c, &k, &v, MDB_FIRST);
    while (rc == 0 && !span_eq(store_span(k), span_of(key, 8)))
        rc = index_move(c, &k, &v, MDB_NEXT);
    if (rc == 0 && (rc = mdb_cursor_del(c, 0)) != 0)
        txn->hard = store_error(rc);
    mdb_cursor_close(c);
    txn->wrote = txn->wrote || rc == 0;
    return store_error(rc);
}

static MDB_dbi queue_of(const struct store_txn *txn, enum lane lane)
{
    return txn->bs->env.db[lane == LANE_LIVE ? DB_LIVE_QUEUE : DB_HELD_QUEUE];
}

struct queued {
    uint8_t key[8];
    struct cid hash;
};

/* One run, or out of the queue when it is settled (*gone). Returns links counted, at least 1 for the look. */
static int cascade_one(struct store_txn *txn, enum lane lane, const struct queued *q, bool *gone)
{
    struct row row;
    int r = row_load(txn, cid_hash(&q->hash), &row);
    *gone = false;
    if (r)
        return r;
    txn->counted = txn->counted || lane == LANE_LIVE;
    if (row.exists && !row_settled(&row, lane)) {
        r = advance(txn, cid_hash(&q->hash), lane);
        return r < 0 ? r : r + 1;
    }
    r = index_del(txn, queue_of(txn, lane), q->key);
    if (r)
        return r;
    *gone = true;
    txn->t.pending[lane]--;
    if (row.exists) {
        row.lane[lane].queued = false;
        r = row_save(txn, cid_hash(&q->hash), &row);
    }
    return r ? r : 1;
}

static int cascade_first(struct store_txn *txn, enum lane lane)
{
    struct queued q;
    bool gone;
    int r = index_first(txn, queue_of(txn, lane), q.key, &q.hash);
    if (r == ERR_NOT_FOUND) { /* the total was wrong */
        txn->t.pending[lane] = 0;
        txn->wrote = true;
        return 0;
    }
    return r ? r : cascade_one(txn, lane, &q, &gone);
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

/* ---- what is ready ---- */

static int child_held(struct store_txn *txn, const struct cid *child)
{
    struct span data;
    struct row row;
    if (cid_inline(child, &data))
        return 1;
    int r = row_load(txn, cid_hash(child), &row);
    return r ? r : row.held;
}

/* Are its children here? The first and the last one tell: they are asked for in order. 1, 0 or an error. */
static int is_ready(struct store_txn *txn, struct span hash)
{
    struct row row;
    struct cid cid;
    int r = row_load(txn, hash, &row);
    if (r)
        return r;
    if (!row.exists || !row.held || row_settled(&row, LANE_LIVE) || row.lane[LANE_LIVE].count == 0)
        return 1; /* nothing to count, or to count down */
    if ((r = row_cid(hash, &row, &cid)))
        return r;
    int ready = 1;
    for (unsigned most = 1; most <= RUN_MAX && ready == 1; most += RUN_MAX - 1) {
        struct run run = {.most = most, .skip = row.lane[LANE_LIVE].done};
        r = links_run(txn, &cid, &run);
        txn->bs->cascade.looked += row.lane[LANE_LIVE].done + run.count;
        ready = r == ERR_VERIFY || (r == 0 && run.count == 0) ? 1 : r < 0 ? r : child_held(txn, &run.children[run.count - 1]);
        free(run.children);
    }
    return ready;
}

/* Looks through a part of the queue from this number on: to its end, or round and round. Returns how many are ready, and where
 * it stopped. */
static int find_ready(struct store_txn *txn, struct queued *ready, uint64_t from, bool round, uint64_t *ret_next)
{
    MDB_cursor *c;
    uint8_t at[8];
    put_be64(at, from);
    MDB_val k = {sizeof at, at}, v;
    int rc = mdb_cursor_open(txn->mdb, queue_of(txn, LANE_LIVE), &c);
    if (rc)
        return store_error(rc);
    rc = index_move(c, &k, &v, MDB_SET_RANGE);
    int count = 0, r = 0;
    uint64_t first = 0, most = txn->bs->cascade.looked + LOOK_LINKS;
    for (unsigned looks = 0; r >= 0 && looks < LOOKS && txn->bs->cascade.looked < most && count < READY_MAX; looks++) {
        if (rc == MDB_NOTFOUND && round)
            rc = index_move(c, &k, &v, MDB_FIRST);
        if (rc == 0 && (k.mv_size != 8 || v.mv_size == 0 || v.mv_size > MULTIHASH_MAX))
            rc = MDB_CORRUPTED;
        if (rc || (looks > 0 && get_be64(k.mv_data) == first))
            break; /* all of it */
        struct queued *q = &ready[count];
        memcpy(q->key, k.mv_data, 8);
        q->hash = (struct cid){.len = (uint8_t)v.mv_size};
        memcpy(q->hash.bytes, v.mv_data, v.mv_size);
        first = looks == 0 ? get_be64(q->key) : first;
        *ret_next = get_be64(q->key) + 1;
        r = is_ready(txn, cid_hash(&q->hash));
        count += r > 0;
        rc = index_move(c, &k, &v, MDB_NEXT);
    }
    mdb_cursor_close(c);
    if (rc == MDB_NOTFOUND && !round)
        *ret_next = txn->t.queue_next;
    return rc && rc != MDB_NOTFOUND ? store_error(rc) : r < 0 ? r : count;
}

/* Counts what is ready in a part of the queue. */
static int count_part(struct store_txn *txn, struct queued *ready, uint64_t *at, bool round, unsigned links, unsigned *did)
{
    struct cascade *c = &txn->bs->cascade;
    int r, count, i;
    bool found = false;
    do {
        r = count = find_ready(txn, ready, *at, round, at);
        if (count > 0 && !found)
            c->near = get_be64(ready[0].key);
        found = count > 0;
        for (i = 0; i < count && r >= 0 && *did < links && !store_txn_full(txn);) {
            bool gone;
            r = cascade_one(txn, LANE_LIVE, &ready[i], &gone);
            *did += r > 0 ? (unsigned)r : 0;
            i += gone;
        }
        c->left = r >= 0 && i < count;
    } while (r >= 0 && count == READY_MAX && !c->left);
    return r;
}

/* About where some were ready the last time, for the walk that brings the children goes on there; then the next part. Then
 * what this transaction queued: what it stored, and children that were counted, which may be ready themselves. They are looked
 * at once each, so that a DAG that is here is counted to its leaves whoever else waits. */
static int count_ready(struct store_txn *txn, unsigned links)
{
    struct cascade *c = &txn->bs->cascade;
    struct queued *ready = mem_array(READY_MAX, sizeof *ready);
    uint64_t near = c->near > LOOKS / 2 ? c->near - LOOKS / 2 : 0, fresh = txn->bs->t.queue_next;
    unsigned did = 0;
    int r = count_part(txn, ready, &near, true, links, &did);
    if (r >= 0 && !c->left)
        r = count_part(txn, ready, &c->next, true, links, &did);
    while (r >= 0 && !c->left && fresh < txn->t.queue_next)
        r = count_part(txn, ready, &fresh, false, links, &did);
    free(ready);
    return r < 0 ? r : (int)did;
}

int cascade_along(struct store_txn *txn, unsigned links)
{
    struct cascade *c = &txn->bs->cascade;
    c->due = 0;
    c->waits = c->left = false;
    if (txn->t.pending[LANE_LIVE] == 0)
        return 0;
    if (atomic_load(&c->settle) > 0)
        return cascade_step(txn, links);
    int r = count_ready(txn, links);
    c->waits = !c->left;
    cascade_committed(txn->bs);
    return r;
}

void cascade_committed(struct blockstore *bs)
{
    struct cascade *c = &bs->cascade;
    if (c->waits)
        c->due = mono_after(mono_now(), c->quiet ? c->quiet : QUIET);
}

void cascade_refused(struct blockstore *bs, int err)
{
    struct cascade *c = &bs->cascade;
    atomic_store(&c->why, err);
    atomic_fetch_add(&c->refused, bs->t.pending[LANE_LIVE] > 0);
}

int cascade_work(struct store_txn *txn, unsigned links, mono_ns until)
{
    struct cascade *c = &txn->bs->cascade;
    int r = 0;
    if (c->left && !txn->bs->evict.active) {
        do
            r = cascade_along(txn, links);
        while (r >= 0 && c->left && mono_now() < until && !store_txn_full(txn));
        return r;
    }
    c->due = 0;
    c->waits = c->left = false;
    while (r >= 0 && txn->t.pending[LANE_LIVE] > 0 && mono_now() < until && !store_txn_full(txn))
        r = cascade_step(txn, links);
    return r;
}

mono_ns cascade_due(const struct blockstore *bs)
{
    if (bs->t.pending[LANE_LIVE] > 0)
        return bs->cascade.left ? 0 : bs->cascade.due;
    return bs->t.pins_incomplete > 0 && bs->t.wanted == 0 ? 0 : MONO_NEVER;
}
