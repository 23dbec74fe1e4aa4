/* SPDX-License-Identifier: MIT */
#include "store/codec/car.h"

#include "store/base/uvarint.h"
#include "store/content/hasher.h"
#include "store/content/multibase.h"

#include <criterion/criterion.h>

/* What a whole file gave. */
struct result {
    int end; /* 0, ERR_* */
    int version;
    unsigned headers, blocks, ends, roots;
    size_t bytes;
    struct cid first_root, last_block;
};

static int drain(struct car_reader *r, struct result *res)
{
    struct car_event ev;
    int n;
    while ((n = car_reader_next(r, &ev)) == 1) {
        res->version = ev.version;
        switch (ev.type) {
        case CAR_HEADER:
            res->headers++;
            res->roots = (unsigned)ev.root_count;
            if (ev.root_count)
                res->first_root = ev.roots[0];
            break;
        case CAR_BLOCK:
            cr_assert_eq(hash_verify(&ev.cid, ev.data), 0);
            res->blocks++;
            res->bytes += ev.data.len;
            res->last_block = ev.cid;
            break;
        case CAR_END:
            res->ends++;
            break;
        }
    }
    return n;
}

/* Feeds the file in pieces of `step` bytes, each in memory of its own. */
static struct result read_all(struct span file, size_t step)
{
    struct car_reader *r = car_reader_new();
    struct result res = {0};
    for (size_t at = 0; at < file.len && res.end == 0; at += step) {
        struct span part = span_sub(file, at, step);
        uint8_t *exact = mem_copy(part.data, part.len);
        cr_assert_eq(car_reader_input(r, span_of(exact, part.len)), 0);
        free(exact);
        res.end = drain(r, &res);
    }
    car_reader_eof(r);
    if (res.end == 0)
        res.end = drain(r, &res);
    if (res.end) {
        struct car_event ev;
        cr_assert_eq(car_reader_next(r, &ev), res.end); /* and again */
    }
    car_reader_free(r);
    return res;
}

static void add_block(struct buf *out, const char *content)
{
    struct cid c;
    cid_of(&c, CODEC_RAW, span_str(content));
    size_t before = buf_len(out);
    car_add_frame_head(out, &c, strlen(content));
    buf_add_str(out, content);
    cr_assert_eq(buf_len(out) - before, car_frame_size(&c, strlen(content)));
}

static void make_v1(struct buf *out, unsigned roots)
{
    struct cid c[2];
    cid_of(&c[0], CODEC_RAW, span_str("one"));
    cid_of(&c[1], CODEC_DAG_PB, span_str(""));
    car_add_header(out, c, roots);
    add_block(out, "one");
    add_block(out, "");
    add_block(out, "three");
}

static void add_u64(struct buf *out, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        buf_add_u8(out, (uint8_t)(v >> (8 * i)));
}

static void make_v2(struct buf *out, uint64_t padding)
{
    struct buf v1 = BUF_INIT;
    make_v1(&v1, 1);
    buf_add(out, "\x0a\xa1\x67version\x02", 11);
    add_u64(out, 0);
    add_u64(out, 0);
    add_u64(out, 51 + padding);
    add_u64(out, buf_len(&v1));
    add_u64(out, 51 + padding + buf_len(&v1));
    for (uint64_t i = 0; i < padding; i++)
        buf_add_u8(out, 0xee);
    buf_add_span(out, buf_span(&v1));
    buf_add_str(out, "an index, which nobody reads");
    buf_done(&v1);
}

static void expect_good(struct result res, int version, unsigned roots)
{
    struct cid three;
    cid_of(&three, CODEC_RAW, span_str("three"));
    cr_assert_eq(res.end, 0, "%s", err_name(res.end));
    cr_assert(res.version == version && res.headers == 1 && res.roots == roots && res.blocks == 3 && res.bytes == 8);
    cr_assert_eq(res.ends, 1);
    cr_assert(cid_eq(&res.last_block, &three));
}

static const size_t steps[] = {1, 2, 7, 64, 1 << 20};

Test(car, v1)
{
    for (unsigned roots = 0; roots <= 2; roots++) {
        struct buf file = BUF_INIT;
        make_v1(&file, roots);
        for (unsigned i = 0; i < 5; i++)
            expect_good(read_all(buf_span(&file), steps[i]), 1, roots);
        buf_done(&file);
    }
}

Test(car, v2)
{
    for (uint64_t padding = 0; padding <= 1000; padding += 500) {
        struct buf file = BUF_INIT;
        make_v2(&file, padding);
        for (unsigned i = 0; i < 5; i++)
            expect_good(read_all(buf_span(&file), steps[i]), 2, 1);
        buf_done(&file);
    }
}

/* ipld.io/specs/transport/car/fixture/carv1-basic: its header, and its first block, which has a version 0 CID among others */
Test(car, v1_basic_fixture_header)
{
    static const char hex[] =
        "f63a265726f6f747382d82a58250001711220f88bc853804cf294fe417e4fa83028689fcdb1b1592c5102e1474dbc200fab8bd82a"
        "5825000171122069ea0740f9807a28f4d932c62e7c1c83be055e55072c90266ab3e79df63a365b6776657273696f6e01";
    struct buf file = BUF_INIT;
    char text[CID_TEXT_SIZE];
    cr_assert_eq(multibase_decode(&file, span_str(hex)), 0);
    struct result res = read_all(buf_span(&file), 3);
    cr_assert_eq(res.end, 0);
    cr_assert(res.headers == 1 && res.roots == 2 && res.blocks == 0 && res.ends == 1);
    cr_assert_str_eq(cid_text(&res.first_root, text), "bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm");

    struct buf made = BUF_INIT; /* and the same bytes come out */
    struct cid roots[2] = {res.first_root};
    cr_assert_eq(cid_from_text(span_str("bafyreidj5idub6mapiupjwjsyyxhyhedxycv4vihfsicm2vt46o7morwlm"), &roots[1], NULL), 0);
    car_add_header(&made, roots, 2);
    cr_assert(span_eq(buf_span(&made), buf_span(&file)));
    buf_done(&made);
    buf_done(&file);
}

