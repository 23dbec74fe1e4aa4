/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/keeper.h"

#include "store/block/pin.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <uthash.h>

struct keep_want;
struct keep_mark;

enum keep_state { KEEP_NEW, KEEP_FETCHING, KEEP_MARKING, KEEP_FAILED, KEEP_PUT_OFF, KEEP_HELD, KEEP_STATES };

struct keep {
    struct cid cid;
    bool pinned;
    unsigned links;
    bool again; /* the last walk may have passed over what is gone */
    enum keep_state state;
    int failure;
    mono_ns retry_at;       /* KEEP_FAILED */
    struct keep_want *want; /* KEEP_FETCHING */
    struct keep_mark *mark; /* KEEP_MARKING */
    UT_hash_handle hh;
    TAILQ_ENTRY(keep) link;
};
TAILQ_HEAD(keeps, keep);

struct keep_want {
    struct want want;
    struct keeper *keeper;
    struct keep *keep; /* NULL: nobody cares any more */
    mono_ns since;
    uint64_t evicted, damaged; /* blocks that the store had dropped then */
    bool gives_way;            /* it stalled */
};

/* All is here; the store is told that the pin is complete. */
struct keep_mark {
    struct keeper *keeper;
    struct keep *keep;      /* NULL: nobody cares any more */
    uint64_t blocks, bytes; /* that were fetched */
};

struct keeper {
    struct daemon *d;
    struct keep *all;
    struct keeps in[KEEP_STATES];
    unsigned count[KEEP_STATES];
    unsigned flying;              /* wants that have not come back */
    uint64_t incomplete, damaged; /* of the store's figures, when the pins were read */
    bool stopped;
};

struct keeper *keeper_new(struct daemon *d)
{
    struct keeper *k = MEM_NEW(struct keeper);
    k->d = d;
    for (unsigned i = 0; i < KEEP_STATES; i++)
        TAILQ_INIT(&k->in[i]);
    return k;
}

static struct keep *find(const struct keeper *k, const struct cid *cid)
{
    struct keep *e;
    HASH_FIND(hh, k->all, cid, sizeof *cid, e);
    return e;
}

/* To the end of the others in that state; the newest that was never tried is the first of them. */
static void enter(struct keeper *k, struct keep *e, enum keep_state state)
{
    e->state = state;
    k->count[state]++;
    if (state == KEEP_NEW)
        TAILQ_INSERT_HEAD(&k->in[state], e, link);
    else
        TAILQ_INSERT_TAIL(&k->in[state], e, link);
}

static void leave(struct keeper *k, struct keep *e)
{
    if (e->mark)
        e->mark->keep = NULL;
    e->mark = NULL;
    k->count[e->state]--;
    TAILQ_REMOVE(&k->in[e->state], e, link);
}

static void move(struct keeper *k, struct keep *e, enum keep_state state)
{
    leave(k, e);
    enter(k, e, state);
}

static struct keep *get(struct keeper *k, const struct cid *cid)
{
    struct keep *e = find(k, cid);
    if (e)
        return e;
    e = MEM_NEW(struct keep);
    e->cid = *cid;
    HASH_ADD(hh, k->all, cid, sizeof e->cid, e);
    enter(k, e, KEEP_NEW);
    return e;
}

static void forget(struct keeper *k, struct keep *e)
{
    if (e->want) {
        e->want->keep = NULL;
        k->d->port.cancel(k->d->port.self, &e->want->want);
    }
    leave(k, e);
    HASH_DEL(k->all, e);
    free(e);
}

static void forget_unless_needed(struct keeper *k, struct keep *e)
{
    if (!e->pinned && e->links == 0)
        forget(k, e);
}

static void held(struct keeper *k, struct keep *e)
{
    char text[CID_TEXT_SIZE];
    daemon_event(k->d, "kept", "%s", cid_text(&e->cid, text));
    e->pinned = false; /* nothing is left to do for the pin */
    move(k, e, KEEP_HELD);
    forget_unless_needed(k, e);
}

static void failed(struct keeper *k, struct keep *e, int result)
{
    e->failure = result;
    e->retry_at = mono_after(mono_now(), KEEPER_RETRY);
    move(k, e, KEEP_FAILED);
}

/* All of it is here, and the disk did not take that: soon it may. */
static void not_marked(struct keeper *k, struct keep *e, int result)
{
    failed(k, e, result);
    e->retry_at = mono_after(mono_now(), KEEPER_REMARK);
    TAILQ_REMOVE(&k->in[KEEP_FAILED], e, link);
    TAILQ_INSERT_HEAD(&k->in[KEEP_FAILED], e, link); /* before those that wait for longer */
}

