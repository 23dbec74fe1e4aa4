/* SPDX-License-Identifier: MIT
 *
 * A class may use its own share plus whatever of the room no class has reserved. The check and the charge are two atomic
 * steps, so two threads at once can pass the limit by one request; the later one sees it and takes its charge back.
 *
 * What lies beside the charges is their difference to private memory. Bytes that are charged and not written to yet make it
 * look smaller than it is, so the most that was seen is believed for a while. Memory that malloc keeps and a charge then uses
 * is counted twice in that time: on the side of caution. */
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

#define RESERVE_PART 8            /* of the limit: what may come beside the charges between two looks */
#define LOOK_PART    64           /* of the limit: so much is charged between two looks */
#define LOOK_REST    MONO_MS      /* between two while somebody is refused: a thousand may ask again at once */
#define BESIDE_KEPT  (5 * MONO_S) /* until the most that was seen is forgotten, little by little */

struct budget {
    _Atomic uint64_t limit;
    uint64_t (*private_bytes)(void);
    _Atomic uint64_t beside;   /* private memory that nobody charged: the most that was seen lately */
    _Atomic uint64_t unlooked; /* charged since the last look */
    atomic_flag looking;
    _Atomic mono_ns looked_at; /* written by who looks */
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
    atomic_flag_clear(&b->looking);
    return b;
}

struct budget *budget_free(struct budget *b)
{
    free(b);
    return NULL;
}

uint64_t budget_room(const struct budget *b)
{
    uint64_t limit = atomic_load(&b->limit);
    if (!b->private_bytes)
        return limit;
    uint64_t taken = atomic_load(&b->beside) + limit / RESERVE_PART;
    uint64_t least = limit / 2 > BUDGET_LEAST ? limit / 2 : BUDGET_LEAST;
    return limit > taken + least ? limit - taken : least;
}

uint64_t budget_share(const struct budget *b, enum budget_class c)
{
    return budget_room(b) / 64 * classes[c].share;
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

static void wake(struct budget *b)
{
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

static void look(struct budget *b, mono_ns now)
{
    if (!b->private_bytes || atomic_flag_test_and_set(&b->looking))
        return;
    atomic_store(&b->unlooked, 0);
    uint64_t used = atomic_load(&b->used), private = b->private_bytes();
    uint64_t beside = private > used ? private - used : 0, before = atomic_load(&b->beside);
    mono_ns passed = now > b->looked_at ? now - b->looked_at : 0; /* another thread's may be a little later */
    if (beside < before && passed < BESIDE_KEPT)
        beside = before - (uint64_t)((double)(before - beside) * (double)passed / (double)BESIDE_KEPT);
    b->looked_at += passed;
    atomic_store(&b->beside, beside);
    atomic_flag_clear(&b->looking);
}

void budget_look(struct budget *b, mono_ns now)
{
    look(b, now);
    wake(b); /* not in look(): who is refused, asks again and looks would do so without end */
}

static void look_at_times(struct budget *b, size_t bytes)
{
    if (!b->private_bytes || atomic_fetch_add(&b->unlooked, bytes) + bytes < budget_limit(b) / LOOK_PART)
        return;
    mono_ns now = mono_now();
    if (!atomic_load(&b->refused) || now >= mono_after(atomic_load(&b->looked_at), LOOK_REST))
        look(b, now);
}

bool budget_take(struct budget *b, enum budget_class c, size_t bytes)
{
    look_at_times(b, bytes);
    charge(b, c, bytes);
    uint64_t mine = atomic_load(&b->by_class[c]);
    if (mine <= budget_share(b, c) || mine + claimed_by_others(b, c) <= budget_room(b)) {
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
    look_at_times(b, bytes);
    charge(b, c, bytes);
    note_peak(b);
}

void budget_give(struct budget *b, enum budget_class c, size_t bytes)
{
    uint64_t before = atomic_fetch_sub(&b->by_class[c], bytes);
    assert(before >= bytes);
    (void)before;
    atomic_fetch_sub(&b->used, bytes);
    wake(b);
}

void budget_set_limit(struct budget *b, uint64_t limit_bytes)
{
    atomic_store(&b->limit, limit_bytes < BUDGET_MIN ? BUDGET_MIN : limit_bytes);
}

uint64_t budget_limit(const struct budget *b)
{
    return atomic_load(&b->limit);
}

uint64_t budget_beside(const struct budget *b)
{
    return atomic_load(&b->beside);
}

void budget_set_gauge(struct budget *b, uint64_t (*private_bytes)(void))
{
    b->private_bytes = private_bytes;
    budget_look(b, mono_now());
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
    return budget_used(b) > budget_room(b) / 4 * 3;
}

bool budget_class_tight(const struct budget *b, enum budget_class c)
{
    uint64_t others = claimed_by_others(b, c), room = budget_room(b);
    uint64_t reach = room > others ? room - others : 0;
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
