/* SPDX-License-Identifier: MIT
 *
 * Whatever the history, the CID is that of a directory built in one go. */
#include "store/unixfs/dir_edit.h"

#include "store/unixfs/directory.h"
#include "store/unixfs/hamt_walk.h"
#include "store/unixfs/murmur3.h"
#include "tests/unit/store/unixfs/dirs.h"

/* Drives one edit to its end: brings what is missing, tries again when the sink refuses. */
static struct dirs_root edit_run(struct mem_blocks *m, struct unixfs_dir_edit *e)
{
    struct dirs_root root;
    int err;
    while ((err = unixfs_dir_edit_run(e, &m->source, &root.cid, &root.tsize)) != 0) {
        cr_assert(err == ERR_AGAIN || err == ERR_MISSING, "%s", err_name(err));
        cr_assert(err == ERR_AGAIN || m->source.missing_count > 0);
        for (unsigned i = 0; i < m->source.missing_count; i++)
            mem_hide(m, &m->source.missing[i], false);
        source_forget_missing(&m->source);
    }
    unixfs_dir_edit_free(e);
    return root;
}

static struct unixfs_dir_edit *edit_new(struct mem_blocks *m, const struct dirs_root *root)
{
    return unixfs_dir_edit_new(&(struct unixfs_dir_options){.sink = m ? &m->sink : NULL}, &root->cid);
}

/* A pool of names: which are in the directory, and with what content. */
#define POOL 2400
struct model {
    char name[POOL][240];
    uint8_t version[POOL]; /* 0: not there */
};

static struct model *model_new(void)
{
    struct model *o = MEM_NEW(struct model);
    unsigned n = 0;
    /* Clusters whose hashes begin alike, so that shards nest deep and collapse again. */
    for (unsigned i = 0; n < 60 && i < 2000000; i++) {
        char name[240];
        (void)snprintf(name, sizeof name, "deep-%0200u", i);
        if (murmur3_x64_64(span_str(name)) >> 49 == 0x1234)
            memcpy(o->name[n++], name, sizeof name);
    }
    cr_assert_gt(n, 20);
    for (; n < POOL; n++)
        (void)snprintf(o->name[n], sizeof o->name[n], "%0200u", n);
    return o;
}

static struct cid model_cid(unsigned version)
{
    char content[16];
    (void)snprintf(content, sizeof content, "%u", version);
    return dirs_raw(content);
}

static struct dirs_root model_build(const struct model *o, struct mem_blocks *m)
{
    struct unixfs_dir_builder *b = dirs_new(m);
    for (unsigned i = 0; i < POOL; i++) {
        struct cid c = model_cid(o->version[i]);
        if (o->version[i])
            dirs_add(b, o->name[i], &c, o->version[i]);
    }
    return dirs_finish(b);
}

static void model_set(struct model *o, struct unixfs_dir_edit *e, unsigned i, uint8_t version)
{
    struct cid c = model_cid(version);
    o->version[i] = version;
    cr_assert_eq(unixfs_dir_edit_set(e, span_str(o->name[i]), version ? &c : NULL, version), 0);
}

static void expect_same(struct dirs_root got, struct dirs_root want, const char *what, unsigned step)
{
    cr_assert(cid_eq(&got.cid, &want.cid), "%s, step %u", what, step);
    cr_assert_eq(got.tsize, want.tsize, "%s, step %u", what, step);
}

/* Random batches that grow and shrink the directory over the threshold (about 1,070 of these names). */
static void history(uint64_t seed, unsigned refuse_every, bool hide)
{
    struct mem_blocks *m = mem_blocks_new();
    struct model *o = model_new();
    struct rng rng;
    struct dirs_root root = dirs_finish(dirs_new(m));
    unsigned hamts = 0, basics = 0;
    rng_init_seed(&rng, seed);
    m->refuse_every = refuse_every;
    for (unsigned step = 0; step < 36; step++) {
        struct unixfs_dir_edit *e = edit_new(m, &root);
        uint8_t touched[POOL] = {0};
        unsigned batch = step % 3 ? 1 + (unsigned)rng_below(&rng, 5) : (unsigned)rng_below(&rng, 1800);
        unsigned keep_percent = step / 9 % 2 ? 20 : 95;
        for (unsigned k = 0; k < batch; k++) {
            unsigned i = (unsigned)(rng_below(&rng, 4) ? rng_below(&rng, POOL) : rng_below(&rng, 60));
            if (touched[i]++)
                continue;
            model_set(o, e, i, rng_below(&rng, 100) < keep_percent ? (uint8_t)(1 + rng_below(&rng, 255)) : 0);
        }
        if (hide)
            mem_hide_all(m, true);
        root = edit_run(m, e);
        if (hide)
            mem_hide_all(m, false);
        struct dirs_root want = model_build(o, NULL);
        expect_same(root, want, "history", step);
        struct unixfs_node node;
        struct span block;
        cr_assert_eq(source_get(&m->source, &root.cid, &block), 0);
        cr_assert_eq(unixfs_parse(&root.cid, block, &node), 0);
        *(node.type == UNIXFS_HAMT ? &hamts : &basics) += 1;
    }
    cr_assert(hamts >= 3 && basics >= 3, "%u and %u", hamts, basics);
    free(o);
    mem_blocks_free(m);
}

