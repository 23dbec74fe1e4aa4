/* SPDX-License-Identifier: MIT
 *
 * And what looks at one block alone. */
#include "store/block/verify_repair.h"

#include "store/base/log.h"
#include "store/block/verify.h"
#include "store/content/checksum.h"
#include "store/content/hasher.h"

#include <stdlib.h>

static void repair_finish(struct mail *m, void *owner)
{
    (void)owner;
    struct repair_op *p = (struct repair_op *)m;
    atomic_fetch_sub(p->under_way, 1);
    free(p);
}

struct repair_op *repair_new(atomic_uint *under_way, const struct cid *cid, repair_fn *apply)
{
    struct repair_op *p = MEM_NEW(struct repair_op);
    p->op = (struct store_op){.mail.run = repair_finish, .apply = apply, .cost = sizeof *p};
    p->under_way = under_way;
    if (cid)
        p->cid = *cid;
    return p;
}

static bool has_sound_bytes(struct store_txn *txn, const struct cid *cid, struct span *ret)
{
    struct span data;
    if (txn_block_find(txn, cid_hash(cid), &data) != 0 || !store_txn_look(txn, data) || check_bytes(cid, data) == ERR_CORRUPT)
        return false;
    if (ret)
        *ret = data;
    return true;
}

/* The row was damaged and is gone; now something refers to the block, and its bytes are still there. */
static int hold_again(struct store_txn *txn, const struct cid *cid)
{
    struct span data;
    if (!has_sound_bytes(txn, cid, &data))
        return 0;
    uint8_t *copy = mem_big(data.len + 1, 1); /* LMDB's memory goes with the first write */
    if (!copy)
        return ERR_NO_MEMORY;
    size_t len = data.len;
    memcpy(copy, data.data, len);
    int r = block_drop(txn, cid_hash(cid));
    r = r ? r : store_txn_put(txn, cid, span_of(copy, len), NULL);
    free(copy);
    return r;
}

int repair_count(struct store_op *op, struct store_txn *txn)
{
    struct repair_op *p = (struct repair_op *)op;
    struct row row;
    int r = row_load(txn, cid_hash(&p->cid), &row);
    if (r == 0 && !row.exists && p->delta > 0 && (r = hold_again(txn, &p->cid)) == 0)
        r = row_load(txn, cid_hash(&p->cid), &row);
    if (r == 0 && !row.held) /* it will be wanted: some pin misses it */
        r = pins_none_complete(txn);
    if (r || p->delta == 0)
        return r;
    bool up = p->delta > 0;
    uint64_t rest = (up ? (uint64_t)p->delta : -(uint64_t)p->delta) - 1; /* of a count that rotted it may be 2^63 */
    if (up)
        r = row_count(txn, &p->cid, LANE_LIVE, 1, false);
    if (r == 0)
        r = row_load(txn, cid_hash(&p->cid), &row);
    if (r == 0 && !up && row.lane[LANE_LIVE].count <= rest) /* it has changed meanwhile */
        r = ERR_CORRUPT;
    if (r == 0 && rest > 0) {
        row.lane[LANE_LIVE].count += up ? rest : -rest;
        r = row_save(txn, cid_hash(&p->cid), &row);
    }
    return r == 0 && !up ? row_count(txn, &p->cid, LANE_LIVE, -1, false) : r;
}

int repair_root(struct store_op *op, struct store_txn *txn)
{
    struct repair_op *p = (struct repair_op *)op;
    struct row row;
    struct span value, key = span_of(p->key, p->key_len);
    struct cid cid;
    int r = store_txn_get(txn, p->db, key, &value);
    if (r ||
        (p->refers && (p->refers(key, value, &cid) != 1 || !cid_eq(&cid, &p->cid)))) /* it refers to something else by now */
        return r == ERR_NOT_FOUND ? 0 : r;
    r = row_load(txn, cid_hash(&p->cid), &row);
    if (r || row.roots > 0)
        return r;
    if (!row.exists && ((r = hold_again(txn, &p->cid)) || (r = row_load(txn, cid_hash(&p->cid), &row))))
        return r;
    r = row.held ? 0 : pins_none_complete(txn);
    return r ? r : store_txn_ref(txn, &p->cid);
}

/* Is it (still) not what it should be? 0 damaged, ERR_EXISTS sound, ERR_MISSING */
static int still_damaged(struct store_txn *txn, const struct cid *cid, const struct row *row)
{
    struct span data;
    int r = txn_block_find(txn, cid_hash(cid), &data);
    if (r == ERR_NOT_FOUND)
        return row->held ? 0 : ERR_MISSING;
    if (r)
        return r == ERR_CORRUPT ? 0 : r;
    if (!row->held || data.len != row->size || !store_txn_look(txn, data))
        return 0;
    if (hash_verify(cid, data) == ERR_VERIFY)
        return 0;
    vouched_drop(txn->bs->rotten, cid);
    return ERR_EXISTS;
}

