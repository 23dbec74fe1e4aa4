/* SPDX-License-Identifier: MIT
 *
 * The tree over a real store, with its committer running. Usage: tree_main [seed [operations]] */
#include "store/block/fault.h"
#include "store/block/index_rebuild.h"
#include "store/block/store_internal.h"
#include "store/tree/tree_record.h"
#include "store/unixfs/directory.h"
#include "tests/lib/short_memory.h"
#include "tests/unit/store/tree/treemodel.h"

#include <string.h>

/* ---- names ---- */

static void test_names(void)
{
    struct bed b;
    struct tree_node n;
    bed_new(&b);
    char longest[257];
    memset(longest, 'n', sizeof longest);
    struct tree_place at = {TREE_ROOT, span_of(longest, 255)};
    CHECK_EQ(tree_create(b.t, at, 0644, 1, &n), 0);
    CHECK_EQ(tree_create(b.t, at, 0644, 1, &n), ERR_EXISTS);
    at.name.len = 256;
    CHECK_EQ(tree_create(b.t, at, 0644, 1, &n), ERR_NAME_LONG);
    CHECK_EQ(tree_lookup(b.t, at, &n), ERR_NAME_LONG);
    static const char *const refused[] = {"", ".", "..", "a/b"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        CHECK_EQ(tree_create(b.t, place(TREE_ROOT, refused[i]), 0644, 1, &n), ERR_INVALID);
    CHECK_EQ(tree_create(b.t, (struct tree_place){TREE_ROOT, span_of("a\0b", 3)}, 0644, 1, &n), ERR_INVALID);
    (void)make_file(&b, TREE_ROOT, "\xff\xfe not UTF-8 \n\t");
    uint64_t f = make_file(&b, TREE_ROOT, "f");
    CHECK_EQ(tree_create(b.t, place(f, "x"), 0644, 1, &n), ERR_NOT_DIR);
    CHECK_EQ(tree_create(b.t, place(9999, "x"), 0644, 1, &n), ERR_STALE);
    CHECK_EQ(tree_lookup(b.t, place(TREE_ROOT, "none"), &n), ERR_NOT_FOUND);
    CHECK_EQ(tree_lookup(b.t, place(f, "x"), &n), ERR_NOT_DIR);
    /* case and prefixes are different names */
    (void)make_file(&b, TREE_ROOT, "F");
    (void)make_file(&b, TREE_ROOT, "ff");
    uint64_t id;
    CHECK_EQ(lookup(&b, TREE_ROOT, "f", &id), 0);
    CHECK_EQ(id, f);
    /* a prefix of another directory's key does not leak: ids are fixed width */
    uint64_t d = make_dir(&b, TREE_ROOT, "d");
    struct buf path = BUF_INIT;
    uint64_t deep = make_file(&b, make_dir(&b, d, "e"), "g");
    CHECK_EQ(tree_path(b.t, deep, &path), 0);
    CHECK(span_eq_str(buf_span(&path), "d/e/g"));
    buf_done(&path);
    check_sound(&b, NULL);
    bed_free(&b);
}

static void test_unlink_and_forget(void)
{
    struct bed b;
    struct tree_node n;
    struct tree_count count;
    bed_new(&b);
    uint64_t d = make_dir(&b, TREE_ROOT, "d"), f = make_file(&b, d, "f");
    struct unixfs_root c = content(1);
    CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = c}, 2), 0);
    CHECK_EQ(tree_unlink(b.t, place(TREE_ROOT, "d"), 3), ERR_IS_DIR);
    CHECK_EQ(tree_rmdir(b.t, place(d, "f"), 3), ERR_NOT_DIR);
    CHECK_EQ(tree_rmdir(b.t, place(TREE_ROOT, "d"), 3), ERR_NOT_EMPTY);
    CHECK_EQ(tree_unlink(b.t, place(d, "none"), 3), ERR_NOT_FOUND);
    CHECK_EQ(tree_unlink(b.t, place(d, "f"), 3), 0);
    /* open: it keeps its bytes, takes new ones, and its name is free */
    CHECK_EQ(tree_get(b.t, f, &n), 0);
    CHECK_EQ(n.parent, 0);
    CHECK(cid_eq(&n.content.cid, &c.cid));
    c = content(2);
    CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = c}, 4), 0);
    CHECK_EQ(tree_set_content(b.t, d, &(struct tree_content){.root = c}, 4), ERR_IS_DIR);
    uint64_t f2 = make_file(&b, d, "f");
    CHECK(f2 != f);
    tree_forget(b.t, f2); /* has a name: nothing happens */
    CHECK_EQ(tree_get(b.t, f2, &n), 0);
    tree_forget(b.t, f);
    CHECK_EQ(tree_get(b.t, f, &n), ERR_STALE);
    tree_forget(b.t, f);
    tree_forget(b.t, TREE_ROOT);
    CHECK_EQ(tree_get(b.t, TREE_ROOT, &n), 0);
    CHECK_EQ(tree_unlink(b.t, place(d, "f"), 5), 0);
    CHECK_EQ(tree_rmdir(b.t, place(TREE_ROOT, "d"), 5), 0);
    CHECK_EQ(tree_create(b.t, place(d, "late"), 0644, 5, &n), ERR_NOT_FOUND); /* a removed directory */
    check_sound(&b, &count);
    CHECK_EQ(count.orphans, 2);
    reopen(&b); /* nobody has them open now */
    bed_settle(&b);
    check_sound(&b, &count);
    CHECK_EQ(count.orphans, 0);
    CHECK_EQ(count.files, 0);
    CHECK_EQ(count.dirs, 1);
    uint64_t f3 = make_file(&b, TREE_ROOT, "f");
    CHECK(f3 > f2); /* never used again */
    bed_free(&b);
}

