/* SPDX-License-Identifier: MIT
 *
 * Random operations on files whose blocks are refused and stored later, and crashes: then each file has bytes that it had, all of
 * them stored, and none older than what was synced; what took another's name has that one's, or its own.
 *
 * Usage: former_random_main; FORMER_SEED (1) and FORMER_ROUNDS in the environment. */
#include "tests/unit/store/tree/formerbed.h"

#include <string.h>

#define NAMES    5
#define FILES    64 /* in all */
#define VERSIONS 64
#define OVERS    4
#define STEPS    120

/* Versions of another file's bytes */
struct others {
    unsigned file, from, to;
};

struct file {
    uint64_t id;
    bool gone, forgotten;
    struct store_guard *g;
    uint64_t refused;
    struct {
        unsigned n; /* 0: no bytes */
        bool stored;
    } v[VERSIONS];
    unsigned count, synced;    /* not older than this one after a crash */
    struct others over[OVERS]; /* whose name it took */
    unsigned overs;
    int over_name; /* under this name it is not empty; -1 */
};

/* What is on the disk after a crash is one of `was`. */
struct world {
    struct bed b;
    struct rng rng;
    struct file f[FILES];
    unsigned files, last;
    unsigned now[NAMES]; /* files + 1; 0: none */
    unsigned was[2 * STEPS + 2][NAMES], was_count;
    uint64_t folder_refused;
};

static unsigned dice(struct world *w, unsigned below)
{
    return (unsigned)rng_below(&w->rng, below);
}

static struct tree_place named(unsigned name)
{
    static const char *names[NAMES] = {"a", "b", "c", "d", "e"};
    return place(TREE_ROOT, names[name]);
}

static void note(struct world *w)
{
    memcpy(w->was[w->was_count++], w->now, sizeof w->now);
}

struct refuse {
    struct store_op op;
    struct store_guard *g;
    int error;
};

static int refuse_apply(struct store_op *op, struct store_txn *txn)
{
    (void)txn;
    store_guard_refuse(((struct refuse *)op)->g, ((struct refuse *)op)->error);
    return 0;
}

static void refuse(struct world *w, struct store_guard *g, uint64_t *count)
{
    static const int errors[] = {ERR_NO_SPACE, ERR_NO_SPACE, ERR_QUOTA, ERR_IO};
    struct refuse r = {.op = {.apply = refuse_apply}, .g = g, .error = errors[dice(w, 4)]};
    CHECK_EQ(blockstore_do(w->b.bs, &r.op), 0);
    ++*count;
}

static bool all_stored(const struct file *f)
{
    for (unsigned i = 0; i < f->count; i++)
        if (!f->v[i].stored)
            return false;
    return true;
}

static struct file *any_file(struct world *w)
{
    unsigned i = w->now[dice(w, NAMES)];
    return i == 0 ? NULL : &w->f[i - 1];
}

static void do_make(struct world *w)
{
    struct tree_node n;
    unsigned name = dice(w, NAMES);
    if (w->files == FILES || w->now[name] || tree_create(w->b.t, named(name), 0644, 1, &n) < 0)
        return;
    w->f[w->files++] = (struct file){.id = n.id, .g = store_guard_new(), .v = {{0, true}}, .count = 1, .over_name = -1};
    w->now[name] = w->files;
}

static void write_file(struct world *w, struct file *f)
{
    if (!f || f->count == VERSIONS)
        return;
    unsigned n = dice(w, 8) == 0 ? 0 : ++w->last, stored = n == 0 || dice(w, 2) == 0 ? LEAVES + 1 : dice(w, LEAVES + 1);
    struct unixfs_root root = {.size = 0};
    if (n > 0)
        root = file_of(&w->b, n, stored);
    if (stored <= LEAVES)
        refuse(w, f->g, &f->refused);
    if (tree_set_content(w->b.t, f->id, &(struct tree_content){.root = root, .guard = f->g}, 2) == 0) {
        f->v[f->count].n = n;
        f->v[f->count++].stored = stored > LEAVES;
        f->over_name = n == 0 ? -1 : f->over_name;
    } else if (all_stored(f)) { /* it is not told of */
        store_guard_forgive(f->g, f->refused);
    }
}

static void do_write(struct world *w)
{
    write_file(w, any_file(w));
}

/* The blocks of some of its versions are stored; when none is left, the tree is told. */
static void do_store(struct world *w)
{
    struct file *f = any_file(w);
    if (!f)
        return;
    for (unsigned i = 0; i < f->count; i++) {
        if (f->v[i].stored)
            continue;
        (void)file_of(&w->b, f->v[i].n, LEAVES + 1);
        f->v[i].stored = true;
        if (dice(w, 3) == 0)
            break;
    }
    if (all_stored(f)) {
        store_guard_forgive(f->g, f->refused);
        if (dice(w, 2))
            tree_retry(w->b.t);
    }
}

