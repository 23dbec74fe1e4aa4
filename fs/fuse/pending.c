/* SPDX-License-Identifier: MIT */
#include "fs/fuse/pending.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct pending {
    struct waiter waiter; /* first: a waiter is a pending */
    struct request *r;
    struct pending *prev, *next;
    mono_ns since, deadline;
    mono_ns progress; /* when a block came last, at first `since` */
    mono_ns heard;    /* when it was known last that one was coming, at first `since` */
    struct cid root;
    char comm[17]; /* read when it is needed: a stream's reader parks often */
    size_t charged;
    bool for_blocks; /* waits for wants; else for wait_on or room */
    bool damaged;    /* some of them were here and had to be dropped */
    bool interrupted;
    bool running;
};

struct pending_table {
    struct pending_options o;
    struct pending list;    /* ring */
    struct pending *keeper; /* it keeps the blocks that it was given; NULL: nobody */
    unsigned count;
    mono_ns next; /* no deadline is earlier */
    bool any_interrupted, offline;
};

/* How long those wait that asked for "a moment": for the port of wants to take more, for a tree that is being published */
#define MOMENT (5 * MONO_MS)

struct pending_table *pending_table_new(const struct pending_options *o)
{
    struct pending_table *t = MEM_NEW(struct pending_table);
    t->o = *o;
    t->list.next = t->list.prev = &t->list;
    t->next = MONO_NEVER;
    return t;
}

struct pending_table *pending_table_free(struct pending_table *t)
{
    if (!t)
        return NULL;
    assert(t->count == 0);
    free(t);
    return NULL;
}