static void test_rename(void)
{
    struct bed b;
    struct tree_node n;
    uint64_t id;
    bed_new(&b);
    struct tree *t = b.t;
    uint64_t a = make_dir(&b, TREE_ROOT, "a"), c = make_dir(&b, a, "c"), d = make_dir(&b, TREE_ROOT, "d");
    uint64_t f = make_file(&b, a, "f"), g = make_file(&b, d, "g");
    CHECK_EQ(tree_rename(t, place(a, "none"), place(d, "x"), 0, 2), ERR_NOT_FOUND);
    CHECK_EQ(tree_rename(t, place(a, "f"), place(d, "g"), TREE_NOREPLACE, 2), ERR_EXISTS);
    CHECK_EQ(tree_rename(t, place(a, "f"), place(a, "f"), TREE_NOREPLACE, 2), ERR_EXISTS);
    CHECK_EQ(tree_rename(t, place(a, "f"), place(a, "f"), 0, 2), 0);
    CHECK_EQ(tree_rename(t, place(a, "f"), place(d, "x"), TREE_EXCHANGE, 2), ERR_NOT_FOUND);
    CHECK_EQ(tree_rename(t, place(a, "f"), place(d, "x"), 3, 2), ERR_INVALID);
    CHECK_EQ(tree_rename(t, place(a, "f"), place(d, "x"), 4, 2), ERR_INVALID);
    CHECK_EQ(tree_rename(t, place(a, "f"), place(TREE_ROOT, "d"), 0, 2), ERR_IS_DIR);
    CHECK_EQ(tree_rename(t, place(TREE_ROOT, "d"), place(a, "f"), 0, 2), ERR_NOT_DIR);
    CHECK_EQ(tree_rename(t, place(TREE_ROOT, "d"), place(TREE_ROOT, "a"), 0, 2), ERR_NOT_EMPTY);
    CHECK_EQ(tree_rename(t, place(TREE_ROOT, "a"), place(c, "x"), 0, 2), ERR_INVALID);
    CHECK_EQ(tree_rename(t, place(TREE_ROOT, "a"), place(a, "x"), 0, 2), ERR_INVALID);
    CHECK_EQ(tree_rename(t, place(a, "c"), place(TREE_ROOT, "a"), 0, 2), ERR_NOT_EMPTY);
    CHECK_EQ(tree_rename(t, place(a, "c"), place(TREE_ROOT, "a"), TREE_EXCHANGE, 2), ERR_INVALID);
    /* over a file: the old one is unlinked */
    CHECK_EQ(tree_rename(t, place(a, "f"), place(d, "g"), 0, 2), 0);
    CHECK_EQ(lookup(&b, d, "g", &id), 0);
    CHECK_EQ(id, f);
    CHECK_EQ(lookup(&b, a, "f", &id), ERR_NOT_FOUND);
    CHECK_EQ(tree_get(t, g, &n), 0);
    CHECK_EQ(n.parent, 0);
    tree_forget(t, g);
    /* over an empty directory */
    CHECK_EQ(tree_rename(t, place(TREE_ROOT, "d"), place(a, "c"), 0, 3), 0);
    CHECK_EQ(lookup(&b, a, "c", &id), 0);
    CHECK_EQ(id, d);
    tree_forget(t, c);
    /* exchange of a file and a directory, far apart */
    uint64_t h = make_file(&b, TREE_ROOT, "h");
    CHECK_EQ(tree_rename(t, place(TREE_ROOT, "h"), place(a, "c"), TREE_EXCHANGE, 4), 0);
    CHECK_EQ(lookup(&b, TREE_ROOT, "h", &id), 0);
    CHECK_EQ(id, d);
    CHECK_EQ(lookup(&b, a, "c", &id), 0);
    CHECK_EQ(id, h);
    CHECK_EQ(tree_get(t, d, &n), 0);
    CHECK_EQ(n.parent, TREE_ROOT);
    CHECK_EQ(n.ctime, 4);
    check_sound(&b, NULL);
    reopen(&b);
    check_sound(&b, NULL);
    CHECK_EQ(lookup(&b, TREE_ROOT, "h", &id), 0);
    CHECK_EQ(id, d);
    bed_free(&b);
}

static void test_attributes(void)
{
    struct bed b;
    struct tree_node n;
    bed_new(&b);
    uint64_t f = make_file(&b, TREE_ROOT, ".x.swp");
    struct unixfs_root c = content(5);
    CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = c, .mtime = &(wall_ns){7}}, 50), 0);
    CHECK_EQ(tree_get(b.t, f, &n), 0);
    CHECK(n.mtime == 7 && n.ctime == 50);
    CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = c}, 50), 0);
    CHECK_EQ(tree_setattr(b.t, f, &(struct tree_attr){.set_mode = true, .mode = 0100755}, 60), 0);
    CHECK_EQ(tree_setattr(b.t, f, &(struct tree_attr){.set_mtime = true, .mtime = -7}, 70), 0);
    CHECK_EQ(tree_setattr(b.t, 999, &(struct tree_attr){.set_mtime = true}, 70), ERR_STALE);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(tree_get(b.t, f, &n), 0);
        CHECK_EQ(n.mode, 0755);
        CHECK_EQ(n.mtime, -7);
        CHECK_EQ(n.ctime, 70);
        CHECK(n.temporary);
        CHECK_EQ(n.content.size, 6);
        reopen(&b);
    }
    CHECK_EQ(tree_rename(b.t, place(TREE_ROOT, ".x.swp"), place(TREE_ROOT, "x"), 0, 80), 0);
    CHECK_EQ(tree_get(b.t, f, &n), 0);
    CHECK(!n.temporary);
    CHECK_EQ(n.mtime, -7);
    bed_free(&b);
}

