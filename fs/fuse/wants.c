/* SPDX-License-Identifier: MIT */
#include "fs/fuse/wants.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

/* An entry is in the table while it may gain waiters; once cancelled it is out of it and only waits to come back. */
struct entry {
    struct want want; /* first: a mail is an entry */
    struct wants *owner;
    struct entry *next;
    struct want_link *links;
    enum want_priority priority; /* ours: that in the want belongs to the port */
    bool in_table;
};

struct want_link {
    struct entry *entry;
    struct waiter *waiter;
    struct want_link *entry_next, *waiter_next;
};

#define BUCKETS 4096

struct wants {
    struct wants_options o;
    struct entry *buckets[BUCKETS];
    unsigned open;
};

struct wants *wants_new(const struct wants_options *o)
{
    struct wants *ws = MEM_NEW(struct wants);
    ws->o = *o;
    return ws;
}

struct wants *wants_free(struct wants *ws)
{
    if (!ws)
        return NULL;
    assert(ws->open == 0);
    free(ws);
    return NULL;
}

/* Bounded by the port and by WAITER_WANTS_MAX: counted, not refused. */
static void *take(struct wants *ws, size_t size)
{
    if (ws->o.budget)
        budget_take_always(ws->o.budget, BUDGET_TABLE, size);
    return mem_new(size);
}

static void give(struct wants *ws, void *p, size_t size)
{
    if (ws->o.budget)
        budget_give(ws->o.budget, BUDGET_TABLE, size);
    free(p);
}

static struct entry **bucket(struct wants *ws, const struct cid *cid)
{
    return &ws->buckets[cid_mix(cid) % BUCKETS];
}

static struct entry *find(const struct wants *ws, const struct cid *cid)
{
    struct entry *e = ws->buckets[cid_mix(cid) % BUCKETS];
    while (e && !cid_eq(&e->want.cid, cid))
        e = e->next;
    return e;
}

static void leave_table(struct wants *ws, struct entry *e)
{
    if (!e->in_table)
        return;
    struct entry **at = bucket(ws, &e->want.cid);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    e->in_table = false;
}

static void unlink_from_entry(struct want_link *l)
{
    struct want_link **at = &l->entry->links;
    while (*at != l)
        at = &(*at)->entry_next;
    *at = l->entry_next;
}

static void unlink_from_waiter(struct want_link *l)
{
    struct want_link **at = &l->waiter->links;
    while (*at != l)
        at = &(*at)->waiter_next;
    *at = l->waiter_next;
    l->waiter->count--;
}

static void settle(struct mail *take_m, void *owner)
{
    struct entry *e = (struct entry *)take_m;
    struct wants *ws = e->owner;
    (void)owner;
    leave_table(ws, e);
    ws->open--;
    int result = e->want.result;
    if (e->want.block) {
        if (result == 0)
            ws->o.arrived(ws->o.owner, e->want.block);
        block_unref(e->want.block);
    }
    while (e->links) { /* a waiter that is told may drop others: look anew each time */
        struct want_link *l = e->links;
        struct waiter *w = l->waiter;
        unlink_from_entry(l);
        unlink_from_waiter(l);
        give(ws, l, sizeof *l);
        if (!w->background)
            ws->o.settled(ws->o.owner, w, result);
    }
    give(ws, e, sizeof *e);
}

static int post(struct wants *ws, const struct cid *cid, const struct cid *root, enum want_priority p, struct entry **ret)
{
    struct entry *e = take(ws, sizeof *e);
    e->owner = ws;
    e->want.mail.run = settle;
    e->want.reply = ws->o.reply;
    e->want.kind = WANT_BLOCK;
    e->want.priority = e->priority = p;
    e->want.cid = *cid;
    e->want.root = cid_is_none(root) ? *cid : *root;
    e->want.deadline = MONO_NEVER; /* deadlines are the requests' */
    int rc = ws->o.port.post(ws->o.port.self, &e->want);
    if (rc < 0) {
        give(ws, e, sizeof *e);
        return rc;
    }
    struct entry **at = bucket(ws, cid);
    e->next = *at;
    *at = e;
    e->in_table = true;
    ws->open++;
    *ret = e;
    return 0;
}

static bool linked(const struct waiter *w, const struct entry *e)
{
    for (const struct want_link *l = w->links; l; l = l->waiter_next)
        if (l->entry == e)
            return true;
    return false;
}

int wants_add(struct wants *ws, struct waiter *w, const struct cid *cid, const struct cid *root, enum want_priority p)
{
    if (w->count >= WAITER_WANTS_MAX)
        return ERR_AGAIN;
    struct entry *e = find(ws, cid);
    if (!e) {
        int rc = post(ws, cid, root, p, &e);
        if (rc < 0)
            return rc;
    } else if (linked(w, e)) {
        return 0;
    } else if (p < e->priority) {
        e->priority = p;
        ws->o.port.raise(ws->o.port.self, &e->want, p);
    }
    struct want_link *l = take(ws, sizeof *l);
    *l = (struct want_link){.entry = e, .waiter = w, .entry_next = e->links, .waiter_next = w->links};
    e->links = w->links = l;
    w->count++;
    return 0;
}

static void cancel(struct wants *ws, struct entry *e)
{
    leave_table(ws, e);
    ws->o.port.cancel(ws->o.port.self, &e->want);
}

void wants_drop(struct wants *ws, struct waiter *w)
{
    while (w->links) {
        struct want_link *l = w->links;
        struct entry *e = l->entry;
        unlink_from_entry(l);
        unlink_from_waiter(l);
        give(ws, l, sizeof *l);
        if (!e->links && e->in_table)
            cancel(ws, e);
    }
}

mono_ns wants_heard(const struct waiter *w)
{
    mono_ns last = 0;
    for (const struct want_link *l = w->links; l; l = l->waiter_next) {
        mono_ns heard = atomic_load(&l->entry->want.heard);
        last = heard > last ? heard : last;
    }
    return last;
}

bool wants_has(const struct wants *ws, const struct cid *cid)
{
    return find(ws, cid) != NULL;
}

void wants_cancel_all(struct wants *ws)
{
    for (unsigned i = 0; i < BUCKETS; i++)
        while (ws->buckets[i]) {
            assert(!ws->buckets[i]->links);
            cancel(ws, ws->buckets[i]);
        }
}

unsigned wants_open(const struct wants *ws)
{
    return ws->open;
}
