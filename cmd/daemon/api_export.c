/* SPDX-License-Identifier: MIT
 *
 * /v1/export: a DAG as a CAR (version 1), in the order of dagwalk.h.
 *
 * What a walk remembers is the memory that walks of others lack. When there is none, one goes on, that which began first and
 * has a reader; others give theirs up and begin anew later, passing over the blocks that went out. */
#include "cmd/daemon/api.h"

#include "store/base/mapfault.h"
#include "store/base/uvarint.h"
#include "store/block/dagwalk.h"
#include "store/codec/car.h"

#include <stdlib.h>

#define PIECE     (UINT32_C(1) << 20)
#define HEAD_MOST (UVARINT_MAX_LEN + CID_MAX)
#define STEP      4096            /* blocks */
#define WAITED    (10 * MONO_S)   /* one whose reader took nothing for so long is not waited for */
#define LATER     (250 * MONO_MS) /* until one that gave way looks again */

/* Some first blocks of the walk, which are the same when it is made again */
struct part {
    uint64_t blocks, mark;
};

struct export
{
    struct task task;
    struct target target;
    struct cid root;
    struct dagwalk *walk; /* NULL: the target is not resolved yet, or its memory was given up */
    mono_ns begun, later; /* the walk; not before that */
    struct part passed, sent;
    struct cid at; /* the block that goes out, … */
    size_t done;   /* … so much of it has; none: the next one is due */
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

static void give_up(struct export *x)
{
    x->walk = dagwalk_free(x->walk);
    x->passed = (struct part){0};
}

static int export_step(struct task *t);

/* There is no memory for the walk. ERR_AGAIN: another goes on, and this has given way. ERR_NO_MEMORY: no other has any. */
static int make_way(struct export *x)
{
    mono_ns now = mono_now();
    for (struct task *t = x->task.d->tasks; t; t = t->next) {
        struct export *o = (struct export *)t;
        if (t->step != export_step || o == x || !o->walk)
            continue;
        if (o->begun >= x->begun || now - t->progress >= WAITED)
            give_up(o);
        else
            x->later = mono_after(now, LATER);
    }
    if (x->later <= now)
        return ERR_NO_MEMORY;
    give_up(x);
    return ERR_AGAIN;
}

/* Whether it is to be sent, else 0 or an error: it has been. */
static int pass(struct export *x, const struct cid *cid)
{
    x->passed.blocks++;
    x->passed.mark = x->passed.mark * 31 + cid_mix(cid);
    if (x->passed.blocks > x->sent.blocks) {
        x->sent = x->passed;
        return 1;
    }
    x->task.progress = mono_now();
    return x->passed.blocks < x->sent.blocks || x->passed.mark == x->sent.mark ? 0 : ERR_CORRUPT;
}

/* The next block of the walk, and its head goes out */
static int begin_block(struct export *x, struct span *ret)
{
    struct cid cid;
    int r = dagwalk_next(x->walk, task_source(&x->task), &cid, ret);
    if (r == ERR_TOO_BIG)
        return why_set(&x->task.why, r, "this DAG has more blocks than an export can remember: raise limits memory");
    if (r == ERR_AGAIN)
        return make_way(x);
    if (r == 1)
        r = pass(x, &cid);
    if (r == 1) {
        car_add_frame_head(&x->out, &cid, ret->len);
        x->at = cid;
        x->done = 0;
    }
    return r;
}

/* Who does not read must not hold a whole block: what is left of one is asked for again. */
static int next_part(struct export *x, size_t piece)
{
    struct span block;
    if (!buf_try_reserve(&x->out, HEAD_MOST + piece)) /* before: what the walk has given, it does not give again */
        return ERR_NO_MEMORY;
    int r = cid_is_none(&x->at) ? begin_block(x, &block) : source_get(task_source(&x->task), &x->at, &block);
    if (r < 0 || cid_is_none(&x->at))
        return r;
    size_t have = buf_len(&x->out);
    struct span part = span_sub(block, x->done, have < piece ? piece - have : 0);
    if (!mapfault_copy(buf_reserve(&x->out, part.len), part))
        return ERR_IO;
    buf_commit(&x->out, part.len);
    x->done += part.len;
    if (x->done == block.len)
        x->at = (struct cid){0};
    return 0;
}

static bool all_out(const struct export *x)
{
    return dagwalk_done(x->walk) && cid_is_none(&x->at);
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
    int r = cid_is_none(&x->root) ? target_resolve(&x->target, &x->root, NULL) : 0;
    if (r != 0)
        return r;
    if (cid_is_none(&x->task.root))
        car_add_header(&x->out, &x->root, 1);
    x->task.root = x->root;
    struct budget *b = x->task.d->budget;
    x->walk = dagwalk_new(&x->root, b, budget_limit(b) / 4);
    x->begun = mono_now();
    return 0;
}

static int export_step(struct task *t)
{
    struct export *x = (struct export *)t;
    if (mono_now() < x->later)
        return ERR_AGAIN;
    int r = x->walk ? 0 : export_open(x);
    size_t piece = ctl_piece(t->q, PIECE);
    for (unsigned n = 0; n < STEP && r == 0 && !all_out(x) && buf_len(&x->out) < piece; n++)
        r = next_part(x, piece);
    if (r == 0 && all_out(x) && x->passed.blocks < x->sent.blocks)
        r = ERR_CORRUPT;
    else if (r == 0 && !all_out(x) && buf_len(&x->out) == 0)
        r = ERR_AGAIN; /* it has passed over what went out */
    if (r == ERR_MISSING && x->walk)
        ahead(x);
    if (r != 0 && !(r == ERR_MISSING && t->q->began && buf_len(&x->out)))
        return r; /* before the first bytes a failure is an answer of its own, so nothing is sent until a block came */
    ctl_begin(t->q, "application/vnd.ipld.car");
    if (!ctl_write(t->q, buf_span(&x->out)))
        return ERR_NO_MEMORY;
    buf_done(&x->out); /* it may be long until there is more */
    t->progress = mono_now();
    if (!all_out(x) || r < 0)
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
