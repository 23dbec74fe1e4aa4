/* SPDX-License-Identifier: MIT
 *
 * The block store under threads, random work, kill -9, failing system calls and a full disk. pwrite and fdatasync are replaced
 * here: LMDB calls these, so a test can make the disk itself fail. */
#include "tests/unit/store/block/store_fixture.h"

#include "store/base/log.h"
#include "store/base/rng.h"
#include "store/block/fault.h"
#include "store/block/store_internal.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- a disk that fails ---- */

static atomic_int disk_errno;    /* every write fails with this */
static atomic_int meta_failures; /* so many writes to the meta pages fail */

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    int number = atomic_load(&disk_errno);
    if (number == 0 && at < 8192 && atomic_load(&meta_failures) > 0 && atomic_fetch_sub(&meta_failures, 1) > 0)
        number = EIO;
    if (number) {
        errno = number;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, data, len, at);
}

int fdatasync(int fd)
{
    int number = atomic_load(&disk_errno);
    if (number) {
        errno = number;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static void test_disk_errors(void)
{
    static const int numbers[] = {EIO, ENOSPC};
    for (int i = 0; i < 2; i++) {
        struct folder f;
        folder_make(&f);
        struct blockstore *bs = store_open(f.path, 0);
        struct block *a = raw_block(1, 70000), *b = raw_block(2, 70000);
        CHECK(do_put(bs, a) == 0 && do_simple(bs, DO_PIN, &a->cid) == 0);
        struct blockstore_stats s;
        do
            blockstore_stats(bs, &s);
        while (s.pins_incomplete > 0); /* the store's own commits are over */
        atomic_store(&disk_errno, numbers[i]);
        int refused = do_put(bs, b);
        if (refused != (i ? ERR_NO_SPACE : ERR_IO))
            fprintf(stderr, "disk error %d gives %s\n", numbers[i], err_name(refused));
        CHECK(refused == (i ? ERR_NO_SPACE : ERR_IO));
        blockstore_stats(bs, &s);
        CHECK(s.fault == (i ? ERR_NO_SPACE : ERR_IO));
        CHECK(has(bs, &a->cid) && !has(bs, &b->cid));
        atomic_store(&disk_errno, 0);
        CHECK(do_put(bs, b) == 0 && has(bs, &b->cid));
        blockstore_stats(bs, &s);
        CHECK(s.fault == 0);
        CHECK(verify_all(bs, false, NULL) == 0);
        blockstore_close(bs);
        block_unref(a);
        block_unref(b);
        folder_remove(&f);
    }
}

/* A reader may find it shut for a moment. */
static bool reads_again(struct blockstore *bs, const struct block *b)
{
    struct store_reader *r;
    struct span got;
    int rc = ERR_AGAIN;
    CHECK(store_reader_new(bs, &r) == 0);
    for (int i = 0; i < 300 && (rc = store_read_begin(r)) == ERR_AGAIN; i++)
        usleep(10000);
    bool same = rc == 0 && store_get(r, &b->cid, &got) == 0 && span_eq(got, block_span(b));
    store_reader_free(r);
    return same;
}

/* What waits to be counted cannot be when the disk takes nothing: who waits for that is told. */
static void test_check_on_a_disk_that_refuses(void)
{
    struct folder f;
    struct verify_event e;
    struct store_verify *v;
    int r;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    bs->cascade.quiet = 3600 * MONO_S;
    struct block *absent = raw_block(1, 100), *parent = node_block(&absent->cid, 1, 1);
    CHECK(do_simple(bs, DO_PIN, &parent->cid) == 0 && do_put(bs, parent) == 0);
    atomic_store(&disk_errno, ENOSPC);
    CHECK(store_verify_new(&v, bs, false) == 0);
    while ((r = store_verify_step(v, 100, &e)) == 0)
        ;
    CHECK(r == ERR_AGAIN && do_put(bs, absent) == ERR_NO_SPACE); /* now the committer goes on */
    while ((r = store_verify_step(v, 100, &e)) == ERR_AGAIN)
        usleep(1000);
    CHECK(r == ERR_NO_SPACE);
    store_verify_free(v);
    atomic_store(&disk_errno, 0);
    CHECK(verify_all(bs, false, NULL) == 0);
    blockstore_close(bs);
    block_unref(absent);
    block_unref(parent);
    folder_remove(&f);
}

/* A meta page that cannot be written makes LMDB refuse everything until it is opened again. */
static void test_reopening(void)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    MDB_dbi records;
    CHECK(blockstore_record_db(bs, "test.records", 0, &records) == 0);
    struct block *a = raw_block(1, 5000), *b = raw_block(2, 5000), *c = raw_block(3, 5000);
    CHECK(do_put(bs, a) == 0);
    blockstore_hold(bs, &a->cid);
    CHECK(do_collect(bs).blocks == 0);
    CHECK(has(bs, &a->cid)); /* a reader has been */
    atomic_store(&meta_failures, 1);
    int r = do_put(bs, b); /* reopened on the way, and tried again */
    CHECK(r == 0 && atomic_load(&meta_failures) <= 0);
    atomic_store(&meta_failures, 1000);
    for (int i = 0; i < 3; i++)
        CHECK(do_put(bs, c) == ERR_IO); /* and no longer: it is answered */
    CHECK(reads_again(bs, a) && reads_again(bs, b));
    atomic_store(&meta_failures, 0);
    for (int i = 0; i < 300 && (r = do_put(bs, c)) != 0; i++)
        usleep(10000); /* it is opened again once a second */
    if (r)
        fprintf(stderr, "after reopening: %s\n", err_name(r));
    CHECK(r == 0);
    CHECK(has(bs, &a->cid) && has(bs, &c->cid));
    CHECK(do_collect(bs).blocks == 2); /* b and c */
    CHECK(has(bs, &a->cid));           /* still held */
    blockstore_unhold(bs, &a->cid);
    CHECK(do_collect(bs).blocks == 1);
    CHECK(verify_all(bs, false, NULL) == 0);
    blockstore_close(bs);
    block_unref(a);
    block_unref(b);
    block_unref(c);
    folder_remove(&f);
}

/* A check that keeps its snapshot for long does not keep everybody out meanwhile. */
static void test_reopening_beside_a_check(void)
{
    enum { ROWS = 300 };
    struct folder f;
    struct store_verify *v;
    struct verify_event e;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *a = raw_block(ROWS, 5000);
    for (unsigned i = 0; i < ROWS; i++) {
        struct block *b = raw_block(i, 100);
        CHECK(do_put(bs, b) == 0);
        block_unref(b);
    }
    CHECK(store_verify_new(&v, bs, false) == 0);
    for (unsigned i = 0; i < 2 * ROWS; i++) /* each block and the steps between: now rows are counted */
        CHECK(store_verify_step(v, 1, &e) >= 0);
    atomic_store(&meta_failures, 1);
    int r = do_put(bs, a), step = 0;
    CHECK(r == 0 || r == ERR_IO);
    for (int i = 0; i < 500 && step >= 0; i++) { /* slowly: it would be through otherwise */
        usleep(10000);
        step = i % 50 == 0 ? store_verify_step(v, 1, &e) : 0;
    }
    CHECK(step == ERR_IO);
    CHECK(store_verify_step(v, 1, &e) == ERR_CLOSED);
    store_verify_free(v);
    for (int i = 0; i < 300 && (r = do_put(bs, a)) != 0; i++)
        usleep(10000);
    CHECK(r == 0 && reads_again(bs, a));
    CHECK(verify_all(bs, false, NULL) == 0);
    blockstore_close(bs);
    block_unref(a);
    folder_remove(&f);
}

/* ---- random work against a model ---- */

#define LEAVES 60
#define NODES  40
#define ALL    (LEAVES + NODES)
#define KIDS   5

struct model {
    struct block *block[ALL];
    int kids[ALL][KIDS], kid_count[ALL];
    int pins[ALL]; /* 0 or 1 */
    int refs[ALL]; /* of records */
    int holds[ALL];
    bool put[ALL]; /* since when it was last certainly gone */
};

static void model_make(struct model *m, struct rng *rng)
{
    memset(m, 0, sizeof *m);
    for (int i = 0; i < ALL; i++) {
        struct cid links[KIDS];
        if (i < LEAVES) {
            m->block[i] = raw_block((uint64_t)i + 1000, (uint32_t)(rng_below(rng, 9000)) + 1);
            continue;
        }
        m->kid_count[i] = (int)rng_below(rng, KIDS + 1);
        for (int k = 0; k < m->kid_count[i]; k++) {
            m->kids[i][k] = (int)rng_below(rng, (uint64_t)i); /* only earlier ones: no cycles */
            links[k] = m->block[m->kids[i][k]]->cid;
        }
        m->block[i] = node_block(links, (unsigned)m->kid_count[i], (uint64_t)i);
    }
}

/* What is below the marked ones, as far as it is held: children have smaller numbers. */
static void spread(const struct model *m, bool marked[ALL], bool held[ALL])
{
    for (int i = ALL - 1; i >= 0; i--)
        if (marked[i] && held[i])
            for (int k = 0; k < m->kid_count[i]; k++)
                marked[m->kids[i][k]] = true;
}

/* The store against the model; every block that is live and was put must be there. */
static void model_check(struct blockstore *bs, const struct model *m)
{
    bool held[ALL], live[ALL], kept[ALL];
    struct blockstore_stats s = settle(bs);
    uint64_t live_held = 0, wanted = 0, blocks = 0;
    for (int i = 0; i < ALL; i++) {
        held[i] = has(bs, &m->block[i]->cid);
        live[i] = m->pins[i] || m->refs[i];
        kept[i] = live[i] || m->holds[i];
    }
    spread(m, live, held);
    spread(m, kept, held);
    struct store_reader *r;
    CHECK(store_reader_new(bs, &r) == 0 && store_read_begin(r) == 0);
    for (int i = 0; i < ALL; i++) {
        CHECK(!held[i] || m->put[i]);
        CHECK(!(kept[i] && m->put[i]) || held[i]); /* eviction never takes what is live or held */
        CHECK(store_is_live(r, &m->block[i]->cid) == live[i]);
        live_held += live[i] && held[i];
        wanted += live[i] && !held[i];
        blocks += held[i];
    }
    store_read_end(r);
    store_reader_free(r);
    CHECK(s.blocks == blocks && s.live_blocks == live_held && s.wanted_blocks == wanted);
}

static void model_step(struct blockstore *bs, struct model *m, struct rng *rng)
{
    int i = (int)rng_below(rng, ALL);
    const struct cid *cid = &m->block[i]->cid;
    switch (rng_below(rng, 14)) {
    case 0:
        i %= LEAVES / 4 + 1; /* a few, so that there is cache to evict */
        i = ALL - 1 - i;
        CHECK(do_simple(bs, DO_PIN, &m->block[i]->cid) == 0);
        m->pins[i] = 1;
        break;
    case 1:
    case 12:
    case 13:
        i = ALL - 1 - i % (LEAVES / 4 + 1);
        cid = &m->block[i]->cid;
        CHECK(do_simple(bs, DO_UNPIN, cid) == (m->pins[i] ? 0 : ERR_NOT_FOUND));
        m->pins[i] = 0;
        break;
    case 2:
        CHECK(do_simple(bs, DO_REF, cid) == 0);
        m->refs[i]++;
        break;
    case 3:
        for (int k = 0; k < ALL; k++)
            for (; m->refs[k] > 0 && rng_below(rng, 2); m->refs[k]--)
                CHECK(do_simple(bs, DO_UNREF, &m->block[k]->cid) == 0);
        break;
    case 4:
        blockstore_hold(bs, cid);
        m->holds[i]++;
        break;
    case 5:
        for (int k = 0; k < ALL; k++)
            for (; m->holds[k] > 0 && rng_below(rng, 2); m->holds[k]--)
                blockstore_unhold(bs, &m->block[k]->cid);
        break;
    case 6:
        (void)do_collect(bs);
        for (int k = 0; k < ALL; k++)
            m->put[k] = has(bs, &m->block[k]->cid) && m->put[k];
        break;
    default: {
        int result = do_put(bs, m->block[i]);
        CHECK(result == 0 || result == ERR_QUOTA);
        m->put[i] = m->put[i] || result == 0;
        break;
    }
    }
}

/* After an eviction the model does not know which cache went; what must not have gone is checked before it forgets. */
static void model_forget_evicted(struct blockstore *bs, struct model *m)
{
    for (int k = 0; k < ALL; k++)
        m->put[k] = m->put[k] && has(bs, &m->block[k]->cid);
}

static void test_random(uint64_t seed, uint64_t quota)
{
    struct rng rng;
    struct folder f;
    struct model m;
    rng_init_seed(&rng, seed);
    folder_make(&f);
    model_make(&m, &rng);
    struct blockstore *bs = store_open(f.path, quota);
    uint64_t evicted = 0, passes = 0;
    for (int n = 0; n < 1500; n++) {
        struct blockstore_stats s;
        model_step(bs, &m, &rng);
        blockstore_stats(bs, &s);
        if (s.evicted_blocks != evicted || n % 50 == 49) { /* at once: who is pinned later must not be missed now */
            model_check(bs, &m);
            model_forget_evicted(bs, &m);
            passes += s.evicted_blocks != evicted;
            evicted = s.evicted_blocks;
        }
        if (n % 300 == 299) {
            CHECK(verify_all(bs, false, NULL) == 0);
            bs = blockstore_close(bs);
            memset(m.holds, 0, sizeof m.holds);
            bs = store_open(f.path, quota);
            evicted = 0;
        }
    }
    CHECK(passes > 20);
    blockstore_close(bs);
    for (int i = 0; i < ALL; i++)
        block_unref(m.block[i]);
    folder_remove(&f);
}

/* ---- threads ---- */

#define WRITERS 3
#define READERS 3
#define ROUNDS  150

struct threads {
    struct blockstore *bs;
    atomic_bool stop;
    atomic_uint reads;
};

struct writer {
    struct threads *all;
    int number;
    pthread_t thread;
};

static void count_down(void *arg, struct block *b, int result)
{
    (void)b;
    CHECK(result == 0 || result == ERR_QUOTA);
    --*(int *)arg;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    struct blockstore *bs = w->all->bs;
    struct mailbox *mb = mailbox_new(1000, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        int left = 4;
        struct cid links[3];
        struct block *b[4];
        for (int i = 0; i < 3; i++) {
            b[i] = raw_block((uint64_t)(round * 3 + i + w->number * 7 % 50), 3000);
            links[i] = b[i]->cid;
        }
        b[3] = node_block(links, 3, (uint64_t)w->number);
        struct cid root = b[3]->cid;
        blockstore_hold(bs, &root);
        for (int i = 3; i >= 0; i--)
            blockstore_put(bs, b[i], mb, count_down, &left);
        while (left > 0) {
            (void)mailbox_wait(mb, MONO_NEVER);
            (void)mailbox_run(mb, 64);
        }
        bool all_there = has(bs, &root);
        blockstore_stats(bs, &(struct blockstore_stats){0});
        if (round % 16 == 0)
            CHECK(do_simple(bs, DO_PIN, &root) == 0);
        if (round % 32 == 0)
            CHECK(do_simple(bs, DO_UNPIN, &root) == 0);
        CHECK(!all_there || has(bs, &root));
        blockstore_unhold(bs, &root);
        if (round % 40 == 0)
            (void)do_collect(bs);
    }
    mailbox_free(mb);
    return NULL;
}

static void *reader_main(void *arg)
{
    struct threads *all = arg;
    struct store_reader *r;
    struct rng rng;
    rng_init_seed(&rng, 5);
    CHECK(store_reader_new(all->bs, &r) == 0);
    while (!atomic_load(&all->stop)) {
        struct block *b = raw_block(rng_below(&rng, 3 * ROUNDS + 50), 3000);
        struct span data;
        CHECK(store_read_begin(r) == 0);
        CHECK(store_read_begin(r) == 0); /* nests */
        int got = store_get(r, &b->cid, &data);
        CHECK(got == ERR_MISSING || (got == 0 && span_eq(data, block_span(b))));
        store_read_end(r);
        store_read_end(r);
        block_unref(b);
        atomic_fetch_add(&all->reads, 1);
    }
    store_reader_free(r);
    return NULL;
}

static void test_threads(uint64_t quota)
{
    struct folder f;
    folder_make(&f);
    struct threads all = {.bs = store_open(f.path, quota)};
    struct writer writers[WRITERS];
    pthread_t readers[READERS];
    for (int i = 0; i < READERS; i++)
        CHECK(pthread_create(&readers[i], NULL, reader_main, &all) == 0);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.all = &all, .number = i};
        CHECK(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]) == 0);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    atomic_store(&all.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    CHECK(atomic_load(&all.reads) > 0);
    settle(all.bs);
    CHECK(verify_all(all.bs, false, NULL) == 0);
    blockstore_close(all.bs);
    folder_remove(&f);
}

