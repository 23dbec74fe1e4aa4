/* SPDX-License-Identifier: MIT
 *
 * Where big blocks lie. Their bytes are in segments (segment.h); LMDB has for each
 *
 *   extents   multihash → segment u32, unit u32, len u32; since format 3 also checksum u64
 *   places    segment u32, unit u32, in keys big-endian → multihash: what of a segment is in use
 *   dead      the same key → len u32, number u64: dropped, its room not given back yet
 *
 * The end of what is written is in the totals, so it moves with the commit: bytes written for a transaction that was aborted
 * are written over. They are on disk before the commit that tells of them begins.
 *
 * Room is given back late: a drop must be on disk, or after a crash the block would be there and its bytes not; and readers
 * whose snapshot still shows it must be through. `number` is the queue's when it was dropped: the committer says below which
 * both are so.
 *
 * A bit of what is written here may have rotted, and that must not take room that something lives in: nothing is given back
 * that overlaps with a place, no place is taken out that is another's, and the end is behind all of them. */
#include "store/block/store_internal.h"

#include "store/base/log.h"
#include "store/block/fault.h"
#include "store/content/checksum.h"

#include <stdlib.h>

#define KEY_SIZE    8
#define EXTENT_BARE 12 /* of format 2 */
#define EXTENT_SIZE 20
#define DEAD_SIZE   12

static void put32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void put_key(uint8_t key[KEY_SIZE], uint32_t segment, uint32_t unit)
{
    put_be64(key, (uint64_t)segment << 32 | unit);
}

int extent_parse(struct span in, struct extent *ret, struct block_sum *ret_sum)
{
    if (in.len != EXTENT_SIZE && in.len != EXTENT_BARE)
        return ERR_CORRUPT;
    ret_sum->known = in.len == EXTENT_SIZE;
    if (ret_sum->known)
        ret_sum->value = get_be64(in.data + EXTENT_BARE);
    *ret = (struct extent){get32(in.data), get32(in.data + 4), get32(in.data + 8)};
    if (ret->len == 0 || ret->len > BLOCK_MAX || ret->unit > SEGMENT_UNITS - extent_units(ret->len))
        return ERR_CORRUPT;
    return 0;
}

static int lookup(MDB_txn *mdb, MDB_dbi db, struct span key, struct span *ret)
{
    MDB_val k = store_val(key), v;
    int rc = index_get(mdb, db, &k, &v);
    if (rc == 0)
        *ret = store_span(v);
    return store_error(rc);
}

int extent_bytes(struct blockstore *bs, struct span in, struct span *ret)
{
    struct extent e;
    struct block_sum sum;
    int r = extent_parse(in, &e, &sum);
    return r ? r : segments_get(bs->segments, &e, ret);
}

int block_find_sum(struct blockstore *bs, MDB_txn *mdb, struct span hash, struct span *ret, struct block_sum *ret_sum)
{
    ret_sum->known = false;
    int r = lookup(mdb, bs->env.db[DB_BLOCKS], hash, ret);
    if (r != ERR_NOT_FOUND)
        return r;
    struct span in;
    struct extent e;
    r = lookup(mdb, bs->env.db[DB_EXTENTS], hash, &in);
    r = r ? r : extent_parse(in, &e, ret_sum);
    return r ? r : segments_get(bs->segments, &e, ret);
}

int block_find(struct blockstore *bs, MDB_txn *mdb, struct span hash, struct span *ret)
{
    struct block_sum sum;
    return block_find_sum(bs, mdb, hash, ret, &sum);
}

int extent_read(struct blockstore *bs, MDB_txn *mdb, struct span hash, uint8_t *into, struct block_sum *ret_sum)
{
    struct span in = SPAN_NONE;
    struct extent e;
    int r = lookup(mdb, bs->env.db[DB_EXTENTS], hash, &in);
    if (r)
        return ERR_UNSUPPORTED;
    r = extent_parse(in, &e, ret_sum);
    return r ? r : segments_read(bs->segments, &e, into);
}

