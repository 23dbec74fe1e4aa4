/* SPDX-License-Identifier: MIT
 *
 * Hosts connected in memory under a virtual clock: what the engine does with sockets, done with queues. Links deliver after a
 * fixed delay, in order; workers and the committer answer a little later. A node's address is /ip4/10.0.0.<n+1>/tcp/4001.
 * Everything happens in an order that depends on the seed and the calls only.
 */
#ifndef TESTS_UNIT_NET_HOST_HOSTNET_H
#define TESTS_UNIT_NET_HOST_HOSTNET_H

#include "net/host/host.h"
#include "store/codec/dagpb.h"
#include "store/content/hasher.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define NODES_MAX  8
#define PIPES_MAX  512
#define BLOCKS_MAX 8192
#define LINK_DELAY (1 * MONO_MS)
#define WORK_DELAY (200 * MONO_US)
#define PIPE_MAX   ((size_t)256 << 10) /* bytes under way: then the sender waits */

struct hostnet;

struct pipe_end { /* one side of a connection: the owner of a host_conn */
    struct hostnet *net;
    int node, pipe;
    struct host_conn *hc;
    bool open, held, blocked, ended_told;
};

struct packet {
    struct packet *next;
    mono_ns at;
    struct buf bytes; /* empty: the end */
};

struct pipe_conn {
    bool used;
    struct pipe_end end[2];
    struct packet *first[2], **last[2]; /* towards end[i] */
    size_t under_way[2];
};

enum later_kind { LATER_LOADED, LATER_VERIFIED, LATER_STORED, LATER_DIALED, LATER_DATAGRAM };
struct later {
    struct later *next;
    mono_ns at;
    enum later_kind kind;
    int node;
    uint64_t tag, dial, most;
    struct cid cid;
    struct block *block;
    struct exchange_prefix prefix;
    struct multiaddr addr;
    struct host_datagram from;
    struct buf datagram;
};

struct node {
    struct host *host;
    struct budget *budget;
    struct identity identity;
    struct block *blocks[BLOCKS_MAX];
    unsigned block_count;
    int store_result; /* what its committer answers */
    bool down;        /* the machine is off: dials to it time out, nothing arrives */
    unsigned settled, called;
    struct buf events;
};

struct hostnet {
    mono_ns now;
    wall_ns wall;
    struct node nodes[NODES_MAX];
    int node_count;
    struct pipe_conn pipes[PIPES_MAX];
    struct later *later, **later_end;
    bool lan; /* datagrams are delivered */
    unsigned dials;
    void (*raw)(struct hostnet *n, int node, const struct host_action *a); /* HOST_STREAM_*; NULL: not looked at */
};

static inline struct multiaddr net_addr(int node)
{
    char text[64];
    struct multiaddr m;
    (void)snprintf(text, sizeof text, "/ip4/10.0.0.%d/tcp/4001", node + 1);
    int err = multiaddr_from_text(span_str(text), &m, NULL);
    assert(err == 0);
    (void)err;
    return m;
}

static inline struct hostnet *net_new(void)
{
    struct hostnet *n = MEM_NEW(struct hostnet);
    n->now = 1000 * MONO_S;
    n->wall = (wall_ns)(1800000000 * MONO_S);
    n->later_end = &n->later;
    return n;
}

static inline int net_add(struct hostnet *n, uint64_t seed, bool mdns, void (*tune)(struct host_config *c))
{
    int at = n->node_count++;
    struct node *x = &n->nodes[at];
    struct host_config c = {.agent = "p2pfs/test", .mdns = mdns, .wall = n->wall};
    rng_init_seed(&c.rng, seed);
    identity_new(&x->identity, &c.rng);
    x->budget = budget_new(BUDGET_DEFAULT);
    c.identity = &x->identity;
    c.budget = x->budget;
    if (tune)
        tune(&c);
    x->host = host_new(&c, n->now);
    struct multiaddr listen;
    int err = multiaddr_from_text(span_str("/ip4/0.0.0.0/tcp/4001"), &listen, NULL);
    assert(err == 0);
    (void)err;
    struct self_iface ifaces[2] = {
        {.index = 1, .up = true, .loopback = true, .addr_count = 1, .addrs = {{.ip = {127, 0, 0, 1}}}},
        {.index = 2, .up = true, .multicast = true, .addr_count = 1, .addrs = {{.ip = {10, 0, 0, (uint8_t)(at + 1)}}}},
    };
    host_listening(x->host, &listen, 1, n->now);
    host_interfaces(x->host, ifaces, 2, n->now);
    return at;
}

