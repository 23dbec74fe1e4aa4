/* SPDX-License-Identifier: MIT */
#include "tests/sim/simnet.h"

#include "net/exchange/cidmap.h"
#include "store/codec/dagpb.h"
#include "store/content/hasher.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#define WINDOW      (1u << 20)    /* bytes sent and not taken, per direction of a link */
#define BACKLOG     (5 * MONO_MS) /* a link that is busy for longer takes nothing more */
#define CHUNK       16384
#define WORKER_TIME (200 * MONO_US)
#define COMMIT_TIME (5 * MONO_MS)

enum event_type { EV_TIMER, EV_DATA, EV_FIN, EV_WRITABLE, EV_LOADED, EV_VERIFIED, EV_STORED };

struct event {
    mono_ns at;
    uint64_t order;
    enum event_type type;
    int node;
    int peer;            /* the other node, for link events */
    uint32_t generation; /* of the link */
    uint32_t stream;
    struct buf bytes;
    uint64_t tag, size;
    int result;
    struct block *block;
    struct cid cid;
};

struct in_stream {
    STAILQ_ENTRY(in_stream) link;
    uint32_t id;
    struct exchange_stream *stream; /* NULL: refused or reset */
    struct buf held;                /* came and was not taken */
    bool fin;
    int node, peer;
};

struct side {                   /* one node's end of a link */
    struct exchange_peer *peer; /* NULL: no link */
    struct sim_link_options options;
    uint32_t generation;
    uint32_t stream; /* our outgoing one, 0: none */
    mono_ns free_at; /* when the line has sent what it was given */
    size_t in_window;
    bool wants_output, writable_set;
    STAILQ_HEAD(, in_stream) in;
};

struct held {
    struct block *block;
    struct cidnode node;
};

struct node {
    struct exchange *x;
    struct budget *budget;
    struct sim_node_options options;
    struct cidmap store;
    bool frozen;
    mono_ns timer_at;
    struct side sides[SIM_NODES_MAX];
    STAILQ_HEAD(, frozen_event) late; /* what came while it was frozen */
};

struct frozen_event {
    STAILQ_ENTRY(frozen_event) link;
    struct event e;
};

struct owned_want {
    STAILQ_ENTRY(owned_want) link;
    struct sim_want w;
};

struct simnet {
    mono_ns now;
    struct rng rng;
    uint64_t seed, order;
    struct node *nodes[SIM_NODES_MAX];
    int node_count;
    struct event **heap; /* from 1 */
    size_t count, cap;
    uint32_t generations, streams;
    STAILQ_HEAD(, owned_want) wants;
    struct sim_counts counts;
};

/* ---- events ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static struct event *post(struct simnet *n, mono_ns at, enum event_type type, int node)
{
    struct event *e = MEM_NEW(struct event);
    *e = (struct event){.at = at, .order = n->order++, .type = type, .node = node, .bytes = BUF_INIT};
    if (n->count + 2 > n->cap) {
        n->cap = n->cap ? n->cap * 2 : 256;
        n->heap = mem_grow(n->heap, n->cap, sizeof *n->heap);
    }
    size_t i = ++n->count;
    for (; i > 1 && before(e, n->heap[i / 2]); i /= 2)
        n->heap[i] = n->heap[i / 2];
    n->heap[i] = e;
    return e;
}

static struct event *take_event(struct simnet *n)
{
    struct event *first = n->heap[1], *last = n->heap[n->count--];
    size_t i = 1;
    for (;;) {
        size_t child = 2 * i;
        if (child > n->count)
            break;
        if (child < n->count && before(n->heap[child + 1], n->heap[child]))
            child++;
        if (!before(n->heap[child], last))
            break;
        n->heap[i] = n->heap[child];
        i = child;
    }
    n->heap[i] = last;
    return first;
}

static void event_done(struct event *e)
{
    buf_done(&e->bytes);
    e->block = block_unref(e->block);
}

/* ---- the store of a node ---- */

