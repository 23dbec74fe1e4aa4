/* SPDX-License-Identifier: MIT */
#include "store/unixfs/reader.h"

#include "store/base/uvarint.h"
#include "store/unixfs/importer.h"
#include "tests/unit/store/unixfs/memblocks.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define FILE_BYTES 300007u

/* Small chunks and few links make deep trees of little data. */
static const struct layout_profile deep = {
    .name = "deep", .chunk_size = 1000, .max_links = 3, .raw_leaves = true, .cid_version = 1};
static const struct layout_profile deep_v0 = {.name = "deep0", .chunk_size = 777, .max_links = 40, .cid_version = 0};

struct fixture {
    struct mem_blocks *m;
    uint8_t *bytes;
    struct cid root;
};

static void setup(struct fixture *x, const struct layout_profile *p)
{
    x->m = mem_blocks_new();
    x->bytes = mem_new(FILE_BYTES);
    struct rng rng;
    rng_init_seed(&rng, 7);
    rng_fill(&rng, x->bytes, FILE_BYTES);
    struct importer *im = importer_new(&(struct importer_options){.profile = p, .sink = &x->m->sink});
    for (size_t at = 0; at < FILE_BYTES;) {
        int n = importer_write(im, span_of(x->bytes + at, FILE_BYTES - at));
        cr_assert_gt(n, 0);
        at += (size_t)n;
    }
    struct unixfs_root root;
    cr_assert_eq(importer_finish(im, &root), 0);
    x->root = root.cid;
    importer_free(im);
}

static void teardown(struct fixture *x)
{
    mem_blocks_free(x->m);
    free(x->bytes);
}

/* Random ranges, forward runs and jumps, through spans and copies */
static void read_everywhere(struct block_source *s, const struct cid *root, struct span want)
{
    struct unixfs_file *f = unixfs_file_new(root);
    struct rng rng;
    rng_init_seed(&rng, 1);
    uint64_t size;
    cr_assert_eq(unixfs_file_size(f, s, &size), 0);
    cr_assert_eq(size, want.len);
    uint8_t *got = mem_new(want.len + 10);
    cr_assert_eq(unixfs_read_copy(f, s, 0, got, want.len + 10), (int)want.len);
    cr_assert_eq(memcmp(got, want.data, want.len), 0);
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t at = rng_below(&rng, want.len + 5);
        size_t len = (size_t)rng_below(&rng, 5000);
        struct span expect = span_sub(want, at, len);
        int n = unixfs_read_copy(f, s, at, got, len);
        cr_assert_eq(n, (int)expect.len);
        cr_assert(span_eq(span_of(got, expect.len), expect));
    }
    free(got);
    unixfs_file_free(f);
}

Test(reader, balanced_layouts)
{
    const struct layout_profile *profiles[] = {&deep, &deep_v0, &layout_v1_2025, &layout_v0_2015};
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        struct fixture x;
        setup(&x, profiles[i]);
        read_everywhere(&x.m->source, &x.root, span_of(x.bytes, FILE_BYTES));
        teardown(&x);
    }
}

/* ---- DAGs made by hand ---- */

static struct unixfs_child leaf(struct mem_blocks *m, struct span bytes)
{
    struct unixfs_child c = {.size = bytes.len, .tsize = bytes.len};
    mem_add_bytes(m, CODEC_RAW, bytes, &c.cid);
    return c;
}

static void add_varint_field(struct buf *b, unsigned field, uint64_t v)
{
    buf_add_u8(b, (uint8_t)(field << 3));
    buf_add_uvarint(b, v);
}

struct node_parts {
    unsigned type;
    struct span own;
    const struct unixfs_child *child;
    size_t count;
    bool packed; /* blocksizes in one field */
    uint64_t filesize;
};

