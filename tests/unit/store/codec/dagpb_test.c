/* SPDX-License-Identifier: MIT */
#include "store/codec/dagpb.h"

#include "store/content/multibase.h"

#include <criterion/criterion.h>

/* ipld codec-fixtures and the spec's compatibility cases. The CID of the links: 015500050001020304 (identity). */
#define HASH "0a09015500050001020304"
static const struct {
    const char *hex;
    int expect;
    unsigned links;
    int data_len; /* -1: absent */
    const char *what;
} cases[] = {
    {"", 0, 0, -1, "empty"},
    {"0a00", 0, 0, 0, "Data of no bytes"},
    {"0a050001020304", 0, 0, 5, "Data"},
    {"120b" HASH, 0, 1, -1, "a link with a hash only"},
    {"120b" HASH "0a050001020304", 0, 1, 5, "link, then Data"},
    {"0a050001020304120b" HASH, 0, 1, 5, "Data, then link"},
    {"120d" HASH "1200", 0, 1, -1, "Name present, empty"},
    {"120d" HASH "1800", 0, 1, -1, "Tsize 0"},
    {"1219" HASH "120a736f6d65206e616d6500", ERR_INVALID, 0, 0, "length beyond the end"},
    {"1216" HASH "1209736f6d65206e616d65", 0, 1, -1, "Name"},
    {"1216" HASH "18ffffffffffffffffff01", 0, 1, -1, "Tsize of 64 bits"},
    {"1216" HASH "18ffffffffffffffffff02", ERR_INVALID, 0, 0, "Tsize of more"},
    {"120b" HASH "120b" HASH, 0, 2, -1, "two links"},
    {"120b" HASH "0a00120b" HASH, ERR_INVALID, 0, 0, "links on both sides of Data"},
    {"0a000a00", ERR_INVALID, 0, 0, "Data twice"},
    {"1200", ERR_INVALID, 0, 0, "a link without a hash"},
    {"12020a00", ERR_INVALID, 0, 0, "an empty hash"},
    {"12021200", ERR_INVALID, 0, 0, "Name only"},
    {"120d1200" HASH, ERR_INVALID, 0, 0, "Name before hash"},
    {"120d1800" HASH, ERR_INVALID, 0, 0, "Tsize before hash"},
    {"120f" HASH "18001200", ERR_INVALID, 0, 0, "Tsize before Name"},
    {"1216" HASH HASH, ERR_INVALID, 0, 0, "hash twice"},
    {"120f" HASH "12001200", ERR_INVALID, 0, 0, "Name twice"},
    {"120f" HASH "18001800", ERR_INVALID, 0, 0, "Tsize twice"},
    {"120d" HASH "2000", ERR_INVALID, 0, 0, "an unknown field in a link"},
    {"1a00", ERR_INVALID, 0, 0, "an unknown field"},
    {"0800", ERR_INVALID, 0, 0, "Data as a number"},
    {"120d" HASH "1000", ERR_INVALID, 0, 0, "Name as a number"},
    {"12050a03015500", ERR_INVALID, 0, 0, "a hash cut short"},
    {"120c0a0a01550005000102030400", ERR_INVALID, 0, 0, "a hash and more"},
    {"12240a22122000000000000000000000000000000000000000000000000000000000000000000", ERR_INVALID, 0, 0, "odd hex"},
};

static bool from_hex(const char *hex, struct buf *out)
{
    struct buf text = BUF_INIT;
    buf_printf(&text, "f%s", hex);
    int err = multibase_decode(out, buf_span(&text));
    buf_done(&text);
    return err == 0;
}

Test(dagpb, cases)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf block = BUF_INIT;
        struct dagpb n;
        if (from_hex(cases[i].hex, &block)) {
            uint8_t *exact = mem_copy(buf_span(&block).data, buf_len(&block));
            cr_assert_eq(dagpb_parse(span_of(exact, buf_len(&block)), &n), cases[i].expect, "%s", cases[i].what);
            if (cases[i].expect == 0) {
                cr_assert_eq(n.link_count, cases[i].links, "%s", cases[i].what);
                cr_assert_eq(n.has_data ? (int)n.data.len : -1, cases[i].data_len, "%s", cases[i].what);
                struct dagpb_iter it = dagpb_iter(&n);
                struct dagpb_link link;
                unsigned count = 0;
                while (dagpb_next(&it, &link))
                    count++;
                cr_assert_eq(count, cases[i].links, "%s", cases[i].what);
            }
            free(exact);
        }
        buf_done(&block);
    }
}

Test(dagpb, presence)
{
    struct buf block = BUF_INIT;
    struct dagpb n;
    struct dagpb_link link;
    cr_assert(from_hex("120b" HASH "120f" HASH "12001800", &block));
    cr_assert_eq(dagpb_parse(buf_span(&block), &n), 0);
    struct dagpb_iter it = dagpb_iter(&n);
    cr_assert(dagpb_next(&it, &link));
    cr_assert(!link.has_name && !link.has_tsize);
    cr_assert(dagpb_next(&it, &link));
    cr_assert(link.has_name && link.has_tsize && link.name.len == 0 && link.tsize == 0);
    buf_done(&block);
}

Test(dagpb, writes_and_sizes)
{
    static const uint64_t tsizes[] = {0, 127, 128, UINT32_MAX, UINT64_MAX};
    char name[300];
    memset(name, 'n', sizeof name);
    struct cid v1, v0;
    cid_of(&v1, CODEC_RAW, span_str("x"));
    cr_assert_eq(cid_from_hash(&v0, 0, CODEC_DAG_PB, cid_hash(&v1)), 0);
    struct buf block = BUF_INIT;
    unsigned links = 0;
    for (size_t i = 0; i < 5; i++) {
        for (size_t len = 0; len < sizeof name; len += 17, links += 2) {
            size_t before = buf_len(&block);
            dagpb_add_link(&block, &v1, span_of(name, len), tsizes[i]);
            cr_assert_eq(buf_len(&block) - before, dagpb_link_size(v1.len, len, tsizes[i]));
            dagpb_add_link(&block, &v0, span_of(name, len), tsizes[i]);
        }
    }
    size_t before = buf_len(&block);
    dagpb_add_data(&block, span_of(name, 200));
    cr_assert_eq(buf_len(&block) - before, dagpb_data_size(200));
    struct dagpb n;
    cr_assert_eq(dagpb_parse(buf_span(&block), &n), 0);
    cr_assert_eq(n.link_count, links);
    struct dagpb_iter it = dagpb_iter(&n);
    struct dagpb_link link;
    struct cid c;
    for (unsigned i = 0; dagpb_next(&it, &link); i++) {
        dagpb_link_cid(&link, &c);
        cr_assert(cid_eq(&c, i % 2 ? &v0 : &v1));
        cr_assert(link.has_name && link.has_tsize);
    }
    buf_done(&block);
}

Test(dagpb, every_truncation_is_safe)
{
    struct buf block = BUF_INIT;
    struct cid c;
    struct dagpb n;
    cid_of(&c, CODEC_RAW, span_str("x"));
    dagpb_add_link(&block, &c, span_str("name"), 300);
    size_t link = buf_len(&block);
    dagpb_add_data(&block, span_str("data"));
    for (size_t len = 0; len < buf_len(&block); len++) {
        uint8_t *exact = mem_copy(buf_span(&block).data, len);
        int err = dagpb_parse(span_of(exact, len), &n);
        cr_assert_eq(err, len == 0 || len == link ? 0 : ERR_INVALID, "%zu", len);
        free(exact);
    }
    buf_done(&block);
}