static struct block *store_get(const struct node *d, const struct cid *cid)
{
    struct cidnode *found = cidmap_first(&d->store, cid);
    return found ? ((struct held *)(void *)((char *)found - offsetof(struct held, node)))->block : NULL;
}

static void store_put(struct node *d, const struct cid *cid, struct span data)
{
    if (store_get(d, cid))
        return;
    struct held *h = CIDNODE_NEW(&d->store, struct held, cid);
    h->block = block_from(NULL, BUDGET_NET, cid, data);
    cidmap_add(&d->store, &h->node);
}

/* ---- moving bytes ---- */

static struct side *side_of(struct simnet *n, int node, int peer)
{
    return &n->nodes[node]->sides[peer];
}

static void writable(struct simnet *n, int node, int peer, mono_ns at)
{
    struct side *s = side_of(n, node, peer);
    if (s->writable_set)
        return;
    s->writable_set = true;
    struct event *e = post(n, at, EV_WRITABLE, node);
    e->peer = peer;
    e->generation = s->generation;
}

static void output(struct simnet *n, int node, int peer)
{
    struct side *s = side_of(n, node, peer);
    while (s->wants_output && s->stream) {
        if (s->in_window >= WINDOW || (s->options.rate && s->free_at > n->now + BACKLOG)) {
            if (s->free_at > n->now + BACKLOG)
                writable(n, node, peer, s->free_at - BACKLOG);
            return; /* or the other end takes bytes and calls again */
        }
        struct span span;
        size_t len = exchange_output(n->nodes[node]->x, s->peer, CHUNK, &span, n->now);
        if (!len) {
            s->wants_output = false;
            return;
        }
        mono_ns start = s->free_at > n->now ? s->free_at : n->now;
        s->free_at = s->options.rate ? start + len * MONO_S / s->options.rate : start;
        struct event *e = post(n, s->free_at + s->options.delay, EV_DATA, peer);
        e->peer = node;
        e->generation = s->generation;
        e->stream = s->stream;
        buf_add_span(&e->bytes, span);
        s->in_window += len;
    }
}

static struct in_stream *in_stream_of(struct simnet *n, struct side *s, uint32_t id, int node, int peer)
{
    struct in_stream *i;
    STAILQ_FOREACH(i, &s->in, link)
    if (i->id == id)
        return i;
    i = MEM_NEW(struct in_stream);
    i->id = id;
    i->node = node;
    i->peer = peer;
    i->stream = exchange_stream_opened(n->nodes[node]->x, s->peer, i);
    STAILQ_INSERT_TAIL(&s->in, i, link);
    return i;
}

static void in_stream_free(struct simnet *n, struct side *s, struct in_stream *i)
{
    if (i->stream)
        exchange_stream_closed(n->nodes[i->node]->x, i->stream, n->now);
    STAILQ_REMOVE(&s->in, i, in_stream, link);
    buf_done(&i->held);
    free(i);
}

/* Offers what came to the exchange. */
static void feed(struct simnet *n, struct in_stream *i)
{
    int node = i->node, peer = i->peer;
    struct side *s = side_of(n, node, peer), *other = side_of(n, peer, node);
    size_t taken = buf_len(&i->held);
    if (i->stream && taken) {
        int r = exchange_stream_data(n->nodes[node]->x, i->stream, buf_span(&i->held), n->now);
        if (r < 0) {
            exchange_stream_closed(n->nodes[node]->x, i->stream, n->now);
            i->stream = NULL;
        } else {
            n->counts.refused += taken - (size_t)r;
            taken = (size_t)r;
        }
    }
    buf_consume(&i->held, taken);
    other->in_window -= taken;
    if (i->fin && !buf_len(&i->held))
        in_stream_free(n, s, i);
    if (taken)
        writable(n, peer, node, n->now); /* as an event: it drives that node, and nothing here recurses */
}

/* ---- what the host does for an exchange ---- */

