/* SPDX-License-Identifier: MIT
 *
 * Operations that share a transaction: what one of them meets must not become another's loss, nor a pass of collection that
 * happens to be under way. */
#include "store/block/store_internal.h"

#include "store_fixture.h"
#include "store_gate.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#define MIB 1048576u

static void was_put(void *arg, struct block *b, int result)
{
    (void)b;
    cr_assert_eq(result, 0);
    sem_post(arg);
}

/* ---- a group that is gathered behind a gate ---- */

/* Fails after it wrote: every operation of its group is applied in a nested transaction then. */
static int spoil_apply(struct store_op *op, struct store_txn *txn)
{
    (void)op;
    struct block *b = raw_block(1000, 100);
    int r = store_txn_put(txn, &b->cid, block_span(b), NULL);
    block_unref(b);
    return r ? r : ERR_EXISTS;
}

static void simple_put(struct simple_op *s, struct blockstore *bs, struct mailbox *mb, const struct block *b)
{
    *s = (struct simple_op){.op = {.mail.run = ignore_mail, .apply = simple_apply, .reply = mb, .cost = b->len},
                            .kind = DO_PUT,
                            .cid = &b->cid,
                            .data = block_span(b),
                            .sum = &b->sum};
    blockstore_submit(bs, &s->op);
}

/* Big blocks are gathered. The disk refuses them when a later one is added: it is not only that one's failure. */
Test(store_group, nobody_is_told_that_what_was_only_gathered_is_stored)
{
    enum { FIRST = 8 };
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    for (unsigned i = 0; i < FIRST; i++) {
        struct block *b = raw_block(i, MIB);
        cr_assert_eq(do_put(bs, b), 0);
        block_unref(b);
    }
    struct mailbox *mb = mailbox_new(64, NULL);
    struct block *whole = raw_block(100, MIB), *odd = raw_block(101, MIB - 100); /* which is not left gathered */
    struct gate_op gate;
    struct simple_op first, second;
    struct store_op spoil = {.mail.run = ignore_mail, .apply = spoil_apply, .reply = mb};
    gate_shut(&gate, bs, mb);
    simple_put(&first, bs, mb, whole);
    blockstore_submit(bs, &spoil);
    simple_put(&second, bs, mb, odd);
    struct rlimit before, full;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    full = (struct rlimit){(rlim_t)FIRST * MIB, before.rlim_max}; /* the segment is so long, LMDB's file is not */
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
    sem_post(&gate.go);
    for (int n = 0; n < 4;) {
        (void)mailbox_wait(mb, MONO_NEVER);
        n += (int)mailbox_run(mb, 64);
    }
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(spoil.result, ERR_EXISTS);
    cr_assert_neq(second.op.result, 0);
    cr_assert_eq(first.op.result == 0, has(bs, &whole->cid), "it was answered %s", err_name(first.op.result));
    cr_assert_eq(do_put(bs, whole), 0);
    cr_assert_eq(do_put(bs, odd), 0);
    cr_assert(has(bs, &whole->cid) && has(bs, &odd->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    mailbox_free(mb);
    block_unref(whole);
    block_unref(odd);
    folder_remove(&f);
}

/* ---- a disk that is full until room is made ---- */

static atomic_bool silent; /* the file system says nothing about itself */

int statvfs(const char *restrict path, struct statvfs *restrict ret)
{
    struct statfs fs;
    *ret = (struct statvfs){.f_bsize = 512};
    if (silent)
        return 0;
    if (statfs(path, &fs) != 0)
        return -1;
    ret->f_blocks = fs.f_blocks;
    ret->f_bavail = fs.f_bavail;
    ret->f_frsize = (unsigned long)fs.f_frsize;
    return 0;
}

Test(store_group, a_disk_that_does_not_say_what_is_free_is_not_full)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *b = raw_block(1, MIB);
    silent = true;
    cr_expect_eq(do_put(bs, b), 0);
    silent = false;
    cr_expect(has(bs, &b->cid));
    block_unref(b);
    blockstore_close(bs);
    folder_remove(&f);
}

struct full_op {
    struct store_op op;
    unsigned tries;
    int told; /* what the figures said when it was tried again */
};

static int full_apply(struct store_op *op, struct store_txn *txn)
{
    struct full_op *f = (struct full_op *)op;
    if (f->tries++ == 0)
        return txn->hard = ERR_NO_SPACE;
    struct blockstore_stats stats;
    blockstore_stats(txn->bs, &stats);
    f->told = stats.fault;
    return 0;
}

Test(store_group, what_is_tried_again_is_no_fault_yet)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct mailbox *mb = mailbox_new(64, NULL);
    struct gate_op gate;
    struct full_op full[2];
    gate_shut(&gate, bs, mb);
    for (int i = 0; i < 2; i++) {
        full[i] = (struct full_op){.op = {.mail.run = ignore_mail, .apply = full_apply, .reply = mb}};
        blockstore_submit(bs, &full[i].op);
    }
    sem_post(&gate.go);
    for (int n = 0; n < 3;) {
        (void)mailbox_wait(mb, MONO_NEVER);
        n += (int)mailbox_run(mb, 64);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(full[i].op.result, 0);
        cr_assert_eq(full[i].tries, 2);
        cr_assert_eq(full[i].told, 0, "others would be refused what there may be room for in a moment");
    }
    blockstore_close(bs);
    mailbox_free(mb);
    folder_remove(&f);
}

