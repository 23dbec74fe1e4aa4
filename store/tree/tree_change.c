/* SPDX-License-Identifier: MIT */
#include "store/tree/tree_state.h"

#include <assert.h>
#include <stdlib.h>

/* One step in a change's buf: what, length of key and of value, key, value. */
enum step_kind {
    STEP_SET,
    STEP_DEL,
    STEP_REF,
    STEP_UNREF,
    STEP_PARTS,   /* key: of the record of former content; value: that record */
    STEP_FORGETS, /* the same key; value: u64, the change that kept it */
    STEP_REPLACES /* the same key; value: u64, the node that was there, and its content as such a record */
};

struct step_head {
    uint32_t kind;
    uint32_t key_len;
    uint32_t value_len;
};

struct step {
    enum step_kind kind;
    struct span key, value;
};

static void step_add(struct change *c, enum step_kind kind, struct span key, struct span value)
{
    struct step_head h = {.kind = kind, .key_len = (uint32_t)key.len, .value_len = (uint32_t)value.len};
    buf_add(&c->steps, &h, sizeof h);
    buf_add_span(&c->steps, key);
    buf_add_span(&c->steps, value);
}

static bool step_take(struct span *steps, struct step *ret)
{
    struct step_head h;
    if (steps->len == 0)
        return false;
    memcpy(&h, steps->data, sizeof h);
    *steps = span_from(*steps, sizeof h);
    ret->kind = (enum step_kind)h.kind;
    ret->key = span_sub(*steps, 0, h.key_len);
    ret->value = span_sub(*steps, h.key_len, h.value_len);
    *steps = span_from(*steps, h.key_len + h.value_len);
    return true;
}

static uint64_t number_of(struct span value)
{
    uint64_t n;
    memcpy(&n, value.data, sizeof n);
    return n;
}

/* ---- on the committer ---- */

static int step_apply(const struct change *c, const struct step *s, struct store_txn *txn)
{
    struct former_step former = {c->db, s->key, s->value, c->seq};
    struct cid cid;
    int r;
    switch (s->kind) {
    case STEP_SET:
        return store_txn_set(txn, c->db, s->key, s->value);
    case STEP_DEL:
        r = store_txn_del(txn, c->db, s->key);
        return r == ERR_NOT_FOUND ? 0 : r;
    case STEP_PARTS:
        return c->unsure ? former_keep(c->tree, txn, &former) : former_part(c->tree, txn, &former);
    case STEP_FORGETS:
        return former_drop(c->tree, txn, &former, number_of(s->value));
    case STEP_REPLACES:
        return former_replace(c->tree, txn, &former);
    default:
        r = cid_parse(s->key, &cid);
        if (r < 0)
            return r;
        return s->kind == STEP_REF ? store_txn_ref(txn, &cid) : store_txn_unref(txn, &cid);
    }
}

/* 0: the change before this one is the last that was applied, or there is none and this is the first. ERR_EXISTS: this one is
 * on the disk already: its commit was called a failure, but could not be taken back. */
static int in_turn(const struct change *c, struct store_txn *txn, const struct tree_key *key)
{
    struct span value;
    struct tree_meta meta = {.seq = 0};
    int r = store_txn_get(txn, c->db, tree_key_span(key), &value);
    if (r == 0)
        r = tree_meta_parse(value, &meta);
    if (r < 0 && r != ERR_NOT_FOUND)
        return r;
    if (meta.seq >= c->seq)
        return ERR_EXISTS;
    return meta.seq + 1 == c->seq ? 0 : ERR_CANCELLED;
}

