/* SPDX-License-Identifier: MIT
 *
 * /v1/pin, /v1/unpin, /v1/pins, /v1/gc, /v1/verify. */
#include "cmd/daemon/api.h"
#include "cmd/daemon/keeper.h"

#include "store/base/log.h"
#include "store/block/index_rebuild.h"
#include "store/block/pin.h"
#include "store/block/verify.h"

#include <stdlib.h>

#define PINS_PAGE         512
#define WATCH_EVERY       (250 * MONO_MS)
#define VERIFY_SLICE      (50 * MONO_MS)
#define VERIFY_STEP       16
#define VERIFY_EVENTS_MAX 64
#define VERIFY_BEHIND     (UINT32_C(1) << 20) /* bytes of problems that nobody has read; then it waits … */
#define VERIFY_RUNS       16                  /* by itself; a DAG has fewer levels */
#define VERIFY_PATIENCE   (30 * MONO_S)       /* … so long, because it keeps a snapshot, whose pages cannot be used again */

/* ---- pin, unpin: the path is resolved by a task, the rest is an operation of the store ---- */

struct pin_task {
    struct task task;
    struct target target;
    bool unpin, issued, done, watching;
    int result;
    struct cid cid;
    struct pin_answer *answer; /* under way */
    uint64_t bytes;            /* last progress */
    struct event *timer;
};

/* Finds its way back also when the client has gone. */
struct pin_answer {
    struct pin_task *task;
    struct daemon *d;
    struct cid cid;
    bool unpin;
};

static void pin_task_done(struct task *t)
{
    struct pin_task *p = (struct pin_task *)t;
    if (p->answer)
        p->answer->task = NULL;
    if (p->timer)
        event_free(p->timer);
    target_done(&p->target);
    free(p);
}

static void on_pinned(void *arg, int result)
{
    struct pin_answer *a = arg;
    if (result == 0 && a->unpin)
        keeper_drop_pin(a->d->keeper, &a->cid);
    else if (result == 0)
        keeper_add_pin(a->d->keeper, &a->cid);
    if (a->task) {
        a->task->answer = NULL;
        a->task->done = true;
        a->task->result = result;
        task_wake(&a->task->task);
    }
    free(a);
}

static void issue(struct pin_task *p)
{
    struct daemon *d = p->task.d;
    const char *name = ctl_param(p->task.q, "name");
    struct pin_answer *a = MEM_NEW(struct pin_answer);
    *a = (struct pin_answer){p, d, p->cid, p->unpin};
    p->answer = a;
    p->issued = true;
    if (p->unpin)
        blockstore_unpin(d->store, &p->cid, d->mail, on_pinned, a);
    else
        blockstore_pin(d->store, &p->cid, name ? name : "", d->mail, on_pinned, a);
}

static json_t *pin_row(struct task *t, const struct cid *cid, const struct keep_progress *progress)
{
    char text[CID_TEXT_SIZE], when[WALL_TEXT_SIZE];
    struct pin pin = {.since = 0};
    (void)store_pin_get(t->d->reader, cid, &pin); /* unpinned meanwhile: an empty row */
    json_t *v = json_pack("{ss ss ss s:s?}", "cid", cid_text(cid, text), "state",
                          pin.complete || !progress ? "complete"
                          : progress->fetching      ? "fetching"
                                                    : "waiting",
                          "since", wall_text(pin.since, when), "name", pin.name);
    if (progress) {
        json_object_set_new(v, "blocks", json_integer((json_int_t)progress->blocks));
        json_object_set_new(v, "bytes", json_integer((json_int_t)progress->bytes));
    }
    return v;
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    task_wake(arg);
}

