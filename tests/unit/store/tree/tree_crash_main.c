/* SPDX-License-Identifier: MIT
 *
 * A child works on a tree and on pinned blocks and dies in the middle: killed from outside, between two writes of the store, or
 * between or within two writes to the disk; or it comes to its end, and then the power fails at some earlier moment (powercut.h),
 * in the first such round also at every one while the store is made.
 * Afterwards the store must be sound by a full recount, what was pinned must be there, and the tree must be exactly as it was
 * after one of its operations, not an earlier one than the last sync that was answered. Operations come from a seed, so the
 * parent does them again in another store and compares root CIDs. At last everything is removed: then nothing may be left.
 *
 * Usage: tree_crash_main [rounds [seed]]; P2P_CRASH_ROUNDS in the environment for long runs. */
#include "store/block/fault.h"
#include "store/block/pin.h"
#include "tests/unit/store/tree/powercut.h"
#include "tests/unit/store/tree/treemodel.h"

#include <signal.h>
#include <sys/wait.h>

#define OPERATIONS   1500u
#define CUTS         8 /* of one recording */
#define PIN_EVERY    16
#define STORE_WRITES 12000 /* about as many as a child makes */
#define DISK_CALLS   2000

enum death { BY_SIGNAL, IN_STORE, IN_DISK, NO_POWER, DEATHS };

struct progress {
    uint64_t recorded; /* bytes of the record when it was known */
    uint32_t done;
};

/* ---- the child ---- */

static struct block *pinned_block(uint64_t seed, uint32_t i)
{
    struct rng rng;
    rng_init_seed(&rng, seed * 1000003 + i);
    uint32_t len = 100 + (uint32_t)rng_below(&rng, i % 3 ? 3000 : 60000); /* some lie in files of their own */
    if (i % 5 == 0)
        len += UINT32_C(128) << 10;
    struct block *b = block_new(NULL, BUDGET_STORE, len);
    CHECK(b);
    for (uint32_t k = 0; k < len; k++)
        b->data[k] = (uint8_t)rng_below(&rng, 256);
    b->len = len;
    cid_of(&b->cid, CODEC_RAW, block_span(b));
    return b;
}

static void report(int fd, uint32_t done)
{
    struct progress p = {atomic_load(&disk_shim()->recorded), done};
    ssize_t n = write(fd, &p, sizeof p);
    if (n != (ssize_t)sizeof p)
        _exit(1);
}

struct waiting {
    int fd;
    uint32_t done;
};

static void tell_synced(void *arg, int result)
{
    struct waiting *w = arg;
    CHECK_EQ(result, 0);
    report(w->fd, w->done);
    free(w);
}

/* The operation that unpins what this one pins; none: beyond the end */
static uint32_t unpinned_by(uint32_t i)
{
    return i % (4 * PIN_EVERY) == PIN_EVERY ? i + PIN_EVERY + PIN_EVERY / 2 : OPERATIONS + 1;
}

static void unpin_one(struct bed *b, uint64_t seed, uint32_t i)
{
    struct block *block = pinned_block(seed, i - PIN_EVERY - PIN_EVERY / 2);
    blockstore_unpin(b->bs, &block->cid, NULL, NULL, NULL);
    blockstore_collect(b->bs, NULL, NULL, NULL);
    block_unref(block);
}

static void pin_one(struct bed *b, uint64_t seed, uint32_t i)
{
    struct block *block = pinned_block(seed, i);
    struct cid cid = block->cid;
    blockstore_pin(b->bs, &cid, "pinned", NULL, NULL, NULL); /* first: a collection may run between the two */
    blockstore_put(b->bs, block, NULL, NULL, NULL);
}