/* ---- lazy operations ---- */

struct lazy {
    struct mailbox *mb;
    unsigned answered;
};

static void lazy_answered(void *arg, struct block *b, int result)
{
    struct lazy *l = arg;
    CHECK(b && result == 0);
    l->answered++;
}

static void lazy_wait(struct lazy *l, unsigned count)
{
    while (l->answered < count) {
        CHECK(mailbox_wait(l->mb, mono_after(mono_now(), 30 * MONO_S))); /* a lost wake-up would take REFRESH each */
        mailbox_run(l->mb, 100);
    }
}

/* Small blocks wait for company, but never for ever: also when each is alone, and when they come one after the other's answer. */
static void test_lazy(void)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct lazy l = {.mb = mailbox_new(1, NULL)};
    struct blockstore_stats before, after;
    unsigned sent = 0;
    mono_ns start = mono_now();
    for (; sent < 20; sent++) {
        blockstore_put(bs, raw_block(sent, 3000), l.mb, lazy_answered, &l);
        lazy_wait(&l, sent + 1);
    }
    CHECK(mono_now() - start < 20 * (STORE_LAZY_MOST + 500 * MONO_MS));
    blockstore_stats(bs, &before);
    for (; sent < 5000; sent++) {
        blockstore_put(bs, raw_block(sent, 3000), l.mb, lazy_answered, &l);
        if (sent % 64 == 0)
            sched_yield();
    }
    lazy_wait(&l, sent);
    blockstore_stats(bs, &after);
    CHECK(after.commits - before.commits < 1000);
    blockstore_put(bs, raw_block(sent++, 3000), l.mb, lazy_answered, &l);
    CHECK(do_sync(bs) == 0); /* who waits takes all along that came before */
    CHECK(mailbox_run(l.mb, 10) == 1 && l.answered == sent);
    CHECK(verify_all(bs, false, NULL) == 0);
    blockstore_close(bs);
    mailbox_free(l.mb);
    folder_remove(&f);
}

