/* SPDX-License-Identifier: MIT */
#include "tests/sim/hostsim.h"

#include "net/exchange/cidmap.h"
#include "store/codec/dagpb.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#define WINDOW      ((size_t)1 << 20) /* bytes of a connection that were sent and not taken, each way */
#define BACKLOG     (5 * MONO_MS)     /* a line that is busy for longer takes nothing more */
#define CHUNK       32768
#define WORKER_TIME (200 * MONO_US)
#define COMMIT_TIME (5 * MONO_MS)
#define WALL_START  (UINT64_C(1800000000) * MONO_S)

enum event_type { EV_TIMER, EV_BYTES, EV_END, EV_LINE, EV_DIALED, EV_LOADED, EV_VERIFIED, EV_STORED };

struct event {
    mono_ns at;
    uint64_t order;
    enum event_type type;
    int node;
    uint32_t life; /* of the node: what was for an earlier life is dropped */
    struct end *end;
    struct buf bytes;
    uint64_t tag, size, dial;
    int result;
    struct block *block;
    struct exchange_prefix prefix;
    struct multiaddr addr;
};

/* One side of a connection: the owner of a host_conn. Both sides and the events on their way hold the pair. */
struct end {
    struct end *other;
    struct pair *pair;
    int node;
    struct host_conn *hc;
    bool open; /* not closed by its host */
    bool hold; /* its host does not read */
    bool cut, told_end;
    bool in_turn;     /* waits in its node's queue for the line */
    size_t in_flight; /* bytes towards the other end that it has not taken */
    STAILQ_HEAD(, arrival) arrived;
    TAILQ_ENTRY(end) turn;
};

struct arrival { /* came, and its host does not read or the cable is pulled */
    STAILQ_ENTRY(arrival) link;
    struct buf bytes;
    bool is_end;
};

struct pair {
    TAILQ_ENTRY(pair) link;
    struct end ends[2];
    unsigned refs; /* events that name an end */
};

struct owned_want {
    STAILQ_ENTRY(owned_want) link;
    struct hostsim_want w;
};

struct owned_call {
    STAILQ_ENTRY(owned_call) link;
    struct host_call call;
    bool answered;
};

struct stored {
    struct block *block;
    struct cidnode node;
};

struct node {
    struct host *host; /* NULL: killed */
    struct budget *budget;
    uint64_t budget_limit, last_used;
    struct identity identity;
    struct cidmap store;
    struct hostsim_line line;
    mono_ns up_free, down_free; /* when the line has carried what it was given */
    bool line_event;
    TAILQ_HEAD(, end) turns; /* ends that have something to send */
    int group;
    uint32_t life;
    mono_ns timer_at, still_until;
    int64_t wall_off;
    struct buf saved_peers;
};

struct hostsim {
    mono_ns now;
    struct rng rng;
    uint64_t seed, order, digest;
    struct node *nodes[HOSTSIM_NODES_MAX];
    int count;
    struct event **heap; /* from 1 */
    size_t heap_count, heap_cap;
    TAILQ_HEAD(, pair) pairs;
    STAILQ_HEAD(, owned_want) wants;
    STAILQ_HEAD(, owned_call) calls;
};

static void drive(struct hostsim *s, int node);

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

static struct event *post(struct hostsim *s, mono_ns at, enum event_type type, int node)
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

/* ---- pairs ---- */

static void end_drop_arrived(struct end *e)
{
    struct arrival *a;
    while ((a = STAILQ_FIRST(&e->arrived))) {
        STAILQ_REMOVE_HEAD(&e->arrived, link);
        buf_done(&a->bytes);
        free(a);
    }
}

static void turn_leave(struct hostsim *s, struct end *e)
{
    if (e->in_turn)
        TAILQ_REMOVE(&s->nodes[e->node]->turns, e, turn);
    e->in_turn = false;
}