/* `wait`: a line whenever there is news, until all is here or nothing comes any more. */
static int watch(struct pin_task *p)
{
    struct task *t = &p->task;
    struct keep_progress progress;
    mono_ns now = mono_now();
    if (!p->timer) {
        p->timer = event_new(t->d->base, -1, EV_PERSIST, on_watch, t);
        event_add(p->timer, &(struct timeval){0, (suseconds_t)(WATCH_EVERY / MONO_US)});
        t->progress = now;
    }
    if (!keeper_progress(t->d->keeper, &p->cid, &progress)) {
        ctl_begin(t->q, "application/x-ndjson");
        ctl_line(t->q, pin_row(t, &p->cid, NULL));
        ctl_end(t->q);
        return TASK_ANSWERED;
    }
    if (progress.bytes != p->bytes) {
        p->bytes = progress.bytes;
        t->progress = now;
        ctl_begin(t->q, "application/x-ndjson");
        ctl_line(t->q, pin_row(t, &p->cid, &progress));
    }
    char text[CID_TEXT_SIZE];
    bool late = !progress.marking && now - t->progress > config_u64(t->d->config, CONFIG_TIMEOUT_READ);
    if (!progress.failure && !late)
        return TASK_WAIT;
    return why_set(&t->why, progress.failure ? progress.failure : ERR_TIMEOUT,
                   "%s is pinned, but not all of it is here: %s. The node goes on trying", cid_text(&p->cid, text),
                   progress.failure ? err_text(progress.failure) : "no peer has it");
}

static int pin_step(struct task *t)
{
    struct pin_task *p = (struct pin_task *)t;
    char text[CID_TEXT_SIZE];
    if (!p->issued) {
        int r = target_resolve(&p->target, &p->cid, NULL);
        if (r != 0)
            return r;
        issue(p);
    }
    if (!p->done)
        return TASK_WAIT;
    if (p->result == ERR_NOT_FOUND)
        return why_set(&t->why, p->result, "%s is not pinned", cid_text(&p->cid, text));
    if (p->result < 0)
        return why_set(&t->why, p->result, "cannot keep %s: %s", cid_text(&p->cid, text), err_text(p->result));
    if (!p->unpin && ctl_flag(t->q, "wait"))
        return watch(p);
    struct keep_progress progress;
    bool fetching = !p->unpin && keeper_progress(t->d->keeper, &p->cid, &progress);
    if (p->unpin)
        ctl_json(t->q, json_pack("{ss}", "cid", cid_text(&p->cid, text)));
    else
        ctl_json(t->q, pin_row(t, &p->cid, fetching ? &progress : NULL));
    return TASK_ANSWERED;
}

static void start_pin(struct ctl_request *q, bool unpin)
{
    struct target target;
    if (!target_begin(&target, q))
        return;
    struct pin_task *p = MEM_NEW(struct pin_task);
    p->target = target;
    p->unpin = unpin;
    task_start(&p->task, q, pin_step, pin_task_done);
    target_ask(&p->target, &p->task);
}

void api_pin(struct ctl_request *q)
{
    start_pin(q, false);
}

void api_unpin(struct ctl_request *q)
{
    start_pin(q, true);
}

/* ---- pins ---- */

struct pins_task {
    struct task task;
    struct cid at;
};

static void pins_done(struct task *t)
{
    free(t);
}

static int pins_step(struct task *t)
{
    struct pins_task *p = (struct pins_task *)t;
    struct pin pin;
    struct cid from = p->at;
    struct buf out = BUF_INIT;
    char cid[CID_TEXT_SIZE], when[WALL_TEXT_SIZE];
    int r = 1;
    for (unsigned n = 0; n < PINS_PAGE && r == 1; n++) {
        r = store_pin_next(t->d->reader, &p->at, &pin);
        if (r != 1)
            break;
        json_t *v = json_pack("{ss ss ss ss}", "cid", cid_text(&pin.cid, cid), "state",
                              pin.complete ? "complete" : "incomplete", "since", wall_text(pin.since, when), "name", pin.name);
        if (!v) /* a name that is not UTF-8 */
            v = json_pack("{ss}", "cid", cid);
        if (ctl_page_add(&out, v) < 0)
            r = ERR_NO_MEMORY;
    }
    if (r >= 0) {
        ctl_begin(t->q, "application/x-ndjson");
        r = ctl_write(t->q, buf_span(&out)) ? r : ERR_NO_MEMORY;
    }
    if (r == ERR_NO_MEMORY)
        p->at = from;
    buf_done(&out);
    if (r == 0)
        ctl_end(t->q);
    return r == 1 ? TASK_WAIT : r;
}

