/* SPDX-License-Identifier: MIT
 *
 * Peers we have something to do with now, and which of their connections are kept (PROTOCOLS.md section 7).
 *
 * Kept: friends, who a person asked for, who mDNS tells about, and who exchanges blocks with us. Others are closed when
 * idle, and when there are as many connections as strangers may have (connlimit.h) the least recently used first, after a
 * grace of HOST_GRACE; without grace when a known peer comes then, and when all are in use the stranger who came last.
 *
 * Two connections between the same peers happen when both dial at once. Both sides keep the one that the peer with the smaller
 * id dialed, the oldest of those, and close the other when it carries no stream: so they never each close the other's.
 */
#include "net/host/host_state.h"

#include <stdlib.h>

#define BUCKETS         512 /* host.c makes as many */
#define REDUNDANT_AFTER (5 * MONO_S)
#define REDIAL_LOST     (1 * MONO_S)
#define PROBE_PATIENCE  (3 * MONO_S) /* well below what a reader waits for a block */
#define JITTER          (200 * MONO_MS)

/* ---- the table ---- */

static struct host_peer **bucket_of(struct host *h, const struct peer_id *id)
{
    return &h->peer_buckets[peer_id_mix(id) % BUCKETS];
}

struct host_peer *peer_find(struct host *h, const struct peer_id *id)
{
    struct host_peer *p = *bucket_of(h, id);
    while (p && !peer_id_eq(&p->id, id))
        p = p->hash_next;
    return p;
}

struct host_peer *peer_get(struct host *h, const struct peer_id *id)
{
    struct host_peer *p = peer_find(h, id);
    if (p)
        return p;
    p = MEM_NEW(struct host_peer);
    p->host = h;
    p->id = *id;
    p->entry = peerstore_touch(h->store, id);
    peerstore_pin(p->entry);
    p->timer.kind = TIMER_PEER;
    struct host_peer **at = bucket_of(h, id);
    p->hash_next = *at;
    *at = p;
    chain_add(&h->peers, &p->link);
    peer_release(p); /* whoever asked for it may not need it in the end */
    return p;
}

static void free_protocols(struct host_peer *p)
{
    for (unsigned i = 0; i < p->protocol_count; i++)
        free(p->protocols[i]);
    free(p->protocols);
    p->protocols = NULL;
    p->protocol_count = 0;
}

void peer_free(struct host_peer *p)
{
    struct host *h = p->host;
    struct host_peer **at = bucket_of(h, &p->id);
    while (*at != p)
        at = &(*at)->hash_next;
    *at = p->hash_next;
    chain_remove(&h->peers, &p->link);
    chain_remove(&h->idle, &p->idle);
    timer_clear(&h->timers, &p->timer);
    peerstore_unpin(p->entry);
    free_protocols(p);
    free(p);
}

void peer_release(struct host_peer *p)
{
    chain_add(&p->host->idle, &p->idle);
}

void peers_sweep(struct host *h)
{
    while (h->idle.first) {
        struct host_peer *p = LINK_OF(h->idle.first, struct host_peer, idle);
        chain_remove(&h->idle, &p->idle);
        if (!p->conns.count && !p->dial && !timer_is_set(&p->timer) && !peer_is_wanted(p))
            peer_free(p);
    }
}

/* ---- what it speaks ---- */

void peer_set_protocols(struct host_peer *p, const struct identify *id)
{
    free_protocols(p);
    p->protocols = mem_array(id->protocol_count ? id->protocol_count : 1, sizeof *p->protocols);
    for (unsigned i = 0; i < id->protocol_count; i++)
        p->protocols[p->protocol_count++] = mem_strn(id->protocols[i]);
    p->no_bitswap = false;
    exchange_flags_changed(p);
}

bool peer_speaks(const struct host_peer *p, const char *protocol)
{
    for (unsigned i = 0; i < p->protocol_count; i++)
        if (strcmp(p->protocols[i], protocol) == 0)
            return true;
    return false;
}

/* ---- its connections ---- */

/* The one that stays when there are several: see above */
static bool preferred(const struct host_conn *a, const struct host_conn *b)
{
    const struct host *h = a->host;
    bool we_are_smaller = peer_id_cmp(&h->config.identity->id, &a->peer->id) < 0;
    bool a_by_smaller = a->inbound != we_are_smaller;
    bool b_by_smaller = b->inbound != we_are_smaller;
    if (a_by_smaller != b_by_smaller)
        return a_by_smaller;
    return a->ready_at < b->ready_at;
}