/* ---- crashes ---- */

/* The child stores pinned DAGs one after another and tells the number of each that is on disk. */
static void crash_child(const char *dir, int tell, unsigned from)
{
    log_set_stderr(false);
    struct blockstore *bs = store_open(dir, 0);
    for (unsigned n = from;; n++) {
        struct block *leaf = raw_block(n, 3000), *extra = raw_block(n + 1000000, 500);
        struct block *root = node_block((struct cid[]){leaf->cid, extra->cid}, 2, n);
        bool good =
            do_put(bs, leaf) == 0 && do_put(bs, extra) == 0 && do_simple(bs, DO_PIN, &root->cid) == 0 && do_put(bs, root) == 0;
        if (n % 3 == 0 && n > from) {
            struct block *old_leaf = raw_block(n - 1, 3000), *old_extra = raw_block(n + 999999, 500);
            struct block *old = node_block((struct cid[]){old_leaf->cid, old_extra->cid}, 2, n - 1);
            (void)do_simple(bs, DO_UNPIN, &old->cid);
            (void)do_simple(bs, DO_PIN, &old->cid);
        }
        if (!good || do_sync(bs) != 0 || write(tell, &n, sizeof n) != (ssize_t)sizeof n)
            _exit(1);
    }
}

/* Runs the child until it is killed: after `kill_after` acknowledgements, or by itself at the `fault`-th write. Returns how
 * many were acknowledged. */