static void do_forget(struct world *w, struct file *f)
{
    f->gone = true;
    if (dice(w, 2) && !all_stored(f))
        store_guard_give_up(f->g);
    f->forgotten = dice(w, 3) > 0;
    if (f->forgotten)
        CHECK_EQ(tree_forget(w->b.t, f->id), 0);
}

static void do_unlink(struct world *w)
{
    unsigned name = dice(w, NAMES), i = w->now[name];
    if (i == 0 || tree_unlink(w->b.t, named(name), 1) < 0)
        return;
    w->now[name] = 0;
    do_forget(w, &w->f[i - 1]);
}

static bool may_be_empty(const struct file *f)
{
    for (unsigned i = f->synced; i < f->count; i++)
        if (f->v[i].n == 0)
            return true;
    return false;
}

static void rename_file(struct world *w, unsigned from, unsigned to, unsigned flags)
{
    unsigned moved = w->now[from], there = w->now[to];
    if (from == to || (moved && w->f[moved - 1].overs == OVERS) || tree_rename(w->b.t, named(from), named(to), flags, 3) < 0)
        return;
    struct file *f = &w->f[moved - 1], *over = there ? &w->f[there - 1] : NULL;
    w->now[to] = moved;
    w->now[from] = flags ? there : 0;
    f->over_name = -1;
    if (flags && over)
        over->over_name = -1;
    if (flags || !over)
        return;
    f->over[f->overs++] = (struct others){there - 1, over->synced, over->count};
    if (f->v[f->count - 1].n > 0 && !may_be_empty(over))
        f->over_name = (int)to;
    do_forget(w, over);
}

static void do_rename(struct world *w)
{
    unsigned from = dice(w, NAMES), to = dice(w, NAMES);
    rename_file(w, from, to, dice(w, 3) == 0 ? TREE_EXCHANGE : 0);
}

/* As programs do that keep a file whole */
static void do_replace(struct world *w)
{
    unsigned before = w->files;
    do_make(w);
    if (w->files == before)
        return;
    note(w);
    write_file(w, &w->f[before]);
    for (unsigned from = 0; from < NAMES; from++)
        if (w->now[from] == before + 1) {
            rename_file(w, from, dice(w, NAMES), 0);
            return;
        }
}

static void do_sync(struct world *w)
{
    int result = 1;
    tree_sync(w->b.t, bed_synced, &result);
    if (dice(w, 2)) {
        committer_idle(&w->b);
        do_store(w);
    }
    while (result == 1) {
        CHECK(mailbox_wait(w->b.mb, mono_now() + 60 * MONO_S));
        bed_pump(&w->b);
    }
    if (result < 0)
        return;
    for (unsigned i = 0; i < w->files; i++)
        if (all_stored(&w->f[i]))
            w->f[i].synced = w->f[i].count - 1;
    w->was_count = 0;
    note(w);
}

static void do_let_through(struct world *w)
{
    tree_let_through(w->b.t);
}

static void do_publish(struct world *w)
{
    struct block_sink sink = {.put = sink_refuse};
    struct unixfs_root root;
    if (dice(w, 2))
        refuse(w, tree_publish_guard(w->b.t), &w->folder_refused);
    else
        store_guard_forgive(tree_publish_guard(w->b.t), w->folder_refused);
    (void)tree_publish(w->b.t, TREE_ROOT, &sink, &root);
}

/* Which of them has this content? */
static bool is_one_of(struct world *w, const struct file *f, struct others which, const struct cid *cid, unsigned *ret_n)
{
    for (unsigned i = which.from; i < which.to; i++) {
        struct unixfs_root root = {.size = 0};
        *ret_n = f->v[i].n;
        if (*ret_n > 0)
            root = file_of(&w->b, *ret_n, 0);
        if (cid_eq(&root.cid, cid))
            return true;
    }
    for (unsigned i = 0; i < f->overs; i++)
        if (is_one_of(w, &w->f[f->over[i].file], f->over[i], cid, ret_n))
            return true;
    return false;
}

static void check_whole(struct bed *b, const struct unixfs_root *root, unsigned n)
{
    CHECK_EQ(store_read_begin(b->reader), 0);
    CHECK_EQ(store_has(b->reader, &root->cid), 1);
    for (uint8_t i = 0; i < LEAVES; i++) {
        struct cid cid = leaf_of(n, i, NULL);
        CHECK_EQ(store_has(b->reader, &cid), 1);
    }
    store_read_end(b->reader);
}