/* ---- its store ---- */

static inline struct block *net_find(struct node *x, const struct cid *cid)
{
    for (unsigned i = 0; i < x->block_count; i++)
        if (cid_same_block(&x->blocks[i]->cid, cid))
            return x->blocks[i];
    return NULL;
}

static inline struct cid net_put(struct hostnet *n, int node, uint64_t codec, struct span data)
{
    struct node *x = &n->nodes[node];
    struct cid cid;
    cid_of(&cid, codec, data);
    if (!net_find(x, &cid)) {
        assert(x->block_count < BLOCKS_MAX);
        x->blocks[x->block_count++] = block_from(NULL, BUDGET_NET, &cid, data);
    }
    return cid;
}

/* A dag-pb root over `leaves` raw blocks of pseudo-random bytes */
static inline struct cid net_put_dag(struct hostnet *n, int node, unsigned leaves, size_t leaf_size, uint64_t seed)
{
    struct rng rng;
    struct buf root = BUF_INIT;
    uint8_t *data = mem_new(leaf_size);
    rng_init_seed(&rng, seed);
    for (unsigned i = 0; i < leaves; i++) {
        rng_fill(&rng, data, leaf_size);
        struct cid leaf = net_put(n, node, CODEC_RAW, span_of(data, leaf_size));
        dagpb_add_link(&root, &leaf, SPAN_NONE, leaf_size);
    }
    struct cid cid = net_put(n, node, CODEC_DAG_PB, buf_span(&root));
    buf_done(&root);
    free(data);
    return cid;
}

/* ---- pipes ---- */

static inline struct later *net_later(struct hostnet *n, mono_ns delay, enum later_kind kind, int node)
{
    struct later *l = MEM_NEW(struct later);
    l->at = n->now + delay;
    l->kind = kind;
    l->node = node;
    *n->later_end = l;
    n->later_end = &l->next;
    return l;
}

static inline void pipe_push(struct hostnet *n, struct pipe_conn *p, int to, struct buf *take)
{
    struct packet *k = MEM_NEW(struct packet);
    k->at = n->now + LINK_DELAY;
    k->bytes = *take;
    *take = BUF_INIT;
    p->under_way[to] += buf_len(&k->bytes);
    *p->last[to] = k;
    p->last[to] = &k->next;
}

static inline void pipe_flush(struct pipe_end *e)
{
    struct hostnet *n = e->net;
    struct pipe_conn *p = &n->pipes[e->pipe];
    int to = e == &p->end[0];
    while (e->open && p->under_way[to] < PIPE_MAX) {
        struct buf out = BUF_INIT;
        size_t got = host_output(n->nodes[e->node].host, e->hc, &out, 65536, n->now);
        if (!got) {
            buf_done(&out);
            e->blocked = false;
            return;
        }
        assert(got == buf_len(&out));
        pipe_push(n, p, to, &out);
    }
    e->blocked = e->open;
}

static inline void pipe_close(struct pipe_end *e)
{
    struct pipe_conn *p = &e->net->pipes[e->pipe];
    int to = e == &p->end[0];
    struct buf none = BUF_INIT;
    e->open = false;
    pipe_push(e->net, p, to, &none);
}

