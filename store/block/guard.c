/* SPDX-License-Identifier: MIT */
#include "store/block/guard.h"

#include "store/base/span.h"

#include <stdatomic.h>
#include <stdlib.h>

struct store_guard {
    atomic_uint refs;
    _Atomic uint64_t forgiven;
    atomic_bool given_up;
    uint64_t refused; /* the committer's, and so is */
    int error;
};

struct store_guard *store_guard_new(void)
{
    struct store_guard *g = MEM_NEW(struct store_guard);
    atomic_init(&g->refs, 1);
    return g;
}

struct store_guard *store_guard_ref(struct store_guard *g)
{
    if (g)
        atomic_fetch_add(&g->refs, 1);
    return g;
}

struct store_guard *store_guard_unref(struct store_guard *g)
{
    if (g && atomic_fetch_sub(&g->refs, 1) == 1)
        free(g);
    return NULL;
}

void store_guard_forgive(struct store_guard *g, uint64_t refusals)
{
    atomic_store(&g->forgiven, refusals);
}

void store_guard_give_up(struct store_guard *g)
{
    atomic_store(&g->given_up, true);
}

bool store_guard_given_up(const struct store_guard *g)
{
    return g && atomic_load(&g->given_up);
}

bool store_guard_forgiven(const struct store_guard *g, uint64_t refusals)
{
    return !g || refusals == 0 || (!atomic_load(&g->given_up) && atomic_load(&g->forgiven) >= refusals);
}

void store_guard_refuse(struct store_guard *g, int error)
{
    g->refused++;
    g->error = error;
}

uint64_t store_guard_refusals(const struct store_guard *g)
{
    return g ? g->refused : 0;
}

int store_guard_check(const struct store_guard *g)
{
    return store_guard_forgiven(g, store_guard_refusals(g)) ? 0 : g->error;
}
