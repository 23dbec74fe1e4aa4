/* SPDX-License-Identifier: MIT
 *
 * Asks: what we asked of which peer, what it answered, and when it takes too long.
 *
 * Being late is not a verdict: a late ask stays with the peer and its block is welcome, but the item is free to be asked of
 * another. When somebody waits and a peer that has delivered before would bring it sooner, that one is asked too, after
 * HEDGE: a peer that says Have and sends nothing, or a byte now and then, costs a reader no more than that. A peer is stalled
 * when it owes us blocks and nothing came for a while (a second, or eight round trips); bytes of a block count, so a slow
 * line is not a stall, and time during which we did not read is not held against it. Who has delivered nothing yet, or says
 * this and that and sends no block, is not waited for as long as others may have it. */
#include "net/exchange/xstate.h"

#include <assert.h>
#include <stdlib.h>

#define ASK_COST      128    /* bytes of tables; charged */
#define LATE_NOW      MONO_S /* somebody waits: try another peer soon */
#define LATE_ELSE     (10 * MONO_S)
#define STALL_MIN     MONO_S
#define STALL_UNKNOWN (3 * MONO_S) /* before we know the peer's round trip */
#define STALL_MAX     (30 * MONO_S)
#define HEDGE         (150 * MONO_MS) /* or four times what the other peer would take */
#define LOOK_AGAIN    (100 * MONO_MS) /* between two looks at a peer's asks */
#define RATE_UNKNOWN  (1u << 20)      /* bytes a second, to guess when an answer is late */
#define RATE_LEAST    (16u << 10)     /* who says little meanwhile may deliver soon, or never */
#define RATE_WINDOW   (100 * MONO_MS)
#define HEARD_BYTES   65536
#define TELL_HEARD    MONO_S
#define HEARD_MOST    (8u << 20) /* that came since it was asked first, and the block is not among it: it may never come */
#define TARGET_MIN    (2u << 20)
#define TARGET_MAX    (32u << 20)
#define FAR_BEHIND    (4u << 20)      /* bytes: more than our server has read and not sent for a peer */
#define TARGET_TIME   (200 * MONO_MS) /* beyond the round trip: what hides the peer's own delays */

struct ask *ask_of(const struct item *i, const struct exchange_peer *p)
{
    struct ask *a;
    TAILQ_FOREACH(a, &i->asks, by_item)
    if (a->peer == p)
        return a;
    return NULL;
}

void ask_state(struct exchange *x, struct ask *a, unsigned state)
{
    struct exchange_peer *p = a->peer;
    if (a->state == ASK_BLOCK && state != ASK_BLOCK) {
        TAILQ_REMOVE(&p->asked, a, by_peer);
        TAILQ_INSERT_TAIL(&p->idle_asks, a, by_peer);
        p->inflight -= a->estimate;
        p->asked_count--;
        a->item->asked--;
        x->schedule = true;
    } else if (a->state != ASK_BLOCK && state == ASK_BLOCK) {
        if (!p->asked_count) { /* it was idle: neither its rate nor its silence counted */
            p->window_at = p->progress_at = x->now;
            p->window_bytes = 0;
        }
        TAILQ_REMOVE(&p->idle_asks, a, by_peer);
        TAILQ_INSERT_TAIL(&p->asked, a, by_peer);
        a->estimate = a->item->session->estimate;
        p->inflight += a->estimate;
        p->asked_count++;
        a->item->asked++;
        peer_soon(x, p, x->now + LOOK_AGAIN);
    }
    a->state = (uint8_t)state;
}

void ask_queue(struct exchange *x, struct ask *a)
{
    struct exchange_peer *p = a->peer;
    uint8_t lane = a->item->priority != WANT_NOW;
    if (a->queued && a->lane == lane)
        return;
    if (a->queued)
        TAILQ_REMOVE(&p->unsent[a->lane], a, unsent);
    a->queued = true;
    a->lane = lane;
    TAILQ_INSERT_TAIL(&p->unsent[lane], a, unsent);
    out_update(x, p);
}

static void ask_unqueue(struct ask *a)
{
    if (!a->queued)
        return;
    TAILQ_REMOVE(&a->peer->unsent[a->lane], a, unsent);
    a->queued = false;
}

static mono_ns patience(const struct exchange_peer *p, unsigned priority)
{
    uint64_t rate = !p->rate ? RATE_UNKNOWN : p->rate > RATE_LEAST ? p->rate : RATE_LEAST;
    mono_ns expected = (mono_ns)((double)p->inflight / (double)rate * (double)MONO_S) + p->rtt;
    mono_ns least = priority == WANT_NOW ? LATE_NOW : LATE_ELSE;
    return expected * 4 > least ? expected * 4 : least;
}