/* ---- references ---- */

static void count_kept(void *arg, const struct cid *cid)
{
    (void)cid;
    ++*(int *)arg;
}

static void test_symlinks_keep(void)
{
    struct bed b;
    struct tree_node n;
    struct blockstore_stats stats;
    char target[300], text[CID_TEXT_SIZE];
    bed_new(&b);
    struct unixfs_root film = content(7);
    snprintf(target, sizeof target, "../ipfs/%s", cid_text(&film.cid, text));
    CHECK_EQ(tree_symlink(b.t, place(TREE_ROOT, "plain"), span_str("../elsewhere"), 1, &n), 0);
    CHECK_EQ(b.kept, 0);
    CHECK_EQ(tree_symlink(b.t, place(TREE_ROOT, "film"), span_str(target), 1, &n), 0);
    CHECK_EQ(b.kept, 1);
    CHECK(cid_eq(&n.content.cid, &film.cid));
    CHECK_EQ(n.content.size, strlen(target));
    CHECK_EQ(tree_symlink(b.t, place(TREE_ROOT, "again"), span_str(target), 1, &n), 0);
    CHECK_EQ(bed_sync(&b), 0);
    blockstore_stats(b.bs, &stats);
    CHECK_EQ(stats.wanted_blocks, 1);
    int kept = 0;
    CHECK_EQ(tree_each_kept(b.t, count_kept, &kept), 0);
    CHECK_EQ(kept, 2);
    struct buf out = BUF_INIT;
    CHECK_EQ(tree_readlink(b.t, n.id, &out), 0);
    CHECK(span_eq_str(buf_span(&out), target));
    CHECK_EQ(tree_readlink(b.t, TREE_ROOT, &out), ERR_INVALID);
    buf_done(&out);
    CHECK_EQ(tree_rename(b.t, place(TREE_ROOT, "again"), place(TREE_ROOT, "moved"), 0, 2), 0);
    CHECK_EQ(tree_unlink(b.t, place(TREE_ROOT, "film"), 2), 0);
    CHECK_EQ(b.kept, 1);
    CHECK_EQ(bed_sync(&b), 0);
    blockstore_stats(b.bs, &stats);
    CHECK_EQ(stats.wanted_blocks, 1);
    check_sound(&b, NULL);
    CHECK_EQ(tree_unlink(b.t, place(TREE_ROOT, "moved"), 2), 0);
    CHECK_EQ(b.kept, 0);
    CHECK_EQ(bed_sync(&b), 0);
    blockstore_stats(b.bs, &stats);
    CHECK_EQ(stats.wanted_blocks, 0);
    check_sound(&b, NULL);
    CHECK_EQ(tree_symlink(b.t, place(TREE_ROOT, "e"), SPAN_NONE, 1, &n), ERR_NOT_FOUND);
    CHECK_EQ(tree_symlink(b.t, place(TREE_ROOT, "e"), span_of(target, 4096), 1, &n), ERR_NAME_LONG);
    bed_free(&b);
}

static void test_content_is_referred_to(void)
{
    struct bed b;
    bed_new(&b);
    uint64_t f = make_file(&b, TREE_ROOT, "f"), g = make_file(&b, TREE_ROOT, "g");
    struct unixfs_root one = content(1), two = content(2), none = {.size = 0};
    CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = one}, 1), 0);
    CHECK_EQ(tree_set_content(b.t, g, &(struct tree_content){.root = one}, 1), 0); /* a copy */
    CHECK_EQ(live(&b), 1);
    CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = two}, 1), 0);
    CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = two}, 1), 0); /* the same again: not counted twice */
    CHECK_EQ(live(&b), 2);
    CHECK_EQ(tree_set_content(b.t, g, &(struct tree_content){.root = none}, 1), 0);
    CHECK_EQ(live(&b), 1);
    CHECK_EQ(tree_unlink(b.t, place(TREE_ROOT, "f"), 1), 0);
    CHECK_EQ(live(&b), 1); /* open */
    tree_forget(b.t, f);
    CHECK_EQ(live(&b), 0);
    bed_free(&b);
}

/* A bit of the number of those that refer to a block rots: nobody else knows of the file. */
static void forget_root(const struct bed *b, const struct cid *cid)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi rows;
    MDB_val k = store_val(cid_hash(cid)), v;
    struct row row;
    uint8_t changed[ROW_SIZE_MAX];
    CHECK(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 8) == 0 && mdb_env_open(env, b->dir, 0, 0600) == 0);
    CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0 && mdb_dbi_open(txn, "rows", 0, &rows) == 0);
    CHECK(mdb_get(txn, rows, &k, &v) == 0 && row_parse(store_span(v), 0, &row) == 0 && row.roots == 1);
    row.roots = 0;
    v = (MDB_val){row_format(&row, 0, changed), changed};
    CHECK(mdb_put(txn, rows, &k, &v, 0) == 0 && mdb_txn_commit(txn) == 0);
    mdb_env_close(env);
}