static inline struct pipe_conn *pipe_new(struct hostnet *n, int from, int to)
{
    for (int i = 0; i < PIPES_MAX; i++) {
        struct pipe_conn *p = &n->pipes[i];
        if (p->used)
            continue;
        *p = (struct pipe_conn){.used = true};
        p->last[0] = &p->first[0];
        p->last[1] = &p->first[1];
        p->end[0] = (struct pipe_end){.net = n, .node = from, .pipe = i};
        p->end[1] = (struct pipe_end){.net = n, .node = to, .pipe = i};
        return p;
    }
    assert(!"too many connections");
    return NULL;
}

static inline void pipe_forget(struct pipe_conn *p)
{
    for (int i = 0; i < 2; i++)
        while (p->first[i]) {
            struct packet *k = p->first[i];
            p->first[i] = k->next;
            buf_done(&k->bytes);
            free(k);
        }
    p->used = false;
}

/* Both sides hear that the connection died */
static inline void net_cut(struct hostnet *n, int a, int b)
{
    for (int i = 0; i < PIPES_MAX; i++) {
        struct pipe_conn *p = &n->pipes[i];
        if (!p->used || !((p->end[0].node == a && p->end[1].node == b) || (p->end[0].node == b && p->end[1].node == a)))
            continue;
        for (int k = 0; k < 2; k++)
            if (p->end[k].open && !p->end[k].ended_told) {
                p->end[k].ended_told = true;
                host_input_end(n->nodes[p->end[k].node].host, p->end[k].hc, ERR_RESET, n->now);
            }
    }
}

static inline int node_at(struct hostnet *n, const struct multiaddr *addr)
{
    for (int i = 0; i < n->node_count; i++) {
        struct multiaddr m = net_addr(i);
        if (multiaddr_eq(&m, addr) && !n->nodes[i].down && n->nodes[i].host)
            return i;
    }
    return -1;
}

static inline void do_dialed(struct hostnet *n, struct later *l)
{
    struct node *x = &n->nodes[l->node];
    int to = node_at(n, &l->addr);
    if (to < 0) {
        (void)host_dialed(x->host, l->dial, NULL, ERR_REFUSED, NULL, n->now);
        return;
    }
    struct pipe_conn *p = pipe_new(n, l->node, to);
    struct multiaddr mine = net_addr(l->node);
    p->end[0].hc = host_dialed(x->host, l->dial, &p->end[0], 0, &mine, n->now);
    p->end[0].open = p->end[0].hc != NULL;
    if (p->end[0].open) {
        p->end[1].hc = host_accepted(n->nodes[to].host, &p->end[1], &mine, &l->addr, n->now);
        p->end[1].open = p->end[1].hc != NULL;
    }
    if (p->end[0].open && !p->end[1].open)
        pipe_close(&p->end[1]);
    if (!p->end[0].open)
        p->used = false;
}

/* ---- one node's actions ---- */

static inline void net_carry_out(struct hostnet *n, int node, const struct host_action *a)
{
    struct node *x = &n->nodes[node];
    struct pipe_end *e = a->owner;
    struct later *l;
    switch (a->type) {
    case HOST_DIAL:
        n->dials++;
        l = net_later(n, LINK_DELAY, LATER_DIALED, node);
        l->dial = a->dial;
        l->addr = a->addr;
        break;
    case HOST_SEND:
        pipe_flush(e);
        break;
    case HOST_HOLD:
    case HOST_RESUME:
        e->held = a->type == HOST_HOLD;
        break;
    case HOST_CLOSE:
        pipe_close(e);
        break;
    case HOST_LOAD:
        l = net_later(n, WORK_DELAY, LATER_LOADED, node);
        l->cid = a->cid;
        l->tag = a->tag;
        l->most = a->most;
        break;
    case HOST_VERIFY:
        l = net_later(n, WORK_DELAY, LATER_VERIFIED, node);
        l->block = a->block;
        l->prefix = a->prefix;
        l->tag = a->tag;
        break;
    case HOST_STORE:
        l = net_later(n, 5 * MONO_MS, LATER_STORED, node);
        l->block = a->block;
        break;
    case HOST_SETTLE:
        x->settled++;
        a->want->engine = x; /* marks it as settled */
        break;
    case HOST_CALLED:
        x->called++;
        a->call->owner = NULL; /* marks it as answered */
        break;
    case HOST_EVENT:
        buf_printf(&x->events, "%s %s\n", a->kind, a->text);
        break;
    case HOST_MULTICAST:
    case HOST_UNICAST:
        for (int i = 0; n->lan && i < n->node_count; i++) {
            l = net_later(n, LINK_DELAY, LATER_DATAGRAM, i);
            l->from = (struct host_datagram){.iface = 2, .ip = {10, 0, 0, (uint8_t)(node + 1)}, .port = 5353};
            buf_add_span(&l->datagram, a->datagram);
        }
        break;
    default:
        if (n->raw)
            n->raw(n, node, a);
        break;
    }
}

