/* SPDX-License-Identifier: MIT */
#include "store/block/block.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define PAGE UINT32_C(4096)

/* Data of big blocks begins at a page: so it goes to the disk from where it is (segment.h). The struct is at the end of the
 * page before it. */
#define ALIGNED_MIN (UINT32_C(128) << 10)

static bool is_aligned(uint32_t cap)
{
    return cap >= ALIGNED_MIN;
}

static size_t footprint(uint32_t cap)
{
    return (is_aligned(cap) ? PAGE : sizeof(struct block)) + cap;
}

/* Buffers of one chunk that were just given up, for the next ones: pages that are new cost more than hashing what comes into
 * them. An eighth of the budget at most, and not for long (block_pool_trim). */
#define POOL_CAP  (UINT32_C(1) << 20)
#define POOL_MOST 32
#ifdef __SANITIZE_ADDRESS__
#define POOL_USED 0 /* so that it sees what is used after it was given up */
#else
#define POOL_USED 1
#endif
static void *_Atomic pool[POOL_MOST];

static void *pool_take(void)
{
    for (unsigned i = 0; i < POOL_MOST; i++) {
        void *p = atomic_load_explicit(&pool[i], memory_order_relaxed) ? atomic_exchange(&pool[i], NULL) : NULL;
        if (p)
            return p;
    }
    return NULL;
}

static bool pool_give(const struct budget *budget, void *p)
{
    uint64_t most = budget ? budget_limit(budget) / 8 / POOL_CAP : 0;
    for (unsigned i = 0; i < most && i < POOL_MOST && POOL_USED; i++) {
        void *none = NULL;
        if (!atomic_load_explicit(&pool[i], memory_order_relaxed) && atomic_compare_exchange_strong(&pool[i], &none, p))
            return true;
    }
    return false;
}

void block_pool_trim(void)
{
    void *p;
    while ((p = pool_take()))
        free(p);
}

static struct block *allocate(uint32_t cap)
{
    _Static_assert(offsetof(struct block, data) % _Alignof(struct block) == 0, "the struct is aligned, too");
    if (!is_aligned(cap))
        return malloc(footprint(cap));
    void *p = cap == POOL_CAP ? pool_take() : NULL;
    if (!p && posix_memalign(&p, PAGE, footprint(cap)) != 0)
        return NULL;
    return (void *)((uint8_t *)p + PAGE - offsetof(struct block, data));
}

static void release(struct block *b)
{
    void *p = is_aligned(b->cap) ? b->data - PAGE : (uint8_t *)b;
    if (b->cap != POOL_CAP || !pool_give(b->budget, p))
        free(p);
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
    struct budget *budget = b->budget;
    size_t size = footprint(b->cap);
    enum budget_class class = (enum budget_class)b->budget_class;
    release(b); /* first: who waits for room may have its memory */
    if (budget)
        budget_give(budget, class, size);
    return NULL;
}