static void completed(void *arg, int result)
{
    struct keep_mark *m = arg;
    struct keeper *k = m->keeper;
    struct keep *e = m->keep;
    free(m);
    if (!e)
        return; /* and perhaps no keeper */
    e->mark = NULL;
    if (result == 0 || result == ERR_NOT_FOUND) /* it was unpinned */
        held(k, e);
    else if (result == ERR_AGAIN) /* a block was found damaged meanwhile */
        move(k, e, KEEP_NEW);
    else
        not_marked(k, e, result);
    keeper_tick(k, mono_now());
}

/* Who waits for the pin is answered when the store has it: it says to the next one that it is complete. */
static void mark(struct keeper *k, struct keep *e, struct keep_mark mark, uint64_t damaged)
{
    move(k, e, KEEP_MARKING);
    e->mark = mem_copy(&mark, sizeof mark);
    blockstore_pin_complete(k->d->store, &e->cid, damaged, k->d->mail, completed, e->mark);
}

/* What is passed over because it is held is kept by the block that links to it only when that is stored: until then it may be
 * evicted, and a walk that fetches makes room for what it fetches. So it is walked again: where all links were here from the
 * beginning nothing goes any more. What was found damaged may be gone in any case. */
static bool may_be_gone(const struct keeper *k, const struct keep_want *w)
{
    struct blockstore_stats s;
    blockstore_stats(k->d->store, &s);
    bool fetched = atomic_load_explicit(&w->want.blocks, memory_order_relaxed) > 0;
    return s.damaged != w->damaged || (s.evicted_blocks != w->evicted && (fetched || !w->keep->again));
}

static void on_settled(struct mail *mail, void *owner)
{
    struct keep_want *w = (struct keep_want *)mail;
    struct keeper *k = w->keeper;
    struct keep *e = w->keep;
    (void)owner;
    int result = w->want.result;
    bool gives_way = w->gives_way, again = e && result == 0 && may_be_gone(k, w);
    uint64_t damaged = w->damaged;
    struct keep_mark m = {k, e, atomic_load_explicit(&w->want.blocks, memory_order_relaxed),
                          atomic_load_explicit(&w->want.bytes, memory_order_relaxed)};
    free(w);
    k->flying--;
    if (!e)
        return;
    e->want = NULL;
    if (result < 0) {
        failed(k, e, result);
        if (gives_way && result == ERR_CANCELLED) {
            e->failure = 0;
            move(k, e, KEEP_PUT_OFF);
        }
        keeper_tick(k, mono_now());
        return;
    }
    e->failure = 0;
    e->again = again;
    if (again)
        move(k, e, KEEP_NEW);
    else if (e->pinned)
        mark(k, e, m, damaged);
    else
        held(k, e);
    keeper_tick(k, mono_now());
}

/* false: not now */
static bool fetch(struct keeper *k, struct keep *e)
{
    struct keep_want *w = MEM_NEW(struct keep_want);
    struct blockstore_stats s;
    blockstore_stats(k->d->store, &s);
    w->keeper = k;
    w->keep = e;
    w->since = mono_now();
    w->evicted = s.evicted_blocks;
    w->damaged = s.damaged;
    w->want = (struct want){.mail.run = on_settled,
                            .reply = k->d->mail,
                            .kind = WANT_DAG,
                            .priority = WANT_KEEP,
                            .cid = e->cid,
                            .root = e->cid,
                            .deadline = MONO_NEVER};
    if (k->d->port.post(k->d->port.self, &w->want) < 0) {
        free(w);
        return false;
    }
    e->want = w;
    move(k, e, KEEP_FETCHING);
    k->flying++;
    return true;
}

static struct keep *next_of(const struct keeper *k, mono_ns now)
{
    struct keep *fresh = TAILQ_FIRST(&k->in[KEEP_NEW]), *failed = TAILQ_FIRST(&k->in[KEEP_FAILED]);
    if (fresh)
        return fresh;
    return failed && failed->retry_at <= now ? failed : TAILQ_FIRST(&k->in[KEEP_PUT_OFF]);
}

