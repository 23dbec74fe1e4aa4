/* SPDX-License-Identifier: MIT
 *
 * The network we are on: what we listen on, interfaces, and the peers that mDNS finds there. A found peer is remembered and
 * connected to; the one with the smaller id dials at once, the other a second later if that did not work, so that both do
 * not meet
 * half-way with two connections.
 */
#include "net/host/host_state.h"

#include <stdlib.h>

#define LAN_DIAL_SECOND (1 * MONO_S)
#define LAN_DIAL_JITTER (200 * MONO_MS)
#define MOVED_AGAIN     (5 * MONO_S) /* while a connection is looked at our messages wait */

/* ---- telling mDNS ---- */

/* As text with our id; false: not for this interface, or too long */
static bool lan_text(const struct host *h, const struct self_addr *a, unsigned iface, char text[MULTIADDR_TEXT])
{
    struct multiaddr addr = a->addr;
    if (a->iface != iface || a->scope == MA_SCOPE_LOOPBACK || a->scope == MA_SCOPE_LINK_LOCAL)
        return false;
    if (multiaddr_add_peer(&addr, &h->config.identity->id) < 0)
        return false;
    return strlen(multiaddr_text(&addr, text)) <= MDNS_ADDR_MAX;
}

static void lan_set(struct host *h, const struct self_iface *iface, const struct self_ip *ip)
{
    struct mdns_endpoint self = {.iface = iface->index, .family = ip->v6 ? MDNS_V6 : MDNS_V4, .port = MDNS_PORT};
    memcpy(self.ip, ip->ip, sizeof self.ip);
    char *texts[MDNS_ADDRS_MAX] = {0};
    char text[MULTIADDR_TEXT] = "";
    unsigned count = 0;
    for (unsigned i = 0; i < h->self.addr_count && count < MDNS_ADDRS_MAX; i++)
        if (lan_text(h, &h->self.addrs[i], iface->index, text))
            texts[count++] = mem_str(text);
    int err = mdns_iface_set(h->mdns, &self, (const char *const *)texts, count, h->now);
    if (err == 0 && h->lan_set_count < MDNS_IFACES_MAX) {
        h->lan_set[h->lan_set_count].iface = iface->index;
        h->lan_set[h->lan_set_count++].family = self.family;
    }
    for (unsigned i = 0; i < count; i++)
        free(texts[i]);
}

static const struct self_ip *first_ip(const struct self_iface *iface, bool v6)
{
    for (unsigned i = 0; i < iface->addr_count; i++)
        if (iface->addrs[i].v6 == v6)
            return &iface->addrs[i];
    return NULL;
}

static const struct self_iface *usable_iface(const struct host *h, unsigned index)
{
    for (unsigned i = 0; i < h->self.iface_count; i++) {
        const struct self_iface *f = &h->self.ifaces[i];
        if (f->index == index)
            return f->up && f->multicast && !f->loopback ? f : NULL;
    }
    return NULL;
}

void lan_rebuild(struct host *h)
{
    if (!h->mdns)
        return;
    for (unsigned i = 0; i < h->lan_set_count; i++) {
        const struct self_iface *f = usable_iface(h, h->lan_set[i].iface);
        if (!f || !first_ip(f, h->lan_set[i].family == MDNS_V6))
            mdns_iface_gone(h->mdns, h->lan_set[i].iface, h->lan_set[i].family, h->now);
    }
    h->lan_set_count = 0;
    for (unsigned i = 0; i < h->self.iface_count; i++) {
        const struct self_iface *f = &h->self.ifaces[i];
        for (int v6 = 0; v6 < 2 && usable_iface(h, f->index); v6++) {
            const struct self_ip *ip = first_ip(f, v6);
            if (ip)
                lan_set(h, f, ip);
        }
    }
}

void host_listening(struct host *h, const struct multiaddr *bound, unsigned count, mono_ns now)
{
    h->now = now;
    if (!selfaddrs_set_listen(&h->self, bound, count))
        return;
    lan_rebuild(h);
    identify_changed(h);
}

