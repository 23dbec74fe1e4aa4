/* SPDX-License-Identifier: MIT */
#include "store/unixfs/hamt.h"

#include "store/base/uvarint.h"
#include "store/unixfs/directory.h"
#include "store/unixfs/hamt_stream.h"
#include "store/unixfs/murmur3.h"
#include "tests/unit/store/unixfs/dirs.h"

/* A shard to be spoiled. */
struct recipe {
    const char *names[4]; /* of the links, as they are written */
    uint8_t field[33];
    size_t field_len;
    uint64_t hash_type, fanout;
    struct hamt_place place;
    int expect;
    const char *what;
};

static void add_number(struct buf *out, unsigned field, uint64_t v)
{
    buf_add_uvarint(out, field << 3);
    buf_add_uvarint(out, v);
}

static void recipe_block(const struct recipe *r, struct buf *out)
{
    struct buf message = BUF_INIT;
    struct cid c = dirs_raw("x");
    for (unsigned i = 0; i < 4 && r->names[i]; i++)
        dagpb_add_link(out, &c, span_str(r->names[i]), 1);
    add_number(&message, 1, UNIXFS_HAMT);
    buf_add_uvarint(&message, 2 << 3 | 2);
    buf_add_uvarint(&message, r->field_len);
    buf_add(&message, r->field, r->field_len);
    add_number(&message, 5, r->hash_type);
    add_number(&message, 6, r->fanout);
    dagpb_add_data(out, buf_span(&message));
    buf_done(&message);
}

static int recipe_run(const struct recipe *r)
{
    struct buf block = BUF_INIT;
    struct cid cid;
    struct hamt_shard s;
    struct hamt_slot slot;
    recipe_block(r, &block);
    cid_of(&cid, CODEC_DAG_PB, buf_span(&block));
    int err = hamt_open(&cid, buf_span(&block), r->place, &s);
    if (!err) {
        struct dagpb_iter it = dagpb_iter(&s.pb);
        while ((err = hamt_next(&s, &it, &slot)) == 1)
            ;
    }
    buf_done(&block);
    return err;
}

/* murmur3: "a" 85…, "hello" cb…, "470.txt" 00 6e … */
Test(hamt, refusals)
{
    static const struct recipe recipes[] = {
        {{"00470.txt"}, {1}, 1, 0x22, 256, {0, 0}, 0, "good"},
        {{"00470.txt"}, {0, 1}, 2, 0x22, 256, {0, 0}, 0, "bitfield not trimmed"},
        {{"006E", "01"}, {3}, 1, 0x22, 256, {0, 0}, ERR_INVALID, "a name in the wrong bucket"},
        {{"6E470.txt"}, {0x40, [13] = 0}, 14, 0x22, 256, {8, 0}, 0, "below the root"},
        {{"6E470.txt"}, {0x40, [13] = 0}, 14, 0x22, 256, {8, UINT64_C(1) << 56}, ERR_INVALID, "below another bucket"},
        {{"01470.txt"}, {2}, 1, 0x22, 256, {0, 0}, ERR_INVALID, "hash leads elsewhere"},
        {{"00470.txt"}, {2}, 1, 0x22, 256, {0, 0}, ERR_INVALID, "bitfield says another bucket"},
        {{"00470.txt"}, {0}, 0, 0x22, 256, {0, 0}, ERR_INVALID, "no bitfield"},
        {{"00470.txt"}, {[32] = 1}, 33, 0x22, 256, {0, 0}, ERR_INVALID, "bitfield too long"},
        {{"00470.txt"}, {1}, 1, 0x12, 256, {0, 0}, ERR_UNSUPPORTED, "another hash"},
        {{"00470.txt"}, {1}, 1, 0x22, 255, {0, 0}, ERR_INVALID, "fanout 255"},
        {{"00470.txt"}, {1}, 1, 0x22, 0, {0, 0}, ERR_INVALID, "no fanout"},
        {{"0470.txt"}, {1}, 1, 0x22, 4, {0, 0}, ERR_INVALID, "fanout 4"},
        {{"000470.txt"}, {1}, 1, 0x22, 2048, {0, 0}, ERR_INVALID, "fanout 2048"},
        {{"00470.txt"}, {1}, 1, 0x22, UINT64_C(1) << 40, {0, 0}, ERR_INVALID, "huge fanout"},
        {{"0"}, {1}, 1, 0x22, 256, {0, 0}, ERR_INVALID, "name too short"},
        {{""}, {1}, 1, 0x22, 256, {0, 0}, ERR_INVALID, "no name"},
        {{"8a"}, {0x04, [17] = 0}, 18, 0x22, 256, {0, 0}, ERR_INVALID, "lower-case bucket"},
        {{"01", "00"}, {3}, 1, 0x22, 256, {0, 0}, ERR_INVALID, "not in order"},
        {{"00", "00470.txt"}, {1}, 1, 0x22, 256, {0, 0}, ERR_INVALID, "one bucket twice"},
        {{NULL}, {0}, 0, 0x22, 256, {0, 0}, 0, "an empty root"},
        {{NULL}, {0}, 0, 0x22, 256, {8, 0}, ERR_INVALID, "an empty shard below the root"},
        {{"00"}, {1}, 1, 0x22, 256, {64, 0}, ERR_INVALID, "too deep"},
        {{"00"}, {1}, 1, 0x22, 256, {60, 0}, ERR_INVALID, "bits left over"},
        {{"8"}, {0}, 1, 0x22, 8, {0, 0}, ERR_INVALID, "bucket beyond the fanout"},
        {{"8a"}, {1, 0}, 2, 0x22, 16, {0, 0}, 0, "fanout 16"},
    };
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
        cr_assert_eq(recipe_run(&recipes[i]), recipes[i].expect, "%s: %s", recipes[i].what, err_name(recipe_run(&recipes[i])));
}