/* The disk takes the bytes, and not the commit. */
static int half_apply(struct store_op *op, struct store_txn *txn)
{
    (void)op;
    struct block *b = raw_block(1, MIB);
    int r = store_txn_put(txn, &b->cid, block_span(b), NULL);
    r = r ? r : segments_flush(txn->bs->segments);
    block_unref(b);
    return r ? r : (txn->hard = ERR_NO_SPACE);
}

static off_t segment_size(const struct folder *f)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/segment-00000000", f->path);
    cr_assert_eq(stat(path, &st), 0);
    return st.st_size;
}

Test(store_group, what_was_not_committed_takes_no_room)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *b = raw_block(0, MIB);
    cr_assert_eq(do_put(bs, b), 0);
    blockstore_hold(bs, &b->cid);
    struct mailbox *mb = mailbox_new(8, NULL);
    struct store_op half = {.mail.run = ignore_mail, .apply = half_apply, .reply = mb};
    blockstore_submit(bs, &half);
    (void)mailbox_wait(mb, MONO_NEVER);
    (void)mailbox_run(mb, 8);
    cr_assert_eq(half.result, ERR_NO_SPACE);
    cr_expect_eq(segment_size(&f), MIB);
    blockstore_close(bs);
    char path[128];
    snprintf(path, sizeof path, "%s/segment-00000000", f.path);
    cr_assert_eq(truncate(path, 5 * MIB), 0); /* as a crash leaves it */
    bs = store_open(f.path, 0);
    cr_expect_eq(segment_size(&f), MIB);
    cr_expect(has(bs, &b->cid));
    cr_expect_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    mailbox_free(mb);
    block_unref(b);
    folder_remove(&f);
}

/* ---- a put that finds the store full while a pass is under way ---- */

#define CACHED 8000
#define SMALL  1000

static void put_cached(struct blockstore *bs)
{
    sem_t done;
    sem_init(&done, 0, 0);
    for (unsigned i = 0; i < CACHED; i++)
        blockstore_put(bs, raw_block(i, SMALL), NULL, was_put, &done);
    for (unsigned i = 0; i < CACHED; i++)
        sem_wait(&done);
    sem_destroy(&done);
}

Test(store_group, a_put_waits_for_the_room_that_a_collection_makes)
{
    struct folder f;
    struct blockstore *bs;
    struct why why = {""};
    struct budget *budget = budget_new(BUDGET_MIN); /* so that the pass takes many transactions */
    folder_make(&f);
    struct blockstore_options o = {.dir = f.path, .quota_bytes = (uint64_t)CACHED * SMALL, .budget = budget};
    cr_assert_eq(blockstore_open(&bs, &o, &why), 0, "%s", why.text);
    put_cached(bs);
    struct mailbox *mb = mailbox_new(8, NULL);
    struct waited w = {.done = false};
    struct blockstore_stats s;
    blockstore_collect(bs, mb, on_collected, &w);
    do
        blockstore_stats(bs, &s);
    while (s.evicted_blocks == 0); /* it has begun, and has far to go */
    struct block *b = raw_block(CACHED, BLOCK_MAX);
    cr_assert_eq(do_put(bs, b), 0, "there is nothing that has to stay");
    wait_mail(mb, &w.done);
    cr_assert_eq(w.collected.blocks, CACHED);
    cr_assert(has(bs, &b->cid));
    blockstore_close(bs);
    block_unref(b);
    mailbox_free(mb);
    budget_free(budget);
    folder_remove(&f);
}