static void pair_free(struct hostsim *s, struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        turn_leave(s, &p->ends[i]);
        end_drop_arrived(&p->ends[i]);
    }
    TAILQ_REMOVE(&s->pairs, p, link);
    free(p);
}

static void pair_release(struct hostsim *s, struct pair *p)
{
    if (!p->refs && !p->ends[0].open && !p->ends[1].open)
        pair_free(s, p);
}

static struct event *post_end(struct hostsim *s, mono_ns at, enum event_type type, struct end *to)
{
    struct event *e = post(s, at, type, to->node);
    e->end = to;
    to->pair->refs++;
    return e;
}

static mono_ns path_delay(const struct hostsim *s, int a, int b)
{
    return s->nodes[a]->line.delay + s->nodes[b]->line.delay;
}

static bool reachable(const struct hostsim *s, int a, int b)
{
    return s->nodes[a]->group == s->nodes[b]->group;
}

/* ---- bytes ---- */

/* The times at which `len` bytes that are given to the line now have passed both ends of it. */
static mono_ns carry(struct hostsim *s, struct end *e, size_t len)
{
    struct node *from = s->nodes[e->node], *to = s->nodes[e->other->node];
    mono_ns at = from->up_free > s->now ? from->up_free : s->now;
    if (from->line.up)
        at += len * MONO_S / from->line.up;
    from->up_free = at;
    at += path_delay(s, e->node, e->other->node);
    if (to->line.down) {
        mono_ns start = to->down_free > at ? to->down_free : at;
        at = to->down_free = start + len * MONO_S / to->line.down;
    }
    return at;
}

static void line_later(struct hostsim *s, int node, mono_ns at)
{
    struct node *d = s->nodes[node];
    if (!d->line_event)
        (void)post(s, at, EV_LINE, node);
    d->line_event = true;
}

/* Sends one chunk of the end; false: it has nothing or may not now, and has left the turn. */
static bool send_chunk(struct hostsim *s, struct end *e)
{
    struct buf out = BUF_INIT;
    if (!e->open || e->in_flight >= WINDOW || !host_output(s->nodes[e->node]->host, e->hc, &out, CHUNK, s->now)) {
        buf_done(&out);
        return false;
    }
    size_t len = buf_len(&out);
    e->in_flight += len;
    struct event *v = post_end(s, carry(s, e, len), EV_BYTES, e->other);
    v->bytes = out;
    v->size = len;
    return true;
}

/* Lets the node's line carry what its connections have, a chunk of each in turn, until it is busy. */
static void line_run(struct hostsim *s, int node)
{
    struct node *d = s->nodes[node];
    struct end *e;
    while ((e = TAILQ_FIRST(&d->turns))) {
        if (d->up_free > s->now + BACKLOG) {
            line_later(s, node, d->up_free - BACKLOG);
            return;
        }
        turn_leave(s, e);
        if (!send_chunk(s, e))
            continue;
        TAILQ_INSERT_TAIL(&d->turns, e, turn);
        e->in_turn = true;
    }
}

static void end_wants_line(struct hostsim *s, struct end *e)
{
    if (!e->open || e->in_turn)
        return;
    e->in_turn = true;
    TAILQ_INSERT_TAIL(&s->nodes[e->node]->turns, e, turn);
    line_later(s, e->node, s->now);
}

/* Hands what arrived to the host as long as it reads. */
static void end_deliver(struct hostsim *s, struct end *e)
{
    struct arrival *a;
    while (!e->hold && reachable(s, e->node, e->other->node) && (a = STAILQ_FIRST(&e->arrived))) {
        STAILQ_REMOVE_HEAD(&e->arrived, link);
        struct host *h = s->nodes[e->node]->host;
        size_t len = buf_len(&a->bytes);
        if (e->open && !e->cut && !a->is_end)
            e->hold = !host_input(h, e->hc, buf_span(&a->bytes), s->now);
        else if (e->open && a->is_end && !e->told_end) {
            e->told_end = true;
            host_input_end(h, e->hc, 0, s->now);
        }
        buf_done(&a->bytes);
        free(a);
        e->other->in_flight -= len;
        if (len)
            end_wants_line(s, e->other);
    }
}