static int count_entry(void *arg, const struct unixfs_entry *e, uint64_t next)
{
    (void)e, (void)next;
    ++*(unsigned *)arg;
    return 0;
}

/* 2^k directories of nothing: each level's 256 slots hold the same shard. Must end at once, without a visit to each. */
Test(hamt, repeated_shards_are_no_bomb)
{
    struct mem_blocks *m = mem_blocks_new();
    struct cid cid = dirs_raw("never looked at");
    for (unsigned level = 0; level < 8; level++) {
        struct hamt_writer w = {0};
        struct buf block = BUF_INIT;
        for (unsigned bucket = 0; bucket < 256; bucket++)
            hamt_writer_add(&w, bucket, level ? SPAN_NONE : span_str("entry"), &cid, 1);
        hamt_writer_block(&w, NULL, &block);
        mem_add_bytes(m, CODEC_DAG_PB, buf_span(&block), &cid);
        buf_done(&block);
        hamt_writer_done(&w);
    }
    uint64_t cursor = 0;
    unsigned count = 0;
    cr_assert_eq(unixfs_dir_list(&m->source, &cid, &cursor, count_entry, &count), ERR_INVALID);
    cr_assert_leq(count, 1);
    struct unixfs_entry e;
    cr_assert_eq(unixfs_dir_lookup(&m->source, &cid, span_str("entry"), &e), 0); /* it is in its place, too */
    cr_assert_eq(unixfs_dir_lookup(&m->source, &cid, span_str("other"), &e), ERR_NOT_FOUND);
    mem_blocks_free(m);
}

/* Nine levels, which no hash of 64 bits leads through. */
Test(hamt, too_deep)
{
    struct mem_blocks *m = mem_blocks_new();
    struct cid cid = dirs_raw("x");
    uint64_t hash = murmur3_x64_64(span_str("entry"));
    for (unsigned level = 9; level-- > 0;) {
        struct hamt_writer w = {0};
        struct buf block = BUF_INIT;
        unsigned bucket = level < 8 ? (unsigned)(hash >> (56 - 8 * level)) & 255 : 0;
        hamt_writer_add(&w, bucket, level == 8 ? span_str("entry") : SPAN_NONE, &cid, 1);
        hamt_writer_block(&w, NULL, &block);
        mem_add_bytes(m, CODEC_DAG_PB, buf_span(&block), &cid);
        buf_done(&block);
        hamt_writer_done(&w);
    }
    uint64_t cursor = 0;
    unsigned count = 0;
    struct unixfs_entry e;
    cr_assert_eq(unixfs_dir_list(&m->source, &cid, &cursor, count_entry, &count), ERR_INVALID);
    cr_assert_eq(unixfs_dir_lookup(&m->source, &cid, span_str("entry"), &e), ERR_INVALID);
    mem_blocks_free(m);
}

/* specs.ipfs.tech/unixfs: the root of single-layer-hamt-with-multi-block-files.car has 470.txt in bucket 00 */
Test(hamt, stream_places_by_neighbours)
{
    struct hamt_stream *s = hamt_stream_new(NULL, NULL);
    struct cid cid = dirs_raw("x"), a, b;
    uint64_t ta, tb;
    struct hamt_item one = {.hash = UINT64_C(0x1122000000000000), .name = span_str("1"), .cid = cid, .tsize = 1};
    struct hamt_item two = {.hash = UINT64_C(0x1133000000000000), .name = span_str("2"), .cid = cid, .tsize = 1};
    cr_assert_eq(hamt_stream_add(s, &one), 0);
    cr_assert_eq(hamt_stream_add(s, &two), 0);
    cr_assert_eq(hamt_stream_finish(s, &a, &ta), 0);
    hamt_stream_free(s);

    struct hamt_writer inner = {0}, outer = {0}; /* by hand */
    struct buf block = BUF_INIT;
    hamt_writer_add(&inner, 0x22, span_str("1"), &cid, 1);
    hamt_writer_add(&inner, 0x33, span_str("2"), &cid, 1);
    hamt_writer_block(&inner, NULL, &block);
    cid_of(&b, CODEC_DAG_PB, buf_span(&block));
    tb = buf_len(&block) + 2;
    buf_clear(&block);
    hamt_writer_add(&outer, 0x11, SPAN_NONE, &b, tb);
    hamt_writer_block(&outer, NULL, &block);
    cid_of(&b, CODEC_DAG_PB, buf_span(&block));
    tb += buf_len(&block);
    cr_assert(cid_eq(&a, &b));
    cr_assert_eq(ta, tb);
    buf_done(&block);
    hamt_writer_done(&inner);
    hamt_writer_done(&outer);
    hamt_stream_free(NULL);
}
