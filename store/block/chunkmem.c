/* SPDX-License-Identifier: MIT */
#include "store/block/chunkmem.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 * CHUNKMEM_SIZE)
#define KEPT_MOST 32

struct huge_page {
    atomic_uint halves; /* that are in use or kept; the others' memory has gone back */
    struct chunkmem half[2];
};

static struct chunkmem *_Atomic kept[KEPT_MOST];

static struct chunkmem *kept_take(void)
{
    for (unsigned i = 0; i < KEPT_MOST; i++) {
        struct chunkmem *c = atomic_load_explicit(&kept[i], memory_order_relaxed) ? atomic_exchange(&kept[i], NULL) : NULL;
        if (c)
            return c;
    }
    return NULL;
}

static bool kept_put(struct chunkmem *c, unsigned most)
{
    for (unsigned i = 0; i < most && i < KEPT_MOST; i++) {
        struct chunkmem *none = NULL;
        if (!atomic_load_explicit(&kept[i], memory_order_relaxed) && atomic_compare_exchange_strong(&kept[i], &none, c))
            return true;
    }
    return false;
}

static uint8_t *map_aligned(void)
{
    uint8_t *p = mmap(NULL, 2 * HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = HUGE_PAGE - (uintptr_t)p % HUGE_PAGE; /* 1 to HUGE_PAGE */
    munmap(p, before);
    if (before < HUGE_PAGE)
        munmap(p + before + HUGE_PAGE, HUGE_PAGE - before);
    (void)madvise(p + before, HUGE_PAGE, MADV_HUGEPAGE); /* a kernel without them refuses: small ones will do */
    return p + before;
}

static void give_back(struct chunkmem *c)
{
    struct huge_page *page = c->page;
    if (atomic_load(&page->halves) > 1)
        madvise(c->data, CHUNKMEM_SIZE, MADV_DONTNEED); /* the other half is used: until it goes, nobody has this one */
    if (atomic_fetch_sub(&page->halves, 1) > 1)
        return;
    munmap(page->half[0].data, HUGE_PAGE);
    free(page);
}

struct chunkmem *chunkmem_take(void)
{
    struct chunkmem *c = kept_take();
    if (c)
        return c;
    struct huge_page *page = malloc(sizeof *page);
    uint8_t *data = page ? map_aligned() : NULL;
    if (!data) {
        free(page);
        return NULL;
    }
    atomic_init(&page->halves, 2);
    for (unsigned i = 0; i < 2; i++)
        page->half[i] = (struct chunkmem){data + i * CHUNKMEM_SIZE, page};
    if (!kept_put(&page->half[1], KEPT_MOST))
        give_back(&page->half[1]);
    return &page->half[0];
}

void chunkmem_give(struct chunkmem *take_c, unsigned most)
{
    if (!kept_put(take_c, most))
        give_back(take_c);
}

void chunkmem_trim(void)
{
    struct chunkmem *c;
    while ((c = kept_take()))
        give_back(c);
}
