/* SPDX-License-Identifier: MIT
 *
 * Wants and items. An item is one multihash that somebody here misses: waiters (WANT_BLOCK) and walks (WANT_DAG) share it.
 *
 *   CHECK ─→ NEED ←─────┬──→ ASKED         CHECK: our store is read first. RECHECK: there was no memory for that.
 *     ↑ ↓      ↓ ↑      │      │           ASKED: a peer was asked for the block.
 *   RECHECK  SOUGHT ─→ LOST ←──┘           SOUGHT: everybody was asked. LOST: nobody has it; retried (xpick.c).
 *
 * An item ends when its block came (item_arrived), when it turned out to be held (item_checked), or with its last user. */
#include "net/exchange/xstate.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define WANT_COST     512          /* what a want keeps in tables, about */
#define SOUGHT_AFTER  (2 * MONO_S) /* answers to a broadcast are waited for so long */
#define LOST_RETRY    (10 * MONO_S)
#define LOST_DOUBLING 3 /* 10, 20, 40, 80 s */

struct item *item_find(struct exchange *x, const struct cid *cid)
{
    struct cidnode *n = cidmap_first(&x->items, cid);
    return n ? XCONTAINER(n, struct item, node) : NULL;
}

/* ---- places ---- */

static struct items *list_of(struct exchange *x, struct item *i)
{
    switch ((enum item_place)i->place) {
    case ITEM_NEED:
        return &i->session->need[i->priority];
    case ITEM_SOUGHT:
        return &i->session->sought;
    case ITEM_LOST:
        return &i->session->lost;
    case ITEM_RECHECK:
        return &x->rechecks;
    default:
        return NULL;
    }
}

static void leave(struct exchange *x, struct item *i)
{
    struct items *list = list_of(x, i);
    if (list)
        TAILQ_REMOVE(list, i, link);
    if (i->place == ITEM_SOUGHT)
        i->session->sought_count--;
}

static void seek(struct exchange *x, struct item *i)
{
    if (i->seeking)
        return;
    i->seeking = true;
    TAILQ_INSERT_TAIL(&x->seek, i, seek_link);
}

void item_place(struct exchange *x, struct item *i, unsigned place)
{
    bool again = i->place != ITEM_CHECK; /* what was asked for before goes first */
    leave(x, i);
    i->place = (uint8_t)place;
    struct items *list = list_of(x, i);
    if (list && place == ITEM_NEED && again)
        TAILQ_INSERT_HEAD(list, i, link);
    else if (list)
        TAILQ_INSERT_TAIL(list, i, link);
    if (place == ITEM_NEED)
        session_hungry(x, i->session);
    if (place != ITEM_SOUGHT && place != ITEM_LOST)
        return;
    if (place == ITEM_SOUGHT) {
        i->session->sought_count++;
        i->retry_at = x->now + SOUGHT_AFTER;
    } else {
        i->retry_at = x->now + (LOST_RETRY << i->tries);
        i->tries += i->tries < LOST_DOUBLING;
        seek(x, i);
        dag_item_lost(i);
    }
    struct timer *t = &i->session->timer;
    if (!timer_is_set(t))
        timer_set(&x->timers, t, x->now + MONO_S);
}

/* ---- life ---- */

struct item *item_get(struct exchange *x, const struct cid *cid, const struct cid *root, enum want_priority priority)
{
    struct item *i = item_find(x, cid);
    if (i)
        return i;
    i = CIDNODE_NEW(&x->items, struct item, cid);
    TAILQ_INIT(&i->waiters);
    TAILQ_INIT(&i->uses);
    TAILQ_INIT(&i->asks);
    i->check.kind = LOAD_CHECK;
    i->place = ITEM_CHECK;
    i->priority = (uint8_t)priority;
    i->since = x->now;
    i->session = session_get(x, root);
    i->session->items++;
    cidmap_add(&x->items, &i->node);
    return i;
}

