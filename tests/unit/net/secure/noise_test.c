/* SPDX-License-Identifier: MIT */
#include "net/secure/noise.h"

#include "net/secure/noise_state.h"
#include "net/wire/noise.pb-c.h"
#include "net/wire/wire.h"
#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>
#include <sodium.h>

static const char *const yamux_only[] = {"/yamux/1.0.0"};

/* ---- the published vector: cacophony's Noise_XX_25519_ChaChaPoly_SHA256 ---- */

static const struct {
    const char *payload, *ciphertext;
} vector[] = {
    {"4c756477696720766f6e204d69736573",
     "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79444c756477696720766f6e204d69736573"},
    {"4d757272617920526f746862617264",
     "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f14480884381cbad1f276e038c48378ffce2b65285e08d6b68aaa3629a5a8639392"
     "490e5"
     "b9bd5269c2f1e4f488ed8831161f19b7815528f8982ffe09be9b5c412f8a0db50f8814c7194e83f23dbd8d162c9326ad"},
    {"462e20412e20486179656b",
     "c7195ffacac1307ff99046f219750fc47693e23c3cb08b89c2af808b444850a80ae475b9df0f169ae80a89be0865b57f"
     "58c9fea0d4ec82a286427402f113e4b6ae769a1d95941d49b25030"},
    {"4361726c204d656e676572", "96763ed773f8e47bb3712f0e29b3060ffc956ffc146cee53d5e1df"},
    {"4a65616e2d426170746973746520536179", "3e40f15f6f3a46ae446b253bf8b1d9ffb6ed9b174d272328ff91a7e2e5c79c07f5"},
    {"457567656e2042f6686d20766f6e2042617765726b",
     "eb3f3515110702e047a6c9da4478b6ead94873c11c0f2d710ddb3f09fce024b3a58502ae3f"},
};

static void key_of(const char *hex, uint8_t ret[NOISE_DH])
{
    struct buf b = BUF_INIT;
    hex_add(&b, hex);
    memcpy(ret, buf_span(&b).data, NOISE_DH);
    buf_done(&b);
}

static void vector_states(struct noise_state *i, struct noise_state *r)
{
    struct noise_keys keys;
    struct buf prologue = BUF_INIT;
    hex_add(&prologue, "4a6f686e2047616c74");
    key_of("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1", keys.static_secret);
    key_of("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a", keys.ephemeral_secret);
    noise_state_init(i, &keys, buf_span(&prologue));
    key_of("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893", keys.static_secret);
    key_of("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b", keys.ephemeral_secret);
    noise_state_init(r, &keys, buf_span(&prologue));
    buf_done(&prologue);
}

static void check_message(struct buf *message, struct buf *payload, unsigned n)
{
    cr_assert(hex_is(buf_span(message), vector[n].ciphertext), "message %u", n);
    cr_assert(hex_is(buf_span(payload), vector[n].payload), "payload %u", n);
    buf_clear(message);
    buf_clear(payload);
}

static void write_vector(struct noise_state *s, unsigned n, struct buf *out)
{
    struct buf payload = BUF_INIT;
    hex_add(&payload, vector[n].payload);
    noise_state_write_sealed(s, buf_span(&payload), out);
    buf_done(&payload);
}

