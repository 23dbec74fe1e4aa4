/* SPDX-License-Identifier: MIT */
#include "store/unixfs/unixfs_node.h"

#include "store/base/uvarint.h"
#include "store/content/multibase.h"

#include <criterion/criterion.h>

static void expect_cid(const struct buf *block, const char *text)
{
    struct cid c;
    char got[CID_TEXT_SIZE];
    cid_of(&c, CODEC_DAG_PB, buf_span(block));
    cr_assert_str_eq(cid_text(&c, got), text);
}

static int parse_pb(struct span block, struct unixfs_node *ret)
{
    struct cid c;
    cid_of(&c, CODEC_DAG_PB, block);
    return unixfs_parse(&c, block, ret);
}

/* Bytes and CIDs of ipfs-unixfs 13 and the importer. */
Test(unixfs_node, writes_exact_bytes)
{
    struct buf b = BUF_INIT;
    unixfs_add_symlink(&b, span_str("target"), NULL);
    expect_cid(&b, "bafybeigisnhcd6tqu22qmi3u3iy53vppeg3gbul7ibw54egea244dx6cjq");
    buf_clear(&b);
    unixfs_add_symlink(&b, span_str("../a/b"), NULL);
    expect_cid(&b, "bafybeihukqu3kf2nxivgxqzjtfmxcx4wveyxot4htjysuxklwvkinhcbmy");
    buf_clear(&b);
    struct unixfs_meta meta = {.has_mode = true, .mode = 0600, .has_mtime = true, .mtime_seconds = -5};
    unixfs_add_leaf(&b, span_str("hi"), &meta);
    expect_cid(&b, "bafybeig4mmvymyz2ub5xkhn6plb6habe4kixxd5twqukepzg7p5uwvqm6q");
    struct unixfs_node n;
    cr_assert_eq(parse_pb(buf_span(&b), &n), 0);
    cr_assert(n.meta.has_mode && n.meta.mode == 0600 && n.meta.has_mtime && n.meta.mtime_seconds == -5);
    cr_assert(span_eq_str(n.data, "hi") && n.file_size == 2 && n.type == UNIXFS_FILE && !n.raw_block);
    buf_clear(&b);
    unixfs_add_leaf(&b, SPAN_NONE, NULL); /* the empty file of version 0: QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH */
    expect_cid(&b, "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y");
    buf_done(&b);
}

Test(unixfs_node, raw_blocks)
{
    struct cid c;
    struct unixfs_node n;
    cid_of(&c, CODEC_RAW, span_str("content"));
    cr_assert_eq(unixfs_parse(&c, span_str("content"), &n), 0);
    cr_assert(n.raw_block && n.type == UNIXFS_FILE && n.file_size == 7 && span_eq_str(n.data, "content"));
    cr_assert(!unixfs_is_dir(&n));
    cid_of(&c, CODEC_DAG_CBOR, span_str("\xa0"));
    cr_assert_eq(unixfs_parse(&c, span_str("\xa0"), &n), ERR_UNSUPPORTED);
}

static struct unixfs_child child(const char *content, uint64_t size, uint64_t tsize)
{
    struct unixfs_child c = {.size = size, .tsize = tsize};
    cid_of(&c.cid, CODEC_RAW, span_str(content));
    return c;
}

Test(unixfs_node, children)
{
    struct unixfs_child in[] = {child("a", 100, 110), child("b", 0, 0), child("c", 200, 210), child("d", 1, 1)}, out;
    struct buf b = BUF_INIT;
    struct unixfs_node n;
    struct unixfs_children it;
    cr_assert_eq(unixfs_add_file(&b, in, 4, NULL), 0);
    cr_assert_eq(parse_pb(buf_span(&b), &n), 0);
    cr_assert_eq(n.file_size, 301);
    unixfs_children(&n, &it);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(unixfs_children_next(&it, &out));
        cr_assert(cid_eq(&out.cid, &in[i].cid) && out.size == in[i].size && out.tsize == in[i].tsize);
    }
    cr_assert(!unixfs_children_next(&it, &out));
    static const struct {
        uint64_t at;
        unsigned child;
        uint64_t begin;
    } finds[] = {{0, 0, 0}, {99, 0, 0}, {100, 2, 100}, {299, 2, 100}, {300, 3, 300}};
    uint64_t begin;
    for (unsigned i = 0; i < 5; i++) {
        cr_assert(unixfs_child_at(&n, finds[i].at, &out, &begin));
        cr_assert(cid_eq(&out.cid, &in[finds[i].child].cid) && begin == finds[i].begin);
    }
    cr_assert(!unixfs_child_at(&n, 301, &out, &begin));
    cr_assert(!unixfs_child_at(&n, UINT64_MAX, &out, &begin));
    cr_assert_eq(unixfs_tsize(10, in, 4), 331);
    in[0].tsize = UINT64_MAX;
    cr_assert_eq(unixfs_tsize(10, in, 4), UINT64_MAX);
    buf_done(&b);
}

