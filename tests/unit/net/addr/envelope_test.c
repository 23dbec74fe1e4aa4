/* SPDX-License-Identifier: MIT */
#include "net/addr/envelope.h"

#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>

/* A peer record sealed by js-libp2p, with the Ed25519 key of specs/peer-ids. */
static const char js_envelope[] =
    "0a24080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e120203011a560a2600240801"
    "12201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e10cb89ec8ff7231a0a0a08047f000001"
    "060fa11a190a17290000000000000000000000000000000191020fa1cd032a4070dd2b4e23d810fa1538e8e1dd83be8b4cfe"
    "3d61f53bf18c594de332ce08c413a31f9140518d0fc183e6deb69cf358fdd462ad8ded46d9b3f7ab5c22d3c0d506";
static const char js_seed[] = "7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d";

static void js_identity(struct identity *ret)
{
    struct buf b = BUF_INIT;
    hex_add(&b, js_seed);
    identity_from_seed(ret, buf_span(&b).data);
    buf_done(&b);
}

Test(envelope, record_of_js)
{
    struct buf b = BUF_INIT;
    struct peer_record r;
    char text[MULTIADDR_TEXT];
    hex_add(&b, js_envelope);
    cr_assert_eq(peer_record_open(buf_span(&b), &r), 0);
    cr_assert_eq(r.seq, 1234567890123);
    cr_assert_eq(r.count, 2);
    cr_assert_str_eq(multiaddr_text(&r.addrs[0], text), "/ip4/127.0.0.1/tcp/4001");
    cr_assert_str_eq(multiaddr_text(&r.addrs[1], text), "/ip6/::1/udp/4001/quic-v1");

    /* sealed by us, the same bytes: Ed25519 is deterministic */
    struct identity i;
    struct buf ours = BUF_INIT;
    js_identity(&i);
    cr_assert(peer_id_eq(&i.id, &r.peer));
    peer_record_seal(&i, &r, &ours);
    cr_assert(span_eq(buf_span(&ours), buf_span(&b)));
    peer_record_done(&r);
    buf_done(&ours);
    buf_done(&b);
}

Test(envelope, every_cut_and_every_flip_is_refused)
{
    struct buf b = BUF_INIT;
    struct peer_record r;
    hex_add(&b, js_envelope);
    struct span s = buf_span(&b);
    for (size_t n = 0; n < s.len; n++) {
        uint8_t *mem;
        struct span cut = exact(span_sub(s, 0, n), &mem);
        cr_assert_lt(peer_record_open(cut, &r), 0, "cut to %zu", n);
        free(mem);
    }
    for (size_t n = 0; n < s.len; n++)
        for (unsigned bit = 0; bit < 8; bit++) {
            b.base[b.start + n] ^= (uint8_t)(1 << bit);
            cr_assert_lt(peer_record_open(s, &r), 0, "bit %u of byte %zu", bit, n);
            b.base[b.start + n] ^= (uint8_t)(1 << bit);
        }
    buf_done(&b);
}

Test(envelope, domain_type_and_signer)
{
    struct identity a, b;
    struct rng rng;
    rng_init_seed(&rng, 1);
    identity_new(&a, &rng);
    identity_new(&b, &rng);
    struct buf out = BUF_INIT, payload = BUF_INIT;
    struct pubkey signer;
    struct peer_id id;
    envelope_seal(&a, ENVELOPE_RELAY, envelope_type_relay, span_str("hello"), &out);
    cr_assert_eq(envelope_open(buf_span(&out), ENVELOPE_PEER, envelope_type_relay, &signer, &payload), ERR_VERIFY);
    cr_assert_eq(envelope_open(buf_span(&out), ENVELOPE_RELAY, envelope_type_peer, &signer, &payload), ERR_INVALID);
    cr_assert_eq(buf_len(&payload), 0);
    cr_assert_eq(envelope_open(buf_span(&out), ENVELOPE_RELAY, envelope_type_relay, &signer, &payload), 0);
    cr_assert(span_eq_str(buf_span(&payload), "hello"));
    pubkey_id(&signer, &id);
    cr_assert(peer_id_eq(&id, &a.id));

    /* b signs a record of a */
    struct peer_record r = {.peer = a.id, .seq = 5};
    struct buf sealed = BUF_INIT, inner = BUF_INIT, forged = BUF_INIT;
    peer_record_seal(&a, &r, &sealed);
    cr_assert_eq(envelope_open(buf_span(&sealed), ENVELOPE_PEER, envelope_type_peer, &signer, &inner), 0);
    envelope_seal(&b, ENVELOPE_PEER, envelope_type_peer, buf_span(&inner), &forged);
    struct peer_record got;
    cr_assert_eq(peer_record_open(buf_span(&forged), &got), ERR_VERIFY);
    cr_assert_eq(peer_record_open(buf_span(&sealed), &got), 0);
    cr_assert_eq(got.count, 0);
    peer_record_done(&got);
    buf_done(&sealed);
    buf_done(&inner);
    buf_done(&forged);
    buf_done(&out);
    buf_done(&payload);
}

Test(envelope, addresses_we_do_not_know_are_left_out)
{
    struct identity a;
    struct rng rng;
    rng_init_seed(&rng, 1);
    identity_new(&a, &rng);
    struct buf payload = BUF_INIT, out = BUF_INIT;
    hex_add(&payload, "0a26");
    buf_add_span(&payload, peer_id_span(&a.id));
    hex_add(&payload, "1009"
                      "1a05"
                      "0a03cafe01"
                      "1a0a"
                      "0a08047f000001060fa1"
                      "1a00"
                      "1a02"
                      "0a00");
    envelope_seal(&a, ENVELOPE_PEER, envelope_type_peer, buf_span(&payload), &out);
    struct peer_record r;
    cr_assert_eq(peer_record_open(buf_span(&out), &r), 0);
    cr_assert_eq(r.seq, 9);
    cr_assert_eq(r.count, 1);
    peer_record_done(&r);
    buf_clear(&out);
    for (int i = 0; i < 200; i++)
        hex_add(&payload, "1a0a"
                          "0a08047f000001060fa1");
    envelope_seal(&a, ENVELOPE_PEER, envelope_type_peer, buf_span(&payload), &out);
    cr_assert_eq(peer_record_open(buf_span(&out), &r), 0);
    cr_assert_eq(r.count, PEER_RECORD_ADDRS_MAX);
    peer_record_done(&r);
    buf_clear(&out);
    while (buf_len(&payload) < ENVELOPE_MAX)
        buf_add_str(&payload, "1234567890");
    envelope_seal(&a, ENVELOPE_PEER, envelope_type_peer, buf_span(&payload), &out);
    cr_assert_eq(peer_record_open(buf_span(&out), &r), ERR_TOO_BIG);
    buf_done(&out);
    buf_done(&payload);
}
