/* SPDX-License-Identifier: MIT */
#include "fs/node/siblings.h"

#include "fs/node/mount_state.h"

#include <stdlib.h>

#define WALKS        16
#define MARKS        4096 /* power of two */
#define WINDOW_FIRST 16   /* entries */
#define WINDOW_MOST  128  /* and half of the one before may be under way: together a waiter's most */
#define WINDOW_BYTES (UINT64_C(4) << 20)
#define LEAF_MOST    (UINT64_C(1) << 20)
#define INNER_BYTES  (UINT64_C(64) << 10) /* about what the root of a bigger file or a directory has */
#define SCAN_MOST    16384                /* entries of a directory that are looked at for one window */
#define IDLE         (5 * MONO_S)
#define MOMENTUM     MONO_S /* a walk that begins so soon after another had its window begins with the same */
#define FOLDERS      4      /* that are wanted ahead of the one being walked */
_Static_assert(WINDOW_MOST + WINDOW_MOST / 2 <= WAITER_WANTS_MAX, "what is under way fits a waiter");

/* Programs go through a directory as it is listed, or sorted by inode number, as cp -r does. Each is an ascending key. */
enum order { BY_PLACE, BY_INODE, ORDERS };

struct walk {
    struct waiter waiter; /* background */
    uint64_t number;      /* 0: free */
    struct cid dir;
    bool listed;
    uint64_t at[ORDERS];    /* keys of the entry used last; 0: none yet */
    uint64_t asked[ORDERS]; /* a use up to here is in order */
    uint64_t half;          /* used up to here, the next window is due */
    enum order order;       /* of the window */
    unsigned window;        /* 0: closed */
    bool all;               /* the window came to the end */
    mono_ns used_at;
};

struct mark {
    uint64_t mix, walk, next;
};

struct siblings {
    struct walk walks[WALKS];
    struct mark marks[MARKS];
    uint64_t numbers;
    unsigned last_window;
    mono_ns last_at;
};

struct siblings *siblings_new(void)
{
    struct siblings *s = MEM_NEW(struct siblings);
    for (unsigned i = 0; i < WALKS; i++)
        s->walks[i].waiter.background = true;
    return s;
}

struct siblings *siblings_free(struct siblings *s)
{
    free(s);
    return NULL;
}

void siblings_drop(struct mount *m)
{
    for (unsigned i = 0; i < WALKS; i++)
        wants_drop(m->wants, &m->siblings->walks[i].waiter);
}

/* ---- walks and marks ---- */

static struct walk *walk_numbered(struct siblings *s, uint64_t number)
{
    for (unsigned i = 0; i < WALKS; i++)
        if (s->walks[i].number == number)
            return &s->walks[i];
    return NULL;
}

static void close_window(struct mount *m, struct walk *w)
{
    wants_drop(m->wants, &w->waiter);
    w->window = 0;
    w->all = false;
}

/* The directory's, or one in place of that which was not used for the longest time. */
static struct walk *walk_of(struct mount *m, const struct cid *dir)
{
    struct siblings *s = m->siblings;
    struct walk *oldest = &s->walks[0];
    for (unsigned i = 0; i < WALKS; i++) {
        struct walk *w = &s->walks[i];
        if (w->number && cid_eq(&w->dir, dir))
            return w;
        if (w->used_at < oldest->used_at)
            oldest = w;
    }
    wants_drop(m->wants, &oldest->waiter);
    *oldest = (struct walk){.waiter.background = true, .number = ++s->numbers, .dir = *dir, .used_at = mono_now()};
    return oldest;
}

static struct mark *mark_slot(struct siblings *s, const struct cid *cid)
{
    return &s->marks[cid_mix(cid) % MARKS];
}

static uint64_t inode_of(const struct cid *cid)
{
    return inode_st_ino(&(struct inode_key){NODE_DAG, 0, cid_span(cid)});
}

