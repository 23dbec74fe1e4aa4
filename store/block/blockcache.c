/* SPDX-License-Identifier: MIT
 *
 * Chained hash table by multihash; entries that may be given up are also in a list, the most recently used first. */
#include "store/block/blockcache.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS_FIRST 64

struct entry {
    struct entry *next;          /* of its bucket */
    struct entry *newer, *older; /* of the list; only when not pinned */
    struct block *block;
    uint64_t mix;
    unsigned pins;
    bool kept, got; /* it is one of the pins; got since the last `on` */
    struct entry *next_kept;
};

struct blockcache {
    struct block_source source; /* first: the source is the cache */
    struct block_source *below;
    struct budget *budget;
    size_t limit, bytes; /* bytes: of the list, pinned ones excluded */
    struct entry *newest, *oldest;
    bool keeps;
    struct entry *kept;
    size_t kept_bytes;
    struct entry **buckets;
    size_t bucket_count, count;
};

static int cache_get(struct block_source *self, const struct cid *cid, struct span *ret)
{
    struct blockcache *c = (struct blockcache *)self;
    struct block *b = blockcache_get(c, cid);
    if (b) {
        *ret = block_span(b);
        return 0;
    }
    return c->below ? c->below->get(c->below, cid, ret) : ERR_MISSING;
}

static bool cache_has(struct block_source *self, const struct cid *cid)
{
    struct blockcache *c = (struct blockcache *)self;
    return blockcache_get(c, cid) || (c->below && source_has(c->below, cid));
}

struct blockcache *blockcache_new(struct budget *budget, size_t limit_bytes, struct block_source *below)
{
    struct blockcache *c = MEM_NEW(struct blockcache);
    c->source.get = cache_get;
    c->source.has = cache_has;
    c->below = below;
    c->budget = budget;
    c->limit = limit_bytes;
    c->bucket_count = BUCKETS_FIRST;
    c->buckets = mem_array(c->bucket_count, sizeof(struct entry *));
    return c;
}

struct blockcache *blockcache_free(struct blockcache *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < c->bucket_count; i++)
        for (struct entry *e = c->buckets[i], *next; e; e = next) {
            next = e->next;
            block_unref(e->block);
            free(e);
        }
    free(c->buckets);
    free(c);
    return NULL;
}

static struct entry **find(const struct blockcache *c, const struct cid *cid)
{
    uint64_t mix = cid_mix(cid);
    struct entry **at = &c->buckets[mix & (c->bucket_count - 1)];
    while (*at && !((*at)->mix == mix && cid_same_block(&(*at)->block->cid, cid)))
        at = &(*at)->next;
    return at;
}

static void unlink_entry(struct blockcache *c, struct entry *e)
{
    *(e->newer ? &e->newer->older : &c->newest) = e->older;
    *(e->older ? &e->older->newer : &c->oldest) = e->newer;
    e->newer = e->older = NULL;
    c->bytes -= e->block->cap;
}

static void link_newest(struct blockcache *c, struct entry *e)
{
    e->older = c->newest;
    if (c->newest)
        c->newest->newer = e;
    c->newest = e;
    if (!c->oldest)
        c->oldest = e;
    c->bytes += e->block->cap;
}

static void grow(struct blockcache *c)
{
    size_t count = c->bucket_count * 2;
    struct entry **buckets = mem_big(count, sizeof(struct entry *));
    if (!buckets)
        return; /* the chains are longer until there is memory */
    memset(buckets, 0, count * sizeof(struct entry *));
    for (size_t i = 0; i < c->bucket_count; i++)
        for (struct entry *e = c->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->mix & (count - 1)];
            buckets[e->mix & (count - 1)] = e;
        }
    free(c->buckets);
    c->buckets = buckets;
    c->bucket_count = count;
}

static void remove_at(struct blockcache *c, struct entry **at)
{
    struct entry *e = *at;
    *at = e->next;
    c->count--;
    block_unref(e->block);
    free(e);
}