static int change_apply(struct store_op *op, struct store_txn *txn)
{
    struct change *c = (struct change *)op;
    struct tree_key key = tree_key(c->tree_id, RECORD_META);
    int r = in_turn(c, txn, &key);
    if (r == ERR_EXISTS)
        return 0;
    int refused = store_guard_check(c->guard);
    if (r == 0 && !c->passes && !store_guard_given_up(c->guard))
        r = refused;
    if (r == 0 && !c->settles) {
        c->unsure = refused < 0 && c->of != 0;
        c->refusals = store_guard_refusals(c->guard);
    }
    struct span steps = buf_span(&c->steps);
    struct step s;
    while (r == 0 && step_take(&steps, &s))
        r = step_apply(c, &s, txn);
    if (r < 0)
        return r;
    struct buf meta = BUF_INIT;
    tree_meta_encode(&(struct tree_meta){.seq = c->seq, .next_id = c->next_id}, &meta);
    r = store_txn_set(txn, c->db, tree_key_span(&key), buf_span(&meta));
    buf_done(&meta);
    return r;
}

/* ---- on the owner's thread ---- */

#define STEPS_FIRST 512 /* what most come to: a file is made, or goes */
#define SPARES_MOST 64  /* 40 KiB */

static void change_free(struct change *c)
{
    struct tree *t = c->tree;
    if (t->budget)
        budget_give(t->budget, BUDGET_STORE, c->charged);
    c->guard = store_guard_unref(c->guard);
    if (t->spares < SPARES_MOST && c->steps.cap == STEPS_FIRST) {
        c->next = t->spare;
        t->spare = c;
        t->spares++;
        return;
    }
    buf_done(&c->steps);
    free(c);
}

static struct change *change_alloc(struct tree *t)
{
    struct change *c = t->spare;
    if (!c) {
        c = MEM_NEW(struct change);
        buf_reserve(&c->steps, STEPS_FIRST);
        return c;
    }
    t->spare = c->next;
    t->spares--;
    struct buf steps = c->steps;
    buf_clear(&steps);
    *c = (struct change){.steps = steps};
    return c;
}

static void tree_destroy(struct tree *t)
{
    while (t->spare) {
        struct change *c = t->spare;
        t->spare = c->next;
        buf_done(&c->steps);
        free(c);
    }
    publishing_reset(&t->publishing);
    store_guard_unref(t->published);
    overlay_free(t->overlay);
    buf_done(&t->value);
    free(t);
}

static void changes_free(struct change *c)
{
    for (struct change *next; c; c = next) {
        next = c->next;
        change_free(c);
    }
}

/* Its last answer came, or it had none to wait for. */
static void tree_settle(struct tree *t)
{
    if (!t->closed || t->pending > 0)
        return;
    changes_free(t->failed);
    changes_free(t->unsure);
    tree_destroy(t);
}

static void change_committed(struct change *c)
{
    struct tree *t = c->tree;
    struct span steps = buf_span(&c->steps);
    struct step s;
    while (step_take(&steps, &s))
        if (s.kind == STEP_SET || s.kind == STEP_DEL)
            overlay_drop(t->overlay, s.key, c->seq);
    t->settling -= c->settles;
    c->settles = false;
    if (c->unsure && !store_guard_given_up(c->guard)) { /* else the node's end ends it, or the next start */
        c->next = t->unsure;
        t->unsure = c;
    } else {
        change_free(c);
    }
    if (!t->failed)
        t->fault = 0;
}

static void failed_add(struct tree *t, struct change *c)
{
    c->next = NULL;
    *t->failed_end = c;
    t->failed_end = &c->next;
}

/* Answers come in the order of the changes: behind the first that failed all others fail as well, so the list keeps order. */
static void change_answered(struct mail *m, void *owner)
{
    (void)owner;
    struct change *c = (struct change *)m;
    struct tree *t = c->tree;
    t->pending--;
    if (c->op.result == 0) {
        change_committed(c);
    } else {
        if (c->op.result != ERR_CANCELLED || t->fault == 0)
            t->fault = c->op.result;
        failed_add(t, c);
    }
    tree_settle(t);
}

static void submit(struct change *c)
{
    c->tree->pending++;
    c->op.result = 0;
    blockstore_submit(c->tree->bs, &c->op);
}