int txn_block_find(struct store_txn *txn, struct span hash, struct span *ret)
{
    struct span in;
    int r = store_txn_get(txn, txn->bs->env.db[DB_EXTENTS], hash, &in);
    if (r == 0 && (r = segments_flush(txn->bs->segments)))
        return txn->hard = r;
    return r == 0 || r == ERR_NOT_FOUND ? block_find(txn->bs, txn->mdb, hash, ret) : r;
}

/* Is there an entry of this segment? An error counts as one: what is in doubt stays. */
static bool used(MDB_txn *mdb, MDB_dbi db, uint32_t segment)
{
    uint8_t key[KEY_SIZE];
    MDB_cursor *c;
    if (mdb_cursor_open(mdb, db, &c) != 0)
        return true;
    put_key(key, segment, 0);
    MDB_val k = {sizeof key, key}, v;
    int rc = index_move(c, &k, &v, MDB_SET_RANGE);
    bool is = rc == 0 && (k.mv_size != KEY_SIZE || get_be64(k.mv_data) >> 32 == segment);
    mdb_cursor_close(c);
    return is || (rc != 0 && rc != MDB_NOTFOUND);
}

static bool in_use(struct blockstore *bs, MDB_txn *mdb, uint32_t segment)
{
    return used(mdb, bs->env.db[DB_PLACES], segment) || used(mdb, bs->env.db[DB_DEAD], segment);
}

/* The last entry below this key; 1, 0: none, or an error. */
static int last_below(MDB_txn *mdb, MDB_dbi db, uint64_t below, uint64_t *ret_at, struct span *ret)
{
    uint8_t key[KEY_SIZE];
    MDB_cursor *c;
    int rc = mdb_cursor_open(mdb, db, &c);
    if (rc)
        return store_error(rc);
    put_be64(key, below);
    MDB_val k = {sizeof key, key}, v;
    rc = index_move(c, &k, &v, MDB_SET_RANGE);
    rc = index_move(c, &k, &v, rc == 0 ? MDB_PREV : MDB_LAST);
    if (rc == 0 && k.mv_size != KEY_SIZE)
        rc = MDB_CORRUPTED;
    if (rc == 0) {
        *ret_at = get_be64(k.mv_data);
        *ret = store_span(v);
    }
    mdb_cursor_close(c);
    return rc == 0 ? 1 : rc == MDB_NOTFOUND ? 0 : store_error(rc);
}

/* Units from a segment's beginning to the end of what lives last in it below this unit; in doubt more. */
static uint32_t lives_until(struct store_txn *txn, uint32_t segment, uint32_t below)
{
    uint64_t at;
    struct span hash, in;
    struct extent e;
    struct block_sum sum;
    int r = last_below(txn->mdb, txn->bs->env.db[DB_PLACES], ((uint64_t)segment << 32) + below, &at, &hash);
    if (r <= 0 || at >> 32 != segment)
        return r < 0 ? UINT32_MAX : 0;
    uint32_t unit = (uint32_t)at;
    bool known = lookup(txn->mdb, txn->bs->env.db[DB_EXTENTS], hash, &in) == 0 && extent_parse(in, &e, &sum) == 0 &&
                 e.segment == segment && e.unit == unit;
    return unit + extent_units(known ? e.len : BLOCK_MAX);
}

/* ---- putting ---- */

static int next_segment(struct store_txn *txn)
{
    struct blockstore *bs = txn->bs;
    uint32_t n = (uint32_t)txn->t.segment;
    for (uint32_t i = 0; i < SEGMENTS_MAX; i++) {
        n = (n + 1) % SEGMENTS_MAX;
        if (!segments_exist(bs->segments, n) && !in_use(bs, txn->mdb, n)) {
            txn->t.segment = n;
            txn->t.unit = 0;
            return 0;
        }
    }
    return ERR_NO_SPACE; /* 64 TiB */
}

