/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/task.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define AGAIN_AFTER (10 * MONO_MS)
#define STOOD_STILL (3 * MONO_S) /* without a tick: the process was stopped, or frozen. Nothing could come meanwhile */

static void set_ready(struct task *t)
{
    struct daemon *d = t->d;
    if (t->is_ready)
        return;
    t->is_ready = true;
    t->next_ready = NULL;
    *d->ready_end = t;
    d->ready_end = &t->next_ready;
    event_active(d->wake_event, 0, 0);
}

void task_wake(struct task *t)
{
    set_ready(t);
}

struct block_source *task_source(struct task *t)
{
    return blockcache_source(t->d->cache);
}

static void unlink_ready(struct task *t)
{
    struct daemon *d = t->d;
    struct task **at = &d->ready;
    while (*at && *at != t)
        at = &(*at)->next_ready;
    if (!*at)
        return;
    *at = t->next_ready;
    if (!*at)
        d->ready_end = at;
}

static void end(struct task *t)
{
    struct daemon *d = t->d;
    wants_drop(d->wants, &t->waiter);
    wants_drop(d->wants, &t->ahead);
    if (t->is_ready)
        unlink_ready(t);
    if (t->prev)
        t->prev->next = t->next;
    else
        d->tasks = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->q->gone = NULL;
    t->q->sent = NULL;
    ctl_unref(t->q);
    t->done(t);
}

static void on_gone(struct ctl_request *q, void *arg)
{
    (void)q;
    end(arg);
}

static void on_sent(struct ctl_request *q, void *arg)
{
    (void)q;
    set_ready(arg);
}

void task_start(struct task *t, struct ctl_request *q, int (*step)(struct task *t), void (*done)(struct task *t))
{
    struct daemon *d = q->d;
    mono_ns now = mono_now();
    t->waiter = (struct waiter){.background = false};
    t->ahead = (struct waiter){.background = true};
    t->d = d;
    t->q = ctl_ref(q);
    t->step = step;
    t->done = done;
    t->began = t->progress = now;
    t->again = MONO_NEVER;
    t->next = d->tasks;
    if (t->next)
        t->next->prev = t;
    d->tasks = t;
    q->gone = on_gone;
    q->sent = on_sent;
    q->arg = t;
    set_ready(t);
}

static void again_soon(struct task *t)
{
    struct timeval soon = {0, (suseconds_t)(AGAIN_AFTER / MONO_US)};
    t->again = mono_now() + AGAIN_AFTER;
    event_add(t->d->tick_event, &soon);
}

/* ---- wants ---- */

static int want_missing(struct task *t, struct block_source *s)
{
    unsigned posted = 0;
    int r = 0;
    t->damaged = s->damaged;
    for (unsigned i = 0; i < s->missing_count; i++) {
        const struct cid *root = cid_is_none(&t->root) ? &s->missing[i] : &t->root;
        r = wants_add(t->d->wants, &t->waiter, &s->missing[i], root, WANT_NOW);
        if (r < 0 && r != ERR_AGAIN)
            return r;
        posted += r == 0;
    }
    if (s->missing_count)
        t->waits_for = s->missing[0];
    if (posted == 0)
        again_soon(t);
    return 0;
}

/* What the store does not take is only in the cache: what comes ahead would drive out what is needed now. */
static bool is_kept(struct daemon *d)
{
    struct blockstore_stats s;
    blockstore_stats(d->store, &s);
    return s.fault == 0 && (s.quota_bytes == 0 || s.live_bytes < s.quota_bytes);
}

void task_want_ahead(struct task *t, const struct cid *cids, unsigned count)
{
    if (!is_kept(t->d))
        return;
    for (unsigned i = 0; i < count && t->ahead.count < TASK_AHEAD_MAX; i++) {
        const struct cid *root = cid_is_none(&t->root) ? &cids[i] : &t->root;
        if (wants_add(t->d->wants, &t->ahead, &cids[i], root, WANT_AHEAD) < 0)
            break; /* no room: it is only ahead */
    }
}

void tasks_settled(void *daemon, struct waiter *w, int result)
{
    (void)daemon;
    if (w->background)
        return;
    struct task *t = (struct task *)((char *)w - offsetof(struct task, waiter));
    if (result < 0)
        t->failure = result;
    else
        t->progress = mono_now();
    set_ready(t);
}

void tasks_arrived(void *daemon, struct block *b)
{
    struct daemon *d = daemon;
    blockcache_add(d->cache, b);
}

/* ---- failing ---- */

