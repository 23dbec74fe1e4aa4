/* SPDX-License-Identifier: MIT
 *
 * Identify and push (PROTOCOLS.md sections 8, 9). We say less to strangers than to this machine: loopback addresses are told
 * over loopback only. What a peer says about itself is believed as far as its connection proves it: the key must be the
 * one it connected with, the signed record must be its own, and addresses must make sense for where it is.
 */
#include "net/addr/envelope.h"
#include "net/host/host_state.h"

#include <stdlib.h>

#define PUSH_DELAY (500 * MONO_MS) /* interfaces change in bursts */
#define ASK_TRIES  5
#define ASK_AGAIN  (5 * MONO_S) /* doubles */

/* ---- what we say ---- */

static bool is_near(const struct host_conn *c)
{
    return selfaddrs_is_our_ip(&c->host->self, &c->remote);
}

/* Addresses for the peer at the other end, best first; how many */
static unsigned told_addrs(struct host *h, bool near, struct multiaddr *ret, unsigned most)
{
    unsigned count = host_observed(h, ret, most);
    for (unsigned i = 0; i < h->self.addr_count && count < most; i++) {
        enum multiaddr_scope scope = h->self.addrs[i].scope;
        if (scope == MA_SCOPE_LINK_LOCAL || (scope == MA_SCOPE_LOOPBACK && !near))
            continue;
        bool twice = false;
        for (unsigned k = 0; k < count; k++)
            twice |= multiaddr_eq(&ret[k], &h->self.addrs[i].addr);
        if (!twice)
            ret[count++] = h->self.addrs[i].addr;
    }
    return count;
}

#define TOLD_MAX       IDENTIFY_ADDRS_MAX
#define TOLD_PROTOCOLS 1400 /* bytes: beside key and agent, in the first 2 KiB. Services beyond can be dialed, unlisted */

static struct span sealed_record(struct host *h, bool near, struct multiaddr *addrs, unsigned count)
{
    struct buf *cache = near ? &h->record_near : &h->record_far;
    if (buf_len(cache) == 0) {
        uint64_t seq = (uint64_t)host_wall(h);
        h->record_seq = seq > h->record_seq ? seq : h->record_seq + 1;
        const struct peer_record r = {.peer = h->config.identity->id, .seq = h->record_seq, .count = count, .addrs = addrs};
        peer_record_seal(h->config.identity, &r, cache);
    }
    return buf_span(cache);
}

static void build(struct host_conn *c, struct buf *out)
{
    struct host *h = c->host;
    struct multiaddr *addrs = mem_array(TOLD_MAX, sizeof *addrs);
    bool near = is_near(c);
    unsigned count = told_addrs(h, near, addrs, TOLD_MAX);
    struct pubkey key;
    struct buf encoded = BUF_INIT;
    identity_pubkey(h->config.identity, &key);
    pubkey_encode(&key, &encoded);
    struct identify own = {.public_key = buf_span(&encoded),
                           .agent = span_str(h->config.agent),
                           .version = span_str(IDENTIFY_VERSION),
                           .observed = multiaddr_span(&c->remote),
                           .signed_record = sealed_record(h, near, addrs, count),
                           .addr_count = count};
    for (unsigned i = 0; i < count; i++)
        own.addrs[i] = multiaddr_span(&addrs[i]);
    size_t told = 0;
    for (unsigned i = 0; i < c->protocols.count && told < TOLD_PROTOCOLS; i++) {
        own.protocols[own.protocol_count++] = span_str(c->protocols.ids[i]);
        told += strlen(c->protocols.ids[i]) + 2;
    }
    (void)identify_build(&own, out); /* so many always fit */
    buf_done(&encoded);
    free(addrs);
}

void identify_answer(struct host_stream *s)
{
    struct buf out = BUF_INIT;
    build(s->conn, &out);
    stream_send(s, buf_span(&out));
    stream_finish(s);
    buf_done(&out);
}

void identify_ask(struct host_conn *c)
{
    static const char *const ids[] = {IDENTIFY_PROTOCOL};
    c->identify_at = 0;
    if (!stream_open(c, STREAM_IDENTIFY_OUT, ids, 1))
        identify_failed(c);
}

/* Nobody is asked for blocks before it has said that it speaks bitswap: a peer that had no memory or no time, once, is asked
 * again */
void identify_failed(struct host_conn *c)
{
    if (c->identify_tries < ASK_TRIES)
        c->identify_at = mono_after(c->host->now, ASK_AGAIN << c->identify_tries++);
}