int extent_put(struct store_txn *txn, struct span hash, struct span data, const struct block_sum *sum)
{
    struct totals *t = &txn->t;
    int r = txn->hard;
    if (r == 0 && t->unit + extent_units((uint32_t)data.len) > SEGMENT_UNITS)
        r = next_segment(txn);
    if (r)
        return r;
    struct extent e = {(uint32_t)t->segment, (uint32_t)t->unit, (uint32_t)data.len};
    int rc = fault_point();
    r = rc ? store_error(rc) : segments_write(txn->bs->segments, &e, data);
    if (r)
        return txn->hard = r;
    t->unit += extent_units(e.len);
    uint8_t value[EXTENT_SIZE], key[KEY_SIZE];
    put32(value, e.segment);
    put32(value + 4, e.unit);
    put32(value + 8, e.len);
    put_be64(value + EXTENT_BARE, sum && sum->known ? sum->value : checksum(data));
    put_key(key, e.segment, e.unit);
    r = store_txn_set(txn, txn->bs->env.db[DB_EXTENTS], hash, span_of(value, sizeof value));
    return r ? r : store_txn_set(txn, txn->bs->env.db[DB_PLACES], span_of(key, sizeof key), hash);
}

int extent_drop(struct store_txn *txn, struct span hash)
{
    const MDB_dbi *db = txn->bs->env.db;
    struct span in;
    struct extent e;
    struct block_sum sum;
    int r = store_txn_get(txn, db[DB_EXTENTS], hash, &in);
    if (r)
        return r;
    int damaged = extent_parse(in, &e, &sum);
    r = store_txn_del(txn, db[DB_EXTENTS], hash);
    if (r || damaged) /* where it was is not known: its room is lost until the segment goes */
        return r;
    uint8_t value[DEAD_SIZE], key[KEY_SIZE];
    put_key(key, e.segment, e.unit);
    r = store_txn_get(txn, db[DB_PLACES], span_of(key, sizeof key), &in);
    if (r == ERR_NOT_FOUND || (r == 0 && !span_eq(in, hash))) /* it does not lie there */
        return 0;
    r = r ? r : store_txn_del(txn, db[DB_PLACES], span_of(key, sizeof key));
    if (r)
        return r;
    put32(value, e.len);
    put_be64(value + 4, txn->t.queue_next++);
    txn->t.dead++;
    return store_txn_set(txn, db[DB_DEAD], span_of(key, sizeof key), span_of(value, sizeof value));
}

int block_drop(struct store_txn *txn, struct span hash)
{
    int r = store_txn_del(txn, txn->bs->env.db[DB_BLOCKS], hash);
    return r == ERR_NOT_FOUND ? extent_drop(txn, hash) : r;
}

/* ---- giving room back ---- */

static bool is_between(const uint8_t *dead, uint64_t from, uint64_t below)
{
    uint64_t number = get_be64(dead + 4);
    return number >= from && number < below;
}

/* Does nothing live there? */
static bool is_free(struct store_txn *txn, const struct extent *e)
{
    return e->len > 0 && e->len <= BLOCK_MAX && e->unit <= SEGMENT_UNITS - extent_units(e->len) &&
           lives_until(txn, e->segment, e->unit + extent_units(e->len)) <= e->unit;
}

/* The first dead one at or after `from` whose number is below `below`, or was never given; 1, 0: none, or an error. */
static int next_dead(struct store_txn *txn, uint64_t from, uint64_t below, struct extent *ret)
{
    uint8_t key[KEY_SIZE];
    MDB_cursor *c;
    int rc = mdb_cursor_open(txn->mdb, txn->bs->env.db[DB_DEAD], &c);
    if (rc)
        return store_error(rc);
    put_be64(key, from);
    MDB_val k = {sizeof key, key}, v;
    rc = index_move(c, &k, &v, MDB_SET_RANGE);
    while (rc == 0 && k.mv_size == KEY_SIZE && v.mv_size == DEAD_SIZE && is_between(v.mv_data, below, txn->t.queue_next))
        rc = index_move(c, &k, &v, MDB_NEXT);
    if (rc == 0 && (k.mv_size != KEY_SIZE || v.mv_size != DEAD_SIZE))
        rc = MDB_CORRUPTED;
    if (rc == 0)
        *ret = (struct extent){(uint32_t)(get_be64(k.mv_data) >> 32), (uint32_t)get_be64(k.mv_data), get32(v.mv_data)};
    mdb_cursor_close(c);
    return rc == 0 ? 1 : rc == MDB_NOTFOUND ? 0 : store_error(rc);
}

