/* SPDX-License-Identifier: MIT
 *
 * Commands. A call is answered exactly once, by HOST_CALLED: at once, when the dial it waits for ends, or when its ping does.
 */
#include "net/host/host_state.h"

#include "net/swarm/dnsaddr.h"

void call_answer(struct host *h, struct host_call *call, int result)
{
    call->next = NULL;
    if (call->verb == HOST_OPEN && result == ERR_REFUSED)
        result = ERR_UNREACHABLE; /* no address of the peer answers, which is not a service's refusal */
    call->result = result;
    if (result < 0 && !call->why.text[0])
        (void)why_set(&call->why, result, "%s", err_text(result));
    host_queue(h, HOST_CALLED)->call = call;
    h->call_count--;
}

/* ---- connect ---- */

static void connected(struct host *h, struct host_call *call, struct host_peer *p)
{
    call->peer = p->id;
    p->wanted_by_user = true;
    exchange_flags_changed(p);
    call_answer(h, call, 0);
}

static void wait_for_dial(struct host_call *call, struct host_dial *d)
{
    call->next = d->calls;
    d->calls = call;
    dial_step(d);
}

static void dial_known(struct host *h, struct host_call *call, struct host_peer *p)
{
    struct host_dial *d = dial_peer(p, true);
    if (d) {
        wait_for_dial(call, d);
        return;
    }
    (void)why_set(&call->why, ERR_UNREACHABLE, "no address of this peer is known");
    call_answer(h, call, host_online(h) ? ERR_UNREACHABLE : ERR_OFFLINE);
}

static int refuse_target(struct host *h, struct host_call *call)
{
    if (peer_id_eq(&call->peer, &h->config.identity->id) || (call->addr.len && selfaddrs_listens(&h->self, &call->addr)))
        return why_set(&call->why, ERR_INVALID, "that is this node itself");
    if (call->addr.len && !multiaddr_is_tcp(&call->addr) && !dnsaddr_is(&call->addr))
        return why_set(&call->why, ERR_UNSUPPORTED, "only TCP addresses and /dnsaddr can be dialed");
    struct multiaddr_host where;
    struct span rest;
    if (call->addr.len && multiaddr_host(&call->addr, &where, &rest) == 0 && where.port == 0)
        return why_set(&call->why, ERR_INVALID, "nobody listens on port 0");
    if (!call->addr.len && peer_id_is_none(&call->peer))
        return why_set(&call->why, ERR_INVALID, "neither a peer nor an address");
    return 0;
}

static void do_connect(struct host *h, struct host_call *call)
{
    struct peer_id named;
    if (call->addr.len && multiaddr_peer(&call->addr, &named))
        call->peer = named;
    multiaddr_strip_peer(&call->addr);
    int err = refuse_target(h, call);
    if (err < 0) {
        call_answer(h, call, err);
        return;
    }
    bool known = !peer_id_is_none(&call->peer);
    struct host_peer *p = known ? peer_find(h, &call->peer) : NULL;
    if (p && p->conns.count)
        connected(h, call, p);
    else if (call->addr.len)
        wait_for_dial(call, dial_address(h, &call->addr, known ? &call->peer : NULL));
    else
        dial_known(h, call, peer_get(h, &call->peer));
}

static void do_disconnect(struct host *h, struct host_call *call)
{
    struct host_peer *p = peer_find(h, &call->peer);
    if (!p || !p->conns.count) {
        call_answer(h, call, ERR_NOT_FOUND);
        return;
    }
    p->wanted_by_user = false;
    p->entry->lan_until = 0; /* until mDNS tells again */
    while (p->conns.first)
        hconn_close(LINK_OF(p->conns.first, struct host_conn, of_peer), ERR_CLOSED);
    call_answer(h, call, 0);
}

/* ---- ping ---- */

/* false: no connection takes a stream */
static bool start_ping(struct host *h, struct host_call *call, struct host_peer *p)
{
    static const char *const ids[] = {PING_PROTOCOL};
    struct host_conn *c = peer_best_conn(p);
    struct host_stream *s = c ? stream_open(c, STREAM_PING_OUT, ids, 1) : NULL;
    if (!s)
        return false;
    s->u.ping.call = call;
    struct buf out = BUF_INIT;
    (void)pinger_send(&s->u.ping.pinger, &h->rng, &out, h->now); /* the first one cannot be under way */
    stream_send(s, buf_span(&out));
    buf_done(&out);
    timer_set(&h->timers, &s->timer, mono_min(call->deadline, pinger_deadline(&s->u.ping.pinger)));
    return true;
}

void call_ping_came(struct host_stream *s, struct span in)
{
    struct host *h = s->conn->host;
    mono_ns rtt;
    int done = pinger_input(&s->u.ping.pinger, in, h->now, &rtt);
    if (done == 0)
        return;
    struct host_call *call = s->u.ping.call;
    s->u.ping.call = NULL;
    if (done < 0) {
        if (call)
            call_answer(h, call, done);
        stream_reset(s);
        return;
    }
    if (call) {
        call->rtt = rtt;
        call->peer = s->conn->peer->id;
        call_answer(h, call, 0);
    }
    timer_clear(&h->timers, &s->timer);
    stream_finish(s);
}

