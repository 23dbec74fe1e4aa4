/* SPDX-License-Identifier: MIT
 *
 * Sessions: who is asked for what. A session is the items of one root and the peers that have something of it.
 *
 * A needed item goes to the session's peer that is expected to deliver it first: (bytes in flight + one block) / rate + round
 * trip, among those with room in flight that have not said DontHave. A peer that has not proved itself gets one block to do so;
 * beside proven ones only a few are tried at a time, and after a lie nobody new for a while that doubles: names cost nothing,
 * so a liar may come again as somebody else. Where nobody is proven an item is asked of one, and when it is late of two others,
 * then of four: liars cost their logarithm. When no peer of the session can have it, everyone sensible is asked at once
 * (want-have, and want-block to the best of them, which saves a round trip when there is one), and when these lack it the
 * others; whoever says Have joins the session. A reader that has caught up wants nothing for a moment: the session rests, and
 * what it knows of its peers is there when the next window is asked for. Some others are probed then for the first time, and in
 * a running session every PROBE_EVERY, so that a swarm's new holders are found. Peers that lack MISSES_MAX blocks in a row
 * leave the session while others remain. */
#include "net/exchange/xstate.h"

#include <assert.h>
#include <stdlib.h>

#define SESSION_PEERS_MAX 64
#define MISSES_MAX        64
#define BROADCAST_MAX     64            /* peers asked for one item */
#define BROADCAST_FEW     2             /* peers asked while there are more than */
#define ASKS_MANY         32768         /* asks, */
#define ASKS_MANY_NOW     65536         /* or, for what somebody waits for, these */
#define BROADCAST_OTHERS  16            /* of them: neither LAN, nor preferred, nor delivered before */
#define SOUGHT_MAX        64            /* items of a session that are sought at a time: the first ones tell for all */
#define ASK_AGAIN         (5 * MONO_S)  /* before the same peer is asked the same */
#define PROBE_AGAIN       (30 * MONO_S) /* when it did not answer: some only answer when they have it */
#define PROBE_EVERY       (3 * MONO_S)
#define PROBE_PEERS       8
#define ESTIMATE_START    (1u << 20)  /* of a block, until a leaf came: the usual one. Too low: one peer gets all of a file */
#define RATE_ASSUMED      (10u << 20) /* bytes a second of a peer that has not delivered yet */
#define ASKS_MAX          512         /* per peer: boxo queues 1024 wants of one peer */
#define ASKS_MAX_NOW      640         /* and what somebody waits for goes in front of read-ahead */
#define TRIALS_MAX        2           /* unproven peers that are asked at a time while there are proven ones */
#define TRIALS_TOGETHER   16          /* that are asked for one item when there are none, and others of them were late */
#define TRIAL_TIME        (500 * MONO_MS) /* that an unproven peer is thought to take for a block that another does not send */
#define TRIAL_WAIT        MONO_S          /* after a lie; doubles with each further one */
#define TRIAL_WAIT_MAX    (60 * MONO_S)
#define PROVEN_SHARE      8      /* right blocks that make up for a wrong one */
#define REST              MONO_S /* of a session without items, before it is dropped */
#define RESTING_MAX       64     /* sessions */
#define SCAN_MAX          32     /* items looked at behind one whose peers are busy */

static void rest_end(struct exchange *x, struct session *s)
{
    if (!s->resting)
        return;
    s->resting = false;
    s->rested = true;
    TAILQ_REMOVE(&x->resting, s, rest_link);
    x->resting_count--;
}

struct session *session_get(struct exchange *x, const struct cid *root)
{
    struct cidnode *n = cidmap_first(&x->sessions_by_root, root);
    if (n) {
        struct session *known = XCONTAINER(n, struct session, node);
        if (known->resting && known->probe_at > x->now && !known->rested)
            known->probe_at = x->now; /* who answers later than the first block came is not known yet */
        rest_end(x, known);
        return known;
    }
    struct session *s = CIDNODE_NEW(&x->sessions_by_root, struct session, root);
    for (unsigned i = 0; i < PRIORITIES; i++)
        TAILQ_INIT(&s->need[i]);
    TAILQ_INIT(&s->sought);
    TAILQ_INIT(&s->lost);
    s->estimate = ESTIMATE_START;
    s->probe_at = x->now + PROBE_EVERY;
    s->timer.kind = TIMER_SESSION;
    cidmap_add(&x->sessions_by_root, &s->node);
    TAILQ_INSERT_TAIL(&x->sessions, s, link);
    x->session_count++;
    return s;
}