/* Units to the end of all that is in this segment, dead or not; in doubt more */
static uint32_t ends_at(struct store_txn *txn, uint32_t segment)
{
    uint64_t at;
    struct span value;
    uint32_t end = lives_until(txn, segment, SEGMENT_UNITS);
    int r = last_below(txn->mdb, txn->bs->env.db[DB_DEAD], ((uint64_t)segment << 32) + SEGMENT_UNITS, &at, &value);
    if (r <= 0 || at >> 32 != segment)
        return r < 0 ? UINT32_MAX : end;
    uint32_t dead = (uint32_t)at + (value.len == DEAD_SIZE ? extent_units(get32(value.data)) : SEGMENT_UNITS);
    return dead > end ? dead : end;
}

int extents_move_on(struct store_txn *txn)
{
    return txn->t.unit > 0 && !in_use(txn->bs, txn->mdb, (uint32_t)txn->t.segment) ? next_segment(txn) : 0;
}

int extents_begin(struct store_txn *txn)
{
    MDB_stat dead;
    struct totals *t = &txn->t;
    int rc = mdb_stat(txn->mdb, txn->bs->env.db[DB_DEAD], &dead);
    if (rc)
        return store_error(rc);
    t->dead = dead.ms_entries;
    if (t->segment < SEGMENTS_MAX && t->unit >= ends_at(txn, (uint32_t)t->segment))
        return extents_move_on(txn);
    t->segment %= SEGMENTS_MAX;
    return next_segment(txn);
}

int extents_give_back(struct store_txn *txn, uint64_t below, unsigned most)
{
    static struct log_limit limit;
    struct extent e = {0};
    uint64_t from = 0;
    int r = 0;
    unsigned n = 0;
    while (n < most && (r = next_dead(txn, from, below, &e)) == 1) {
        uint8_t key[KEY_SIZE];
        put_key(key, e.segment, e.unit);
        from = get_be64(key) + 1;
        bool ours = is_free(txn, &e);
        if (!ours)
            log_limited(&limit, "store.room", "segment=%u unit=%u why=\"the entry is damaged\"", e.segment, e.unit);
        r = ours ? segments_punch(txn->bs->segments, &e) : 0; /* also where the file goes: the commit may need the room */
        if (r < 0 && used(txn->mdb, txn->bs->env.db[DB_PLACES], e.segment))
            return r;
        r = store_txn_del(txn, txn->bs->env.db[DB_DEAD], span_of(key, sizeof key));
        if (r)
            return r;
        txn->t.dead -= txn->t.dead > 0;
        n++;
    }
    if (r >= 0 && n > 0)
        r = extents_move_on(txn);
    return r < 0 ? r : (int)n;
}

void extents_cut(struct blockstore *bs)
{
    if (!bs->broken) /* else the last commit is there perhaps */
        segments_cut(bs->segments, (uint32_t)bs->t.segment, (uint32_t)bs->t.unit);
}

void extents_sweep(struct blockstore *bs)
{
    struct store_txn txn;
    uint32_t *list = NULL;
    if (store_txn_begin(bs, &txn) != 0)
        return;
    int count = segments_list(bs->segments, &list);
    for (int i = 0; i < count; i++)
        if (list[i] != txn.t.segment && !in_use(bs, txn.mdb, list[i]))
            segments_remove(bs->segments, list[i]);
    free(list);
    store_txn_abort(&txn);
    extents_cut(bs);
}
