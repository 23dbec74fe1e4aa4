/* SPDX-License-Identifier: MIT */
#include "store/block/guard.h"

#include "store/base/span.h"

#include <stdatomic.h>
#include <stdlib.h>

struct store_guard {
    atomic_uint refs;
    _Atomic uint64_t forgiven, refused;
    atomic_int error;
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

void store_guard_refuse(struct store_guard *g, int error)
{
    atomic_store(&g->error, error);
    atomic_fetch_add(&g->refused, 1);
}

int store_guard_check(const struct store_guard *g)
{
    return g && atomic_load(&g->refused) != atomic_load(&g->forgiven) ? atomic_load(&g->error) : 0;
}
