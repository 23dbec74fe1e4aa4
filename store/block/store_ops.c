/* SPDX-License-Identifier: MIT
 *
 * Operations that need nothing of the committer's inside: putting a block, waiting for an operation; and the figures. */
#include "store/block/store_internal.h"

#include <stdlib.h>

static void do_nothing(struct mail *m, void *owner)
{
    (void)m; /* the caller of blockstore_do owns it */
    (void)owner;
}

int blockstore_do(struct blockstore *bs, struct store_op *op)
{
    struct mailbox *mb = mailbox_new(1, NULL);
    op->reply = mb;
    op->mail.run = do_nothing;
    blockstore_submit(bs, op);
    while (!mailbox_take(mb))
        (void)mailbox_wait(mb, MONO_NEVER);
    mailbox_free(mb);
    return op->result;
}

/* A bigger block is worth a commit, and its memory is wanted back; unless it came from a peer: nobody waits until it is on
 * disk, and syncing after every other block would keep the disk from those who read. */
#define LAZY_BLOCK (UINT32_C(64) << 10)

static bool may_wait(const struct blockstore *bs, const struct block *b)
{
    if (b->len <= LAZY_BLOCK)
        return true;
    return b->budget_class == BUDGET_NET && bs->budget && !budget_class_tight(bs->budget, BUDGET_NET);
}

struct put_op {
    struct store_op op;
    struct block *block;
    void (*done)(void *arg, struct block *b, int result);
    void *arg;
};

static int apply_put(struct store_op *op, struct store_txn *txn)
{
    struct block *b = ((struct put_op *)op)->block;
    return store_txn_put(txn, &b->cid, block_span(b), &b->sum);
}

static void put_finish(struct mail *m, void *owner)
{
    (void)owner;
    struct put_op *p = (struct put_op *)m;
    if (p->done)
        p->done(p->arg, p->block, p->op.result);
    block_unref(p->block);
    store_guard_unref(p->op.guard);
    free(p);
}

void blockstore_put(struct blockstore *bs, struct block *take_b, struct mailbox *reply,
                    void (*done)(void *arg, struct block *b, int result), void *arg)
{
    blockstore_put_guarded(bs, take_b, NULL, reply, done, arg);
}

void blockstore_put_guarded(struct blockstore *bs, struct block *take_b, struct store_guard *g, struct mailbox *reply,
                            void (*done)(void *arg, struct block *b, int result), void *arg)
{
    struct put_op *p = MEM_NEW(struct put_op);
    p->op = (struct store_op){.mail.run = put_finish,
                              .apply = apply_put,
                              .reply = reply,
                              .guard = store_guard_ref(g),
                              .cost = take_b->len + sizeof *p,
                              .lazy = may_wait(bs, take_b)};
    p->block = take_b;
    p->done = done;
    p->arg = arg;
    blockstore_submit(bs, &p->op);
}

void blockstore_stats(const struct blockstore *bs, struct blockstore_stats *ret)
{
    uint64_t pending = atomic_load(&bs->stats.pending), damaged = atomic_load(&bs->stats.damaged); /* published last */
    *ret = (struct blockstore_stats){
        .blocks = atomic_load(&bs->stats.blocks),
        .bytes = atomic_load(&bs->stats.bytes),
        .live_blocks = atomic_load(&bs->stats.live_blocks),
        .live_bytes = atomic_load(&bs->stats.live_bytes),
        .wanted_blocks = atomic_load(&bs->stats.wanted),
        .pins = atomic_load(&bs->stats.pins),
        .pins_incomplete = atomic_load(&bs->stats.pins_incomplete),
        .pending = pending,
        .rebuilt = atomic_load(&bs->env.rebuilt),
        .suspect = atomic_load(&bs->env.suspect),
        .evicted_blocks = atomic_load(&bs->stats.evicted_blocks),
        .evicted_bytes = atomic_load(&bs->stats.evicted_bytes),
        .commits = atomic_load(&bs->stats.commits),
        .damaged = damaged,
        .collecting = atomic_load(&bs->stats.collecting),
        .quota_bytes = atomic_load(&bs->quota),
        .disk_bytes = atomic_load(&bs->stats.disk_bytes),
        .disk_free_bytes = atomic_load(&bs->stats.disk_free),
        .fault = atomic_load(&bs->stats.fault),
    };
}