static void child(struct bed *b, uint64_t seed, int fd)
{
    struct rng rng, when;
    struct model *m = MEM_NEW(struct model);
    rng_init_seed(&rng, seed);
    rng_init_seed(&when, seed + 1);
    bed_open(b);
    model_init(m);
    for (uint32_t i = 1; i <= OPERATIONS; i++) {
        step_any(b, m, &rng);
        if (i % PIN_EVERY == 0)
            pin_one(b, seed, i);
        else if (i > 2 * PIN_EVERY && unpinned_by(i - PIN_EVERY - PIN_EVERY / 2) == i)
            unpin_one(b, seed, i);
        if (tree_pending(b->t) > 300 || rng_below(&when, 12) == 0) /* many commits are more places to die at */
            bed_settle(b);
        if (rng_below(&when, 20) == 0) { /* not waited for: the answer may come any time */
            struct waiting *w = MEM_NEW(struct waiting);
            *w = (struct waiting){fd, i};
            tree_sync(b->t, tell_synced, w);
        }
        if (rng_below(&when, 10) == 0)
            bed_pump(b);
    }
    bed_settle(b);
    CHECK_EQ(bed_sync(b), 0);
    report(fd, OPERATIONS);
    _exit(0);
}

static void arm(enum death death, struct rng *rng, const char *dir, const char *record)
{
    struct disk_shim *s = disk_shim();
    if (death == IN_STORE)
        fault_arm(1 + rng_below(rng, STORE_WRITES), FAULT_EXIT);
    if (death != IN_DISK && death != NO_POWER)
        return;
    disk_shim_begin(dir, death == NO_POWER ? record : NULL);
    atomic_store(&s->kinds, DISK_WRITE | DISK_SYNC | DISK_NAME);
    atomic_store(&s->action, rng_below(rng, 2) ? DISK_KILL : DISK_KILL_HALF);
    atomic_store(&s->strike_at, death == IN_DISK ? 1 + rng_below(rng, DISK_CALLS) : 0);
}

/* ---- what should be ---- */

static struct cid root_cid(struct bed *b)
{
    struct unixfs_root root;
    publish(b, TREE_ROOT, NULL, &root);
    return root.cid;
}