static unsigned crash_run(const char *dir, unsigned from, unsigned kill_after, unsigned long fault)
{
    int tell[2];
    CHECK(pipe(tell) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(tell[0]);
        if (fault)
            fault_arm(fault, FAULT_EXIT);
        crash_child(dir, tell[1], from);
    }
    close(tell[1]);
    unsigned n, next = from;
    while (read(tell[0], &n, sizeof n) == (ssize_t)sizeof n) {
        CHECK(n == next);
        next++;
        if (kill_after && next - from >= kill_after)
            kill(pid, SIGKILL);
    }
    close(tell[0]);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == FAULT_EXIT_STATUS);
    return next;
}

static void crash_check(const char *dir, unsigned acknowledged)
{
    struct blockstore *bs = store_open(dir, 0);
    struct blockstore_stats s = settle(bs);
    CHECK(s.pins >= acknowledged);
    (void)do_collect(bs);
    for (unsigned n = 0; n < acknowledged; n++) {
        struct block *leaf = raw_block(n, 3000), *extra = raw_block(n + 1000000, 500);
        struct block *root = node_block((struct cid[]){leaf->cid, extra->cid}, 2, n);
        CHECK(has(bs, &leaf->cid) && has(bs, &extra->cid) && has(bs, &root->cid));
        block_unref(leaf);
        block_unref(extra);
        block_unref(root);
    }
    CHECK(verify_all(bs, false, NULL) == 0);
    blockstore_close(bs);
}