/* A node from a hand-written message (hex) and a number of links. */
static int parse_message(const char *hex, unsigned links, struct unixfs_node *ret, struct buf *block)
{
    struct buf message = BUF_INIT, text = BUF_INIT;
    struct unixfs_child c = child("a", 0, 0);
    buf_printf(&text, "f%s", hex);
    cr_assert_eq(multibase_decode(&message, buf_span(&text)), 0, "%s", hex);
    buf_clear(block);
    for (unsigned i = 0; i < links; i++)
        dagpb_add_link(block, &c.cid, SPAN_NONE, 1);
    dagpb_add_data(block, buf_span(&message));
    buf_done(&text);
    buf_done(&message);
    return parse_pb(buf_span(block), ret);
}

Test(unixfs_node, messages_of_others)
{
    static const struct {
        const char *hex;
        unsigned links;
        int expect;
        uint64_t size;
        const char *what;
    } cases[] = {
        {"0802180a20042006", 2, 0, 10, "blocksizes one by one"},
        {"0802180a22020406", 2, 0, 10, "packed"},
        {"0802180a2004220106", 2, 0, 10, "both"},
        {"080220042006", 2, 0, 10, "no filesize"},
        {"0800180212026869", 0, 0, 2, "Type Raw; fields in another order"},
        {"080212026869180c20042006", 2, 0, 12, "own data and children"},
        {"080212026869200420061a00", 2, 0, 12, "filesize with another wire type is not filesize"},
        {"0802180a200420067801820101ff", 2, 0, 10, "unknown fields"},
        {"0802180b20042006", 2, ERR_INVALID, 0, "sums differ"},
        {"0802180a20042006", 1, ERR_INVALID, 0, "more sizes than links"},
        {"0802180a20042006", 3, ERR_INVALID, 0, "more links than sizes"},
        {"080220ffffffffffffffffff012001", 2, ERR_INVALID, 0, "overflow"},
        {"08021201aa20ffffffffffffffffff01", 1, ERR_INVALID, 0, "overflow by own data"},
        {"1802", 0, ERR_INVALID, 0, "no Type"},
        {"", 0, ERR_INVALID, 0, "empty message"},
        {"0803", 0, ERR_UNSUPPORTED, 0, "Metadata"},
        {"0806", 0, ERR_UNSUPPORTED, 0, "unknown Type"},
        {"08", 0, ERR_INVALID, 0, "cut in a number"},
        {"080212", 0, ERR_INVALID, 0, "cut before a length"},
        {"08021203aa", 0, ERR_INVALID, 0, "cut in bytes"},
        {"080222018020", 0, ERR_INVALID, 0, "packed list cut in a number"},
        {"080233", 0, ERR_INVALID, 0, "a group"},
        {"08020002", 0, ERR_INVALID, 0, "field 0"},
        {"080242021280", 0, ERR_INVALID, 0, "mtime damaged"},
    };
    struct buf block = BUF_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct unixfs_node n;
        int err = parse_message(cases[i].hex, cases[i].links, &n, &block);
        cr_assert_eq(err, cases[i].expect, "%s: %s", cases[i].what, err_name(err));
        if (err)
            continue;
        cr_assert_eq(n.file_size, cases[i].size, "%s", cases[i].what);
        struct unixfs_children it;
        struct unixfs_child c;
        uint64_t sum = n.data.len;
        for (unixfs_children(&n, &it); unixfs_children_next(&it, &c);)
            sum += c.size;
        cr_assert_eq(sum, cases[i].size, "%s", cases[i].what);
    }
    buf_done(&block);
}

Test(unixfs_node, mtime)
{
    struct buf block = BUF_INIT;
    struct unixfs_node n;
    cr_assert_eq(parse_message("0801420a0880e0fbffffffffffff0115ffffffff", 0, &n, &block), ERR_INVALID); /* cut */
    cr_assert_eq(parse_message("0801420708641503000000", 0, &n, &block), 0);
    cr_assert(n.meta.has_mtime && n.meta.mtime_seconds == 100 && n.meta.mtime_nanoseconds == 3);
    cr_assert(n.type == UNIXFS_DIRECTORY && unixfs_is_dir(&n));
    cr_assert_eq(parse_message("0801420708641500ca9a3b", 0, &n, &block), 0); /* 1e9 ns */
    cr_assert(n.meta.has_mtime && n.meta.mtime_nanoseconds == 0);
    cr_assert_eq(parse_message("080138ed03", 0, &n, &block), 0);
    cr_assert(n.meta.has_mode && n.meta.mode == 0755 && !n.meta.has_mtime);
    buf_done(&block);
}

Test(unixfs_node, dag_pb_that_is_not_unixfs)
{
    struct unixfs_node n;
    struct buf block = BUF_INIT;
    struct unixfs_child c = child("a", 0, 0);
    dagpb_add_link(&block, &c.cid, span_str("x"), 1);
    cr_assert_eq(parse_pb(buf_span(&block), &n), ERR_UNSUPPORTED);
    cr_assert_eq(parse_pb(SPAN_NONE, &n), ERR_UNSUPPORTED);
    buf_done(&block);
}

Test(unixfs_node, every_truncation)
{
    struct unixfs_child in[] = {child("a", 100, 110), child("b", 200, 210)};
    struct buf b = BUF_INIT;
    struct unixfs_node n;
    cr_assert_eq(unixfs_add_file(&b, in, 2, NULL), 0);
    for (size_t len = 0; len < buf_len(&b); len++) {
        uint8_t *exact = mem_copy(buf_span(&b).data, len);
        cr_assert_neq(parse_pb(span_of(exact, len), &n), 0);
        free(exact);
    }
    buf_done(&b);
}
