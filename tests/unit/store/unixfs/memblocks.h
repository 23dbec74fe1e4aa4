/* SPDX-License-Identifier: MIT
 *
 * Blocks in memory, as source and sink, for tests. Single blocks can be hidden (not held), and the sink can refuse now and
 * then. */
#ifndef TESTS_UNIT_STORE_UNIXFS_MEMBLOCKS_H
#define TESTS_UNIT_STORE_UNIXFS_MEMBLOCKS_H

#include "store/base/rng.h"
#include "store/block/source.h"

#include <assert.h>
#include <stdlib.h>

#define MEM_BUCKETS 4096

struct mem_entry {
    struct mem_entry *next;
    struct block *b;
    bool hidden;
};

struct mem_blocks {
    struct block_source source; /* first: get() is given its address */
    struct block_sink sink;
    struct mem_entry *bucket[MEM_BUCKETS];
    unsigned count, gets, puts, refuse_every;
};

static inline struct mem_entry *mem_find(struct mem_blocks *m, const struct cid *cid)
{
    struct mem_entry *e = m->bucket[cid_mix(cid) % MEM_BUCKETS];
    while (e && !cid_same_block(&e->b->cid, cid))
        e = e->next;
    return e;
}

static int mem_get(struct block_source *self, const struct cid *cid, struct span *ret)
{
    struct mem_blocks *m = (struct mem_blocks *)self;
    struct mem_entry *e = mem_find(m, cid);
    m->gets++;
    if (!e || e->hidden)
        return ERR_MISSING;
    *ret = block_span(e->b);
    return 0;
}

static inline void mem_add(struct mem_blocks *m, struct block *take_b)
{
    assert(!cid_is_none(&take_b->cid));
    if (mem_find(m, &take_b->cid)) {
        block_unref(take_b);
        return;
    }
    struct mem_entry *e = MEM_NEW(struct mem_entry);
    e->b = take_b;
    e->next = m->bucket[cid_mix(&take_b->cid) % MEM_BUCKETS];
    m->bucket[cid_mix(&take_b->cid) % MEM_BUCKETS] = e;
    m->count++;
}

static int mem_put(struct block_sink *self, struct block *take_b)
{
    struct mem_blocks *m = (struct mem_blocks *)(void *)((char *)self - offsetof(struct mem_blocks, sink));
    m->puts++;
    if (m->refuse_every && m->puts % m->refuse_every == 0)
        return ERR_AGAIN;
    mem_add(m, take_b);
    return 0;
}

static inline struct mem_blocks *mem_blocks_new(void)
{
    struct mem_blocks *m = MEM_NEW(struct mem_blocks);
    m->source.get = mem_get;
    m->sink.put = mem_put;
    return m;
}

static inline struct mem_blocks *mem_blocks_free(struct mem_blocks *m)
{
    for (unsigned i = 0; i < MEM_BUCKETS; i++) {
        struct mem_entry *next;
        for (struct mem_entry *e = m->bucket[i]; e; e = next) {
            next = e->next;
            block_unref(e->b);
            free(e);
        }
    }
    free(m);
    return NULL;
}

static inline void mem_add_bytes(struct mem_blocks *m, uint64_t codec, struct span bytes, struct cid *ret)
{
    cid_of(ret, codec, bytes);
    mem_add(m, block_from(NULL, BUDGET_STORE, ret, bytes));
}

static inline void mem_hide(struct mem_blocks *m, const struct cid *cid, bool hidden)
{
    struct mem_entry *e = mem_find(m, cid);
    assert(e);
    e->hidden = hidden;
}

static inline void mem_hide_all(struct mem_blocks *m, bool hidden)
{
    for (unsigned i = 0; i < MEM_BUCKETS; i++)
        for (struct mem_entry *e = m->bucket[i]; e; e = e->next)
            e->hidden = hidden;
}

/* The bytes that the vectors were made of: chunk k is this megabyte with k in its first four bytes. */
#define SAMPLE_CHUNK (1u << 20)
static inline uint8_t *sample_new(void)
{
    uint8_t *p = mem_new(SAMPLE_CHUNK);
    uint32_t x = 0x9E3779B9;
    for (size_t i = 0; i < SAMPLE_CHUNK; i += 4) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        for (unsigned k = 0; k < 4; k++)
            p[i + k] = (uint8_t)(x >> (8 * k));
    }
    return p;
}

static inline void sample_number(uint8_t *p, uint32_t k)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(k >> (8 * i));
}

#endif
