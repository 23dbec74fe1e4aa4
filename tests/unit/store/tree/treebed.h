/* SPDX-License-Identifier: MIT
 *
 * A store in a fresh folder with one tree in it, for the plain test programs. */
#ifndef TESTS_UNIT_STORE_TREE_TREEBED_H
#define TESTS_UNIT_STORE_TREE_TREEBED_H

#include "store/base/rng.h"
#include "store/block/verify.h"
#include "store/tree/tree.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHECK(cond)                                                                                                            \
    do {                                                                                                                       \
        if (!(cond)) {                                                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                                         \
            abort();                                                                                                           \
        }                                                                                                                      \
    } while (0)
#define CHECK_EQ(got, want)                                                                                                    \
    do {                                                                                                                       \
        long long got_ = (long long)(got), want_ = (long long)(want);                                                          \
        if (got_ != want_) {                                                                                                   \
            fprintf(stderr, "%s:%d: %s is %lld, not %s (%lld)\n", __FILE__, __LINE__, #got, got_, #want, want_);               \
            abort();                                                                                                           \
        }                                                                                                                      \
    } while (0)

struct bed {
    char dir[64];
    struct blockstore *bs;
    struct store_reader *reader;
    struct mailbox *mb;
    struct budget *budget;
    struct tree *t;
    int kept; /* symlinks that keep something, as the hook tells */
};

static inline void bed_kept(void *arg, const struct cid *cid, bool kept)
{
    CHECK(!cid_is_none(cid));
    ((struct bed *)arg)->kept += kept ? 1 : -1;
}

static inline void bed_open(struct bed *b)
{
    struct why why = {""};
    b->mb = mailbox_new(1000, NULL);
    struct blockstore_options o = {.dir = b->dir, .budget = b->budget};
    int r = blockstore_open(&b->bs, &o, &why);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", b->dir, why.text);
    CHECK_EQ(r, 0);
    CHECK_EQ(store_reader_new(b->bs, &b->reader), 0);
    struct tree_options to = {
        .bs = b->bs, .reader = b->reader, .reply = b->mb, .budget = b->budget, .id = TREE_SHARE_ID, .hooks = {bed_kept, b}};
    r = tree_open(&b->t, &to, &why);
    if (r < 0)
        fprintf(stderr, "%s\n", why.text);
    CHECK_EQ(r, 0);
}

static inline void bed_new(struct bed *b)
{
    *b = (struct bed){.budget = budget_new(BUDGET_MIN)};
    snprintf(b->dir, sizeof b->dir, "/tmp/treebed.XXXXXX");
    CHECK(mkdtemp(b->dir));
    bed_open(b);
}

static inline void bed_pump(struct bed *b)
{
    (void)mailbox_run(b->mb, 1000);
}

/* Until nothing is on its way */
static inline void bed_settle(struct bed *b)
{
    while (tree_pending(b->t) > 0) {
        CHECK(mailbox_wait(b->mb, mono_now() + 60 * MONO_S));
        bed_pump(b);
    }
}

static inline void bed_synced(void *arg, int result)
{
    *(int *)arg = result;
}

static inline int bed_sync(struct bed *b)
{
    int result = 1;
    tree_sync(b->t, bed_synced, &result);
    while (result == 1) {
        CHECK(mailbox_wait(b->mb, mono_now() + 60 * MONO_S));
        bed_pump(b);
    }
    return result;
}

static inline void bed_close(struct bed *b)
{
    bed_settle(b);
    b->t = tree_free(b->t);
    b->reader = store_reader_free(b->reader);
    b->bs = blockstore_close(b->bs);
    b->mb = mailbox_free(b->mb);
}

static inline void bed_remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    char path[512];
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

static inline void bed_free(struct bed *b)
{
    bed_close(b);
    CHECK_EQ(budget_used(b->budget), 0);
    budget_free(b->budget);
    bed_remove_dir(b->dir);
}

static inline struct tree_place place(uint64_t parent, const char *name)
{
    return (struct tree_place){parent, span_str(name)};
}

/* An operation of the tree that may have to wait for the ones before it */
#define PATIENT(b, r, call)                                                                                                    \
    while ((r = (call)) == ERR_AGAIN) {                                                                                        \
        CHECK(mailbox_wait((b)->mb, mono_now() + 60 * MONO_S));                                                                \
        bed_pump(b);                                                                                                           \
    }

static inline uint64_t make_file(struct bed *b, uint64_t parent, const char *name)
{
    struct tree_node n;
    int r;
    PATIENT(b, r, tree_create(b->t, place(parent, name), 0644, 1, &n));
    CHECK_EQ(r, 0);
    CHECK_EQ(n.type, TREE_FILE);
    return n.id;
}

static inline uint64_t make_dir(struct bed *b, uint64_t parent, const char *name)
{
    struct tree_node n;
    CHECK_EQ(tree_mkdir(b->t, place(parent, name), 0755, 1, &n), 0);
    return n.id;
}

static inline int lookup(struct bed *b, uint64_t parent, const char *name, uint64_t *ret_id)
{
    struct tree_node n;
    int r = tree_lookup(b->t, place(parent, name), &n);
    if (r == 0)
        *ret_id = n.id;
    return r;
}

static inline void check_sound(struct bed *b, struct tree_count *ret)
{
    struct why why = {""};
    struct tree_count count;
    int r = tree_check(b->t, &count, &why);
    if (r < 0)
        fprintf(stderr, "%s\n", why.text);
    CHECK_EQ(r, 0);
    if (ret)
        *ret = count;
}

/* All counts agree with a recount. */
static inline void check_store(struct bed *b)
{
    struct store_verify *v;
    struct verify_event e;
    int r;
    CHECK_EQ(store_verify_new(&v, b->bs, false), 0);
    while ((r = store_verify_step(v, 100, &e)) != ERR_CLOSED) {
        if (r == 1)
            fprintf(stderr, "verify: %s, expected %llu, found %llu\n", verify_problem_text(e.problem),
                    (unsigned long long)e.expected, (unsigned long long)e.found);
        CHECK(r == 0 || r == ERR_AGAIN);
    }
    store_verify_free(v);
}

static inline int apply_nothing(struct store_op *op, struct store_txn *txn)
{
    (void)op;
    (void)txn;
    return 0;
}

/* The committer has answered everything; the answers may still be in the mailbox. */
static inline void committer_idle(struct bed *b)
{
    struct store_op op = {.apply = apply_nothing};
    CHECK_EQ(blockstore_do(b->bs, &op), 0);
}

static inline void reopen(struct bed *b)
{
    bed_close(b);
    bed_open(b);
}

static inline uint64_t live(struct bed *b)
{
    struct blockstore_stats stats;
    CHECK_EQ(bed_sync(b), 0);
    for (;;) { /* children are counted in a while */
        blockstore_stats(b->bs, &stats);
        if (stats.pending == 0)
            break;
        sched_yield();
    }
    return stats.live_blocks + stats.wanted_blocks;
}

/* In as many steps as it takes */
static inline void publish(struct bed *b, uint64_t id, struct block_sink *sink, struct unixfs_root *ret)
{
    mono_ns end = mono_now() + 60 * MONO_S;
    int r;
    while ((r = tree_publish(b->t, id, sink, ret)) == ERR_AGAIN || r == ERR_BUSY) {
        CHECK(mono_now() < end);
        bed_pump(b);
    }
    CHECK_EQ(r, 0);
}

/* A root that stands for some content */
static inline struct unixfs_root content(uint64_t n)
{
    struct unixfs_root r = {.size = n + 1, .tsize = n + 1};
    cid_of(&r.cid, CODEC_RAW, span_of(&n, sizeof n));
    return r;
}

#endif
