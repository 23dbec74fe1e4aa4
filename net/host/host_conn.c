/* SPDX-License-Identifier: MIT
 *
 * Connections: from a socket's bytes to a READY connection of a peer, and their end.
 *
 *   PENDING ─→ READY ─→ CLOSING ─→ (HOST_CLOSE) freed
 *      └────────────────────↑
 *
 * Memory: what a connection holds is charged to BUDGET_NET after each turn. When the budget says not now the connection is
 * starved: it is not read for STARVED_PAUSE, or until the budget has room. Never for ever: what would free memory may be the
 * very window updates that wait in the socket.
 */
#include "net/host/host_state.h"

#include <assert.h>
#include <stdlib.h>

#define STARVED_PAUSE (50 * MONO_MS)
#define REST_MOST     ((size_t)1 << 20)
#define REST_LEAST    ((size_t)64 << 10)
#define REST_TURN     (100 * MONO_MS)
#define REST_TOP      ((size_t)3 << 20) /* of one that has turns: Kubo opens eight streams, of 256 KiB each */
#define REST_PART     16                /* of the budget */
#define CONN_BESIDE   (sizeof(struct host_conn) + sizeof(struct host_peer) + 3072) /* the exchange's part, the socket's */

/* The eldest handshake that has had its time, of that address or (0) of an unknown one */
static struct host_conn *eldest_pending(struct host *h, ip_group g)
{
    for (struct link *l = h->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (!c->inbound || c->ready || c->closing || (g ? c->group != g : connlimit_knows(h->limit, c->group)))
            continue;
        return h->now - c->opened_at >= CONNLIMIT_PATIENCE ? c : NULL;
    }
    return NULL;
}

static bool take_place(struct host *h, ip_group g, const struct host_dial *dial)
{
    bool known = dial && (dial->by_user || (dial->peer && peer_is_known(dial->peer)));
    enum connlimit_who who = known ? CONNLIMIT_OURS_KNOWN : dial ? CONNLIMIT_OURS : CONNLIMIT_CAME;
    enum connlimit_answer no = connlimit_take(h->limit, g, who, h->now);
    struct host_conn *eldest = NULL;
    if (no == CONNLIMIT_ADDRESS_FULL || no == CONNLIMIT_FULL)
        eldest = eldest_pending(h, no == CONNLIMIT_FULL ? 0 : g);
    if (!eldest)
        return !no;
    hconn_close(eldest, ERR_TIMEOUT);
    return !connlimit_take(h->limit, g, who, h->now);
}

static struct host_conn *conn_make(struct host *h, void *owner, const struct multiaddr *remote, const struct multiaddr *local,
                                   const struct host_dial *dial)
{
    ip_group group = ip_group_of(remote);
    if (h->stopped || !take_place(h, group, dial))
        return NULL;
    struct host_conn *c = MEM_NEW(struct host_conn);
    c->host = h;
    c->owner = owner;
    c->remote = *remote;
    c->local = *local;
    multiaddr_strip_peer(&c->remote);
    c->group = group;
    c->inbound = dial == NULL;
    c->opened_at = c->used_at = h->now;
    c->timer.kind = TIMER_CONN;
    raw_set_protocols(c);
    struct conn_config cfg = {.role = dial ? CONN_DIALER : CONN_LISTENER,
                              .identity = h->config.identity,
                              .protocols = &c->protocols,
                              .rng = &h->rng,
                              .budget = h->config.budget,
                              .limits = h->config.limits};
    if (dial)
        cfg.expected = dial->expected;
    c->conn = conn_new(&cfg, h->now);
    chain_add(&h->conns, &c->link);
    hconn_touch(c);
    return c;
}

struct host_conn *host_accepted(struct host *h, void *owner, const struct multiaddr *remote, const struct multiaddr *local,
                                mono_ns now)
{
    h->now = now;
    return conn_make(h, owner, remote, local, NULL);
}