static void start_load(struct simnet *n, int node, const struct exchange_action *a)
{
    struct node *d = n->nodes[node];
    struct event *e = post(n, n->now + WORKER_TIME, EV_LOADED, node);
    e->tag = a->tag;
    struct block *b = store_get(d, &a->cid);
    e->result = b ? 0 : ERR_MISSING;
    if (!b)
        return;
    e->size = b->len;
    if (b->len > a->most)
        return;
    e->block = block_new(d->budget, BUDGET_NET, b->len);
    if (!e->block) {
        e->result = ERR_NO_MEMORY;
        return;
    }
    memcpy(e->block->data, b->data, b->len);
    e->block->len = b->len;
    e->block->cid = a->cid;
    if (d->options.corrupts && b->len)
        e->block->data[0] ^= 1;
}

static void start_verify(struct simnet *n, int node, const struct exchange_action *a)
{
    struct event *e = post(n, n->now + WORKER_TIME, EV_VERIFIED, node);
    e->tag = a->tag;
    e->block = a->block;
    e->result = exchange_verify_block(a->block, &a->prefix);
}

static void start_store(struct simnet *n, int node, const struct exchange_action *a)
{
    struct event *e = post(n, n->now + COMMIT_TIME, EV_STORED, node);
    e->block = a->block;
    e->cid = a->cid;
    e->result = n->nodes[node]->options.store_result;
}

static int peer_number(struct simnet *n, int node, const struct exchange_peer *p)
{
    for (int i = 0; i < n->node_count; i++)
        if (n->nodes[node]->sides[i].peer == p)
            return i;
    abort();
}

static void close_out(struct simnet *n, int node, int peer)
{
    struct side *s = side_of(n, node, peer);
    struct event *e = post(n, (s->free_at > n->now ? s->free_at : n->now) + s->options.delay, EV_FIN, peer);
    e->peer = node;
    e->generation = s->generation;
    e->stream = s->stream;
    s->stream = 0;
    s->wants_output = false;
}

static void act(struct simnet *n, int node, struct exchange_action *a)
{
    struct node *d = n->nodes[node];
    struct sim_want *w;
    int peer = a->peer ? peer_number(n, node, a->peer) : -1;
    switch (a->type) {
    case EXCHANGE_SETTLE:
        w = (struct sim_want *)(void *)a->want;
        w->settled = true;
        w->settled_at = n->now;
        break;
    case EXCHANGE_DROP:
        n->counts.drops++;
        simnet_unlink(n, node, peer);
        break;
    case EXCHANGE_RESUME:
        feed(n, a->owner);
        break;
    case EXCHANGE_VERIFY:
        start_verify(n, node, a);
        break;
    case EXCHANGE_STORE:
        start_store(n, node, a);
        break;
    case EXCHANGE_LOAD:
        start_load(n, node, a);
        break;
    case EXCHANGE_OPEN:
        d->sides[peer].stream = ++n->streams;
        exchange_opened(d->x, a->peer, 0, n->now);
        break;
    case EXCHANGE_READY:
        d->sides[peer].wants_output = true;
        output(n, node, peer);
        break;
    case EXCHANGE_CLOSE:
        close_out(n, node, peer);
        break;
    case EXCHANGE_SEEK:
        n->counts.seeks++;
        break;
    case EXCHANGE_SILENT: /* here connections do not die unheard */
    case EXCHANGE_NONE:
        break;
    }
}

static void drive(struct simnet *n, int node)
{
    struct node *d = n->nodes[node];
    if (d->frozen)
        return;
    struct exchange_action a;
    while (exchange_next(d->x, &a))
        act(n, node, &a);
    mono_ns at = exchange_deadline(d->x);
    if (at != MONO_NEVER && at < d->timer_at) {
        d->timer_at = at > n->now ? at : n->now;
        post(n, d->timer_at, EV_TIMER, node);
    }
}