void api_pins(struct ctl_request *q)
{
    struct pins_task *p = MEM_NEW(struct pins_task);
    task_start(&p->task, q, pins_step, pins_done);
}

/* ---- gc ---- */

static void on_collected(void *arg, const struct collect_result *r)
{
    struct ctl_request *q = arg;
    if (r->result < 0)
        ctl_fail(q, r->result, "p2p verify", "the collection failed: %s", err_text(r->result));
    else
        ctl_json(q, json_pack("{sI sI}", "blocks", (json_int_t)r->blocks, "bytes", (json_int_t)r->bytes));
    ctl_unref(q);
}

void api_gc(struct ctl_request *q)
{
    q->waits_for = "collecting";
    blockstore_collect(q->d->store, q->d->mail, on_collected, ctl_ref(q));
}

/* ---- verify: slices of work on a worker ---- */

struct verify {
    struct job job;
    struct daemon *d;
    struct ctl_request *q; /* a reference; NULL: nobody asked, … */
    unsigned runs;         /* … and so many have begun */
    struct store_verify *check;
    struct verify_event events[VERIFY_EVENTS_MAX];
    unsigned count;
    int result; /* of the slice */
    struct verify_progress progress;
    mono_ns waits_since;            /* for the reader; 0: it does not */
    struct verify *next;            /* that waits a moment, … */
    void (*then)(struct verify *v); /* … for this */
};

static int verify_start(struct daemon *d, struct ctl_request *q, bool repair, unsigned runs);

static void verify_work(struct job *j)
{
    struct verify *v = (struct verify *)j;
    mono_ns end = mono_now() + VERIFY_SLICE;
    v->count = 0;
    do {
        v->result = store_verify_step(v->check, VERIFY_STEP, &v->events[v->count]);
        v->count += v->result == 1;
    } while (v->result >= 0 && v->count < VERIFY_EVENTS_MAX && mono_now() < end);
    store_verify_progress(v->check, &v->progress);
}

static void verify_waited(evutil_socket_t fd, short what, void *arg)
{
    struct verify *v = arg, **at = &v->d->verifies;
    (void)fd;
    (void)what;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    v->then(v);
}

static void verify_wait(struct verify *v, void (*then)(struct verify *v))
{
    struct daemon *d = v->d;
    v->then = then;
    v->next = d->verifies;
    d->verifies = v;
    event_base_once(d->base, -1, EV_TIMEOUT, verify_waited, v, &(struct timeval){0, 20000});
}

/* A disk that does not answer may keep the repairs; nobody else waits for that but the end of the node. */
static void verify_finish(struct verify *v)
{
    struct daemon *d = v->d;
    if (!d->stopping && store_verify_repairs(v->check)) {
        verify_wait(v, verify_finish);
        return;
    }
    store_verify_free(v->check);
    d->verify_count--;
    if (v->q)
        ctl_unref(v->q);
    free(v);
}

void verifies_end_all(struct daemon *d)
{
    for (struct verify *v; (v = d->verifies);) {
        d->verifies = v->next;
        verify_finish(v);
    }
}

static void verify_lines(struct verify *v)
{
    char cid[CID_TEXT_SIZE];
    struct blockstore_stats stats;
    blockstore_stats(v->d->store, &stats);
    for (unsigned i = 0; i < v->count; i++) {
        const struct verify_event *e = &v->events[i];
        ctl_line(v->q,
                 json_pack("{ss ss sI sI sb}", "problem", verify_problem_text(e->problem), "cid", cid_text(&e->cid, cid),
                           "expected", (json_int_t)e->expected, "found", (json_int_t)e->found, "repaired", (int)e->repaired));
    }
    const struct verify_progress *p = &v->progress;
    if (ctl_pending(v->q) > 0 && v->result >= 0) /* who reads slowly is told less often */
        return;
    ctl_line(v->q,
             json_pack("{sI sI sI sI sI sI sI}", "blocks", (json_int_t)p->blocks, "bytes", (json_int_t)p->bytes, "blocks_total",
                       (json_int_t)p->blocks_total, "bytes_total", (json_int_t)stats.bytes, "unchecked",
                       (json_int_t)p->unchecked, "problems", (json_int_t)p->problems, "repaired", (json_int_t)p->repaired));
}