int repair_drop(struct store_op *op, struct store_txn *txn)
{
    struct repair_op *p = (struct repair_op *)op;
    struct span hash = cid_hash(&p->cid);
    struct row row;
    int r = row_load(txn, hash, &row);
    if (r == ERR_CORRUPT && txn->hard == 0) { /* the row itself: what it said is counted anew by this verify or the next */
        if (!has_sound_bytes(txn, &p->cid, NULL)) {
            (void)block_drop(txn, hash); /* none is fine; an LMDB error shows in `hard` */
            txn->damaged++;
        }
        return store_txn_del(txn, txn->bs->env.db[DB_ROWS], hash);
    }
    if (r || row.inline_block || (r = still_damaged(txn, &p->cid, &row)))
        return r ? r : ERR_EXISTS;
    if (row.held)
        return row_drop_damaged(txn, hash, &row);
    if (has_sound_bytes(txn, &p->cid, NULL)) /* its row was lost: it is held again by who refers to it */
        return row.exists ? hold_again(txn, &p->cid) : 0;
    txn->damaged++;
    return block_drop(txn, hash);
}

int repair_stray(struct store_op *op, struct store_txn *txn)
{
    struct span hash = cid_hash(&((struct repair_op *)op)->cid);
    struct row row;
    int r = row_load(txn, hash, &row);
    if (r || row.exists)
        return r;
    r = block_drop(txn, hash);
    txn->damaged += r == 0;
    return r == ERR_NOT_FOUND ? 0 : r;
}

/* What is under a key that is no multihash: its bytes are those of `cid`. */
int repair_key(struct store_op *op, struct store_txn *txn)
{
    struct span key = cid_span(&((struct repair_op *)op)->cid);
    int r = block_drop(txn, key), with_row = store_txn_del(txn, txn->bs->env.db[DB_ROWS], key);
    r = r == ERR_NOT_FOUND ? 0 : r;
    return r || with_row == ERR_NOT_FOUND ? r : with_row;
}

/* The indexes of one row, as the row says */
int repair_index(struct store_op *op, struct store_txn *txn)
{
    struct repair_op *p = (struct repair_op *)op;
    struct span hash = cid_hash(&p->cid);
    const MDB_dbi *db = txn->bs->env.db;
    struct row row;
    int r = row_load(txn, hash, &row);
    if (r || !row.exists)
        return r;
    if (row_in_lru(&row)) {
        r = row_touch(txn, hash, &row);
        return r ? r : row_save(txn, hash, &row);
    }
    if (row_is_wanted(&row)) {
        struct cid cid;
        r = row_cid(hash, &row, &cid);
        return r ? r : store_txn_set(txn, db[DB_WANTED], hash, cid_span(&cid));
    }
    r = store_txn_del(txn, db[DB_WANTED], hash);
    return r == ERR_NOT_FOUND ? 0 : r;
}

int repair_totals(struct store_op *op, struct store_txn *txn)
{
    const struct totals *d = &((struct repair_op *)op)->totals;
    txn->t.blocks += d->blocks; /* differences modulo 2^64 */
    txn->t.bytes += d->bytes;
    txn->t.live_blocks += d->live_blocks;
    txn->t.live_bytes += d->live_bytes;
    txn->t.wanted += d->wanted;
    txn->t.pins += d->pins;
    txn->t.pins_incomplete += d->pins_incomplete;
    txn->wrote = true;
    return 0;
}

/* ---- one block ---- */

int check_bytes(const struct cid *cid, struct span data)
{
    int r = data.len > BLOCK_MAX ? ERR_VERIFY : hash_verify(cid, data);
    return r == ERR_VERIFY ? ERR_CORRUPT : r;
}

int store_vouch(struct blockstore *bs, const struct cid *cid, struct span data, const struct block_sum *sum)
{
    if (vouched_has(bs->vouched, cid))
        return 0;
    bool same = sum && sum->known && data.len <= BLOCK_MAX && checksum(data) == sum->value;
    int r = same ? 0 : check_bytes(cid, data); /* the sum may have rotted: the hash decides */
    if (r == ERR_CORRUPT) {
        static struct log_limit limit;
        char text[CID_TEXT_SIZE];
        log_limited(&limit, "store.damaged", "block=%s next=\"p2p verify\"", cid_text(cid, text));
        return r;
    }
    vouched_add(bs->vouched, cid);
    return 0;
}

int store_check(struct store_reader *r, const struct cid *cid)
{
    struct span data;
    int result = store_get(r, cid, &data);
    return result ? result : check_bytes(cid, data);
}

struct drop_op {
    struct repair_op repair;
    void (*done)(void *arg, int result);
    void *arg;
};

static void drop_finish(struct mail *m, void *owner)
{
    (void)owner;
    struct drop_op *d = (struct drop_op *)m;
    if (d->done)
        d->done(d->arg, d->repair.op.result);
    free(d);
}

void blockstore_drop_damaged(struct blockstore *bs, const struct cid *cid, struct mailbox *reply,
                             void (*done)(void *arg, int result), void *arg)
{
    struct drop_op *d = MEM_NEW(struct drop_op);
    d->repair.op = (struct store_op){.mail.run = drop_finish, .apply = repair_drop, .reply = reply, .cost = sizeof *d};
    d->repair.cid = *cid;
    d->done = done;
    d->arg = arg;
    blockstore_submit(bs, &d->repair.op);
}
