/* SPDX-License-Identifier: MIT
 *
 * Pins on disk: key: the CID; value: flags (1: complete), since (i64 little-endian, ns), name (≤ 255 bytes). */
#include "store/block/pin.h"

#include "store/block/store_internal.h"

#include <stdlib.h>

#define PIN_COMPLETE 0x01
#define PIN_HEAD     9
#define PIN_MAX      (PIN_HEAD + PIN_NAME_MAX)

int pin_parse(struct span key, struct span value, struct pin *ret)
{
    struct pin pin = {0};
    if (cid_parse(key, &pin.cid) != 0 || value.len < PIN_HEAD || value.len > PIN_MAX)
        return ERR_CORRUPT;
    uint64_t since = 0;
    for (int i = 0; i < 8; i++)
        since |= (uint64_t)value.data[1 + i] << (8 * i);
    pin.since = (wall_ns)since;
    pin.complete = value.data[0] & PIN_COMPLETE;
    memcpy(pin.name, value.data + PIN_HEAD, value.len - PIN_HEAD);
    *ret = pin;
    return 0;
}

static int pin_store(struct store_txn *txn, const struct pin *pin)
{
    uint8_t out[PIN_MAX];
    size_t name_len = strlen(pin->name);
    out[0] = pin->complete ? PIN_COMPLETE : 0;
    for (int i = 0; i < 8; i++)
        out[1 + i] = (uint8_t)((uint64_t)pin->since >> (8 * i));
    memcpy(out + PIN_HEAD, pin->name, name_len);
    return store_txn_set(txn, txn->bs->env.db[DB_PINS], cid_span(&pin->cid), span_of(out, PIN_HEAD + name_len));
}

static int pin_load(struct store_txn *txn, const struct cid *cid, struct pin *ret)
{
    struct span value;
    int r = store_txn_get(txn, txn->bs->env.db[DB_PINS], cid_span(cid), &value);
    return r ? r : pin_parse(cid_span(cid), value, ret);
}

int store_txn_pin(struct store_txn *txn, const struct cid *cid, const char *name)
{
    struct pin pin;
    int r = pin_load(txn, cid, &pin);
    bool is_new = r == ERR_NOT_FOUND;
    if (r && !is_new)
        return r;
    if (is_new) {
        pin = (struct pin){.cid = *cid, .since = wall_now()};
        if ((r = store_txn_ref(txn, cid)))
            return r;
        txn->t.pins++;
        txn->t.pins_incomplete++;
    }
    size_t len = name ? strnlen(name, PIN_NAME_MAX) : 0;
    memset(pin.name, 0, sizeof pin.name);
    if (len)
        memcpy(pin.name, name, len);
    return pin_store(txn, &pin);
}

int store_txn_unpin(struct store_txn *txn, const struct cid *cid)
{
    struct pin pin;
    int r = pin_load(txn, cid, &pin);
    if (r || (r = store_txn_del(txn, txn->bs->env.db[DB_PINS], cid_span(cid))))
        return r;
    txn->t.pins--;
    txn->t.pins_incomplete -= !pin.complete;
    return store_txn_unref(txn, cid);
}

static int pin_mark(struct store_txn *txn, const struct cid *cid, bool complete)
{
    struct pin pin;
    int r = pin_load(txn, cid, &pin);
    if (r || pin.complete == complete)
        return r;
    pin.complete = complete;
    if (complete)
        txn->t.pins_incomplete--;
    else
        txn->t.pins_incomplete++;
    return pin_store(txn, &pin);
}