void session_rest(struct exchange *x, struct session *s)
{
    if (x->stopping || !s->peer_count) {
        session_drop(x, s);
        return;
    }
    if (x->resting_count == RESTING_MAX)
        session_drop(x, TAILQ_FIRST(&x->resting));
    s->resting = true;
    s->rest_until = x->now + REST;
    TAILQ_INSERT_TAIL(&x->resting, s, rest_link);
    x->resting_count++;
    timer_set(&x->timers, &s->timer, s->rest_until);
}

void session_drop(struct exchange *x, struct session *s)
{
    assert(!s->items && !s->sought_count);
    rest_end(x, s);
    if (s->hungry)
        TAILQ_REMOVE(&x->hungry, s, hungry_link);
    timer_clear(&x->timers, &s->timer);
    cidmap_remove(&x->sessions_by_root, &s->node);
    TAILQ_REMOVE(&x->sessions, s, link);
    x->session_count--;
    free(s->peers);
    free(s);
}

void session_hungry(struct exchange *x, struct session *s)
{
    x->schedule = true;
    if (s->hungry)
        return;
    s->hungry = true;
    TAILQ_INSERT_TAIL(&x->hungry, s, hungry_link);
}

/* ---- peers of a session ---- */

static struct session_peer *member(struct session *s, const struct exchange_peer *p)
{
    for (unsigned i = 0; i < s->peer_count; i++)
        if (s->peers[i].peer == p)
            return &s->peers[i];
    return NULL;
}

static bool proven(const struct exchange_peer *p)
{
    return p->ledger.blocks_received > p->ledger.wrong * PROVEN_SHARE;
}

static void member_leave(struct session *s, struct session_peer *m)
{
    *m = s->peers[--s->peer_count];
}

/* Who delivers goes before those who say that they would */
static void make_place(struct session *s)
{
    for (unsigned n = 0; n < s->peer_count; n++)
        if (!proven(s->peers[n].peer)) {
            member_leave(s, &s->peers[n]);
            return;
        }
}

void session_add_peer(struct exchange *x, struct session *s, struct exchange_peer *p)
{
    if (!peer_usable(p) || member(s, p))
        return;
    if (s->peer_count == SESSION_PEERS_MAX && proven(p))
        make_place(s);
    if (s->peer_count == SESSION_PEERS_MAX)
        return;
    if (s->peer_count == s->peer_cap) {
        s->peer_cap = s->peer_cap ? s->peer_cap * 2 : 4;
        s->peers = mem_grow(s->peers, s->peer_cap, sizeof *s->peers);
    }
    s->peers[s->peer_count++] = (struct session_peer){p, 0};
    struct item *i;
    while ((i = TAILQ_FIRST(&s->lost))) {
        i->tries = 0;
        item_place(x, i, ITEM_NEED);
    }
    if (s->hungry)
        x->schedule = true;
}

void session_miss(struct exchange *x, struct session *s, struct exchange_peer *p, bool miss)
{
    (void)x;
    struct session_peer *m = member(s, p);
    if (!m)
        return;
    m->misses = miss ? m->misses + 1 : 0;
    if (m->misses > MISSES_MAX && s->peer_count > 1)
        member_leave(s, m);
}

void sessions_forget_peer(struct exchange *x, struct exchange_peer *p)
{
    struct session *s;
    TAILQ_FOREACH(s, &x->sessions, link)
    {
        struct session_peer *m = member(s, p);
        if (m)
            member_leave(s, m);
    }
}

/* Our store first: not all that comes to be here is told */
static void retry_lost(struct exchange *x, struct session *s)
{
    unsigned most = SOUGHT_MAX;
    struct item *i = TAILQ_FIRST(&s->lost);
    while (i && most) {
        struct item *next = TAILQ_NEXT(i, link);
        if (i->retry_at <= x->now && !i->check.load && !i->check.answered) {
            item_place(x, i, ITEM_CHECK);
            item_check(x, i);
            most--;
        }
        i = next;
    }
}

/* ---- choosing ---- */

static bool asked_lately(const struct exchange *x, const struct ask *a)
{
    if (!a || a->state == ASK_BLOCK)
        return a != NULL;
    return x->now < a->asked_at + (a->state == ASK_PROBE ? PROBE_AGAIN : ASK_AGAIN);
}

