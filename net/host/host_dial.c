/* SPDX-License-Identifier: MIT
 *
 * One attempt to reach a peer: its addresses in the order of dialplan.h, several at once, until one of them is a READY
 * connection.
 *
 *   TRY_WAIT ─→ TRY_FLYING ─→ TRY_CONNECTED ─→ (READY: the dial is done)
 *      │  ↑          └─────────────┴─────────→ TRY_FAILED
 *      └→ TRY_RESOLVING (a name: becomes new tries with its addresses)
 *
 * dial_step looks at everything; dial_end is the last thing that is done to a dial.
 */
#include "net/host/host_state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define DIAL_DEADLINE   (30 * MONO_S) /* for all addresses; who waits has deadlines of their own */
#define HANDSHAKE_LEAD  (2 * MONO_S)  /* what a handshake under way gets before other addresses are tried too */
#define RESOLVE_TIMEOUT (10 * MONO_S)

/* ---- life ---- */

static struct host_dial *dial_new(struct host *h, struct host_peer *p, const struct peer_id *expected, bool by_user)
{
    struct host_dial *d = MEM_NEW(struct host_dial);
    d->host = h;
    d->number = ++h->dial_number;
    d->peer = p;
    if (expected)
        d->expected = *expected;
    d->by_user = by_user;
    d->deadline = mono_after(h->now, DIAL_DEADLINE);
    d->timer.kind = TIMER_DIAL;
    if (p)
        p->dial = d;
    chain_add(&h->dials, &d->link);
    timer_set(&h->timers, &d->timer, h->now);
    return d;
}

static void add_try(struct host_dial *d, const struct multiaddr *addr, mono_ns at, bool explicit_)
{
    for (unsigned i = 0; i < d->count; i++)
        if (multiaddr_eq(&d->tries[i].addr, addr)) {
            d->tries[i].explicit_ |= explicit_;
            return;
        }
    if (d->count < DIAL_TRIES_MAX)
        d->tries[d->count++] = (struct dial_try){.addr = *addr, .state = TRY_WAIT, .at = at, .explicit_ = explicit_};
}

/* A /dnsaddr is dialed only when somebody here named it: it is kept out of what peers tell (host_identify.c), since each may
 * cost many lookups. */
static bool is_dialable(const struct host *h, const struct multiaddr *addr)
{
    return multiaddr_is_tcp(addr) && !selfaddrs_listens(&h->self, addr);
}

static unsigned candidates(struct host_peer *p, bool by_user, struct dial_candidate *ret)
{
    struct host *h = p->host;
    unsigned count = 0;
    for (unsigned i = 0; i < p->entry->addr_count; i++) {
        const struct peer_addr *a = p->entry->addrs[i];
        if (a->retry_at > h->now && !by_user)
            continue;
        struct dial_candidate *c = &ret[count];
        *c = (struct dial_candidate){.last_success = a->last_success, .failures = a->failures};
        peer_addr_get(a, &c->addr);
        count += is_dialable(h, &c->addr);
    }
    return count;
}

struct host_dial *dial_peer(struct host_peer *p, bool by_user)
{
    struct host *h = p->host;
    if (p->dial) {
        p->dial->by_user |= by_user;
        return p->dial;
    }
    struct dial_candidate *c = mem_array(PEERSTORE_ADDRS_MAX + 1, sizeof *c); /* one more is written before it is judged */
    unsigned count = candidates(p, by_user, c);
    struct host_dial *d = count && !h->stopped ? dial_new(h, p, &p->id, by_user) : NULL;
    if (d) {
        dialplan_order(c, count);
        for (unsigned i = 0; i < count; i++)
            add_try(d, &c[i].addr, mono_after(h->now, c[i].delay), false);
    }
    free(c);
    return d;
}

struct host_dial *dial_address(struct host *h, const struct multiaddr *addr, const struct peer_id *expected)
{
    struct host_peer *p = expected ? peer_get(h, expected) : NULL;
    struct host_dial *d = p ? dial_peer(p, true) : NULL;
    if (!d)
        d = dial_new(h, p, expected, true);
    add_try(d, addr, h->now, true);
    timer_set(&h->timers, &d->timer, h->now);
    return d;
}

/* ---- steps ---- */

static uint64_t try_id(const struct host_dial *d, unsigned i)
{
    return d->number * DIAL_TRIES_MAX + i;
}

static void start_try(struct host_dial *d, unsigned i)
{
    struct host *h = d->host;
    struct dial_try *t = &d->tries[i];
    bool name = multiaddr_scope(&t->addr) == MA_SCOPE_NONE;
    t->state = name ? TRY_RESOLVING : TRY_FLYING;
    t->at = mono_after(h->now, name ? RESOLVE_TIMEOUT : dial_timeout(&t->addr));
    h->flying += !name;
    struct host_action *a = host_queue(h, name ? HOST_RESOLVE : HOST_DIAL);
    a->dial = try_id(d, i);
    a->addr = t->addr;
    a->peer = d->expected;
    a->by_user = d->by_user;
}