static void item_free(struct exchange *x, struct item *i, const struct exchange_peer *from)
{
    assert(TAILQ_EMPTY(&i->waiters) && TAILQ_EMPTY(&i->uses));
    load_forget(x, &i->check);
    struct ask *a;
    while ((a = TAILQ_FIRST(&i->asks)))
        ask_free(x, a, a->peer != from);
    leave(x, i);
    if (i->seeking)
        TAILQ_REMOVE(&x->seek, i, seek_link);
    x->recent[i->node.hash % RECENT_SIZE] = i->node.hash;
    cidmap_remove(&x->items, &i->node);
    struct session *s = i->session;
    free(i);
    if (--s->items == 0)
        session_rest(x, s);
}

void item_drop_if_unused(struct exchange *x, struct item *i)
{
    if (TAILQ_EMPTY(&i->waiters) && TAILQ_EMPTY(&i->uses))
        item_free(x, i, NULL);
    else
        item_prioritise(x, i);
}

void item_prioritise(struct exchange *x, struct item *i)
{
    unsigned best = WANT_KEEP;
    const struct waiter *w;
    TAILQ_FOREACH(w, &i->waiters, link)
    best = w->want->priority < best ? w->want->priority : best;
    const struct dag_use *u;
    TAILQ_FOREACH(u, &i->uses, by_owner)
    best = dag_use_priority(u) < best ? dag_use_priority(u) : best;
    if (best == i->priority)
        return;
    unsigned place = i->place;
    bool sooner = best < i->priority;
    if (place == ITEM_NEED)
        TAILQ_REMOVE(&i->session->need[i->priority], i, link);
    i->priority = (uint8_t)best;
    if (place == ITEM_NEED) {
        TAILQ_INSERT_TAIL(&i->session->need[best], i, link);
        session_hungry(x, i->session);
    }
    struct ask *a;
    if (sooner)
        TAILQ_FOREACH(a, &i->asks, by_item)
    if (a->state == ASK_BLOCK)
        ask_hurry(x, a);
}

/* ---- our store first ---- */

void item_check(struct exchange *x, struct item *i)
{
    uint64_t most = 0;
    const struct dag_use *u;
    TAILQ_FOREACH(u, &i->uses, by_owner)
    most = dag_use_most(u) > most ? dag_use_most(u) : most;
    struct cid cid;
    cidnode_cid(&i->node, &cid);
    load_ask(x, &i->check, &cid, most);
}

static void settle_waiters(struct exchange *x, struct item *i, struct block *b)
{
    struct waiter *w;
    while ((w = TAILQ_FIRST(&i->waiters)))
        want_settle(x, w, 0, b);
}

static void item_held(struct exchange *x, struct item *i, struct block *b, bool stashed)
{
    struct cid cid;
    cidnode_cid(&i->node, &cid);
    struct stash *s = stashed ? stash_find(x, &cid) : NULL;
    settle_waiters(x, i, s ? s->block : b); /* the store does not show it yet: without it they would ask again, and again */
    struct dag_use *u;
    while ((u = TAILQ_FIRST(&i->uses))) {
        TAILQ_REMOVE(&i->uses, u, by_owner);
        u->item = NULL;
        dag_use_held(x, u, b, s);
    }
    item_free(x, i, NULL);
}

static void settle_offline(struct exchange *x, struct item *i)
{
    struct waiter *w = TAILQ_FIRST(&i->waiters);
    while (w) {
        struct waiter *next = TAILQ_NEXT(w, link);
        if (w->want->priority == WANT_NOW)
            want_settle(x, w, ERR_OFFLINE, NULL);
        w = next;
    }
    item_drop_if_unused(x, i);
}

static bool block_missing_for_walks(const struct item *i, const struct load_user *u)
{
    const struct dag_use *use;
    TAILQ_FOREACH(use, &i->uses, by_owner)
    if (dag_use_most(use) > u->most)
        return true; /* it joined after the read was asked for */
    return false;
}

/* It was being stored when it was looked for, and is not any more: it may have been refused. */
static bool stash_is_gone(struct exchange *x, const struct item *i, const struct load_user *u)
{
    struct cid cid;
    cidnode_cid(&i->node, &cid);
    return u->stashed && !stash_find(x, &cid);
}

