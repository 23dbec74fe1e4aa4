/* SPDX-License-Identifier: MIT
 *
 * What the block store's tests share: a folder that goes away, blocks made from numbers, dag-pb nodes, and waiting without
 * sleeping: operations are waited for by blockstore_do, cascades by looking at the figures until nothing is pending.
 */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include "store/base/uvarint.h"
#include "store/block/blockstore_txn.h"
#include "store/block/pin.h"
#include "store/block/verify.h"

#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(what)                                                                                                            \
    do {                                                                                                                       \
        if (!(what)) {                                                                                                         \
            fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, #what);                                   \
            abort();                                                                                                           \
        }                                                                                                                      \
    } while (0)

struct folder {
    char path[64];
};

__attribute__((unused)) static void folder_make(struct folder *f)
{
    snprintf(f->path, sizeof f->path, "/tmp/p2p-test-XXXXXX");
    CHECK(mkdtemp(f->path));
}

static int folder_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

__attribute__((unused)) static void folder_remove(struct folder *f)
{
    nftw(f->path, folder_entry, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static struct blockstore *store_open(const char *dir, uint64_t quota)
{
    struct blockstore *bs = NULL;
    struct why why = {""};
    struct blockstore_options o = {.dir = dir, .quota_bytes = quota};
    int r = blockstore_open(&bs, &o, &why);
    if (r)
        fprintf(stderr, "open: %s: %s\n", err_name(r), why.text);
    CHECK(r == 0);
    return bs;
}

/* ---- blocks ---- */

/* A raw block of `len` bytes that `number` decides */
__attribute__((unused)) static struct block *raw_block(uint64_t number, uint32_t len)
{
    struct block *b = block_new(NULL, BUDGET_STORE, len);
    CHECK(b);
    uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (uint32_t i = 0; i < len; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        b->data[i] = (uint8_t)x;
    }
    b->len = len;
    cid_of(&b->cid, CODEC_RAW, block_span(b));
    return b;
}

/* A dag-pb node with these links; `salt` is its data */
__attribute__((unused)) static struct block *node_block(const struct cid *links, unsigned count, uint64_t salt)
{
    struct buf out = BUF_INIT;
    for (unsigned i = 0; i < count; i++) {
        struct buf link = BUF_INIT;
        buf_add_u8(&link, 0x0a);
        buf_add_uvarint(&link, links[i].len);
        buf_add_span(&link, cid_span(&links[i]));
        buf_add(&link, "\x12\x00\x18\x00", 4);
        buf_add_u8(&out, 0x12);
        buf_add_uvarint(&out, buf_len(&link));
        buf_add_span(&out, buf_span(&link));
        buf_done(&link);
    }
    buf_add(&out, "\x0a\x08", 2);
    buf_add(&out, &salt, 8);
    struct cid cid;
    cid_of(&cid, CODEC_DAG_PB, buf_span(&out));
    struct block *b = block_from(NULL, BUDGET_STORE, &cid, buf_span(&out));
    CHECK(b);
    buf_done(&out);
    return b;
}

/* ---- operations that wait ---- */

enum simple_kind { DO_PUT, DO_REF, DO_UNREF, DO_PIN, DO_UNPIN, DO_SYNC };

struct simple_op {
    struct store_op op;
    enum simple_kind kind;
    const struct cid *cid;
    struct span data;
    const struct block_sum *sum;
};

static int simple_apply(struct store_op *op, struct store_txn *txn)
{
    struct simple_op *s = (struct simple_op *)op;
    switch (s->kind) {
    case DO_PUT:
        return store_txn_put(txn, s->cid, s->data, s->sum);
    case DO_REF:
        return store_txn_ref(txn, s->cid);
    case DO_UNREF:
        return store_txn_unref(txn, s->cid);
    case DO_PIN:
        return store_txn_pin(txn, s->cid, "name");
    case DO_UNPIN:
        return store_txn_unpin(txn, s->cid);
    default:
        return 0;
    }
}

__attribute__((unused)) static int do_simple(struct blockstore *bs, enum simple_kind kind, const struct cid *cid)
{
    struct simple_op s = {.op.apply = simple_apply, .kind = kind, .cid = cid};
    return blockstore_do(bs, &s.op);
}

__attribute__((unused)) static int do_put(struct blockstore *bs, const struct block *b)
{
    struct simple_op s = {
        .op.apply = simple_apply, .op.cost = b->len, .kind = DO_PUT, .cid = &b->cid, .data = block_span(b), .sum = &b->sum};
    return blockstore_do(bs, &s.op);
}

struct waited {
    struct collect_result collected;
    int result;
    bool done;
};

__attribute__((unused)) static void on_collected(void *arg, const struct collect_result *r)
{
    ((struct waited *)arg)->collected = *r;
    ((struct waited *)arg)->done = true;
}

__attribute__((unused)) static void on_result(void *arg, int result)
{
    ((struct waited *)arg)->result = result;
    ((struct waited *)arg)->done = true;
}

__attribute__((unused)) static void wait_mail(struct mailbox *mb, const bool *done)
{
    while (!*done) {
        (void)mailbox_wait(mb, MONO_NEVER);
        (void)mailbox_run(mb, 64);
    }
}

__attribute__((unused)) static struct collect_result do_collect(struct blockstore *bs)
{
    struct mailbox *mb = mailbox_new(8, NULL);
    struct waited w = {.done = false};
    blockstore_collect(bs, mb, on_collected, &w);
    wait_mail(mb, &w.done);
    mailbox_free(mb);
    return w.collected;
}

__attribute__((unused)) static int do_sync(struct blockstore *bs)
{
    struct mailbox *mb = mailbox_new(8, NULL);
    struct waited w = {.done = false};
    blockstore_sync(bs, mb, on_result, &w);
    wait_mail(mb, &w.done);
    mailbox_free(mb);
    return w.result;
}

__attribute__((unused)) static struct blockstore_stats settle(struct blockstore *bs)
{
    struct blockstore_stats s;
    for (;;) {
        blockstore_stats(bs, &s);
        if (s.pending == 0)
            return s;
        sched_yield();
    }
}

__attribute__((unused)) static bool has(struct blockstore *bs, const struct cid *cid)
{
    struct store_reader *r;
    struct span data;
    CHECK(store_reader_new(bs, &r) == 0);
    CHECK(store_read_begin(r) == 0);
    bool is = store_has(r, cid);
    int got = store_get(r, cid, &data);
    CHECK(is == (got == 0));
    CHECK(is || got == ERR_MISSING || got == ERR_CORRUPT); /* gone because it was damaged */
    if (is)
        CHECK(store_check(r, cid) == 0);
    store_read_end(r);
    store_reader_free(r);
    return is;
}

/* A whole check; returns the number of problems and tells the first. */
__attribute__((unused)) static unsigned verify_all(struct blockstore *bs, bool repair, enum verify_problem *ret_first)
{
    struct store_verify *v;
    struct verify_event e;
    unsigned problems = 0;
    CHECK(store_verify_new(&v, bs, repair) == 0);
    for (;;) {
        int r = store_verify_step(v, 7, &e);
        if (r == ERR_CLOSED)
            break;
        if (r == ERR_AGAIN) {
            sched_yield();
            continue;
        }
        CHECK(r >= 0);
        if (r == 1 && problems++ == 0 && ret_first)
            *ret_first = e.problem;
    }
    store_verify_free(v);
    return problems;
}

#endif
