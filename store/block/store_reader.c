/* SPDX-License-Identifier: MIT
 *
 * Readers. A slot per reader holds LMDB's read transaction, reset between uses. While the committer reopens the environment
 * the gate is shut: a reader that wants to begin announces itself first and then looks at the gate, the committer shuts
 * the gate first and then looks for announcements; both orders are sequentially consistent, so one of them sees the other. */
#include "store/block/store_internal.h"
#include "store/block/verify.h"

#include "store/base/log.h"
#include "store/base/mapfault.h"

#include <assert.h>
#include <stdlib.h>

#define NOTED 256 /* direct-mapped: blocks noted lately, by their mix */

struct store_reader {
    struct block_source source; /* first: the source is the reader */
    struct blockstore *bs;
    struct reader_slot *slot;
    unsigned depth;
    unsigned noted_count;
    unsigned long faults; /* mapfault_epoch when it began */
    uint64_t noted[NOTED];
};

static int reader_get(struct block_source *self, const struct cid *cid, struct span *ret)
{
    return store_get((struct store_reader *)self, cid, ret);
}

static bool reader_has(struct block_source *self, const struct cid *cid)
{
    return store_has((struct store_reader *)self, cid);
}

int store_reader_new(struct blockstore *bs, struct store_reader **ret)
{
    struct reader_slot *slot = NULL;
    for (int i = 0; i < READERS_MAX && !slot; i++) {
        bool no = false;
        if (atomic_compare_exchange_strong(&bs->readers[i].taken, &no, true))
            slot = &bs->readers[i];
    }
    if (!slot)
        return ERR_LIMIT;
    if (!atomic_load(&slot->ring))
        atomic_store(&slot->ring, MEM_NEW(struct touch_ring));
    struct store_reader *r = MEM_NEW(struct store_reader);
    r->source.get = reader_get;
    r->source.has = reader_has;
    r->bs = bs;
    r->slot = slot;
    *ret = r;
    return 0;
}

struct store_reader *store_reader_free(struct store_reader *r)
{
    if (!r)
        return NULL;
    if (r->depth > 0) {
        r->depth = 1;
        store_read_end(r);
    }
    atomic_store(&r->slot->taken, false); /* its transaction stays for the next one */
    free(r);
    return NULL;
}

int store_read_begin(struct store_reader *r)
{
    if (r->depth > 0) {
        r->depth++;
        return 0;
    }
    atomic_store(&r->slot->active, true);
    atomic_store(&r->slot->epoch, atomic_load(&r->bs->read_epoch)); /* before the snapshot is taken */
    int shut = atomic_load(&r->bs->gate);
    if (shut) {
        atomic_store(&r->slot->active, false);
        return shut;
    }
    store_env_mend(&r->bs->env);
    r->faults = mapfault_epoch();
    int rc = r->slot->txn ? mdb_txn_renew(r->slot->txn) : mdb_txn_begin(r->bs->env.mdb, NULL, MDB_RDONLY, &r->slot->txn);
    if (rc) {
        atomic_store(&r->slot->active, false);
        return rc == MDB_PANIC ? ERR_AGAIN : store_error(rc); /* the committer is about to see it, too */
    }
    r->depth = 1;
    return 0;
}

void store_read_end(struct store_reader *r)
{
    assert(r->depth > 0);
    if (--r->depth > 0)
        return;
    mdb_txn_reset(r->slot->txn);
    atomic_store(&r->slot->active, false);
}

MDB_txn *store_reader_txn(struct store_reader *r)
{
    assert(r->depth > 0);
    return r->slot->txn;
}

struct block_source *store_reader_source(struct store_reader *r)
{
    return &r->source;
}

bool store_readers_idle(struct blockstore *bs)
{
    for (int i = 0; i < READERS_MAX; i++)
        if (atomic_load(&bs->readers[i].active))
            return false;
    for (int i = 0; i < READERS_MAX; i++)
        if (bs->readers[i].txn) {
            mdb_txn_abort(bs->readers[i].txn);
            bs->readers[i].txn = NULL;
        }
    return true;
}