/* Peers that could not be reached may be now */
static void try_again(struct host *h)
{
    peerstore_forgive(h->store);
    for (struct link *l = h->peers.first; l; l = l->next) {
        struct host_peer *p = LINK_OF(l, struct host_peer, link);
        p->redials = 0;
        if (peer_is_wanted(p) && !p->conns.count && !p->dial)
            timer_set(&h->timers, &p->timer, mono_after(h->now, rng_below(&h->rng, LAN_DIAL_SECOND)));
    }
}

/* Nothing leaves any more from an address that is not ours now, and the peer cannot know: without this both would take the
 * connection for good until its pings stay unanswered. An interface that is only down keeps its address, and the connection may
 * go on when it is up again. `before`: what was ours. */
static void close_homeless(struct host *h, const struct selfaddrs *before)
{
    for (struct link *l = h->conns.first, *next; l; l = next) {
        next = l->next;
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (selfaddrs_is_our_ip(before, &c->local) && !selfaddrs_is_our_ip(&h->self, &c->local))
            hconn_close(c, ERR_UNREACHABLE);
    }
}

void host_interfaces(struct host *h, const struct self_iface *ifaces, unsigned count, mono_ns now)
{
    h->now = now;
    struct selfaddrs *before = mem_new(sizeof *before);
    *before = h->self;
    bool changed = selfaddrs_set_ifaces(&h->self, ifaces, count);
    host_changed(h);
    close_homeless(h, before);
    free(before);
    if (changed)
        identify_changed(h);
    lan_rebuild(
        h); /* also without a change of addresses: it asks again at once, which is what somebody back on a network wants */
    if (h->mdns)
        mdns_hurry(h->mdns, now);
    host_online_changed(h);
    if (changed)
        try_again(h);
}

bool host_online(const struct host *h)
{
    if (selfaddrs_online(&h->self))
        return true;
    for (const struct link *l = h->peers.first; l; l = l->next)
        if (LINK_OF(l, const struct host_peer, link)->conns.count)
            return true;
    return false;
}

void host_online_changed(struct host *h)
{
    exchange_set_offline(h->exchange, !host_online(h), h->now);
}

/* ---- what mDNS tells ---- */

void host_datagram(struct host *h, const struct host_datagram *from, struct span datagram, mono_ns now)
{
    h->now = now;
    if (!h->mdns)
        return;
    struct mdns_endpoint e = {.iface = from->iface, .family = from->v6 ? MDNS_V6 : MDNS_V4, .port = from->port};
    memcpy(e.ip, from->ip, sizeof e.ip);
    mdns_input(h->mdns, &e, datagram, now);
}

/* A link-local address is of the interface that we heard it on */
static bool add_zone(struct multiaddr *addr, unsigned iface)
{
    struct sockaddr_storage ss;
    socklen_t len;
    struct multiaddr_part part;
    if (multiaddr_scope(addr) != MA_SCOPE_LINK_LOCAL || multiaddr_find(addr, MA_IP6ZONE, &part))
        return true;
    if (multiaddr_to_sockaddr(addr, &ss, &len) < 0)
        return false;
    if (ss.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&ss)->sin6_scope_id = iface;
    return multiaddr_from_sockaddr((struct sockaddr *)&ss, MA_TCP, addr) == 0;
}

/* False: none that we could dial. *ret_new: it was not known. */
static bool learn_lan(struct host *h, struct peer_entry *e, struct span text, unsigned iface, bool *ret_new)
{
    struct multiaddr addr;
    if (multiaddr_from_text(text, &addr, NULL) < 0)
        return false;
    multiaddr_strip_peer(&addr);
    if (!multiaddr_is_tcp(&addr) || !add_zone(&addr, iface) || selfaddrs_listens(&h->self, &addr))
        return false;
    if (!dial_sensible(&addr, MA_SCOPE_PRIVATE, false) || multiaddr_scope(&addr) == MA_SCOPE_NONE)
        return false;
    *ret_new |= peerstore_learn(h->store, e, &addr, ADDR_FROM_LAN, h->now); /* known already: its time is longer now */
    return true;
}

