/* SPDX-License-Identifier: MIT
 *
 * Which blocks go: the order is by stamp, a number that grows with every use that was noted. A pass takes the oldest ones until
 * its target is reached. Before it takes anything, the holds are written down as counts of the held lane and all queues are
 * worked off; so a block with no count is one that nobody needs. Blocks that are held in this sense move to the end.
 *
 * Rows and blocks lie by their hashes: in the order of stamps each is on other pages than the one before, which a transaction
 * copies and writes. A pass that takes all goes through the rows first. */
#include "store/block/store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

/* ---- holds ---- */

#define HOLD_BUCKETS 16384

struct hold {
    struct hold *next;
    TAILQ_ENTRY(hold) by_table; /* in `wrong`, when it is */
    struct cid cid;
    uint64_t count;
    bool written; /* it has a count in the held lane */
};

struct hold_table {
    struct hold *buckets[HOLD_BUCKETS];
    TAILQ_HEAD(, hold) wrong; /* whose count in the held lane is not what it should be */
    bool writing;             /* a transaction is under way that has written the first of these down, … */
    struct hold *at;          /* … those before this one; NULL: all */
};

struct hold_table *hold_table_new(void)
{
    struct hold_table *h = MEM_NEW(struct hold_table);
    TAILQ_INIT(&h->wrong);
    return h;
}

