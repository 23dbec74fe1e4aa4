/* SPDX-License-Identifier: MIT
 *
 * The handshake's symmetric state is in noise_state.h: this file is the message patterns, the payloads and the transport. */
#include "net/secure/noise.h"

#include "net/secure/noise_state.h"
#include "net/wire/noise.pb-c.h"
#include "net/wire/wire.h"

#include <assert.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>

enum noise_phase { NOISE_START, NOISE_WAIT_1, NOISE_WAIT_2, NOISE_WAIT_3, NOISE_TRANSPORT, NOISE_FAILED };

/* One direction of the transport. */
struct noise_cipher {
    EVP_CIPHER_CTX *ctx; /* keyed once */
    uint64_t nonce;
};

struct noise {
    enum noise_phase phase;
    bool initiator;
    const struct identity *identity;
    struct peer_id expected;
    const char *const *muxers;
    unsigned muxer_count;
    struct noise_state hs;
    int muxer;
    struct peer_id peer;
    struct pubkey peer_key;
    struct noise_cipher send, recv;
};

static const char signature_prefix[] = "noise-libp2p-static-key:";
#define SIGNED_LEN (sizeof signature_prefix - 1 + NOISE_DH)

struct noise *noise_new(const struct noise_config *cfg)
{
    struct noise *n = MEM_NEW(struct noise);
    n->phase = cfg->initiator ? NOISE_START : NOISE_WAIT_1;
    n->initiator = cfg->initiator;
    n->identity = cfg->identity;
    n->expected = cfg->expected;
    n->muxers = cfg->muxers;
    n->muxer_count = cfg->muxer_count;
    n->muxer = ERR_NOT_FOUND;
    struct noise_keys keys;
    rng_fill(cfg->rng, keys.static_secret, sizeof keys.static_secret);
    rng_fill(cfg->rng, keys.ephemeral_secret, sizeof keys.ephemeral_secret);
    noise_state_init(&n->hs, &keys, SPAN_NONE);
    sodium_memzero(&keys, sizeof keys);
    return n;
}

struct noise *noise_free(struct noise *n)
{
    if (!n)
        return NULL;
    EVP_CIPHER_CTX_free(n->send.ctx); /* cleanses its key */
    EVP_CIPHER_CTX_free(n->recv.ctx);
    sodium_memzero(n, sizeof *n);
    free(n);
    return NULL;
}

/* Every legal edge is in the header's drawing. */
static void enter(struct noise *n, enum noise_phase to)
{
    static const uint8_t next[] = {[NOISE_START] = 1 << NOISE_WAIT_2,
                                   [NOISE_WAIT_1] = 1 << NOISE_WAIT_3,
                                   [NOISE_WAIT_2] = 1 << NOISE_TRANSPORT,
                                   [NOISE_WAIT_3] = 1 << NOISE_TRANSPORT,
                                   [NOISE_TRANSPORT] = 0,
                                   [NOISE_FAILED] = 0};
    assert(to == NOISE_FAILED || (next[n->phase] & (1 << to)));
    n->phase = to;
}

/* ---- payloads ---- */

static void signed_bytes(const uint8_t static_public[NOISE_DH], uint8_t ret[SIGNED_LEN])
{
    memcpy(ret, signature_prefix, sizeof signature_prefix - 1);
    memcpy(ret + sizeof signature_prefix - 1, static_public, NOISE_DH);
}

static void payload_make(const struct noise *n, struct buf *out)
{
    uint8_t message[SIGNED_LEN], signature[ED25519_SIGNATURE];
    signed_bytes(n->hs.static_public, message);
    identity_sign(n->identity, span_of(message, sizeof message), signature);
    struct pubkey own;
    struct buf key = BUF_INIT;
    identity_pubkey(n->identity, &own);
    pubkey_encode(&own, &key);

    Wire__NoiseExtensions ext = WIRE__NOISE_EXTENSIONS__INIT;
    ext.n_stream_muxers = n->muxer_count;
    ext.stream_muxers = (char **)(uintptr_t)n->muxers; /* only read */
    Wire__NoiseHandshakePayload p = WIRE__NOISE_HANDSHAKE_PAYLOAD__INIT;
    p.has_identity_key = p.has_identity_sig = true;
    p.identity_key = wire_bytes(buf_span(&key));
    p.identity_sig = wire_bytes(span_of(signature, sizeof signature));
    p.extensions = n->muxer_count ? &ext : NULL;
    wire_pack(&p, out);
    buf_done(&key);
}

