/* SPDX-License-Identifier: MIT
 *
 * CIDs and cumulative sizes as ipfs-unixfs-importer 17.1 gives them with profile unixfs-v1-2025. */
#include "store/unixfs/dir_builder.h"

#include "tests/unit/store/unixfs/dirs.h"

static void expect(struct dirs_root root, const char *cid, uint64_t tsize)
{
    dirs_expect(&root.cid, cid);
    cr_assert_eq(root.tsize, tsize);
}

Test(dir_builder, small)
{
    expect(dirs_finish(dirs_new(NULL)), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354", 4);
    struct unixfs_dir_builder *b = dirs_new(NULL);
    dirs_add_file(b, "hello.txt", "hello world");
    expect(dirs_finish(b), "bafybeic6svhkwl3y2wvkj33weshyjjs5cbvgijh7yo3kjasyglrdwe2l74", 68);
}

Test(dir_builder, nested)
{
    struct unixfs_dir_builder *b = dirs_new(NULL);
    dirs_add_file(b, "c.txt", "c");
    struct dirs_root inner = dirs_finish(b);
    struct dirs_root empty = dirs_finish(dirs_new(NULL));
    b = dirs_new(NULL);
    dirs_add(b, "e", &empty.cid, empty.tsize);
    dirs_add_file(b, "d.txt", "d");
    dirs_add(b, "b", &inner.cid, inner.tsize);
    struct dirs_root a = dirs_finish(b);
    b = dirs_new(NULL);
    dirs_add(b, "a", &a.cid, a.tsize);
    expect(dirs_finish(b), "bafybeif7deiu4ixcpi43wtf3mee3fgcpt52yi356ystd6wz3enanpj2a4a", 252);
}

Test(dir_builder, odd_names_any_order)
{
    char longest[256] = "";
    memset(longest, 'x', 255);
    const struct {
        const char *name, *content;
    } files[] = {
        {"\xc3\xa4", "1"},
        {"z", "2"},
        {"A", "3"},
        {" ", "4"},
        {"new\nline", "5"},
        {longest, "6"},
        {"\xe6\x97\xa5\xe6\x9c\xac", "7"},
        {"-", ""},
    };
    for (unsigned first = 0; first < 8; first++) {
        struct unixfs_dir_builder *b = dirs_new(NULL);
        for (unsigned i = 0; i < 8; i++)
            dirs_add_file(b, files[(first + i) % 8].name, files[(first + i) % 8].content);
        expect(dirs_finish(b), "bafybeidh7xlpr2vhaieizzxsn5sbvpp2n52mbke2xrndg7fquwr3kd5e2e", 640);
    }
}

Test(dir_builder, many)
{
    expect(dirs_many(NULL, 1000), "bafybeidcut7gdgrjnpd7b7ikxsqunbxlgttbbzotd6a344zaunrmriqqra", 51894);
    expect(dirs_many(NULL, 10000), "bafybeiejgeqwzm6moxiacbzhrv6uqxrl24ad6miwsmpq6qd7jbpvcg4jxi", 627332);
    expect(dirs_many(NULL, 100000), "bafybeiek2jep5gmpdb64emtl2hocolgbdvhhvhhzdgc3uvncnll4rjccra", 8049245);
}

/* 1,807 names of 100 bytes and one of `last`: the basic block has 262144 + last - 81 bytes. */
static struct dirs_root near_threshold(size_t last)
{
    struct unixfs_dir_builder *b = dirs_new(NULL);
    char name[101] = "";
    for (unsigned i = 0; i < 1807; i++) {
        (void)snprintf(name, sizeof name, "%0100u", i);
        dirs_add_file(b, name, "");
    }
    memset(name, 'x', sizeof name - 1);
    name[last] = 0;
    dirs_add_file(b, name, "");
    return dirs_finish(b);
}

Test(dir_builder, threshold)
{
    expect(near_threshold(80), "bafybeicnj77pqjyqhububzrjuxstwidgwbybb3vz3hpwpookwribsqh3t4", 262143);
    expect(near_threshold(81), "bafybeieczc3scrlocjdhq52rthpkn444zuzj5jdm7wewyfsdw52wen52kq", 262144);
    expect(near_threshold(82), "bafybeif67jloo3t6ayhxe4vdymtdx22iapkixc65ob2voelnzkq3rnqo3m", 289666);
}

Test(dir_builder, meta)
{
    struct unixfs_dir_options o = {
        .meta = {.has_mode = true, .mode = 0700, .has_mtime = true, .mtime_seconds = 1700000000, .mtime_nanoseconds = 5}};
    expect(dirs_finish(unixfs_dir_builder_new(&o)), "bafybeictf4ylypfp2olyioirrhpno664bv6jk4gy44v55osd6q744qvtfe", 20);
}

Test(dir_builder, sink_that_refuses)
{
    struct mem_blocks *m = mem_blocks_new();
    m->refuse_every = 2;
    expect(dirs_many(m, 10000), "bafybeiejgeqwzm6moxiacbzhrv6uqxrl24ad6miwsmpq6qd7jbpvcg4jxi", 627332);
    cr_assert_gt(m->count, 256);
    mem_blocks_free(m);
}

Test(dir_builder, bounded_memory_in_passes)
{
    struct mem_blocks *m = mem_blocks_new();
    m->refuse_every = 5;
    struct unixfs_dir_options o = {.sink = &m->sink, .memory_max = UNIXFS_DIR_MEMORY_MIN};
    struct unixfs_dir_builder *b = unixfs_dir_builder_new(&o);
    struct dirs_root root;
    unsigned passes = 0;
    int err = 1;
    while (err == 1) {
        char name[32];
        passes++;
        for (unsigned i = 0; i < 100000; i++) {
            (void)snprintf(name, sizeof name, "file-%u", i * 7919 % 100000);
            dirs_add_file(b, name, "");
        }
        do
            err = unixfs_dir_builder_finish(b, &root.cid, &root.tsize);
        while (err == ERR_AGAIN);
    }
    cr_assert_eq(err, 0);
    unixfs_dir_builder_free(b);
    expect(root, "bafybeiek2jep5gmpdb64emtl2hocolgbdvhhvhhzdgc3uvncnll4rjccra", 8049245);
    cr_assert(passes >= 7 && passes <= 20, "%u passes", passes);
    mem_blocks_free(m);
}

/* What nothing links to yet, the newest last, as it is for a reader of the sink. */
struct unlinked {
    struct mem_blocks *m;
    struct block_sink sink;
    struct cid cids[4096];
    unsigned count, most, told, asked;
};

static void unlinked_add(struct unlinked *u, const struct cid *cid)
{
    cr_assert_lt(u->count, sizeof u->cids / sizeof u->cids[0]);
    u->cids[u->count++] = *cid;
    if (u->most < u->count)
        u->most = u->count;
}

static int unlinked_put(struct block_sink *self, struct block *take_b)
{
    struct unlinked *u = (struct unlinked *)(void *)((char *)self - offsetof(struct unlinked, sink));
    static struct cid links[6000];
    struct unixfs_node node;
    struct dagpb_link link;
    struct cid cid = take_b->cid;
    unsigned count = 0;
    cr_assert_eq(unixfs_parse(&cid, block_span(take_b), &node), 0);
    for (struct dagpb_iter it = dagpb_iter(&node.pb); dagpb_next(&it, &link);)
        dagpb_link_cid(&link, &links[count++]);
    int err = u->m->sink.put(&u->m->sink, take_b);
    if (err)
        return err;
    cr_assert_geq(u->count, count);
    while (count-- > 0)
        cr_assert(cid_eq(&u->cids[--u->count], &links[count]), "the newest are what it links to, in this order");
    unlinked_add(u, &cid);
    return 0;
}

static int tell_entry(void *arg, struct span name, const struct cid *cid, uint64_t tsize)
{
    struct unlinked *u = arg;
    if (++u->asked % 3 == 0)
        return ERR_AGAIN;
    struct cid named;
    cid_of(&named, CODEC_RAW, name);
    cr_assert(cid_eq(cid, &named) && tsize == name.len);
    u->told++;
    unlinked_add(u, cid);
    return 0;
}

/* An entry with content of its own for each name */
static void entries_are_told(unsigned n, unsigned most, unsigned passes_least)
{
    static struct unlinked u;
    u = (struct unlinked){.m = mem_blocks_new(), .sink = {.put = unlinked_put}};
    u.m->refuse_every = 7;
    struct unixfs_dir_options o = {.sink = &u.sink, .memory_max = UNIXFS_DIR_MEMORY_MIN, .entry = tell_entry, .arg = &u};
    struct unixfs_dir_builder *b = unixfs_dir_builder_new(&o);
    struct dirs_root root;
    unsigned passes = 0;
    int err = 1;
    while (err == 1) {
        char name[32];
        passes++;
        for (unsigned i = 0; i < n; i++) {
            (void)snprintf(name, sizeof name, "file-%u", i);
            dirs_add_file(b, name, name);
        }
        do
            err = unixfs_dir_builder_finish(b, &root.cid, &root.tsize);
        while (err == ERR_AGAIN);
    }
    cr_assert_eq(err, 0, "%s", err_name(err));
    unixfs_dir_builder_free(b);
    cr_assert(u.told == n && passes >= passes_least, "%u told in %u passes", u.told, passes);
    cr_assert(u.count == 1 && cid_eq(&u.cids[0], &root.cid), "all but the root are linked to");
    cr_assert_leq(u.most, most, "%u at a time", u.most);
    mem_blocks_free(u.m);
}

Test(dir_builder, entries_are_told_before_their_block)
{
    entries_are_told(1, 1, 1);
    entries_are_told(4000, 4000, 1);
}

Test(dir_builder, entries_of_shards_are_told_behind_the_shards_before_them)
{
    entries_are_told(50000, 256 * 3, 2);
}

Test(dir_builder, refuses_names)
{
    struct unixfs_dir_builder *b = dirs_new(NULL);
    struct cid c = dirs_raw("");
    char longer[256];
    memset(longer, 'x', sizeof longer);
    static const char *const bad[] = {"", ".", "..", "/", "a/b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(unixfs_dir_builder_add(b, span_str(bad[i]), &c, 0), ERR_INVALID);
    cr_assert_eq(unixfs_dir_builder_add(b, span_of("a\0b", 3), &c, 0), ERR_INVALID);
    cr_assert_eq(unixfs_dir_builder_add(b, span_of(longer, 256), &c, 0), ERR_NAME_LONG);
    cr_assert_eq(unixfs_dir_builder_add(b, span_of(longer, 255), &c, 0), 0);
    dirs_add(b, "...", &c, 0);
    unixfs_dir_builder_free(b);
}

Test(dir_builder, same_name_twice)
{
    for (unsigned fill = 0; fill <= 6000; fill += 6000) { /* basic, HAMT */
        struct unixfs_dir_builder *b = dirs_new(NULL);
        struct dirs_root root;
        char name[32];
        for (unsigned i = 0; i < fill; i++) {
            (void)snprintf(name, sizeof name, "file-%u", i);
            dirs_add_file(b, name, "");
        }
        dirs_add_file(b, "twice", "1");
        dirs_add_file(b, "other", "1");
        dirs_add_file(b, "twice", "2");
        cr_assert_eq(unixfs_dir_builder_finish(b, &root.cid, &root.tsize), ERR_EXISTS);
        unixfs_dir_builder_free(b);
    }
}

Test(dir_builder, names_with_equal_hashes)
{
    struct unixfs_dir_builder *b = dirs_new(NULL);
    struct dirs_root root;
    char name[32];
    dirs_add_file(b, dirs_twin_a, "1");
    dirs_add_file(b, dirs_twin_b, "2");
    (void)dirs_finish(b); /* no matter in a basic directory */
    b = dirs_new(NULL);
    for (unsigned i = 0; i < 6000; i++) {
        (void)snprintf(name, sizeof name, "file-%u", i);
        dirs_add_file(b, name, "");
    }
    dirs_add_file(b, dirs_twin_a, "1");
    dirs_add_file(b, dirs_twin_b, "2");
    cr_assert_eq(unixfs_dir_builder_finish(b, &root.cid, &root.tsize), ERR_LIMIT);
    unixfs_dir_builder_free(b);
    unixfs_dir_builder_free(NULL);
}
