/* SPDX-License-Identifier: MIT */
#include "store/block/block.h"

#include "store/block/chunkmem.h"
#include "store/content/checksum.h"

#include <assert.h>
#include <stdlib.h>

/* Data of big blocks begins at a page: so it goes to the disk from where it is (segment.h). */
#define PAGE UINT32_C(4096)

static size_t footprint(uint32_t cap)
{
    return sizeof(struct block) + cap;
}

static bool is_chunk(uint32_t cap)
{
#ifdef __SANITIZE_ADDRESS__
    return false && cap; /* so that it sees what is used after it was given up */
#else
    return cap == CHUNKMEM_SIZE;
#endif
}

void block_pool_trim(void)
{
    chunkmem_trim();
}

static struct block *allocate(uint32_t cap)
{
    struct block *b = malloc(sizeof *b + (cap < BLOCK_BIG ? cap : 0));
    if (!b)
        return NULL;
    memset(b, 0, sizeof *b); /* not the data: its maker fills it, and only `len` bytes of it are ever looked at */
    void *data = NULL;
    if (cap < BLOCK_BIG)
        data = b + 1;
    else if (is_chunk(cap))
        data = (b->chunk = chunkmem_take()) ? b->chunk->data : NULL;
    else if (posix_memalign(&data, PAGE, cap) != 0)
        data = NULL;
    b->data = data;
    if (data)
        return b;
    free(b);
    return NULL;
}

/* An eighth of the budget at most is kept for the next ones. */
static void release(struct block *b)
{
    if (b->chunk)
        chunkmem_give(b->chunk, b->budget ? (unsigned)(budget_limit(b->budget) / 8 / CHUNKMEM_SIZE) : 0);
    else if (b->cap >= BLOCK_BIG)
        free(b->data);
    free(b);
}

struct block *block_new(struct budget *budget, enum budget_class c, uint32_t cap)
{
    assert(cap <= BLOCK_MAX);
    if (budget && !budget_take(budget, c, footprint(cap)))
        return NULL;
    struct block *b = allocate(cap);
    if (!b) { /* the machine has less than the budget promised: the same as a budget that is used up */
        if (budget)
            budget_give(budget, c, footprint(cap));
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->cap = cap;
    b->budget_class = (uint8_t)c;
    b->budget = budget;
    return b;
}

struct block *block_new_always(struct budget *budget, enum budget_class c, uint32_t cap)
{
    struct block *b = block_new(NULL, c, cap);
    if (!b)
        return NULL;
    budget_take_always(budget, c, footprint(cap));
    b->budget = budget;
    return b;
}

struct block *block_from(struct budget *budget, enum budget_class c, const struct cid *cid, struct span data)
{
    assert(data.len <= BLOCK_MAX);
    struct block *b = block_new(budget, c, (uint32_t)data.len);
    if (!b)
        return NULL;
    b->cid = *cid;
    b->len = (uint32_t)data.len;
    if (data.len)
        memcpy(b->data, data.data, data.len);
    return b;
}

struct block *block_ref(struct block *b)
{
    unsigned before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return b;
}

struct block *block_unref(struct block *b)
{
    if (!b)
        return NULL;
    unsigned before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return NULL;
    struct budget *budget = b->budget;
    size_t size = footprint(b->cap);
    enum budget_class class = (enum budget_class)b->budget_class;
    release(b); /* first: who waits for room may have its memory */
    if (budget)
        budget_give(budget, class, size);
    return NULL;
}

bool block_reclaim(struct block *b)
{
    if (atomic_load_explicit(&b->refs, memory_order_acquire) != 1)
        return false;
    b->cid = (struct cid){.len = 0};
    b->sum.known = false;
    return true;
}

void block_add_sum(struct block *b)
{
    if (b->len >= BLOCK_BIG)
        b->sum = (struct block_sum){true, checksum(block_span(b))};
}