bool store_readers_since(const struct blockstore *bs, uint64_t epoch)
{
    for (int i = 0; i < READERS_MAX; i++)
        if (atomic_load(&bs->readers[i].active) && atomic_load(&bs->readers[i].epoch) < epoch)
            return false;
    return true;
}

void store_readers_close(struct blockstore *bs)
{
    bool idle = store_readers_idle(bs);
    assert(idle);
    (void)idle;
    for (int i = 0; i < READERS_MAX; i++) {
        assert(!atomic_load(&bs->readers[i].taken));
        free(bs->readers[i].ring);
    }
}

/* ---- touches ---- */

static void note_use(struct store_reader *r, const struct cid *cid)
{
    uint64_t mix = cid_mix(cid);
    uint64_t *noted = &r->noted[mix % NOTED];
    struct touch_ring *ring = atomic_load_explicit(&r->slot->ring, memory_order_relaxed);
    if (*noted == mix)
        return;
    unsigned head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    unsigned tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head - tail == TOUCH_RING)
        return; /* the committer is behind: order is a hint, not a promise */
    *noted = mix;
    struct span hash = cid_hash(cid);
    ring->entry[head % TOUCH_RING].len = (uint8_t)hash.len;
    memcpy(ring->entry[head % TOUCH_RING].bytes, hash.data, hash.len);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    if (++r->noted_count % (4 * NOTED) == 0) /* forget: used again after so many others is worth telling again */
        memset(r->noted, 0, sizeof r->noted);
    if (head + 1 - tail >= TOUCH_RING / 4 * 3)
        store_reader_poke(r->bs);
}

/* ---- blocks ---- */

static int find(struct store_reader *r, enum store_db db, struct span key, struct span *ret)
{
    assert(r->depth > 0);
    MDB_val k = store_val(key), v;
    int rc = index_get(r->slot->txn, r->bs->env.db[db], &k, &v);
    if (rc)
        return rc == MDB_NOTFOUND ? ERR_MISSING : store_error(rc);
    *ret = store_span(v);
    return 0;
}

/* It is to be dropped; until it is, which a disk that takes no write puts off, nobody is told that it is held. What the disk
 * did not give at all it may give the next time. */
static int found_rotten(struct store_reader *r, const struct cid *cid)
{
    if (mapfault_epoch() != r->faults) {
        static struct log_limit limit;
        char text[CID_TEXT_SIZE];
        log_limited(&limit, "store.unreadable", "block=%s next=\"another disk\"", cid_text(cid, text));
        return ERR_IO;
    }
    vouched_add(r->bs->rotten, cid);
    blockstore_drop_damaged(r->bs, cid, NULL, NULL, NULL);
    return ERR_CORRUPT;
}

/* ERR_MISSING, or ERR_CORRUPT when it was here and had to be dropped, or its row says that it is. */
static int why_missing(struct store_reader *r, const struct cid *cid)
{
    struct span found;
    struct row row;
    if (find(r, DB_ROWS, cid_hash(cid), &found) != 0 || row_parse(found, 0, &row) != 0)
        return ERR_MISSING;
    return row.held ? found_rotten(r, cid) : row.damaged ? ERR_CORRUPT : ERR_MISSING;
}

/* What was found is looked at: 0 and noted as used, or what is wrong with it. */
static int found_whole(struct store_reader *r, const struct cid *cid, struct span found, const struct block_sum *sum)
{
    int result = store_vouch(r->bs, cid, found, sum);
    if (result == 0)
        note_use(r, cid);
    return result == ERR_CORRUPT ? found_rotten(r, cid) : result;
}

int store_get(struct store_reader *r, const struct cid *cid, struct span *ret)
{
    struct span found;
    if (cid_inline(cid, ret))
        return 0;
    assert(r->depth > 0);
    struct block_sum sum;
    int result = block_find_sum(r->bs, r->slot->txn, cid_hash(cid), &found, &sum);
    if (result == ERR_NOT_FOUND)
        return why_missing(r, cid);
    if (result == ERR_CORRUPT)
        return found_rotten(r, cid);
    if (result == 0)
        result = found_whole(r, cid, found, &sum);
    if (result == 0)
        *ret = found;
    return result;
}