/* For what is new: any other goes before it */
static bool is_bad(const struct host_conn *c)
{
    return c->doubted || conn_is_left(c->conn);
}

struct host_conn *peer_best_conn(const struct host_peer *p)
{
    struct host_conn *best = NULL;
    for (struct link *l = p->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, of_peer);
        if (c->closing || c->doom)
            continue;
        if (!best || (is_bad(c) != is_bad(best) ? is_bad(best) : preferred(c, best)))
            best = c;
    }
    return best;
}

bool peer_is_lan(const struct host_peer *p)
{
    if (p->entry->lan_until > p->host->now)
        return true;
    for (struct link *l = p->conns.first; l; l = l->next) {
        enum multiaddr_scope scope = multiaddr_scope(&LINK_OF(l, struct host_conn, of_peer)->remote);
        if (scope == MA_SCOPE_LOOPBACK || scope == MA_SCOPE_LINK_LOCAL || scope == MA_SCOPE_PRIVATE)
            return true;
    }
    return false;
}

void peer_probe(struct host_peer *p, const struct host_conn *except)
{
    for (struct link *l = p->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, of_peer);
        if (c == except || c->closing)
            continue;
        c->doubted = true;
        (void)conn_ping(c->conn, PROBE_PATIENCE, p->host->now); /* or one is under way, which has no longer than that now */
        hconn_touch(c);
    }
}

void peer_conn_ready(struct host_peer *p, struct host_conn *c)
{
    struct host *h = p->host;
    c->peer = p;
    chain_add(&p->conns, &c->of_peer);
    p->entry->last_seen = host_wall(h);
    p->redials = 0;
    timer_clear(&h->timers, &p->timer);
    if (!c->inbound)
        peerstore_succeeded(h->store, p->entry, &c->remote, h->now, host_wall(h));
    if (!p->xp)
        p->xp = exchange_peer_added(h->exchange, p, 0, h->now); /* NULL: too many; asked again with its next connection */
    if (p->conns.count == 1) {
        p->connected_at = h->now;
        char id[PEER_ID_TEXT_SIZE], addr[MULTIADDR_TEXT];
        host_event(h, "peer.connected", "%s %s", peer_id_text(&p->id, id), multiaddr_text(&c->remote, addr));
    }
    peer_probe(p, c); /* it has come back by another way: perhaps the old one is dead */
    exchange_flags_changed(p);
    host_online_changed(h);
    host_changed(h);
}

static void lost(struct host_peer *p)
{
    struct host *h = p->host;
    char id[PEER_ID_TEXT_SIZE];
    if (p->xp)
        exchange_peer_removed(h->exchange, p->xp, h->now);
    p->xp = NULL;
    p->bytes_in = p->bytes_out = 0;
    p->entry->last_seen = host_wall(h);
    free_protocols(p);
    host_event(h, "peer.disconnected", "%s", peer_id_text(&p->id, id));
    bool again = peer_is_wanted(p) || p->entry->lan_until > h->now;
    if (again && !h->stopped)
        peer_dial_later(p, mono_after(h->now, REDIAL_LOST + rng_below(&h->rng, JITTER)));
    peer_release(p);
    host_online_changed(h);
}

void peer_conn_gone(struct host_peer *p, struct host_conn *c)
{
    chain_remove(&p->conns, &c->of_peer);
    p->bytes_in += c->bytes_in;
    p->bytes_out += c->bytes_out;
    c->peer = NULL;
    if (!p->conns.count)
        lost(p);
    else
        exchange_flags_changed(p);
    if (p->xp && (c->close_err == ERR_TIMEOUT || c->close_err == ERR_RESET))
        exchange_peer_back(p->host->exchange, p->xp, p->host->now);
    host_changed(p->host);
}

/* ---- dialing by itself ---- */

void peer_dial_later(struct host_peer *p, mono_ns at)
{
    if (p->conns.count || p->dial || timer_is_set(&p->timer))
        return;
    timer_set(&p->host->timers, &p->timer, at);
}

