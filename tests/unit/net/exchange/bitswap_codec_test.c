/* SPDX-License-Identifier: MIT */
#include "net/exchange/bitswap_codec.h"

#include "net/wire/bitswap.pb-c.h"
#include "net/wire/wire.h"
#include "store/base/uvarint.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* What a reader saw, as text: one item a line. */
static int read_all(struct span in, size_t step, struct buf *text)
{
    struct bitswap_reader r;
    bitswap_reader_init(&r);
    int err = 0;
    for (size_t at = 0; at < in.len && err >= 0; at += step) {
        struct span part = span_sub(in, at, step);
        struct bitswap_item it;
        char cid[CID_TEXT_SIZE];
        while ((err = bitswap_read(&r, &part, &it)) == 1) {
            switch (it.type) {
            case BITSWAP_WANT:
                buf_printf(text, "want %s prio %d type %d cancel %d dont %d\n", cid_text(&it.cid, cid), it.priority, it.want,
                           it.cancel, it.send_dont_have);
                break;
            case BITSWAP_PRESENCE:
                buf_printf(text, "presence %s %d\n", cid_text(&it.cid, cid), it.have);
                break;
            case BITSWAP_BEGIN:
                bitswap_accept(&r, it.size == 3 ? NULL : block_new(NULL, BUDGET_NET, it.size));
                break;
            case BITSWAP_BLOCK:
                buf_printf(text, "block v%u %x %x %u size %u", it.prefix.version, it.prefix.codec, it.prefix.hash,
                           it.prefix.digest_len, it.size);
                if (it.block)
                    buf_printf(text, " '%.*s'", (int)it.block->len, (const char *)it.block->data);
                buf_add_str(text, "\n");
                (void)block_unref(it.block);
                break;
            case BITSWAP_END:
                buf_printf(text, "end full %d\n", it.full);
                break;
            }
        }
        cr_assert(err < 0 || part.len == 0, "the reader takes everything");
    }
    bool partial = bitswap_partial(&r);
    bitswap_reader_done(&r);
    return err < 0 ? err : partial ? ERR_TRUNCATED : 0;
}

static void expect(struct span in, const char *expected)
{
    for (size_t step = 1; step <= in.len + 1; step += step < 8 ? 1 : in.len) {
        struct buf text = BUF_INIT;
        cr_assert_eq(read_all(in, step, &text), 0, "in steps of %zu", step);
        cr_assert_str_eq(buf_cstr(&text), expected, "in steps of %zu", step);
        buf_done(&text);
    }
}

static void hello(struct cid *v0, struct cid *v1)
{
    cid_of(v1, CODEC_RAW, span_str("hello"));
    cr_assert_eq(cid_from_hash(v0, 0, CODEC_DAG_PB, cid_hash(v1)), 0);
}

static void sample(struct buf *stream)
{
    struct cid v0, v1;
    hello(&v0, &v1);
    struct buf list = BUF_INIT, body = BUF_INIT;
    bitswap_add_entry(&list, &(struct bitswap_entry){&v0, 1, BITSWAP_WANT_BLOCK, false, true});
    bitswap_add_entry(&list, &(struct bitswap_entry){&v1, INT32_MAX, BITSWAP_WANT_HAVE, false, false});
    bitswap_add_entry(&list, &(struct bitswap_entry){&v1, 0, BITSWAP_WANT_BLOCK, true, false});
    bitswap_add_wantlist(&body, buf_span(&list), true);
    bitswap_add_block_head(&body, &v1, 5);
    buf_add_str(&body, "hello");
    bitswap_add_block_head(&body, &v0, 3);
    buf_add_str(&body, "xyz");
    bitswap_add_block_head(&body, &v0, 0);
    bitswap_add_presence(&body, &v0, true);
    bitswap_add_presence(&body, &v1, false);
    bitswap_add_message(stream, buf_span(&body));
    bitswap_add_message(stream, SPAN_NONE);
    buf_done(&list);
    buf_done(&body);
}

#define V0 "QmRN6wdp1S2A5EtjW9A3M1vKSBuQQGcgvuhoMUoEz4iiT5"
#define V1 "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"