static void test_crashes(void)
{
    struct folder f;
    folder_make(&f);
    unsigned acknowledged = 0;
    for (unsigned i = 0; i < 8; i++) { /* kill -9 from outside, wherever it is */
        acknowledged = crash_run(f.path, acknowledged, 1 + i * 2, 0);
        crash_check(f.path, acknowledged);
    }
    for (unsigned long n = 1; n < 60; n += 1 + n / 8) { /* _exit between two writes */
        acknowledged = crash_run(f.path, acknowledged, 0, n);
        crash_check(f.path, acknowledged);
    }
    folder_remove(&f);
}

/* ---- a full disk ---- */

static int full_disk(const char *dir)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=8m") != 0)
        return 77;
    struct blockstore *bs = store_open(dir, 0);
    struct block *live = raw_block(1, 500000);
    CHECK(do_put(bs, live) == 0 && do_simple(bs, DO_PIN, &live->cid) == 0);
    /* Cache gives way: far more than the disk holds can pass through. */
    for (unsigned i = 10; i < 60; i++) {
        struct block *b = raw_block(i, 500000);
        int r = do_put(bs, b);
        CHECK(r == 0);
        block_unref(b);
    }
    CHECK(has(bs, &live->cid));
    /* Live data does not: it is refused, and everything else goes on. */
    unsigned kept = 0, refused = 0;
    for (unsigned i = 100; i < 140; i++) {
        struct block *b = raw_block(i, 400000);
        if (do_simple(bs, DO_PIN, &b->cid) != 0 || do_put(bs, b) != 0)
            refused++;
        else
            kept++;
        block_unref(b);
    }
    CHECK(kept >= 5 && refused >= 10);
    struct blockstore_stats s;
    blockstore_stats(bs, &s);
    CHECK(has(bs, &live->cid));
    for (unsigned i = 100; i < 120; i++) { /* room returns */
        struct block *b = raw_block(i, 400000);
        int r = do_simple(bs, DO_UNPIN, &b->cid);
        CHECK(r == 0 || r == ERR_NOT_FOUND);
        block_unref(b);
    }
    (void)do_collect(bs);
    struct block *last = raw_block(999, 400000);
    CHECK(do_put(bs, last) == 0 && do_sync(bs) == 0);
    blockstore_stats(bs, &s);
    CHECK(s.fault == 0);
    CHECK(verify_all(bs, false, NULL) == 0);
    blockstore_close(bs);
    bs = store_open(dir, 0);
    CHECK(has(bs, &live->cid) && has(bs, &last->cid));
    CHECK(verify_all(bs, false, NULL) == 0);
    blockstore_close(bs);
    block_unref(live);
    block_unref(last);
    return 0;
}

