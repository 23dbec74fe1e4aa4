/* SPDX-License-Identifier: MIT
 *
 * /v1/export: a DAG as a CAR (version 1), in the order of dagwalk.h. */
#include "cmd/daemon/api.h"

#include "store/base/uvarint.h"
#include "store/block/dagwalk.h"
#include "store/codec/car.h"

#include <stdlib.h>

#define PIECE      (UINT32_C(1) << 20)
#define FRAME_MOST (CAR_FRAME_MAX + UVARINT_MAX_LEN)

struct export
{
    struct task task;
    struct target target;
    struct cid root;
    struct dagwalk *walk; /* NULL: the target is not resolved yet */
    struct buf out;
};

static void export_done(struct task *t)
{
    struct export *x = (struct export *)t;
    target_done(&x->target);
    dagwalk_free(x->walk);
    buf_done(&x->out);
    free(x);
}

static int next_block(struct export *x)
{
    struct cid cid;
    struct span block;
    if (!buf_try_reserve(&x->out, FRAME_MOST)) /* before: what the walk has given, it does not give again */
        return ERR_NO_MEMORY;
    int r = dagwalk_next(x->walk, task_source(&x->task), &cid, &block);
    if (r == ERR_TOO_BIG)
        return why_set(&x->task.why, r, "this DAG has more blocks than an export can remember: raise limits memory");
    if (r <= 0)
        return r;
    car_add_frame_head(&x->out, &cid, block.len);
    buf_add_span(&x->out, block);
    return 0;
}

/* The next siblings will be needed too. */
static void ahead(struct export *x)
{
    struct cid cids[TASK_AHEAD_MAX];
    const struct cid *c;
    unsigned n = 0;
    for (size_t i = 0; i < 4 * (size_t)TASK_AHEAD_MAX && n < TASK_AHEAD_MAX && (c = dagwalk_ahead(x->walk, i)); i++)
        if (!source_has(task_source(&x->task), c))
            cids[n++] = *c;
    task_want_ahead(&x->task, cids, n);
}

/* A quarter of the default budget remembers half a million blocks. */
static int export_open(struct export *x)
{
    int r = target_resolve(&x->target, &x->root, NULL);
    if (r != 0)
        return r;
    x->task.root = x->root;
    struct budget *b = x->task.d->budget;
    x->walk = dagwalk_new(&x->root, b, budget_limit(b) / 4);
    car_add_header(&x->out, &x->root, 1);
    return 0;
}

static int export_step(struct task *t)
{
    struct export *x = (struct export *)t;
    int r = x->walk ? 0 : export_open(x);
    while (r == 0 && !dagwalk_done(x->walk) && buf_len(&x->out) < PIECE)
        r = next_block(x);
    if (r == ERR_MISSING && x->walk)
        ahead(x);
    if (r != 0 && !(r == ERR_MISSING && t->q->began && buf_len(&x->out)))
        return r; /* before the first bytes a failure is an answer of its own, so nothing is sent until a block came */
    ctl_begin(t->q, "application/vnd.ipld.car");
    if (!ctl_write(t->q, buf_span(&x->out)))
        return ERR_NO_MEMORY;
    buf_clear(&x->out);
    t->progress = mono_now();
    if (!dagwalk_done(x->walk) || r < 0)
        return TASK_WAIT;
    ctl_end(t->q);
    return TASK_ANSWERED;
}

void api_export(struct ctl_request *q)
{
    struct target target;
    if (!target_begin(&target, q))
        return;
    struct export *x = MEM_NEW(struct export);
    x->target = target;
    task_start(&x->task, q, export_step, export_done);
    target_ask(&x->target, &x->task);
}