Test(bitswap_codec, round_trip_in_any_steps)
{
    struct buf stream = BUF_INIT;
    sample(&stream);
    expect(buf_span(&stream), "want " V0 " prio 1 type 0 cancel 0 dont 1\n"
                              "want " V1 " prio 2147483647 type 1 cancel 0 dont 0\n"
                              "want " V1 " prio 0 type 0 cancel 1 dont 0\n"
                              "block v1 55 12 32 size 5 'hello'\n"
                              "block v0 70 12 32 size 3\n"
                              "block v0 70 12 32 size 0 ''\n"
                              "presence " V0 " 1\n"
                              "presence " V1 " 0\n"
                              "end full 1\n"
                              "end full 0\n");
    buf_done(&stream);
}

Test(bitswap_codec, every_truncation_is_noticed)
{
    struct buf stream = BUF_INIT;
    sample(&stream);
    struct span all = buf_span(&stream);
    for (size_t n = 1; n + 1 < all.len; n++) {
        struct buf text = BUF_INIT;
        cr_assert_eq(read_all(span_sub(all, 0, n), 7, &text), n + 1 == all.len ? 0 : ERR_TRUNCATED, "%zu bytes", n);
        buf_done(&text);
    }
    buf_done(&stream);
}

/* What protobuf-c writes, another writer than ours: absent fields, data before prefix is impossible there */
Test(bitswap_codec, reads_what_protobuf_writes)
{
    struct cid v0, v1;
    hello(&v0, &v1);
    Wire__BitswapEntry e = WIRE__BITSWAP_ENTRY__INIT, *entries[] = {&e};
    e.has_block = true;
    e.block = wire_bytes(cid_span(&v1));
    e.has_priority = true;
    e.priority = 7;
    e.has_want_type = true;
    e.want_type = WIRE__WANT_TYPE__WANT_HAVE;
    e.has_cancel = true; /* present and false, as proto2 writers may */
    Wire__BitswapWantlist list = WIRE__BITSWAP_WANTLIST__INIT;
    list.n_entries = 1;
    list.entries = entries;
    list.has_full = true;
    list.full = true;
    Wire__BitswapBlock b = WIRE__BITSWAP_BLOCK__INIT, empty = WIRE__BITSWAP_BLOCK__INIT, *blocks[] = {&b, &empty};
    b.has_prefix = empty.has_prefix = true;
    b.prefix = empty.prefix = wire_bytes(span_of("\x01\x55\x12\x20", 4));
    b.has_data = true;
    b.data = wire_bytes(span_str("hello"));
    ProtobufCBinaryData old = wire_bytes(span_str("old one"));
    Wire__BitswapMessage m = WIRE__BITSWAP_MESSAGE__INIT;
    m.wantlist = &list;
    m.n_blocks = 1;
    m.blocks = &old;
    m.n_payload = 2;
    m.payload = blocks;
    m.has_pending_bytes = true;
    m.pending_bytes = -1;
    struct buf stream = BUF_INIT;
    wire_pack_framed(&m, &stream);
    expect(buf_span(&stream), "want " V1 " prio 7 type 1 cancel 0 dont 0\n"
                              "block v0 70 12 32 size 7 'old one'\n"
                              "block v1 55 12 32 size 5 'hello'\n"
                              "block v1 55 12 32 size 0 ''\n"
                              "end full 1\n");
    buf_done(&stream);
}

/* And protobuf-c reads what we write. */
Test(bitswap_codec, protobuf_reads_what_we_write)
{
    struct buf stream = BUF_INIT;
    sample(&stream);
    struct span all = buf_span(&stream);
    uint64_t len;
    int used = uvarint_read(all, &len);
    void *message;
    cr_assert_eq(wire_unpack(&wire__bitswap_message__descriptor, span_sub(all, (size_t)used, len), 65536, &message), 0);
    const Wire__BitswapMessage *m = message;
    cr_assert(m->wantlist->n_entries == 3 && m->wantlist->full);
    cr_assert(m->wantlist->entries[0]->send_dont_have && !m->wantlist->entries[0]->cancel);
    cr_assert(m->wantlist->entries[1]->want_type == WIRE__WANT_TYPE__WANT_HAVE);
    cr_assert(m->wantlist->entries[2]->cancel);
    cr_assert_eq(m->n_payload, 3);
    cr_assert(span_eq(wire_span(m->payload[1]->prefix), span_of("\x00\x70\x12\x20", 4)), "CIDv0 prefix");
    cr_assert(span_eq_str(wire_span(m->payload[0]->data), "hello"));
    cr_assert_eq(m->n_block_presences, 2);
    cr_assert_eq(m->block_presences[1]->type, WIRE__PRESENCE_TYPE__PRESENCE_DONT_HAVE);
    struct cid v0, v1;
    hello(&v0, &v1);
    struct buf body = BUF_INIT;
    bitswap_add_block_head(&body, &v1, 70000);
    cr_assert_eq(bitswap_block_size(&v1, 70000), buf_len(&body) + 70000);
    buf_done(&body);
    wire_free(message);
    buf_done(&stream);
}