static void test_content_whose_row_forgot(void)
{
    struct bed b;
    struct store_verify *v;
    struct verify_event e;
    unsigned problems = 0;
    int r;
    bed_new(&b);
    uint64_t f = make_file(&b, TREE_ROOT, "f");
    struct unixfs_root one = content(1);
    CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = one}, 1), 0);
    CHECK_EQ(bed_sync(&b), 0);
    bed_close(&b);
    forget_root(&b, &one.cid);
    bed_open(&b);
    CHECK_EQ(store_verify_new(&v, b.bs, true), 0);
    while ((r = store_verify_step(v, 100, &e)) != ERR_CLOSED) {
        CHECK(r >= 0 || r == ERR_AGAIN);
        problems += r == 1;
    }
    store_verify_free(v);
    CHECK(problems > 0);
    CHECK_EQ(live(&b), 1); /* a repair from the row alone would let it go */
    check_store(&b);
    CHECK_EQ(lookup(&b, TREE_ROOT, "f", &f), 0);
    CHECK_EQ(tree_unlink(b.t, place(TREE_ROOT, "f"), 1), 0);
    tree_forget(b.t, f);
    CHECK_EQ(live(&b), 0);
    check_store(&b);
    bed_free(&b);
}

/* ---- listing ---- */

struct seen {
    uint64_t ids[512];
    unsigned count, stop_after;
    uint64_t cookie;
};

static bool see(void *arg, const struct tree_entry *e)
{
    struct seen *s = arg;
    s->ids[s->count++ % 512] = e->id;
    s->cookie = e->cookie;
    return s->count != s->stop_after;
}

/* A listing in small steps while names come, go and move: what was there all the time comes once. */
static void test_readdir_survives_changes(void)
{
    struct bed b;
    struct rng rng;
    char name[32];
    rng_init_seed(&rng, 9);
    bed_new(&b);
    uint64_t d = make_dir(&b, TREE_ROOT, "d"), first = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "stays %u", i);
        uint64_t id = make_file(&b, d, name);
        first = first ? first : id;
        snprintf(name, sizeof name, "goes %u", i);
        (void)make_file(&b, d, name);
    }
    CHECK_EQ(bed_sync(&b), 0); /* half on disk, half in memory */
    unsigned times[4096] = {0};
    struct seen s = {.cookie = 0};
    unsigned goes = 0, steps = 0;
    do {
        s.count = 0;
        s.stop_after = 1 + (unsigned)rng_below(&rng, 7);
        CHECK_EQ(tree_readdir(b.t, d, s.cookie, see, &s), 0);
        for (unsigned i = 0; i < s.count; i++)
            times[s.ids[i]]++;
        if (goes < 100) {
            snprintf(name, sizeof name, "goes %u", goes++);
            CHECK_EQ(tree_unlink(b.t, place(d, name), 1), 0);
            snprintf(name, sizeof name, "stays %u", goes - 1);
            CHECK_EQ(tree_rename(b.t, place(d, name), place(d, "tmp"), 0, 1), 0);
            CHECK_EQ(tree_rename(b.t, place(d, "tmp"), place(d, name), 0, 1), 0);
        }
        if (steps++ % 5 == 0)
            bed_pump(&b);
    } while (s.count == s.stop_after);
    for (unsigned i = 0; i < 100; i++)
        CHECK_EQ(times[first + 2 * i], 1);
    CHECK_EQ(tree_readdir(b.t, d, UINT64_MAX, see, &s), 0);
    CHECK_EQ(tree_readdir(b.t, first, 0, see, &s), ERR_NOT_DIR);
    CHECK_EQ(tree_readdir(b.t, 4000, 0, see, &s), ERR_STALE);
    bed_free(&b);
}

/* ---- against a model ---- */

static bool count_entry(void *arg, const struct tree_entry *e)
{
    (void)e;
    ++*(unsigned *)arg;
    return true;
}

static void compare(struct bed *b, const struct model *m)
{
    struct tree_count count;
    struct tree_node n;
    uint64_t files = 0, dirs = 0;
    char text[16];
    check_sound(b, &count);
    for (int i = 0; i < m->count; i++) {
        const struct model_node *want = &m->n[i];
        if (!want->used)
            continue;
        files += !want->dir;
        dirs += want->dir;
        if (i > 0)
            CHECK_EQ(tree_lookup(b->t, model_place(m, want->parent, want->name, text), &n), 0);
        else
            CHECK_EQ(tree_get(b->t, TREE_ROOT, &n), 0);
        CHECK_EQ(n.id, want->id);
        CHECK_EQ(n.type == TREE_DIR, want->dir);
        if (!want->dir && want->content) {
            struct unixfs_root c = content(want->content);
            CHECK(cid_eq(&n.content.cid, &c.cid));
        }
        if (want->dir) {
            unsigned listed = 0, have = 0;
            CHECK_EQ(tree_readdir(b->t, want->id, 0, count_entry, &listed), 0);
            for (int k = 1; k < m->count; k++)
                have += m->n[k].used && m->n[k].parent == i;
            CHECK_EQ(listed, have);
        }
    }
    CHECK_EQ(count.files, files);
    CHECK_EQ(count.dirs, dirs);
    CHECK_EQ(count.orphans, 0);
}

static void test_model(uint64_t seed, unsigned operations)
{
    struct bed b;
    struct rng rng;
    struct model *m = MEM_NEW(struct model);
    rng_init_seed(&rng, seed);
    bed_new(&b);
    model_init(m);
    for (unsigned i = 0; i < operations; i++) {
        if (tree_pending(b.t) > 500)
            bed_settle(&b);
        step_any(&b, m, &rng);
        if (i % 1000 == 999)
            compare(&b, m);
        if (i % 3000 == 2999)
            reopen(&b);
    }
    compare(&b, m);
    reopen(&b);
    compare(&b, m);
    free(m);
    bed_free(&b);
}

/* ---- publishing ---- */

static void add_file(struct bed *b, uint64_t dir, const char *name, const char *text)
{
    struct unixfs_root c = {.size = strlen(text), .tsize = strlen(text)};
    cid_of(&c.cid, CODEC_RAW, span_str(text));
    uint64_t id = make_file(b, dir, name);
    int r;
    PATIENT(b, r, tree_set_content(b->t, id, &(struct tree_content){.root = c}, 1));
    CHECK_EQ(r, 0);
}