/* As other writers do it: own bytes in inner nodes, packed sizes, any filesize */
static void encode(const struct node_parts *n, struct buf *out)
{
    struct buf msg = BUF_INIT, sizes = BUF_INIT;
    add_varint_field(&msg, 1, n->type);
    if (n->own.len) {
        buf_add_u8(&msg, 2 << 3 | 2);
        buf_add_uvarint(&msg, n->own.len);
        buf_add_span(&msg, n->own);
    }
    add_varint_field(&msg, 3, n->filesize);
    for (size_t i = 0; i < n->count; i++) {
        dagpb_add_link(out, &n->child[i].cid, SPAN_NONE, n->child[i].tsize);
        if (n->packed)
            buf_add_uvarint(&sizes, n->child[i].size);
        else
            add_varint_field(&msg, 4, n->child[i].size);
    }
    if (n->packed) {
        buf_add_u8(&msg, 4 << 3 | 2);
        buf_add_uvarint(&msg, buf_len(&sizes));
        buf_add_span(&msg, buf_span(&sizes));
    }
    buf_done(&sizes);
    dagpb_add_data(out, buf_span(&msg));
    buf_done(&msg);
}

static struct unixfs_child inner(struct mem_blocks *m, struct node_parts n)
{
    struct buf out = BUF_INIT;
    uint64_t sum = n.own.len;
    for (size_t i = 0; i < n.count; i++)
        sum += n.child[i].size;
    if (!n.filesize)
        n.filesize = sum;
    encode(&n, &out);
    struct unixfs_child c = {.size = sum, .tsize = buf_len(&out)};
    mem_add_bytes(m, CODEC_DAG_PB, buf_span(&out), &c.cid);
    buf_done(&out);
    return c;
}

/* Trickle: every inner node has bytes of its own, and children of growing depth. */
Test(reader, trickle_layout)
{
    struct mem_blocks *m = mem_blocks_new();
    uint8_t *bytes = mem_new(10000);
    struct rng rng;
    rng_init_seed(&rng, 3);
    rng_fill(&rng, bytes, 10000);
    size_t at = 9000; /* built from the end: the children of a node before it */
    struct unixfs_child c = leaf(m, span_of(bytes + at, 1000));
    for (unsigned level = 0; level < 9; level++) {
        at -= 1000;
        struct unixfs_child kids[3] = {leaf(m, span_of(bytes + at + 300, 600)), leaf(m, span_of(bytes + at + 900, 100)), c};
        c = inner(
            m, (struct node_parts){.type = 2, .own = span_of(bytes + at, 300), .child = kids, .count = 3, .packed = level % 2});
    }
    read_everywhere(&m->source, &c.cid, span_of(bytes + at, 10000 - at));
    free(bytes);
    mem_blocks_free(m);
}

static struct unixfs_child inline_of(uint64_t codec, struct span bytes, uint64_t size)
{
    struct buf mh = BUF_INIT;
    buf_add_u8(&mh, HASH_IDENTITY);
    buf_add_u8(&mh, (uint8_t)bytes.len);
    buf_add_span(&mh, bytes);
    struct unixfs_child c = {.size = size, .tsize = bytes.len};
    cr_assert_eq(cid_from_hash(&c.cid, 1, codec, buf_span(&mh)), 0);
    buf_done(&mh);
    return c;
}