/* `assumed`: the rate of a peer that has none yet */
static double expected_time(const struct exchange_peer *p, uint32_t estimate, uint64_t assumed)
{
    double rate = (double)(p->rate ? p->rate : assumed);
    uint64_t coming = p->inflight > p->part ? p->inflight - p->part : 0;
    return (double)(coming + estimate) / rate + (double)p->rtt / (double)MONO_S;
}

/* Who has not delivered for long enough to tell is as good as the others are. */
static uint64_t assumed_rate(const struct session *s)
{
    uint64_t sum = 0, count = 0;
    for (unsigned n = 0; n < s->peer_count; n++) {
        sum += s->peers[n].peer->rate;
        count += s->peers[n].peer->rate > 0;
    }
    return count && sum / count > RATE_ASSUMED ? sum / count : RATE_ASSUMED;
}

static bool has_room(const struct exchange_peer *p, const struct item *i)
{
    if (!proven(p))
        return p->asked_count == 0;
    if (i->priority == WANT_NOW)
        return p->asked_count < ASKS_MAX_NOW && p->inflight < p->target * 2;
    return p->asked_count < ASKS_MAX && p->inflight < p->target;
}

void session_lied(struct exchange *x, const struct exchange_peer *p)
{
    if (proven(p))
        return;
    x->trial_wait = x->trial_wait ? mono_min(2 * x->trial_wait, TRIAL_WAIT_MAX) : TRIAL_WAIT;
    x->trial_at = x->now + x->trial_wait;
}

void session_proved(struct exchange *x)
{
    x->trial_wait = x->trial_at = 0;
}

/* An unproven peer that any proven one beats: what somebody waits for is not for trying out, and who was late without having
 * delivered anything is asked when nobody else is there. */
static bool second_choice(const struct exchange_peer *p, const struct item *i)
{
    return i->priority == WANT_NOW || p->ledger.timeouts;
}

mono_ns session_other_time(const struct item *i, const struct exchange_peer *p)
{
    const struct session *s = i->session;
    double best = -1;
    for (unsigned n = 0; n < s->peer_count; n++) {
        const struct exchange_peer *q = s->peers[n].peer;
        const struct ask *a = ask_of(i, q);
        bool may = !a || a->state == ASK_HAS || a->state == ASK_PROBE;
        if (q == p || !may || q->stalled || !peer_usable(q) || !has_room(q, i))
            continue;
        double time = proven(q) ? expected_time(q, s->estimate, RATE_ASSUMED) : (double)TRIAL_TIME / (double)MONO_S;
        best = best < 0 || time < best ? time : best;
    }
    return best < 0 || best > 3600 ? MONO_NEVER : (mono_ns)(best * (double)MONO_S);
}

enum picked { PICKED_SENT, PICKED_BUSY, PICKED_NONE };

struct candidates {
    struct {
        struct exchange_peer *peer;
        double time;
    } best[2];        /* unproven, proven */
    uint64_t assumed; /* rate of those that have none */
    unsigned trials;  /* unproven ones that are asked for something */
    bool busy, known; /* some had no room; a proven one may have it */
    mono_ns heard;    /* of those without room */
};

static void consider(const struct exchange *x, const struct item *i, struct exchange_peer *p, struct candidates *c)
{
    const struct ask *a = ask_of(i, p);
    bool may = !a || a->state == ASK_HAS || a->state == ASK_PROBE || (a->state == ASK_LATE && !asked_lately(x, a));
    bool good = proven(p);
    c->trials += !good && p->asked_count;
    if (!may || p->stalled || !peer_usable(p))
        return;
    c->known |= good;
    if (!has_room(p, i)) {
        c->busy = true;
        c->heard = p->heard_at > c->heard ? p->heard_at : c->heard;
        return;
    }
    double time = expected_time(p, i->session->estimate, c->assumed);
    if (a && a->state == ASK_HAS)
        time /= 2; /* it surely has it */
    if (!good)
        time *= 1 + (double)p->ledger.timeouts; /* or says so, again and again */
    if (!c->best[good].peer || time < c->best[good].time) {
        c->best[good].peer = p;
        c->best[good].time = time;
    }
}