/* Puts into the store: ERR_AGAIN now and then, as a sink may, unless it is patient. */
struct store_sink {
    struct block_sink sink;
    bool patient;
    struct bed *b;
    unsigned puts;
};

static int store_put(struct block_sink *self, struct block *take_b)
{
    struct store_sink *s = (struct store_sink *)self;
    if (++s->puts % 3 == 0 && !s->patient)
        return ERR_AGAIN;
    blockstore_put(s->b->bs, take_b, NULL, NULL, NULL);
    return 0;
}

static bool is_unfinished(int r)
{
    return r == ERR_AGAIN || r == ERR_BUSY;
}

static void expect_cid(const struct unixfs_root *r, const char *want)
{
    char text[CID_TEXT_SIZE];
    if (strcmp(cid_text(&r->cid, text), want) != 0)
        fprintf(stderr, "%s is not %s\n", text, want);
    CHECK(strcmp(text, want) == 0);
}

/* The CIDs are those that ipfs-unixfs-importer 17.1.1 gives under its profile unixfs-v1-2025. */
#define EMPTY_DIR "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
#define NESTED    "bafybeicoyxjia5eusxiyltrciszbkiznzae3dllnkcvigk763q43ymnkse"
#define SHARDED   "bafybeibz7lzpojmaajrpkdvxttrpqm7b23odrjij67wnsxgyflpgaqcsne"

struct some {
    uint64_t at;
    unsigned left;
};

static bool take_some(void *arg, const struct tree_entry *e)
{
    struct some *s = arg;
    s->at = e->cookie;
    return --s->left > 0;
}

/* A key of the list rotted and is less than those before it in its page: who lists on from there comes to an end. */
static void test_readdir_out_of_order(void)
{
    enum { COUNT = 10 };
    struct bed b;
    char path[128];
    uint64_t middle = 0;
    struct some some = {.at = 0};
    bed_new(&b);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "%u", i);
        uint64_t id = make_file(&b, TREE_ROOT, path);
        middle = i == COUNT / 2 ? id : middle;
    }
    CHECK_EQ(bed_sync(&b), 0);
    bed_close(&b);
    snprintf(path, sizeof path, "%s/data.mdb", b.dir);
    struct tree_key key = tree_key_listed(TREE_SHARE_ID, TREE_ROOT, middle),
                    other = tree_key_listed(TREE_SHARE_ID, TREE_ROOT, 1);
    static uint8_t file[4 << 20];
    FILE *f = fopen(path, "r+b");
    CHECK(f);
    size_t size = fread(file, 1, sizeof file, f);
    for (size_t i = 0; i + key.len <= size; i++)
        if (memcmp(file + i, key.bytes, key.len) == 0)
            CHECK(fseek(f, (long)i, SEEK_SET) == 0 && fwrite(other.bytes, 1, key.len, f) == key.len);
    CHECK_EQ(ftruncate(fileno(f), INDEX_SMALL + 1), 0); /* not looked at, and mended, when it is opened */
    fclose(f);
    bed_open(&b);
    for (unsigned i = 0;; i++) {
        uint64_t before = some.at;
        some.left = 3;
        CHECK_EQ(tree_readdir(b.t, TREE_ROOT, before, take_some, &some), 0);
        if (some.left == 3)
            break;
        CHECK(some.at > before && i < COUNT);
    }
    bed_free(&b);
}

static void test_publish(void)
{
    struct bed b;
    struct unixfs_root root, again;
    struct tree_node n;
    bed_new(&b);
    struct store_sink sink = {.sink = {.put = store_put}, .b = &b};
    publish(&b, TREE_ROOT, NULL, &root);
    expect_cid(&root, EMPTY_DIR);
    uint64_t d = make_dir(&b, TREE_ROOT, "d"), e = make_dir(&b, d, "e");
    (void)make_dir(&b, TREE_ROOT, "empty dir");
    add_file(&b, TREE_ROOT, "hello.txt", "hello world");
    add_file(&b, d, "b", "bbb");
    add_file(&b, e, "deep", "deep");
    (void)make_file(&b, e, "nothing");
    add_file(&b, d, ".b.swp", "temporary: not in the DAG");
    CHECK_EQ(tree_symlink(b.t, place(d, "link"), span_str("../hello.txt"), 1, &n), 0);
    publish(&b, TREE_ROOT, NULL, &root);
    expect_cid(&root, NESTED);
    CHECK_EQ(live(&b), 4); /* the files: a question for the CID keeps no block */
    /* with a sink all of it is held and referred to */
    publish(&b, TREE_ROOT, &sink.sink, &again);
    CHECK(cid_eq(&root.cid, &again.cid));
    CHECK_EQ(root.tsize, again.tsize);
    (void)live(&b);
    CHECK_EQ(store_read_begin(b.reader), 0);
    struct block_source *s = store_reader_source(b.reader);
    struct unixfs_entry entry;
    struct span block;
    CHECK_EQ(unixfs_dir_lookup(s, &root.cid, span_str("d"), &entry), 0);
    CHECK_EQ(unixfs_dir_lookup(s, &entry.cid, span_str("link"), &entry), 0);
    CHECK_EQ(source_get(s, &entry.cid, &block), 0);
    store_read_end(b.reader);
    unsigned puts = sink.puts;
    publish(&b, TREE_ROOT, &sink.sink, &again);
    CHECK_EQ(sink.puts, puts); /* nothing changed: nothing made */
    /* a change far below lets go of everything above it, and comes out the same when it is undone */
    CHECK_EQ(tree_rename(b.t, place(e, "deep"), place(e, "deeper"), 0, 2), 0);
    CHECK_EQ(tree_get(b.t, TREE_ROOT, &n), 0);
    CHECK(n.dirty);
    publish(&b, TREE_ROOT, NULL, &again);
    CHECK(!cid_eq(&root.cid, &again.cid));
    CHECK_EQ(tree_rename(b.t, place(e, "deeper"), place(e, "deep"), 0, 2), 0);
    publish(&b, TREE_ROOT, NULL, &again);
    CHECK(cid_eq(&root.cid, &again.cid));
    check_sound(&b, NULL);
    reopen(&b);
    check_sound(&b, NULL);
    publish(&b, TREE_ROOT, &sink.sink, &again);
    CHECK(cid_eq(&root.cid, &again.cid));
    CHECK_EQ(tree_unlink(b.t, place(d, "link"), 3), 0);
    CHECK_EQ(live(&b), 4 + 3); /* "empty dir", and e with its empty file, are still up to date */
    bed_free(&b);
}