/* Those that were answered with an error wait for the retry, and so do those that come behind them. */
static void enqueue(struct change *c)
{
    if (c->tree->failed && c->tree->pending == 0) /* those on their way will fail too, and belong in front of it */
        failed_add(c->tree, c);
    else
        submit(c);
}

/* What the disk refuses keeps back all changes behind it. When it is room that it lacks, a removal may make that: it is not
 * kept back. Nor are those before it, whose blocks are tried again by then. */
static void let_removals_through(struct tree *t)
{
    struct change *last = NULL;
    if (t->fault != ERR_NO_SPACE && t->fault != ERR_QUOTA)
        return;
    for (struct change *c = t->failed; c; c = c->next)
        last = c->removes || c->seq <= t->through ? c : last;
    for (struct change *c = t->failed; last && c != last->next; c = c->next)
        c->passes = true;
}

/* The blocks that such a change told of are stored: what was before can go. */
static void settle_unsure(struct tree *t)
{
    struct change *c = t->unsure;
    t->unsure = NULL;
    for (struct change *next; c; c = next) {
        next = c->next;
        if (!store_guard_forgiven(c->guard, c->refusals)) {
            if (store_guard_given_up(c->guard)) {
                change_free(c);
                continue;
            }
            c->next = t->unsure;
            t->unsure = c;
            continue;
        }
        buf_clear(&c->steps);
        change_forgets_former(c, c->of, c->seq);
        c->settles = c->passes = true;
        c->unsure = false;
        c->seq = ++t->seq;
        c->next_id = t->next_id;
        t->settling++;
        enqueue(c);
    }
}

void tree_retry(struct tree *t)
{
    settle_unsure(t);
    if (!t->failed || t->pending > 0) /* those on their way will fail too, and belong behind the others */
        return;
    let_removals_through(t);
    struct change *c = t->failed;
    t->failed = NULL;
    t->failed_end = &t->failed;
    for (struct change *next; c; c = next) {
        next = c->next;
        submit(c);
    }
}

void tree_let_through(struct tree *t)
{
    t->through = t->fault ? t->seq : t->through;
}

/* What a change of so many bytes keeps in memory: here, in the overlay, and as the committer's pages. */
static size_t change_cost(size_t bytes)
{
    return sizeof(struct change) + 3 * bytes;
}

/* May it be made now? Charges it then. */
static bool change_take(struct tree *t, enum change_kind kind, size_t cost)
{
    if (!t->budget || budget_take(t->budget, BUDGET_STORE, cost))
        return true;
    bool room_will_come = t->pending > 0 && !t->fault;
    if (kind == CHANGE_ADDS || (kind == CHANGE_REMOVES && room_will_come))
        return false;
    budget_take_always(t->budget, BUDGET_STORE, cost);
    return true;
}

int change_begin(struct tree *t, size_t bytes, enum change_kind kind, struct change **ret)
{
    if (t->fault) {
        tree_retry(t);
        if (kind == CHANGE_ADDS)
            return t->fault;
    }
    size_t cost = change_cost(bytes);
    if (!change_take(t, kind, cost))
        return ERR_AGAIN;
    struct change *c = change_alloc(t);
    c->op = (struct store_op){.mail.run = change_answered, .apply = change_apply, .reply = t->reply, .lazy = true};
    c->tree = t;
    c->db = t->db;
    c->tree_id = t->id;
    c->charged = cost;
    c->removes = kind != CHANGE_ADDS;
    c->seq = ++t->seq;
    *ret = c;
    return 0;
}

void change_abort(struct change *take_c)
{
    assert(buf_len(&take_c->steps) == 0 && take_c->seq == take_c->tree->seq);
    take_c->tree->seq--;
    change_free(take_c);
}

void change_set(struct change *c, const struct tree_key *key, struct span value)
{
    step_add(c, STEP_SET, tree_key_span(key), value);
    overlay_set(c->tree->overlay, tree_key_span(key), value, c->seq);
}