void ask_send(struct exchange *x, struct item *i, struct exchange_peer *p, bool block)
{
    struct ask *a = ask_of(i, p);
    if (!a) {
        a = MEM_NEW(struct ask);
        x->ask_count++;
        budget_take_always(x->budget, BUDGET_TABLE, ASK_COST);
        a->item = i;
        a->peer = p;
        a->came = p->came;
        a->state = ASK_PROBE;
        TAILQ_INSERT_TAIL(&i->asks, a, by_item);
        TAILQ_INSERT_TAIL(&p->idle_asks, a, by_peer);
    }
    ask_state(x, a, block ? ASK_BLOCK : ASK_PROBE);
    a->asked_at = x->now;
    a->due = x->now + patience(p, i->priority);
    a->urgent_at = i->priority == WANT_NOW ? x->now : MONO_NEVER;
    if (p->cancel_count) {
        struct cid cid;
        cidnode_cid(&i->node, &cid);
        out_uncancel(x, p, &cid);
    }
    ask_queue(x, a);
}

/* So much was asked of the peer before this that it cannot be on its way yet */
static bool far_behind(const struct ask *a)
{
    const struct ask *b;
    uint64_t before = 0;
    TAILQ_FOREACH(b, &a->peer->asked, by_peer)
    {
        if (b == a || before >= FAR_BEHIND)
            break;
        before += b->estimate;
    }
    return before >= FAR_BEHIND;
}

/* The peer learns the new priority; but a want that it is answering already would be answered twice. */
void ask_hurry(struct exchange *x, struct ask *a)
{
    a->due = mono_min(a->due, x->now + patience(a->peer, a->item->priority));
    if (a->item->priority == WANT_NOW && a->urgent_at == MONO_NEVER)
        a->urgent_at = x->now;
    if (a->queued || !a->sent || far_behind(a))
        ask_queue(x, a);
}

void ask_free(struct exchange *x, struct ask *a, bool tell)
{
    struct exchange_peer *p = a->peer;
    ask_state(x, a, ASK_LACKS); /* gives back what it counts for */
    ask_unqueue(a);
    if (tell && a->sent) {
        struct cid cid;
        cidnode_cid(&a->item->node, &cid);
        out_cancel(x, p, &cid);
    }
    TAILQ_REMOVE(&p->idle_asks, a, by_peer);
    TAILQ_REMOVE(&a->item->asks, a, by_item);
    x->ask_count--;
    budget_give(x->budget, BUDGET_TABLE, ASK_COST);
    free(a);
}

/* ---- answers ---- */

static void peer_alive(struct exchange *x, struct exchange_peer *p)
{
    p->progress_at = x->now;
    p->stall = 0;
    if (p->stalled) {
        p->stalled = false;
        x->schedule = true;
    }
}

static void peer_target(struct exchange_peer *p)
{
    mono_ns delay = p->rtt * 2 + TARGET_TIME;
    uint64_t target = (uint64_t)((double)p->rate * (double)delay / (double)MONO_S);
    p->target = target < TARGET_MIN ? TARGET_MIN : target > TARGET_MAX ? TARGET_MAX : target;
}

/* Those who wait for what the peer is asked for may wait on: more than a byte now and then comes. */
static void tell_heard(struct exchange *x, struct exchange_peer *p)
{
    if (recv_paused_by_us(p))
        p->heard_at = x->now;
    if (p->heard_at < p->told_at + TELL_HEARD)
        return;
    p->told_at = p->heard_at;
    const struct ask *a;
    TAILQ_FOREACH(a, &p->asked, by_peer)
    if (p->came - a->came < HEARD_MOST)
        item_heard(a->item, p->heard_at);
    TAILQ_FOREACH(a, &p->idle_asks, by_peer) /* one that is late may still come, and an answer be behind what comes */
    if ((a->state == ASK_LATE || a->state == ASK_PROBE) && p->came - a->came < HEARD_MOST)
        item_heard(a->item, p->heard_at);
}

void ask_progress(struct exchange *x, struct exchange_peer *p, size_t bytes, size_t blocks)
{
    peer_alive(x, p);
    p->came += blocks;
    x->came += blocks;
    p->part += blocks;
    p->heard += blocks;
    if (p->heard >= HEARD_BYTES) {
        p->heard = 0;
        p->heard_at = x->now;
        tell_heard(x, p);
    }
    p->window_bytes += bytes;
    mono_ns passed = x->now - p->window_at;
    if (passed < RATE_WINDOW)
        return;
    uint64_t rate = (uint64_t)((double)p->window_bytes * (double)MONO_S / (double)passed);
    p->rate = p->rate ? (p->rate * 3 + rate) / 4 : rate;
    p->window_at = x->now;
    p->window_bytes = 0;
    peer_target(p);
    x->schedule = true;
}

static bool answers_coming(const struct item *i)
{
    const struct ask *a;
    TAILQ_FOREACH(a, &i->asks, by_item)
    if (a->state == ASK_PROBE || a->state == ASK_BLOCK)
        return true;
    return false;
}