static int peer_check(struct noise *n, const Wire__NoiseHandshakePayload *p)
{
    int r = pubkey_parse(wire_span(p->identity_key), &n->peer_key);
    if (r < 0)
        return ERR_PROTOCOL;
    uint8_t message[SIGNED_LEN];
    signed_bytes(n->hs.remote_static, message);
    r = pubkey_verify(&n->peer_key, span_of(message, sizeof message), wire_span(p->identity_sig));
    if (r < 0)
        return r;
    pubkey_id(&n->peer_key, &n->peer);
    if (peer_id_eq(&n->peer, &n->identity->id))
        return ERR_DENIED;
    if (!peer_id_is_none(&n->expected) && !peer_id_eq(&n->peer, &n->expected))
        return ERR_DENIED;
    return 0;
}

static bool offers(const Wire__NoiseExtensions *ext, unsigned count, const char *muxer)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(ext->stream_muxers[i], muxer) == 0)
            return true;
    return false;
}

/* The first of the initiator's list that the responder has too. */
static int muxer_choose(struct noise *n, const Wire__NoiseExtensions *ext)
{
    if (!ext || ext->n_stream_muxers == 0 || n->muxer_count == 0)
        return 0; /* decided by multistream afterwards */
    unsigned count = ext->n_stream_muxers < NOISE_MUXERS_MAX ? (unsigned)ext->n_stream_muxers : NOISE_MUXERS_MAX;
    if (n->initiator) {
        for (unsigned i = 0; i < n->muxer_count && n->muxer < 0; i++)
            if (offers(ext, count, n->muxers[i]))
                n->muxer = (int)i;
    } else {
        for (unsigned theirs = 0; theirs < count && n->muxer < 0; theirs++)
            for (unsigned i = 0; i < n->muxer_count && n->muxer < 0; i++)
                if (strcmp(ext->stream_muxers[theirs], n->muxers[i]) == 0)
                    n->muxer = (int)i;
    }
    return n->muxer < 0 ? ERR_PROTOCOL : 0;
}

static int payload_take(struct noise *n, struct span payload)
{
    void *m;
    int r = wire_unpack(&wire__noise_handshake_payload__descriptor, payload, NOISE_MESSAGE_MAX, &m);
    if (r < 0)
        return ERR_PROTOCOL;
    const Wire__NoiseHandshakePayload *p = m;
    r = peer_check(n, p);
    if (r == 0)
        r = muxer_choose(n, p->extensions);
    wire_free(m);
    return r;
}

/* ---- messages ---- */

/* Begins a frame in `out`; frame_end writes its length. Returns where it begins. */
static size_t frame_begin(struct buf *out)
{
    static const uint8_t length[2] = {0};
    size_t at = buf_len(out);
    buf_add(out, length, sizeof length);
    return at;
}

static void frame_end(struct buf *out, size_t at)
{
    size_t len = buf_len(out) - at - 2;
    assert(len <= NOISE_MESSAGE_MAX);
    uint8_t *head = out->base + out->start + at;
    head[0] = (uint8_t)(len >> 8);
    head[1] = (uint8_t)len;
}

static void write_payload(struct noise *n, struct buf *out)
{
    struct buf payload = BUF_INIT;
    payload_make(n, &payload);
    noise_state_write_sealed(&n->hs, buf_span(&payload), out);
    buf_done(&payload);
}

static void write_1(struct noise *n, struct buf *out)
{
    size_t at = frame_begin(out);
    noise_state_write_e(&n->hs, out);
    noise_state_write_sealed(&n->hs, SPAN_NONE, out);
    frame_end(out, at);
}

