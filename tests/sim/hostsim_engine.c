/* SPDX-License-Identifier: MIT
 *
 * What the engine thread, the workers and the committer do for a host. */
#include "tests/sim/hostsim_state.h"

#include "store/codec/dagpb.h"

#include <assert.h>
#include <stdlib.h>

#define WORKER_TIME (200 * MONO_US)
#define COMMIT_TIME (5 * MONO_MS)

/* ---- a store ---- */

static struct stored *stored_of(struct cidnode *k)
{
    return (struct stored *)(void *)((char *)k - offsetof(struct stored, node));
}

static struct block *store_get(const struct node *d, const struct cid *cid)
{
    struct cidnode *found = cidmap_first(&d->store, cid);
    return found ? stored_of(found)->block : NULL;
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
    struct event *e = hostsim_post(s, s->now + WORKER_TIME, EV_LOADED, node);
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

/* The LAN: to everybody whose cable is not pulled, the sender too, as multicast loops back */
static void datagram(struct hostsim *s, int node, const struct host_action *a)
{
    for (int i = 0; s->lan && i < s->count; i++) {
        if (s->nodes[i]->group != s->nodes[node]->group)
            continue;
        struct event *e = hostsim_post(s, s->now + s->nodes[node]->line.delay + s->nodes[i]->line.delay, EV_DATAGRAM, i);
        e->tag = (uint64_t)(unsigned)node;
        buf_add_span(&e->bytes, a->datagram);
        e->size = a->datagram.len;
    }
}

static void datagram_came(struct hostsim *s, const struct event *e)
{
    int from = (int)e->tag;
    struct host_datagram d = {.iface = 2, .ip = {HOSTSIM_IP(from)}, .port = 5353};
    host_datagram(s->nodes[e->node]->host, &d, buf_span(&e->bytes), s->now);
}

static void settle(struct hostsim *s, struct want *want)
{
    struct hostsim_want *w = (struct hostsim_want *)(void *)want;
    w->settled = true;
    w->settled_at = s->now;
}

void hostsim_carry_out(struct hostsim *s, int node, const struct host_action *a)
{
    struct node *d = s->nodes[node];
    struct end *end = a->owner;
    struct event *e;
    switch (a->type) {
    case HOST_DIAL:
        e = hostsim_post(s, s->now + 2 * d->line.delay, EV_DIALED, node);
        d->dials++;
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
        e = hostsim_post(s, s->now + WORKER_TIME, EV_VERIFIED, node);
        e->block = a->block;
        e->prefix = a->prefix;
        e->tag = a->tag;
        break;
    case HOST_STORE:
        e = hostsim_post(s, s->now + COMMIT_TIME, EV_STORED, node);
        e->block = a->block;
        break;
    case HOST_SETTLE:
        settle(s, a->want);
        break;
    case HOST_CALLED:
        a->call->owner = NULL; /* marks it as answered */
        break;
    case HOST_MULTICAST:
    case HOST_UNICAST:
        datagram(s, node, a);
        break;
    default:
        if (s->watch) /* events, streams; there are no names here, and the peerstore is saved when a node is killed */
            s->watch(s->watch_arg, node, a);
        break;
    }
}

static void stored(struct hostsim *s, struct node *d, const struct event *e)
{
    store_put(d, &e->block->cid, block_span(e->block));
    host_stored(d->host, &e->block->cid, 0, s->now);
}

void hostsim_handle_alive(struct hostsim *s, struct event *e)
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
        end_came(s, e);
        break;
    case EV_LINE:
        d->line_event = false;
        line_run(s, e->node);
        break;
    case EV_DIALED:
        line_dialed(s, e);
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
    case EV_DATAGRAM:
        datagram_came(s, e);
        break;
    }
    hostsim_drive(s, e->node);
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
    hostsim_drive(s, node);
    return cid;
}

struct cid hostsim_put_file_of(struct hostsim *s, int node, unsigned leaves, size_t leaf_size, struct cid *ret_leaves)
{
    struct buf root = BUF_INIT;
    uint8_t *data = mem_new(leaf_size);
    for (unsigned i = 0; i < leaves; i++) {
        rng_fill(&s->rng, data, leaf_size);
        struct cid leaf = hostsim_put(s, node, CODEC_RAW, span_of(data, leaf_size));
        dagpb_add_link(&root, &leaf, SPAN_NONE, leaf_size);
        if (ret_leaves)
            ret_leaves[i] = leaf;
    }
    struct cid cid = hostsim_put(s, node, CODEC_DAG_PB, buf_span(&root));
    buf_done(&root);
    free(data);
    return cid;
}

struct cid hostsim_put_file(struct hostsim *s, int node, unsigned leaves, size_t leaf_size)
{
    return hostsim_put_file_of(s, node, leaves, leaf_size, NULL);
}

void hostsim_copy(struct hostsim *s, int from, int to)
{
    const struct cidmap *held = &s->nodes[from]->store;
    for (size_t i = 0; i < held->bucket_count; i++)
        for (struct cidnode *k = held->buckets[i]; k; k = k->next) {
            const struct block *b = stored_of(k)->block;
            (void)hostsim_put(s, to, cid_codec(&b->cid), block_span(b));
        }
}

size_t hostsim_held(const struct hostsim *s, int node)
{
    return s->nodes[node]->store.count;
}

static struct hostsim_want *post(struct hostsim *s, int node, const struct want *like)
{
    struct owned_want *o = MEM_NEW(struct owned_want);
    o->w.want.kind = like->kind;
    o->w.want.priority = like->priority;
    o->w.want.cid = like->cid;
    o->w.want.root = like->root;
    o->w.want.deadline = like->deadline;
    o->w.node = node;
    o->w.asked_at = s->now;
    STAILQ_INSERT_TAIL(&s->wants, o, link);
    int err = host_want(s->nodes[node]->host, &o->w.want, s->now);
    assert(err == 0);
    (void)err;
    hostsim_drive(s, node);
    return &o->w;
}

struct hostsim_want *hostsim_want(struct hostsim *s, int node, enum want_kind kind, const struct cid *cid, mono_ns timeout)
{
    enum want_priority priority = timeout == MONO_NEVER ? WANT_KEEP : WANT_NOW;
    return post(s, node,
                &(struct want){.kind = kind, .priority = priority, .cid = *cid, .deadline = mono_after(s->now, timeout)});
}

struct hostsim_want *hostsim_want_of(struct hostsim *s, int node, const struct cid *cid, const struct cid *root,
                                     enum want_priority priority)
{
    return post(s, node,
                &(struct want){.kind = WANT_BLOCK, .priority = priority, .cid = *cid, .root = *root, .deadline = MONO_NEVER});
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

void hostsim_store_free(struct node *d)
{
    for (size_t i = 0; i < d->store.bucket_count; i++)
        for (struct cidnode *k = d->store.buckets[i]; k;) {
            struct stored *h = stored_of(k);
            k = k->next;
            (void)block_unref(h->block);
            free(h);
        }
    cidmap_done(&d->store);
}