static struct host_dial *find_dial(struct host *h, uint64_t id, unsigned *ret_try)
{
    *ret_try = (unsigned)(id % DIAL_TRIES_MAX);
    for (struct link *l = h->dials.first; l; l = l->next) {
        struct host_dial *d = LINK_OF(l, struct host_dial, link);
        if (d->number == id / DIAL_TRIES_MAX)
            return d;
    }
    return NULL;
}

struct host_conn *host_dialed(struct host *h, uint64_t dial, void *owner, int err, const struct multiaddr *local, mono_ns now)
{
    h->now = now;
    unsigned i;
    struct host_dial *d = find_dial(h, dial, &i);
    if (!d || i >= d->count || d->tries[i].state != TRY_FLYING)
        return NULL;
    struct dial_try *t = &d->tries[i];
    struct host_conn *c = err < 0 ? NULL : conn_make(h, owner, &t->addr, local, d);
    h->flying--;
    if (!c) {
        dial_try_failed(d, i, err < 0 ? err : ERR_LIMIT);
        return NULL;
    }
    c->dial = d;
    dial_try_connected(d, i, c);
    return c;
}

void host_resolved(struct host *h, uint64_t dial, int err, const struct multiaddr *addrs, unsigned count, mono_ns now)
{
    h->now = now;
    unsigned i;
    struct host_dial *d = find_dial(h, dial, &i);
    if (d && i < d->count && d->tries[i].state == TRY_RESOLVING)
        dial_try_resolved(d, i, err, addrs, count);
}

/* ---- bytes ---- */

void hconn_touch(struct host_conn *c)
{
    chain_add(&c->host->dirty, &c->dirty);
}

uint8_t *host_input_reserve(struct host *h, struct host_conn *c, size_t *ret_room)
{
    (void)h;
    return conn_input_reserve(c->conn, ret_room);
}

/* What streams wait to be taken of is bounded by their windows, which are many. A connection that has more than a few full
 * windows, or more than some messages while all together have more than their part, is not read until some was taken. */
static bool has_much(const struct host_conn *c)
{
    size_t held = c->rest_held, grown = conn_grown(c->conn);
    return held > REST_MOST + grown ||
           (held > REST_LEAST + grown && c->host->rest_held > budget_room(c->host->config.budget) / REST_PART);
}

static bool owes(const struct host_conn *c)
{
    return c->peer && c->peer->xp && exchange_peer_owes(c->peer->xp) && c->rest_held <= REST_TOP + conn_grown(c->conn);
}

/* What it waits for may be in its own socket: the end of a block that others stand behind, window updates that give memory
 * back; and its pings want an answer. So of those that owe us blocks one goes on, in turn. */
static bool has_turn(const struct host_conn *c)
{
    unsigned count = 0, at = 0;
    for (const struct link *l = c->host->conns.first; owes(c) && l; l = l->next) {
        const struct host_conn *other = LINK_OF(l, const struct host_conn, link);
        at = other == c ? count : at;
        count += !other->closing && has_much(other) && owes(other);
    }
    return count && c->host->now / REST_TURN % count == at;
}

static bool rests(const struct host_conn *c)
{
    return has_much(c) && !has_turn(c);
}

static bool takes_input(const struct host_conn *c)
{
    return !c->closing && !c->starved && conn_wants_input(c->conn) && !rests(c);
}

/* It lives. What waited for that goes on. */
static void trust(struct host_conn *c)
{
    struct host_stream *out = c->peer ? c->peer->out : NULL;
    c->doubted = false;
    if (out && out->conn == c)
        bitswap_out_pump(out);
}

bool host_input_commit(struct host *h, struct host_conn *c, size_t n, mono_ns now)
{
    h->now = now;
    c->bytes_in += n;
    h->bytes_in += n;
    conn_input_commit(c->conn, n, now);
    if (n) {
        hconn_pull_events(c);
        hconn_touch(c);
    }
    if (n && c->doubted && !c->closing)
        trust(c);
    if (takes_input(c))
        return true;
    c->told_hold = true; /* the answer tells the owner */
    return false;
}