Test(car, every_truncation)
{
    for (unsigned v = 1; v <= 2; v++) {
        struct buf file = BUF_INIT;
        if (v == 1)
            make_v1(&file, 1);
        else
            make_v2(&file, 5);
        unsigned whole = 0;
        for (size_t len = 0; len < buf_len(&file); len++) {
            struct result res = read_all(span_sub(buf_span(&file), 0, len), 16);
            cr_assert(res.end == 0 || res.end == ERR_TRUNCATED, "%zu: %s", len, err_name(res.end));
            whole += res.end == 0;
        }
        /* v1 has no end: it may be cut between frames. v2: anywhere in the index. */
        cr_assert_eq(whole, v == 1 ? 3 : 28);
        buf_done(&file);
    }
}

Test(car, refuses)
{
    static const struct {
        const char *hex;
        int expect;
        const char *what;
    } cases[] = {
        {"00", ERR_INVALID, "a header of no bytes"},
        {"ffffff7f", ERR_TOO_BIG, "a header over the limit"},
        {"ffffffffffffffffffff", ERR_INVALID, "an endless number"},
        {"01a0", ERR_INVALID, "an empty map"},
        {"0aa16776657273696f6e03", ERR_UNSUPPORTED, "version 3"},
        {"0aa16776657273696f6e01", ERR_INVALID, "no roots"},
        {"11a265726f6f7473806776657273696f6e02", ERR_UNSUPPORTED, "version 2 with roots"},
        {"11a265726f6f7473806776657273696f6e00", ERR_UNSUPPORTED, "version 0"},
        {"07a165726f6f747380", ERR_INVALID, "a short body"},
        {"08a165726f6f747380", ERR_INVALID, "no version"},
        {"11a265726f6f7473f66776657273696f6e01", ERR_INVALID, "roots that are no list"},
        {"12a265726f6f747381016776657273696f6e01", ERR_INVALID, "a root that is no CID"},
        {"14a365726f6f7473806776657273696f6e016178f6", ERR_INVALID, "another key"},
        {"17a265726f6f74738065726f6f7473806776657273696f6e01", ERR_INVALID, "roots twice"},
        {"11a265726f6f7473806776657273696f6e0100", ERR_INVALID, "a frame of no bytes"},
        {"11a265726f6f7473806776657273696f6e010401550001", ERR_INVALID, "a frame too short for its CID"},
        {"11a265726f6f7473806776657273696f6e01ffffff7f", ERR_TOO_BIG, "a frame over the limit"},
        {"11a265726f6f7473806776657273696f6e0105020202020202", ERR_INVALID, "no CID"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf text = BUF_INIT, file = BUF_INIT;
        buf_printf(&text, "f%s", cases[i].hex);
        cr_assert_eq(multibase_decode(&file, buf_span(&text)), 0, "%s", cases[i].what);
        for (unsigned k = 0; k < 5; k++) {
            struct result res = read_all(buf_span(&file), steps[k]);
            cr_assert_eq(res.end, cases[i].expect, "%s: %s", cases[i].what, err_name(res.end));
        }
        buf_done(&file);
        buf_done(&text);
    }
}

Test(car, v2_with_wrong_figures)
{
    static const struct {
        uint64_t begin, size;
        int expect;
    } cases[] = {
        {50, 100, ERR_INVALID},                                /* inside the header */
        {51, 0, ERR_INVALID},                                  /* nothing */
        {UINT64_MAX, 1, ERR_INVALID},                          /* wraps */
        {51, UINT64_MAX, ERR_INVALID}, {51, 3, ERR_TRUNCATED}, /* ends within the inner header */
        {51, 60, ERR_TRUNCATED},                               /* ends within a frame */
        {51, 100000, ERR_TRUNCATED},                           /* the file ends before */
        {1000000, 100, ERR_TRUNCATED},
    };
    struct buf file = BUF_INIT;
    make_v2(&file, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf bad = BUF_INIT;
        buf_add_span(&bad, span_sub(buf_span(&file), 0, 27));
        add_u64(&bad, cases[i].begin);
        add_u64(&bad, cases[i].size);
        buf_add_span(&bad, span_sub(buf_span(&file), 43, buf_len(&file) - 43 - 28));
        struct result res = read_all(buf_span(&bad), 16);
        cr_assert_eq(res.end, cases[i].expect, "case %zu: %s", i, err_name(res.end));
        buf_done(&bad);
    }
    buf_done(&file);
}

Test(car, largest_block)
{
    struct buf file = BUF_INIT;
    uint8_t *data = mem_new(CAR_BLOCK_MAX + 1);
    for (unsigned over = 0; over <= 1; over++) {
        struct cid c;
        buf_clear(&file);
        car_add_header(&file, NULL, 0);
        cid_of(&c, CODEC_RAW, span_of(data, CAR_BLOCK_MAX + over));
        car_add_frame_head(&file, &c, CAR_BLOCK_MAX + over);
        buf_add(&file, data, CAR_BLOCK_MAX + over);
        struct result res = read_all(buf_span(&file), 65536);
        cr_assert_eq(res.end, over ? ERR_TOO_BIG : 0, "%s", err_name(res.end));
        cr_assert_eq(res.blocks, 1 - over);
    }
    free(data);
    buf_done(&file);
}