void blockcache_trim(struct blockcache *c, size_t limit_bytes)
{
    while (c->bytes > limit_bytes && c->oldest) {
        struct entry *e = c->oldest;
        unlink_entry(c, e);
        remove_at(c, find(c, &e->block->cid));
    }
}

static void keep_within(struct blockcache *c)
{
    /* what it keeps was charged by those who made it: to the class of the newest, as a rule */
    bool tight =
        c->budget && (budget_tight(c->budget) || (c->newest && budget_class_tight(c->budget, c->newest->block->budget_class)));
    size_t limit = tight ? c->limit / 2 : c->limit, newest = c->newest ? c->newest->block->cap : 0;
    limit = limit > c->kept_bytes ? limit - c->kept_bytes : 0;
    /* A big one must not drive out those above it, without which nobody can use it. */
    blockcache_trim(c, newest > limit / 2 ? limit + newest : limit);
}

/* The entry of b's multihash, holding b, in no list */
static struct entry *take_in(struct blockcache *c, struct block *b)
{
    struct entry **at = find(c, &b->cid);
    struct entry *e = *at;
    if (e) {
        if (e->pins == 0)
            unlink_entry(c, e);
        block_ref(b); /* before the unref: it may be the same block */
        block_unref(e->block);
        e->block = b;
        return e;
    }
    if (c->count >= c->bucket_count) {
        grow(c);
        at = find(c, &b->cid);
    }
    e = MEM_NEW(struct entry);
    e->block = block_ref(b);
    e->mix = cid_mix(&b->cid);
    e->next = *at;
    *at = e;
    c->count++;
    return e;
}

void blockcache_add(struct blockcache *c, struct block *b)
{
    struct entry *e = take_in(c, b);
    if (e->pins == 0)
        link_newest(c, e);
    keep_within(c);
}

void blockcache_pin(struct blockcache *c, struct block *b)
{
    take_in(c, b)->pins++;
}

void blockcache_unpin(struct blockcache *c, const struct cid *cid)
{
    struct entry *e = *find(c, cid);
    assert(e && e->pins > 0);
    if (--e->pins == 0) {
        link_newest(c, e);
        keep_within(c);
    }
}

static void keep(struct blockcache *c, struct entry *e)
{
    if (e->pins++ == 0)
        unlink_entry(c, e);
    e->kept = true;
    c->kept_bytes += e->block->cap;
    e->next_kept = c->kept;
    c->kept = e;
}

static void let_go(struct blockcache *c, bool all)
{
    struct entry *e = c->kept, *next;
    c->kept = NULL;
    for (; e; e = next) {
        next = e->next_kept;
        if (e->got && !all) {
            e->next_kept = c->kept;
            c->kept = e;
            continue;
        }
        e->kept = false;
        c->kept_bytes -= e->block->cap;
        if (--e->pins == 0)
            link_newest(c, e);
    }
    keep_within(c);
}

void blockcache_keep(struct blockcache *c, bool on)
{
    c->keeps = on;
    for (struct entry *e = c->kept; on && e; e = e->next_kept)
        e->got = false;
    if (!on)
        let_go(c, false);
}

void blockcache_let_go(struct blockcache *c)
{
    let_go(c, true);
}

struct block *blockcache_get(struct blockcache *c, const struct cid *cid)
{
    struct entry *e = *find(c, cid);
    if (!e)
        return NULL;
    if (c->keeps && !e->kept)
        keep(c, e);
    e->got = c->keeps;
    if (e->pins == 0 && c->newest != e) {
        unlink_entry(c, e);
        link_newest(c, e);
    }
    return e->block;
}

void blockcache_drop(struct blockcache *c, const struct cid *cid)
{
    struct entry **at = find(c, cid);
    if (!*at || (*at)->pins > 0)
        return;
    unlink_entry(c, *at);
    remove_at(c, at);
}

size_t blockcache_bytes(const struct blockcache *c)
{
    return c->bytes;
}

struct block_source *blockcache_source(struct blockcache *c)
{
    return &c->source;
}