bool host_input(struct host *h, struct host_conn *c, struct span in, mono_ns now)
{
    bool more = true;
    while (in.len) {
        size_t room;
        uint8_t *at = host_input_reserve(h, c, &room);
        size_t n = in.len < room ? in.len : room;
        memcpy(at, in.data, n);
        more = host_input_commit(h, c, n, now);
        in = span_from(in, n);
    }
    return more;
}

void host_input_end(struct host *h, struct host_conn *c, int err, mono_ns now)
{
    h->now = now;
    conn_input_end(c->conn, err);
    hconn_pull_events(c);
    hconn_touch(c);
}

size_t host_output(struct host *h, struct host_conn *c, struct buf *out, size_t most, mono_ns now)
{
    h->now = now;
    size_t n = conn_output(c->conn, out, most);
    c->bytes_out += n;
    h->bytes_out += n;
    if (n == 0)
        c->told_send = false;
    hconn_pull_events(c); /* there may be room to write again */
    hconn_touch(c);
    return n;
}

/* ---- events ---- */

static void conn_is_now_ready(struct host_conn *c)
{
    struct host *h = c->host;
    struct host_peer *p = peer_get(h, conn_peer(c->conn));
    bool known = peer_is_known(p);
    bool full = p->conns.count >= HOST_PEER_CONNS_MAX;
    if (full || connlimit_established(h->limit, c->group, known || !c->inbound) < 0) {
        peer_release(p);
        hconn_doom(c, ERR_LIMIT);
        return;
    }
    c->ready = true;
    c->ready_at = c->used_at = h->now;
    peer_conn_ready(p, c);
    if (known)
        peers_make_room(h);
    raw_set_protocols(c);
    dial_conn_ready(c);
    identify_ask(c);
}

static int close_reason(int err)
{
    if (err == ERR_DENIED)
        return ERR_VERIFY; /* Noise: the key is another peer's, or our own */
    return err < 0 ? err : ERR_CLOSED;
}

static void handle(struct host_conn *c, const struct conn_event *ev)
{
    switch (ev->type) {
    case CONN_SECURED:
        if (peer_id_eq(conn_peer(c->conn), &c->host->config.identity->id))
            hconn_doom(c, ERR_INVALID); /* it is ourselves */
        return;
    case CONN_READY:
        conn_is_now_ready(c);
        return;
    case CONN_STREAM:
        stream_opened_by_peer(c, ev->stream, ev->protocol);
        return;
    case CONN_PONG:
        if (c->peer && c->peer->xp)
            exchange_peer_rtt(c->host->exchange, c->peer->xp, conn_rtt(c->conn));
        return;
    case CONN_CLOSED:
        hconn_doom(c, close_reason(ev->err));
        return;
    default:
        if (ev->user)
            stream_event(ev->user, ev);
        return;
    }
}

void hconn_doom(struct host_conn *c, int err)
{
    assert(err < 0);
    if (!c->doom)
        c->doom = err;
    hconn_touch(c);
}

/* All events are pulled, also those of a connection that is to be closed: nobody looks at them any more */
void hconn_pull_events(struct host_conn *c)
{
    if (c->pulling)
        return;
    c->pulling = true;
    struct conn_event ev;
    while (conn_next(c->conn, &ev) > 0)
        if (!c->doom && !c->closing)
            handle(c, &ev);
    c->pulling = false;
    if (c->doom && !c->closing)
        hconn_close(c, c->doom);
}

void hconn_expire(struct host_conn *c)
{
    conn_expire(c->conn, c->host->now);
    hconn_pull_events(c);
    hconn_touch(c);
}

/* ---- the end of a turn ---- */