static void came(struct hostsim *s, struct event *v)
{
    struct end *e = v->end;
    struct arrival *a = MEM_NEW(struct arrival);
    a->bytes = v->bytes;
    v->bytes = BUF_INIT;
    a->is_end = v->type == EV_END;
    STAILQ_INSERT_TAIL(&e->arrived, a, link);
    end_deliver(s, e);
}

static void end_close(struct hostsim *s, struct end *e)
{
    e->open = false;
    turn_leave(s, e);
    (void)post_end(s, carry(s, e, 0), EV_END, e->other);
}

static void end_reset(struct hostsim *s, struct end *e)
{
    if (!e->open || e->cut)
        return;
    e->cut = e->told_end = true;
    host_input_end(s->nodes[e->node]->host, e->hc, ERR_RESET, s->now);
    drive(s, e->node);
}

/* ---- dialing ---- */

static struct multiaddr address_of(int node)
{
    char text[64];
    struct multiaddr m;
    (void)snprintf(text, sizeof text, "/ip4/10.%d.%d.1/tcp/4001", node / 250, node % 250 + 1);
    int err = multiaddr_from_text(span_str(text), &m, NULL);
    assert(err == 0);
    (void)err;
    return m;
}

static int node_at(const struct hostsim *s, const struct multiaddr *addr)
{
    for (int i = 0; i < s->count; i++) {
        struct multiaddr m = address_of(i);
        if (multiaddr_eq(&m, addr))
            return i;
    }
    return -1;
}

static void end_init(struct pair *p, int i, int node)
{
    struct end *e = &p->ends[i];
    e->pair = p;
    e->other = &p->ends[!i];
    e->node = node;
    STAILQ_INIT(&e->arrived);
}

static void dialed(struct hostsim *s, const struct event *v)
{
    struct host *from = s->nodes[v->node]->host;
    int to = node_at(s, &v->addr);
    if (to < 0 || !s->nodes[to]->host) {
        (void)host_dialed(from, v->dial, NULL, ERR_REFUSED, NULL, s->now);
        return;
    }
    if (!reachable(s, v->node, to))
        return; /* nothing answers; the host gives up by itself */
    struct pair *p = MEM_NEW(struct pair);
    end_init(p, 0, v->node);
    end_init(p, 1, to);
    TAILQ_INSERT_TAIL(&s->pairs, p, link);
    struct multiaddr mine = address_of(v->node);
    p->ends[0].hc = host_dialed(from, v->dial, &p->ends[0], 0, &mine, s->now);
    p->ends[0].open = p->ends[0].hc != NULL;
    if (!p->ends[0].open) {
        pair_free(s, p);
        return;
    }
    p->ends[1].hc = host_accepted(s->nodes[to]->host, &p->ends[1], &mine, &v->addr, s->now);
    p->ends[1].open = p->ends[1].hc != NULL;
    if (!p->ends[1].open)
        end_close(s, &p->ends[1]);
    drive(s, to);
}

/* ---- what the engine does ---- */

static struct block *store_get(const struct node *d, const struct cid *cid)
{
    struct cidnode *found = cidmap_first(&d->store, cid);
    return found ? ((struct stored *)(void *)((char *)found - offsetof(struct stored, node)))->block : NULL;
}

static void store_put(struct node *d, const struct cid *cid, struct span data)
{
    if (store_get(d, cid))
        return;
    struct stored *h = CIDNODE_NEW(&d->store, struct stored, cid);
    h->block = block_from(NULL, BUDGET_NET, cid, data);
    cidmap_add(&d->store, &h->node);
}