void peer_timer_fired(struct host_peer *p)
{
    struct host *h = p->host;
    peer_release(p);
    if (p->conns.count || p->dial || h->stopped)
        return;
    if (!dial_peer(p, false) && peer_is_wanted(p)) {
        p->redials++;
        peer_dial_later(p, mono_after(h->now, dial_backoff(p->redials)));
    }
}

/* ---- which connections are kept ---- */

bool peer_is_wanted(const struct host_peer *p)
{
    return p->entry->is_friend || p->wanted_by_user;
}

/* Has a right to a place that strangers have not (connlimit.h): a person named him, or blocks that we wanted came from him.
 * Not who came to us, is on our LAN or wants something: all of that anybody can. */
bool peer_is_known(const struct host_peer *p)
{
    struct exchange_ledger ledger = {0};
    if (p->xp)
        exchange_ledger(p->host->exchange, p->xp, &ledger);
    const struct services *s = p->host->config.services;
    return peer_is_wanted(p) || ledger.blocks_received || (s && services_name(s, &p->id));
}

void peer_know_addresses(struct host *h, const struct peer_entry *e)
{
    for (unsigned i = 0; i < e->addr_count; i++) {
        struct multiaddr addr;
        peer_addr_get(e->addrs[i], &addr);
        if (e->addrs[i]->last_success || e->addrs[i]->source == ADDR_FROM_USER)
            connlimit_know(h->limit, ip_group_of(&addr));
    }
}

static bool peer_is_kept(const struct host_peer *p)
{
    if (peer_is_wanted(p) || p->raws || p->entry->lan_until > p->host->now)
        return true;
    struct exchange_ledger ledger = {0};
    if (p->xp)
        exchange_ledger(p->host->exchange, p->xp, &ledger);
    return ledger.their_wants || ledger.our_wants || ledger.inflight_bytes;
}

static bool is_redundant(const struct host_conn *c)
{
    const struct host_conn *best = peer_best_conn(c->peer);
    mono_ns now = c->host->now;
    return best && best != c && now - c->ready_at >= REDUNDANT_AFTER && now - best->ready_at >= REDUNDANT_AFTER;
}

static unsigned low_water(const struct host *h)
{
    return h->config.max_connections / 8 * 5;
}

static void close_idle(struct host *h)
{
    unsigned low = low_water(h);
    for (struct link *l = h->conns.first, *next; l; l = next) {
        next = l->next;
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (!c->ready || c->closing)
            continue;
        if (conn_streams(c->conn) > 0) {
            c->used_at = h->now;
            continue;
        }
        mono_ns idle = connlimit_total(h->limit) > low ? HOST_IDLE_CLOSE : HOST_IDLE_CLOSE_CALM;
        bool old = h->now - c->used_at >= idle && !peer_is_kept(c->peer);
        if (old || is_redundant(c))
            hconn_close(c, ERR_CLOSED);
    }
}

static struct host_conn *least_useful(struct host *h, mono_ns grace)
{
    struct host_conn *worst = NULL;
    for (struct link *l = h->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (!c->ready || c->closing || c->doom || h->now - c->ready_at < grace || peer_is_kept(c->peer) ||
            peer_is_known(c->peer))
            continue;
        if (!worst || c->used_at < worst->used_at)
            worst = c;
    }
    return worst;
}

static struct host_conn *newest_stranger(struct host *h)
{
    for (struct link *l = h->conns.last; l; l = l->prev) {
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (c->ready && !c->closing && !c->doom && c->inbound && !peer_is_known(c->peer))
            return c;
    }
    return NULL;
}

void peers_make_room(struct host *h)
{
    if (!connlimit_crowded(h->limit))
        return;
    struct host_conn *c = least_useful(h, 0);
    if (!c)
        c = newest_stranger(h); /* all want something */
    if (c)
        hconn_doom(c, ERR_LIMIT); /* it may be in the middle of its own turn */
}

void peers_tidy(struct host *h)
{
    unsigned high = connlimit_of_strangers(h->limit);
    unsigned low = low_water(h);
    close_idle(h);
    if ((connlimit_total(h->limit) - connlimit_pending(h->limit)) < high)
        return;
    struct host_conn *c;
    while ((connlimit_total(h->limit) - connlimit_pending(h->limit)) > low && (c = least_useful(h, HOST_GRACE)))
        hconn_close(c, ERR_LIMIT);
}
