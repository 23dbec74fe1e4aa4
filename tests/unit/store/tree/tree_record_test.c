/* SPDX-License-Identifier: MIT */
#include "store/tree/tree_record.h"

#include <criterion/criterion.h>

static struct tree_record sample(void)
{
    struct tree_record r = {
        .type = TREE_FILE, .mode = 0644, .parent = 77, .mtime = -5, .ctime = INT64_C(1) << 60, .name_len = 3};
    memcpy(r.name, "a\xff.", 3);
    cid_of(&r.content.cid, CODEC_RAW, span_str("x"));
    r.content.size = UINT64_C(1) << 50;
    r.content.tsize = 3;
    return r;
}

static void expect_same(const struct tree_record *a, const struct tree_record *b)
{
    cr_expect_eq(a->type, b->type);
    cr_expect_eq(a->flags, b->flags);
    cr_expect_eq(a->mode, b->mode);
    cr_expect_eq(a->parent, b->parent);
    cr_expect_eq(a->mtime, b->mtime);
    cr_expect_eq(a->ctime, b->ctime);
    cr_expect(cid_eq(&a->content.cid, &b->content.cid));
    cr_expect_eq(a->content.size, b->content.size);
    cr_expect_eq(a->content.tsize, b->content.tsize);
    cr_expect(span_eq(span_of(a->name, a->name_len), span_of(b->name, b->name_len)));
    cr_expect(span_eq(a->target, b->target));
}

Test(tree_record, round_trip_and_every_truncation)
{
    struct tree_record cases[3] = {sample(), sample(), sample()}, got;
    cases[1].type = TREE_SYMLINK;
    cases[1].target = span_str("../ipfs/x");
    cases[2] = (struct tree_record){.type = TREE_DIR, .flags = RECORD_DIRTY, .mode = 01777};
    for (unsigned i = 0; i < 3; i++) {
        struct buf b = BUF_INIT;
        tree_record_encode(&cases[i], &b);
        cr_assert_eq(tree_record_parse(buf_span(&b), &got), 0);
        expect_same(&cases[i], &got);
        for (size_t n = 0; n < buf_len(&b); n++)
            cr_expect_eq(tree_record_parse(span_sub(buf_span(&b), 0, n), &got), ERR_CORRUPT);
        buf_add_u8(&b, 0);
        cr_expect_eq(tree_record_parse(buf_span(&b), &got), ERR_CORRUPT);
        buf_done(&b);
    }
}

Test(tree_record, unsound)
{
    struct tree_record got;
    for (unsigned i = 0; i < 7; i++) {
        struct tree_record r = sample();
        struct buf b = BUF_INIT;
        switch (i) {
        case 0:
            r.type = 4;
            break;
        case 1:
            r.mode = 010000;
            break;
        case 2:
            r.flags = 4;
            break;
        case 3:
            r.target = span_str("a file has none");
            break;
        case 4:
            r.type = TREE_SYMLINK;
            break; /* without a target */
        case 5:
            r.parent = 0;
            break; /* with a name */
        default:
            r.content.cid.bytes[0] = 9;
        }
        tree_record_encode(&r, &b);
        cr_expect_eq(tree_record_parse(buf_span(&b), &got), ERR_CORRUPT, "%u", i);
        buf_done(&b);
    }
}

Test(tree_record, meta)
{
    struct buf b = BUF_INIT;
    struct tree_meta m = {.seq = 9, .next_id = 17}, got;
    tree_meta_encode(&m, &b);
    cr_assert_eq(tree_meta_parse(buf_span(&b), &got), 0);
    cr_expect_eq(got.seq, 9u);
    cr_expect_eq(got.next_id, 17u);
    uint8_t copy[32];
    memcpy(copy, buf_span(&b).data, buf_len(&b));
    for (size_t n = 0; n < buf_len(&b); n++)
        cr_expect_lt(tree_meta_parse(span_of(copy, n), &got), 0);
    copy[0] = TREE_VERSION + 1;
    cr_expect_eq(tree_meta_parse(span_of(copy, buf_len(&b)), &got), ERR_VERSION);
    copy[0] = 0;
    cr_expect_eq(tree_meta_parse(span_of(copy, buf_len(&b)), &got), ERR_CORRUPT);
    buf_done(&b);
}

Test(tree_record, former)
{
    struct tree_former empty = {.mtime = -5}, f = {.seq = 9, .mtime = 7, .content = {.size = 3, .tsize = 4}}, got;
    cid_of(&f.content.cid, CODEC_RAW, span_str("old"));
    struct buf b = BUF_INIT;
    tree_former_encode(&empty, &b);
    cr_assert_eq(tree_former_parse(buf_span(&b), &got), 0);
    cr_expect_eq(got.mtime, -5);
    cr_expect(cid_is_none(&got.content.cid));
    buf_clear(&b);
    tree_former_encode(&f, &b);
    cr_assert_eq(tree_former_parse(buf_span(&b), &got), 0);
    cr_expect(got.seq == 9 && got.mtime == 7 && got.content.size == 3 && got.content.tsize == 4 && cid_eq(&got.content.cid, &f.content.cid));
    for (size_t n = 0; n < buf_len(&b); n++)
        if (n != 32) /* as the empty one */
            cr_expect_eq(tree_former_parse(span_sub(buf_span(&b), 0, n), &got), ERR_CORRUPT, "%zu", n);
    buf_add_u8(&b, 0);
    cr_expect_eq(tree_former_parse(buf_span(&b), &got), ERR_CORRUPT);
    buf_done(&b);
}

Test(tree_record, keys_sort_by_number)
{
    struct tree_key a = tree_key_listed(1, 5, 255), b = tree_key_listed(1, 5, 256), c = tree_key_listed(2, 1, 1);
    cr_expect_lt(span_cmp(tree_key_span(&a), tree_key_span(&b)), 0);
    cr_expect_lt(span_cmp(tree_key_span(&b), tree_key_span(&c)), 0);
    cr_expect_eq(tree_key_tail(tree_key_span(&b)), 256u);
    char name[TREE_NAME_MAX];
    memset(name, 'n', sizeof name);
    struct tree_key e = tree_key_entry(1, 5, span_of(name, sizeof name));
    cr_expect_eq(e.len, 13 + TREE_NAME_MAX);
}

Test(tree_record, targets)
{
#define HELLO "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    static const struct {
        const char *target;
        bool keeps;
    } cases[] = {
        {"../ipfs/" HELLO, true},
        {"/home/u/p2p/ipfs/" HELLO, true},
        {"ipfs/" HELLO "/", true},
        {"/ipfs/" HELLO "//", true},
        {"../../ipfs/QmY7Yh4UquoXHLPFo2XbhXkhBvFoPwmQUSa92pxnxjQuPU", true},
        {HELLO, false},
        {"../ipfs/" HELLO "/film.mkv", false},
        {"../ipns/" HELLO, false},
        {"../xipfs/" HELLO, false},
        {"../ipfs/", false},
        {"../ipfs/nonsense", false},
        {"", false},
        {"/", false},
        {"ipfs", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cid cid;
        cr_expect_eq(tree_target_cid(span_str(cases[i].target), &cid), cases[i].keeps, "%s", cases[i].target);
    }
}