static void verify_go_on(struct verify *v)
{
    struct daemon *d = v->d;
    bool behind = v->q && v->q->http && !d->stopping && ctl_pending(v->q) > VERIFY_BEHIND;
    v->waits_since = !behind ? 0 : v->waits_since ? v->waits_since : mono_now();
    if (behind && mono_now() - v->waits_since > VERIFY_PATIENCE) {
        ctl_fail(v->q, ERR_TIMEOUT, NULL, "the check stopped: nobody reads what it found");
        verify_finish(v);
    } else if (behind || v->result == ERR_AGAIN) {
        v->result = 0;
        verify_wait(v, verify_go_on);
    } else {
        workers_submit(d->workers, &v->job);
    }
}

/* What was found again by one check leads to more. */
static void verify_told(struct verify *v)
{
    log_info("store.checked", "result=\"%s\" problems=%llu repaired=%llu",
             v->result == ERR_CLOSED ? "done" : err_text(v->result), (unsigned long long)v->progress.problems,
             (unsigned long long)v->progress.repaired);
    if (v->result == ERR_CLOSED && v->progress.problems > 0 && v->runs < VERIFY_RUNS)
        (void)verify_start(v->d, NULL, true, v->runs + 1);
}

static void verify_slice(struct mail *mail, void *owner)
{
    struct verify *v = (struct verify *)mail;
    struct daemon *d = owner;
    if (!d || (v->q && !v->q->http) || d->stopping) { /* hung up, or the node stops */
        verify_finish(v);
        return;
    }
    if (v->q)
        verify_lines(v);
    if (v->result >= 0 || v->result == ERR_AGAIN) {
        verify_go_on(v);
        return;
    }
    if (!v->q)
        verify_told(v);
    else if (v->result == ERR_CLOSED)
        ctl_end(v->q);
    else
        ctl_fail(v->q, v->result, NULL, "the check stopped: %s", err_text(v->result));
    verify_finish(v);
}

static int verify_start(struct daemon *d, struct ctl_request *q, bool repair, unsigned runs)
{
    struct verify *v = MEM_NEW(struct verify);
    int r = store_verify_new(&v->check, d->store, repair);
    if (r < 0) {
        free(v);
        return r;
    }
    v->d = d;
    v->runs = runs;
    v->q = q ? ctl_ref(q) : NULL;
    d->verify_count++;
    v->job = (struct job){.mail.run = verify_slice, .work = verify_work, .reply = d->mail};
    workers_submit(d->workers, &v->job);
    return 0;
}

void api_verify(struct ctl_request *q)
{
    int r = verify_start(q->d, q, ctl_flag(q, "repair"), 1);
    if (r < 0) {
        ctl_fail(q, r, NULL, "cannot check the store: %s", err_text(r));
        return;
    }
    q->waits_for = "checking";
    ctl_begin(q, "application/x-ndjson");
}

struct look {
    struct job job;
    struct daemon *d;
};

static void look_work(struct job *j)
{
    (void)store_check_pages(((struct look *)j)->d->store); /* it tells by itself */
}

static void looked(struct mail *mail, void *owner)
{
    struct look *l = (struct look *)mail;
    (void)owner;
    l->d->verify_count--;
    free(l);
}

void verify_by_itself(struct daemon *d)
{
    struct blockstore_stats s;
    blockstore_stats(d->store, &s);
    int r = s.rebuilt ? verify_start(d, NULL, true, 1) : 0;
    if (r < 0)
        log_warn("store.unchecked", "error=\"%s\" next=\"p2p verify --repair\"", err_text(r));
    if (s.rebuilt || s.disk_bytes > (uint64_t)INDEX_LARGE)
        return;
    struct look *l = MEM_NEW(struct look);
    *l = (struct look){.job = {.mail.run = looked, .work = look_work, .reply = d->mail}, .d = d};
    d->verify_count++;
    workers_submit_slow(d->workers, &l->job);
}