static void charge(struct host_conn *c)
{
    struct budget *b = c->host->config.budget;
    size_t held = conn_memory(c->conn) + c->streams.count * HOST_STREAM_BESIDE + c->raw_held + c->rest_held + CONN_BESIDE;
    if (held < c->charged)
        budget_give(b, BUDGET_NET, c->charged - held);
    if (held > c->charged && !budget_take(b, BUDGET_NET, held - c->charged)) {
        budget_take_always(b, BUDGET_NET, held - c->charged); /* it is held already; what is bounded is how it goes on */
        c->starved = true;
        if (!timer_is_set(&c->host->starved))
            timer_set(&c->host->timers, &c->host->starved, mono_after(c->host->now, STARVED_PAUSE));
    }
    c->charged = held;
}

void hconn_starved_again(struct host *h)
{
    for (struct link *l = h->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (!c->starved)
            continue;
        c->starved = false;
        hconn_touch(c);
    }
}

void host_budget_freed(struct host *h, mono_ns now)
{
    h->now = now;
    timer_clear(&h->timers, &h->starved);
    hconn_starved_again(h);
    exchange_budget_freed(h->exchange, now);
}

static void tell(struct host_conn *c, enum host_action_type type)
{
    struct host_action *a = host_queue(c->host, type);
    a->conn = c;
    a->owner = c->owner;
}

static void settle(struct host_conn *c)
{
    struct host *h = c->host;
    hconn_pull_events(c);
    chain_remove(&h->dirty, &c->dirty);
    if (c->told_close)
        return; /* it waits in the queue to be freed */
    if (!c->told_send && conn_has_output(c->conn)) {
        c->told_send = true;
        tell(c, HOST_SEND);
    }
    if (c->closing) {
        c->told_close = true;
        tell(c, HOST_CLOSE);
        return;
    }
    charge(c);
    bool take = takes_input(c);
    if (raw_unstick(c, !take))
        take = takes_input(c);
    if (take == c->told_hold) {
        c->told_hold = !take;
        tell(c, take ? HOST_RESUME : HOST_HOLD);
    }
    mono_ns look = !take && has_much(c)                      ? mono_after(h->now, REST_TURN) /* it may have its turn */
                   : c->raw_looked || (!take && c->raw_held) ? mono_after(h->now, MONO_S)    /* readers may stand still */
                                                             : MONO_NEVER;
    timer_set(&h->timers, &c->timer, mono_min(conn_deadline(c->conn), look));
}

bool hconn_settle_dirty(struct host *h)
{
    struct queued **before = h->last;
    while (h->dirty.first)
        settle(LINK_OF(h->dirty.first, struct host_conn, dirty));
    return h->last != before;
}

/* ---- closing ---- */

/* After this the connection is in no list but host->conns, and `dirty` so that HOST_CLOSE is told. It may still say goodbye. */
void hconn_close(struct host_conn *c, int err)
{
    struct host *h = c->host;
    if (c->closing)
        return;
    assert(!c->pulling);
    c->closing = true;
    c->close_err = err;
    if (!conn_is_dead(c->conn))
        conn_goodbye(c->conn);
    identify_unobserve(c);
    while (c->streams.first)
        stream_end(LINK_OF(c->streams.first, struct host_stream, link), ERR_RESET);
    if (c->peer && peer_is_known(c->peer))
        connlimit_know(h->limit, c->group); /* he may want to come again */
    connlimit_give(h->limit, c->group, !c->ready);
    timer_clear(&h->timers, &c->timer);
    if (c->peer)
        peer_conn_gone(c->peer, c);
    else if (c->dial)
        dial_conn_failed(c, err);
    hconn_touch(c);
}

void hconn_free(struct host_conn *c)
{
    struct host *h = c->host;
    assert(c->closing);
    budget_give(h->config.budget, BUDGET_NET, c->charged);
    chain_remove(&h->dirty, &c->dirty);
    chain_remove(&h->conns, &c->link);
    conn_free(c->conn);
    free(c->protocol_memory);
    free(c);
}
