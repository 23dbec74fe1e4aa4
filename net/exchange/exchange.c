/* SPDX-License-Identifier: MIT
 *
 * Life, peers, actions and time of the exchange; the work is in the x*.c files (map in xstate.h). */
#include "net/exchange/exchange.h"

#include "net/exchange/xstate.h"

#include <assert.h>
#include <stdlib.h>

#define TARGET_START (4u << 20) /* bytes in flight to a peer whose speed is not known */

static void init_lists(struct exchange *x)
{
    TAILQ_INIT(&x->peers);
    TAILQ_INIT(&x->open);
    TAILQ_INIT(&x->ready);
    TAILQ_INIT(&x->close);
    TAILQ_INIT(&x->drop);
    TAILQ_INIT(&x->silent);
    TAILQ_INIT(&x->throttled);
    TAILQ_INIT(&x->serve);
    TAILQ_INIT(&x->paused);
    TAILQ_INIT(&x->sharing);
    TAILQ_INIT(&x->resume);
    TAILQ_INIT(&x->answered);
    TAILQ_INIT(&x->loads_waiting);
    TAILQ_INIT(&x->loads_running);
    TAILQ_INIT(&x->checks_waiting);
    TAILQ_INIT(&x->checks_running);
    TAILQ_INIT(&x->store_waiting);
    TAILQ_INIT(&x->stash_running);
    TAILQ_INIT(&x->sessions);
    TAILQ_INIT(&x->hungry);
    TAILQ_INIT(&x->resting);
    TAILQ_INIT(&x->seek);
    TAILQ_INIT(&x->rechecks);
    TAILQ_INIT(&x->dags);
    TAILQ_INIT(&x->dag_work);
    x->settled_end = &x->settled;
}

struct exchange *exchange_new(const struct exchange_config *c, mono_ns now)
{
    struct exchange *x = MEM_NEW(struct exchange);
    x->config = *c;
    x->budget = c->budget;
    x->now = now;
    init_lists(x);
    uint8_t key[CIDMAP_KEY_SIZE];
    struct rng rng;
    rng_init_seed(&rng, c->seed);
    rng_fill(&rng, key, sizeof key);
    cidmap_init(&x->items, key);
    cidmap_init(&x->theirs, key);
    cidmap_init(&x->loads, key);
    cidmap_init(&x->stashes, key);
    cidmap_init(&x->sessions_by_root, key);
    tokens_init(&x->upload, c->upload_rate, now);
    tokens_init(&x->download, c->download_rate, now);
    tokens_init(&x->shared, EXCHANGE_ITEMS_RATE, now);
    x->tick.kind = TIMER_TICK;
    return x;
}

static void cancel_all(struct exchange *x)
{
    while (!TAILQ_EMPTY(&x->dags))
        dag_end(x, TAILQ_FIRST(&x->dags), ERR_CANCELLED);
    for (size_t b = 0; b < x->items.bucket_count; b++)
        while (x->items.buckets[b]) { /* every item left has a waiter; it goes with its last one */
            struct item *i = XCONTAINER(x->items.buckets[b], struct item, node);
            fetch_cancel(x, TAILQ_FIRST(&i->waiters), ERR_CANCELLED);
        }
}

void exchange_stop(struct exchange *x)
{
    x->stopping = true;
    cancel_all(x);
    while (!TAILQ_EMPTY(&x->resting))
        session_drop(x, TAILQ_FIRST(&x->resting));
    assert(!x->items.count && !x->dag_count);
}

struct exchange *exchange_free(struct exchange *x)
{
    if (!x)
        return NULL;
    exchange_stop(x);
    while (!TAILQ_EMPTY(&x->peers))
        exchange_peer_removed(x, TAILQ_FIRST(&x->peers), x->now);
    blocks_done(x);
    cidmap_done(&x->items);
    cidmap_done(&x->theirs);
    cidmap_done(&x->loads);
    cidmap_done(&x->stashes);
    cidmap_done(&x->sessions_by_root);
    free(x);
    return NULL;
}

void exchange_set_rates(struct exchange *x, uint64_t upload, uint64_t download, mono_ns now)
{
    x->now = now;
    tokens_set_rate(&x->upload, upload, now);
    tokens_set_rate(&x->download, download, now);
    out_unthrottle(x);
    recv_resume(x);
}

void exchange_set_offline(struct exchange *x, bool offline, mono_ns now)
{
    x->now = now;
    if (offline && !x->offline)
        fetch_offline(x);
    x->offline = offline;
}

