/* SPDX-License-Identifier: MIT
 *
 * /v1/export: a DAG as a CAR (version 1), depth first, each block once. What was visited is remembered by a keyed hash of 16
 * bytes for each block, so hostile CIDs cannot be made to look alike. */
#include "cmd/daemon/api.h"

#include "store/codec/car.h"
#include "store/codec/links.h"

#include <sodium.h>
#include <stdlib.h>

#define PIECE (UINT32_C(1) << 20)

struct seen {
    uint8_t (*slots)[16]; /* all zero: free */
    size_t count, cap;    /* cap: a power of two */
    uint8_t key[crypto_generichash_KEYBYTES];
};

static bool seen_put(struct seen *s, const uint8_t mark[16])
{
    static const uint8_t none[16];
    uint64_t h;
    memcpy(&h, mark, sizeof h);
    for (size_t i = (size_t)h & (s->cap - 1);; i = (i + 1) & (s->cap - 1)) {
        if (memcmp(s->slots[i], mark, 16) == 0)
            return false;
        if (memcmp(s->slots[i], none, 16) == 0) {
            memcpy(s->slots[i], mark, 16);
            s->count++;
            return true;
        }
    }
}

static void seen_grow(struct seen *s)
{
    struct seen old = *s;
    s->cap = old.cap ? 2 * old.cap : 1024;
    s->slots = mem_array(s->cap, sizeof *s->slots);
    s->count = 0;
    static const uint8_t none[16];
    for (size_t i = 0; i < old.cap; i++)
        if (memcmp(old.slots[i], none, 16) != 0)
            (void)seen_put(s, old.slots[i]); /* they differ */
    free(old.slots);
}

/* True the first time */
static bool seen_first(struct seen *s, const struct cid *cid)
{
    uint8_t mark[16];
    struct span hash = cid_hash(cid);
    crypto_generichash(mark, sizeof mark, hash.data, hash.len, s->key, sizeof s->key);
    if (2 * (s->count + 1) > s->cap)
        seen_grow(s);
    return seen_put(s, mark);
}

struct export
{
    struct task task;
    struct target target;
    struct cid root;
    bool resolved;
    struct seen seen;
    struct cid *stack; /* still to do; the next one last */
    size_t count, cap;
    struct buf out;
};

static void export_done(struct task *t)
{
    struct export *x = (struct export *)t;
    target_done(&x->target);
    free(x->seen.slots);
    free(x->stack);
    buf_done(&x->out);
    free(x);
}

static int push(void *arg, const struct cid *cid)
{
    struct export *x = arg;
    if (x->count == x->cap) {
        x->cap = x->cap ? 2 * x->cap : 256;
        x->stack = mem_grow(x->stack, x->cap, sizeof *x->stack);
    }
    x->stack[x->count++] = *cid;
    return 0;
}

/* Children were pushed in order; the first one must be on top. */
static void reverse(struct cid *from, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        struct cid c = from[i];
        from[i] = from[n - 1 - i];
        from[n - 1 - i] = c;
    }
}

static void add_block(struct export *x, const struct cid *cid, struct span block)
{
    if (cid_hash_code(cid) == HASH_IDENTITY)
        return;
    car_add_frame_head(&x->out, cid, block.len);
    buf_add_span(&x->out, block);
}

static int next_block(struct export *x)
{
    struct cid cid = x->stack[x->count - 1];
    struct span block;
    int r = source_get(task_source(&x->task), &cid, &block);
    if (r < 0)
        return r;
    x->count--;
    if (!seen_first(&x->seen, &cid))
        return 0;
    add_block(x, &cid, block);
    size_t from = x->count;
    if (links_possible(cid_codec(&cid)))
        (void)links_of(&cid, block, push, x); /* a damaged block is exported as it is; what its links were is unknown */
    reverse(x->stack + from, x->count - from);
    return 0;
}

/* The next siblings will be needed too. */
static void ahead(struct export *x)
{
    struct cid cids[TASK_AHEAD_MAX];
    unsigned n = 0;
    for (size_t i = x->count; i > 0 && x->count - i < 4 * (size_t)TASK_AHEAD_MAX && n < TASK_AHEAD_MAX; i--)
        if (!source_has(task_source(&x->task), &x->stack[i - 1]))
            cids[n++] = x->stack[i - 1];
    task_want_ahead(&x->task, cids, n);
}

static int export_open(struct export *x)
{
    int r = target_resolve(&x->target, &x->root, NULL);
    if (r != 0)
        return r;
    x->resolved = true;
    x->task.root = x->root;
    randombytes_buf(x->seen.key, sizeof x->seen.key);
    car_add_header(&x->out, &x->root, 1);
    return push(x, &x->root);
}

static int export_step(struct task *t)
{
    struct export *x = (struct export *)t;
    int r = x->resolved ? 0 : export_open(x);
    while (r == 0 && x->count && buf_len(&x->out) < PIECE)
        r = next_block(x);
    if (r == ERR_MISSING)
        ahead(x);
    if (r != 0 && !(r == ERR_MISSING && t->q->began && buf_len(&x->out)))
        return r; /* before the first bytes a failure is an answer of its own, so nothing is sent until a block came */
    ctl_begin(t->q, "application/vnd.ipld.car");
    ctl_write(t->q, buf_span(&x->out));
    buf_clear(&x->out);
    t->progress = mono_now();
    if (x->count || r < 0)
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