/* Inline leaves below an inline node below a stored node; all spans of one read must be right at once. */
Test(reader, identity_cids)
{
    struct mem_blocks *m = mem_blocks_new();
    struct unixfs_child kids[8];
    struct buf want = BUF_INIT;
    for (unsigned k = 0; k < 8; k++) {
        char text[16];
        (void)snprintf(text, sizeof text, "<inline %u>", k);
        struct unixfs_child leaves[2] = {inline_of(CODEC_RAW, span_str(text), strlen(text)),
                                         inline_of(CODEC_RAW, span_str("ab"), 2)};
        struct node_parts n = {.type = 2, .child = leaves, .count = 2, .filesize = strlen(text) + 2};
        struct buf node = BUF_INIT;
        encode(&n, &node);
        kids[k] = inline_of(CODEC_DAG_PB, buf_span(&node), n.filesize);
        buf_add_str(&want, text);
        buf_add_str(&want, "ab");
        buf_done(&node);
    }
    struct unixfs_child root = inner(m, (struct node_parts){.type = 2, .child = kids, .count = 8});
    read_everywhere(&m->source, &root.cid, buf_span(&want));

    struct unixfs_file *f = unixfs_file_new(&root.cid);
    struct span spans[16];
    struct read_spans out = {.spans = spans, .max = 16};
    cr_assert_eq(unixfs_read(f, &m->source, 0, 1000, &out), 0);
    cr_assert_eq(out.count, 16u);
    size_t at = 0;
    for (unsigned i = 0; i < 16; i++) {
        cr_expect(span_eq(spans[i], span_sub(buf_span(&want), at, spans[i].len)));
        at += spans[i].len;
    }
    unixfs_file_free(f);
    struct unixfs_child one = inline_of(CODEC_RAW, span_str("just this"), 9);
    read_everywhere(&m->source, &one.cid, span_str("just this"));
    read_everywhere(&m->source, &kids[0].cid, span_str("<inline 0>ab"));
    buf_done(&want);
    mem_blocks_free(m);
}

Test(reader, leaves_of_type_raw_and_empty_children)
{
    struct mem_blocks *m = mem_blocks_new();
    struct unixfs_child empty = leaf(m, SPAN_NONE);
    struct unixfs_child kids[6] = {empty,
                                   inner(m, (struct node_parts){.type = 0, .own = span_str("hello")}),
                                   empty,
                                   leaf(m, span_str(" wor")),
                                   inner(m, (struct node_parts){.type = 2, .own = span_str("ld")}),
                                   empty};
    struct unixfs_child root = inner(m, (struct node_parts){.type = 2, .child = kids, .count = 6});
    mem_hide(m, &empty.cid, true); /* nobody needs it */
    read_everywhere(&m->source, &root.cid, span_str("hello world"));
    mem_blocks_free(m);
}

static int size_of(struct mem_blocks *m, const struct cid *cid)
{
    struct unixfs_file *f = unixfs_file_new(cid);
    uint64_t size;
    int r = unixfs_file_size(f, &m->source, &size);
    unixfs_file_free(f);
    return r;
}

static int read_of(struct mem_blocks *m, const struct cid *cid)
{
    struct unixfs_file *f = unixfs_file_new(cid);
    uint8_t buf[256];
    int r = unixfs_read_copy(f, &m->source, 0, buf, sizeof buf);
    unixfs_file_free(f);
    return r;
}

Test(reader, not_a_file)
{
    struct mem_blocks *m = mem_blocks_new();
    struct unixfs_child dir = inner(m, (struct node_parts){.type = 1});
    struct unixfs_child link = inner(m, (struct node_parts){.type = 4, .own = span_str("target")});
    struct cid cbor, junk, absent;
    mem_add_bytes(m, CODEC_DAG_CBOR, span_str("\xa0"), &cbor);
    mem_add_bytes(m, CODEC_DAG_PB, span_str("no protobuf"), &junk);
    cid_of(&absent, CODEC_RAW, span_str("absent"));
    cr_expect_eq(size_of(m, &dir.cid), ERR_IS_DIR);
    cr_expect_eq(size_of(m, &link.cid), ERR_INVALID);
    cr_expect_eq(size_of(m, &cbor), ERR_UNSUPPORTED);
    cr_expect_eq(size_of(m, &junk), ERR_CORRUPT);
    cr_expect_eq(m->source.missing_count, 0u);
    cr_expect_eq(size_of(m, &absent), ERR_MISSING);
    cr_expect_eq(m->source.missing_count, 1u);
    mem_blocks_free(m);
}