Test(noise, published_vector)
{
    struct noise_state i, r;
    struct buf m = BUF_INIT, p = BUF_INIT;
    vector_states(&i, &r);
    noise_state_write_e(&i, &m);
    write_vector(&i, 0, &m);
    struct span in = buf_span(&m);
    cr_assert_eq(noise_state_read_e(&r, &in), 0);
    cr_assert_eq(noise_state_read_sealed(&r, in, &p), 0);
    check_message(&m, &p, 0);

    noise_state_write_e(&r, &m);
    cr_assert_eq(noise_state_mix_dh(&r, NOISE_EE), 0);
    noise_state_write_s(&r, &m);
    cr_assert_eq(noise_state_mix_dh(&r, NOISE_SE), 0);
    write_vector(&r, 1, &m);
    in = buf_span(&m);
    cr_assert_eq(noise_state_read_e(&i, &in), 0);
    cr_assert_eq(noise_state_mix_dh(&i, NOISE_EE), 0);
    cr_assert_eq(noise_state_read_s(&i, &in), 0);
    cr_assert_eq(noise_state_mix_dh(&i, NOISE_ES), 0);
    cr_assert_eq(noise_state_read_sealed(&i, in, &p), 0);
    check_message(&m, &p, 1);

    noise_state_write_s(&i, &m);
    cr_assert_eq(noise_state_mix_dh(&i, NOISE_SE), 0);
    write_vector(&i, 2, &m);
    in = buf_span(&m);
    cr_assert_eq(noise_state_read_s(&r, &in), 0);
    cr_assert_eq(noise_state_mix_dh(&r, NOISE_ES), 0);
    cr_assert_eq(noise_state_read_sealed(&r, in, &p), 0);
    check_message(&m, &p, 2);

    cr_assert(hex_is(span_of(i.h, NOISE_HASH), "c8e5f64e846193be2a834104c2a009868d6c9f3bd3c186299888b488b2f1f58e"));
    cr_assert_eq(memcmp(i.h, r.h, NOISE_HASH), 0);
    uint8_t i1[NOISE_KEY], i2[NOISE_KEY], r1[NOISE_KEY], r2[NOISE_KEY];
    noise_state_split(&i, i1, i2);
    noise_state_split(&r, r1, r2);
    cr_assert_eq(memcmp(i1, r1, NOISE_KEY), 0);
    cr_assert_eq(memcmp(i2, r2, NOISE_KEY), 0);
    /* transport: the responder speaks first, with k2 */
    for (unsigned n = 3; n < 6; n++) {
        uint8_t nonce[NOISE_NONCE] = {0, 0, 0, 0, (uint8_t)((n - 3) / 2)};
        uint8_t sealed[128];
        unsigned long long len;
        hex_add(&p, vector[n].payload);
        crypto_aead_chacha20poly1305_ietf_encrypt(sealed, &len, buf_span(&p).data, buf_len(&p), NULL, 0, NULL, nonce,
                                                  n % 2 ? i2 : i1);
        buf_add(&m, sealed, (size_t)len);
        check_message(&m, &p, n);
    }
    buf_done(&m);
    buf_done(&p);
}

/* ---- two machines ---- */

struct side {
    struct identity id;
    struct noise *n;
    struct buf in; /* what it has received */
    int r;
};

struct pair {
    struct rng rng;
    struct side i, r;
};

static void pair_keys(struct pair *p)
{
    memset(p, 0, sizeof *p);
    rng_init_seed(&p->rng, 42);
    identity_new(&p->i.id, &p->rng);
    identity_new(&p->r.id, &p->rng);
}

static void pair_start(struct pair *p, struct noise_config *ci, struct noise_config *cr)
{
    ci->initiator = true;
    ci->identity = &p->i.id;
    cr->identity = &p->r.id;
    ci->rng = cr->rng = &p->rng;
    p->i.n = noise_new(ci);
    p->r.n = noise_new(cr);
}

static void pair_done(struct pair *p)
{
    noise_free(p->i.n);
    noise_free(p->r.n);
    buf_done(&p->i.in);
    buf_done(&p->r.in);
}

/* Runs the handshake, bytes moved `step` at a time. */
static void pair_shake(struct pair *p, size_t step)
{
    struct buf to_r = BUF_INIT, to_i = BUF_INIT;
    p->i.r = noise_handshake(p->i.n, &p->i.in, &to_r);
    for (int round = 0; round < 2000 && (p->i.r == 0 || p->r.r == 0) && (buf_len(&to_r) || buf_len(&to_i)); round++) {
        struct span part = span_sub(buf_span(&to_r), 0, step);
        buf_add_span(&p->r.in, part);
        buf_consume(&to_r, part.len);
        if (p->r.r == 0)
            p->r.r = noise_handshake(p->r.n, &p->r.in, &to_i);
        part = span_sub(buf_span(&to_i), 0, step);
        buf_add_span(&p->i.in, part);
        buf_consume(&to_i, part.len);
        if (p->i.r == 0)
            p->i.r = noise_handshake(p->i.n, &p->i.in, &to_r);
    }
    buf_add_span(&p->r.in, buf_span(&to_r));
    buf_add_span(&p->i.in, buf_span(&to_i));
    buf_done(&to_r);
    buf_done(&to_i);
}

