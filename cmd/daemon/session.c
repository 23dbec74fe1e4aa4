/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/session.h"

#include "cmd/daemon/task.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define PUTTING_MAX 256 /* further puts wait: their blocks are charged to the budget anyway */

struct sessions {
    struct session *first;
    unsigned count;
    uint64_t next_id;
};

static void destroy(struct session *s)
{
    session_unhold_to(s, 0);
    free(s->held);
    s->free(s);
}

static void on_put(void *arg, struct block *b, int result)
{
    struct session *s = arg;
    s->putting--;
    if (result < 0)
        s->failure = result;
    else if (s->d->engine)
        engine_have(s->d->engine, &b->cid);
    if (s->ended && s->putting == 0)
        destroy(s);
    else if (s->task)
        task_wake(s->task);
}

static int put(struct block_sink *self, struct block *take_b)
{
    struct session *s = (struct session *)((char *)self - offsetof(struct session, sink));
    if (s->failure < 0)
        return s->failure;
    if (s->putting >= PUTTING_MAX)
        return ERR_AGAIN;
    s->putting++;
    session_hold(s, &take_b->cid);
    blockstore_put(s->d->store, take_b, s->d->mail, on_put, s);
    return 0;
}

bool session_start(struct session *s, struct ctl_request *q, const void *kind, void (*free_fn)(struct session *s))
{
    struct daemon *d = q->d;
    if (!d->sessions)
        d->sessions = MEM_NEW(struct sessions);
    struct sessions *all = d->sessions;
    if (all->count >= SESSIONS_MAX) {
        ctl_fail(q, ERR_LIMIT, NULL, "%u uploads are open", all->count);
        return false;
    }
    *s = (struct session){.d = d, .id = ++all->next_id, .kind = kind, .used = mono_now(), .free = free_fn};
    s->sink = (struct block_sink){.put = put, .budget = d->budget};
    s->next = all->first;
    if (s->next)
        s->next->prev = s;
    all->first = s;
    all->count++;
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)s->id);
    ctl_json(q, json_pack("{ss}", "session", text));
    return true;
}

struct session *session_find(struct ctl_request *q, const void *kind, const char **ret_op)
{
    char *end;
    unsigned long long id = strtoull(q->rest, &end, 10);
    struct session *s = q->d->sessions ? q->d->sessions->first : NULL;
    while (s && (s->id != id || s->kind != kind))
        s = s->next;
    if (!s) {
        ctl_fail(q, ERR_NOT_FOUND, NULL, "there is no upload %.30s (or it was not used for a minute)", q->rest);
        return NULL;
    }
    if (s->busy) {
        ctl_fail(q, ERR_BUSY, NULL, "the upload %llu is busy with another request", id);
        return NULL;
    }
    s->used = mono_now();
    *ret_op = *end == '/' ? end + 1 : end;
    return s;
}

void session_end(struct session *s)
{
    struct sessions *all = s->d->sessions;
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

void sessions_tick(struct daemon *d, mono_ns now)
{
    struct session *next;
    for (struct session *s = d->sessions ? d->sessions->first : NULL; s; s = next) {
        next = s->next;
        if (!s->busy && now - s->used > SESSION_IDLE)
            session_end(s);
    }
}

void sessions_end_all(struct daemon *d)
{
    while (d->sessions && d->sessions->first)
        session_end(d->sessions->first);
    free(d->sessions);
    d->sessions = NULL;
}

void session_hold(struct session *s, const struct cid *cid)
{
    if (s->held_count == s->held_cap) {
        s->held_cap = s->held_cap ? 2 * s->held_cap : 64;
        s->held = mem_grow(s->held, s->held_cap, sizeof *s->held);
    }
    s->held[s->held_count++] = *cid;
    blockstore_hold(s->d->store, cid);
}

void session_unhold_to(struct session *s, size_t count)
{
    while (s->held_count > count)
        blockstore_unhold(s->d->store, &s->held[--s->held_count]);
}