/* ---- peers ---- */

bool peer_usable(const struct exchange_peer *p)
{
    return (p->flags & (EXCHANGE_CAPABLE | EXCHANGE_REFUSED)) == EXCHANGE_CAPABLE && !p->drop;
}

void peer_drop(struct exchange *x, struct exchange_peer *p, int err)
{
    if (p->drop)
        return;
    p->drop = err;
    TAILQ_INSERT_TAIL(&x->drop, p, drop_link);
}

#define WRONG_BLOCKS 32 /* from one peer, and one more for each WRONG_SHARE right ones: then it goes */
#define WRONG_BYTES  (4u << 20)
#define WRONG_SHARE  8

void peer_wrong(struct exchange *x, struct exchange_peer *p, uint64_t bytes)
{
    struct exchange_ledger *l = &p->ledger;
    l->wrong++;
    l->wrong_bytes += bytes;
    if (l->wrong > WRONG_BLOCKS + l->blocks_received / WRONG_SHARE ||
        l->wrong_bytes > WRONG_BYTES + l->bytes_received / WRONG_SHARE)
        peer_drop(x, p, ERR_VERIFY);
}

struct exchange_peer *exchange_peer_added(struct exchange *x, void *owner, unsigned flags, mono_ns now)
{
    x->now = now;
    if (x->peer_count >= EXCHANGE_PEERS_MAX)
        return NULL;
    struct exchange_peer *p = MEM_NEW(struct exchange_peer);
    p->owner = owner;
    p->flags = flags;
    p->timer.kind = TIMER_PEER;
    p->target = TARGET_START;
    tokens_init(&p->items, EXCHANGE_ITEMS_RATE, now);
    p->progress_at = now;
    p->resync = true; /* the first list is a full one */
    p->idle_at = p->open_at = MONO_NEVER;
    p->serve_estimate = 1u << 20; /* the usual leaf; a smaller guess would read too much ahead at first */
    TAILQ_INIT(&p->streams);
    TAILQ_INIT(&p->asked);
    TAILQ_INIT(&p->idle_asks);
    TAILQ_INIT(&p->unsent[0]);
    TAILQ_INIT(&p->unsent[1]);
    TAILQ_INIT(&p->cancels);
    TAILQ_INIT(&p->todo);
    TAILQ_INIT(&p->loading);
    TAILQ_INIT(&p->blocks);
    TAILQ_INIT(&p->answers);
    TAILQ_INIT(&p->unmet);
    TAILQ_INIT(&p->offered);
    TAILQ_INSERT_TAIL(&x->peers, p, link);
    x->peer_count++;
    if (peer_usable(p))
        sessions_peer_added(x, p);
    return p;
}

void exchange_peer_flags(struct exchange *x, struct exchange_peer *p, unsigned flags, mono_ns now)
{
    x->now = now;
    bool before = peer_usable(p);
    p->flags = flags;
    if (before && !peer_usable(p)) {
        asks_forget_peer(x, p);
        sessions_forget_peer(x, p);
    }
    if (!before && peer_usable(p))
        sessions_peer_added(x, p);
    out_update(x, p);
}

void exchange_peer_rtt(struct exchange *x, struct exchange_peer *p, mono_ns rtt)
{
    (void)x;
    p->rtt = rtt;
}

bool exchange_peer_owes(const struct exchange_peer *p)
{
    return p->partial || p->asked_count || (p->credit && p->ledger.blocks_received);
}

void exchange_peer_back(struct exchange *x, struct exchange_peer *p, mono_ns now)
{
    x->now = now;
    p->resync = true;
    out_update(x, p);
}

static void ledger_add(struct exchange_ledger *sum, const struct exchange_ledger *l)
{
    sum->bytes_sent += l->bytes_sent;
    sum->bytes_received += l->bytes_received;
    sum->blocks_sent += l->blocks_sent;
    sum->blocks_received += l->blocks_received;
    sum->haves_sent += l->haves_sent;
    sum->dont_haves_sent += l->dont_haves_sent;
    sum->wants_received += l->wants_received;
    sum->wants_sent += l->wants_sent;
    sum->duplicates += l->duplicates;
    sum->duplicate_bytes += l->duplicate_bytes;
    sum->wrong += l->wrong;
    sum->wrong_bytes += l->wrong_bytes;
    sum->timeouts += l->timeouts;
}