/* In memory when there is room: a sync that waits for a disk would show nothing more. */
static void make_bed_dir(struct bed *b)
{
    snprintf(b->dir, sizeof b->dir, "%s/treebed.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    CHECK(mkdtemp(b->dir));
}

/* The root after each operation */
static struct cid *replay(uint64_t seed)
{
    struct bed b = {.budget = budget_new(BUDGET_MIN)};
    struct rng rng;
    struct model *m = MEM_NEW(struct model);
    struct cid *roots = mem_array(OPERATIONS + 1, sizeof *roots);
    rng_init_seed(&rng, seed);
    make_bed_dir(&b);
    bed_open(&b);
    model_init(m);
    for (uint32_t i = 0; i <= OPERATIONS; i++) {
        if (i > 0)
            step_any(&b, m, &rng);
        if (tree_pending(b.t) > 300)
            bed_settle(&b);
        roots[i] = root_cid(&b);
    }
    free(m);
    bed_free(&b);
    return roots;
}

/* ---- what is ---- */

/* Those that were synced are there and whole; those that are there are counted. */
static void check_pins(struct bed *b, uint64_t seed, uint32_t synced)
{
    struct cid at = {.len = 0};
    struct pin pin;
    struct span data;
    struct blockstore_stats stats;
    uint64_t count = 0;
    CHECK_EQ(store_read_begin(b->reader), 0);
    while (store_pin_next(b->reader, &at, &pin) == 1)
        count++;
    for (uint32_t i = PIN_EVERY; i <= synced; i += PIN_EVERY) {
        struct block *want = pinned_block(seed, i);
        bool unpinned = unpinned_by(i) <= synced, perhaps = !unpinned && unpinned_by(i) <= OPERATIONS;
        if (unpinned)
            CHECK_EQ(store_pin_get(b->reader, &want->cid, &pin), ERR_NOT_FOUND);
        if (unpinned || (perhaps && store_pin_get(b->reader, &want->cid, &pin) != 0)) {
            block_unref(want);
            continue;
        }
        CHECK_EQ(store_pin_get(b->reader, &want->cid, &pin), 0);
        CHECK_EQ(store_get(b->reader, &want->cid, &data), 0);
        CHECK(span_eq(data, block_span(want)));
        block_unref(want);
    }
    store_read_end(b->reader);
    blockstore_stats(b->bs, &stats);
    CHECK_EQ(stats.pins, count);
}

#define ENTRIES_MAX 64

struct listed {
    struct tree_entry e[ENTRIES_MAX];
    char name[ENTRIES_MAX][16];
    unsigned count;
};

static bool list_one(void *arg, const struct tree_entry *e)
{
    struct listed *l = arg;
    CHECK(e->name.len < sizeof l->name[0]);
    l->e[l->count] = *e;
    memcpy(l->name[l->count], e->name.data, e->name.len);
    l->name[l->count][e->name.len] = 0;
    return ++l->count < ENTRIES_MAX;
}

static void remove_below(struct bed *b, uint64_t dir)
{
    for (;;) {
        struct listed l = {.count = 0};
        CHECK_EQ(tree_readdir(b->t, dir, 0, list_one, &l), 0);
        if (l.count == 0)
            return;
        for (unsigned i = 0; i < l.count; i++) {
            struct tree_place at = place(dir, l.name[i]);
            int r;
            if (l.e[i].type == TREE_DIR)
                remove_below(b, l.e[i].id);
            PATIENT(b, r, l.e[i].type == TREE_DIR ? tree_rmdir(b->t, at, 1) : tree_unlink(b->t, at, 1));
            CHECK_EQ(r, 0);
            tree_forget(b->t, l.e[i].id);
        }
    }
}

static void note_collected(void *arg, const struct collect_result *r)
{
    CHECK_EQ(r->result, 0);
    *(int *)arg = 0;
}

/* A count that is too high by one would keep something for ever. */
static void check_nothing_leaks(struct bed *b)
{
    struct cid at = {.len = 0};
    struct pin pin;
    struct blockstore_stats s;
    int collected = 1;
    remove_below(b, TREE_ROOT);
    CHECK_EQ(store_read_begin(b->reader), 0);
    while (store_pin_next(b->reader, &at, &pin) == 1)
        blockstore_unpin(b->bs, &pin.cid, NULL, NULL, NULL);
    store_read_end(b->reader);
    blockstore_collect(b->bs, b->mb, note_collected, &collected);
    while (collected) {
        CHECK(mailbox_wait(b->mb, mono_now() + 60 * MONO_S));
        bed_pump(b);
    }
    bed_settle(b);
    CHECK_EQ(bed_sync(b), 0);
    blockstore_stats(b->bs, &s);
    CHECK_EQ(s.pins, 0);
    CHECK_EQ(s.live_blocks, 0);
    CHECK_EQ(s.live_bytes, 0);
    CHECK_EQ(s.wanted_blocks, 0);
    CHECK_EQ(s.blocks, 0);
    CHECK_EQ(s.bytes, 0);
    check_store(b);
}

/* Returns after which operation it looks like. */
static uint32_t check_after(struct bed *b, uint64_t seed, uint32_t synced, const struct cid *roots)
{
    struct why why = {""};
    struct tree_count count;
    bed_open(b);
    if (tree_check(b->t, &count, &why) < 0)
        fprintf(stderr, "%s\n", why.text);
    CHECK_EQ(why.text[0], 0);
    bed_settle(b); /* orphans are let go of */
    CHECK_EQ(tree_check(b->t, &count, &why), 0);
    CHECK_EQ(count.orphans, 0);
    check_store(b);
    check_pins(b, seed, synced);
    struct cid after = root_cid(b);
    uint32_t i = synced;
    while (i <= OPERATIONS && !cid_eq(&roots[i], &after))
        i++;
    CHECK(i <= OPERATIONS);
    check_nothing_leaks(b);
    return i;
}

/* ---- rounds ---- */

struct watched {
    struct progress p[OPERATIONS + 2];
    unsigned count;
};

static void watch(pid_t pid, int fd, unsigned reports_until_kill, struct watched *ret)
{
    struct progress got;
    while (read(fd, &got, sizeof got) == (ssize_t)sizeof got) {
        CHECK(ret->count == 0 || got.done >= ret->p[ret->count - 1].done);
        CHECK(ret->count < OPERATIONS + 2);
        ret->p[ret->count++] = got;
        if (ret->count == reports_until_kill)
            kill(pid, SIGKILL);
    }
}

static uint32_t synced_at(const struct watched *w, uint64_t recorded)
{
    uint32_t synced = 0;
    for (unsigned i = 0; i < w->count && w->p[i].recorded <= recorded; i++)
        synced = w->p[i].done;
    return synced;
}

#define FIRST_CUTS 24 /* while a store is made */

static size_t cut_after(const struct recording *r, uint64_t records)
{
    size_t at = 0;
    for (; records > 0; records--)
        at += sizeof(struct disk_record) + record_at(r, at).len;
    return at;
}

/* Between two records: any is as likely, however long it is. */
static size_t random_cut(const struct recording *r, struct rng *rng)
{
    size_t at = 0;
    uint64_t count = 0;
    for (; at < r->len; count++)
        at += sizeof(struct disk_record) + record_at(r, at).len;
    return cut_after(r, rng_below(rng, count + 1));
}

struct history {
    uint64_t seed;
    const struct watched *watched;
    const struct cid *roots;
};

static void cut_at(const struct recording *r, size_t cut, enum luck luck, const struct history *h, struct rng *rng)
{
    struct bed b = {.budget = budget_new(BUDGET_MIN)};
    uint32_t synced = synced_at(h->watched, cut);
    make_bed_dir(&b);
    powercut_make(r, cut, luck, rng, b.dir);
    printf("  cut at %zu of %zu, luck %d, %u synced:", cut, r->len, (int)luck, synced);
    fflush(stdout);
    printf(" as after %u\n", check_after(&b, h->seed, synced, h->roots));
    bed_free(&b);
}

static void cut_power(const char *record, const struct history *h, bool first, struct rng *rng)
{
    struct recording r = recording_read(record);
    for (unsigned i = 0; i < CUTS; i++)
        cut_at(&r, random_cut(&r, rng), (enum luck)(i % LUCKS), h, rng);
    for (unsigned i = 0; first && i < FIRST_CUTS * LUCKS; i++)
        cut_at(&r, cut_after(&r, 1 + i / LUCKS), (enum luck)(i % LUCKS), h, rng);
    free(r.bytes);
}

static pid_t start(struct bed *b, uint64_t seed, enum death death, struct rng *rng, int *ret_fd)
{
    int fds[2];
    char record[128];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    snprintf(record, sizeof record, "%s.record", b->dir);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        arm(death, rng, b->dir, record);
        child(b, seed, fds[1]);
    }
    close(fds[1]);
    *ret_fd = fds[0];
    return pid;
}