void change_del(struct change *c, const struct tree_key *key)
{
    step_add(c, STEP_DEL, tree_key_span(key), SPAN_NONE);
    overlay_delete(c->tree->overlay, tree_key_span(key), c->seq);
}

void change_ref(struct change *c, const struct cid *cid)
{
    step_add(c, STEP_REF, cid_span(cid), SPAN_NONE);
}

void change_unref(struct change *c, const struct cid *cid)
{
    step_add(c, STEP_UNREF, cid_span(cid), SPAN_NONE);
}

void change_parts(struct change *c, uint64_t id, const struct tree_former *from)
{
    struct tree_key key = tree_key_id(c->tree_id, RECORD_FORMER, id);
    struct buf *value = &c->tree->value;
    buf_clear(value);
    tree_former_encode(from, value);
    step_add(c, STEP_PARTS, tree_key_span(&key), buf_span(value));
    c->of = id;
}

void change_forgets_former(struct change *c, uint64_t id, uint64_t seq)
{
    struct tree_key key = tree_key_id(c->tree_id, RECORD_FORMER, id);
    step_add(c, STEP_FORGETS, tree_key_span(&key), span_of(&seq, sizeof seq));
}

void change_replaces(struct change *c, uint64_t id, uint64_t there, const struct tree_former *content)
{
    struct tree_key key = tree_key_id(c->tree_id, RECORD_FORMER, id);
    struct buf *value = &c->tree->value;
    buf_clear(value);
    buf_add(value, &there, sizeof there);
    tree_former_encode(content, value);
    step_add(c, STEP_REPLACES, tree_key_span(&key), buf_span(value));
}

/* All its steps are there. The charge was for the most that they could be. */
static void change_close(struct change *c)
{
    size_t cost = change_cost(buf_len(&c->steps));
    if (c->tree->budget && cost < c->charged) {
        budget_give(c->tree->budget, BUDGET_STORE, c->charged - cost);
        c->charged = cost;
    }
    c->next_id = c->tree->next_id;
    c->op.cost = buf_len(&c->steps) + sizeof *c;
}

void change_submit(struct change *take_c)
{
    struct change *c = take_c;
    struct tree *t = c->tree;
    change_close(c);
    enqueue(c);
    if (t->failed)
        tree_retry(t);
}

int change_apply_first(struct tree *t, struct change *take_c)
{
    struct change *c = take_c;
    change_close(c);
    int r = blockstore_do(t->bs, &c->op);
    if (r == 0)
        change_committed(c);
    else
        change_free(c);
    return r;
}

/* ---- sync ---- */

struct sync_wait {
    struct tree *tree;
    void (*done)(void *arg, int result);
    void *arg;
};

static void sync_answered(void *arg, int result)
{
    struct sync_wait *w = arg;
    struct tree *t = w->tree;
    if (result == 0 && t->fault == 0) {
        settle_unsure(t);
        if (t->settling > 0) { /* told on the way here that its blocks are stored */
            blockstore_sync(t->bs, t->reply, sync_answered, w);
            return;
        }
    }
    w->done(w->arg, result < 0 ? result : t->fault);
    t->pending--;
    free(w);
    tree_settle(t);
}

void tree_sync(struct tree *t, void (*done)(void *arg, int result), void *arg)
{
    struct sync_wait *w = MEM_NEW(struct sync_wait);
    *w = (struct sync_wait){.tree = t, .done = done, .arg = arg};
    tree_retry(t);
    t->pending++;
    blockstore_sync(t->bs, t->reply, sync_answered, w);
}

unsigned tree_pending(const struct tree *t)
{
    return t->pending;
}

int tree_fault(const struct tree *t)
{
    return t->fault;
}

struct tree *tree_free(struct tree *t)
{
    if (!t)
        return NULL;
    t->closed = true;
    tree_settle(t);
    return NULL;
}