Test(noise, round_trip)
{
    static const size_t steps[] = {1, 7, 100, 1 << 20};
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        struct pair p;
        pair_keys(&p);
        struct noise_config ci = {.expected = p.r.id.id, .muxers = yamux_only, .muxer_count = 1};
        struct noise_config cr = {.muxers = yamux_only, .muxer_count = 1};
        pair_start(&p, &ci, &cr);
        pair_shake(&p, steps[k]);
        cr_assert_eq(p.i.r, 1);
        cr_assert_eq(p.r.r, 1);
        cr_assert(peer_id_eq(noise_peer(p.i.n), &p.r.id.id));
        cr_assert(peer_id_eq(noise_peer(p.r.n), &p.i.id.id));
        cr_assert_eq(noise_muxer(p.i.n), 0);
        cr_assert_eq(noise_muxer(p.r.n), 0);

        /* parts of any size, both ways */
        static const size_t sizes[] = {1, 12, 63, 64, 65, 1000, 65507, NOISE_PLAIN_MAX};
        uint8_t *data = mem_new(NOISE_PLAIN_MAX);
        rng_fill(&p.rng, data, NOISE_PLAIN_MAX);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (int back = 0; back < 2; back++) {
                size_t head = sizes[s] < 12 ? 0 : 12, rest = sizes[s] - head;
                struct span parts[] = {span_of(data, head), SPAN_NONE, span_of(data + head, rest / 3),
                                       span_of(data + head + rest / 3, rest - rest / 3)};
                struct side *to = back ? &p.i : &p.r;
                noise_encrypt(back ? p.r.n : p.i.n, parts, 4, &to->in);
                cr_assert_eq(buf_len(&to->in), sizes[s] + NOISE_OVERHEAD);
                struct span plain;
                cr_assert_eq(noise_decrypt(to->n, &to->in, &plain), 1);
                cr_assert(span_eq(plain, span_of(data, sizes[s])));
                cr_assert_eq(noise_decrypt(to->n, &to->in, &plain), 0);
            }
        free(data);
        pair_done(&p);
    }
}

Test(noise, sizes_on_the_wire)
{
    struct pair p;
    pair_keys(&p);
    struct noise_config ci = {.muxers = yamux_only, .muxer_count = 1}, cr = ci;
    pair_start(&p, &ci, &cr);
    struct buf out = BUF_INIT;
    cr_assert_eq(noise_handshake(p.i.n, &p.i.in, &p.r.in), 0);
    cr_assert_eq(buf_len(&p.r.in), 2 + 32);
    cr_assert_eq(noise_handshake(p.r.n, &p.r.in, &p.i.in), 0);
    cr_assert_eq(buf_len(&p.i.in), 2 + 216);
    cr_assert_eq(noise_handshake(p.i.n, &p.i.in, &out), 1);
    cr_assert_eq(buf_len(&out), 2 + 184);
    /* transport bytes right behind message 3 are left for the transport */
    struct span hello = span_str("hello"), plain;
    noise_encrypt(p.i.n, &hello, 1, &out);
    cr_assert_eq(noise_handshake(p.r.n, &out, &p.i.in), 1);
    cr_assert_eq(noise_decrypt(p.r.n, &out, &plain), 1);
    cr_assert(span_eq(plain, hello));
    buf_done(&out);
    pair_done(&p);
}