static void load(struct hostsim *s, int node, const struct host_action *a)
{
    struct node *d = s->nodes[node];
    struct event *e = post(s, s->now + WORKER_TIME, EV_LOADED, node);
    struct block *b = store_get(d, &a->cid);
    e->tag = a->tag;
    e->result = b ? 0 : ERR_MISSING;
    e->size = b ? b->len : 0;
    if (!b || b->len > a->most)
        return;
    e->block = block_from(d->budget, BUDGET_NET, &a->cid, block_span(b));
    if (!e->block)
        e->result = ERR_NO_MEMORY;
}

static void settle(struct hostsim *s, struct want *want)
{
    struct hostsim_want *w = (struct hostsim_want *)(void *)want;
    w->settled = true;
    w->settled_at = s->now;
}

static void carry_out(struct hostsim *s, int node, const struct host_action *a)
{
    struct node *d = s->nodes[node];
    struct end *end = a->owner;
    struct event *e;
    switch (a->type) {
    case HOST_DIAL:
        e = post(s, s->now + 2 * d->line.delay, EV_DIALED, node);
        e->dial = a->dial;
        e->addr = a->addr;
        break;
    case HOST_SEND:
        end_wants_line(s, end);
        break;
    case HOST_HOLD:
        end->hold = true;
        break;
    case HOST_RESUME:
        end->hold = false;
        end_deliver(s, end);
        break;
    case HOST_CLOSE:
        end_close(s, end);
        break;
    case HOST_LOAD:
        load(s, node, a);
        break;
    case HOST_VERIFY:
        e = post(s, s->now + WORKER_TIME, EV_VERIFIED, node);
        e->block = a->block;
        e->prefix = a->prefix;
        e->tag = a->tag;
        break;
    case HOST_STORE:
        e = post(s, s->now + COMMIT_TIME, EV_STORED, node);
        e->block = a->block;
        break;
    case HOST_SETTLE:
        settle(s, a->want);
        break;
    case HOST_CALLED:
        ((struct owned_call *)a->call->owner)->answered = true;
        break;
    default:
        break; /* no names, no multicast; events and the peerstore interest nobody here */
    }
}

static void drive(struct hostsim *s, int node)
{
    struct node *d = s->nodes[node];
    struct host_action a;
    if (!d->host)
        return;
    uint64_t used = budget_used(d->budget);
    if (used < d->last_used)
        host_budget_freed(d->host, s->now);
    while (host_next(d->host, &a, s->now))
        carry_out(s, node, &a);
    d->last_used = budget_used(d->budget);
    mono_ns at = host_deadline(d->host);
    if (at < d->timer_at) {
        d->timer_at = at > s->now ? at : s->now;
        (void)post(s, d->timer_at, EV_TIMER, node);
    }
}

/* ---- time ---- */

static void stored(struct hostsim *s, struct node *d, const struct event *e)
{
    store_put(d, &e->block->cid, block_span(e->block));
    host_stored(d->host, &e->block->cid, 0, s->now);
}

static void handle_alive(struct hostsim *s, struct event *e)
{
    struct node *d = s->nodes[e->node];
    struct block *b = e->block;
    switch (e->type) {
    case EV_TIMER:
        d->timer_at = MONO_NEVER;
        host_expire(d->host, s->now);
        break;
    case EV_BYTES:
    case EV_END:
        came(s, e);
        break;
    case EV_LINE:
        d->line_event = false;
        line_run(s, e->node);
        break;
    case EV_DIALED:
        dialed(s, e);
        break;
    case EV_LOADED:
        e->block = NULL;
        host_loaded(d->host, e->tag, e->result, e->size, b, s->now);
        break;
    case EV_VERIFIED:
        e->block = NULL;
        host_verified(d->host, e->tag, b, exchange_verify_block(b, &e->prefix), s->now);
        break;
    case EV_STORED:
        stored(s, d, e);
        break;
    }
    drive(s, e->node);
}