/* The program's name; empty when it cannot be known. */
static const char *comm_of(struct pending *p)
{
    char path[40];
    if (p->comm[0] || p->r->pid <= 0)
        return p->comm;
    snprintf(path, sizeof path, "/proc/%d/comm", (int)p->r->pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return p->comm;
    size_t n = fread(p->comm, 1, 16, f);
    fclose(f);
    p->comm[n] = 0;
    p->comm[strcspn(p->comm, "\n")] = 0;
    return p->comm;
}

static bool is_quiet(const struct pending_table *t, const char *comm)
{
    for (unsigned i = 0; i < t->o.quiet_count; i++)
        if (strncmp(t->o.quiet[i], comm, 15) == 0 && strlen(comm) >= strnlen(t->o.quiet[i], 15)) /* comm is cut to 15 */
            return true;
    return false;
}

/* What a request holds while it waits. It came already, so it cannot be refused; but a writer's megabyte has to be seen, so
 * that others leave room for it. Not as BUDGET_WRITE: what waits for room there must not take it. */
static void charge(struct pending_table *t, struct pending *p)
{
    p->charged = sizeof *p + sizeof *p->r + p->r->data.len;
    if (t->o.budget)
        budget_take_always(t->o.budget, BUDGET_TABLE, p->charged);
}

static void let_go(struct pending_table *t, const struct pending *p)
{
    if (t->keeper != p)
        return;
    t->keeper = NULL;
    t->o.let_go(t->o.owner);
}

static void remove_pending(struct pending_table *t, struct pending *p)
{
    let_go(t, p);
    wants_drop(t->o.wants, &p->waiter);
    p->prev->next = p->next;
    p->next->prev = p->prev;
    t->count--;
    if (t->o.budget)
        budget_give(t->o.budget, BUDGET_TABLE, p->charged);
    request_free(p->r);
    free(p);
}

/* What was damaged here and cannot be had from peers is damaged, not absent. */
static int cause(const struct pending *p, int err)
{
    bool unreachable = err == ERR_TIMEOUT || err == ERR_OFFLINE || err == ERR_UNREACHABLE;
    return p->for_blocks && p->damaged && unreachable ? ERR_CORRUPT : err;
}

static void finish(struct pending_table *t, struct pending *p, int err)
{
    request_error(p->r, cause(p, err));
    remove_pending(t, p);
}

/* When a request that misses blocks has waited too long */
static mono_ns patience(const struct pending_table *t, const struct pending *p)
{
    if (p->r->background)
        return MONO_NEVER;
    if (!p->r->reads_content)
        return mono_after(p->heard, t->o.timeout_metadata);
    return mono_after(p->heard > p->progress ? p->heard : p->progress, t->o.timeout_read);
}

/* When it must be answered whatever it waits for */
static mono_ns last_moment(const struct pending_table *t, const struct pending *p)
{
    return t->o.timeout_most && p->r->kernel ? mono_after(p->since, t->o.timeout_most) : MONO_NEVER;
}

static void set_deadline(struct pending_table *t, struct pending *p, mono_ns now)
{
    if (p->for_blocks)
        p->deadline = patience(t, p);
    else if (p->r->wait_on)
        p->deadline = p->r->look_at ? p->r->look_at : MONO_NEVER;
    else
        p->deadline = mono_after(now, MOMENT);
    p->deadline = mono_min(p->deadline, last_moment(t, p));
    t->next = mono_min(t->next, p->deadline);
}

/* Posts what the run has noted. Having some of them is enough: the rest is noted again by the next run. */
static int want_missing(struct pending_table *t, struct pending *p)
{
    struct block_source *s = t->o.source;
    int rc = 0;
    for (unsigned i = 0; i < s->missing_count && rc == 0; i++)
        rc = wants_add(t->o.wants, &p->waiter, &s->missing[i], &p->root, WANT_NOW);
    return p->waiter.count > 0 ? 0 : rc < 0 ? rc : ERR_FAILED; /* missing without a name: a mistake of ours */
}

/* 0: waits on; else the error to answer with. `rc` is what the run said. */
static int arm(struct pending_table *t, struct pending *p, int rc, mono_ns now)
{
    p->for_blocks = rc == ERR_MISSING;
    p->damaged = p->for_blocks && t->o.source->damaged;
    p->root = p->r->root ? *p->r->root : (struct cid){0};
    p->r->root = NULL;
    if (p->for_blocks) {
        if (t->offline)
            return ERR_OFFLINE;
        if (is_quiet(t, comm_of(p)))
            return ERR_IO;
        int err = want_missing(t, p);
        if (err == ERR_AGAIN && now < patience(t, p))
            p->for_blocks = false; /* the port is full: in a moment */
        else if (err < 0)
            return err == ERR_AGAIN ? ERR_TIMEOUT : err;
        if (!t->keeper && t->o.keep && !p->r->background)
            t->keeper = p;
    } else {
        wants_drop(t->o.wants, &p->waiter);
        let_go(t, p); /* whoever has what this waits for may need the memory */
    }
    set_deadline(t, p, now);
    return 0;
}

void pending_run(struct pending_table *t, struct request *r)
{
    int rc = t->o.run(t->o.owner, r);
    if (rc == 0)
        return;
    if (rc != ERR_MISSING && rc != ERR_AGAIN) {
        request_error(r, rc);
        return;
    }
    mono_ns now = mono_now();
    const struct cid *root = r->root;
    void *state = r->state;
    struct request *kept = request_keep(r);
    if (!kept) {
        if (state && r->free_state)
            r->free_state(state);
        request_error(r, ERR_NO_MEMORY);
        return;
    }
    struct pending *p = MEM_NEW(struct pending);
    p->r = kept;
    p->r->state = state;
    p->r->root = root;
    p->since = p->progress = p->heard = now;
    p->prev = t->list.prev;
    p->next = &t->list;
    p->prev->next = p->next->prev = p;
    t->count++;
    charge(t, p);
    int err = arm(t, p, rc, now);
    if (err < 0) {
        finish(t, p, err);
        return;
    }
    p->r->parked = p;
    if (p->r->kernel)
        t->o.parked(t->o.owner, p->r);
}

static void rerun(struct pending_table *t, struct pending *p)
{
    if (p->running)
        return; /* woken by what it does itself */
    p->running = true;
    p->r->wait_on = NULL;
    p->r->look_at = 0;
    bool keeps = t->keeper == p;
    if (keeps)
        t->o.keep(t->o.owner, true);
    int rc = t->o.run(t->o.owner, p->r);
    if (keeps)
        t->o.keep(t->o.owner, false);
    p->running = false;
    if (rc == 0) {
        remove_pending(t, p);
        return;
    }
    int err = rc == ERR_MISSING || rc == ERR_AGAIN ? arm(t, p, rc, mono_now()) : rc;
    if (err < 0)
        finish(t, p, err);
}

void pending_settled(struct pending_table *t, struct waiter *w, int result)
{
    struct pending *p = (struct pending *)w;
    if (result < 0) {
        finish(t, p, result == ERR_CANCELLED ? ERR_TIMEOUT : result);
        return;
    }
    p->progress = mono_now();
    rerun(t, p);
}

/* Runs may park, answer and wake others: the ring is walked by markers that nobody else frees. */
static void each(struct pending_table *t, void (*visit)(struct pending_table *t, struct pending *p, const void *arg),
                 const void *arg)
{
    struct pending *end = MEM_NEW(struct pending), *at = MEM_NEW(struct pending);
    end->prev = t->list.prev; /* what is parked from now on is behind it */
    end->next = &t->list;
    end->prev->next = t->list.prev = end;
    struct pending *p = t->list.next;
    while (p != end) {
        at->prev = p;
        at->next = p->next;
        p->next->prev = at;
        p->next = at;
        if (p->r)
            visit(t, p, arg);
        p = at->next;
        at->prev->next = at->next;
        at->next->prev = at->prev;
    }
    end->prev->next = end->next;
    end->next->prev = end->prev;
    free(at);
    free(end);
}

static void wake_one(struct pending_table *t, struct pending *p, const void *on)
{
    if (p->for_blocks || p->running || p->r->wait_on != on)
        return;
    rerun(t, p);
}

void pending_wake(struct pending_table *t, const void *wait_on)
{
    if (t->count > 0)
        each(t, wake_one, wait_on);
}

void pending_note_interrupt(struct request *kept)
{
    struct pending *p = kept->parked;
    p->interrupted = true;
}

static void interrupt_one(struct pending_table *t, struct pending *p, const void *arg)
{
    (void)arg;
    if (!p->interrupted || p->running)
        return;
    finish(t, p, ERR_INTERRUPTED);
}

void pending_interrupts(struct pending_table *t)
{
    if (t->count > 0)
        each(t, interrupt_one, NULL);
}

struct match {
    bool (*match)(const struct request *r, void *arg);
    void *arg;
    int err;
};

static void cancel_one(struct pending_table *t, struct pending *p, const void *arg)
{
    const struct match *m = arg;
    if (p->running || (m->match && !m->match(p->r, m->arg)))
        return;
    finish(t, p, m->err);
}

void pending_cancel(struct pending_table *t, bool (*match)(const struct request *r, void *arg), void *arg, int err)
{
    struct match m = {match, arg, err};
    if (t->count > 0)
        each(t, cancel_one, &m);
}

static void offline_one(struct pending_table *t, struct pending *p, const void *arg)
{
    (void)arg;
    if (!p->for_blocks || p->running)
        return;
    finish(t, p, ERR_OFFLINE);
}

void pending_set_online(struct pending_table *t, bool online)
{
    t->offline = !online;
    if (t->offline && t->count > 0)
        each(t, offline_one, NULL);
}

mono_ns pending_deadline(const struct pending_table *t)
{
    return t->count > 0 ? t->next : MONO_NEVER;
}

/* What it waits for is coming, though none of it is whole yet. */
static void look_for_progress(struct pending_table *t, struct pending *p, mono_ns now)
{
    mono_ns heard = p->for_blocks ? wants_heard(&p->waiter) : 0;
    if (heard <= p->heard)
        return;
    p->heard = heard;
    set_deadline(t, p, now);
}

static void expire_one(struct pending_table *t, struct pending *p, const void *arg)
{
    const mono_ns *now = arg;
    if (p->running)
        return;
    if (p->deadline <= *now)
        look_for_progress(t, p, *now);
    if (p->deadline > *now) {
        t->next = mono_min(t->next, p->deadline);
        return;
    }
    if (p->for_blocks || last_moment(t, p) <= *now)
        finish(t, p, ERR_TIMEOUT);
    else
        rerun(t, p);
}

void pending_expire(struct pending_table *t, mono_ns now)
{
    if (t->count == 0 || now < t->next)
        return;
    t->next = MONO_NEVER;
    each(t, expire_one, &now);
}

static void forgive_one(struct pending_table *t, struct pending *p, const void *arg)
{
    const mono_ns *now = arg;
    if (!p->for_blocks || p->running)
        return;
    p->heard = *now;
    set_deadline(t, p, *now);
}

void pending_stood_still(struct pending_table *t, mono_ns now)
{
    if (t->count > 0)
        each(t, forgive_one, &now);
}

unsigned pending_count(const struct pending_table *t)
{
    return t->count;
}

void pending_list(struct pending_table *t, struct buf *out, mono_ns now)
{
    buf_add_str(out, "# pid\tprogram\tseconds\trequest\twhy\tpath\n");
    for (struct pending *p = t->list.next; p != &t->list; p = p->next) {
        if (!p->r)
            continue; /* a marker of each() */
        const char *why = p->r->why ? p->r->why : p->for_blocks ? "waits for blocks from peers" : "waits for room";
        buf_printf(out, "%d\t%s\t%.1f\t%s\t%s", (int)p->r->pid, comm_of(p)[0] ? p->comm : "-",
                   (double)(now - p->since) / MONO_S, request_op_name(p->r->op), why);
        if (p->for_blocks)
            buf_printf(out, " (%u)", p->waiter.count);
        buf_add_u8(out, '\t');
        t->o.describe(t->o.owner, p->r, out);
        buf_add_u8(out, '\n');
    }
}