Test(reader, lies_about_sizes)
{
    struct mem_blocks *m = mem_blocks_new();
    struct unixfs_child good = leaf(m, span_str("0123456789"));
    struct unixfs_child lie = good;
    struct unixfs_child dir = inner(m, (struct node_parts){.type = 1});
    dir.size = 10;
    lie.size = 11;
    struct unixfs_child root = inner(m, (struct node_parts){.type = 2, .child = &lie, .count = 1});
    cr_expect_eq(read_of(m, &root.cid), ERR_CORRUPT);
    lie.size = 9;
    root = inner(m, (struct node_parts){.type = 2, .child = &lie, .count = 1});
    cr_expect_eq(read_of(m, &root.cid), ERR_CORRUPT);
    root = inner(m, (struct node_parts){.type = 2, .child = &good, .count = 1, .filesize = 12});
    cr_expect_eq(read_of(m, &root.cid), ERR_CORRUPT);
    root = inner(m, (struct node_parts){.type = 2, .child = &dir, .count = 1});
    cr_expect_eq(read_of(m, &root.cid), ERR_CORRUPT);
    root = inner(m, (struct node_parts){.type = 2, .child = &good, .count = 1});
    struct unixfs_child above = root;
    above.size = 8;
    above = inner(m, (struct node_parts){.type = 2, .child = &above, .count = 1});
    cr_expect_eq(read_of(m, &root.cid), 10);
    cr_expect_eq(read_of(m, &above.cid), ERR_CORRUPT);
    mem_blocks_free(m);
}

Test(reader, depth_is_bounded)
{
    struct mem_blocks *m = mem_blocks_new();
    struct unixfs_child c = leaf(m, span_str("deep"));
    for (unsigned i = 0; i < READER_DEPTH_MAX; i++)
        c = inner(m, (struct node_parts){.type = 2, .child = &c, .count = 1});
    cr_expect_eq(read_of(m, &c.cid), 4);
    c = inner(m, (struct node_parts){.type = 2, .child = &c, .count = 1});
    cr_expect_eq(read_of(m, &c.cid), ERR_CORRUPT);
    mem_blocks_free(m);
}

/* A file of 2^60 bytes from sixty blocks: reads anywhere are as cheap as anywhere else. */
Test(reader, bomb)
{
    struct mem_blocks *m = mem_blocks_new();
    struct unixfs_child c = leaf(m, span_str("x"));
    for (unsigned i = 0; i < 60; i++) {
        struct unixfs_child twice[2] = {c, c};
        c = inner(m, (struct node_parts){.type = 2, .child = twice, .count = 2});
    }
    struct unixfs_file *f = unixfs_file_new(&c.cid);
    uint64_t size;
    cr_assert_eq(unixfs_file_size(f, &m->source, &size), 0);
    cr_expect_eq(size, UINT64_C(1) << 60);
    uint8_t got[1000];
    cr_expect_eq(unixfs_read_copy(f, &m->source, size - 500, got, 1000), 500);
    struct cid cids[8];
    cr_expect_eq(unixfs_read_ahead(f, &m->source, (struct read_range){0, size}, cids, 8), 0);
    unixfs_file_free(f);
    mem_blocks_free(m);
}

/* ---- what is missing ---- */

