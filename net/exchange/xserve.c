/* SPDX-License-Identifier: MIT
 *
 * The server: what peers want of us (PROTOCOLS.md section 19, "Server duties").
 *
 *   DUE  ─→ LOADING ─┬─→ BLOCK ─→ (sent, gone)       a want-have of a small block is answered with the block
 *     ↑              ├─→ HAVE ─→ (sent, gone), OFFERED
 *     │              └─→ DONT_HAVE ─→ UNMET          or UNMET at once when it did not ask for DontHave
 *     ├── the block appeared ────────────┘
 *     └── OFFERED_FOR passed, or it asks again ─ OFFERED
 *
 * Who asked for a block and heard DontHave has asked somebody else by the time it appears here. So it is not sent but offered:
 * Have first, and the block when it is asked for again, or when the peer has neither done so nor taken the want back for a
 * while, as those do who wait for the block alone. Without this up to a sixth of what a swarm fetches at once came twice.
 *
 * Peers take turns, one read each (x->serve), and each may have SERVE_PEER_BYTES read and not sent, so a peer that does not
 * read costs no more than that and nobody else waits for it. Who takes what it asks for may have SERVE_TAKER_BYTES, as long as
 * all together have no more than half of what they may: on a disk that others write to one read in twenty takes 20 to 57 ms
 * instead of one, and two blocks are gone before that. One block may always be read for a peer, and there may be more of them
 * than fit in memory: who takes nothing of it goes when there is none for others. What is only looked up needs no such room,
 * and is looked up many at a time: a read, its answer and the message that tells it cost the same for one as for a hundred. */
#include "net/exchange/xstate.h"

#include <stdlib.h>

#define THEIRS_COST       256 /* bytes of tables, about */
#define THEIRS_PART       8   /* of the budget, for what all peers want: beyond it each may have a share, up to twice as much */
#define HAVE_AS_BLOCK     1024u      /* a block up to this size is its own Have (boxo does the same) */
#define SERVE_PEER_BYTES  (2u << 20) /* read and not sent, per peer */
#define SERVE_TAKER_BYTES (8u << 20) /* of one that has taken as much */
#define SERVE_TOTAL_PART  8          /* of the budget, for all peers */
#define SERVE_LOADS       64         /* reads under way per peer */
#define SERVE_LOOKUPS     256        /* lookups, which bring no more than HAVE_AS_BLOCK each */
#define MISSED_MANY       64 /* who asked for so many that are not here, one after the other, has each looked up first */
#define PRIORITY_WALK     32 /* steps that sorting one want in may cost */
#define TAKES_PAUSE       (5 * MONO_S) /* without a byte of it taken */
#define TAKES_FOR         (20 * MONO_S)
#define TAKES_LEAST       4096 /* bytes in that time: too little on any line */
#define OFFERED_FOR       (500 * MONO_MS)
#define WANTS_ANYWAY      16 /* that each peer may have when there is no memory for more */
#define SAME_BLOCK_MAX    4  /* wants of a peer for one block, by several CIDs: for each of them all peers' are looked at */

static struct their_wants *list_of(struct their_want *t)
{
    struct exchange_peer *p = t->peer;
    switch ((enum their_state)t->state) {
    case THEIRS_DUE:
        return &p->todo;
    case THEIRS_LOADING:
        return &p->loading;
    case THEIRS_BLOCK:
        return &p->blocks;
    case THEIRS_HAVE:
    case THEIRS_DONT_HAVE:
        return &p->answers;
    case THEIRS_OFFERED:
        return &p->offered;
    default:
        return &p->unmet;
    }
}

static void serve_queue(struct exchange *x, struct exchange_peer *p)
{
    if (p->in_serve || TAILQ_EMPTY(&p->todo))
        return;
    p->in_serve = true;
    TAILQ_INSERT_TAIL(&x->serve, p, serve_link);
}

/* Higher priorities first. Descending and equal priorities, the usual, cost one step; others may end a little too far back. */
static void insert_todo(struct exchange_peer *p, struct their_want *t)
{
    struct their_want *after = TAILQ_LAST(&p->todo, their_wants);
    for (int n = 0; after && after->priority < t->priority && n < PRIORITY_WALK; n++)
        after = TAILQ_PREV(after, their_wants, link);
    if (after)
        TAILQ_INSERT_AFTER(&p->todo, after, t, link);
    else
        TAILQ_INSERT_HEAD(&p->todo, t, link);
}