static void round_of(uint64_t seed, bool first)
{
    static const char *const told[] = {"killed", "died in the store", "died in a disk write", "lost power"};
    struct bed b = {.budget = budget_new(BUDGET_MIN)};
    struct watched *w = MEM_NEW(struct watched);
    struct rng rng;
    int fd, status;
    char record[128];
    rng_init_seed(&rng, seed ^ 0x5eed);
    enum death death = (enum death)(seed % DEATHS);
    make_bed_dir(&b);
    snprintf(record, sizeof record, "%s.record", b.dir);
    printf("seed %llu: %s", (unsigned long long)seed, told[death]);
    fflush(stdout);
    pid_t pid = start(&b, seed, death, &rng, &fd);
    watch(pid, fd, death == BY_SIGNAL ? 1 + (unsigned)rng_below(&rng, 50) : UINT32_MAX, w);
    close(fd);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    bool ended = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAULT_EXIT_STATUS);
    CHECK(ended || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    struct cid *roots = replay(seed);
    uint32_t synced = synced_at(w, UINT64_MAX);
    printf("%s after %u synced operations", ended && WEXITSTATUS(status) == 0 ? ", not before its end," : "", synced);
    fflush(stdout);
    printf(", as after %u\n", check_after(&b, seed, synced, roots));
    if (death == NO_POWER)
        cut_power(record, &(struct history){seed, w, roots}, first, &rng);
    unlink(record);
    bed_free(&b);
    free(roots);
    free(w);
}

int main(int argc, char **argv)
{
    const char *wish = getenv("P2P_CRASH_ROUNDS");
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : wish ? (unsigned)strtoul(wish, NULL, 10) : 40;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (unsigned i = 0; i < rounds; i++)
        round_of(seed + i, i < DEATHS);
    return 0;
}
