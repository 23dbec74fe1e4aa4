/* SPDX-License-Identifier: MIT */
#include "store/base/mapfault.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define WATCHES_MAX ((1 << 16) + 16) /* each segment there can be, and some; pages of it exist when they are used */

struct mapfault {
    _Atomic uintptr_t at, len; /* at: 0 free, 1 being made */
    _Atomic uintptr_t low;     /* the first page of zeros; UINTPTR_MAX: none … */
    _Atomic uintptr_t high;    /* … and the last */
};

static struct mapfault watches[WATCHES_MAX];
static _Atomic unsigned watches_used;
static uintptr_t page_size;
static struct sigaction earlier;          /* of who wants to know how we end */
static _Atomic unsigned long epoch, busy; /* busy: so many change pages now, and have not counted that yet */
static _Thread_local volatile unsigned long count;
static _Thread_local volatile sig_atomic_t deadly;

static struct mapfault *find(uintptr_t at)
{
    unsigned used = atomic_load(&watches_used);
    for (unsigned i = 0; i < used; i++) {
        uintptr_t from = atomic_load(&watches[i].at);
        if (from > 1 && at >= from && at - from < atomic_load(&watches[i].len))
            return &watches[i];
    }
    return NULL;
}

static void widen(struct mapfault *w, uintptr_t page)
{
    uintptr_t low = atomic_load(&w->low), high = atomic_load(&w->high);
    while (page > high && !atomic_compare_exchange_weak(&w->high, &high, page))
        ;
    while (page < low && !atomic_compare_exchange_weak(&w->low, &low, page)) /* last: it is what is looked at */
        ;
}

static void changed(void)
{
    atomic_fetch_add(&epoch, 1);
    atomic_fetch_sub(&busy, 1);
}

static void on_bus(int number, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t page = (uintptr_t)info->si_addr & ~(page_size - 1);
    struct mapfault *w = !deadly && info->si_code > 0 ? find(page) : NULL;
    atomic_fetch_add(&busy, 1);
    if (!w || mmap((void *)page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
        (void)sigaction(number, &earlier, NULL); /* it happens once more, and ends us */
        if (info->si_code <= 0)                  /* of another process: it does not */
            (void)raise(number);
        atomic_fetch_sub(&busy, 1);
        return;
    }
    widen(w, page);
    count++;
    changed();
}

static void listen_once(void)
{
    struct sigaction act = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    sigemptyset(&act.sa_mask);
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)sigaction(SIGBUS, &act, &earlier);
}

struct mapfault *mapfault_watch(const void *at, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, listen_once);
    for (unsigned i = 0; i < WATCHES_MAX; i++) {
        struct mapfault *w = &watches[i];
        uintptr_t none = 0;
        if (!atomic_compare_exchange_strong(&w->at, &none, 1))
            continue;
        atomic_store(&w->low, UINTPTR_MAX);
        atomic_store(&w->high, 0);
        atomic_store(&w->len, len);
        atomic_store(&w->at, (uintptr_t)at);
        unsigned used = atomic_load(&watches_used);
        while (used <= i && !atomic_compare_exchange_weak(&watches_used, &used, i + 1))
            ;
        return w;
    }
    return NULL;
}

void mapfault_unwatch(struct mapfault *w)
{
    if (w)
        atomic_store(&w->at, 0);
}

bool mapfault_any(const struct mapfault *w)
{
    return w && atomic_load_explicit(&w->low, memory_order_relaxed) != UINTPTR_MAX;
}

void mapfault_mend(struct mapfault *w, int fd)
{
    atomic_fetch_add(&busy, 1);
    uintptr_t low = atomic_exchange(&w->low, UINTPTR_MAX), high = atomic_exchange(&w->high, 0), at = atomic_load(&w->at);
    size_t len = (high > low ? high - low : 0) + page_size;
    if (low != UINTPTR_MAX && /* else another thread did */
        mmap((void *)low, len, PROT_READ, MAP_SHARED | MAP_FIXED, fd, (off_t)(low - at)) == MAP_FAILED)
        widen(w, low);
    changed();
}

unsigned long mapfault_count(void)
{
    return count;
}

unsigned long mapfault_epoch(void)
{
    return atomic_load(&epoch);
}

void mapfault_deadly(bool on)
{
    deadly = on;
}

static bool has_zeros(struct span s)
{
    uintptr_t from = (uintptr_t)s.data;
    const struct mapfault *w = s.len > 0 ? find(from) : NULL;
    return w && atomic_load(&w->low) < from + s.len && atomic_load(&w->high) + page_size > from;
}

#define ROUNDS_MOST 100

/* What another thread found missing is zeros for all: while pages are changed it is not known what was read. */
static bool read_whole(void (*each)(void *to, struct span s), void *to, struct span s)
{
    for (int i = 0; i < ROUNDS_MOST; i++) {
        unsigned long before = mapfault_epoch();
        each(to, s);
        bool zeros = (before > 0 || mapfault_epoch() > 0) && has_zeros(s);
        if (atomic_load(&busy) == 0 && mapfault_epoch() == before)
            return !zeros;
    }
    return false;
}

static void copy(void *to, struct span s)
{
    if (s.len > 0)
        memcpy(to, s.data, s.len);
}

bool mapfault_copy(void *to, struct span from)
{
    return read_whole(copy, to, from);
}

static void look(void *to, struct span s)
{
    const volatile uint8_t *data = s.data;
    (void)to;
    for (size_t i = 0; i < s.len; i += 4096) /* no page is smaller */
        (void)data[i];
    if (s.len > 0)
        (void)data[s.len - 1];
}

bool mapfault_look(struct span s)
{
    return read_whole(look, NULL, s);
}
