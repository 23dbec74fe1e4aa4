/* SPDX-License-Identifier: MIT */
#include "store/block/block.h"

#include <assert.h>
#include <stdlib.h>

static size_t footprint(uint32_t cap)
{
    return sizeof(struct block) + cap;
}

struct block *block_new(struct budget *budget, enum budget_class c, uint32_t cap)
{
    assert(cap <= BLOCK_MAX);
    if (budget && !budget_take(budget, c, footprint(cap)))
        return NULL;
    struct block *b = malloc(footprint(cap));
    if (!b) { /* the machine has less than the budget promised: the same as a budget that is used up */
        if (budget)
            budget_give(budget, c, footprint(cap));
        return NULL;
    }
    memset(b, 0, sizeof *b); /* not the data: its maker fills it, and only `len` bytes of it are ever looked at */
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
    if (b->budget)
        budget_give(b->budget, (enum budget_class)b->budget_class, footprint(b->cap));
    free(b);
    return NULL;
}