static void enter(struct exchange *x, struct their_want *t, enum their_state state)
{
    struct exchange_peer *p = t->peer;
    t->state = (uint8_t)state;
    if (state == THEIRS_DUE) {
        insert_todo(p, t);
        serve_queue(x, p);
        return;
    }
    p->loading_count += state == THEIRS_LOADING && !t->lookup;
    p->lookup_count += state == THEIRS_LOADING && t->lookup;
    TAILQ_INSERT_TAIL(list_of(t), t, link);
    if (state == THEIRS_BLOCK || state == THEIRS_HAVE || state == THEIRS_DONT_HAVE)
        out_update(x, p);
}

static void leave(struct their_want *t)
{
    TAILQ_REMOVE(list_of(t), t, link);
    t->peer->loading_count -= t->state == THEIRS_LOADING && !t->lookup;
    t->peer->lookup_count -= t->state == THEIRS_LOADING && t->lookup;
}

static void move(struct exchange *x, struct their_want *t, enum their_state state)
{
    leave(t);
    enter(x, t, state);
}

void serve_free(struct exchange *x, struct their_want *t)
{
    struct exchange_peer *p = t->peer;
    bool reading = t->state == THEIRS_LOADING;
    leave(t);
    load_forget(x, &t->load);
    if (t->block) { /* read and not sent */
        serve_sent(x, p, t->block->len);
        t->block = block_unref(t->block);
    }
    p->want_count--;
    cidmap_remove(&x->theirs, &t->node);
    budget_give(x->budget, BUDGET_TABLE, THEIRS_COST);
    free(t);
    if (reading && !x->reads_short)
        serve_queue(x, p); /* others waited for its place, and serve_loaded does not come */
}

/* ---- their messages ---- */

static struct their_want *find(struct exchange *x, const struct exchange_peer *p, const struct cid *cid)
{
    for (struct cidnode *n = cidmap_first(&x->theirs, cid); n; n = cidmap_more(n)) {
        struct their_want *t = XCONTAINER(n, struct their_want, node);
        if (t->peer == p && cidnode_is(n, cid))
            return t;
    }
    return NULL;
}

static void bound_same_block(struct exchange *x, const struct exchange_peer *p, const struct cid *cid)
{
    struct their_want *one = NULL;
    unsigned count = 0;
    for (struct cidnode *n = cidmap_first(&x->theirs, cid); n; n = cidmap_more(n)) {
        struct their_want *t = XCONTAINER(n, struct their_want, node);
        if (t->peer == p) {
            one = t;
            count++;
        }
    }
    if (count >= SAME_BLOCK_MAX)
        serve_free(x, one);
}

/* Who came when there were few has more, and keeps it. */
static unsigned wants_most(const struct exchange *x)
{
    uint64_t all = budget_room(x->budget) / THEIRS_PART / THEIRS_COST, share = all / x->peer_count;
    if (x->theirs.count < all || share > EXCHANGE_PEER_WANTS_MAX)
        return EXCHANGE_PEER_WANTS_MAX;
    return share > WANTS_ANYWAY && x->theirs.count < 2 * all ? (unsigned)share : WANTS_ANYWAY;
}

/* What it wants and we lack, when it wants too much, or would with so many more: the oldest first */
static void give_way(struct exchange *x, struct exchange_peer *p, unsigned more)
{
    struct their_want *oldest;
    while (p->want_count + more > wants_most(x) && (oldest = TAILQ_FIRST(&p->unmet)))
        serve_free(x, oldest);
}

static struct their_want *add(struct exchange *x, struct exchange_peer *p, const struct cid *cid)
{
    bound_same_block(x, p, cid);
    give_way(x, p, 1);
    if (p->want_count >= EXCHANGE_PEER_WANTS_MAX)
        return NULL;
    if (p->want_count < WANTS_ANYWAY)
        budget_take_always(x->budget, BUDGET_TABLE, THEIRS_COST); /* others may have all of it, for as long as they like */
    else if (!budget_take(x->budget, BUDGET_TABLE, THEIRS_COST))
        return NULL;
    struct their_want *t = CIDNODE_NEW(&x->theirs, struct their_want, cid);
    t->peer = p;
    t->load.kind = LOAD_SERVE;
    t->state = THEIRS_UNMET;
    TAILQ_INSERT_TAIL(&p->unmet, t, link);
    p->want_count++;
    cidmap_add(&x->theirs, &t->node);
    return t;
}