void exchange_peer_removed(struct exchange *x, struct exchange_peer *p, mono_ns now)
{
    x->now = now;
    if (p->asked_count || p->partial)
        session_lied(
            x, p); /* went without what it was asked for: it may have sent a part, or a wrong block that is being checked */
    p->flags = 0;  /* nobody picks it while its asks go elsewhere */
    out_forget_peer(x, p);
    recv_forget_peer(x, p);
    blocks_forget_peer(x, p);
    serve_forget_peer(x, p);
    sessions_forget_peer(x, p);
    asks_forget_peer(x, p);
    if (p->drop && !p->drop_told)
        TAILQ_REMOVE(&x->drop, p, drop_link);
    if (p->silent_queued)
        TAILQ_REMOVE(&x->silent, p, silent_link);
    timer_clear(&x->timers, &p->timer);
    TAILQ_REMOVE(&x->peers, p, link);
    x->peer_count--;
    ledger_add(&x->total, &p->ledger);
    free(p);
}

void exchange_peer_provides(struct exchange *x, struct exchange_peer *p, const struct cid *cid, mono_ns now)
{
    x->now = now;
    p->flags |= EXCHANGE_PREFERRED;
    struct item *i = item_find(x, cid);
    if (!i || !peer_usable(p))
        return;
    struct ask *a = ask_of(i, p);
    if (a && a->state == ASK_LACKS)
        ask_free(x, a, false);
    session_add_peer(x, i->session, p);
    if (i->place == ITEM_LOST || i->place == ITEM_SOUGHT)
        item_place(x, i, ITEM_NEED);
}

/* ---- wants ---- */

int exchange_want(struct exchange *x, struct want *take_w, mono_ns now)
{
    x->now = now;
    return fetch_want(x, take_w);
}

void exchange_cancel(struct exchange *x, struct want *w, mono_ns now)
{
    x->now = now;
    if (w->engine)
        fetch_cancel(x, w->engine, ERR_CANCELLED);
}

void exchange_raise(struct exchange *x, struct want *w, enum want_priority p, mono_ns now)
{
    x->now = now;
    if (w->engine)
        fetch_raise(x, w->engine, p);
}

/* ---- actions ---- */

/* Does what input functions left to do. Every round takes something off a queue, and what it adds is bounded by what came
 * in. */
static void pump(struct exchange *x)
{
    bool more = true;
    while (more) {
        more = load_dispatch(x);
        more |= dag_work(x);
        more |= serve_pump(x);
        if (!more)
            more = schedule(x);
    }
}

static bool next_settled(struct exchange *x, struct exchange_action *ret)
{
    struct mail *m = x->settled;
    if (!m)
        return false;
    x->settled = m->next;
    if (!x->settled)
        x->settled_end = &x->settled;
    m->next = NULL;
    *ret = (struct exchange_action){.type = EXCHANGE_SETTLE, .want = XCONTAINER(m, struct want, mail)};
    return true;
}

static bool next_drop(struct exchange *x, struct exchange_action *ret)
{
    struct exchange_peer *p = TAILQ_FIRST(&x->drop);
    if (!p)
        return false;
    TAILQ_REMOVE(&x->drop, p, drop_link);
    p->drop_told = true;
    *ret = (struct exchange_action){.type = EXCHANGE_DROP, .peer = p, .owner = p->owner, .result = p->drop};
    return true;
}

static bool next_resume(struct exchange *x, struct exchange_action *ret)
{
    struct exchange_stream *s = TAILQ_FIRST(&x->resume);
    if (!s)
        return false;
    TAILQ_REMOVE(&x->resume, s, wait_link);
    s->resumed = false;
    *ret = (struct exchange_action){.type = EXCHANGE_RESUME, .peer = s->peer, .stream = s, .owner = s->owner};
    return true;
}

static bool next_verify(struct exchange *x, struct exchange_action *ret)
{
    struct check *c = TAILQ_FIRST(&x->checks_waiting);
    if (!c)
        return false;
    TAILQ_REMOVE(&x->checks_waiting, c, link);
    TAILQ_INSERT_TAIL(&x->checks_running, c, link);
    c->running = true;
    *ret = (struct exchange_action){.type = EXCHANGE_VERIFY, .tag = (uintptr_t)c, .block = c->block, .prefix = c->prefix};
    c->block = NULL;
    return true;
}