static void test_publish_sharded(void)
{
    struct bed b;
    struct unixfs_root root;
    char name[40];
    bed_new(&b);
    struct store_sink sink = {.sink = {.put = store_put}, .b = &b};
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(name, sizeof name, "entry number %u", i);
        add_file(&b, TREE_ROOT, name, "same");
    }
    publish(&b, TREE_ROOT, &sink.sink, &root);
    expect_cid(&root, SHARDED);
    bed_free(&b);
}

static uint64_t big_dir(struct bed *b, const char *name)
{
    char entry[40];
    uint64_t dir = make_dir(b, TREE_ROOT, name);
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(entry, sizeof entry, "entry number %u", i);
        add_file(b, dir, entry, "same");
    }
    bed_settle(b); /* what is on its way has the budget */
    return dir;
}

/* It goes on where it was although other directories change; when its own entries do, it begins anew, and is right. */
/* There is no memory to remember which folders wait for one that is far below: that is not the end of the node. */
static void test_publish_without_memory(void)
{
    enum { DIRS = 1000 };
    uint64_t dir = TREE_ROOT;
    struct bed b;
    struct unixfs_root root;
    struct tree_node n;
    char name[16];
    int r;
    bed_new(&b);
    for (unsigned i = 0; i < DIRS; i++) {
        snprintf(name, sizeof name, "%u", i);
        PATIENT(&b, r, tree_mkdir(b.t, place(dir, name), 0755, 1, &n));
        CHECK_EQ(r, 0);
        dir = n.id;
    }
    short_memory_from = DIRS * sizeof n.id;
    while ((r = tree_publish(b.t, TREE_ROOT, NULL, &root)) == ERR_BUSY)
        ;
    CHECK_EQ(r, ERR_NO_MEMORY);
    short_memory_from = SIZE_MAX;
    CHECK_EQ(tree_get(b.t, dir, &n), 0);
    CHECK(n.dirty); /* it was there that it ended, not when it had all of them */
    publish(&b, TREE_ROOT, NULL, &root);
    bed_settle(&b);
    bed_free(&b);
}

static void test_publish_while_changing(void)
{
    struct bed b;
    struct unixfs_root root, after;
    bed_new(&b);
    struct store_sink sink = {.sink = {.put = store_put}, .b = &b};
    uint64_t dir = big_dir(&b, "big"), other = make_dir(&b, TREE_ROOT, "other");
    int r;
    char name[40];
    for (unsigned turn = 0; is_unfinished(r = tree_publish(b.t, dir, &sink.sink, &root)); turn++) {
        CHECK(turn < 1000);
        CHECK(tree_publishing(b.t) == 1 || turn < 10); /* first it is looked through for folders */
        snprintf(name, sizeof name, "%u", turn);
        (void)make_file(&b, other, name);
    }
    CHECK_EQ(r, 0);
    CHECK_EQ(tree_publishing(b.t), 0);
    expect_cid(&root, SHARDED);
    (void)make_file(&b, dir, "one more");
    CHECK(is_unfinished(tree_publish(b.t, dir, &sink.sink, &after)));
    CHECK_EQ(tree_unlink(b.t, place(dir, "one more"), 2), 0);
    CHECK_EQ(tree_publishing(b.t), 0);
    publish(&b, dir, &sink.sink, &after);
    CHECK(cid_eq(&root.cid, &after.cid));
    bed_free(&b);
}

/* No call does much, but one that is changed between all calls is made in the end; and so is what is below it. */
static void test_publish_in_steps(void)
{
    struct bed b;
    struct unixfs_root root;
    char name[40];
    int r;
    bed_new(&b);
    struct store_sink sink = {.sink = {.put = store_put}, .b = &b, .patient = true};
    uint64_t dir = big_dir(&b, "big"), below = make_dir(&b, dir, "below");
    unsigned turns = 0;
    while (tree_publish(b.t, TREE_ROOT, NULL, &root) == ERR_BUSY)
        turns++;
    CHECK(turns > 8);
    CHECK_EQ(tree_unlink(b.t, place(dir, "entry number 0"), 2), 0);
    for (turns = 0; (r = tree_publish(b.t, TREE_ROOT, &sink.sink, &root)) == ERR_BUSY; turns++) {
        CHECK(turns < 60);
        snprintf(name, sizeof name, "new %u", turns);
        add_file(&b, turns % 2 ? dir : below, name, "new");
        bed_pump(&b);
    }
    CHECK_EQ(r, 0);
    CHECK(turns > 4);
    struct unixfs_root again;
    publish(&b, TREE_ROOT, NULL, &again);
    CHECK(cid_eq(&root.cid, &again.cid));
    check_sound(&b, NULL);
    bed_free(&b);
}

