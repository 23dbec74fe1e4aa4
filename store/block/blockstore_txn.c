/* SPDX-License-Identifier: MIT */
#include "store/block/blockstore_txn.h"

#include "store/base/mapfault.h"
#include "store/block/fault.h"
#include "store/block/store_internal.h"

#include <assert.h>
#include <stddef.h>

#define PAGE       4096                 /* LMDB's, on the machines that we know */
#define FULL_BELOW (UINT32_C(64) << 10) /* free bytes */

static int txn_source_get(struct block_source *self, const struct cid *cid, struct span *ret)
{
    struct store_txn *txn = (struct store_txn *)((uint8_t *)self - offsetof(struct store_txn, source));
    int r = txn_block_find(txn, cid_hash(cid), ret);
    return r == ERR_NOT_FOUND ? ERR_MISSING : r;
}

struct block_source *store_txn_source(struct store_txn *txn)
{
    return &txn->source;
}

MDB_txn *store_txn_mdb(struct store_txn *txn)
{
    return txn->mdb;
}

/* ---- begin, commit ---- */

int store_txn_begin(struct blockstore *bs, struct store_txn *txn)
{
    txn->bs = bs;
    txn->mdb = NULL;
    txn->t = bs->t;
    txn->wrote = txn->counted = false;
    txn->hard = 0;
    txn->need = txn->damaged = 0;
    txn->room = UINT64_MAX; /* nobody has looked */
    memset(txn->writes, 0, sizeof txn->writes);
    memset(txn->touched, 0, sizeof txn->touched);
    txn->writes_all = 0;
    txn->big_bytes = 0;
    txn->source.get = txn_source_get;
    txn->source.missing_count = 0;
    txn->faults = mapfault_count();
    txn->epoch = mapfault_epoch();
    int fault = bs->commit_error;
    if (!bs->env.mdb || bs->broken)
        return fault ? fault : ERR_IO;
    store_env_mend(&bs->env);
    int rc = fault_point();
    if (rc == 0)
        rc = mdb_txn_begin(bs->env.mdb, NULL, 0, &txn->mdb);
    return store_error(rc);
}

void store_txn_abort(struct store_txn *txn)
{
    segments_forget(txn->bs->segments);
    mdb_txn_abort(txn->mdb);
    txn->mdb = NULL;
}

static bool faulted(const struct store_txn *txn)
{
    return mapfault_count() != txn->faults;
}

int store_txn_result(const struct store_txn *txn, int r)
{
    if (r == ERR_AGAIN)
        return r;
    return faulted(txn) || (r == ERR_CORRUPT && mapfault_epoch() != txn->epoch) ? ERR_IO : r;
}

bool store_txn_look(struct store_txn *txn, struct span data)
{
    unsigned long before = mapfault_count();
    bool here = mapfault_look(data);
    txn->faults += mapfault_count() - before;
    return here;
}

/* With a page of zeros for one of its own LMDB would write over what is in use. */
static int mdb_commit(MDB_txn *mdb)
{
    mapfault_deadly(true);
    int rc = mdb_txn_commit(mdb);
    mapfault_deadly(false);
    return rc;
}

/* Pages are merged with their neighbours. First it is looked whether those are there where the key and its value begin. */
static int mdb_remove(MDB_txn *mdb, MDB_dbi db, MDB_val *k)
{
    MDB_val v;
    int rc = index_get(mdb, db, k, &v);
    if (rc == 0 && !mapfault_look(span_sub(store_span(v), 0, 1)))
        rc = MDB_CORRUPTED;
    if (rc)
        return rc;
    mapfault_deadly(true);
    rc = mdb_del(mdb, db, k, NULL);
    mapfault_deadly(false);
    return rc;
}

int store_txn_commit(struct store_txn *txn)
{
    uint8_t stored[sizeof(struct totals)];
    memcpy(stored, &txn->t, sizeof stored);
    int r = txn->hard;
    if (r == 0)
        r = store_txn_set(txn, txn->bs->env.db[DB_INFO], span_str("totals"), span_of(stored, sizeof stored));
    if (faulted(txn))
        r = ERR_IO;
    if (r) {
        store_txn_abort(txn);
        return r;
    }
    int rc = fault_point();
    if (rc == 0 && (r = segments_sync(txn->bs->segments))) { /* before anything refers to them */
        store_txn_abort(txn);
        return r;
    }
    if (rc)
        store_txn_abort(txn);
    else
        rc = mdb_commit(txn->mdb); /* a failed one is an aborted one */
    txn->mdb = NULL;
    if (rc == EIO && store_env_free_bytes(&txn->bs->env, 0) < FULL_BELOW)
        rc = ENOSPC; /* LMDB calls a short write EIO; the disk took a part of it and is full now */
    if (rc) {
        struct blockstore *bs = txn->bs;
        bs->sync_failed = true;
        if (store_env_panicked(&bs->env))
            bs->broken = true;
        return bs->commit_error = store_error(rc);
    }
    txn->bs->sync_failed = false;
    txn->bs->t = txn->t;
    return 0;
}

/* ---- records ---- */

