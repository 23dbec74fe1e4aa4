/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/keeper.h"

#include "store/block/pin.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <uthash.h>

struct keep_want;

struct keep {
    struct cid cid;
    bool pinned;
    unsigned links;
    bool held; /* all of it; stays listed only while links count it */
    int failure;
    mono_ns retry_at;
    struct keep_want *want; /* NULL: not under way */
    UT_hash_handle hh;
};

struct keep_want {
    struct want want;
    struct keeper *keeper;
    struct keep *keep; /* NULL: nobody cares any more */
};

struct keeper {
    struct daemon *d;
    struct keep *all;
    unsigned flying;
    bool stopped;
};

struct keeper *keeper_new(struct daemon *d)
{
    struct keeper *k = MEM_NEW(struct keeper);
    k->d = d;
    return k;
}

static struct keep *find(const struct keeper *k, const struct cid *cid)
{
    struct keep *e;
    HASH_FIND(hh, k->all, cid, sizeof *cid, e);
    return e;
}

static struct keep *get(struct keeper *k, const struct cid *cid)
{
    struct keep *e = find(k, cid);
    if (e)
        return e;
    e = MEM_NEW(struct keep);
    e->cid = *cid;
    HASH_ADD(hh, k->all, cid, sizeof e->cid, e);
    return e;
}

static void forget(struct keeper *k, struct keep *e)
{
    if (e->want) {
        e->want->keep = NULL;
        k->d->port.cancel(k->d->port.self, &e->want->want);
    }
    HASH_DEL(k->all, e);
    free(e);
}

static void forget_unless_needed(struct keeper *k, struct keep *e)
{
    if (!e->pinned && e->links == 0)
        forget(k, e);
}

static void completed(void *arg, int result)
{
    (void)arg;
    (void)result; /* unpinned meanwhile, or marked at the next start */
}

static void on_settled(struct mail *mail, void *owner)
{
    struct keep_want *w = (struct keep_want *)mail;
    struct keeper *k = w->keeper;
    struct keep *e = w->keep;
    (void)owner;
    int result = w->want.result;
    free(w);
    k->flying--;
    if (!e)
        return;
    e->want = NULL;
    e->failure = result < 0 ? result : 0;
    if (result < 0) {
        e->retry_at = mono_after(mono_now(), KEEPER_RETRY);
        return;
    }
    char text[CID_TEXT_SIZE];
    daemon_event(k->d, "kept", "%s", cid_text(&e->cid, text));
    if (e->pinned)
        blockstore_pin_complete(k->d->store, &e->cid, k->d->mail, completed, NULL);
    e->pinned = false; /* nothing is left to do for the pin */
    e->held = true;
    forget_unless_needed(k, e);
}

static void fetch(struct keeper *k, struct keep *e)
{
    struct keep_want *w = MEM_NEW(struct keep_want);
    w->keeper = k;
    w->keep = e;
    w->want = (struct want){.mail.run = on_settled,
                            .reply = k->d->mail,
                            .kind = WANT_DAG,
                            .priority = WANT_KEEP,
                            .cid = e->cid,
                            .root = e->cid,
                            .deadline = MONO_NEVER};
    if (k->d->port.post(k->d->port.self, &w->want) < 0) {
        e->retry_at = mono_after(mono_now(), MONO_S);
        free(w);
        return;
    }
    e->want = w;
    k->flying++;
}

void keeper_tick(struct keeper *k, mono_ns now)
{
    struct keep *e, *next;
    if (k->stopped)
        return;
    HASH_ITER(hh, k->all, e, next)
    {
        if (k->flying >= KEEPER_FLIGHT)
            break;
        if (!e->want && !e->held && e->retry_at <= now)
            fetch(k, e);
    }
}

void keeper_add_pin(struct keeper *k, const struct cid *cid)
{
    struct keep *e = get(k, cid);
    e->pinned = true;
    e->retry_at = 0;
    if (e->held) { /* a link has it already */
        e->pinned = false;
        blockstore_pin_complete(k->d->store, cid, k->d->mail, completed, NULL);
    }
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

int keeper_load_pins(struct keeper *k)
{
    struct store_reader *reader = k->d->reader;
    struct cid at = {.len = 0};
    struct pin pin;
    int r = store_read_begin(reader);
    if (r < 0)
        return r;
    while ((r = store_pin_next(reader, &at, &pin)) == 1)
        if (!pin.complete)
            get(k, &pin.cid)->pinned = true;
    store_read_end(reader);
    return r;
}

bool keeper_progress(const struct keeper *k, const struct cid *cid, struct keep_progress *ret)
{
    const struct keep *e = find(k, cid);
    if (!e || e->held)
        return false;
    *ret = (struct keep_progress){.fetching = e->want != NULL, .failure = e->failure};
    if (e->want) {
        ret->blocks = atomic_load_explicit(&e->want->want.blocks, memory_order_relaxed);
        ret->bytes = atomic_load_explicit(&e->want->want.bytes, memory_order_relaxed);
    }
    return true;
}

unsigned keeper_count(const struct keeper *k)
{
    unsigned n = 0;
    for (const struct keep *e = k->all; e; e = e->hh.next)
        n += !e->held;
    return n;
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
