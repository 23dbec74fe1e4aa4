/* SPDX-License-Identifier: MIT */
#include "store/block/vouched.h"

#include "store/base/span.h"

#include <stdatomic.h>
#include <stdlib.h>

#define WAYS    8 /* of 8 bytes: a cache line */
#define BUCKETS (UINT32_C(1) << 13)

struct vouched {
    _Atomic uint64_t entry[BUCKETS][WAYS]; /* 0: empty */
};

struct vouched *vouched_new(void)
{
    return MEM_NEW(struct vouched);
}

struct vouched *vouched_free(struct vouched *v)
{
    free(v);
    return NULL;
}

static uint64_t mark_of(const struct cid *cid)
{
    return cid_mix(cid) | 1; /* never the empty one */
}

/* The bucket is chosen by the high bits: the low ones choose whom a newcomer pushes out. */
static uint32_t bucket_of(uint64_t mark)
{
    return (uint32_t)(mark >> 32) % BUCKETS;
}

static int way_of(const struct vouched *v, uint64_t mark)
{
    const _Atomic uint64_t *bucket = v->entry[bucket_of(mark)];
    for (int i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&bucket[i], memory_order_relaxed) == mark)
            return i;
    return -1;
}

bool vouched_has(const struct vouched *v, const struct cid *cid)
{
    return way_of(v, mark_of(cid)) >= 0;
}

void vouched_add(struct vouched *v, const struct cid *cid)
{
    uint64_t mark = mark_of(cid);
    if (way_of(v, mark) >= 0)
        return;
    _Atomic uint64_t *bucket = v->entry[bucket_of(mark)];
    unsigned at = 0;
    while (at < WAYS && atomic_load_explicit(&bucket[at], memory_order_relaxed) != 0)
        at++;
    if (at == WAYS)
        at = (unsigned)(mark >> 1) % WAYS;
    atomic_store_explicit(&bucket[at], mark, memory_order_relaxed);
}

void vouched_drop(struct vouched *v, const struct cid *cid)
{
    uint64_t mark = mark_of(cid);
    int at = way_of(v, mark);
    if (at >= 0)
        atomic_store_explicit(&v->entry[bucket_of(mark)][at], 0, memory_order_relaxed);
}
