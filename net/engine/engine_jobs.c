/* SPDX-License-Identifier: MIT
 *
 * Blocks between the host, the workers and the committer. Reads and verifications are collected during a turn and go to the
 * workers in batches, so that small blocks do not cost a wake-up each. A reader of the store is used by one job at a time;
 * it may be another thread each time (LMDB is opened with MDB_NOTLS).
 *
 * A block that was verified is pinned in the cache until it is committed: wants and peers are answered from there meanwhile.
 * Its
 * memory stays charged to BUDGET_NET until then, so a committer that falls behind makes the exchange refuse bytes from
 * peers, and their windows shut.
 */
#include "net/engine/engine_state.h"

#include <assert.h>
#include <stdlib.h>

#define CACHE_BYTES ((size_t)4 << 20) /* blocks that are in the store: served again soon, often */

/* ---- reading ---- */

struct load_item {
    struct cid cid;
    uint64_t tag, most, size;
    int result;
    bool direct;
    struct block *block;
};

struct load_job {
    struct job job;
    struct load_job *next;
    struct budget *budget;
    struct store_reader *reader;
    unsigned count;
    struct load_item items[ENGINE_BATCH];
};

static void load_one(struct load_job *j, struct load_item *i)
{
    i->result = store_size(j->reader, &i->cid, &i->size);
    if (i->result < 0 || i->size > i->most)
        return; /* whoever only asks whether it is here does not have it hashed */
    struct block *b = block_new(j->budget, BUDGET_NET, (uint32_t)i->size);
    i->result = b ? store_copy(j->reader, &i->cid, i->direct, b) : ERR_NO_MEMORY;
    if (i->result < 0) {
        (void)block_unref(b);
        return;
    }
    b->cid = i->cid;
    i->block = b;
}

/* A block that is asked for the first time in a while goes past the page cache: a big file that one peer fetches once shall not
 * push out what programs here work with, and new pages cost more than the copying. The second time it stays there. */
static bool first_time(struct engine *e, const struct cid *cid)
{
    uint64_t mix = cid_mix(cid);
    uint32_t *slot = &e->served[mix % ENGINE_SERVED];
    bool first = *slot != (uint32_t)(mix >> 32);
    *slot = (uint32_t)(mix >> 32);
    return first;
}

/* On a worker: the pages of the map may have to come from the disk */
static void load_work(struct job *job)
{
    struct load_job *j = (struct load_job *)job;
    int err = store_read_begin(j->reader);
    for (unsigned i = 0; i < j->count; i++) {
        if (err < 0)
            j->items[i].result = ERR_AGAIN; /* it is being opened again: whether the block is held is not known */
        else
            load_one(j, &j->items[i]);
    }
    if (err == 0)
        store_read_end(j->reader);
}

static void start_loads(struct engine *e);

static void load_done(struct mail *m, void *owner)
{
    struct load_job *j = (struct load_job *)m;
    struct engine *e = owner;
    assert(e); /* the engine waits for its jobs before it goes */
    e->readers[e->reader_count++] = j->reader;
    e->jobs--;
    mono_ns now = mono_now();
    for (unsigned i = 0; i < j->count; i++)
        host_loaded(e->host, j->items[i].tag, j->items[i].result, j->items[i].size, j->items[i].block, now);
    free(j);
    start_loads(e);
}

static void start_loads(struct engine *e)
{
    while (e->loads && e->reader_count) {
        struct load_job *j = e->loads;
        e->loads = j->next;
        if (!e->loads)
            e->loads_end = &e->loads;
        j->reader = e->readers[--e->reader_count];
        workers_submit(e->o.workers, &j->job);
    }
}

static void queue_loads(struct engine *e)
{
    if (!e->filling)
        return;
    e->jobs++;
    *e->loads_end = e->filling;
    e->loads_end = &e->filling->next;
    e->filling = NULL;
    start_loads(e);
}

static bool load_from_cache(struct engine *e, const struct host_action *a)
{
    struct block *b = blockcache_get(e->cache, &a->cid);
    if (!b)
        return false;
    struct block *given = NULL;
    if (b->len <= a->most) {
        /* the exchange looks at the codec it asked for, and the cache holds the one that came */
        given = cid_eq(&b->cid, &a->cid) ? block_ref(b) : block_from(e->o.budget, BUDGET_NET, &a->cid, block_span(b));
        if (!given) {
            host_loaded(e->host, a->tag, ERR_NO_MEMORY, b->len, NULL, mono_now());
            return true;
        }
    }
    host_loaded(e->host, a->tag, 0, b->len, given, mono_now());
    return true;
}