static int write_2(struct noise *n, struct buf *out)
{
    size_t at = frame_begin(out);
    noise_state_write_e(&n->hs, out);
    int r = noise_state_mix_dh(&n->hs, NOISE_EE);
    if (r < 0)
        return r;
    noise_state_write_s(&n->hs, out);
    r = noise_state_mix_dh(&n->hs, NOISE_SE); /* `es` of the pattern: our static, their ephemeral */
    if (r < 0)
        return r;
    write_payload(n, out);
    frame_end(out, at);
    return 0;
}

static int write_3(struct noise *n, struct buf *out)
{
    size_t at = frame_begin(out);
    noise_state_write_s(&n->hs, out);
    int r = noise_state_mix_dh(&n->hs, NOISE_SE);
    if (r < 0)
        return r;
    write_payload(n, out);
    frame_end(out, at);
    return 0;
}

static int read_1(struct noise *n, struct span in)
{
    struct buf ignored = BUF_INIT; /* libp2p sends nothing in it; it is not encrypted */
    int r = noise_state_read_e(&n->hs, &in);
    if (r == 0)
        r = noise_state_read_sealed(&n->hs, in, &ignored);
    buf_done(&ignored);
    return r;
}

/* `s` and the payload that ends messages 2 and 3. */
static int read_s_payload(struct noise *n, struct span in, enum noise_dh dh)
{
    struct buf payload = BUF_INIT;
    int r = noise_state_read_s(&n->hs, &in);
    if (r == 0)
        r = noise_state_mix_dh(&n->hs, dh);
    if (r == 0)
        r = noise_state_read_sealed(&n->hs, in, &payload);
    if (r == 0)
        r = payload_take(n, buf_span(&payload));
    buf_done(&payload);
    return r;
}

static int read_2(struct noise *n, struct span in)
{
    int r = noise_state_read_e(&n->hs, &in);
    if (r == 0)
        r = noise_state_mix_dh(&n->hs, NOISE_EE);
    return r < 0 ? r : read_s_payload(n, in, NOISE_ES);
}

/* ---- transport ---- */

static void cipher_init(struct noise_cipher *c, const uint8_t key[NOISE_KEY], bool encrypt)
{
    c->ctx = EVP_CIPHER_CTX_new();
    int ok = c->ctx && EVP_CipherInit_ex(c->ctx, EVP_chacha20_poly1305(), NULL, key, NULL, encrypt) == 1;
    if (!ok)
        abort(); /* no memory, or a libcrypto without this cipher: nothing would work */
    c->nonce = 0;
}