static void test_full_disk(void)
{
    if (geteuid() != 0) {
        printf("skipped: full disk: mounting a tmpfs needs root\n");
        return;
    }
    struct folder f;
    folder_make(&f);
    pid_t pid = fork(); /* a mount namespace of its own: the mount goes with the process */
    if (pid == 0) {
        exit(full_disk(f.path));
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        printf("skipped: full disk: cannot mount a tmpfs here\n");
    else
        CHECK(WEXITSTATUS(status) == 0);
    folder_remove(&f);
}

static const struct {
    const char *name;
    void (*run)(void);
} plain[] = {
    {"disk errors", test_disk_errors},
    {"a check on a disk that refuses", test_check_on_a_disk_that_refuses},
    {"reopening", test_reopening},
    {"reopening beside a check", test_reopening_beside_a_check},
    {"lazy", test_lazy},
    {"crashes", test_crashes},
    {"full disk", test_full_disk},
};

int main(int argc, char **argv)
{
    log_set_stderr(argc > 1 && strcmp(argv[1], "-v") == 0);
    if (argc == 4 && strcmp(argv[1], "random") == 0) { /* seed, quota: to see one of them again */
        test_random(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
        return 0;
    }
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        plain[i].run();
        printf("ok %s\n", plain[i].name);
        fflush(stdout);
    }
    for (uint64_t seed = 1; seed <= 4; seed++) {
        printf("random, seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        test_random(seed, seed % 2 ? 0 : 150000);
    }
    printf("threads\n");
    test_threads(0);
    test_threads(400000);
    printf("ok\n");
    return 0;
}