/* Pins are as many as a person made: one transaction for all. */
static int mark_all(struct store_txn *txn, bool complete)
{
    MDB_cursor *c;
    MDB_val k, v;
    struct cid at = {0};
    int rc = mdb_cursor_open(txn->mdb, txn->bs->env.db[DB_PINS], &c), r = 0;
    if (rc)
        return store_error(rc);
    rc = index_move(c, &k, &v, MDB_FIRST);
    while (rc == 0 && r == 0) {
        if (cid_parse(store_span(k), &at) == 0)
            r = pin_mark(txn, &at, complete);
        if (r == ERR_NOT_FOUND || (r == ERR_CORRUPT && txn->hard == 0)) /* it is damaged: a check tells of it */
            r = 0;
        rc = index_move(c, &k, &v, MDB_NEXT); /* LMDB keeps cursors of the writing transaction in place */
    }
    mdb_cursor_close(c);
    return r ? r : rc == MDB_NOTFOUND ? 0 : store_error(rc);
}

int pins_all_complete(struct store_txn *txn)
{
    int r = mark_all(txn, true);
    if (r == 0 && txn->t.pins_incomplete > 0) { /* the total was wrong */
        txn->t.pins_incomplete = 0;
        txn->wrote = true;
    }
    return r;
}

int pins_none_complete(struct store_txn *txn)
{
    return mark_all(txn, false);
}

/* ---- operations ---- */

struct pin_op {
    struct store_op op;
    struct cid cid;
    pin_done done;
    void *arg;
    struct store_guard *guard; /* a reference; not the operation's own, which would count it */
    uint64_t damaged;          /* complete: as long as no more blocks were found so */
    char name[PIN_NAME_MAX + 1];
};

static int apply_pin(struct store_op *op, struct store_txn *txn)
{
    struct pin_op *p = (struct pin_op *)op;
    int refused = store_guard_check(p->guard);
    return refused ? refused : store_txn_pin(txn, &p->cid, p->name);
}

static int apply_unpin(struct store_op *op, struct store_txn *txn)
{
    return store_txn_unpin(txn, &((struct pin_op *)op)->cid);
}

static int apply_complete(struct store_op *op, struct store_txn *txn)
{
    struct pin_op *p = (struct pin_op *)op;
    bool more = atomic_load(&txn->bs->stats.damaged) + txn->damaged != p->damaged;
    return more ? ERR_AGAIN : pin_mark(txn, &p->cid, true);
}

static void pin_finish(struct mail *m, void *owner)
{
    (void)owner;
    struct pin_op *p = (struct pin_op *)m;
    if (p->done)
        p->done(p->arg, p->op.result);
    store_guard_unref(p->guard);
    free(p);
}

static struct pin_op *pin_op_new(const struct cid *cid, struct mailbox *reply, pin_done done, void *arg)
{
    struct pin_op *p = MEM_NEW(struct pin_op);
    p->op.mail.run = pin_finish;
    p->op.reply = reply;
    p->op.cost = sizeof *p;
    p->cid = *cid;
    p->done = done;
    p->arg = arg;
    return p;
}

void blockstore_pin(struct blockstore *bs, const struct cid *cid, const char *name, struct mailbox *reply, pin_done done,
                    void *arg)
{
    blockstore_pin_guarded(bs, cid, name, NULL, reply, done, arg);
}

void blockstore_pin_guarded(struct blockstore *bs, const struct cid *cid, const char *name, struct store_guard *g,
                            struct mailbox *reply, pin_done done, void *arg)
{
    struct pin_op *p = pin_op_new(cid, reply, done, arg);
    p->op.apply = apply_pin;
    p->guard = store_guard_ref(g);
    if (name)
        memcpy(p->name, name, strnlen(name, PIN_NAME_MAX));
    blockstore_submit(bs, &p->op);
}

void blockstore_unpin(struct blockstore *bs, const struct cid *cid, struct mailbox *reply, pin_done done, void *arg)
{
    struct pin_op *p = pin_op_new(cid, reply, done, arg);
    p->op.apply = apply_unpin;
    blockstore_submit(bs, &p->op);
}

void blockstore_pin_complete(struct blockstore *bs, const struct cid *cid, uint64_t damaged, struct mailbox *reply,
                             pin_done done, void *arg)
{
    struct pin_op *p = pin_op_new(cid, reply, done, arg);
    p->op.apply = apply_complete;
    p->damaged = damaged;
    blockstore_submit(bs, &p->op);
}