static const char *hint_for(int err)
{
    static const struct {
        int err;
        const char *hint;
    } hints[] = {
        {ERR_TIMEOUT, "p2p peers"}, {ERR_UNREACHABLE, "p2p peers"},  {ERR_OFFLINE, "p2p doctor"},
        {ERR_NO_SPACE, "p2p gc"},   {ERR_QUOTA, "p2p limits quota"}, {ERR_CORRUPT, "p2p verify --repair"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (hints[i].err == err)
            return hints[i].hint;
    return NULL;
}

static void fail(struct task *t, int err)
{
    char cid[CID_TEXT_SIZE];
    unsigned seconds = (unsigned)((mono_now() - t->progress + MONO_S / 2) / MONO_S);
    unsigned peers = t->d->view ? t->d->view->connections : 0;
    struct ctl_request *q = t->q;
    if (t->damaged && (err == ERR_TIMEOUT || err == ERR_OFFLINE || err == ERR_UNREACHABLE))
        err = ERR_CORRUPT;
    if (t->why.text[0])
        ctl_fail(q, err, hint_for(err), "%s", t->why.text);
    else if (err == ERR_TIMEOUT && !cid_is_none(&t->waits_for))
        ctl_fail(q, err, hint_for(err), "cannot fetch %s: no peer has it (asked %u in %u s)", cid_text(&t->waits_for, cid),
                 peers, seconds);
    else if (err == ERR_CORRUPT && t->damaged)
        ctl_fail(q, err, hint_for(err), "%s: a block is damaged on the disk, and no peer has it (asked %u in %u s)", q->what,
                 peers, seconds);
    else if (!cid_is_none(&t->waits_for) && t->failure)
        ctl_fail(q, err, hint_for(err), "cannot fetch %s: %s", cid_text(&t->waits_for, cid), err_text(err));
    else
        ctl_fail(q, err, hint_for(err), "%s: %s", q->what, err_text(err));
    end(t);
}

/* A block did not come. While others do, it is asked for again. */
static bool give_up(struct task *t, mono_ns now)
{
    if (!t->failure)
        return false;
    mono_ns patience = config_u64(t->d->config, CONFIG_TIMEOUT_READ);
    bool slow_only = t->failure == ERR_TIMEOUT && now - t->progress < patience;
    if (slow_only)
        t->failure = 0;
    return !slow_only;
}

/* Memory may come back: what it is lacking for is not refused at once. */
static bool worth_waiting(struct task *t, int r)
{
    mono_ns now = mono_now(), since = t->short_since ? t->short_since : now;
    t->short_since = r == ERR_NO_MEMORY ? since : 0;
    return r == ERR_NO_MEMORY && !t->why.text[0] && now - since < config_u64(t->d->config, CONFIG_TIMEOUT_READ);
}

static const char *waits_for(int r)
{
    return r == ERR_MISSING     ? "waiting for a block from peers"
           : r == TASK_WAIT     ? "waiting for the reader"
           : r == TASK_TURN     ? "waiting for other uploads to end"
           : r == ERR_NO_MEMORY ? "waiting for memory"
                                : NULL;
}

static void run(struct task *t)
{
    struct daemon *d = t->d;
    struct block_source *s = task_source(t);
    t->again = MONO_NEVER;
    wants_drop(d->wants, &t->waiter);
    int r = store_read_begin(d->reader);
    if (r == 0) {
        source_forget_missing(s);
        r = t->step(t);
        store_read_end(d->reader);
    }
    t->q->waits_for = waits_for(r);
    if (r == TASK_ANSWERED) {
        end(t);
        return;
    }
    if (r == ERR_MISSING && give_up(t, mono_now()))
        r = t->failure;
    if (r == ERR_MISSING)
        r = want_missing(t, s);
    if (worth_waiting(t, r) || r == ERR_AGAIN) {
        again_soon(t);
        r = 0;
    }
    if (r < 0)
        fail(t, r);
}

void tasks_run(struct daemon *d)
{
    unsigned most = 0; /* those that become ready meanwhile have their turn after the loop has looked at events */
    for (const struct task *t = d->ready; t; t = t->next_ready)
        most++;
    while (d->ready && most--) {
        struct task *t = d->ready;
        unlink_ready(t);
        t->is_ready = false;
        run(t);
    }
    if (d->ready)
        event_active(d->wake_event, 0, 0);
}

/* What it waits for, though none of it is whole yet: that is progress too. */
static bool is_coming(struct task *t, mono_ns since)
{
    mono_ns heard = wants_heard(&t->waiter);
    if (heard < since)
        return false;
    t->progress = heard;
    return true;
}

void tasks_tick(struct daemon *d, mono_ns now)
{
    mono_ns patience = config_u64(d->config, CONFIG_TIMEOUT_READ);
    bool stood_still = now - d->ticked_at > STOOD_STILL;
    d->ticked_at = now;
    for (struct task *t = d->tasks, *next; t; t = next) {
        next = t->next;
        if (stood_still)
            t->progress = now;
        if (t->again <= now)
            set_ready(t);
        else if (t->waiter.count && now - t->progress > patience && !is_coming(t, now - patience))
            fail(t, ERR_TIMEOUT);
    }
}