void item_checked(struct exchange *x, struct load_user *u)
{
    struct item *i = XCONTAINER(u, struct item, check);
    struct block *b = u->block;
    u->block = NULL;
    if (u->result == 0 && (block_missing_for_walks(i, u) || stash_is_gone(x, i, u))) {
        item_check(x, i);
    } else if (u->result == 0) {
        item_held(x, i, b, u->stashed);
    } else if (load_later(u->result)) { /* asked of peers already: it has appeared here */
        item_place(x, i, ITEM_RECHECK);
    } else if (i->recheck) {
        i->recheck = false;
        item_check(x, i);
    } else if (i->place == ITEM_CHECK) {
        item_place(x, i, ITEM_NEED);
        if (x->offline)
            settle_offline(x, i);
    }
    (void)block_unref(b);
}

void fetch_retry(struct exchange *x)
{
    struct items list;
    TAILQ_INIT(&list);
    TAILQ_CONCAT(&list, &x->rechecks, link);
    struct item *i;
    while ((i = TAILQ_FIRST(&list))) {
        TAILQ_REMOVE(&list, i, link);
        i->place = ITEM_CHECK;
        item_check(x, i);
    }
}

void fetch_offline(struct exchange *x)
{
    for (size_t b = 0; b < x->items.bucket_count; b++) {
        struct cidnode *n = x->items.buckets[b];
        while (n) {
            struct cidnode *next = n->next;
            struct item *i = XCONTAINER(n, struct item, node);
            if (i->place != ITEM_CHECK && i->place != ITEM_RECHECK)
                settle_offline(x, i);
            n = next;
        }
    }
}

/* ---- from peers ---- */

/* What a block of the session is expected to weigh. Too low a guess fills a line with what others could bring, so it rises
 * faster than it falls; but the first leaf tells at once. */
static void estimate(struct session *s, const struct item *i, uint64_t len)
{
    struct cid cid;
    cidnode_cid(&i->node, &cid);
    uint64_t slow = len > s->estimate ? 1 : 7;
    if (cid_codec(&cid) == CODEC_RAW && s->leaves < slow)
        slow = s->leaves++;
    s->estimate = (uint32_t)((s->estimate * slow + len) / (slow + 1));
}

void item_arrived(struct exchange *x, struct item *i, struct block *b, struct exchange_peer *from)
{
    struct session *s = i->session;
    estimate(s, i, b->len);
    if (from) {
        session_miss(x, s, from, false);
        session_add_peer(x, s, from);
    }
    struct cid cid;
    cidnode_cid(&i->node, &cid);
    b->cid = cid; /* the one that was wanted: a prefix may name another codec. Nobody else has the block yet */
    struct stash *stash = stash_add(x, b);
    settle_waiters(x, i, b);
    struct dag_use *u;
    while ((u = TAILQ_FIRST(&i->uses))) {
        TAILQ_REMOVE(&i->uses, u, by_owner);
        u->item = NULL;
        dag_use_arrived(x, u, b, stash);
    }
    item_free(x, i, from);
    serve_appeared(x, &cid);
}

bool item_had(const struct item *i)
{
    const struct ask *a;
    TAILQ_FOREACH(a, &i->asks, by_item)
    if (a->state == ASK_HAS)
        return true;
    return false;
}

void item_unask(struct exchange *x, struct item *i)
{
    if (i->asked == 0 && (i->place == ITEM_ASKED || (i->place == ITEM_SOUGHT && item_had(i))))
        item_place(x, i, ITEM_NEED);
}

void want_heard(struct want *w, mono_ns at)
{
    if (atomic_load(&w->heard) < at)
        atomic_store(&w->heard, at);
}

void item_heard(const struct item *i, mono_ns at)
{
    const struct waiter *w;
    const struct dag_use *u;
    TAILQ_FOREACH(w, &i->waiters, link)
    want_heard(w->want, at);
    TAILQ_FOREACH(u, &i->uses, by_owner)
    want_heard(u->dag->waiter->want, at);
}