Test(dir_edit, any_history)
{
    history(1, 0, false);
    history(2, 0, false);
}

Test(dir_edit, sink_that_refuses)
{
    history(3, 2, false);
    history(4, 3, false);
}

Test(dir_edit, source_that_misses)
{
    history(5, 0, true);
    history(6, 4, true);
}

/* One name at a time, there and back: 8,000 entries, and 8,000 less 1 … */
Test(dir_edit, one_by_one)
{
    struct mem_blocks *m = mem_blocks_new();
    struct dirs_root root = dirs_many(m, 8000), first = root;
    char name[32];
    struct cid empty = dirs_raw("");
    for (unsigned i = 8000; i < 8050; i++) {
        struct unixfs_dir_edit *e = edit_new(m, &root);
        (void)snprintf(name, sizeof name, "file-%u", i);
        cr_assert_eq(unixfs_dir_edit_set(e, span_str(name), &empty, 0), 0);
        root = edit_run(m, e);
    }
    expect_same(root, dirs_many(NULL, 8050), "grown", 0);
    unsigned before = m->puts;
    for (unsigned i = 8050; i-- > 8000;) {
        struct unixfs_dir_edit *e = edit_new(m, &root);
        (void)snprintf(name, sizeof name, "file-%u", i);
        cr_assert_eq(unixfs_dir_edit_set(e, span_str(name), NULL, 0), 0);
        root = edit_run(m, e);
    }
    expect_same(root, first, "shrunk", 0);
    cr_assert_leq(m->puts - before, 50 * 4); /* only the path of the change is written */
    mem_blocks_free(m);
}

Test(dir_edit, nothing_changes)
{
    struct mem_blocks *m = mem_blocks_new();
    static const unsigned sizes[] = {0, 10, 8000};
    for (unsigned k = 0; k < 3; k++) {
        struct dirs_root root = dirs_many(m, sizes[k]);
        expect_same(edit_run(m, edit_new(m, &root)), root, "no change", k);
        struct unixfs_dir_edit *e = edit_new(NULL, &root);
        cr_assert_eq(unixfs_dir_edit_set(e, span_str("not there"), NULL, 0), 0);
        expect_same(edit_run(m, e), root, "removal of nothing", k);
    }
    mem_blocks_free(m);
}

Test(dir_edit, to_nothing_and_all)
{
    struct mem_blocks *m = mem_blocks_new();
    struct dirs_root full = dirs_many(m, 7000), root = full;
    char name[32];
    struct cid empty = dirs_raw("");
    for (unsigned round = 0; round < 2; round++) {
        struct unixfs_dir_edit *e = edit_new(m, &root);
        for (unsigned i = 0; i < 7000; i++) {
            (void)snprintf(name, sizeof name, "file-%u", i);
            cr_assert_eq(unixfs_dir_edit_set(e, span_str(name), round ? &empty : NULL, 0), 0);
        }
        root = edit_run(m, e);
        if (round == 0)
            dirs_expect(&root.cid, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
    }
    expect_same(root, full, "there and back", 0);
    mem_blocks_free(m);
}

Test(dir_edit, missing_shards_are_noted_together)
{
    struct mem_blocks *m = mem_blocks_new();
    struct dirs_root root = dirs_many(m, 20000);
    struct cid empty = dirs_raw("");
    struct unixfs_dir_edit *e = edit_new(m, &root);
    char name[32];
    for (unsigned i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "new-%u", i);
        cr_assert_eq(unixfs_dir_edit_set(e, span_str(name), &empty, 0), 0);
    }
    mem_hide_all(m, true);
    unsigned rounds = 0;
    struct dirs_root got;
    while (unixfs_dir_edit_run(e, &m->source, &got.cid, &got.tsize) == ERR_MISSING) {
        for (unsigned i = 0; i < m->source.missing_count; i++)
            mem_hide(m, &m->source.missing[i], false);
        source_forget_missing(&m->source);
        rounds++;
    }
    unixfs_dir_edit_free(e);
    cr_assert_leq(rounds, 20);
    mem_hide_all(m, false);
    struct unixfs_entry entry;
    cr_assert_eq(unixfs_dir_lookup(&m->source, &got.cid, span_str("new-39"), &entry), 0);
    cr_assert_eq(unixfs_dir_lookup(&m->source, &got.cid, span_str("file-19999"), &entry), 0);
    mem_blocks_free(m);
}