void serve_want(struct exchange *x, struct exchange_stream *s, const struct bitswap_item *in)
{
    struct exchange_peer *p = s->peer;
    struct span data;
    p->ledger.wants_received++;
    if (cid_inline(&in->cid, &data))
        return; /* neither asked for nor served */
    struct their_want *t = find(x, p, &in->cid);
    if (in->cancel) {
        if (t)
            serve_free(x, t);
        return;
    }
    if (t && (p->flags & EXCHANGE_REFUSED)) {
        serve_free(x, t); /* with a read that is under way, or a block that is not sent */
        t = NULL;
    }
    if (!t)
        t = add(x, p, &in->cid);
    if (!t)
        return;
    t->generation = s->generation;
    t->priority = in->priority;
    t->want = (uint8_t)in->want;
    t->send_dont_have = in->send_dont_have;
    t->denied = false;
    t->found = false;
    if (p->flags & EXCHANGE_REFUSED)
        move(x, t, in->send_dont_have ? THEIRS_DONT_HAVE : THEIRS_UNMET);
    else if (t->state == THEIRS_UNMET || t->state == THEIRS_OFFERED || t->state == THEIRS_DONT_HAVE ||
             (t->state == THEIRS_HAVE && in->want == BITSWAP_WANT_BLOCK))
        move(x, t, THEIRS_DUE);
}

static void drop_others(struct exchange *x, struct their_wants *list, uint32_t generation)
{
    struct their_want *t = TAILQ_FIRST(list);
    while (t) {
        struct their_want *next = TAILQ_NEXT(t, link);
        if (t->generation != generation)
            serve_free(x, t);
        t = next;
    }
}

/* The message that ends was a full list: what it did not name is not wanted any more. */
void serve_full(struct exchange *x, struct exchange_stream *s)
{
    struct exchange_peer *p = s->peer;
    drop_others(x, &p->todo, s->generation);
    drop_others(x, &p->loading, s->generation);
    drop_others(x, &p->blocks, s->generation);
    drop_others(x, &p->answers, s->generation);
    drop_others(x, &p->unmet, s->generation);
    drop_others(x, &p->offered, s->generation);
}

/* ---- reading ---- */

static void missing(struct exchange *x, struct their_want *t)
{
    if (t->again) {
        t->again = false;
        move(x, t, THEIRS_DUE);
        return;
    }
    struct exchange_peer *p = t->peer;
    move(x, t, t->send_dont_have ? THEIRS_DONT_HAVE : THEIRS_UNMET);
    give_way(x, p, 0); /* perhaps t */
}

/* ---- who does not take what was read ---- */

static void takes_begin(const struct exchange *x, struct exchange_peer *p)
{
    p->takes_at = p->given_at = x->now;
    p->takes_from = p->given;
}

void serve_slow_go(struct exchange *x)
{
    struct exchange_peer *p;
    if (x->now < x->takes_looked_at + MONO_S)
        return;
    x->takes_looked_at = x->now;
    TAILQ_FOREACH(p, &x->peers, link)
    {
        bool ours = !p->unsent_bytes || p->in_ready || p->throttled;
        bool whole = ours || x->now - p->takes_at >= TAKES_FOR;
        if (!ours && (x->now - p->given_at >= TAKES_PAUSE || (whole && p->given - p->takes_from < TAKES_LEAST)))
            peer_drop(x, p, ERR_TIMEOUT);
        if (whole)
            takes_begin(x, p);
    }
}

static bool only_presence(const struct their_want *t)
{
    return t->want == BITSWAP_WANT_HAVE || t->denied;
}

void serve_loaded(struct exchange *x, struct load_user *u)
{
    struct their_want *t = XCONTAINER(u, struct their_want, load);
    struct exchange_peer *p = t->peer;
    struct block *b = u->block;
    u->block = NULL;
    t->found = u->result == 0;
    if (t->found)
        p->missed = 0;
    else if (p->missed < MISSED_MANY && !load_later(u->result))
        p->missed++;
    if (u->result == 0 && b) {
        t->block = b;
        if (!p->unsent_bytes)
            takes_begin(x, p);
        p->unsent_bytes += b->len;
        x->unsent_total += b->len;
        p->serve_estimate = (p->serve_estimate * 3 + b->len) / 4;
        move(x, t, THEIRS_BLOCK);
    } else if (u->result == 0 && only_presence(t)) {
        move(x, t, THEIRS_HAVE);
    } else if ((u->result == 0 && u->size <= BLOCK_MAX) || load_later(u->result)) {
        leave(t); /* it was looked up, and is a want-block; or it cannot be read now, and serve_retry comes */
        t->state = THEIRS_DUE;
        TAILQ_INSERT_HEAD(&p->todo, t, link);
    } else {
        missing(x, t);
    }
    if (!x->reads_short)
        serve_queue(x, p);
}