int store_copy(struct store_reader *r, const struct cid *cid, bool direct, struct block *into)
{
    struct span data;
    struct block_sum sum;
    uint64_t size;
    int result = store_size(r, cid, &size);
    if (result == 0 && size == into->cap && direct && !cid_inline(cid, &data) &&
        extent_read(r->bs, r->slot->txn, cid_hash(cid), into->data, &sum) == 0) {
        into->len = into->cap;
        return found_whole(r, cid, block_span(into), &sum);
    }
    result = store_get(r, cid, &data); /* also to find out what was wrong */
    if (result)
        return result;
    if (data.len > into->cap)
        return ERR_CORRUPT;
    into->len = (uint32_t)data.len;
    return mapfault_copy(into->data, data) ? 0 : ERR_IO;
}

bool store_has(struct store_reader *r, const struct cid *cid)
{
    uint64_t size;
    return store_size(r, cid, &size) == 0;
}

int store_size(struct store_reader *r, const struct cid *cid, uint64_t *ret)
{
    struct span found;
    struct row row;
    if (cid_inline(cid, &found)) {
        *ret = found.len;
        return 0;
    }
    int result = find(r, DB_ROWS, cid_hash(cid), &found);
    if (result == 0)
        result = row_parse(found, 0, &row);
    if (result || !row.held)
        return result ? result : ERR_MISSING;
    if (vouched_has(r->bs->rotten, cid))
        return ERR_CORRUPT;
    *ret = row.size;
    return 0;
}

bool store_is_live(struct store_reader *r, const struct cid *cid)
{
    struct span found;
    struct row row;
    return find(r, DB_ROWS, cid_hash(cid), &found) == 0 && row_parse(found, 0, &row) == 0 && row.lane[LANE_LIVE].count > 0;
}

/* ---- lists ---- */

/* The first entry after key `at` (empty: the first of all). 1, 0 or an error. */
static int next_entry(struct store_reader *r, enum store_db db, struct span at, MDB_val *k, MDB_val *v)
{
    assert(r->depth > 0);
    MDB_cursor *c;
    int rc = mdb_cursor_open(r->slot->txn, r->bs->env.db[db], &c);
    if (rc)
        return store_error(rc);
    *k = store_val(at);
    rc = index_move(c, k, v, at.len ? MDB_SET_RANGE : MDB_FIRST);
    while (rc == 0 && at.len && span_cmp(store_span(*k), at) <= 0) /* less: the page is damaged, and there would be no end */
        rc = index_move(c, k, v, MDB_NEXT);
    mdb_cursor_close(c);
    if (rc == MDB_NOTFOUND)
        return 0;
    return rc ? store_error(rc) : 1;
}

int store_wanted_next(struct store_reader *r, struct cid *at, struct cid *ret)
{
    MDB_val k, v;
    int result = next_entry(r, DB_WANTED, at->len ? cid_hash(at) : SPAN_NONE, &k, &v);
    if (result <= 0)
        return result;
    if (cid_parse(store_span(v), ret) != 0 || !span_eq(cid_hash(ret), store_span(k)))
        return ERR_CORRUPT;
    *at = *ret;
    return 1;
}

int store_pin_next(struct store_reader *r, struct cid *at, struct pin *ret)
{
    MDB_val k, v;
    int result;
    while ((result = next_entry(r, DB_PINS, cid_span(at), &k, &v)) == 1) {
        if (k.mv_size > CID_MAX)
            return ERR_CORRUPT;
        *at = (struct cid){.len = (uint8_t)k.mv_size};
        memcpy(at->bytes, k.mv_data, k.mv_size);
        if (pin_parse(store_span(k), store_span(v), ret) == 0)
            return 1;
    }
    return result;
}

int store_pin_get(struct store_reader *r, const struct cid *cid, struct pin *ret)
{
    struct span found;
    int result = find(r, DB_PINS, cid_span(cid), &found);
    if (result)
        return result == ERR_MISSING ? ERR_NOT_FOUND : result;
    return pin_parse(cid_span(cid), found, ret);
}