Test(dir_edit, refuses)
{
    struct mem_blocks *m = mem_blocks_new();
    struct dirs_root root = dirs_many(m, 7000), out;
    struct cid c = dirs_raw("1");
    struct unixfs_dir_edit *e = edit_new(m, &root);
    cr_assert_eq(unixfs_dir_edit_set(e, span_str("a/b"), &c, 0), ERR_INVALID);
    cr_assert_eq(unixfs_dir_edit_set(e, span_str("twice"), &c, 0), 0);
    cr_assert_eq(unixfs_dir_edit_set(e, span_str("twice"), NULL, 0), 0);
    cr_assert_eq(unixfs_dir_edit_run(e, &m->source, &out.cid, &out.tsize), ERR_EXISTS);
    unixfs_dir_edit_free(e);

    e = edit_new(m, &root); /* a twin of what is there */
    cr_assert_eq(unixfs_dir_edit_set(e, span_str(dirs_twin_a), &c, 0), 0);
    root = edit_run(m, e);
    e = edit_new(m, &root);
    cr_assert_eq(unixfs_dir_edit_set(e, span_str(dirs_twin_b), &c, 0), 0);
    cr_assert_eq(unixfs_dir_edit_run(e, &m->source, &out.cid, &out.tsize), ERR_LIMIT);
    unixfs_dir_edit_free(e);
    e = edit_new(m, &root); /* the other in its place */
    cr_assert_eq(unixfs_dir_edit_set(e, span_str(dirs_twin_b), NULL, 0), 0);
    cr_assert_eq(unixfs_dir_edit_run(e, &m->source, &out.cid, &out.tsize), 0);
    cr_assert(cid_eq(&out.cid, &root.cid));
    unixfs_dir_edit_free(e);

    mem_add_bytes(m, CODEC_RAW, span_str("file"), &root.cid);
    e = edit_new(m, &root);
    cr_assert_eq(unixfs_dir_edit_run(e, &m->source, &out.cid, &out.tsize), ERR_NOT_DIR);
    unixfs_dir_edit_free(e);
    unixfs_dir_edit_free(NULL);
    mem_blocks_free(m);
}

static struct dirs_root remove_files(struct mem_blocks *m, struct dirs_root root, unsigned from, unsigned to)
{
    struct unixfs_dir_edit *e = edit_new(m, &root);
    char name[32];
    for (unsigned i = from; i < to; i++) {
        (void)snprintf(name, sizeof name, "file-%u", i);
        cr_assert_eq(unixfs_dir_edit_set(e, span_str(name), NULL, 0), 0);
    }
    return edit_run(m, e);
}

/* What Kubo 0.43.1 gives for `ipfs files rm` of the same names, one after the other (repository made with -p unixfs-v1-2025):
 * shards collapse on the way. */
Test(dir_edit, deletions_as_kubo)
{
    struct mem_blocks *m = mem_blocks_new();
    struct dirs_root root = dirs_many(m, 10000);
    root = remove_files(m, root, 0, 2000);
    dirs_expect(&root.cid, "bafybeiftc5qm62flpyb3yjvdmr5wj24wg5ck4vnevico5z2f4eln2tbm24");
    root = remove_files(m, root, 2000, 4100);
    dirs_expect(&root.cid, "bafybeifoysejwamvvnexu5fsozo2ywaeh7g6nm2bnislumgx7q3emnvzpa");
    mem_blocks_free(m);
}

Test(dir_edit, threshold_as_kubo)
{
    struct mem_blocks *m = mem_blocks_new();
    struct unixfs_dir_builder *b = dirs_new(m);
    char name[101] = "";
    for (unsigned i = 0; i < 1807; i++) {
        (void)snprintf(name, sizeof name, "%0100u", i);
        dirs_add_file(b, name, "");
    }
    memset(name, 'x', 82);
    name[82] = 0;
    dirs_add_file(b, name, "");
    struct dirs_root root = dirs_finish(b);
    dirs_expect(&root.cid, "bafybeif67jloo3t6ayhxe4vdymtdx22iapkixc65ob2voelnzkq3rnqo3m"); /* one byte over it */
    struct unixfs_dir_edit *e = edit_new(m, &root);
    struct cid empty = dirs_raw("");
    cr_assert_eq(unixfs_dir_edit_set(e, span_str(name), NULL, 0), 0);
    cr_assert_eq(unixfs_dir_edit_set(e, span_of(name, 81), &empty, 0), 0);
    struct dirs_root exact = edit_run(m, e);
    dirs_expect(&exact.cid, "bafybeieczc3scrlocjdhq52rthpkn444zuzj5jdm7wewyfsdw52wen52kq"); /* on it: basic */
    e = edit_new(m, &root);
    cr_assert_eq(unixfs_dir_edit_set(e, span_str(name), NULL, 0), 0);
    root = edit_run(m, e);
    dirs_expect(&root.cid, "bafybeibucddaaxjxiy2pvl4sbwdufsj7k4dbvw3ijlakv3zlq2rspmtvhm");
    mem_blocks_free(m);
}