/* Two that are asked for in turn do not undo each other's work; one that is removed meanwhile is in nobody's way. */
static void test_publish_two(void)
{
    struct bed b;
    struct unixfs_root root[2];
    bed_new(&b);
    struct store_sink sink = {.sink = {.put = store_put}, .b = &b};
    uint64_t dirs[2] = {big_dir(&b, "a"), big_dir(&b, "b")};
    int r[2] = {ERR_AGAIN, ERR_AGAIN};
    for (unsigned turn = 0; r[0] || r[1]; turn++) {
        CHECK(turn < 2000);
        r[turn % 2] = tree_publish(b.t, dirs[turn % 2], &sink.sink, &root[turn % 2]);
    }
    expect_cid(&root[0], SHARDED);
    expect_cid(&root[1], SHARDED);
    uint64_t empty = make_dir(&b, TREE_ROOT, "c");
    sink.puts = 2; /* the next is refused */
    CHECK_EQ(tree_publish(b.t, empty, &sink.sink, &root[0]), ERR_AGAIN);
    CHECK(tree_publishing(b.t) != 0);
    CHECK_EQ(tree_rmdir(b.t, place(TREE_ROOT, "c"), 2), 0);
    tree_forget(b.t, empty);
    CHECK_EQ(tree_publishing(b.t), 0);
    publish(&b, dirs[0], &sink.sink, &root[0]);
    expect_cid(&root[0], SHARDED);
    bed_free(&b);
}

/* ---- trouble ---- */

static void test_two_trees(void)
{
    struct bed b;
    bed_new(&b);
    struct tree *other;
    struct tree_options o = {.bs = b.bs, .reader = b.reader, .reply = b.mb, .id = 2};
    CHECK_EQ(tree_open(&other, &o, NULL), 0);
    uint64_t id;
    struct tree_node n;
    (void)make_file(&b, TREE_ROOT, "mine");
    CHECK_EQ(tree_lookup(other, place(TREE_ROOT, "mine"), &n), ERR_NOT_FOUND);
    CHECK_EQ(tree_create(other, place(TREE_ROOT, "theirs"), 0644, 1, &n), 0);
    CHECK_EQ(lookup(&b, TREE_ROOT, "theirs", &id), ERR_NOT_FOUND);
    while (tree_pending(other))
        bed_pump(&b);
    struct tree_count count;
    CHECK_EQ(tree_check(other, &count, NULL), 0);
    CHECK_EQ(count.files, 1);
    tree_free(other);
    bed_free(&b);
}

static void test_back_pressure(void)
{
    struct bed b;
    struct tree_node n;
    char name[32];
    bed_new(&b);
    unsigned refused = 0;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "%u", i);
        int r = tree_create(b.t, place(TREE_ROOT, name), 0644, 1, &n);
        for (; r == ERR_AGAIN; refused++) {
            CHECK(mailbox_wait(b.mb, mono_now() + 60 * MONO_S));
            bed_pump(&b);
            r = tree_create(b.t, place(TREE_ROOT, name), 0644, 1, &n);
        }
        CHECK_EQ(r, 0);
    }
    CHECK(budget_peak(b.budget) < BUDGET_MIN);
    struct tree_count count;
    check_sound(&b, &count);
    CHECK_EQ(count.files, 5000);
    bed_free(&b);
}

/* Removals wait as well while others are on their way; what lets go of the removed file never does. */
static void test_back_pressure_of_removals(void)
{
    enum { FILES = 20000 };
    static uint64_t ids[FILES];
    struct bed b;
    char name[32];
    bed_new(&b);
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%u", i);
        ids[i] = make_file(&b, TREE_ROOT, name);
        if (i % 1000 == 999)
            bed_settle(&b);
    }
    unsigned refused = 0;
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%u", i);
        while (tree_unlink(b.t, place(TREE_ROOT, name), 1) == ERR_AGAIN) {
            refused++;
            CHECK(tree_pending(b.t) > 0);
            CHECK(mailbox_wait(b.mb, mono_now() + 60 * MONO_S));
            bed_pump(&b);
        }
        tree_forget(b.t, ids[i]);
    }
    CHECK(refused > 0);
    CHECK(budget_peak(b.budget) <= BUDGET_MIN);
    struct tree_count count;
    check_sound(&b, &count);
    CHECK_EQ(count.files, 0);
    bed_free(&b);
}

/* The disk refuses the n-th write of the store, for many n: whatever was synced without an error is there, the rest
 * comes after a retry, in order; new files are refused meanwhile. */
static void test_disk_full(void)
{
    for (unsigned nth = 1; nth < 40; nth += 3) {
        struct bed b;
        struct tree_node n;
        bed_new(&b);
        uint64_t d = make_dir(&b, TREE_ROOT, "d");
        CHECK_EQ(bed_sync(&b), 0);
        fault_arm(nth, nth % 2 ? FAULT_NO_SPACE : FAULT_IO);
        char name[32];
        unsigned made = 0;
        for (unsigned i = 0; i < 20; i++) {
            snprintf(name, sizeof name, "f%u", i);
            int r = tree_create(b.t, place(d, name), 0644, 1, &n);
            made += r == 0;
            CHECK(r == 0 || r == ERR_NO_SPACE || r == ERR_IO);
            if (i % 4 == 3)
                bed_settle(&b);
        }
        int r = bed_sync(&b);
        CHECK(r == 0 || r == ERR_NO_SPACE || r == ERR_IO);
        fault_arm(0, FAULT_IO);
        for (unsigned tries = 0; r < 0 || tree_fault(b.t); tries++) {
            CHECK(tries < 10);
            r = bed_sync(&b);
        }
        struct tree_count count;
        check_sound(&b, &count);
        CHECK_EQ(count.files, made);
        reopen(&b);
        check_sound(&b, &count);
        CHECK_EQ(count.files, made);
        bed_free(&b);
    }
}