/* ---- a put that finds the store full while what was unpinned is still to be counted ---- */

Test(store_group, a_put_waits_for_what_is_counted_down)
{
    enum { LINKS = 2000 };
    struct folder f;
    struct mailbox *mb = mailbox_new(64, NULL);
    struct gate_op gate;
    struct cid *links = mem_array(LINKS, sizeof *links);
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, (uint64_t)LINKS * SMALL + 200000);
    for (unsigned i = 0; i < LINKS; i++) {
        struct block *b = raw_block(i, SMALL);
        links[i] = b->cid;
        blockstore_put(bs, b, NULL, NULL, NULL);
    }
    struct block *root = node_block(links, LINKS, 1), *more = raw_block(LINKS, BLOCK_MAX / 2);
    cr_assert_eq(do_simple(bs, DO_PIN, &root->cid), 0);
    cr_assert_eq(do_put(bs, root), 0);
    settle(bs);
    cr_assert_eq(do_put(bs, more), ERR_QUOTA, "all of it has to stay");

    struct simple_op unpin = {
        .op = {.mail.run = ignore_mail, .apply = simple_apply, .reply = mb}, .kind = DO_UNPIN, .cid = &root->cid};
    struct simple_op put = {.op = {.mail.run = ignore_mail, .apply = simple_apply, .reply = mb, .cost = more->len},
                            .kind = DO_PUT,
                            .cid = &more->cid,
                            .data = block_span(more),
                            .sum = &more->sum};
    gate_shut(&gate, bs, mb);
    blockstore_submit(bs, &unpin.op);
    blockstore_submit(bs, &put.op);
    sem_post(&gate.go);
    for (int n = 0; n < 3;) {
        (void)mailbox_wait(mb, MONO_NEVER);
        n += (int)mailbox_run(mb, 64);
    }
    cr_assert_eq(put.op.result, 0);
    cr_assert(has(bs, &more->cid));
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    free(links);
    block_unref(root);
    block_unref(more);
    mailbox_free(mb);
    folder_remove(&f);
}

/* What nobody may have is not evicted for it. */
Test(store_group, what_has_no_room_takes_none_from_the_cache)
{
    struct folder f;
    struct mailbox *mb = mailbox_new(64, NULL);
    struct gate_op gate;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 1000000);
    struct block *cached = raw_block(1, 400000), *leaf = raw_block(2, 500000), *parent = node_block(&leaf->cid, 1, 1);
    struct block *other = node_block(&leaf->cid, 1, 2), *more = raw_block(3, 800000);
    cr_assert_eq(do_put(bs, cached), 0);
    cr_assert_eq(do_simple(bs, DO_PIN, &parent->cid), 0);
    cr_assert_eq(do_put(bs, parent), 0);
    cr_assert_eq(do_put(bs, leaf), 0);
    settle(bs);
    struct simple_op pin = {
        .op = {.mail.run = ignore_mail, .apply = simple_apply, .reply = mb}, .kind = DO_PIN, .cid = &other->cid};
    struct simple_op puts[2] = {{.op = {.mail.run = ignore_mail, .apply = simple_apply, .reply = mb, .cost = other->len},
                                 .kind = DO_PUT,
                                 .cid = &other->cid,
                                 .data = block_span(other)},
                                {.op = {.mail.run = ignore_mail, .apply = simple_apply, .reply = mb, .cost = more->len},
                                 .kind = DO_PUT,
                                 .cid = &more->cid,
                                 .data = block_span(more)}};
    gate_shut(&gate, bs, mb);
    blockstore_submit(bs, &pin.op);
    blockstore_submit(bs, &puts[0].op);
    blockstore_submit(bs, &puts[1].op);
    sem_post(&gate.go);
    for (int n = 0; n < 4;) {
        (void)mailbox_wait(mb, MONO_NEVER);
        n += (int)mailbox_run(mb, 64);
    }
    cr_assert_eq(puts[0].op.result, 0);
    cr_assert_eq(puts[1].op.result, ERR_QUOTA);
    cr_assert(has(bs, &cached->cid));
    blockstore_close(bs);
    block_unref(cached);
    block_unref(leaf);
    block_unref(parent);
    block_unref(other);
    block_unref(more);
    mailbox_free(mb);
    folder_remove(&f);
}