static void abort_try(struct host_dial *d, unsigned i)
{
    struct host *h = d->host;
    if (d->tries[i].state != TRY_FLYING)
        return;
    h->flying--;
    host_queue(h, HOST_ABORT)->dial = try_id(d, i);
}

static void note_failure(struct host_dial *d, unsigned i, int err)
{
    struct dial_try *t = &d->tries[i];
    t->state = TRY_FAILED;
    t->err = err;
    t->conn = NULL;
    if (d->peer)
        peerstore_failed(d->peer->entry, &t->addr, d->host->now);
}

void dial_try_failed(struct host_dial *d, unsigned i, int err)
{
    note_failure(d, i, err);
    timer_set(&d->host->timers, &d->timer, d->host->now);
}

void dial_try_connected(struct host_dial *d, unsigned i, struct host_conn *c)
{
    mono_ns lead = mono_after(d->host->now, HANDSHAKE_LEAD);
    d->tries[i].state = TRY_CONNECTED;
    d->tries[i].conn = c;
    for (unsigned k = 0; k < d->count; k++)
        if (d->tries[k].state == TRY_WAIT && d->tries[k].at < lead)
            d->tries[k].at = lead;
    timer_set(&d->host->timers, &d->timer, d->host->now);
}

void dial_try_resolved(struct host_dial *d, unsigned i, int err, const struct multiaddr *addrs, unsigned count)
{
    struct host *h = d->host;
    d->tries[i].state = TRY_FAILED;
    d->tries[i].err = err < 0 ? err : ERR_UNREACHABLE;
    for (unsigned k = 0; err == 0 && k < count; k++)
        if (is_dialable(h, &addrs[k]))
            add_try(d, &addrs[k], mono_after(h->now, k * DIAL_STEP), d->tries[i].explicit_);
    timer_set(&h->timers, &d->timer, h->now);
}

struct dial_sum {
    unsigned waiting, busy, connected; /* busy: flying or resolving */
};

static struct dial_sum sum_up(const struct host_dial *d)
{
    struct dial_sum s = {0};
    for (unsigned i = 0; i < d->count; i++) {
        s.waiting += d->tries[i].state == TRY_WAIT;
        s.busy += d->tries[i].state == TRY_FLYING || d->tries[i].state == TRY_RESOLVING;
        s.connected += d->tries[i].state == TRY_CONNECTED;
    }
    return s;
}

static void expire_tries(struct host_dial *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        struct dial_try *t = &d->tries[i];
        if ((t->state != TRY_FLYING && t->state != TRY_RESOLVING) || t->at > d->host->now)
            continue;
        abort_try(d, i);
        note_failure(d, i, ERR_TIMEOUT);
    }
}

/* How many may fly when one more of this dial goes. Peers that we were only told of, and that there may not be, have half of
 * all; for what somebody waits for there is room in any case. */
static unsigned most_flying(const struct host_dial *d)
{
    if (d->by_user)
        return DIAL_TOTAL_MAX;
    return d->peer && peer_is_wanted(d->peer) ? DIAL_TOTAL_MAX / 4 * 3 : DIAL_TOTAL_MAX / 2;
}

/* When nothing is under way the next one goes at once, whatever its turn */
static void start_tries(struct host_dial *d)
{
    struct host *h = d->host;
    struct dial_sum s = sum_up(d);
    while (s.waiting && s.busy < DIAL_PARALLEL_MAX && h->flying < most_flying(d)) {
        unsigned next = d->count;
        for (unsigned i = 0; i < d->count; i++)
            if (d->tries[i].state == TRY_WAIT && (next == d->count || d->tries[i].at < d->tries[next].at))
                next = i;
        if (d->tries[next].at > h->now && s.busy + s.connected > 0)
            return;
        start_try(d, next);
        s.waiting--;
        s.busy++;
    }
}

static mono_ns next_step(const struct host_dial *d)
{
    mono_ns at = d->deadline;
    for (const struct host_call *c = d->calls; c; c = c->next)
        at = mono_min(at, c->deadline);
    bool full = d->host->flying >= most_flying(d);
    struct dial_sum s = sum_up(d);
    for (unsigned i = 0; i < d->count; i++) {
        const struct dial_try *t = &d->tries[i];
        if (t->state == TRY_FLYING || t->state == TRY_RESOLVING)
            at = mono_min(at, t->at);
        if (t->state == TRY_WAIT && s.busy < DIAL_PARALLEL_MAX)
            at = mono_min(at, full ? mono_after(d->host->now, 100 * MONO_MS) : t->at);
    }
    return at;
}