Test(reader, missing_siblings_are_noted)
{
    struct fixture x;
    setup(&x, &deep_v0); /* 387 leaves, 10 nodes, root */
    struct unixfs_file *f = unixfs_file_new(&x.root);
    struct block_source *s = &x.m->source;
    uint8_t got[8192];
    mem_hide_all(x.m, true);
    cr_expect_eq(unixfs_read_copy(f, s, 0, got, 8000), ERR_MISSING);
    cr_assert_eq(s->missing_count, 1u);
    cr_expect(cid_eq(&s->missing[0], &x.root));
    unsigned rounds = 0;
    int r;
    do { /* a fetcher that brings whatever was noted */
        cr_assert_lt(++rounds, 5u);
        for (unsigned i = 0; i < s->missing_count; i++)
            mem_hide(x.m, &s->missing[i], false);
        source_forget_missing(s);
        r = unixfs_read_copy(f, s, 0, got, 8000);
    } while (r == ERR_MISSING);
    cr_expect_eq(r, 8000);
    cr_expect_eq(rounds, 3u, "root, node, all leaves at once: %u", rounds);
    cr_expect_eq(memcmp(got, x.bytes, 8000), 0);
    /* a hole in the middle: what is in front of it is there */
    struct span spans[32];
    struct read_spans out = {.spans = spans, .max = 32};
    source_forget_missing(s);
    cr_expect_eq(unixfs_read(f, s, 7000, 3000, &out), ERR_MISSING);
    cr_expect_eq(out.bytes, 777u * 11 - 7000);
    cr_expect_eq(s->missing_count, 2u);
    unixfs_file_free(f);
    teardown(&x);
}

Test(reader, read_ahead)
{
    struct fixture x;
    setup(&x, &deep_v0);
    struct unixfs_file *f = unixfs_file_new(&x.root);
    struct block_source *s = &x.m->source;
    struct read_range all = {0, UINT64_MAX};
    struct cid cids[500];
    mem_hide_all(x.m, true);
    int levels[] = {1, 10, 387, 0};
    for (unsigned i = 0; i < 4; i++) {
        int n = unixfs_read_ahead(f, s, all, cids, 500);
        cr_expect_eq(n, levels[i], "%u: %d", i, n);
        for (int k = 0; k < n; k++)
            mem_hide(x.m, &cids[k], false);
    }
    cr_expect_eq(s->missing_count, 0u);
    /* inner nodes first, also when they lie behind missing leaves */
    struct span spans[1];
    struct read_spans out = {.spans = spans, .max = 1};
    struct cid first_leaf, ninth;
    mem_hide_all(x.m, true);
    mem_hide(x.m, &x.root, false);
    cr_assert_eq(unixfs_read_ahead(f, s, all, cids, 500), 10);
    ninth = cids[9];
    mem_hide(x.m, &cids[0], false);
    cr_assert_eq(unixfs_read_ahead(f, s, all, cids, 500), 9 + 40);
    cr_expect(cid_eq(&cids[8], &ninth));
    first_leaf = cids[9];
    cr_assert_eq(unixfs_read_ahead(f, s, all, cids, 9), 9);
    cr_expect(cid_eq(&cids[8], &ninth));
    cr_expect_eq(unixfs_read_ahead(f, s, (struct read_range){0, 777}, cids, 9), 1);
    cr_expect(cid_eq(&cids[0], &first_leaf));
    mem_hide(x.m, &first_leaf, false);
    cr_expect_eq(unixfs_read_ahead(f, s, (struct read_range){0, 777}, cids, 9), 0);
    cr_expect_eq(unixfs_read(f, s, 0, 777, &out), 0);
    cr_expect_eq(out.bytes, 777u);
    unixfs_file_free(f);
    teardown(&x);
}

/* Blocks that were here may go again between two reads of one handle. */
Test(reader, evicted_between_reads)
{
    struct fixture x;
    setup(&x, &deep);
    struct unixfs_file *f = unixfs_file_new(&x.root);
    struct block_source *s = &x.m->source;
    uint8_t got[5000];
    cr_assert_eq(unixfs_read_copy(f, s, 1000, got, 5000), 5000);
    mem_hide_all(x.m, true);
    cr_expect_eq(unixfs_read_copy(f, s, 6000, got, 100), ERR_MISSING);
    cr_expect_gt(s->missing_count, 0u);
    mem_hide_all(x.m, false);
    cr_expect_eq(unixfs_read_copy(f, s, 6000, got, 100), 100);
    cr_expect_eq(memcmp(got, x.bytes + 6000, 100), 0);
    unixfs_file_free(f);
    teardown(&x);
}
