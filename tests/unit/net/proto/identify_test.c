/* SPDX-License-Identifier: MIT */
#include "net/proto/identify.h"

#include "net/wire/identify.pb-c.h"
#include "net/wire/wire.h"
#include "store/base/uvarint.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct identify sample(void)
{
    static const uint8_t key[36] = {8, 1, 18, 32}, addr[8] = {4, 127, 0, 0, 1, 6, 0x0f, 0xa1}, record[150] = {1};
    struct identify id = {.public_key = span_of(key, sizeof key),
                          .agent = span_str("p2pfs/0.1.0"),
                          .version = span_str(IDENTIFY_VERSION),
                          .observed = span_of(addr, sizeof addr),
                          .signed_record = span_of(record, sizeof record),
                          .addr_count = 2,
                          .protocol_count = 3};
    id.addrs[0] = id.addrs[1] = span_of(addr, sizeof addr);
    id.protocols[0] = span_str(IDENTIFY_PROTOCOL);
    id.protocols[1] = span_str("/ipfs/bitswap/1.2.0");
    id.protocols[2] = span_str("/ipfs/ping/1.0.0");
    return id;
}

static void same(const struct identify *a, const struct identify *b)
{
    cr_assert(span_eq(a->public_key, b->public_key) && span_eq(a->agent, b->agent) && span_eq(a->version, b->version));
    cr_assert(span_eq(a->observed, b->observed) && span_eq(a->signed_record, b->signed_record));
    cr_assert(a->addr_count == b->addr_count && a->protocol_count == b->protocol_count);
    for (unsigned i = 0; i < a->addr_count; i++)
        cr_assert(span_eq(a->addrs[i], b->addrs[i]));
    for (unsigned i = 0; i < a->protocol_count; i++)
        cr_assert(span_eq(a->protocols[i], b->protocols[i]));
}

Test(identify, round_trip_in_any_steps_and_truncations)
{
    struct identify own = sample(), *got = mem_new(sizeof *got);
    struct buf out = BUF_INIT;
    cr_assert_eq(identify_build(&own, &out), 0);
    cr_assert_lt(buf_len(&out), IDENTIFY_OUTPUT_FIRST);
    for (size_t step = 1; step <= buf_len(&out); step += 37) {
        struct identify_reader r;
        identify_reader_init(&r);
        for (size_t at = 0; at < buf_len(&out); at += step)
            cr_assert_eq(identify_input(&r, span_sub(buf_span(&out), at, step)), 0);
        cr_assert_eq(identify_finish(&r, got), 0);
        same(&own, got);
        identify_reader_done(&r);
    }
    for (size_t n = 0; n < buf_len(&out); n++) {
        struct identify_reader r;
        identify_reader_init(&r);
        cr_assert_eq(identify_input(&r, span_sub(buf_span(&out), 0, n)), 0);
        cr_assert_eq(identify_finish(&r, got), ERR_TRUNCATED, "%zu bytes", n);
        identify_reader_done(&r);
    }
    cr_assert(identify_speaks(&own, "/ipfs/bitswap/1.2.0") && !identify_speaks(&own, "/ipfs/bitswap"));
    buf_done(&out);
    free(got);
}

Test(identify, protobuf_agrees)
{
    struct identify own = sample();
    struct buf out = BUF_INIT;
    cr_assert_eq(identify_build(&own, &out), 0);
    uint64_t len;
    int used = uvarint_read(buf_span(&out), &len);
    cr_assert_eq((size_t)used + len, buf_len(&out), "one message when it fits");
    void *message;
    cr_assert_eq(wire_unpack(&wire__identify__descriptor, span_from(buf_span(&out), (size_t)used), 8192, &message), 0);
    const Wire__Identify *m = message;
    cr_assert(m->n_listen_addrs == 2 && m->n_protocols == 3);
    cr_assert_str_eq(m->agent_version, "p2pfs/0.1.0");
    cr_assert_str_eq(m->protocol_version, IDENTIFY_VERSION);
    cr_assert(span_eq(wire_span(m->public_key), own.public_key) && span_eq(wire_span(m->observed_addr), own.observed));
    cr_assert(span_eq(wire_span(m->signed_peer_record), own.signed_record));
    struct buf again = BUF_INIT;
    wire_pack_framed(m, &again);
    struct identify_reader r;
    identify_reader_init(&r);
    struct identify *got = mem_new(sizeof *got);
    cr_assert_eq(identify_input(&r, buf_span(&again)), 0);
    cr_assert_eq(identify_finish(&r, got), 0);
    same(&own, got);
    identify_reader_done(&r);
    wire_free(message);
    buf_done(&again);
    buf_done(&out);
    free(got);
}

