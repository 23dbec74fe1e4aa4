/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/upload.h"

#include "cmd/daemon/ctl_parse.h"
#include "cmd/daemon/task.h"

#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <unistd.h>

#define PUTTING_MAX 256 /* further puts wait: their blocks are charged to the budget anyway */

#define SHARE 5 /* of the budget: a fifth */

struct uploads {
    struct upload *first, *last; /* in the order in which they came */
    unsigned count;
    uint64_t next_id;
};

/* Some of what an upload holds: many small pieces, since one that grows with it may find no memory */
#define HELD_CIDS 256
struct upload_held {
    struct upload_held *below;
    struct cid cids[HELD_CIDS];
};

static void destroy(struct upload *s)
{
    upload_unhold_to(s, 0);
    if (s->process >= 0)
        close(s->process);
    store_guard_unref(s->guard);
    s->kind->free(s);
}

static void on_put(void *arg, struct block *b, int result)
{
    struct upload *s = arg;
    s->putting--;
    if (result < 0)
        s->failure = result;
    else if (s->d->engine)
        engine_have(s->d->engine, &b->cid, 1);
    if (s->ended && s->putting == 0)
        destroy(s);
    else if (s->task)
        task_wake(s->task);
}

static int put(struct block_sink *self, struct block *take_b)
{
    struct upload *s = (struct upload *)((char *)self - offsetof(struct upload, sink));
    if (s->failure < 0)
        return s->failure;
    if (s->putting >= PUTTING_MAX)
        return ERR_AGAIN;
    s->putting++;
    upload_hold(s, &take_b->cid);
    blockstore_put_guarded(s->d->store, take_b, s->guard, s->d->mail, on_put, s);
    return 0;
}

/* ---- turns ---- */

static struct upload *first_waiting(const struct uploads *all)
{
    struct upload *s = all ? all->first : NULL;
    while (s && s->id)
        s = s->next;
    return s;
}

static bool has_turn(const struct upload *s)
{
    const struct uploads *all = s->d->uploads;
    if (first_waiting(all) != s)
        return false;
    uint64_t memory = 0;
    for (const struct upload *o = all->first; o; o = o->next)
        memory += o->id ? o->kind->memory : 0;
    return memory == 0 || memory + s->kind->memory <= budget_limit(s->d->budget) / SHARE;
}

static void next_turn(const struct daemon *d)
{
    const struct upload *s = first_waiting(d->uploads);
    if (s && s->task)
        task_wake(s->task);
}

struct starting {
    struct task task;
    struct upload *upload;
};

static int start_step(struct task *t)
{
    struct upload *s = ((struct starting *)t)->upload;
    if (!has_turn(s))
        return TASK_TURN;
    s->id = ++s->d->uploads->next_id;
    s->used = mono_now();
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)s->id);
    ctl_json(t->q, json_pack("{ss}", "upload", text));
    return TASK_ANSWERED;
}

static void start_done(struct task *t)
{
    struct upload *s = ((struct starting *)t)->upload;
    struct daemon *d = s->d;
    s->task = NULL;
    if (s->id == 0)
        upload_end(s);
    next_turn(d);
    free(t);
}

static void used_by(struct upload *s, pid_t pid)
{
    s->used = mono_now();
    if (s->pid == pid)
        return;
    if (s->process >= 0)
        close(s->process);
    s->pid = pid;
    s->process = pid > 0 ? pidfd_open(pid, 0) : -1;
}

static bool is_gone(const struct upload *s)
{
    return s->process < 0 || poll(&(struct pollfd){.fd = s->process, .events = POLLIN}, 1, 0) != 0;
}

/* ---- */

void upload_start(struct upload *take_s, struct ctl_request *q, const struct upload_kind *kind)
{
    struct daemon *d = q->d;
    struct upload *s = take_s;
    *s = (struct upload){.d = d, .kind = kind, .process = -1, .guard = store_guard_new()};
    if (!d->uploads)
        d->uploads = MEM_NEW(struct uploads);
    struct uploads *all = d->uploads;
    if (all->count >= UPLOADS_MAX) {
        ctl_fail(q, ERR_LIMIT, NULL, "%u uploads are open", all->count);
        destroy(s);
        return;
    }
    s->sink = (struct block_sink){.put = put, .budget = d->budget};
    used_by(s, q->pid);
    s->prev = all->last;
    *(s->prev ? &s->prev->next : &all->first) = s;
    all->last = s;
    all->count++;
    struct starting *start = MEM_NEW(struct starting);
    start->upload = s;
    task_start(&start->task, q, start_step, start_done);
    s->task = &start->task;
}

struct upload *upload_find(struct ctl_request *q, const struct upload_kind *kind, const char **ret_op)
{
    uint64_t id = 0; /* no upload has it that can be used */
    const char *op = "";
    (void)ctl_parse_upload(q->rest, &id, &op); /* malformed: there is none of that name */
    struct upload *s = q->d->uploads && id ? q->d->uploads->first : NULL;
    while (s && (s->id != id || s->kind != kind))
        s = s->next;
    if (!s) {
        ctl_fail(q, ERR_NOT_FOUND, NULL, "there is no upload '%.30s' (or it was not used for a minute)", q->rest);
        return NULL;
    }
    if (s->busy) {
        ctl_fail(q, ERR_BUSY, NULL, "the upload %llu is busy with another request", (unsigned long long)id);
        return NULL;
    }
    used_by(s, q->pid);
    *ret_op = op;
    return s;
}

void upload_end(struct upload *s)
{
    struct uploads *all = s->d->uploads;
    *(s->prev ? &s->prev->next : &all->first) = s->next;
    *(s->next ? &s->next->prev : &all->last) = s->prev;
    all->count--;
    s->task = NULL;
    s->ended = true;
    next_turn(s->d);
    if (s->putting == 0)
        destroy(s);
}

void upload_finishing(struct upload *s, struct ctl_request *q)
{
    q->waits_for = "waiting for the disk";
    s->busy = true;
    s->putting++;
}

void upload_finished(struct upload *s)
{
    s->putting--;
    if (!s->ended)
        upload_end(s);
    else if (s->putting == 0)
        destroy(s);
}

void uploads_tick(struct daemon *d, mono_ns now)
{
    struct upload *next, *waits;
    for (struct upload *s = d->uploads ? d->uploads->first : NULL; s; s = next) {
        next = s->next;
        if (!s->id || s->busy || now - s->used <= UPLOAD_IDLE)
            continue;
        waits = first_waiting(d->uploads);
        if ((waits && !has_turn(waits)) || is_gone(s))
            upload_end(s);
    }
}

void uploads_end_all(struct daemon *d)
{
    while (d->uploads && d->uploads->first)
        upload_end(d->uploads->first);
    free(d->uploads);
    d->uploads = NULL;
}

void upload_hold(struct upload *s, const struct cid *cid)
{
    if (s->held_count % HELD_CIDS == 0) {
        struct upload_held *top = MEM_NEW(struct upload_held);
        top->below = s->held;
        s->held = top;
    }
    s->held->cids[s->held_count++ % HELD_CIDS] = *cid;
    blockstore_hold(s->d->store, cid);
}

void upload_unhold_to(struct upload *s, size_t count)
{
    while (s->held_count > count) {
        struct upload_held *top = s->held;
        blockstore_unhold(s->d->store, &top->cids[--s->held_count % HELD_CIDS]);
        if (s->held_count % HELD_CIDS)
            continue;
        s->held = top->below;
        free(top);
    }
}