static void event_free(struct hostsim *s, struct event *e)
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
        handle_alive(s, e);
    else if (e->type == EV_BYTES)
        e->end->other->in_flight -= e->size;
    return true;
}

void hostsim_run(struct hostsim *s, mono_ns time)
{
    mono_ns until = s->now + time;
    for (int i = 0; i < s->count; i++)
        drive(s, i);
    while (s->heap_count && s->heap[1]->at <= until) {
        struct event *e = heap_take(s);
        s->now = e->at;
        if (handle(s, e))
            event_free(s, e);
    }
    s->now = until;
}

/* ---- nodes ---- */

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
    struct host_config c = {.identity = &d->identity, .budget = d->budget, .agent = "p2pfs/sim", .wall = wall_of(s, node)};
    assert(!d->host);
    rng_init_seed(&c.rng, rng_u64(&s->rng));
    d->host = host_new(&c, s->now);
    d->timer_at = MONO_NEVER;
    d->line_event = false;
    struct multiaddr listen;
    struct self_iface iface = {.index = 2, .up = true, .multicast = true, .addr_count = 1};
    iface.addrs[0] = (struct self_ip){.ip = {10, (uint8_t)(node / 250), (uint8_t)(node % 250 + 1), 1}};
    int err = multiaddr_from_text(span_str("/ip4/0.0.0.0/tcp/4001"), &listen, NULL);
    assert(err == 0);
    (void)err;
    host_listening(d->host, &listen, 1, s->now);
    host_interfaces(d->host, &iface, 1, s->now);
    if (buf_len(&d->saved_peers))
        (void)host_load_peers(d->host, buf_span(&d->saved_peers), s->now);
    drive(s, node);
}

int hostsim_node(struct hostsim *s, const struct hostsim_line *line, uint64_t budget)
{
    assert(s->count < HOSTSIM_NODES_MAX);
    struct node *d = MEM_NEW(struct node);
    uint8_t key[CIDMAP_KEY_SIZE] = {0};
    d->line = *line;
    d->budget_limit = budget ? budget : BUDGET_DEFAULT;
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
    struct pair *p, *next;
    buf_clear(&d->saved_peers);
    host_save_peers(d->host, &d->saved_peers, s->now);
    wants_lost(s, node);
    d->host = host_free(d->host);
    d->life++;
    for (p = TAILQ_FIRST(&s->pairs); p; p = next) {
        next = TAILQ_NEXT(p, link);
        for (int i = 0; i < 2; i++) {
            struct end *e = &p->ends[i];
            if (e->node != node)
                continue;
            e->open = false;
            turn_leave(s, e);
            end_drop_arrived(e);
            end_reset(s, e->other);
        }
        pair_release(s, p);
    }
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
    drive(s, node);
}

static void call(struct hostsim *s, int node, const struct host_call *what)
{
    struct owned_call *o = MEM_NEW(struct owned_call);
    o->call = *what;
    o->call.owner = o;
    STAILQ_INSERT_TAIL(&s->calls, o, link);
    host_call(s->nodes[node]->host, &o->call, s->now);
    drive(s, node);
}

void hostsim_connect(struct hostsim *s, int from, int to)
{
    call(s, from, &(struct host_call){.verb = HOST_CONNECT, .peer = s->nodes[to]->identity.id, .addr = address_of(to)});
}

void hostsim_protect(struct hostsim *s, int node, int peer)
{
    call(s, node, &(struct host_call){.verb = HOST_PROTECT, .peer = s->nodes[peer]->identity.id, .on = true});
}

static bool pair_open(const struct pair *p)
{
    return p->ends[0].open && p->ends[1].open && !p->ends[0].cut;
}

unsigned hostsim_links(const struct hostsim *s)
{
    unsigned n = 0;
    const struct pair *p;
    TAILQ_FOREACH(p, &s->pairs, link)
    n += pair_open(p);
    return n;
}