Test(bitswap_codec, malformed)
{
    static const struct {
        const char *bytes;
        size_t len;
        int err;
        const char *what;
    } cases[] = {
#define CASE(bytes, err, what) {bytes, sizeof bytes - 1, err, what}
        CASE("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", ERR_PROTOCOL, "length of 11 bytes"),
        CASE("\x81\x80\x80\x02", ERR_TOO_BIG, "4 MiB + 1"),
        CASE("\x02\x0a\x05", ERR_PROTOCOL, "wantlist longer than the message"),
        CASE("\x01\x0a", ERR_TRUNCATED, "message ends in a field"),
        CASE("\x01\x0a\x01\x00", ERR_PROTOCOL, "the length is beyond the message"),
        CASE("\x02\x00\x00", ERR_PROTOCOL, "field 0"),
        CASE("\x02\x0b\x00", ERR_PROTOCOL, "group"),
        CASE("\x04\x0a\x02\x0a\x05", ERR_PROTOCOL, "entry longer than the wantlist"),
        CASE("\x06\x0a\x04\x0a\x02\x0a\x07", ERR_PROTOCOL, "CID longer than the entry"),
        CASE("\x07\x1a\x05\x0a\x03\x01\x55\x12", ERR_PROTOCOL, "prefix of three numbers"),
        CASE("\x08\x1a\x06\x0a\x04\x02\x55\x12\x20", ERR_PROTOCOL, "CID version 2"),
        CASE("\x08\x1a\x06\x12\x01\x61\x12\x01\x62", ERR_PROTOCOL, "data twice"),
        CASE("\x05\x22\x03\x0a\x01\x00", 0, "a presence with a CID we cannot read"),
        CASE("\x09\x0a\x07\x0a\x05\x0a\x01\x00\x10\x01", 0, "an entry with a CID we cannot read"),
        CASE("\x86\x80\x80\x01\x12\x81\x80\x80\x01", ERR_TOO_BIG, "a block of 2 MiB + 1"),
        CASE("\x0b\x79\x00\x00\x00\x00\x00\x00\x00\x00\x28\x05", 0, "unknown fixed64, pendingBytes"),
        CASE("\x05\x7d\x00\x00\x00\x00", 0, "unknown fixed32"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 12; step += 10) {
            struct buf text = BUF_INIT;
            int err = read_all(span_of(cases[i].bytes, cases[i].len), step, &text);
            cr_assert_eq(err, cases[i].err, "%s: %s", cases[i].what, err ? err_name(err) : "accepted");
            buf_done(&text);
        }
}

Test(bitswap_codec, oversize_entries_are_passed_over)
{
    struct buf list = BUF_INIT, body = BUF_INIT, stream = BUF_INIT;
    uint8_t big[BITSWAP_SMALL_MAX + 1] = {0};
    buf_add_u8(&list, 1 << 3 | 2);
    buf_add_uvarint(&list, sizeof big);
    buf_add(&list, big, sizeof big);
    bitswap_add_wantlist(&body, buf_span(&list), false);
    bitswap_add_message(&stream, buf_span(&body));
    expect(buf_span(&stream), "end full 0\n");
    buf_done(&list);
    buf_done(&body);
    buf_done(&stream);
}

/* A block that finds no room is offered again, and nothing is lost meanwhile. */
Test(bitswap_codec, back_pressure)
{
    struct buf stream = BUF_INIT;
    sample(&stream);
    struct span in = buf_span(&stream);
    struct bitswap_reader r;
    bitswap_reader_init(&r);
    struct bitswap_item it;
    do
        cr_assert_eq(bitswap_read(&r, &in, &it), 1);
    while (it.type != BITSWAP_BEGIN);
    size_t left = in.len;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(bitswap_read(&r, &in, &it), 1);
        cr_assert(it.type == BITSWAP_BEGIN && it.size == 5 && in.len == left);
    }
    bitswap_accept(&r, block_new(NULL, BUDGET_NET, 5));
    cr_assert_eq(bitswap_read(&r, &in, &it), 1);
    cr_assert(it.type == BITSWAP_BLOCK && span_eq_str(block_span(it.block), "hello"));
    (void)block_unref(it.block);
    bitswap_reader_done(&r);
    buf_done(&stream);
}