static void nonce_put(uint64_t nonce, uint8_t ret[NOISE_NONCE])
{
    memset(ret, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        ret[4 + i] = (uint8_t)(nonce >> (8 * i)); /* little-endian, unlike all else */
}

static void cipher_next(struct noise_cipher *c)
{
    uint8_t iv[NOISE_NONCE];
    assert(c->nonce != UINT64_MAX); /* 2^64 messages: never */
    nonce_put(c->nonce++, iv);
    if (EVP_CipherInit_ex(c->ctx, NULL, NULL, NULL, iv, -1) != 1)
        abort();
}

static void transport_start(struct noise *n)
{
    uint8_t k1[NOISE_KEY], k2[NOISE_KEY];
    noise_state_split(&n->hs, k1, k2);
    cipher_init(&n->send, n->initiator ? k1 : k2, true);
    cipher_init(&n->recv, n->initiator ? k2 : k1, false);
    sodium_memzero(k1, sizeof k1);
    sodium_memzero(k2, sizeof k2);
    noise_state_wipe(&n->hs);
    enter(n, NOISE_TRANSPORT);
}

/* One message of the peer: what it asks of us next. */
static int handshake_message(struct noise *n, struct span message, struct buf *out)
{
    int r;
    switch (n->phase) {
    case NOISE_WAIT_1:
        r = read_1(n, message);
        if (r == 0)
            r = write_2(n, out);
        if (r == 0)
            enter(n, NOISE_WAIT_3);
        return r;
    case NOISE_WAIT_2:
        r = read_2(n, message);
        if (r == 0)
            r = write_3(n, out);
        break;
    case NOISE_WAIT_3:
        r = read_s_payload(n, message, NOISE_ES); /* `se` of the pattern: our ephemeral, their static */
        break;
    default:
        return ERR_PROTOCOL;
    }
    if (r == 0)
        transport_start(n);
    return r;
}

/* A complete message at the front of `in`, without its length. */
static bool frame_read(const struct buf *in, struct span *ret_message)
{
    struct span s = buf_span(in);
    if (s.len < 2)
        return false;
    size_t len = (size_t)s.data[0] << 8 | s.data[1];
    if (s.len - 2 < len)
        return false;
    *ret_message = span_sub(s, 2, len);
    return true;
}

size_t noise_missing(const struct buf *in)
{
    struct span s = buf_span(in), message;
    if (s.len < 2 || frame_read(in, &message))
        return 0;
    return 2 + ((size_t)s.data[0] << 8 | s.data[1]) - s.len;
}

int noise_handshake(struct noise *n, struct buf *in, struct buf *out)
{
    if (n->phase == NOISE_START) {
        write_1(n, out);
        enter(n, NOISE_WAIT_2);
    }
    struct span message;
    while (n->phase < NOISE_TRANSPORT && frame_read(in, &message)) {
        size_t before = buf_len(out);
        int r = handshake_message(n, message, out);
        if (r < 0) {
            buf_truncate(out, before); /* a message begun */
            noise_state_wipe(&n->hs);
            enter(n, NOISE_FAILED);
            return r;
        }
        buf_consume(in, message.len + 2);
    }
    if (n->phase == NOISE_FAILED)
        return ERR_PROTOCOL;
    return n->phase == NOISE_TRANSPORT;
}

const struct pubkey *noise_peer_key(const struct noise *n)
{
    return &n->peer_key;
}

const struct peer_id *noise_peer(const struct noise *n)
{
    return &n->peer;
}

int noise_muxer(const struct noise *n)
{
    return n->muxer;
}

void noise_encrypt(struct noise *n, const struct span *parts, unsigned count, struct buf *out)
{
    assert(n->phase == NOISE_TRANSPORT);
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += parts[i].len;
    assert(len > 0 && len <= NOISE_PLAIN_MAX);
    uint8_t *at = buf_reserve(out, len + NOISE_OVERHEAD);
    at[0] = (uint8_t)((len + NOISE_TAG) >> 8);
    at[1] = (uint8_t)(len + NOISE_TAG);
    size_t done = 2;
    int moved;
    cipher_next(&n->send);
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].len == 0)
            continue;
        if (EVP_EncryptUpdate(n->send.ctx, at + done, &moved, parts[i].data, (int)parts[i].len) != 1)
            abort(); /* cannot: the context is good and nothing is buffered by a stream cipher */
        done += parts[i].len;
    }
    if (EVP_EncryptFinal_ex(n->send.ctx, at + done, &moved) != 1 ||
        EVP_CIPHER_CTX_ctrl(n->send.ctx, EVP_CTRL_AEAD_GET_TAG, NOISE_TAG, at + done) != 1)
        abort();
    buf_commit(out, done + NOISE_TAG);
}

int noise_decrypt(struct noise *n, struct buf *in, struct span *ret_plain)
{
    assert(n->phase == NOISE_TRANSPORT);
    struct span message;
    if (!frame_read(in, &message))
        return 0;
    if (message.len < NOISE_TAG)
        return ERR_VERIFY;
    uint8_t *at = in->base + in->start + 2;
    int len = (int)(message.len - NOISE_TAG), moved;
    cipher_next(&n->recv);
    /* The plaintext is not looked at before the tag was. */
    bool good = EVP_CIPHER_CTX_ctrl(n->recv.ctx, EVP_CTRL_AEAD_SET_TAG, NOISE_TAG, at + len) == 1 &&
                (len == 0 || EVP_DecryptUpdate(n->recv.ctx, at, &moved, at, len) == 1) &&
                EVP_DecryptFinal_ex(n->recv.ctx, at + len, &moved) == 1;
    if (!good)
        return ERR_VERIFY;
    *ret_plain = span_of(at, (size_t)len);
    buf_consume(in, message.len + 2);
    return 1;
}
