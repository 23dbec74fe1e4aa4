/* SPDX-License-Identifier: MIT
 *
 * A class may use its own share plus whatever of the limit no class has reserved. The check and the charge are two atomic
 * steps, so two threads at once can pass the limit by one request; the later one sees it and takes its charge back. */
#include "store/base/budget.h"

#include "store/base/span.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

/* Guaranteed shares in 1/64 of the limit; they sum to 40, so that 24/64 float to whoever asks. */
static const struct {
    const char *name;
    unsigned share;
} classes[BUDGET_CLASSES] = {
    [BUDGET_WRITE] = {"write", 10}, [BUDGET_READ] = {"read", 8},   [BUDGET_NET] = {"net", 10},
    [BUDGET_STORE] = {"store", 8},  [BUDGET_TABLE] = {"table", 4},
};

struct budget {
    _Atomic uint64_t limit;
    _Atomic uint64_t used;
    _Atomic uint64_t peak;
    _Atomic uint64_t by_class[BUDGET_CLASSES];
    atomic_bool refused;                /* somebody waits */
    atomic_int watch[BUDGET_WATCH_MAX]; /* -1: free */
    unsigned watch_count;
};

struct budget *budget_new(uint64_t limit_bytes)
{
    assert(limit_bytes >= BUDGET_MIN);
    struct budget *b = MEM_NEW(struct budget);
    atomic_store(&b->limit, limit_bytes);
    return b;
}

struct budget *budget_free(struct budget *b)
{
    free(b);
    return NULL;
}

uint64_t budget_share(const struct budget *b, enum budget_class c)
{
    return atomic_load(&b->limit) / 64 * classes[c].share;
}

/* What other classes hold or may still claim of their own shares */
static uint64_t claimed_by_others(const struct budget *b, unsigned c)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < BUDGET_CLASSES; i++) {
        if (i == c)
            continue;
        uint64_t used = atomic_load(&b->by_class[i]);
        uint64_t share = budget_share(b, i);
        sum += used > share ? used : share;
    }
    return sum;
}

static void charge(struct budget *b, enum budget_class c, size_t bytes)
{
    atomic_fetch_add(&b->by_class[c], bytes);
    atomic_fetch_add(&b->used, bytes);
}

static void note_peak(struct budget *b)
{
    uint64_t used = atomic_load(&b->used);
    uint64_t peak = atomic_load(&b->peak);
    while (used > peak && !atomic_compare_exchange_weak(&b->peak, &peak, used))
        ;
}

bool budget_take(struct budget *b, enum budget_class c, size_t bytes)
{
    charge(b, c, bytes);
    uint64_t mine = atomic_load(&b->by_class[c]);
    if (mine <= budget_share(b, c) || mine + claimed_by_others(b, c) <= atomic_load(&b->limit)) {
        note_peak(b);
        return true;
    }
    atomic_fetch_sub(&b->by_class[c], bytes);
    atomic_fetch_sub(&b->used, bytes);
    atomic_store(&b->refused, true);
    return false;
}

void budget_take_always(struct budget *b, enum budget_class c, size_t bytes)
{
    charge(b, c, bytes);
    note_peak(b);
}

void budget_give(struct budget *b, enum budget_class c, size_t bytes)
{
    uint64_t before = atomic_fetch_sub(&b->by_class[c], bytes);
    assert(before >= bytes);
    (void)before;
    atomic_fetch_sub(&b->used, bytes);
    if (!atomic_exchange(&b->refused, false))
        return;
    for (unsigned i = 0; i < b->watch_count; i++) {
        uint64_t one = 1;
        int fd = atomic_load(&b->watch[i]);
        if (fd < 0)
            continue;
        ssize_t wrote = write(fd, &one, sizeof one);
        (void)wrote; /* full counter: it is readable already */
    }
}

void budget_set_limit(struct budget *b, uint64_t limit_bytes)
{
    atomic_store(&b->limit, limit_bytes < BUDGET_MIN ? BUDGET_MIN : limit_bytes);
}

uint64_t budget_limit(const struct budget *b)
{
    return atomic_load(&b->limit);
}

uint64_t budget_used(const struct budget *b)
{
    return atomic_load(&b->used);
}

uint64_t budget_peak(const struct budget *b)
{
    return atomic_load(&b->peak);
}

uint64_t budget_class_used(const struct budget *b, enum budget_class c)
{
    return atomic_load(&b->by_class[c]);
}

const char *budget_class_name(enum budget_class c)
{
    return classes[c].name;
}

bool budget_tight(const struct budget *b)
{
    return budget_used(b) > budget_limit(b) / 4 * 3;
}

bool budget_class_tight(const struct budget *b, enum budget_class c)
{
    uint64_t others = claimed_by_others(b, c), limit = budget_limit(b);
    uint64_t reach = limit > others ? limit - others : 0;
    return budget_class_used(b, c) > reach / 4 * 3;
}

void budget_watch(struct budget *b, int eventfd)
{
    for (unsigned i = 0; i < b->watch_count; i++) {
        int unused = -1;
        if (atomic_compare_exchange_strong(&b->watch[i], &unused, eventfd))
            return;
    }
    assert(b->watch_count < BUDGET_WATCH_MAX);
    atomic_store(&b->watch[b->watch_count], eventfd);
    b->watch_count++;
}

void budget_unwatch(struct budget *b, int eventfd)
{
    for (unsigned i = 0; i < b->watch_count; i++) {
        int mine = eventfd;
        if (atomic_compare_exchange_strong(&b->watch[i], &mine, -1))
            return;
    }
}