/* One operation that the disk refuses: it stays visible, what needs room is refused, what frees room is not, and a retry brings
 * all of it to disk in order. */
static void test_refused_operation(void)
{
    struct bed b;
    struct tree_node n;
    uint64_t id;
    bed_new(&b);
    uint64_t gone = make_file(&b, TREE_ROOT, "gone");
    CHECK_EQ(bed_sync(&b), 0);
    fault_arm(1, FAULT_IO);
    uint64_t late = make_file(&b, TREE_ROOT, "late");
    bed_settle(&b);
    CHECK_EQ(tree_fault(b.t), ERR_IO);
    CHECK_EQ(lookup(&b, TREE_ROOT, "late", &id), 0);
    fault_arm(1, FAULT_IO); /* the retry that this begins fails as well */
    CHECK_EQ(tree_create(b.t, place(TREE_ROOT, "more"), 0644, 1, &n), ERR_IO);
    CHECK_EQ(tree_unlink(b.t, place(TREE_ROOT, "gone"), 1), 0);
    tree_forget(b.t, gone);
    bed_settle(&b);
    CHECK_EQ(tree_fault(b.t), ERR_IO);
    CHECK_EQ(bed_sync(&b), 0);
    CHECK_EQ(tree_fault(b.t), 0);
    (void)make_file(&b, TREE_ROOT, "more");
    struct tree_count count;
    for (int i = 0; i < 2; i++) {
        check_sound(&b, &count);
        CHECK_EQ(count.files, 2);
        CHECK_EQ(lookup(&b, TREE_ROOT, "late", &id), 0);
        CHECK_EQ(id, late);
        CHECK_EQ(lookup(&b, TREE_ROOT, "gone", &id), ERR_NOT_FOUND);
        reopen(&b);
    }
    /* given up with it: the disk has what was before */
    fault_arm(1, FAULT_IO);
    (void)make_file(&b, TREE_ROOT, "never");
    bed_settle(&b);
    CHECK_EQ(tree_fault(b.t), ERR_IO);
    reopen(&b);
    check_sound(&b, &count);
    CHECK_EQ(count.files, 2);
    bed_free(&b);
}

/* A change that comes while some are answered and others are not: the order stays. */
static void test_refused_in_order(void)
{
    struct bed b;
    struct tree_count count;
    bed_new(&b);
    uint64_t gone = make_file(&b, TREE_ROOT, "gone");
    CHECK_EQ(bed_sync(&b), 0);
    fault_arm(1, FAULT_IO);
    (void)make_file(&b, TREE_ROOT, "first"); /* fails */
    struct blockstore_stats stats;
    do
        blockstore_stats(b.bs, &stats);
    while (stats.fault == 0);
    (void)make_file(&b, TREE_ROOT, "second"); /* is not its turn */
    committer_idle(&b);
    CHECK_EQ(mailbox_run(b.mb, 1), 1);
    CHECK_EQ(tree_fault(b.t), ERR_IO);
    CHECK_EQ(tree_unlink(b.t, place(TREE_ROOT, "gone"), 1), 0); /* frees room: is not refused */
    tree_forget(b.t, gone);
    bed_settle(&b);
    CHECK_EQ(bed_sync(&b), 0);
    CHECK_EQ(bed_sync(&b), 0);
    CHECK_EQ(tree_fault(b.t), 0);
    reopen(&b);
    check_sound(&b, &count);
    CHECK_EQ(count.files, 2);
    bed_free(&b);
}

/* Freed with operations on their way: they are committed all the same. */
static void test_free_with_pending(void)
{
    struct bed b;
    uint64_t id;
    bed_new(&b);
    for (unsigned i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        (void)make_file(&b, TREE_ROOT, name);
    }
    b.t = tree_free(b.t);
    b.reader = store_reader_free(b.reader);
    b.bs = blockstore_close(b.bs);
    b.mb = mailbox_free(b.mb);
    bed_open(&b);
    CHECK_EQ(lookup(&b, TREE_ROOT, "49", &id), 0);
    bed_free(&b);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        test_model(strtoull(argv[1], NULL, 10), argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 20000);
        return 0;
    }
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"names", test_names},
        {"unlink and forget", test_unlink_and_forget},
        {"rename", test_rename},
        {"attributes", test_attributes},
        {"symlinks keep", test_symlinks_keep},
        {"content is referred to", test_content_is_referred_to},
        {"content whose row forgot", test_content_whose_row_forgot},
        {"readdir", test_readdir_survives_changes},
        {"readdir out of order", test_readdir_out_of_order},
        {"publish", test_publish},
        {"publish sharded", test_publish_sharded},
        {"publish without memory", test_publish_without_memory},
        {"publish while changing", test_publish_while_changing},
        {"publish two", test_publish_two},
        {"publish in steps", test_publish_in_steps},
        {"two trees", test_two_trees},
        {"back-pressure", test_back_pressure},
        {"back-pressure of removals", test_back_pressure_of_removals},
        {"disk full", test_disk_full},
        {"refused operation", test_refused_operation},
        {"refused in order", test_refused_in_order},
        {"free with pending", test_free_with_pending},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run();
    }
    for (uint64_t seed = 1; seed <= 4; seed++) {
        printf("model, seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        test_model(seed, 4000);
    }
    return 0;
}