/* Of the entries of one walk the earlier keeps its slot: it is used first, and the others are marked again by then. */
void siblings_seen(struct mount *m, const struct cid *dir, const struct unixfs_entry *e, bool listed)
{
    struct walk *w = walk_of(m, dir);
    struct mark *k = mark_slot(m->siblings, &e->cid);
    w->listed |= listed;
    if (k->walk != w->number || k->next <= w->at[BY_PLACE])
        *k = (struct mark){cid_mix(&e->cid), w->number, e->next};
}

/* ---- what comes next ---- */

struct coming {
    enum order order;
    uint64_t from; /* keys above this, the smallest first */
    unsigned scanned, count, most;
    struct {
        uint64_t key;
        struct unixfs_entry entry; /* without its name */
    } list[WINDOW_MOST];
};

static int sort_in(void *arg, const struct unixfs_entry *e, uint64_t next)
{
    struct coming *c = arg;
    uint64_t key = c->order == BY_PLACE ? next : inode_of(&e->cid);
    bool full = c->count == c->most;
    if (c->scanned++ == SCAN_MOST || (full && c->order == BY_PLACE))
        return 1;
    if (key <= c->from || (full && key >= c->list[c->count - 1].key))
        return 0;
    unsigned at = full ? c->count - 1 : c->count;
    for (; at > 0 && c->list[at - 1].key > key; at--)
        c->list[at] = c->list[at - 1];
    c->list[at].key = key;
    c->list[at].entry = *e;
    c->list[at].entry.next = next;
    c->count += !full;
    return 0;
}

/* Entries behind key `from`. What shards of the directory miss is not for the request that runs. */
static void look_ahead(struct mount *m, const struct walk *w, enum order order, uint64_t from, struct coming *ret)
{
    unsigned noted = m->source->missing_count;
    uint64_t cursor = order == BY_PLACE ? from : 0;
    ret->order = order;
    ret->from = from;
    ret->scanned = ret->count = 0;
    (void)unixfs_dir_list(m->source, &w->dir, &cursor, sort_in, ret); /* what can be told is enough */
    m->source->missing_count = noted;
}

static void find_next(struct mount *m, struct walk *w)
{
    struct coming c = {.most = 1};
    for (unsigned k = 0; k < ORDERS; k++) {
        look_ahead(m, w, (enum order)k, w->at[k], &c);
        w->asked[k] = c.count ? c.list[0].key : w->at[k];
    }
}

/* 1: wanted; 0: it is held; ERR_AGAIN: not now */
static int want_entry(struct mount *m, struct walk *w, const struct unixfs_entry *e, uint64_t *bytes)
{
    *mark_slot(m->siblings, &e->cid) = (struct mark){cid_mix(&e->cid), w->number, e->next};
    if (source_has(m->source, &e->cid))
        return 0;
    if (*bytes >= WINDOW_BYTES || wants_add(m->wants, &w->waiter, &e->cid, &w->dir, WANT_AHEAD) < 0)
        return ERR_AGAIN;
    *bytes += !e->known_file ? INNER_BYTES : e->tsize < LEAF_MOST ? e->tsize : LEAF_MOST;
    return 1;
}

static void extend(struct mount *m, struct walk *w)
{
    struct siblings *s = m->siblings;
    struct coming c;
    enum order k = w->order;
    bool more = w->used_at < mono_after(s->last_at, MOMENTUM);
    unsigned begin = more && s->last_window > WINDOW_FIRST ? s->last_window : WINDOW_FIRST;
    w->window = w->window ? w->window * 2 : begin;
    c.most = w->window = w->window < WINDOW_MOST ? w->window : WINDOW_MOST;
    look_ahead(m, w, k, w->asked[k], &c);
    uint64_t bytes = 0;
    unsigned done = 0, wanted = 0;
    for (int got; done < c.count && (got = want_entry(m, w, &c.list[done].entry, &bytes)) >= 0; done++)
        wanted += got;
    if (done > 0) {
        w->half = c.list[done / 2].key;
        w->asked[k] = c.list[done - 1].key;
    }
    if (wanted == 0 && w->waiter.count == 0)
        close_window(m, w); /* all is held, or this was the end */
    s->last_window = w->window;
    s->last_at = w->used_at;
    w->all = done == c.count && c.count < c.most;
}