/* Those who said Have and found no place in the session */
static void consider_others(const struct exchange *x, struct session *s, const struct item *i, struct candidates *c)
{
    const struct ask *a;
    TAILQ_FOREACH(a, &i->asks, by_item)
    if (a->state == ASK_HAS && !member(s, a->peer))
        consider(x, i, a->peer, c);
}

static enum picked pick_one(struct exchange *x, struct session *s, struct item *i, bool *ret_known)
{
    struct candidates c = {.assumed = assumed_rate(s)};
    for (unsigned n = 0; n < s->peer_count; n++)
        consider(x, i, s->peers[n].peer, &c);
    if (s->peer_count == SESSION_PEERS_MAX)
        consider_others(x, s, i, &c);
    struct exchange_peer *best = c.best[true].peer, *fresh = c.best[false].peer;
    if (fresh && c.known && (x->now < x->trial_at || c.trials >= TRIALS_MAX)) {
        fresh = NULL;
        c.busy = true;
    }
    if (fresh && (!best || (!second_choice(fresh, i) && c.best[false].time < c.best[true].time)))
        best = fresh;
    if (!best && c.busy)
        item_heard(i, c.heard);
    if (!best)
        return c.busy ? PICKED_BUSY : PICKED_NONE;
    ask_send(x, i, best, true);
    *ret_known = c.known;
    return PICKED_SENT;
}

static enum picked pick(struct exchange *x, struct session *s, struct item *i)
{
    bool known = false;
    unsigned more = i->late < TRIALS_TOGETHER ? i->late : TRIALS_TOGETHER - 1; /* twice as many when all were late */
    enum picked got = pick_one(x, s, i, &known);
    if (got != PICKED_SENT)
        return got;
    while (more-- && !known && pick_one(x, s, i, &known) == PICKED_SENT)
        ;
    item_place(x, i, ITEM_ASKED);
    return PICKED_SENT;
}

static bool favoured(const struct exchange_peer *p)
{
    return (p->flags & (EXCHANGE_LAN | EXCHANGE_PREFERRED)) || p->ledger.blocks_received;
}

static bool better_first(const struct exchange_peer *a, const struct exchange_peer *b)
{
    if (a->stalled != b->stalled)
        return b->stalled;
    if (favoured(a) != favoured(b))
        return favoured(a);
    if ((a->ledger.blocks_received > 0) != (b->ledger.blocks_received > 0))
        return a->ledger.blocks_received > 0;
    return a->rtt && (!b->rtt || a->rtt < b->rtt);
}

static bool many_asks(const struct exchange *x, const struct item *i)
{
    return x->ask_count > (i->priority == WANT_NOW ? ASKS_MANY_NOW : ASKS_MANY);
}

/* Asks the network for one item; how many peers were asked. */
static unsigned broadcast(struct exchange *x, struct item *i)
{
    struct exchange_peer *list[BROADCAST_MAX];
    unsigned count = 0, others = 0, best = 0;
    const unsigned most = many_asks(x, i) ? BROADCAST_FEW : BROADCAST_MAX;
    struct exchange_peer *p;
    for (int pass = 0; pass < 2; pass++)
        TAILQ_FOREACH(p, &x->peers, link)
        {
            if (count == most || favoured(p) != (pass == 0) || !peer_usable(p) || asked_lately(x, ask_of(i, p)))
                continue;
            if (pass == 1 && others++ == BROADCAST_OTHERS)
                break;
            if (count && better_first(p, list[best]))
                best = count;
            list[count++] = p;
        }
    for (unsigned n = 0; n < count; n++)
        ask_send(x, i, list[n], n == best && !i->asked && has_room(list[n], i));
    return count;
}

static void seek_or_lose(struct exchange *x, struct item *i)
{
    bool asked = broadcast(x, i) > 0 || i->asked;
    item_place(x, i, asked ? ITEM_SOUGHT : ITEM_LOST);
}

/* Where an item goes that all who were asked have not, or do not answer for: to those who were not */
unsigned after_answers(const struct exchange *x, const struct item *i)
{
    return item_had(i) || !many_asks(x, i) ? ITEM_NEED : ITEM_LOST;
}

