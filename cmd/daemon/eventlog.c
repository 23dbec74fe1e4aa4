/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/eventlog.h"

#include <stdlib.h>

#define BEHIND_MAX (UINT32_C(16) << 10) /* bytes on their way to a follower; each line takes a kilobyte of memory */

struct follower {
    struct event_log *log;
    struct ctl_request *q;
    uint64_t place; /* of the next event for it, counted as `count` is */
    struct follower *next;
};

struct event_log {
    json_t *rows[EVENTS_KEPT];
    uint64_t count; /* ever added */
    struct follower *followers;
};

struct event_log *event_log_new(void)
{
    return MEM_NEW(struct event_log);
}

struct event_log *event_log_free(struct event_log *l)
{
    if (!l)
        return NULL;
    for (unsigned i = 0; i < EVENTS_KEPT; i++)
        json_decref(l->rows[i]);
    free(l);
    return NULL;
}

/* Who does not read waits in the log; of what is no longer there it misses some. */
static void feed(struct follower *f)
{
    const struct event_log *l = f->log;
    if (l->count > EVENTS_KEPT && f->place < l->count - EVENTS_KEPT)
        f->place = l->count - EVENTS_KEPT;
    while (f->place < l->count && ctl_pending(f->q) <= BEHIND_MAX)
        ctl_line(f->q, json_incref(l->rows[f->place++ % EVENTS_KEPT]));
}

static void on_sent(struct ctl_request *q, void *arg)
{
    (void)q;
    feed(arg);
}

void event_log_add(struct event_log *l, const char *kind, const char *text)
{
    char when[WALL_TEXT_SIZE];
    json_t *row = json_pack("{ss ss ss}", "time", wall_text(wall_now(), when), "kind", kind, "text", text);
    if (!row) /* what a peer said is not UTF-8 */
        row = json_pack("{ss ss}", "time", when, "kind", kind);
    json_t **at = &l->rows[l->count++ % EVENTS_KEPT];
    json_decref(*at);
    *at = row;
    struct follower *next;
    for (struct follower *f = l->followers; f; f = next) {
        next = f->next;
        feed(f);
    }
}

static void on_gone(struct ctl_request *q, void *arg)
{
    struct follower *f = arg;
    struct follower **at = &f->log->followers;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    ctl_unref(q);
    free(f);
}

void event_log_answer(struct event_log *l, struct ctl_request *q, bool follow)
{
    ctl_begin(q, "application/x-ndjson");
    uint64_t first = l->count > EVENTS_KEPT ? l->count - EVENTS_KEPT : 0;
    if (!follow) {
        for (uint64_t i = first; i < l->count; i++)
            ctl_line(q, json_incref(l->rows[i % EVENTS_KEPT]));
        ctl_end(q);
        return;
    }
    struct follower *f = MEM_NEW(struct follower);
    *f = (struct follower){l, ctl_ref(q), first, l->followers};
    l->followers = f;
    q->gone = on_gone;
    q->sent = on_sent;
    q->arg = f;
    feed(f);
}
