/* SPDX-License-Identifier: MIT */
#include "tests/sim/hostsim_state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define WALL_START (UINT64_C(1800000000) * MONO_S)

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void heap_add(struct hostsim *s, struct event *e)
{
    if (s->heap_count + 2 > s->heap_cap) {
        s->heap_cap = s->heap_cap ? s->heap_cap * 2 : 1024;
        s->heap = mem_grow(s->heap, s->heap_cap, sizeof *s->heap);
    }
    size_t i = ++s->heap_count;
    for (; i > 1 && before(e, s->heap[i / 2]); i /= 2)
        s->heap[i] = s->heap[i / 2];
    s->heap[i] = e;
}

static struct event *heap_take(struct hostsim *s)
{
    struct event *first = s->heap[1], *last = s->heap[s->heap_count--];
    size_t i = 1;
    for (;;) {
        size_t child = 2 * i;
        if (child > s->heap_count)
            break;
        if (child < s->heap_count && before(s->heap[child + 1], s->heap[child]))
            child++;
        if (!before(s->heap[child], last))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return first;
}

struct event *hostsim_post(struct hostsim *s, mono_ns at, enum event_type type, int node)
{
    struct event *e = MEM_NEW(struct event);
    *e = (struct event){.at = at > s->now ? at : s->now, .order = s->order++, .type = type, .node = node, .bytes = BUF_INIT};
    e->life = s->nodes[node]->life;
    heap_add(s, e);
    return e;
}

static void mix(struct hostsim *s, uint64_t v)
{
    s->digest = (s->digest ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    s->digest ^= s->digest >> 29;
}

void hostsim_drive(struct hostsim *s, int node)
{
    struct node *d = s->nodes[node];
    struct host_action a;
    if (!d->host)
        return;
    uint64_t used = budget_used(d->budget);
    if (used < d->last_used)
        host_budget_freed(d->host, s->now);
    while (host_next(d->host, &a, s->now))
        hostsim_carry_out(s, node, &a);
    d->last_used = budget_used(d->budget);
    mono_ns at = host_deadline(d->host);
    if (at < d->timer_at) {
        d->timer_at = at > s->now ? at : s->now;
        (void)hostsim_post(s, d->timer_at, EV_TIMER, node);
    }
}

/* ---- time ---- */

void hostsim_event_free(struct hostsim *s, struct event *e)
{
    if (e->end) {
        e->end->pair->refs--;
        pair_release(s, e->end->pair);
    }
    buf_done(&e->bytes);
    (void)block_unref(e->block);
    free(e);
}

/* False: the node stands still, and the event was put off. */
static bool handle(struct hostsim *s, struct event *e)
{
    struct node *d = s->nodes[e->node];
    if (d->still_until > s->now) {
        e->at = d->still_until; /* its order stays */
        heap_add(s, e);
        return false;
    }
    mix(s, s->now ^ (uint64_t)e->type << 56 ^ (uint64_t)(unsigned)e->node << 40);
    mix(s, e->size);
    if (d->host && e->life == d->life)
        hostsim_handle_alive(s, e);
    else if (e->type == EV_BYTES)
        e->end->other->in_flight -= e->size;
    return true;
}

static void run_until(struct hostsim *s, mono_ns until, const bool *stop)
{
    for (int i = 0; i < s->count; i++)
        hostsim_drive(s, i);
    while (!*stop && s->heap_count && s->heap[1]->at <= until) {
        struct event *e = heap_take(s);
        s->now = e->at;
        if (handle(s, e))
            hostsim_event_free(s, e);
    }
    if (!*stop)
        s->now = until;
}

void hostsim_run(struct hostsim *s, mono_ns time)
{
    run_until(s, s->now + time, &(bool){false});
}

void hostsim_wait(struct hostsim *s, const struct hostsim_want *w, mono_ns most)
{
    run_until(s, s->now + most, &w->settled);
}

/* ---- nodes ---- */

struct multiaddr hostsim_address(int node)
{
    char text[64];
    struct multiaddr m;
    (void)snprintf(text, sizeof text, "/ip4/10.%d.%d.1/tcp/4001", node / 250, node % 250 + 1);
    int err = multiaddr_from_text(span_str(text), &m, NULL);
    assert(err == 0);
    (void)err;
    return m;
}

struct hostsim *hostsim_new(uint64_t seed)
{
    struct hostsim *s = MEM_NEW(struct hostsim);
    s->now = 1000 * MONO_S;
    s->seed = s->digest = seed;
    rng_init_seed(&s->rng, seed);
    TAILQ_INIT(&s->pairs);
    STAILQ_INIT(&s->wants);
    STAILQ_INIT(&s->calls);
    return s;
}

void hostsim_watch(struct hostsim *s, hostsim_watcher *each, void *arg)
{
    s->watch = each;
    s->watch_arg = arg;
}

void hostsim_lan(struct hostsim *s)
{
    s->lan = true;
}

mono_ns hostsim_now(const struct hostsim *s)
{
    return s->now;
}

struct rng *hostsim_rng(struct hostsim *s)
{
    return &s->rng;
}

uint64_t hostsim_digest(const struct hostsim *s)
{
    return s->digest;
}

static wall_ns wall_of(const struct hostsim *s, int node)
{
    return (wall_ns)(WALL_START + s->now) + s->nodes[node]->wall_off;
}

void hostsim_start(struct hostsim *s, int node)
{
    struct node *d = s->nodes[node];
    struct host_config c = {.identity = &d->identity, .budget = d->budget, .agent = "p2pfs/sim", .mdns = d->mdns};
    c.wall = wall_of(s, node);
    assert(!d->host);
    rng_init_seed(&c.rng, rng_u64(&s->rng));
    if (d->tune)
        d->tune(&c);
    d->host = host_new(&c, s->now);
    d->timer_at = MONO_NEVER;
    d->line_event = false;
    struct multiaddr listen;
    struct self_iface iface = {.index = 2, .up = true, .multicast = true, .addr_count = 1};
    iface.addrs[0] = (struct self_ip){.ip = {HOSTSIM_IP(node)}};
    int err = multiaddr_from_text(span_str("/ip4/0.0.0.0/tcp/4001"), &listen, NULL);
    assert(err == 0);
    (void)err;
    host_listening(d->host, &listen, 1, s->now);
    host_interfaces(d->host, &iface, 1, s->now);
    if (buf_len(&d->saved_peers))
        (void)host_load_peers(d->host, buf_span(&d->saved_peers), s->now);
    hostsim_drive(s, node);
}

int hostsim_add(struct hostsim *s, const struct hostsim_node *like)
{
    assert(s->count < HOSTSIM_NODES_MAX);
    struct node *d = MEM_NEW(struct node);
    uint8_t key[CIDMAP_KEY_SIZE] = {0};
    d->line = like->line;
    d->mdns = like->mdns;
    d->tune = like->tune;
    d->budget_limit = like->budget ? like->budget : BUDGET_DEFAULT;
    d->budget = budget_new(d->budget_limit);
    identity_new(&d->identity, &s->rng);
    cidmap_init(&d->store, key);
    TAILQ_INIT(&d->turns);
    s->nodes[s->count] = d;
    hostsim_start(s, s->count);
    return s->count++;
}

int hostsim_count(const struct hostsim *s)
{
    return s->count;
}

const struct peer_id *hostsim_id(const struct hostsim *s, int node)
{
    return &s->nodes[node]->identity.id;
}

unsigned hostsim_dials(const struct hostsim *s, int node)
{
    return s->nodes[node]->dials;
}

struct host *hostsim_host(struct hostsim *s, int node)
{
    return s->nodes[node]->host;
}

uint64_t hostsim_peak(const struct hostsim *s, int node)
{
    return budget_peak(s->nodes[node]->budget);
}

uint64_t hostsim_limit(const struct hostsim *s, int node)
{
    return s->nodes[node]->budget_limit;
}

static void wants_lost(struct hostsim *s, int node)
{
    struct owned_want *o;
    STAILQ_FOREACH(o, &s->wants, link)
    if (o->w.node == node && !o->w.settled)
        o->w.settled = o->w.lost = true;
}

void hostsim_kill(struct hostsim *s, int node)
{
    struct node *d = s->nodes[node];
    buf_clear(&d->saved_peers);
    host_save_peers(d->host, &d->saved_peers, s->now);
    wants_lost(s, node);
    d->host = host_free(d->host);
    d->life++;
    line_killed(s, node);
}

void hostsim_suspend(struct hostsim *s, int node, mono_ns time)
{
    s->nodes[node]->still_until = s->now + time;
}

void hostsim_jump_wall(struct hostsim *s, int node, int64_t by)
{
    struct node *d = s->nodes[node];
    d->wall_off += by;
    if (d->host)
        host_set_wall(d->host, wall_of(s, node), s->now);
    hostsim_drive(s, node);
}

/* ---- calls ---- */

void hostsim_call(struct hostsim *s, int node, struct host_call *c)
{
    c->owner = c;
    host_call(s->nodes[node]->host, c, s->now);
    hostsim_drive(s, node);
}

int hostsim_ask(struct hostsim *s, int node, struct host_call *c, mono_ns most)
{
    hostsim_call(s, node, c);
    for (mono_ns end = s->now + most; c->owner && s->now < end;)
        hostsim_run(s, 10 * MONO_MS);
    return c->owner ? ERR_AGAIN : c->result;
}

static void call(struct hostsim *s, int node, const struct host_call *what)
{
    struct owned_call *o = MEM_NEW(struct owned_call);
    o->call = *what;
    STAILQ_INSERT_TAIL(&s->calls, o, link);
    hostsim_call(s, node, &o->call);
}

static struct host_call connecting(const struct hostsim *s, int to)
{
    return (struct host_call){.verb = HOST_CONNECT, .peer = s->nodes[to]->identity.id, .addr = hostsim_address(to)};
}

void hostsim_connect(struct hostsim *s, int from, int to)
{
    struct host_call c = connecting(s, to);
    call(s, from, &c);
}

int hostsim_connect_now(struct hostsim *s, int from, int to)
{
    struct host_call c = connecting(s, to);
    return hostsim_ask(s, from, &c, 20 * MONO_S);
}

void hostsim_protect(struct hostsim *s, int node, int peer)
{
    call(s, node, &(struct host_call){.verb = HOST_PROTECT, .peer = s->nodes[peer]->identity.id, .on = true});
}

/* ---- the end ---- */

static void node_free(struct hostsim *s, int node)
{
    struct node *d = s->nodes[node];
    d->host = host_free(d->host);
    hostsim_store_free(d);
    buf_done(&d->saved_peers);
}

struct hostsim *hostsim_free(struct hostsim *s)
{
    for (int i = 0; i < s->count; i++)
        node_free(s, i);
    struct owned_want *o;
    while ((o = STAILQ_FIRST(&s->wants))) {
        STAILQ_REMOVE_HEAD(&s->wants, link);
        (void)block_unref(o->w.want.block);
        free(o);
    }
    struct owned_call *c;
    while ((c = STAILQ_FIRST(&s->calls))) {
        STAILQ_REMOVE_HEAD(&s->calls, link);
        free(c);
    }
    while (s->heap_count) {
        struct event *e = heap_take(s);
        buf_done(&e->bytes);
        (void)block_unref(e->block);
        free(e);
    }
    while (TAILQ_FIRST(&s->pairs))
        pair_free(s, TAILQ_FIRST(&s->pairs));
    for (int i = 0; i < s->count; i++) {
        uint64_t left = budget_used(s->nodes[i]->budget);
        if (left) {
            fprintf(stderr, "seed %llu: node %d kept %llu bytes of its budget\n", (unsigned long long)s->seed, i,
                    (unsigned long long)left);
            abort();
        }
        budget_free(s->nodes[i]->budget);
        free(s->nodes[i]);
    }
    free(s->heap);
    free(s);
    return NULL;
}