void serve_appeared(struct exchange *x, const struct cid *cid)
{
    struct cidnode *n = cidmap_first(&x->theirs, cid);
    while (n) {
        struct cidnode *next = cidmap_more(n);
        struct their_want *t = XCONTAINER(n, struct their_want, node);
        if (t->state == THEIRS_LOADING)
            t->again = true;
        else if ((t->state == THEIRS_UNMET || t->state == THEIRS_DONT_HAVE) && !(t->peer->flags & EXCHANGE_REFUSED))
            move(x, t, THEIRS_DUE);
        n = next;
    }
}

/* ---- what was told ---- */

void serve_told(struct exchange *x, struct their_want *t)
{
    if (t->state == THEIRS_DONT_HAVE) {
        struct exchange_peer *p = t->peer;
        t->denied = true;
        move(x, t, THEIRS_UNMET);
        give_way(x, p, 0); /* perhaps t */
    } else if (t->want == BITSWAP_WANT_HAVE) {
        serve_free(x, t);
    } else {
        t->denied = false;
        t->offered_at = x->now;
        move(x, t, THEIRS_OFFERED);
        peer_soon(x, t->peer, serve_deadline(t->peer));
    }
}

mono_ns serve_deadline(const struct exchange_peer *p)
{
    const struct their_want *first = TAILQ_FIRST(&p->offered);
    return first ? first->offered_at + OFFERED_FOR : MONO_NEVER;
}

void serve_expire(struct exchange *x, struct exchange_peer *p)
{
    while (serve_deadline(p) <= x->now)
        move(x, TAILQ_FIRST(&p->offered), THEIRS_DUE);
}

/* ---- turns ---- */

static uint64_t total_max(const struct exchange *x)
{
    return budget_room(x->budget) / SERVE_TOTAL_PART;
}

void serve_sent(struct exchange *x, struct exchange_peer *p, uint64_t bytes)
{
    p->unsent_bytes -= bytes;
    x->unsent_total -= bytes;
    if (x->serve_limited && x->unsent_total < total_max(x))
        serve_retry(x);
    else
        serve_queue(x, p);
}

void serve_retry(struct exchange *x)
{
    x->serve_limited = false;
    struct exchange_peer *p;
    TAILQ_FOREACH(p, &x->peers, link)
    serve_queue(x, p);
}

static bool is_lookup(const struct their_want *t)
{
    return only_presence(t) || (t->peer->missed == MISSED_MANY && !t->found);
}

static uint64_t unsent_most(const struct exchange *x, const struct exchange_peer *p)
{
    uint64_t half = total_max(x) / 2;
    if (p->ledger.bytes_sent < SERVE_TAKER_BYTES || x->unsent_total >= half || half < SERVE_PEER_BYTES)
        return SERVE_PEER_BYTES;
    return half < SERVE_TAKER_BYTES ? half : SERVE_TAKER_BYTES;
}

static bool may_load(const struct exchange *x, const struct their_want *t)
{
    const struct exchange_peer *p = t->peer;
    if (p->unsent_bytes + (uint64_t)p->loading_count * p->serve_estimate >= unsent_most(x, p))
        return false;
    return is_lookup(t) ? p->lookup_count < SERVE_LOOKUPS : p->loading_count < SERVE_LOADS;
}

bool serve_pump(struct exchange *x)
{
    struct exchange_peer *p = TAILQ_FIRST(&x->serve);
    if (!p)
        return false;
    TAILQ_REMOVE(&x->serve, p, serve_link);
    p->in_serve = false;
    if (x->unsent_total >= total_max(x) && p->unsent_bytes) {
        x->serve_limited = true;
        return true;
    }
    struct their_want *t = TAILQ_FIRST(&p->todo);
    if (!t || !may_load(x, t))
        return true; /* serve_sent or serve_loaded brings it back */
    struct cid cid;
    cidnode_cid(&t->node, &cid);
    t->lookup = is_lookup(t); /* it is in todo: nothing counts it */
    move(x, t, THEIRS_LOADING);
    t->again = false;
    load_ask(x, &t->load, &cid, t->lookup ? HAVE_AS_BLOCK : BLOCK_MAX);
    serve_queue(x, p);
    return true;
}

void serve_forget_peer(struct exchange *x, struct exchange_peer *p)
{
    drop_others(x, &p->todo, x->generation + 1);
    drop_others(x, &p->loading, x->generation + 1);
    drop_others(x, &p->blocks, x->generation + 1);
    drop_others(x, &p->answers, x->generation + 1);
    drop_others(x, &p->unmet, x->generation + 1);
    drop_others(x, &p->offered, x->generation + 1);
    if (p->in_serve)
        TAILQ_REMOVE(&x->serve, p, serve_link);
    p->in_serve = false;
}