/* From here on it is what it is. */
static void found(struct world *w, struct file *f, unsigned name)
{
    struct tree_node node;
    unsigned n = 0;
    CHECK_EQ(tree_get(w->b.t, f->id, &node), 0);
    CHECK(is_one_of(w, f, (struct others){.from = f->synced, .to = f->count}, &node.content.cid, &n));
    CHECK(f->over_name != (int)name || n > 0);
    if (n > 0)
        check_whole(&w->b, &node.content, n);
    store_guard_unref(f->g);
    *f = (struct file){.id = f->id, .g = store_guard_new(), .v = {{n, true}}, .count = 1, .over_name = -1};
}

static void do_reopen(struct world *w)
{
    bool matches = false;
    committer_idle(&w->b); /* it comes sooner */
    reopen(&w->b);
    memset(w->now, 0, sizeof w->now);
    for (unsigned i = 0; i < NAMES; i++) {
        struct tree_node n;
        if (tree_lookup(w->b.t, named(i), &n) == 0)
            for (unsigned k = 0; k < w->files; k++) /* numbers that were lost are given again */
                w->now[i] = w->f[k].id == n.id ? k + 1 : w->now[i];
    }
    for (unsigned i = 0; i < w->was_count; i++)
        matches |= memcmp(w->was[i], w->now, sizeof w->now) == 0;
    CHECK(matches);
    for (unsigned i = 0; i < w->files; i++)
        w->f[i].gone = w->f[i].forgotten = true;
    for (unsigned i = 0; i < NAMES; i++)
        if (w->now[i])
            found(w, &w->f[w->now[i] - 1], i);
    w->folder_refused = w->was_count = 0;
    if (dice(w, 2))
        CHECK_EQ(bed_sync(&w->b), 0);
    committer_idle(&w->b);
    check_sound(&w->b, NULL);
    check_store(&w->b);
    note(w);
}

static void step(struct world *w)
{
    static void (*const all[])(struct world * w) = {
        do_make,   do_write,  do_write,   do_write,   do_write, do_store, do_store,   do_store,  do_unlink,      do_unlink,
        do_rename, do_rename, do_replace, do_replace, do_sync,  do_sync,  do_publish, do_reopen, do_let_through,
    };
    unsigned i = dice(w, sizeof all / sizeof *all + 2);
    if (i < sizeof all / sizeof *all)
        all[i](w);
    if (i == sizeof all / sizeof *all)
        committer_idle(&w->b);
    if (i >= sizeof all / sizeof *all)
        bed_pump(&w->b);
}

static void end_of(struct world *w)
{
    for (unsigned i = 0; i < w->files; i++)
        store_guard_forgive(w->f[i].g, w->f[i].refused);
    store_guard_forgive(tree_publish_guard(w->b.t), w->folder_refused);
    bed_settle(&w->b);
    CHECK_EQ(bed_sync(&w->b), 0);
    for (unsigned i = 0; i < NAMES; i++)
        if (w->now[i]) {
            CHECK_EQ(tree_unlink(w->b.t, named(i), 1), 0);
            w->f[w->now[i] - 1].gone = true;
        }
    (void)make_dir(&w->b, TREE_ROOT, "z"); /* what is published is out of date */
    if (dice(w, 2)) {
        reopen(&w->b);
    } else {
        for (unsigned i = 0; i < w->files; i++)
            if (!w->f[i].forgotten)
                CHECK_EQ(tree_forget(w->b.t, w->f[i].id), 0);
    }
    CHECK_EQ(live(&w->b), 0);
    check_sound(&w->b, NULL);
    check_store(&w->b);
}

static void round_of(uint64_t seed)
{
    struct world *w = MEM_NEW(struct world);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    rng_init_seed(&w->rng, seed);
    w->b.budget = budget_new(BUDGET_MIN);
    snprintf(w->b.dir, sizeof w->b.dir, "%s/treebed.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    CHECK(mkdtemp(w->b.dir));
    bed_open(&w->b);
    note(w);
    for (unsigned i = 0; i < STEPS; i++) {
        step(w);
        note(w);
    }
    end_of(w);
    for (unsigned i = 0; i < w->files; i++)
        store_guard_unref(w->f[i].g);
    bed_free(&w->b);
    free(w);
}

int main(void)
{
    const char *first = getenv("FORMER_SEED"), *rounds = getenv("FORMER_ROUNDS");
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    for (uint64_t i = 0, n = rounds ? strtoull(rounds, NULL, 10) : 20; i < n; i++)
        round_of(seed + i);
    return 0;
}
