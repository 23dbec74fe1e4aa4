/* SPDX-License-Identifier: MIT
 *
 * Rows and the indexes that follow from them. A row on disk (format 1, little-endian):
 *
 *   0 flags │ 1 zero ×3 │ 4 codec u32 │ 8 size u32 │ 12 roots u32 │ 16 stamp u64 │ 24 count u64 │ 32 done u32      (36 bytes)
 *   and, when the held lane says something: 36 epoch u32 │ 40 count u64 │ 48 done u32                              (52 bytes)
 *
 * The codec is that of the CID the block came by; when another reference comes with a codec that can have links and this
 * one cannot, the row takes that one. So a block that is known as raw and as dag-pb keeps its children. */
#include "store/block/store_internal.h"

#include "store/base/log.h"
#include "store/codec/links.h"

#include <assert.h>

#define ROW_HELD        0x01
#define ROW_INLINE      0x02
#define ROW_LIVE_ALL    0x04
#define ROW_LIVE_QUEUED 0x08
#define ROW_HELD_ALL    0x10
#define ROW_HELD_QUEUED 0x20
#define ROW_DAMAGED     0x40 /* older versions drop it and call the block missing */

#define ROW_SHORT 36
#define ROW_LONG  52
_Static_assert(ROW_LONG <= ROW_SIZE_MAX, "rows fit");

static void put32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> (8 * i));
}