static bool next_store(struct exchange *x, struct exchange_action *ret)
{
    struct stash *s = TAILQ_FIRST(&x->store_waiting);
    if (!s)
        return false;
    TAILQ_REMOVE(&x->store_waiting, s, link);
    TAILQ_INSERT_TAIL(&x->stash_running, s, link);
    s->running = true;
    *ret = (struct exchange_action){.type = EXCHANGE_STORE, .block = block_ref(s->block)};
    cidnode_cid(&s->node, &ret->cid);
    return true;
}

#define LOADS_RUNNING_MAX 1024 /* reads with the host at a time */

static bool next_load(struct exchange *x, struct exchange_action *ret)
{
    struct load *l = TAILQ_FIRST(&x->loads_waiting);
    if (!l || x->loads_running_count >= LOADS_RUNNING_MAX)
        return false;
    TAILQ_REMOVE(&x->loads_waiting, l, link);
    TAILQ_INSERT_TAIL(&x->loads_running, l, link);
    x->loads_running_count++;
    l->running = true;
    *ret = (struct exchange_action){.type = EXCHANGE_LOAD, .tag = (uintptr_t)l, .most = l->most};
    cidnode_cid(&l->node, &ret->cid);
    return true;
}

static bool next_open(struct exchange *x, struct exchange_action *ret)
{
    struct exchange_peer *p = TAILQ_FIRST(&x->open);
    if (!p)
        return false;
    TAILQ_REMOVE(&x->open, p, open_link);
    p->open_queued = false;
    p->out = OUT_OPENING;
    *ret = (struct exchange_action){.type = EXCHANGE_OPEN, .peer = p, .owner = p->owner};
    return true;
}

#define QUANTUM     (256u << 10) /* bytes a peer may send before the next one's turn */
#define QUANTUM_MIN (16u << 10)

static uint64_t quantum(const struct exchange *x)
{
    uint64_t q = x->upload.rate ? x->upload.rate / 16 : QUANTUM;
    return q > QUANTUM ? QUANTUM : q < QUANTUM_MIN ? QUANTUM_MIN : q;
}

static bool next_ready(struct exchange *x, struct exchange_action *ret)
{
    struct exchange_peer *p = TAILQ_FIRST(&x->ready);
    if (!p)
        return false;
    TAILQ_REMOVE(&x->ready, p, ready_link);
    p->in_ready = false;
    p->told = true;
    p->quantum = quantum(x);
    *ret = (struct exchange_action){.type = EXCHANGE_READY, .peer = p, .owner = p->owner};
    return true;
}

static bool next_close(struct exchange *x, struct exchange_action *ret)
{
    struct exchange_peer *p = TAILQ_FIRST(&x->close);
    if (!p)
        return false;
    TAILQ_REMOVE(&x->close, p, close_link);
    p->close_queued = false;
    *ret = (struct exchange_action){.type = EXCHANGE_CLOSE, .peer = p, .owner = p->owner};
    return true;
}

static bool next_seek(struct exchange *x, struct exchange_action *ret)
{
    struct item *i = TAILQ_FIRST(&x->seek);
    if (!i)
        return false;
    TAILQ_REMOVE(&x->seek, i, seek_link);
    i->seeking = false;
    *ret = (struct exchange_action){.type = EXCHANGE_SEEK};
    cidnode_cid(&i->node, &ret->cid);
    return true;
}

static bool next_silent(struct exchange *x, struct exchange_action *ret)
{
    struct exchange_peer *p = TAILQ_FIRST(&x->silent);
    if (!p)
        return false;
    TAILQ_REMOVE(&x->silent, p, silent_link);
    p->silent_queued = false;
    *ret = (struct exchange_action){.type = EXCHANGE_SILENT, .peer = p, .owner = p->owner};
    return true;
}

bool exchange_next(struct exchange *x, struct exchange_action *ret)
{
    static bool (*const next[])(struct exchange *, struct exchange_action *) = {
        next_settled, next_drop, next_close, next_verify, next_store,  next_resume,
        next_load,    next_open, next_ready, next_seek,   next_silent,
    };
    pump(x);
    for (size_t i = 0; i < sizeof next / sizeof *next; i++)
        if (next[i](x, ret))
            return true;
    *ret = (struct exchange_action){.type = EXCHANGE_NONE};
    return false;
}

/* ---- time ---- */

void peer_soon(struct exchange *x, struct exchange_peer *p, mono_ns at)
{
    if (at != MONO_NEVER && (!timer_is_set(&p->timer) || p->timer.at > at))
        timer_set(&x->timers, &p->timer, at);
}