void identify_ask_again(struct host *h)
{
    for (struct link *l = h->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (c->identify_at && c->identify_at <= h->now && !c->closing && !c->doom)
            identify_ask(c);
    }
}

void identify_push_soon(struct host *h)
{
    timer_set(&h->timers, &h->push, mono_after(h->now, PUSH_DELAY));
}

void identify_changed(struct host *h)
{
    buf_done(&h->record_near);
    buf_done(&h->record_far);
    host_changed(h);
    identify_push_soon(h);
}

void identify_push_all(struct host *h)
{
    static const char *const ids[] = {IDENTIFY_PUSH_PROTOCOL};
    for (struct link *l = h->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (!c->ready || c->closing || !peer_speaks(c->peer, IDENTIFY_PUSH_PROTOCOL))
            continue;
        struct host_stream *s = stream_open(c, STREAM_PUSH_OUT, ids, 1);
        if (s)
            identify_answer(s);
    }
}

/* ---- what they say ---- */

static void learn(struct host_conn *c, struct multiaddr *addr)
{
    struct host *h = c->host;
    struct peer_id named;
    if (multiaddr_peer(addr, &named) && !peer_id_eq(&named, &c->peer->id))
        return;
    multiaddr_strip_peer(addr);
    if (!multiaddr_is_tcp(addr) || selfaddrs_listens(&h->self, addr))
        return;
    if (!dial_sensible(addr, multiaddr_scope(&c->remote), is_near(c)))
        return;
    (void)peerstore_learn(h->store, c->peer->entry, addr, ADDR_FROM_PEER, h->now); /* known already: its time is longer now */
}

static bool learn_record(struct host_conn *c, struct span envelope)
{
    struct peer_record r;
    if (envelope.len == 0 || peer_record_open(envelope, &r) < 0)
        return false;
    bool own = peer_id_eq(&r.peer, &c->peer->id);
    for (unsigned i = 0; own && i < r.count; i++)
        learn(c, &r.addrs[i]);
    peer_record_done(&r);
    return own;
}

static void learn_addrs(struct host_conn *c, const struct identify *id)
{
    if (learn_record(c, id->signed_record))
        return; /* js, go and rust put the same into both */
    for (unsigned i = 0; i < id->addr_count; i++) {
        struct multiaddr addr;
        if (multiaddr_parse(id->addrs[i], &addr) == 0)
            learn(c, &addr);
    }
}

void identify_unobserve(struct host_conn *c)
{
    if (c->observed.len)
        observed_remove(c->host->observed, &c->observed, c->group);
    c->observed.len = 0;
}

/* An outgoing connection from any other port tells nothing: its mapping is its own */
static void note_observed(struct host_conn *c, struct span observed)
{
    struct host *h = c->host;
    struct multiaddr addr, best[2][OBSERVED_BEST];
    if (observed.len == 0 || multiaddr_parse(observed, &addr) < 0 || !selfaddrs_is_listen_port(&h->self, &c->local))
        return;
    multiaddr_strip_peer(&addr);
    if (!multiaddr_is_tcp(&addr))
        return;
    unsigned before = observed_best(h->observed, best[0]);
    identify_unobserve(c);
    if (observed_add(h->observed, &addr, c->group))
        c->observed = addr;
    unsigned after = observed_best(h->observed, best[1]);
    bool same = before == after;
    for (unsigned i = 0; same && i < after; i++)
        same = multiaddr_eq(&best[0][i], &best[1][i]);
    if (!same)
        identify_changed(h);
}

static bool key_is_theirs(const struct host_conn *c, struct span encoded)
{
    struct pubkey key;
    struct peer_id id;
    if (encoded.len == 0)
        return true; /* js leaves it out of a push */
    if (pubkey_parse(encoded, &key) < 0)
        return false;
    pubkey_id(&key, &id);
    return peer_id_eq(&id, &c->peer->id);
}

void identify_came(struct host_stream *s, bool push)
{
    struct host_conn *c = s->conn;
    struct identify *id = MEM_NEW(struct identify);
    if (identify_finish(&s->u.reader, id) < 0)
        goto out; /* we do without */
    if (!key_is_theirs(c, id->public_key)) {
        hconn_doom(c, ERR_VERIFY);
        goto out;
    }
    if (id->agent.len)
        peerstore_set_agent(c->peer->entry, id->agent);
    if (!push || id->protocol_count)
        peer_set_protocols(c->peer, id);
    learn_addrs(c, id);
    note_observed(c, id->observed);
    c->peer->entry->proven = true;
    host_changed(c->host);
    host_queue(c->host, HOST_SAVE);
out:
    free(id);
}