/* ---- wants ---- */

void want_settle(struct exchange *x, struct waiter *waiter, int result, struct block *block)
{
    struct want *w = waiter->want;
    if (waiter->item)
        TAILQ_REMOVE(&waiter->item->waiters, waiter, link);
    timer_clear(&x->timers, &waiter->timer);
    free(waiter);
    x->want_count--;
    budget_give(x->budget, BUDGET_TABLE, WANT_COST);
    w->engine = NULL;
    w->result = result;
    w->block = block ? block_ref(block) : NULL;
    if (w->kind == WANT_BLOCK && block) {
        atomic_store_explicit(&w->blocks, 1, memory_order_relaxed);
        atomic_store_explicit(&w->bytes, block->len, memory_order_relaxed);
    }
    w->mail.next = NULL;
    *x->settled_end = &w->mail;
    x->settled_end = &w->mail.next;
}

static struct waiter *waiter_new(struct exchange *x, struct want *w)
{
    struct waiter *waiter = MEM_NEW(struct waiter);
    waiter->want = w;
    waiter->since = x->now;
    waiter->timer.kind = TIMER_WAITER;
    w->engine = waiter;
    w->block = NULL;
    atomic_store_explicit(&w->blocks, 0, memory_order_relaxed);
    atomic_store_explicit(&w->bytes, 0, memory_order_relaxed);
    atomic_store(&w->heard, 0);
    x->want_count++;
    timer_set(&x->timers, &waiter->timer, w->deadline);
    return waiter;
}

/* An identity CID is its own block. */
static void settle_inline(struct exchange *x, struct waiter *waiter, struct span data)
{
    struct block *b = block_from(NULL, BUDGET_NET, &waiter->want->cid, data);
    want_settle(x, waiter, 0, b);
    (void)block_unref(b);
}

int fetch_want(struct exchange *x, struct want *w)
{
    if (x->want_count >= EXCHANGE_WANTS_MAX || (w->kind == WANT_DAG && x->dag_count >= EXCHANGE_DAGS_MAX))
        return ERR_AGAIN;
    if (w->priority == WANT_NOW)
        budget_take_always(x->budget, BUDGET_TABLE, WANT_COST); /* bounded by EXCHANGE_WANTS_MAX; somebody sits and waits */
    else if (!budget_take(x->budget, BUDGET_TABLE, WANT_COST))
        return ERR_AGAIN;
    struct waiter *waiter = waiter_new(x, w);
    struct span data;
    if (x->stopping) {
        want_settle(x, waiter, ERR_CANCELLED, NULL);
    } else if (w->kind == WANT_DAG) {
        dag_start(x, waiter);
    } else if (cid_inline(&w->cid, &data)) {
        settle_inline(x, waiter, data);
    } else {
        struct item *i = item_get(x, &w->cid, cid_is_none(&w->root) ? &w->cid : &w->root, w->priority);
        waiter->item = i;
        TAILQ_INSERT_TAIL(&i->waiters, waiter, link);
        if (i->place == ITEM_CHECK && !i->check.load && !i->check.answered)
            item_check(x, i);
        item_prioritise(x, i);
    }
    return 0;
}

void fetch_cancel(struct exchange *x, struct waiter *waiter, int result)
{
    if (waiter->dag) {
        dag_end(x, waiter->dag, result);
        return;
    }
    struct item *i = waiter->item;
    want_settle(x, waiter, result, NULL);
    item_drop_if_unused(x, i);
}

void fetch_raise(struct exchange *x, struct waiter *waiter, enum want_priority priority)
{
    if (priority >= waiter->want->priority)
        return;
    waiter->want->priority = priority;
    if (waiter->item) {
        item_prioritise(x, waiter->item);
        return;
    }
    struct dag_use *u;
    TAILQ_FOREACH(u, &waiter->dag->uses, by_dag)
    if (u->item)
        item_prioritise(x, u->item);
}
