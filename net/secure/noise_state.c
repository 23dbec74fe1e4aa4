/* SPDX-License-Identifier: MIT */
#include "net/secure/noise_state.h"

#include <assert.h>
#include <sodium.h>

static const char protocol_name[] = "Noise_XX_25519_ChaChaPoly_SHA256";
static_assert(sizeof protocol_name - 1 == NOISE_HASH, "a name of exactly this length is the first hash itself");

#define TAG crypto_aead_chacha20poly1305_ietf_ABYTES

static void mix_hash(struct noise_state *s, struct span data)
{
    crypto_hash_sha256_state c;
    (void)crypto_hash_sha256_init(&c); /* these cannot fail */
    (void)crypto_hash_sha256_update(&c, s->h, sizeof s->h);
    if (data.len)
        (void)crypto_hash_sha256_update(&c, data.data, data.len);
    (void)crypto_hash_sha256_final(&c, s->h);
}

/* HKDF of section 4.3 with two outputs. */
static void hkdf(const uint8_t ck[NOISE_HASH], struct span input, uint8_t ret_1[NOISE_HASH], uint8_t ret_2[NOISE_HASH])
{
    static const uint8_t nothing[1];
    uint8_t temp[NOISE_HASH], second[NOISE_HASH + 1], first[NOISE_HASH];
    static const uint8_t one = 1;
    crypto_auth_hmacsha256_state c;
    (void)crypto_auth_hmacsha256_init(&c, ck, NOISE_HASH); /* these cannot fail */
    (void)crypto_auth_hmacsha256_update(&c, input.len ? input.data : nothing, input.len);
    (void)crypto_auth_hmacsha256_final(&c, temp);
    (void)crypto_auth_hmacsha256(first, &one, 1, temp);
    memcpy(second, first, NOISE_HASH);
    second[NOISE_HASH] = 2;
    (void)crypto_auth_hmacsha256(ret_2, second, sizeof second, temp);
    memcpy(ret_1, first, NOISE_HASH);
    sodium_memzero(temp, sizeof temp);
    sodium_memzero(first, sizeof first);
    sodium_memzero(second, sizeof second);
}

void noise_state_init(struct noise_state *s, const struct noise_keys *keys, struct span prologue)
{
    memset(s, 0, sizeof *s);
    memcpy(s->h, protocol_name, NOISE_HASH);
    memcpy(s->ck, protocol_name, NOISE_HASH);
    s->own = *keys;
    (void)crypto_scalarmult_base(s->static_public, s->own.static_secret); /* cannot fail */
    (void)crypto_scalarmult_base(s->ephemeral_public, s->own.ephemeral_secret);
    mix_hash(s, prologue); /* also when it is empty */
}

void noise_state_wipe(struct noise_state *s)
{
    sodium_memzero(s, sizeof *s);
}

void noise_state_write_e(struct noise_state *s, struct buf *out)
{
    struct span e = span_of(s->ephemeral_public, NOISE_DH);
    buf_add_span(out, e);
    mix_hash(s, e);
}

int noise_state_read_e(struct noise_state *s, struct span *in)
{
    if (in->len < NOISE_DH)
        return ERR_PROTOCOL;
    memcpy(s->remote_ephemeral, in->data, NOISE_DH);
    mix_hash(s, span_sub(*in, 0, NOISE_DH));
    *in = span_from(*in, NOISE_DH);
    return 0;
}

void noise_state_write_s(struct noise_state *s, struct buf *out)
{
    noise_state_write_sealed(s, span_of(s->static_public, NOISE_DH), out);
}

int noise_state_read_s(struct noise_state *s, struct span *in)
{
    size_t len = NOISE_DH + (s->keyed ? TAG : 0);
    if (in->len < len)
        return ERR_PROTOCOL;
    struct buf plain = BUF_INIT;
    int r = noise_state_read_sealed(s, span_sub(*in, 0, len), &plain);
    if (r == 0) {
        memcpy(s->remote_static, buf_span(&plain).data, NOISE_DH);
        *in = span_from(*in, len);
    }
    buf_done(&plain);
    return r;
}

int noise_state_mix_dh(struct noise_state *s, enum noise_dh which)
{
    const uint8_t *secret = which == NOISE_SE ? s->own.static_secret : s->own.ephemeral_secret;
    const uint8_t *public = which == NOISE_ES ? s->remote_static : s->remote_ephemeral;
    uint8_t shared[NOISE_DH];
    int r = crypto_scalarmult(shared, secret, public);
    if (r != 0 || sodium_is_zero(shared, sizeof shared)) {
        sodium_memzero(shared, sizeof shared);
        return ERR_PROTOCOL;
    }
    hkdf(s->ck, span_of(shared, sizeof shared), s->ck, s->k);
    s->keyed = true;
    s->nonce = 0;
    sodium_memzero(shared, sizeof shared);
    return 0;
}

static void next_nonce(struct noise_state *s, uint8_t ret[NOISE_NONCE])
{
    memset(ret, 0, NOISE_NONCE);
    for (unsigned i = 0; i < 8; i++)
        ret[4 + i] = (uint8_t)(s->nonce >> (8 * i));
    s->nonce++;
}

void noise_state_write_sealed(struct noise_state *s, struct span plain, struct buf *out)
{
    static const uint8_t nothing[1];
    if (!s->keyed) {
        buf_add_span(out, plain);
        mix_hash(s, plain);
        return;
    }
    uint8_t nonce[NOISE_NONCE];
    unsigned long long len;
    uint8_t *at = buf_reserve(out, plain.len + TAG);
    next_nonce(s, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(at, &len, plain.len ? plain.data : nothing, plain.len, s->h, sizeof s->h,
                                                    NULL, nonce, s->k); /* cannot fail */
    mix_hash(s, span_of(at, (size_t)len));
    buf_commit(out, (size_t)len);
}

int noise_state_read_sealed(struct noise_state *s, struct span sealed, struct buf *out)
{
    if (!s->keyed) {
        buf_add_span(out, sealed);
        mix_hash(s, sealed);
        return 0;
    }
    if (sealed.len < TAG)
        return ERR_PROTOCOL;
    uint8_t nonce[NOISE_NONCE];
    unsigned long long len;
    uint8_t *at = buf_reserve(out, sealed.len);
    next_nonce(s, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(at, &len, NULL, sealed.data, sealed.len, s->h, sizeof s->h, nonce, s->k) != 0)
        return ERR_VERIFY;
    mix_hash(s, sealed);
    buf_commit(out, (size_t)len);
    return 0;
}

void noise_state_split(const struct noise_state *s, uint8_t ret_k1[NOISE_KEY], uint8_t ret_k2[NOISE_KEY])
{
    hkdf(s->ck, SPAN_NONE, ret_k1, ret_k2);
}