static inline void net_pump(struct hostnet *n, int node)
{
    struct host_action a;
    while (n->nodes[node].host && host_next(n->nodes[node].host, &a, n->now))
        net_carry_out(n, node, &a);
}

static inline void do_later(struct hostnet *n, struct later *l)
{
    struct node *x = &n->nodes[l->node];
    if (!x->host) {
        if (l->block)
            block_unref(l->block);
        return;
    }
    struct block *b;
    switch (l->kind) {
    case LATER_DIALED:
        do_dialed(n, l);
        break;
    case LATER_LOADED:
        b = net_find(x, &l->cid);
        host_loaded(x->host, l->tag, b ? 0 : ERR_MISSING, b ? b->len : 0,
                    b && b->len <= l->most ? block_from(x->budget, BUDGET_NET, &l->cid, block_span(b)) : NULL, n->now);
        break;
    case LATER_VERIFIED:
        host_verified(x->host, l->tag, l->block, exchange_verify_block(l->block, &l->prefix), n->now);
        break;
    case LATER_STORED:
        if (x->store_result == 0)
            (void)net_put(n, l->node, cid_codec(&l->block->cid), block_span(l->block));
        host_stored(x->host, &l->block->cid, x->store_result, n->now);
        block_unref(l->block);
        break;
    case LATER_DATAGRAM:
        host_datagram(x->host, &l->from, buf_span(&l->datagram), n->now);
        break;
    }
}

/* ---- time ---- */

static inline mono_ns net_next(const struct hostnet *n)
{
    mono_ns at = MONO_NEVER;
    for (int i = 0; i < n->node_count; i++)
        if (n->nodes[i].host)
            at = mono_min(at, host_deadline(n->nodes[i].host));
    for (const struct later *l = n->later; l; l = l->next)
        at = mono_min(at, l->at);
    for (int i = 0; i < PIPES_MAX; i++)
        for (int k = 0; n->pipes[i].used && k < 2; k++) {
            const struct pipe_end *e = &n->pipes[i].end[k];
            if (n->pipes[i].first[k] && !(e->open && e->held))
                at = mono_min(at, n->pipes[i].first[k]->at);
        }
    return at < n->now ? n->now : at;
}

static inline void deliver(struct hostnet *n, struct pipe_conn *p, int to)
{
    struct pipe_end *e = &p->end[to];
    while (p->first[to] && p->first[to]->at <= n->now && !(e->open && e->held)) {
        struct packet *k = p->first[to];
        p->first[to] = k->next;
        if (!p->first[to])
            p->last[to] = &p->first[to];
        p->under_way[to] -= buf_len(&k->bytes);
        bool alive = e->open && !n->nodes[e->node].down;
        if (alive && buf_len(&k->bytes))
            e->held = !host_input(n->nodes[e->node].host, e->hc, buf_span(&k->bytes), n->now);
        else if (alive && !e->ended_told) {
            e->ended_told = true;
            host_input_end(n->nodes[e->node].host, e->hc, 0, n->now);
        }
        buf_done(&k->bytes);
        free(k);
        if (p->end[!to].blocked)
            pipe_flush(&p->end[!to]);
    }
}