/* Others may have it by now: ask a few that are not of the session for something it needs. */
static void probe(struct exchange *x, struct session *s, struct item *i)
{
    s->probe_at = x->now + PROBE_EVERY;
    unsigned asked = 0;
    struct exchange_peer *p;
    TAILQ_FOREACH(p, &x->peers, link)
    {
        if (asked == PROBE_PEERS)
            break;
        if (!peer_usable(p) || member(s, p) || asked_lately(x, ask_of(i, p)))
            continue;
        ask_send(x, i, p, false);
        asked++;
    }
    /* those asked go to the end, so that the next probe reaches others */
    for (; asked && x->peer_count > PROBE_PEERS; asked--) {
        p = TAILQ_FIRST(&x->peers);
        TAILQ_REMOVE(&x->peers, p, link);
        TAILQ_INSERT_TAIL(&x->peers, p, link);
    }
}

/* For what others were asked for, and are not asked again */
static void ask_newcomer(struct exchange *x, struct items *list, struct exchange_peer *p)
{
    unsigned most = SOUGHT_MAX;
    struct item *i;
    TAILQ_FOREACH(i, list, link)
    {
        if (!most-- || many_asks(x, i))
            return;
        if (!ask_of(i, p))
            ask_send(x, i, p, !i->asked && has_room(p, i));
    }
}

void sessions_peer_added(struct exchange *x, struct exchange_peer *p)
{
    struct session *s;
    TAILQ_FOREACH(s, &x->sessions, link)
    {
        ask_newcomer(x, &s->sought, p);
        ask_newcomer(x, &s->lost, p);
        s->probe_at = x->now;
        if (!timer_is_set(&s->timer))
            timer_set(&x->timers, &s->timer, x->now);
    }
    x->schedule = true;
}

/* ---- the round ---- */

/* Gives out what it can of one priority; true: something was done. */
static bool feed(struct exchange *x, struct session *s, unsigned priority)
{
    bool did = false;
    unsigned scanned = 0;
    struct item *i = TAILQ_FIRST(&s->need[priority]);
    if (i && s->peer_count && x->now >= s->probe_at)
        probe(x, s, TAILQ_LAST(&s->need[priority], items)); /* it stays the longest */
    while (i && scanned < SCAN_MAX) {
        struct item *next = TAILQ_NEXT(i, link);
        enum picked got = pick(x, s, i);
        if (got == PICKED_NONE && s->sought_count < SOUGHT_MAX) {
            seek_or_lose(x, i);
            did = true;
        } else if (got == PICKED_SENT) {
            did = true;
        } else {
            scanned++;
        }
        i = next;
    }
    return did;
}

static bool starving(const struct session *s)
{
    for (unsigned p = 0; p < PRIORITIES; p++)
        if (!TAILQ_EMPTY(&s->need[p]))
            return true;
    return false;
}

bool schedule(struct exchange *x)
{
    if (!x->schedule)
        return false;
    x->schedule = false;
    bool did = false;
    for (unsigned p = 0; p < PRIORITIES; p++) {
        struct session *s;
        TAILQ_FOREACH(s, &x->hungry, hungry_link)
        did |= feed(x, s, p);
    }
    struct session *s = TAILQ_FIRST(&x->hungry);
    struct session *last = TAILQ_LAST(&x->hungry, sessions);
    while (s) {
        struct session *next = s == last ? NULL : TAILQ_NEXT(s, hungry_link);
        TAILQ_REMOVE(&x->hungry, s, hungry_link);
        s->hungry = false;
        if (starving(s)) { /* the others first next time */
            s->hungry = true;
            TAILQ_INSERT_TAIL(&x->hungry, s, hungry_link);
            if (!timer_is_set(&s->timer))
                timer_set(&x->timers, &s->timer, x->now + MONO_S);
        }
        s = next;
    }
    return did;
}

void session_expire(struct exchange *x, struct session *s)
{
    if (s->resting && s->rest_until <= x->now) {
        session_drop(x, s);
        return;
    }
    struct item *i = TAILQ_FIRST(&s->sought);
    while (i) {
        struct item *next = TAILQ_NEXT(i, link);
        if (i->retry_at <= x->now)
            item_place(x, i, i->asked ? ITEM_ASKED : after_answers(x, i));
        i = next;
    }
    retry_lost(x, s);
    if (starving(s)) {
        session_hungry(x, s);
        x->schedule = true;
    }
    if (!TAILQ_EMPTY(&s->sought) || !TAILQ_EMPTY(&s->lost) || starving(s))
        timer_set(&x->timers, &s->timer, x->now + MONO_S);
    else if (s->resting)
        timer_set(&x->timers, &s->timer, s->rest_until);
}