static void link_event(struct simnet *n, struct event *e)
{
    struct side *s = side_of(n, e->node, e->peer);
    if (!s->peer || s->generation != e->generation)
        return;
    if (e->type == EV_WRITABLE) {
        s->writable_set = false;
        output(n, e->node, e->peer);
        return;
    }
    struct in_stream *i = in_stream_of(n, s, e->stream, e->node, e->peer);
    bool waiting = buf_len(&i->held) > 0;
    buf_add_span(&i->held, buf_span(&e->bytes));
    i->fin |= e->type == EV_FIN;
    if (!waiting || e->type == EV_FIN)
        feed(n, i);
}

static void handle(struct simnet *n, struct event *e)
{
    struct node *d = n->nodes[e->node];
    struct block *b = e->block;
    n->counts.events++;
    if (d->frozen && e->type != EV_TIMER) {
        struct frozen_event *f = MEM_NEW(struct frozen_event);
        f->e = *e;
        STAILQ_INSERT_TAIL(&d->late, f, link);
        *e = (struct event){.type = EV_TIMER};
        return;
    }
    switch (e->type) {
    case EV_TIMER:
        d->timer_at = MONO_NEVER;
        if (!d->frozen)
            exchange_expire(d->x, n->now);
        break;
    case EV_DATA:
    case EV_FIN:
    case EV_WRITABLE:
        link_event(n, e);
        break;
    case EV_LOADED:
        e->block = NULL;
        exchange_loaded(d->x, e->tag, e->result, e->size, b, n->now);
        break;
    case EV_VERIFIED:
        e->block = NULL;
        exchange_verified(d->x, e->tag, b, e->result, n->now);
        break;
    case EV_STORED:
        if (e->result == 0)
            store_put(d, &e->cid, block_span(b));
        exchange_stored(d->x, &e->cid, e->result, n->now);
        break;
    }
    drive(n, e->node);
}

void simnet_run(struct simnet *n, mono_ns time)
{
    mono_ns until = n->now + time;
    for (int i = 0; i < n->node_count; i++)
        drive(n, i);
    while (n->count && n->heap[1]->at <= until) {
        struct event *e = take_event(n);
        n->now = e->at > n->now ? e->at : n->now;
        handle(n, e);
        event_done(e);
        free(e);
    }
    n->now = until;
}

bool simnet_run_until(struct simnet *n, const struct sim_want *w, mono_ns most)
{
    mono_ns until = n->now + most;
    while (!w->settled && n->now < until)
        simnet_run(n, MONO_MS);
    return w->settled;
}

/* ---- nodes ---- */

struct simnet *simnet_new(uint64_t seed)
{
    struct simnet *n = MEM_NEW(struct simnet);
    n->now = 1000 * MONO_S;
    n->seed = seed;
    rng_init_seed(&n->rng, seed);
    STAILQ_INIT(&n->wants);
    return n;
}

mono_ns simnet_now(const struct simnet *n)
{
    return n->now;
}

struct rng *simnet_rng(struct simnet *n)
{
    return &n->rng;
}

int simnet_node(struct simnet *n, const struct sim_node_options *o)
{
    assert(n->node_count < SIM_NODES_MAX);
    struct node *d = MEM_NEW(struct node);
    d->options = o ? *o : (struct sim_node_options){0};
    d->budget = budget_new(d->options.budget ? d->options.budget : BUDGET_DEFAULT);
    d->timer_at = MONO_NEVER;
    uint8_t key[CIDMAP_KEY_SIZE] = {0};
    cidmap_init(&d->store, key);
    STAILQ_INIT(&d->late);
    for (int i = 0; i < SIM_NODES_MAX; i++)
        STAILQ_INIT(&d->sides[i].in);
    struct exchange_config c = {d->budget, rng_u64(&n->rng), d->options.upload_rate, d->options.download_rate};
    d->x = exchange_new(&c, n->now);
    n->nodes[n->node_count] = d;
    return n->node_count++;
}

struct exchange *simnet_exchange(struct simnet *n, int node)
{
    return n->nodes[node]->x;
}