void ask_presence(struct exchange *x, struct exchange_peer *p, const struct cid *cid, bool have)
{
    struct item *i = item_find(x, cid);
    struct ask *a = i ? ask_of(i, p) : NULL;
    if (!a || !a->sent)
        return;
    mono_ns took = x->now - a->asked_at;
    if (!p->rtt || took < p->rtt)
        p->rtt = took ? took : 1;
    peer_alive(x, p);
    struct session *s = i->session;
    if (have) {
        if (a->state != ASK_BLOCK)
            ask_state(x, a, ASK_HAS);
        session_add_peer(x, s, p);
        if (!i->asked && (i->place == ITEM_SOUGHT || i->place == ITEM_LOST))
            item_place(x, i, ITEM_NEED);
        return;
    }
    if (a->state == ASK_BLOCK || a->state == ASK_LATE) {
        ask_state(x, a, ASK_LACKS);
        ask_queue(x, a); /* as a want-have: when it gets the block it shall tell, not send what others sent by then */
    }
    ask_state(x, a, ASK_LACKS);
    session_miss(x, s, p, true);
    item_unask(x, i);
    if (i->place == ITEM_SOUGHT && !i->asked && !answers_coming(i))
        item_place(x, i, after_answers(x, i));
}

/* ---- time ---- */

static mono_ns stall_after(const struct exchange_peer *p)
{
    mono_ns base = !p->rtt ? STALL_UNKNOWN : p->rtt * 8 > STALL_MIN ? p->rtt * 8 : STALL_MIN;
    return base > p->stall ? base : p->stall;
}

static void ask_late(struct exchange *x, struct ask *a)
{
    struct item *i = a->item;
    a->peer->ledger.timeouts++;
    i->late += !a->peer->ledger.blocks_received;
    ask_state(x, a, ASK_LATE);
    item_unask(x, i);
}

/* Has this peer had long enough, when there is a better one? Of one that has delivered nothing yet read-ahead is not left to
 * the moment when the reader gets there: several of its kind would cost one HEDGE each. */
static bool hedge_due(const struct exchange *x, const struct ask *a)
{
    bool urgent = a->urgent_at != MONO_NEVER;
    if (a->peer->ledger.blocks_received && (a->item->asked > 1 || !urgent))
        return false;
    mono_ns waited = x->now - (urgent ? a->urgent_at : a->asked_at);
    if (waited < HEDGE)
        return false;
    mono_ns other = session_other_time(a->item, a->peer);
    return other != MONO_NEVER && waited / 4 >= other;
}

/* It says this and that, and sends no byte of a block */
static bool nothing_came(const struct exchange *x, const struct ask *a)
{
    return a->came == a->peer->came && x->now - a->asked_at >= LATE_ELSE && !recv_paused_by_us(a->peer);
}

void ask_expire(struct exchange *x, struct exchange_peer *p)
{
    if (!p->asked_count)
        return;
    tell_heard(x, p);
    if (recv_paused_by_us(p))
        p->progress_at = x->now;
    if (x->now - p->progress_at >= stall_after(p)) {
        mono_ns next = stall_after(p) * 2;
        p->stall = next > STALL_MAX ? STALL_MAX : next;
        p->stalled = true;
        if (!p->silent_queued)
            TAILQ_INSERT_TAIL(&x->silent, p, silent_link);
        p->silent_queued = true;
        asks_distrust(x, p);
        return;
    }
    struct ask *a = TAILQ_FIRST(&p->asked);
    while (a) {
        struct ask *next = TAILQ_NEXT(a, by_peer);
        if (a->due <= x->now || hedge_due(x, a) || nothing_came(x, a))
            ask_late(x, a);
        a = next;
    }
}

mono_ns ask_deadline(const struct exchange *x, const struct exchange_peer *p)
{
    return p->asked_count ? x->now + LOOK_AGAIN : MONO_NEVER;
}

void asks_distrust(struct exchange *x, struct exchange_peer *p)
{
    while (!TAILQ_EMPTY(&p->asked))
        ask_late(x, TAILQ_FIRST(&p->asked));
}

/* ---- ends ---- */

static void forget(struct exchange *x, struct asks *list)
{
    struct ask *a;
    while ((a = TAILQ_FIRST(list))) {
        struct item *i = a->item;
        ask_free(x, a, false);
        item_unask(x, i);
        if (i->place == ITEM_SOUGHT && !answers_coming(i))
            item_place(x, i, after_answers(x, i));
    }
}

void asks_forget_peer(struct exchange *x, struct exchange_peer *p)
{
    forget(x, &p->asked);
    forget(x, &p->idle_asks);
    assert(!p->inflight && !p->asked_count);
}

void asks_resync(struct exchange *x, struct exchange_peer *p)
{
    struct ask *a;
    TAILQ_FOREACH(a, &p->asked, by_peer)
    ask_queue(x, a);
    TAILQ_FOREACH(a, &p->idle_asks, by_peer)
    if (a->state != ASK_HAS)
        ask_queue(x, a);
}