Test(identify, much_is_split_and_bounded)
{
    struct identify own = sample(), *got = mem_new(sizeof *got);
    static uint8_t addrs[IDENTIFY_ADDRS_MAX][60], record[1500];
    own.addr_count = IDENTIFY_ADDRS_MAX;
    for (unsigned i = 0; i < IDENTIFY_ADDRS_MAX; i++) {
        addrs[i][0] = (uint8_t)i;
        own.addrs[i] = span_of(addrs[i], sizeof addrs[i]);
    }
    own.signed_record = span_of(record, sizeof record);
    struct buf out = BUF_INIT;
    cr_assert_eq(identify_build(&own, &out), 0);
    cr_assert_leq(buf_len(&out), IDENTIFY_OUTPUT_MAX);
    uint64_t first;
    int used = uvarint_read(buf_span(&out), &first);
    cr_assert_leq((size_t)used + first, IDENTIFY_OUTPUT_FIRST);
    struct identify_reader r;
    identify_reader_init(&r);
    cr_assert_eq(identify_input(&r, buf_span(&out)), 0);
    cr_assert_eq(r.messages, 2);
    cr_assert_eq(identify_finish(&r, got), 0);
    cr_assert(span_eq(got->signed_record, own.signed_record) && got->protocol_count == 3);
    cr_assert(got->addr_count > 30 && got->addr_count < IDENTIFY_ADDRS_MAX);
    identify_reader_done(&r);
    own.protocol_count = IDENTIFY_PROTOCOLS_MAX;
    for (unsigned i = 0; i < IDENTIFY_PROTOCOLS_MAX; i++)
        own.protocols[i] = span_str("/a/long/protocol/1.0.0");
    size_t before = buf_len(&out);
    cr_assert_eq(identify_build(&own, &out), ERR_TOO_BIG);
    cr_assert_eq(buf_len(&out), before);
    buf_done(&out);
    free(got);
}

static int feed(struct span in, struct identify *got)
{
    struct identify_reader r;
    identify_reader_init(&r);
    int err = identify_input(&r, in);
    if (err == 0)
        err = identify_finish(&r, got);
    identify_reader_done(&r);
    return err;
}

Test(identify, liars)
{
    struct identify *got = mem_new(sizeof *got);
    cr_assert_eq(feed(span_of("\x81\x40", 2), got), ERR_TOO_BIG, "8193 bytes announced");
    cr_assert_eq(feed(span_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), got), ERR_PROTOCOL);
    cr_assert_eq(feed(span_of("\x02\x12\x05", 3), got), ERR_PROTOCOL, "address beyond the message");
    cr_assert_eq(feed(span_of("\x01\x00", 2), got), ERR_PROTOCOL, "field 0");
    cr_assert_eq(feed(span_of("\x02\x0b\x0c", 3), got), ERR_PROTOCOL, "group");
    cr_assert_eq(feed(span_of("\x02\x38\x05", 3), got), 0, "unknown number");
    cr_assert_eq(feed(span_of("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 10), got), 0, "ten empty messages");
    cr_assert_eq(feed(span_of("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 11), got), ERR_TOO_BIG, "eleven");
    cr_assert_eq(feed(SPAN_NONE, got), ERR_TRUNCATED);
    struct buf flood = BUF_INIT, body = BUF_INIT;
    for (unsigned i = 0; i < 1000; i++)
        buf_add(&body, "\x12\x01\x04\x1a\x01/", 6);
    buf_add_uvarint(&flood, buf_len(&body));
    buf_add_span(&flood, buf_span(&body));
    cr_assert_eq(feed(buf_span(&flood), got), 0);
    cr_assert(got->addr_count == IDENTIFY_ADDRS_MAX && got->protocol_count == IDENTIFY_PROTOCOLS_MAX);
    for (int i = 0; i < 5; i++) {
        buf_add_uvarint(&flood, buf_len(&body));
        buf_add_span(&flood, buf_span(&body));
    }
    cr_assert_eq(feed(buf_span(&flood), got), ERR_TOO_BIG);
    buf_done(&flood);
    buf_done(&body);
    free(got);
}