static void put64(uint8_t *at, uint64_t v)
{
    put32(at, (uint32_t)v);
    put32(at + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get64(const uint8_t *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

int row_parse(struct span in, uint32_t epoch, struct row *ret)
{
    if (in.len != ROW_SHORT && in.len != ROW_LONG)
        return ERR_CORRUPT;
    uint8_t flags = in.data[0];
    struct row row = {
        .exists = true,
        .held = flags & ROW_HELD,
        .inline_block = flags & ROW_INLINE,
        .damaged = flags & ROW_DAMAGED,
        .codec = get32(in.data + 4),
        .size = get32(in.data + 8),
        .roots = get32(in.data + 12),
        .stamp = get64(in.data + 16),
        .lane[LANE_LIVE] = {get64(in.data + 24), get32(in.data + 32), flags & ROW_LIVE_ALL, flags & ROW_LIVE_QUEUED},
    };
    if (row.size > BLOCK_MAX)
        return ERR_CORRUPT;
    if (in.len == ROW_LONG && get32(in.data + 36) == epoch)
        row.lane[LANE_HELD] =
            (struct lane_state){get64(in.data + 40), get32(in.data + 48), flags & ROW_HELD_ALL, flags & ROW_HELD_QUEUED};
    *ret = row;
    return 0;
}

static bool lane_empty(const struct lane_state *l)
{
    return l->count == 0 && l->done == 0 && !l->queued;
}

size_t row_format(const struct row *row, uint32_t epoch, uint8_t out[ROW_SIZE_MAX])
{
    const struct lane_state *live = &row->lane[LANE_LIVE], *held = &row->lane[LANE_HELD];
    memset(out, 0, ROW_SIZE_MAX);
    out[0] = (uint8_t)((row->held ? ROW_HELD : 0) | (row->inline_block ? ROW_INLINE : 0) | (row->damaged ? ROW_DAMAGED : 0) |
                       (live->all ? ROW_LIVE_ALL : 0) | (live->queued ? ROW_LIVE_QUEUED : 0));
    put32(out + 4, row->codec);
    put32(out + 8, row->size);
    put32(out + 12, row->roots);
    put64(out + 16, row->stamp);
    put64(out + 24, live->count);
    put32(out + 32, live->done);
    if (lane_empty(held))
        return ROW_SHORT;
    out[0] |= (uint8_t)((held->all ? ROW_HELD_ALL : 0) | (held->queued ? ROW_HELD_QUEUED : 0));
    put32(out + 36, epoch);
    put64(out + 40, held->count);
    put32(out + 48, held->done);
    return ROW_LONG;
}

int row_load(struct store_txn *txn, struct span hash, struct row *ret)
{
    struct span in;
    int r = store_txn_get(txn, txn->bs->env.db[DB_ROWS], hash, &in);
    if (r == ERR_NOT_FOUND) {
        *ret = (struct row){0};
        return 0;
    }
    return r ? r : row_parse(in, txn->bs->epoch, ret);
}

bool row_settled(const struct row *row, enum lane lane)
{
    const struct lane_state *l = &row->lane[lane];
    if (l->count == 0)
        return l->done == 0;
    return !row->held || !links_possible(row->codec) || l->all;
}

static int enqueue(struct store_txn *txn, struct span hash, enum lane lane)
{
    uint8_t key[8];
    put_be64(key, txn->t.queue_next++);
    MDB_dbi db = txn->bs->env.db[lane == LANE_LIVE ? DB_LIVE_QUEUE : DB_HELD_QUEUE];
    txn->t.pending[lane]++;
    return store_txn_append(txn, db, span_of(key, sizeof key), hash);
}

int row_save(struct store_txn *txn, struct span hash, struct row *row)
{
    MDB_dbi db = txn->bs->env.db[DB_ROWS];
    bool says_something = row->held && !row->inline_block;
    for (int i = 0; i < LANES; i++) {
        struct lane_state *l = &row->lane[i];
        bool settled = row_settled(row, i);
        if (settled && l->count == 0)
            l->all = false;
        if (!settled && !l->queued) {
            int r = enqueue(txn, hash, i);
            if (r)
                return r;
            l->queued = true;
        }
        says_something = says_something || !lane_empty(l);
    }
    if (!says_something) {
        int r = row->exists ? store_txn_del(txn, db, hash) : 0;
        row->exists = false;
        return r;
    }
    row->exists = true;
    uint8_t out[ROW_SIZE_MAX];
    size_t len = row_format(row, txn->bs->epoch, out);
    return store_txn_set(txn, db, hash, span_of(out, len));
}

int row_cid(struct span hash, const struct row *row, struct cid *ret)
{
    return cid_from_hash(ret, 1, row->codec, hash);
}

/* ---- the eviction order ---- */

static int lru_add(struct store_txn *txn, struct span hash, struct row *row)
{
    uint8_t key[8];
    row->stamp = ++txn->t.stamp;
    put_be64(key, row->stamp);
    return store_txn_append(txn, txn->bs->env.db[DB_LRU], span_of(key, sizeof key), hash);
}

/* The index may lack an entry only in a damaged store; verify tells. */
static int lru_del(struct store_txn *txn, struct row *row)
{
    uint8_t key[8];
    if (row->stamp == 0) /* left to somebody else */
        return 0;
    put_be64(key, row->stamp);
    row->stamp = 0;
    int r = store_txn_del(txn, txn->bs->env.db[DB_LRU], span_of(key, sizeof key));
    return r == ERR_NOT_FOUND ? 0 : r;
}

int row_touch(struct store_txn *txn, struct span hash, struct row *row)
{
    int r = lru_del(txn, row);
    return r ? r : lru_add(txn, hash, row);
}

/* ---- counting ---- */

static void adopt_codec(struct row *row, const struct cid *cid)
{
    uint64_t codec = cid_codec(cid);
    if (!row->exists || (!links_possible(row->codec) && links_possible(codec)))
        row->codec = (uint32_t)codec; /* codecs fit: cid.h bounds them to 4 bytes */
}

static int became_live(struct store_txn *txn, const struct cid *cid, struct row *row)
{
    if (row->inline_block)
        return 0;
    if (!row->held) {
        txn->t.wanted++;
        return store_txn_set(txn, txn->bs->env.db[DB_WANTED], cid_hash(cid), cid_span(cid));
    }
    txn->t.live_blocks++;
    txn->t.live_bytes += row->size;
    return lru_del(txn, row);
}

static int became_dead(struct store_txn *txn, struct span hash, struct row *row)
{
    if (row->inline_block)
        return 0;
    if (!row->held) {
        txn->t.wanted--;
        int r = store_txn_del(txn, txn->bs->env.db[DB_WANTED], hash);
        return r == ERR_NOT_FOUND ? 0 : r;
    }
    txn->t.live_blocks--;
    txn->t.live_bytes -= row->size;
    return lru_add(txn, hash, row);
}

int row_count(struct store_txn *txn, const struct cid *cid, enum lane lane, int delta, bool root)
{
    assert(delta == 1 || delta == -1);
    struct span data;
    bool is_inline = cid_inline(cid, &data);
    if (is_inline && !links_possible(cid_codec(cid)))
        return 0;
    struct span hash = cid_hash(cid);
    struct row row;
    int r = row_load(txn, hash, &row);
    if (r)
        return r;
    struct lane_state *l = &row.lane[lane];
    if (delta < 0 && (l->count == 0 || (root && row.roots == 0)))
        return ERR_CORRUPT;
    if (delta > 0)
        adopt_codec(&row, cid);
    if (is_inline)
        row.held = row.inline_block = true;
    uint64_t before = l->count;
    l->count = delta > 0 ? before + 1 : before - 1;
    if (root)
        row.roots = delta > 0 ? row.roots + 1 : row.roots - 1;
    if (lane == LANE_LIVE && before == 0)
        r = became_live(txn, cid, &row);
    else if (lane == LANE_LIVE && l->count == 0)
        r = became_dead(txn, hash, &row);
    return r ? r : row_save(txn, hash, &row);
}

int store_txn_ref(struct store_txn *txn, const struct cid *cid)
{
    return row_count(txn, cid, LANE_LIVE, 1, true);
}

int store_txn_unref(struct store_txn *txn, const struct cid *cid)
{
    return row_count(txn, cid, LANE_LIVE, -1, true);
}

/* ---- blocks come and go ---- */

static bool over_quota(struct store_txn *txn, size_t len)
{
    uint64_t quota = atomic_load(&txn->bs->quota);
    if (quota == 0 || txn->t.bytes + len <= quota)
        return false;
    txn->need = txn->t.bytes + len - quota;
    return true;
}

/* A held block comes again: are the bytes on the disk those at hand? 1, 0 or an error. Looked at once since the start. */
static int still_sound(struct store_txn *txn, const struct cid *cid, struct span data)
{
    struct span held;
    if (vouched_has(txn->bs->vouched, cid))
        return 1;
    int r = txn_block_find(txn, cid_hash(cid), &held);
    if (r)
        return r == ERR_NOT_FOUND || (r == ERR_CORRUPT && txn->hard == 0) ? 0 : r;
    if (!store_txn_look(txn, held) || !span_eq(held, data))
        return 0;
    vouched_add(txn->bs->vouched, cid);
    return 1;
}

static int put_again(struct store_txn *txn, const struct cid *cid, struct row *row)
{
    uint32_t codec = row->codec;
    vouched_drop(txn->bs->rotten, cid);
    adopt_codec(row, cid);
    /* Used again: to the end of the order, unless it is near there. */
    bool old = row_ordered(row) && txn->t.stamp - row->stamp > txn->t.blocks / 8;
    int r = old ? row_touch(txn, cid_hash(cid), row) : 0;
    if (r || (!old && codec == row->codec))
        return r;
    return row_save(txn, cid_hash(cid), row);
}

#define BIG_LEAVE   (UINT32_C(1) << 20)
#define SMALL_LEAVE (UINT32_C(256) << 10)

/* Blocks leave a little of the disk, or nothing could be removed: that takes pages of LMDB before it gives room. Small ones may
 * have more of it: a file that is cut has a new root before its bytes go. */
static bool disk_is_full(struct store_txn *txn, size_t len)
{
    if (txn->room == UINT64_MAX)
        txn->room = store_env_free_bytes(&txn->bs->env, UINT64_MAX);
    if (len + (len < BLOCK_BIG ? SMALL_LEAVE : BIG_LEAVE) > txn->room)
        return true;
    txn->room -= len;
    return false;
}

int store_txn_put(struct store_txn *txn, const struct cid *cid, struct span data, const struct block_sum *sum)
{
    struct span ignored;
    if (cid_inline(cid, &ignored))
        return 0;
    if (data.len > BLOCK_MAX)
        return ERR_TOO_BIG;
    struct span hash = cid_hash(cid);
    struct row row;
    int r = row_load(txn, hash, &row);
    if (r)
        return r;
    if (row.held && (r = still_sound(txn, cid, data)) != 0)
        return r < 0 ? r : put_again(txn, cid, &row);
    if (row.held && (r = row_drop_damaged(txn, hash, &row)))
        return r;
    if (over_quota(txn, data.len))
        return ERR_QUOTA;
    if (disk_is_full(txn, data.len))
        return txn->hard = ERR_NO_SPACE;
    r = data.len >= BLOCK_BIG ? extent_put(txn, hash, data, sum) : store_txn_set(txn, txn->bs->env.db[DB_BLOCKS], hash, data);
    if (r)
        return r;
    vouched_drop(txn->bs->rotten, cid);
    if (!row.damaged) /* there may be readers whose snapshot has the damaged bytes */
        vouched_add(txn->bs->vouched, cid);
    adopt_codec(&row, cid);
    row.held = true;
    row.damaged = false;
    row.size = (uint32_t)data.len;
    txn->t.blocks++;
    txn->t.bytes += data.len;
    if (row.lane[LANE_LIVE].count == 0) {
        r = lru_add(txn, hash, &row);
    } else {
        txn->t.live_blocks++;
        txn->t.live_bytes += data.len;
        txn->t.wanted--;
        r = store_txn_del(txn, txn->bs->env.db[DB_WANTED], hash);
        r = r == ERR_NOT_FOUND ? 0 : r;
    }
    return r ? r : row_save(txn, hash, &row);
}

int row_drop_block(struct store_txn *txn, struct span hash, struct row *row)
{
    assert(row->held && !row->inline_block);
    int r = block_drop(txn, hash);
    if (r && r != ERR_NOT_FOUND)
        return r;
    txn->t.blocks--;
    txn->t.bytes -= row->size;
    if (row->lane[LANE_LIVE].count > 0) {
        struct cid cid;
        txn->t.live_blocks--;
        txn->t.live_bytes -= row->size;
        txn->t.wanted++;
        r = row_cid(hash, row, &cid);
        if (r == 0)
            r = store_txn_set(txn, txn->bs->env.db[DB_WANTED], hash, cid_span(&cid));
    } else {
        r = lru_del(txn, row);
    }
    row->held = false; /* what was counted of its links stays true: when it comes back it has the same bytes */
    row->size = 0;
    return r ? r : row_save(txn, hash, row);
}

int row_drop_damaged(struct store_txn *txn, struct span hash, struct row *row)
{
    int r = row->lane[LANE_LIVE].count > 0 ? pins_none_complete(txn) : 0;
    row->damaged = true;
    txn->damaged++;
    return r ? r : row_drop_block(txn, hash, row);
}
