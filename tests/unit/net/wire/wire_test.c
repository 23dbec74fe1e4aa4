/* SPDX-License-Identifier: MIT */
#include "net/wire/wire.h"

#include "net/wire/bitswap.pb-c.h"
#include "net/wire/identify.pb-c.h"
#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>

static void identify_sample(struct buf *out, bool framed)
{
    Wire__Identify id = WIRE__IDENTIFY__INIT;
    char agent[] = "p2p/1", one[] = "/ipfs/id/1.0.0", two[] = "/ipfs/ping/1.0.0";
    char *protocols[] = {one, two};
    ProtobufCBinaryData addr = wire_bytes(span_str("addr"));
    id.agent_version = agent;
    id.n_protocols = 2;
    id.protocols = protocols;
    id.n_listen_addrs = 1;
    id.listen_addrs = &addr;
    if (framed)
        wire_pack_framed(&id, out);
    else
        wire_pack(&id, out);
}

Test(wire, round_trip)
{
    struct buf b = BUF_INIT, framed = BUF_INIT;
    identify_sample(&b, false);
    identify_sample(&framed, true);
    cr_assert_eq(buf_len(&framed), buf_len(&b) + 1);
    cr_assert_eq(buf_span(&framed).data[0], buf_len(&b));
    void *m;
    cr_assert_eq(wire_unpack(&wire__identify__descriptor, buf_span(&b), 8192, &m), 0);
    const Wire__Identify *id = m;
    cr_assert_str_eq(id->agent_version, "p2p/1");
    cr_assert_eq(id->n_protocols, 2);
    cr_assert_str_eq(id->protocols[1], "/ipfs/ping/1.0.0");
    cr_assert(span_eq_str(wire_span(id->listen_addrs[0]), "addr"));
    cr_assert(!id->has_public_key);
    wire_free(m);
    wire_free(NULL);
    cr_assert_eq(wire_unpack(&wire__identify__descriptor, buf_span(&b), buf_len(&b) - 1, &m), ERR_TOO_BIG);
    for (size_t n = 0; n < buf_len(&b); n++) {
        uint8_t *mem;
        struct span cut = exact(span_sub(buf_span(&b), 0, n), &mem);
        if (wire_unpack(&wire__identify__descriptor, cut, 8192, &m) == 0)
            wire_free(m); /* cut between two fields */
        free(mem);
    }
    cr_assert_eq(wire_unpack(&wire__identify__descriptor, SPAN_NONE, 8192, &m), 0, "all is optional");
    wire_free(m);
    buf_done(&b);
    buf_done(&framed);
}

/* 2 bytes on the wire make a structure of 70. */
Test(wire, amplification_is_bounded)
{
    struct buf b = BUF_INIT;
    for (int i = 0; i < 100000; i++)
        hex_add(&b, "1a00");
    void *m;
    cr_assert_eq(wire_unpack(&wire__bitswap_message__descriptor, buf_span(&b), 1 << 20, &m), ERR_TOO_BIG);
    buf_done(&b);
    /* honest wants are far from the bound */
    uint8_t cid[36] = {1, 0x55, 0x12, 0x20};
    Wire__BitswapEntry entry = WIRE__BITSWAP_ENTRY__INIT;
    Wire__BitswapEntry *entries[1000];
    Wire__BitswapWantlist list = WIRE__BITSWAP_WANTLIST__INIT;
    Wire__BitswapMessage message = WIRE__BITSWAP_MESSAGE__INIT;
    entry.has_block = true;
    entry.block = wire_bytes(span_of(cid, sizeof cid));
    for (int i = 0; i < 1000; i++)
        entries[i] = &entry;
    list.n_entries = 1000;
    list.entries = entries;
    message.wantlist = &list;
    wire_pack(&message, &b);
    cr_assert_eq(wire_unpack(&wire__bitswap_message__descriptor, buf_span(&b), 1 << 20, &m), 0);
    wire_free(m);
    buf_done(&b);
}