int store_txn_get(struct store_txn *txn, MDB_dbi db, struct span key, struct span *ret)
{
    MDB_val k = store_val(key), v;
    int rc = index_get(txn->mdb, db, &k, &v);
    if (rc)
        return store_error(rc);
    *ret = store_span(v);
    return 0;
}

/* What LMDB answers to a write. Everything but "no such key" and "bad arguments" leaves a transaction that can only be
 * aborted. */
static int written(struct store_txn *txn, int rc)
{
    if (rc == 0) {
        txn->wrote = true;
        return 0;
    }
    int r = store_error(rc);
    if (rc != MDB_NOTFOUND && rc != MDB_BAD_VALSIZE)
        txn->hard = r;
    return r;
}

/* Was this key, or a number near it, written before? A table of bits: now and then one is taken for another. */
static bool touched(struct store_txn *txn, MDB_dbi db, struct span key)
{
    uint64_t mix = db + 1;
    for (size_t i = 0; i < key.len; i++)
        mix = (mix ^ (key.len == 8 && i == 7 ? key.data[i] & 0xc0 : key.data[i])) * UINT64_C(0x100000001b3);
    unsigned bit = (unsigned)(mix >> 32) % TXN_TOUCHED;
    bool before = txn->touched[bit / 8] >> bit % 8 & 1;
    txn->touched[bit / 8] |= (uint8_t)(1u << bit % 8);
    return before;
}

static void count_write(struct store_txn *txn, MDB_dbi db, struct span key, size_t value)
{
    assert(db < STORE_DBIS);
    if (value > PAGE / 2)
        txn->big_bytes += (value + 2 * PAGE - 1) / PAGE * PAGE;
    if (touched(txn, db, key))
        return;
    txn->writes[db]++;
    txn->writes_all++;
}

/* A write takes a page at most, now and then two; all writes to one database no more than it has. */
size_t store_txn_bytes(const struct store_txn *txn)
{
    size_t bytes = txn->big_bytes;
    if (bytes + (size_t)txn->writes_all * PAGE < txn->bs->group_bytes_most / 2) /* as a rule: no need to know better */
        return bytes + (size_t)txn->writes_all * PAGE;
    for (MDB_dbi db = 0; db < STORE_DBIS; db++) {
        MDB_stat stat;
        if (!txn->writes[db] || mdb_stat(txn->mdb, db, &stat) != 0)
            continue;
        size_t pages = stat.ms_branch_pages + stat.ms_leaf_pages;
        bytes += (pages < txn->writes[db] ? pages : txn->writes[db]) * PAGE;
    }
    return bytes;
}

bool store_txn_full(const struct store_txn *txn)
{
    return store_txn_bytes(txn) >= txn->bs->group_bytes_most;
}

static int put(struct store_txn *txn, MDB_dbi db, MDB_val *k, MDB_val *v, unsigned flags)
{
    if (txn->hard)
        return txn->hard;
    count_write(txn, db, store_span(*k), v->mv_size);
    int rc = fault_point();
    if (rc == 0)
        rc = mdb_put(txn->mdb, db, k, v, flags);
    if (rc == MDB_KEYEXIST && (flags & MDB_APPEND)) /* not the last one after all */
        rc = mdb_put(txn->mdb, db, k, v, flags & ~(unsigned)MDB_APPEND);
    return written(txn, rc);
}

int store_txn_set(struct store_txn *txn, MDB_dbi db, struct span key, struct span value)
{
    MDB_val k = store_val(key), v = store_val(value);
    return put(txn, db, &k, &v, 0);
}

int store_txn_append(struct store_txn *txn, MDB_dbi db, struct span key, struct span value)
{
    MDB_val k = store_val(key), v = store_val(value);
    return put(txn, db, &k, &v, MDB_APPEND);
}

int store_txn_del(struct store_txn *txn, MDB_dbi db, struct span key)
{
    if (txn->hard)
        return txn->hard;
    count_write(txn, db, key, 0);
    MDB_val k = store_val(key);
    int rc = fault_point();
    if (rc == 0)
        rc = mdb_remove(txn->mdb, db, &k);
    return written(txn, rc);
}

/* ---- databases of others ---- */

struct record_op {
    struct store_op op;
    const char *name;
    unsigned flags;
    MDB_dbi dbi;
};

static int apply_record_db(struct store_op *op, struct store_txn *txn)
{
    struct record_op *r = (struct record_op *)op;
    int result = store_env_record_db(&txn->bs->env, txn->mdb, r->name, r->flags, &r->dbi);
    if (result == 0)
        txn->wrote = true; /* a handle becomes valid with the commit */
    return result;
}

int blockstore_record_db(struct blockstore *bs, const char *name, unsigned mdb_flags, MDB_dbi *ret)
{
    assert(strchr(name, '.'));
    struct record_op op = {.op.apply = apply_record_db, .name = name, .flags = mdb_flags};
    int r = blockstore_do(bs, &op.op);
    if (r == 0)
        *ret = op.dbi;
    return r;
}

void blockstore_record_refers(struct blockstore *bs, MDB_dbi db, record_refers_fn *refers)
{
    for (unsigned i = 0; i < bs->env.record_count; i++)
        if (bs->env.records[i].dbi == db)
            bs->env.records[i].refers = refers;
}