void hostsim_cut(struct hostsim *s, unsigned nth)
{
    struct pair *p;
    TAILQ_FOREACH(p, &s->pairs, link)
    if (pair_open(p) && nth-- == 0)
        break;
    assert(p);
    p->refs++; /* both ends are told, whatever the first one does */
    end_reset(s, &p->ends[0]);
    end_reset(s, &p->ends[1]);
    p->refs--;
    pair_release(s, p);
}

void hostsim_partition(struct hostsim *s, int node, int group)
{
    struct pair *p, *next;
    s->nodes[node]->group = group;
    for (p = TAILQ_FIRST(&s->pairs); p; p = next) {
        next = TAILQ_NEXT(p, link);
        if (p->ends[0].node != node && p->ends[1].node != node)
            continue;
        p->refs++;
        for (int i = 0; i < 2; i++) {
            end_deliver(s, &p->ends[i]);
            drive(s, p->ends[i].node);
        }
        p->refs--;
        pair_release(s, p);
    }
}

/* ---- blocks ---- */

struct cid hostsim_put(struct hostsim *s, int node, uint64_t codec, struct span data)
{
    struct node *d = s->nodes[node];
    struct cid cid;
    cid_of(&cid, codec, data);
    store_put(d, &cid, data);
    if (d->host)
        host_have(d->host, &cid, s->now);
    drive(s, node);
    return cid;
}

struct cid hostsim_put_file(struct hostsim *s, int node, unsigned leaves, size_t leaf_size)
{
    struct buf root = BUF_INIT;
    uint8_t *data = mem_new(leaf_size);
    for (unsigned i = 0; i < leaves; i++) {
        rng_fill(&s->rng, data, leaf_size);
        struct cid leaf = hostsim_put(s, node, CODEC_RAW, span_of(data, leaf_size));
        dagpb_add_link(&root, &leaf, SPAN_NONE, leaf_size);
    }
    struct cid cid = hostsim_put(s, node, CODEC_DAG_PB, buf_span(&root));
    buf_done(&root);
    free(data);
    return cid;
}

size_t hostsim_held(const struct hostsim *s, int node)
{
    return s->nodes[node]->store.count;
}

struct hostsim_want *hostsim_want(struct hostsim *s, int node, enum want_kind kind, const struct cid *cid)
{
    struct owned_want *o = MEM_NEW(struct owned_want);
    o->w.want = (struct want){.kind = kind, .priority = WANT_KEEP, .cid = *cid, .deadline = MONO_NEVER};
    o->w.node = node;
    o->w.asked_at = s->now;
    STAILQ_INSERT_TAIL(&s->wants, o, link);
    int err = host_want(s->nodes[node]->host, &o->w.want, s->now);
    assert(err == 0);
    (void)err;
    drive(s, node);
    return &o->w;
}

struct hostsim_ledger hostsim_ledger(struct hostsim *s, int node)
{
    struct hostsim_ledger l = {0};
    struct host_stats stats;
    if (!s->nodes[node]->host)
        return l;
    host_stats(s->nodes[node]->host, &stats);
    l.bytes_received = stats.blocks.bytes_received;
    l.bytes_sent = stats.blocks.bytes_sent;
    l.duplicate_bytes = stats.blocks.duplicate_bytes;
    l.wrong_bytes = stats.blocks.wrong_bytes;
    return l;
}

/* ---- the end ---- */

static void node_free(struct hostsim *s, int node)
{
    struct node *d = s->nodes[node];
    d->host = host_free(d->host);
    for (size_t i = 0; i < d->store.bucket_count; i++)
        for (struct cidnode *k = d->store.buckets[i]; k;) {
            struct stored *h = (struct stored *)(void *)((char *)k - offsetof(struct stored, node));
            k = k->next;
            (void)block_unref(h->block);
            free(h);
        }
    cidmap_done(&d->store);
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