static void make_room(struct keeper *k, mono_ns now)
{
    mono_ns patience = k->count[KEEP_NEW] ? KEEPER_GLANCE : KEEPER_STALL;
    struct keep *e;
    TAILQ_FOREACH(e, &k->in[KEEP_FETCHING], link)
    {
        struct keep_want *w = e->want;
        mono_ns heard = atomic_load(&w->want.heard);
        if (w->gives_way || now < mono_after(heard > w->since ? heard : w->since, patience))
            continue;
        w->gives_way = true;
        k->d->port.cancel(k->d->port.self, &w->want);
    }
}

void keeper_tick(struct keeper *k, mono_ns now)
{
    struct keep *e = NULL;
    while (!k->stopped && (e = next_of(k, now)) && k->flying < KEEPER_FLIGHT)
        if (!fetch(k, e))
            return;
    if (e)
        make_room(k, now);
}

void keeper_add_pin(struct keeper *k, const struct cid *cid)
{
    struct keep *e = get(k, cid);
    e->pinned = true;
    e->again = false;
    e->failure = 0;                /* whoever asks now waits for this try */
    if (e->state != KEEP_FETCHING) /* somebody asks again; and of what a link has something may be damaged by now */
        move(k, e, KEEP_NEW);
    keeper_tick(k, mono_now());
}

void keeper_drop_pin(struct keeper *k, const struct cid *cid)
{
    struct keep *e = find(k, cid);
    if (!e)
        return;
    e->pinned = false;
    forget_unless_needed(k, e);
}

void keeper_keep(struct keeper *k, const struct cid *cid, bool kept)
{
    struct keep *e = kept ? get(k, cid) : find(k, cid);
    if (!e)
        return;
    e->links += kept ? 1 : -(unsigned)(e->links > 0);
    if (kept)
        keeper_tick(k, mono_now());
    else
        forget_unless_needed(k, e);
}

static int load_pins(struct keeper *k, bool all)
{
    struct store_reader *reader = k->d->reader;
    struct cid at = {.len = 0};
    struct pin pin;
    int r = store_read_begin(reader);
    if (r < 0)
        return r;
    while ((r = store_pin_next(reader, &at, &pin)) == 1) {
        if (pin.complete && !all)
            continue;
        struct keep *e = get(k, &pin.cid);
        e->pinned = true;
        if (e->state == KEEP_HELD || e->state == KEEP_MARKING) /* of the latter the mark may have been, and is no more */
            move(k, e, KEEP_NEW);
    }
    store_read_end(reader);
    return r;
}

int keeper_load_pins(struct keeper *k)
{
    struct blockstore_stats s;
    blockstore_stats(k->d->store, &s);
    k->incomplete = s.pins_incomplete;
    return load_pins(k, s.pending > 0 || s.wanted_blocks > 0);
}

void keeper_look(struct keeper *k)
{
    struct blockstore_stats s;
    blockstore_stats(k->d->store, &s);
    bool more = s.pins_incomplete > k->incomplete, damaged = s.damaged != k->damaged;
    if ((more || damaged) && load_pins(k, false) < 0)
        return; /* the next time */
    k->incomplete = s.pins_incomplete;
    k->damaged = s.damaged;
    while (damaged && s.wanted_blocks > 0 && k->count[KEEP_HELD] > 0)
        move(k, TAILQ_FIRST(&k->in[KEEP_HELD]), KEEP_NEW);
}

bool keeper_progress(const struct keeper *k, const struct cid *cid, struct keep_progress *ret)
{
    const struct keep *e = find(k, cid);
    if (!e || e->state == KEEP_HELD)
        return false;
    *ret = (struct keep_progress){.fetching = e->want || e->mark, .marking = e->mark != NULL, .failure = e->failure};
    if (e->mark) {
        ret->blocks = e->mark->blocks;
        ret->bytes = e->mark->bytes;
    }
    if (e->want) {
        ret->blocks = atomic_load_explicit(&e->want->want.blocks, memory_order_relaxed);
        ret->bytes = atomic_load_explicit(&e->want->want.bytes, memory_order_relaxed);
    }
    return true;
}

unsigned keeper_count(const struct keeper *k)
{
    return HASH_COUNT(k->all) - k->count[KEEP_HELD];
}

void keeper_stop(struct keeper *k)
{
    struct keep *e, *next;
    k->stopped = true;
    HASH_ITER(hh, k->all, e, next)
    {
        forget(k, e);
    }
}

struct keeper *keeper_free(struct keeper *k)
{
    if (!k)
        return NULL;
    keeper_stop(k);
    free(k);
    return NULL;
}