Test(noise, muxers)
{
    static const char *const a[] = {"/x", "/yamux/1.0.0", "/mplex/6.7.0"};
    static const char *const b[] = {"/mplex/6.7.0", "/yamux/1.0.0"};
    static const char *const c[] = {"/other"};
    static const struct {
        const char *const *mi;
        unsigned ni;
        const char *const *mr;
        unsigned nr;
        int ri, rr, ii, ir;
    } cases[] = {
        {a, 3, b, 2, 1, 1, 1, 1}, /* the initiator's order decides */
        {b, 2, a, 3, 1, 1, 0, 2},
        {a, 3, NULL, 0, 1, 1, ERR_NOT_FOUND, ERR_NOT_FOUND},
        {NULL, 0, b, 2, 1, 1, ERR_NOT_FOUND, ERR_NOT_FOUND},
        {NULL, 0, NULL, 0, 1, 1, ERR_NOT_FOUND, ERR_NOT_FOUND},
        {a, 3, c, 1, ERR_PROTOCOL, 0, 0, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct pair p;
        pair_keys(&p);
        struct noise_config ci = {.muxers = cases[k].mi, .muxer_count = cases[k].ni};
        struct noise_config cr = {.muxers = cases[k].mr, .muxer_count = cases[k].nr};
        pair_start(&p, &ci, &cr);
        pair_shake(&p, 1 << 20);
        cr_assert_eq(p.i.r, cases[k].ri, "case %zu", k);
        cr_assert_eq(p.r.r, cases[k].rr, "case %zu", k);
        if (p.i.r == 1) {
            cr_assert_eq(noise_muxer(p.i.n), cases[k].ii, "case %zu", k);
            cr_assert_eq(noise_muxer(p.r.n), cases[k].ir, "case %zu", k);
        }
        pair_done(&p);
    }
}

Test(noise, whom_we_talk_to)
{
    struct pair p;
    pair_keys(&p);
    struct noise_config ci = {.expected = p.i.id.id}, cr = {0}; /* expects somebody else */
    pair_start(&p, &ci, &cr);
    pair_shake(&p, 1 << 20);
    cr_assert_eq(p.i.r, ERR_DENIED);
    cr_assert_eq(p.r.r, 0);
    struct buf more = BUF_INIT;
    cr_assert_eq(noise_handshake(p.i.n, &p.i.in, &more), ERR_PROTOCOL, "only fails from now on");
    cr_assert_eq(buf_len(&more), 0);
    pair_done(&p);
    /* ourselves */
    pair_keys(&p);
    p.r.id = p.i.id;
    struct noise_config any = {0};
    cr = any;
    pair_start(&p, &any, &cr);
    pair_shake(&p, 1 << 20);
    cr_assert_eq(p.i.r, ERR_DENIED);
    pair_done(&p);
}

/* Message 1 with a point of small order makes every DH with it zero. */
Test(noise, zero_dh_is_refused)
{
    struct pair p;
    pair_keys(&p);
    struct noise_config ci = {0}, cr = {0};
    pair_start(&p, &ci, &cr);
    struct buf in = BUF_INIT, out = BUF_INIT;
    hex_add(&in, "0020");
    for (int i = 0; i < 32; i++)
        buf_add_u8(&in, 0);
    cr_assert_eq(noise_handshake(p.r.n, &in, &out), ERR_PROTOCOL);
    cr_assert_eq(buf_len(&out), 0);
    buf_done(&in);
    buf_done(&out);
    pair_done(&p);
}

/* Every byte of messages 2 and 3 counts; every length of message 1 but the right one is refused. */
Test(noise, tampering)
{
    for (size_t at = 2; at < 218; at += 5) {
        struct pair p;
        pair_keys(&p);
        struct noise_config ci = {.muxers = yamux_only, .muxer_count = 1}, cr = ci;
        struct buf out = BUF_INIT;
        pair_start(&p, &ci, &cr);
        (void)noise_handshake(p.i.n, &p.i.in, &p.r.in);
        (void)noise_handshake(p.r.n, &p.r.in, &p.i.in);
        cr_assert_eq(buf_len(&p.i.in), 218);
        p.i.in.base[p.i.in.start + at] ^= 0x40;
        cr_assert_lt(noise_handshake(p.i.n, &p.i.in, &out), 0, "byte %zu of message 2", at);
        buf_done(&out);
        pair_done(&p);
    }
    for (size_t at = 2; at < 186; at += 5) {
        struct pair p;
        pair_keys(&p);
        struct noise_config ci = {.muxers = yamux_only, .muxer_count = 1}, cr = ci;
        struct buf out = BUF_INIT;
        pair_start(&p, &ci, &cr);
        (void)noise_handshake(p.i.n, &p.i.in, &p.r.in);
        (void)noise_handshake(p.r.n, &p.r.in, &p.i.in);
        cr_assert_eq(noise_handshake(p.i.n, &p.i.in, &out), 1);
        out.base[out.start + at] ^= 1;
        cr_assert_lt(noise_handshake(p.r.n, &out, &p.i.in), 0, "byte %zu of message 3", at);
        buf_done(&out);
        pair_done(&p);
    }
    for (unsigned len = 0; len < 32; len++) {
        struct pair p;
        pair_keys(&p);
        struct noise_config ci = {0}, cr = {0};
        struct buf in = BUF_INIT, out = BUF_INIT;
        pair_start(&p, &ci, &cr);
        buf_add_u8(&in, 0);
        buf_add_u8(&in, (uint8_t)len);
        for (unsigned i = 0; i < len; i++)
            buf_add_u8(&in, 9);
        cr_assert_eq(noise_handshake(p.r.n, &in, &out), ERR_PROTOCOL);
        buf_done(&in);
        buf_done(&out);
        pair_done(&p);
    }
}

Test(noise, transport_forgeries)
{
    for (int kind = 0; kind < 5; kind++) {
        struct pair p;
        pair_keys(&p);
        struct noise_config ci = {0}, cr = {0};
        struct span hello = span_str("hello, world"), plain;
        pair_start(&p, &ci, &cr);
        pair_shake(&p, 1 << 20);
        noise_encrypt(p.i.n, &hello, 1, &p.r.in);
        struct buf *in = &p.r.in;
        if (kind == 0)
            in->base[in->start + 5] ^= 1; /* a byte */
        else if (kind == 1)
            in->base[in->end - 1] ^= 1; /* the tag */
        else if (kind == 2)
            in->base[in->start + 1]--; /* the length */
        else if (kind == 3) {          /* replayed */
            struct buf copy = BUF_INIT;
            buf_add_span(&copy, buf_span(in));
            cr_assert_eq(noise_decrypt(p.r.n, in, &plain), 1);
            buf_add_span(in, buf_span(&copy));
            buf_done(&copy);
        } else { /* too short for its tag */
            buf_clear(in);
            hex_add(in, "000f000102030405060708090a0b0c0d0e");
        }
        cr_assert_eq(noise_decrypt(p.r.n, in, &plain), ERR_VERIFY, "kind %d", kind);
        pair_done(&p);
    }
}

/* A correct handshake by a peer whose identity signs another static key. */
Test(noise, foreign_signature)
{
    struct pair p;
    pair_keys(&p);
    struct noise_config ci = {0}, cr = {0};
    struct noise_state s;
    struct noise_keys keys;
    struct buf m = BUF_INIT, payload = BUF_INIT;
    pair_start(&p, &ci, &cr);
    rng_fill(&p.rng, &keys, sizeof keys);
    noise_state_init(&s, &keys, SPAN_NONE);
    (void)noise_handshake(p.i.n, &p.i.in, &p.r.in);
    struct span in = span_from(buf_span(&p.r.in), 2);
    cr_assert_eq(noise_state_read_e(&s, &in), 0);
    cr_assert_eq(noise_state_read_sealed(&s, in, &payload), 0);
    hex_add(&m, "0000");
    noise_state_write_e(&s, &m);
    cr_assert_eq(noise_state_mix_dh(&s, NOISE_EE), 0);
    noise_state_write_s(&s, &m);
    cr_assert_eq(noise_state_mix_dh(&s, NOISE_SE), 0);
    struct pubkey key;
    struct buf enc = BUF_INIT;
    uint8_t sig[ED25519_SIGNATURE];
    identity_pubkey(&p.r.id, &key);
    pubkey_encode(&key, &enc);
    identity_sign(&p.r.id, span_str("noise-libp2p-static-key:of somebody else"), sig);
    Wire__NoiseHandshakePayload w = WIRE__NOISE_HANDSHAKE_PAYLOAD__INIT;
    w.has_identity_key = w.has_identity_sig = true;
    w.identity_key = wire_bytes(buf_span(&enc));
    w.identity_sig = wire_bytes(span_of(sig, sizeof sig));
    wire_pack(&w, &payload);
    noise_state_write_sealed(&s, buf_span(&payload), &m);
    size_t len = buf_len(&m) - 2;
    m.base[m.start] = (uint8_t)(len >> 8);
    m.base[m.start + 1] = (uint8_t)len;
    cr_assert_eq(noise_handshake(p.i.n, &m, &p.r.in), ERR_VERIFY);
    buf_done(&m);
    buf_done(&payload);
    buf_done(&enc);
    pair_done(&p);
}
