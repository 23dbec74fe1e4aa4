/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/upload.h"

#include "cmd/daemon/ctl_parse.h"
#include "cmd/daemon/task.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define PUTTING_MAX 256 /* further puts wait: their blocks are charged to the budget anyway */

struct uploads {
    struct upload *first;
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
    s->free(s);
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
    blockstore_put(s->d->store, take_b, s->d->mail, on_put, s);
    return 0;
}

bool upload_start(struct upload *s, struct ctl_request *q, const void *kind, void (*free_fn)(struct upload *s))
{
    struct daemon *d = q->d;
    if (!d->uploads)
        d->uploads = MEM_NEW(struct uploads);
    struct uploads *all = d->uploads;
    if (all->count >= UPLOADS_MAX) {
        ctl_fail(q, ERR_LIMIT, NULL, "%u uploads are open", all->count);
        return false;
    }
    *s = (struct upload){.d = d, .id = ++all->next_id, .kind = kind, .used = mono_now(), .free = free_fn};
    s->sink = (struct block_sink){.put = put, .budget = d->budget};
    s->next = all->first;
    if (s->next)
        s->next->prev = s;
    all->first = s;
    all->count++;
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)s->id);
    ctl_json(q, json_pack("{ss}", "upload", text));
    return true;
}

struct upload *upload_find(struct ctl_request *q, const void *kind, const char **ret_op)
{
    uint64_t id = 0; /* no upload has it */
    const char *op = "";
    (void)ctl_parse_upload(q->rest, &id, &op); /* malformed: there is none of that name */
    struct upload *s = q->d->uploads ? q->d->uploads->first : NULL;
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
    s->used = mono_now();
    *ret_op = op;
    return s;
}

void upload_end(struct upload *s)
{
    struct uploads *all = s->d->uploads;
    if (s->prev)
        s->prev->next = s->next;
    else
        all->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    all->count--;
    s->task = NULL;
    s->ended = true;
    if (s->putting == 0)
        destroy(s);
}

void uploads_tick(struct daemon *d, mono_ns now)
{
    struct upload *next;
    for (struct upload *s = d->uploads ? d->uploads->first : NULL; s; s = next) {
        next = s->next;
        if (!s->busy && now - s->used > UPLOAD_IDLE)
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