void simnet_freeze(struct simnet *n, int node, bool frozen)
{
    struct node *d = n->nodes[node];
    d->frozen = frozen;
    struct frozen_event *f;
    while (!frozen && (f = STAILQ_FIRST(&d->late))) {
        STAILQ_REMOVE_HEAD(&d->late, link);
        handle(n, &f->e);
        event_done(&f->e);
        free(f);
    }
    if (!frozen) {
        exchange_expire(d->x, n->now);
        drive(n, node);
    }
}

struct cid simnet_put(struct simnet *n, int node, uint64_t codec, struct span data)
{
    struct cid cid;
    cid_of(&cid, codec, data);
    store_put(n->nodes[node], &cid, data);
    exchange_have_block(n->nodes[node]->x, &cid, n->now);
    return cid;
}

struct cid simnet_put_tree(struct simnet *n, int node, unsigned leaves, unsigned leaf_size, unsigned fan, uint64_t seed)
{
    struct cid *level = mem_array(leaves, sizeof *level);
    uint8_t *data = mem_new(leaf_size);
    struct rng rng;
    rng_init_seed(&rng, seed);
    for (unsigned i = 0; i < leaves; i++) {
        rng_fill(&rng, data, leaf_size);
        level[i] = simnet_put(n, node, CODEC_RAW, span_of(data, leaf_size));
    }
    free(data);
    unsigned count = leaves;
    do {
        unsigned parents = 0;
        for (unsigned i = 0; i < count; i += fan) {
            struct buf b = BUF_INIT;
            for (unsigned k = i; k < count && k < i + fan; k++)
                dagpb_add_link(&b, &level[k], SPAN_NONE, leaf_size);
            level[parents++] = simnet_put(n, node, CODEC_DAG_PB, buf_span(&b));
            buf_done(&b);
        }
        count = parents;
    } while (count > 1);
    struct cid root = level[0];
    free(level);
    return root;
}

bool simnet_has(const struct simnet *n, int node, const struct cid *cid)
{
    return store_get(n->nodes[node], cid) != NULL;
}

size_t simnet_count(const struct simnet *n, int node)
{
    return n->nodes[node]->store.count;
}

void simnet_copy(struct simnet *n, int from, int to, unsigned part, unsigned parts)
{
    const struct cidmap *m = &n->nodes[from]->store;
    for (size_t i = 0; i < m->bucket_count; i++)
        for (struct cidnode *k = m->buckets[i]; k; k = k->next) {
            struct cid cid;
            cidnode_cid(k, &cid);
            if (cid_mix(&cid) % parts == part)
                store_put(n->nodes[to], &cid, block_span(store_get(n->nodes[from], &cid)));
        }
}

uint64_t simnet_peak(const struct simnet *n, int node)
{
    return budget_peak(n->nodes[node]->budget);
}

/* ---- links ---- */

void simnet_link(struct simnet *n, int a, int b, const struct sim_link_options *o)
{
    uint32_t generation = ++n->generations;
    const int ends[2][2] = {{a, b}, {b, a}};
    for (int i = 0; i < 2; i++) {
        struct side *s = side_of(n, ends[i][0], ends[i][1]);
        assert(!s->peer);
        *s = (struct side){.options = *o, .generation = generation};
        STAILQ_INIT(&s->in);
        s->peer = exchange_peer_added(n->nodes[ends[i][0]]->x, s, o->flags | EXCHANGE_CAPABLE, n->now);
        assert(s->peer);
    }
}

static void side_gone(struct simnet *n, int node, int peer)
{
    struct side *s = side_of(n, node, peer);
    struct in_stream *i;
    while ((i = STAILQ_FIRST(&s->in)))
        in_stream_free(n, s, i);
    struct exchange_peer *p = s->peer;
    s->peer = NULL;
    s->stream = 0;
    s->wants_output = false;
    exchange_peer_removed(n->nodes[node]->x, p, n->now);
}

void simnet_unlink(struct simnet *n, int a, int b)
{
    if (!simnet_linked(n, a, b))
        return;
    side_gone(n, a, b);
    side_gone(n, b, a);
}

