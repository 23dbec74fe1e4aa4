/* SPDX-License-Identifier: MIT
 *
 * What is shown of the host: peers, figures, addresses. Nothing here changes anything.
 */
#include "net/host/host_state.h"

static void describe_entry(const struct host *h, const struct peer_entry *e, struct host_peer_info *ret)
{
    *ret = (struct host_peer_info){.id = e->id,
                                   .lan = e->lan_until > h->now,
                                   .saved = peerstore_is_saved(e),
                                   .is_friend = e->is_friend,
                                   .last_seen = e->last_seen,
                                   .agent = e->agent,
                                   .entry = e};
}

static void describe_conns(const struct host_peer *p, struct host_peer_info *ret)
{
    for (const struct link *l = p->conns.first; l; l = l->next) {
        const struct host_conn *c = LINK_OF(l, const struct host_conn, of_peer);
        ret->bytes_in += c->bytes_in;
        ret->bytes_out += c->bytes_out;
        ret->streams += conn_streams(c->conn);
        ret->remote = &c->remote;
        ret->inbound = c->inbound;
        if (conn_rtt(c->conn))
            ret->rtt = conn_rtt(c->conn);
    }
}

static void describe_peer(const struct host *h, const struct host_peer *p, struct host_peer_info *ret)
{
    describe_entry(h, p->entry, ret);
    ret->connected = true;
    ret->last_seen = host_wall(h);
    ret->connections = p->conns.count;
    ret->connected_for = h->now - p->connected_at;
    ret->protocols = (const char *const *)p->protocols;
    ret->protocol_count = p->protocol_count;
    ret->bytes_in = p->bytes_in;
    ret->bytes_out = p->bytes_out;
    describe_conns(p, ret);
    if (p->xp)
        exchange_ledger(h->exchange, p->xp, &ret->ledger);
}

void host_each_peer(struct host *h, unsigned most, mono_ns now, void (*each)(void *arg, const struct host_peer_info *p),
                    void *arg)
{
    struct host_peer_info info;
    unsigned told = 0;
    h->now = now;
    for (const struct link *l = h->peers.first; l && told < most; l = l->next) {
        const struct host_peer *p = LINK_OF(l, const struct host_peer, link);
        if (!p->conns.count)
            continue;
        describe_peer(h, p, &info);
        each(arg, &info);
        told++;
    }
    for (const struct peer_entry *e = peerstore_newest(h->store); e && told < most; e = e->older) {
        const struct host_peer *p = e->pins ? peer_find(h, &e->id) : NULL;
        if (p && p->conns.count)
            continue;
        describe_entry(h, e, &info);
        each(arg, &info);
        told++;
    }
}

void host_stats(const struct host *h, struct host_stats *ret)
{
    struct exchange_stats x;
    exchange_stats(h->exchange, &x);
    *ret = (struct host_stats){.connections = connlimit_total(h->limit) - connlimit_pending(h->limit),
                               .pending = connlimit_pending(h->limit),
                               .peers = x.peers,
                               .wants = x.wants,
                               .bytes_in = h->bytes_in,
                               .bytes_out = h->bytes_out,
                               .blocks = x.total,
                               .changes = h->changes};
}

const struct selfaddrs *host_self(const struct host *h)
{
    return &h->self;
}

unsigned host_observed(const struct host *h, struct multiaddr *ret, unsigned most)
{
    struct multiaddr best[OBSERVED_BEST];
    unsigned count = observed_best(h->observed, best);
    if (count > most)
        count = most;
    for (unsigned i = 0; i < count; i++)
        ret[i] = best[i];
    return count;
}