void engine_load(struct engine *e, const struct host_action *a)
{
    if (load_from_cache(e, a))
        return;
    if (!e->filling) {
        e->filling = MEM_NEW(struct load_job);
        e->filling->job = (struct job){.mail.run = load_done, .work = load_work, .reply = e->answers};
        e->filling->budget = e->o.budget;
    }
    struct load_job *j = e->filling;
    j->items[j->count++] =
        (struct load_item){.cid = a->cid, .tag = a->tag, .most = a->most, .direct = a->most > 0 && first_time(e, &a->cid)};
    if (j->count == ENGINE_BATCH)
        queue_loads(e);
}

/* ---- verifying ---- */

struct verify_item {
    struct block *block;
    struct exchange_prefix prefix;
    uint64_t tag;
    int result;
};

struct verify_job {
    struct job job;
    unsigned count;
    size_t bytes;
    struct verify_item items[ENGINE_BATCH];
};

static void verify_work(struct job *job)
{
    struct verify_job *j = (struct verify_job *)job;
    for (unsigned i = 0; i < j->count; i++) {
        struct verify_item *item = &j->items[i];
        item->result = exchange_verify_block(item->block, &item->prefix);
        if (item->result == 0)
            block_add_sum(item->block);
    }
}

static void verify_done(struct mail *m, void *owner)
{
    struct verify_job *j = (struct verify_job *)m;
    struct engine *e = owner;
    assert(e);
    e->jobs--;
    mono_ns now = mono_now();
    for (unsigned i = 0; i < j->count; i++)
        host_verified(e->host, j->items[i].tag, j->items[i].block, j->items[i].result, now);
    free(j);
}

static void submit_verify(struct engine *e)
{
    if (!e->checking)
        return;
    e->jobs++;
    workers_submit(e->o.workers, &e->checking->job);
    e->checking = NULL;
}

void engine_verify(struct engine *e, const struct host_action *a)
{
    if (!e->checking) {
        e->checking = MEM_NEW(struct verify_job);
        e->checking->job = (struct job){.mail.run = verify_done, .work = verify_work, .reply = e->answers};
    }
    struct verify_job *j = e->checking;
    j->items[j->count++] = (struct verify_item){.block = a->block, .prefix = a->prefix, .tag = a->tag};
    j->bytes += a->block->len;
    if (j->count == ENGINE_BATCH || j->bytes >= ENGINE_BATCH_BYTES)
        submit_verify(e);
}

/* ---- storing ---- */

static void stored(void *arg, struct block *b, int result)
{
    struct engine *e = arg;
    e->jobs--;
    struct cid cid = b->cid;
    blockcache_unpin(e->cache, &cid);
    blockcache_drop(e->cache, &cid); /* what is held is what the store has: it may fail to take it, and collect it later */
    host_stored(e->host, &cid, result, mono_now());
}

void engine_store(struct engine *e, const struct host_action *a)
{
    blockcache_pin(e->cache, a->block);
    e->jobs++;
    blockstore_put(e->o.store, a->block, e->answers, stored, e);
}

/* ---- life ---- */

void engine_jobs_flush(struct engine *e)
{
    queue_loads(e);
    submit_verify(e);
}

int engine_jobs_open(struct engine *e)
{
    size_t share = (size_t)(budget_limit(e->o.budget) / 32);
    e->cache = blockcache_new(e->o.budget, share < CACHE_BYTES ? share : CACHE_BYTES, NULL);
    e->loads_end = &e->loads;
    while (e->reader_count < ENGINE_READERS) {
        int err = store_reader_new(e->o.store, &e->readers[e->reader_count]);
        if (err < 0)
            return err;
        e->reader_count++;
    }
    return 0;
}

void engine_jobs_close(struct engine *e)
{
    assert(!e->jobs);
    while (e->reader_count)
        store_reader_free(e->readers[--e->reader_count]);
    e->cache = blockcache_free(e->cache);
}