bool simnet_linked(const struct simnet *n, int a, int b)
{
    return n->nodes[a]->sides[b].peer != NULL;
}

void simnet_break_streams(struct simnet *n, int a, int b)
{
    const int ends[2][2] = {{a, b}, {b, a}};
    uint32_t generation = ++n->generations; /* what is on its way is lost */
    for (int i = 0; i < 2; i++) {
        struct side *s = side_of(n, ends[i][0], ends[i][1]);
        struct in_stream *in;
        while ((in = STAILQ_FIRST(&s->in)))
            in_stream_free(n, s, in);
        s->generation = generation;
        s->in_window = 0;
        s->writable_set = s->wants_output = false;
        if (s->stream) {
            s->stream = 0;
            exchange_output_lost(n->nodes[ends[i][0]]->x, s->peer, n->now);
        }
    }
    drive(n, a);
    drive(n, b);
}

void simnet_ledger(const struct simnet *n, int node, int peer, struct exchange_ledger *ret)
{
    exchange_ledger(n->nodes[node]->x, n->nodes[node]->sides[peer].peer, ret);
}

/* ---- wants ---- */

struct sim_want *simnet_want(struct simnet *n, int node, enum want_kind kind, enum want_priority p, const struct cid *cid,
                             const struct cid *root, mono_ns timeout)
{
    struct owned_want *o = MEM_NEW(struct owned_want);
    o->w.want = (struct want){.kind = kind, .priority = p, .cid = *cid, .deadline = mono_after(n->now, timeout)};
    if (root)
        o->w.want.root = *root;
    STAILQ_INSERT_TAIL(&n->wants, o, link);
    int r = exchange_want(n->nodes[node]->x, &o->w.want, n->now);
    if (r < 0) {
        o->w.settled = true;
        o->w.want.result = r;
    }
    drive(n, node);
    return &o->w;
}

void simnet_cancel(struct simnet *n, int node, struct sim_want *w)
{
    if (!w->settled)
        exchange_cancel(n->nodes[node]->x, &w->want, n->now);
    drive(n, node);
}

struct sim_counts simnet_counts(const struct simnet *n)
{
    return n->counts;
}

/* ---- the end ---- */

static void node_free(struct simnet *n, struct node *d)
{
    (void)n;
    d->x = exchange_free(d->x);
    for (size_t i = 0; i < d->store.bucket_count; i++) {
        struct cidnode *k = d->store.buckets[i];
        while (k) {
            struct held *h = (struct held *)(void *)((char *)k - offsetof(struct held, node));
            k = k->next;
            (void)block_unref(h->block);
            free(h);
        }
    }
    cidmap_done(&d->store);
    struct frozen_event *f;
    while ((f = STAILQ_FIRST(&d->late))) {
        STAILQ_REMOVE_HEAD(&d->late, link);
        event_done(&f->e);
        free(f);
    }
}

struct simnet *simnet_free(struct simnet *n)
{
    for (int a = 0; a < n->node_count; a++)
        for (int b = 0; b < a; b++)
            simnet_unlink(n, a, b);
    for (int i = 0; i < n->node_count; i++)
        node_free(n, n->nodes[i]);
    while (n->count) {
        struct event *e = take_event(n);
        event_done(e);
        free(e);
    }
    struct owned_want *o;
    while ((o = STAILQ_FIRST(&n->wants))) {
        STAILQ_REMOVE_HEAD(&n->wants, link);
        (void)block_unref(o->w.want.block);
        free(o);
    }
    for (int i = 0; i < n->node_count; i++) {
        uint64_t left = budget_used(n->nodes[i]->budget);
        if (left) {
            fprintf(stderr, "seed %llu: node %d kept %llu bytes of its budget\n", (unsigned long long)n->seed, i,
                    (unsigned long long)left);
            abort();
        }
        budget_free(n->nodes[i]->budget);
        free(n->nodes[i]);
    }
    free(n->heap);
    free(n);
    return NULL;
}