void tick_soon(struct exchange *x, mono_ns at)
{
    if (!timer_is_set(&x->tick) || x->tick.at > at)
        timer_set(&x->timers, &x->tick, at);
}

mono_ns exchange_deadline(const struct exchange *x)
{
    return timerheap_first(&x->timers);
}

static void peer_expire(struct exchange *x, struct exchange_peer *p)
{
    recv_expire(x, p);
    ask_expire(x, p);
    out_expire(x, p);
    serve_expire(x, p);
    mono_ns at = mono_min(mono_min(ask_deadline(x, p), out_deadline(p)), mono_min(recv_deadline(p), serve_deadline(p)));
    if (at != MONO_NEVER && at <= x->now) /* a machine that asks for the past would spin its host */
        at = x->now + MONO_MS;
    timer_set(&x->timers, &p->timer, at);
}

static void waiter_expire(struct exchange *x, struct waiter *w)
{
    fetch_cancel(x, w, x->peer_count ? ERR_TIMEOUT : ERR_OFFLINE);
}

static void retry_all(struct exchange *x)
{
    x->reads_short = false;
    recv_resume(x);
    recv_share(x);
    serve_retry(x);
    fetch_retry(x);
    dag_wake(x);
    out_unthrottle(x);
    x->schedule = true;
}

void exchange_expire(struct exchange *x, mono_ns now)
{
    x->now = now;
    struct timer *t;
    while ((t = timerheap_due(&x->timers, now)))
        switch ((enum timer_kind)t->kind) {
        case TIMER_TICK:
            retry_all(x);
            break;
        case TIMER_PEER:
            peer_expire(x, XCONTAINER(t, struct exchange_peer, timer));
            break;
        case TIMER_WAITER:
            waiter_expire(x, XCONTAINER(t, struct waiter, timer));
            break;
        case TIMER_SESSION:
            session_expire(x, XCONTAINER(t, struct session, timer));
            break;
        }
}

void exchange_budget_freed(struct exchange *x, mono_ns now)
{
    x->now = now;
    retry_all(x);
}

/* ---- figures ---- */

void exchange_ledger(const struct exchange *x, const struct exchange_peer *p, struct exchange_ledger *ret)
{
    (void)x;
    *ret = p->ledger;
    ret->their_wants = p->want_count;
    ret->our_wants = p->asked_count;
    ret->inflight_bytes = p->inflight;
    ret->rate = p->rate;
}

void exchange_stats(const struct exchange *x, struct exchange_stats *ret)
{
    *ret = (struct exchange_stats){.total = x->total};
    const struct exchange_peer *p;
    TAILQ_FOREACH(p, &x->peers, link)
    {
        struct exchange_ledger l;
        exchange_ledger(x, p, &l);
        ledger_add(&ret->total, &l);
        ret->total.their_wants += l.their_wants;
        ret->total.our_wants += l.our_wants;
        ret->total.inflight_bytes += l.inflight_bytes;
        ret->total.rate += l.rate;
    }
    ret->peers = x->peer_count;
    ret->wants = x->want_count;
    ret->dags = x->dag_count;
    ret->sessions = x->session_count - x->resting_count;
    ret->items = (uint32_t)x->items.count;
    ret->verifying = x->check_count;
    ret->storing = (uint32_t)x->stashes.count;
    ret->loading = (uint32_t)x->loads.count;
}

static unsigned peers_asked(const struct item *i)
{
    unsigned n = 0;
    const struct ask *a;
    TAILQ_FOREACH(a, &i->asks, by_item)
    n += a->state != ASK_LACKS;
    return n;
}

void exchange_progress(const struct exchange *x, const struct want *w, struct exchange_progress *ret)
{
    (void)x;
    *ret = (struct exchange_progress){0};
    const struct waiter *waiter = w->engine;
    if (!waiter)
        return;
    ret->since = waiter->since;
    if (waiter->item) {
        ret->queued = 1;
        ret->peers = peers_asked(waiter->item);
        return;
    }
    const struct dag *d = waiter->dag;
    ret->blocks = w->blocks;
    ret->bytes = w->bytes;
    ret->held = d->held;
    ret->queued = d->frontier_count + d->use_count + d->paused_count;
    const struct dag_use *u;
    TAILQ_FOREACH(u, &d->uses, by_dag)
    if (u->item && peers_asked(u->item) > ret->peers)
        ret->peers = peers_asked(u->item);
}