void call_ping_ended(struct host_stream *s, int err)
{
    struct host *h = s->conn->host;
    struct host_call *call = s->u.ping.call;
    s->u.ping.call = NULL;
    if (!call)
        return;
    bool late = h->now >= mono_min(call->deadline, pinger_deadline(&s->u.ping.pinger));
    call_answer(h, call, late ? ERR_TIMEOUT : err < 0 ? err : ERR_CLOSED);
}

static void do_ping(struct host *h, struct host_call *call)
{
    if (peer_id_is_none(&call->peer) || peer_id_eq(&call->peer, &h->config.identity->id)) {
        call_answer(h, call, why_set(&call->why, ERR_INVALID, "that is no other peer"));
        return;
    }
    struct host_peer *p = peer_get(h, &call->peer);
    if (!p->conns.count || !start_ping(h, call, p))
        dial_known(h, call, p);
}

/* ---- open ---- */

void raw_open(struct host *h, struct host_call *call)
{
    call->raw = NULL;
    if (peer_id_is_none(&call->peer) || peer_id_eq(&call->peer, &h->config.identity->id)) {
        call_answer(h, call, why_set(&call->why, ERR_INVALID, "that is no other peer"));
        return;
    }
    struct host_peer *p = peer_get(h, &call->peer);
    if (!peer_best_conn(p) || !raw_start(h, call, p))
        dial_known(h, call, p);
}

void call_dialed(struct host *h, struct host_call *call, struct host_peer *p)
{
    if (call->verb == HOST_CONNECT)
        connected(h, call, p);
    else if (call->verb == HOST_PING ? !start_ping(h, call, p) : !raw_start(h, call, p))
        call_answer(h, call, ERR_CLOSED);
}

/* ---- what is answered at once ---- */

static void do_forget(struct host *h, struct host_call *call)
{
    bool known = peerstore_find(h->store, &call->peer) != NULL;
    peerstore_forget(h->store, &call->peer);
    struct host_peer *p = peer_find(h, &call->peer);
    if (p)
        peer_release(p);
    host_queue(h, HOST_SAVE);
    host_changed(h);
    call_answer(h, call, known ? 0 : ERR_NOT_FOUND);
}

static void do_protect(struct host *h, struct host_call *call)
{
    if (peer_id_is_none(&call->peer) || peer_id_eq(&call->peer, &h->config.identity->id)) {
        call_answer(h, call, why_set(&call->why, ERR_INVALID, "that is no other peer"));
        return;
    }
    struct host_peer *p = peer_get(h, &call->peer);
    int err = peerstore_set_friend(h->store, p->entry, call->on);
    exchange_flags_changed(p);
    if (err == 0 && call->on) {
        peer_know_addresses(h, p->entry);
        peer_dial_later(p, h->now);
    }
    peer_release(p);
    host_queue(h, HOST_SAVE);
    host_changed(h);
    call_answer(h, call, err);
}

static void do_limits(struct host *h, struct host_call *call)
{
    if (call->max_connections)
        h->config.max_connections = call->max_connections;
    connlimit_set(h->limit, h->config.max_connections, h->config.max_connections_per_ip);
    exchange_set_rates(h->exchange, call->upload_limit, call->download_limit, h->now);
    call_answer(h, call, 0);
}

void host_call(struct host *h, struct host_call *take_c, mono_ns now)
{
    static void (*const verbs[])(struct host * h, struct host_call * call) = {
        [HOST_CONNECT] = do_connect, [HOST_DISCONNECT] = do_disconnect, [HOST_PING] = do_ping,  [HOST_FORGET] = do_forget,
        [HOST_PROTECT] = do_protect, [HOST_LIMITS] = do_limits,         [HOST_OPEN] = raw_open,
    };
    h->now = now;
    h->call_count++;
    take_c->next = NULL;
    take_c->raw = NULL;
    take_c->again = false;
    take_c->why.text[0] = 0;
    if (!take_c->deadline)
        take_c->deadline = mono_after(now, HOST_CALL_TIMEOUT);
    if (h->stopped)
        call_answer(h, take_c, ERR_CANCELLED);
    else if (h->call_count > HOST_CALLS_MAX)
        call_answer(h, take_c, ERR_LIMIT);
    else
        verbs[take_c->verb](h, take_c);
}

/* ---- cancelling ---- */

static bool unlink_call(struct host_call **at, const struct host_call *c)
{
    while (*at && *at != c)
        at = &(*at)->next;
    if (!*at)
        return false;
    *at = c->next;
    return true;
}

void host_call_cancel(struct host *h, struct host_call *c, mono_ns now)
{
    h->now = now;
    if (raw_call_cancel(h, c))
        return;
    bool found = false;
    for (struct link *l = h->dials.first; l && !found; l = l->next)
        found = unlink_call(&LINK_OF(l, struct host_dial, link)->calls, c);
    if (found)
        call_answer(h, c, ERR_CANCELLED);
}