struct hold_table *hold_table_free(struct hold_table *h)
{
    if (!h)
        return NULL;
    for (size_t i = 0; i < HOLD_BUCKETS; i++)
        for (struct hold *e = h->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    free(h);
    return NULL;
}

/* Where it is in its bucket, or would be */
static struct hold **place_of(struct hold_table *h, const struct cid *cid)
{
    struct hold **at = &h->buckets[cid_mix(cid) % HOLD_BUCKETS];
    while (*at && !cid_eq(&(*at)->cid, cid))
        at = &(*at)->next;
    return at;
}

static bool is_right(const struct hold *e)
{
    return e->written == (e->count > 0);
}

static void drop_if_idle(struct hold **at)
{
    struct hold *e = *at;
    if (e->count > 0 || e->written)
        return;
    *at = e->next;
    free(e);
}

void hold_change(struct hold_table *h, const struct cid *cid, int delta)
{
    struct hold **at = place_of(h, cid);
    struct hold *e = *at;
    assert(!h->writing);
    if (!e) {
        if (delta < 0) /* an unhold without its hold would be our mistake; it must not protect less */
            return;
        e = MEM_NEW(struct hold);
        e->cid = *cid;
        *at = e;
    }
    bool was_right = is_right(e);
    if (delta > 0)
        e->count++;
    else if (e->count > 0)
        e->count--;
    if (was_right && !is_right(e))
        TAILQ_INSERT_TAIL(&h->wrong, e, by_table);
    else if (!was_right && is_right(e))
        TAILQ_REMOVE(&h->wrong, e, by_table);
    drop_if_idle(at);
}

int hold_write_down(struct hold_table *h, struct store_txn *txn)
{
    if (!h->writing)
        h->at = TAILQ_FIRST(&h->wrong);
    h->writing = true;
    for (; h->at; h->at = TAILQ_NEXT(h->at, by_table)) {
        if (store_txn_full(txn))
            return 0;
        int r = row_count(txn, &h->at->cid, LANE_HELD, h->at->written ? -1 : 1, false);
        if (r && !(r == ERR_CORRUPT && txn->hard == 0)) /* a count that is not there needs no taking back */
            return r;
    }
    return 1;
}

void hold_not_written(struct hold_table *h)
{
    h->writing = false;
}

void hold_written(struct hold_table *h)
{
    if (!h->writing)
        return;
    h->writing = false;
    for (struct hold *e; (e = TAILQ_FIRST(&h->wrong)) != h->at;) {
        TAILQ_REMOVE(&h->wrong, e, by_table);
        e->written = !e->written;
        drop_if_idle(place_of(h, &e->cid));
    }
}

void hold_forget_written(struct hold_table *h)
{
    h->writing = false;
    TAILQ_INIT(&h->wrong);
    for (size_t i = 0; i < HOLD_BUCKETS; i++)
        for (struct hold **at = &h->buckets[i], *e; (e = *at) != NULL;) {
            e->written = false;
            if (e->count == 0) {
                drop_if_idle(at);
                continue;
            }
            TAILQ_INSERT_TAIL(&h->wrong, e, by_table);
            at = &e->next;
        }
}

/* ---- touches ---- */

static int touch_one(struct store_txn *txn, struct span hash)
{
    struct row row;
    int r = row_load(txn, hash, &row);
    if (r == ERR_CORRUPT && txn->hard == 0) /* its bytes were sound; a check tells of it */
        return 0;
    if (r || !row_ordered(&row) || txn->t.stamp - row.stamp <= txn->t.blocks / 8) /* near the end already */
        return r;
    if ((r = row_touch(txn, hash, &row)) == 0)
        r = row_save(txn, hash, &row);
    return r ? r : 1;
}

int touch_apply(struct blockstore *bs, struct store_txn *txn)
{
    int moved = 0;
    for (int i = 0; i < READERS_MAX; i++) {
        struct touch_ring *ring = atomic_load(&bs->readers[i].ring);
        if (!ring)
            continue;
        unsigned tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        unsigned head = atomic_load_explicit(&ring->head, memory_order_acquire);
        for (; tail != head; tail++) {
            struct span hash = span_of(ring->entry[tail % TOUCH_RING].bytes, ring->entry[tail % TOUCH_RING].len);
            int r = touch_one(txn, hash);
            if (r < 0)
                return r;
            moved += r;
            atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
        }
    }
    return moved;
}

/* ---- a pass ---- */

void evict_begin(struct blockstore *bs, uint64_t target_bytes)
{
    bs->evict = (struct evict){.active = true, .target = target_bytes};
}

uint64_t evict_quota_target(const struct blockstore *bs, uint64_t most)
{
    uint64_t quota = atomic_load(&bs->quota);
    uint64_t slack = quota / 32 < (UINT64_C(64) << 20) ? quota / 32 : UINT64_C(64) << 20;
    return most > slack ? most - slack : 0;
}

/* The oldest of the order. 1: there is one, 0: none that this pass may take. */
static int oldest(struct blockstore *bs, struct store_txn *txn, struct cid *ret_hash, uint64_t *ret_stamp)
{
    uint8_t key[8];
    int r = index_first(txn, bs->env.db[DB_LRU], key, ret_hash);
    if (r)
        return r == ERR_NOT_FOUND ? 0 : r;
    *ret_stamp = get_be64(key);
    return *ret_stamp <= bs->evict.until || *ret_stamp > txn->t.stamp; /* never given: damaged */
}

/* Is so much to go that to go through all rows is less than to come to a page again and again? Each that goes is taken from
 * three pages, at random places; a page has some 40 rows. */
static bool many_go(struct blockstore *bs, struct store_txn *txn)
{
    MDB_stat order, rows;
    return mdb_stat(txn->mdb, bs->env.db[DB_LRU], &order) == 0 && mdb_stat(txn->mdb, bs->env.db[DB_ROWS], &rows) == 0 &&
           order.ms_entries > rows.ms_entries / 32;
}

/* In the order of their keys, so that each page is written once. Their entries in the order of eviction lie in another: they
 * are left to the rest of the pass, or of the next one. */
static int walk(struct blockstore *bs, struct store_txn *txn, unsigned rows)
{
    for (unsigned i = 0; i < rows; i++) {
        struct span in;
        struct row row;
        int r = index_next(txn->mdb, bs->env.db[DB_ROWS], &bs->evict.at, &in);
        if (r <= 0) {
            bs->evict.walks = false;
            return r;
        }
        if (row_parse(in, bs->epoch, &row) != 0 || !row_ordered(&row) || row.stamp > bs->evict.until ||
            row.lane[LANE_HELD].count > 0)
            continue;
        bs->evict.blocks++;
        bs->evict.bytes += row.size;
        row.stamp = 0;
        if ((r = row_drop_block(txn, cid_span(&bs->evict.at), &row)))
            return r;
    }
    return 0;
}

static int evict_one(struct blockstore *bs, struct store_txn *txn, struct span hash, uint64_t stamp)
{
    struct row row;
    int r = row_load(txn, hash, &row);
    bool damaged = r == ERR_CORRUPT && txn->hard == 0; /* it stays, and is in nobody's way: a check tells of it */
    if (damaged)
        row = (struct row){0};
    else if (r)
        return r;
    bool wrong = !row_ordered(&row) || row.stamp != stamp; /* a leftover in a damaged index, or a block's whose entry it is */
    if (wrong) {
        uint8_t key[8];
        put_be64(key, stamp);
        r = index_del(txn, bs->env.db[DB_LRU], key);
        if (r || !row_ordered(&row))
            return r;
    }
    if (wrong || row.lane[LANE_HELD].count > 0) {
        r = row_touch(txn, hash, &row);
        return r ? r : row_save(txn, hash, &row);
    }
    bs->evict.blocks++;
    bs->evict.bytes += row.size;
    return row_drop_block(txn, hash, &row);
}

int evict_step(struct blockstore *bs, struct store_txn *txn, unsigned blocks)
{
    if (bs->evict.until == 0) { /* not earlier: touches that were noted before the pass have moved their blocks by now */
        bs->evict.until = txn->t.stamp;
        bs->evict.walks = bs->evict.target == 0 && many_go(bs, txn);
    }
    int r = hold_write_down(bs->holds, txn);
    if (r <= 0)
        return r;
    r = cascade_step(txn, blocks * 16);
    if (r < 0 || txn->t.pending[LANE_LIVE] > 0 || txn->t.pending[LANE_HELD] > 0)
        return r < 0 ? r : 0;
    if (bs->evict.walks)
        return walk(bs, txn, blocks);
    for (unsigned i = 0; i < blocks; i++) {
        struct cid hash;
        uint64_t stamp = 0;
        bool enough = bs->evict.target > 0 && txn->t.bytes <= bs->evict.target; /* 0: all; the last may have no bytes */
        if (enough || (r = oldest(bs, txn, &hash, &stamp)) == 0) {
            bs->evict.finished = true;
            return 0;
        }
        if (r < 0 || (r = evict_one(bs, txn, cid_hash(&hash), stamp)))
            return r;
    }
    return 0;
}