static inline void net_step(struct hostnet *n)
{
    for (struct later **at = &n->later; *at;) {
        struct later *l = *at;
        if (l->at > n->now) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        if (!*at)
            n->later_end = at;
        do_later(n, l);
        buf_done(&l->datagram);
        free(l);
        at = &n->later; /* what was done may have added more */
    }
    for (int i = 0; i < PIPES_MAX; i++)
        for (int k = 0; k < 2; k++)
            if (n->pipes[i].used)
                deliver(n, &n->pipes[i], k);
    for (int i = 0; i < n->node_count; i++) {
        if (n->nodes[i].host && host_deadline(n->nodes[i].host) <= n->now)
            host_expire(n->nodes[i].host, n->now);
        net_pump(n, i);
    }
    for (int i = 0; i < PIPES_MAX; i++) {
        struct pipe_conn *p = &n->pipes[i];
        if (p->used && !p->end[0].open && !p->end[1].open && !p->first[0] && !p->first[1])
            p->used = false;
    }
}

static inline void net_run(struct hostnet *n, mono_ns time)
{
    mono_ns end = n->now + time;
    for (int i = 0; i < n->node_count; i++)
        net_pump(n, i);
    for (;;) {
        mono_ns at = net_next(n);
        if (at > end)
            break;
        n->now = at;
        net_step(n);
    }
    n->now = end;
}

static inline void net_kill(struct hostnet *n, int node) /* kill -9: everybody hears the reset */
{
    struct node *x = &n->nodes[node];
    for (int i = 0; i < NODES_MAX; i++)
        net_cut(n, node, i);
    net_run(n, 0);
    x->host = host_free(x->host);
    for (int i = 0; i < PIPES_MAX; i++)
        for (int k = 0; k < 2; k++)
            if (n->pipes[i].used && n->pipes[i].end[k].node == node)
                n->pipes[i].end[k].open = false;
}

static inline void net_free(struct hostnet *n)
{
    for (int i = 0; i < n->node_count; i++)
        n->nodes[i].host = host_free(n->nodes[i].host);
    while (n->later) {
        struct later *l = n->later;
        n->later = l->next;
        if (l->block)
            block_unref(l->block);
        buf_done(&l->datagram);
        free(l);
    }
    for (int i = 0; i < PIPES_MAX; i++)
        if (n->pipes[i].used)
            pipe_forget(&n->pipes[i]);
    for (int i = 0; i < n->node_count; i++) {
        struct node *x = &n->nodes[i];
        while (x->block_count)
            block_unref(x->blocks[--x->block_count]);
        assert(budget_used(x->budget) == 0); /* all memory was given back */
        budget_free(x->budget);
        buf_done(&x->events);
    }
    free(n);
}

/* ---- asking ---- */

static inline void net_want(struct hostnet *n, int node, struct want *w, const struct cid *cid, enum want_kind kind,
                            mono_ns timeout)
{
    *w = (struct want){.kind = kind, .cid = *cid, .deadline = mono_after(n->now, timeout)};
    int err = host_want(n->nodes[node].host, w, n->now);
    assert(err == 0);
    (void)err;
}

static inline int net_call(struct hostnet *n, int node, struct host_call *c, mono_ns most)
{
    c->owner = c;
    host_call(n->nodes[node].host, c, n->now);
    for (mono_ns end = n->now + most; c->owner && n->now < end;)
        net_run(n, 10 * MONO_MS);
    return c->owner ? ERR_AGAIN : c->result;
}

static inline int net_connect(struct hostnet *n, int from, int to)
{
    struct host_call c = {.verb = HOST_CONNECT, .peer = n->nodes[to].identity.id, .addr = net_addr(to)};
    return net_call(n, from, &c, 20 * MONO_S);
}

#endif