static void expire_calls(struct host_dial *d)
{
    for (struct host_call **at = &d->calls; *at;) {
        struct host_call *c = *at;
        if (c->deadline > d->host->now) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        (void)why_set(&c->why, ERR_TIMEOUT, "no answer in time from any of %u addresses", d->count);
        call_answer(d->host, c, ERR_TIMEOUT);
    }
}

static int common_error(const struct host_dial *d)
{
    bool refused = true, timeout = true, verify = false;
    for (unsigned i = 0; i < d->count; i++) {
        refused &= d->tries[i].err == ERR_REFUSED;
        timeout &= d->tries[i].err == ERR_TIMEOUT;
        verify |= d->tries[i].err == ERR_VERIFY;
    }
    if (verify)
        return ERR_VERIFY;
    if (refused)
        return ERR_REFUSED;
    if (timeout)
        return ERR_TIMEOUT;
    return host_online(d->host) ? ERR_UNREACHABLE : ERR_OFFLINE;
}

void dial_step(struct host_dial *d)
{
    struct host *h = d->host;
    expire_calls(d);
    expire_tries(d);
    if (d->deadline <= h->now) {
        dial_end(d, ERR_TIMEOUT);
        return;
    }
    start_tries(d);
    struct dial_sum s = sum_up(d);
    if (s.waiting + s.busy + s.connected == 0) {
        dial_end(d, common_error(d));
        return;
    }
    timer_set(&h->timers, &d->timer, next_step(d));
}

/* ---- ends ---- */

static void tell_tried(const struct host_dial *d, struct why *why)
{
    struct buf text = BUF_INIT;
    for (unsigned i = 0; i < d->count && buf_len(&text) < sizeof why->text; i++) {
        char addr[MULTIADDR_TEXT];
        buf_printf(&text, "%s%s: %s", i ? "; " : "tried ", multiaddr_text(&d->tries[i].addr, addr),
                   d->tries[i].err ? err_text(d->tries[i].err) : "no answer yet");
    }
    (void)snprintf(why->text, sizeof why->text, "%s", buf_cstr(&text)); /* a long list is cut */
    buf_done(&text);
}

/* Leaves `keep` alone; everything else of the dial stops */
static void stop_tries(struct host_dial *d, const struct host_conn *keep)
{
    for (unsigned i = 0; i < d->count; i++) {
        struct host_conn *c = d->tries[i].conn;
        abort_try(d, i);
        d->tries[i].state = TRY_FAILED;
        d->tries[i].conn = NULL;
        if (!c)
            continue;
        c->dial = NULL;
        if (c != keep)
            hconn_doom(c, ERR_CANCELLED);
    }
}

static struct host_call *dial_close(struct host_dial *d)
{
    struct host_call *calls = d->calls;
    chain_remove(&d->host->dials, &d->link);
    timer_clear(&d->host->timers, &d->timer);
    if (d->peer) {
        d->peer->dial = NULL;
        peer_release(d->peer);
    }
    free(d);
    return calls;
}

void dial_end(struct host_dial *d, int err)
{
    struct host *h = d->host;
    struct host_peer *p = d->peer;
    struct why why = {""};
    tell_tried(d, &why);
    stop_tries(d, NULL);
    struct host_call *calls = dial_close(d);
    if (p && peer_is_wanted(p) && !h->stopped) {
        p->redials++;
        peer_dial_later(p, mono_after(h->now, dial_backoff(p->redials)));
    }
    while (calls) {
        struct host_call *c = calls;
        calls = c->next;
        c->why = why;
        call_answer(h, c, err);
    }
}

static void dial_succeeded(struct host_dial *d, struct host_peer *p, const struct host_conn *c)
{
    struct host *h = d->host;
    stop_tries(d, c);
    struct host_call *calls = dial_close(d);
    while (calls) {
        struct host_call *call = calls;
        calls = call->next;
        call_dialed(h, call, p);
    }
}

void dial_conn_ready(struct host_conn *c)
{
    struct host_dial *d = c->dial;
    if (d) {
        if (d->by_user)
            (void)peerstore_learn(c->host->store, c->peer->entry, &c->remote, ADDR_FROM_USER, c->host->now);
        dial_succeeded(d, c->peer, c);
    }
    if (c->peer->dial)
        dial_succeeded(c->peer->dial, c->peer, c); /* they came to us meanwhile */
}

void dial_conn_failed(struct host_conn *c, int err)
{
    struct host_dial *d = c->dial;
    for (unsigned i = 0; i < d->count; i++)
        if (d->tries[i].conn == c)
            dial_try_failed(d, i, err);
    c->dial = NULL;
}