static unsigned lan_peers(const struct host *h)
{
    unsigned n = 0;
    for (const struct link *l = h->peers.first; l; l = l->next)
        n += LINK_OF(l, const struct host_peer, link)->entry->lan_until > h->now;
    return n;
}

static void found(struct host *h, const struct mdns_event *ev)
{
    struct peer_id id;
    if (peer_id_from_text(ev->peer_id, &id, NULL) < 0 || peer_id_eq(&id, &h->config.identity->id))
        return;
    struct host_peer *p = peer_find(h, &id);
    struct peer_entry *e = p ? p->entry : peerstore_touch(h->store, &id);
    bool any = false, moved = false, is_new = e->lan_until <= h->now;
    for (unsigned i = 0; i < ev->addr_count; i++)
        any |= learn_lan(h, e, ev->addrs[i], ev->iface, &moved);
    if (!any)
        return;
    bool room = p || lan_peers(h) < HOST_LAN_PEERS_MAX;
    e->lan_until = mono_after(h->now, PEERSTORE_LAN_TTL);
    e->last_seen = host_wall(h);
    if (is_new) {
        char text[PEER_ID_TEXT_SIZE];
        host_event(h, "peer.found", "%s %.*s", peer_id_text(&id, text), (int)ev->addrs[0].len, (const char *)ev->addrs[0].data);
        host_changed(h);
    }
    if (p && p->conns.count) {
        exchange_flags_changed(p);
        if (moved && p->moved_at <= h->now) { /* perhaps away from the one that we are connected to; anybody here can say so */
            p->moved_at = mono_after(h->now, MOVED_AGAIN);
            peer_probe(p, NULL);
        }
        return;
    }
    if (!room || h->stopped)
        return;
    bool we_first = peer_id_cmp(&h->config.identity->id, &id) < 0;
    mono_ns delay = (we_first ? 0 : LAN_DIAL_SECOND) + rng_below(&h->rng, LAN_DIAL_JITTER);
    peer_dial_later(peer_get(h, &id), mono_after(h->now, delay));
}

/* It is not on our network any more as far as mDNS goes; what is connected stays so until it closes. */
static void gone(struct host *h, const struct mdns_event *ev)
{
    struct peer_id id;
    if (peer_id_from_text(ev->peer_id, &id, NULL) < 0)
        return;
    struct host_peer *p = peer_find(h, &id);
    struct peer_entry *e = p ? p->entry : peerstore_find(h->store, &id);
    if (!e || e->lan_until <= h->now)
        return;
    e->lan_until = h->now;
    char text[PEER_ID_TEXT_SIZE];
    host_event(h, "peer.left", "%s", peer_id_text(&id, text));
    if (p && p->conns.count)
        exchange_flags_changed(p);
    host_changed(h);
}

static void send_datagram(struct host_action *ret, const struct mdns_event *ev)
{
    ret->type = ev->unicast ? HOST_UNICAST : HOST_MULTICAST;
    ret->to = (struct host_datagram){.iface = ev->iface, .v6 = ev->family == MDNS_V6};
    if (ev->unicast) {
        memcpy(ret->to.ip, ev->to.ip, sizeof ret->to.ip);
        ret->to.port = ev->to.port;
    }
    ret->datagram = ev->datagram;
}

bool lan_pull(struct host *h, struct host_action *ret)
{
    struct mdns_event ev;
    while (h->mdns && mdns_next(h->mdns, &ev)) {
        if (ev.type == MDNS_SEND) {
            send_datagram(ret, &ev);
            return true;
        }
        if (ev.type == MDNS_PEER)
            found(h, &ev);
        if (ev.type == MDNS_GONE)
            gone(h, &ev);
    }
    return false;
}