/* The directory after that of `w` in its parent, when the parent is walked too and this one is held. */
static struct walk *walk_after(struct mount *m, const struct walk *w)
{
    const struct mark *mark = mark_slot(m->siblings, &w->dir);
    const struct walk *parent = mark->walk && mark->mix == cid_mix(&w->dir) ? walk_numbered(m->siblings, mark->walk) : NULL;
    if (!parent || !(parent->window || parent->all))
        return NULL;
    struct coming c = {.most = 1};
    look_ahead(m, parent, parent->order, parent->order == BY_PLACE ? mark->next : inode_of(&w->dir), &c);
    bool folder = c.count && !c.list[0].entry.known_file && source_has(m->source, &c.list[0].entry.cid);
    return folder ? walk_of(m, &c.list[0].entry.cid) : NULL;
}

/* Past the end of the directory, the next ones of its parent */
static void go_on(struct mount *m, struct walk *w)
{
    extend(m, w);
    for (unsigned i = 0; i < FOLDERS && w->all; i++) {
        enum order k = w->order;
        w = walk_after(m, w);
        if (!w)
            return;
        if (w->window || w->all || w->at[BY_PLACE])
            continue;
        w->order = k;
        w->used_at = mono_now();
        extend(m, w);
    }
}

/* ---- uses ---- */

static bool in_order(const struct walk *w, enum order k, uint64_t key)
{
    return key > w->at[k] && key <= w->asked[k];
}

/* An entry that is not held, and no window is open or not for it: one begins when it is the next in some order. */
static void begin(struct mount *m, struct walk *w, const uint64_t keys[ORDERS])
{
    close_window(m, w);
    w->used_at = mono_now();
    if (w->at[BY_PLACE] == 0 && w->listed)
        find_next(m, w);
    unsigned k = 0;
    while (k < ORDERS && !in_order(w, (enum order)k, keys[k]))
        k++;
    memcpy(w->at, keys, sizeof w->at);
    if (k == ORDERS) {
        find_next(m, w);
        return;
    }
    w->order = (enum order)k;
    w->asked[k] = keys[k];
    go_on(m, w);
}

void siblings_used(struct mount *m, const struct cid *cid)
{
    const struct mark *mark = mark_slot(m->siblings, cid);
    struct walk *w = mark->walk && mark->mix == cid_mix(cid) ? walk_numbered(m->siblings, mark->walk) : NULL;
    if (!w || mark->next == w->at[BY_PLACE] || budget_tight(m->o.budget))
        return;
    uint64_t keys[ORDERS] = {mark->next, inode_of(cid)};
    if (!w->window || !in_order(w, w->order, keys[w->order])) {
        if (!source_has(m->source, cid))
            begin(m, w, keys);
        return;
    }
    w->used_at = mono_now();
    memcpy(w->at, keys, sizeof w->at);
    if (keys[w->order] >= w->half)
        go_on(m, w);
}

/* ---- time ---- */

mono_ns siblings_deadline(const struct siblings *s)
{
    mono_ns at = MONO_NEVER;
    for (unsigned i = 0; i < WALKS; i++)
        if (s->walks[i].waiter.count > 0)
            at = mono_min(at, mono_after(s->walks[i].used_at, IDLE));
    return at;
}

void siblings_expire(struct mount *m, mono_ns now)
{
    for (unsigned i = 0; i < WALKS; i++) {
        struct walk *w = &m->siblings->walks[i];
        if (w->waiter.count > 0 && now >= mono_after(w->used_at, IDLE))
            close_window(m, w);
    }
}
