/* SPDX-License-Identifier: MIT */
#include "net/addr/pubkey.h"

#include "net/wire/keys.pb-c.h"
#include "net/wire/wire.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/core_names.h>
#include <openssl/x509.h>
#include <sodium.h>

#define SECP256K1_PUBLIC 33 /* compressed */
#define RSA_BITS_MIN     2048
#define RSA_BITS_MAX     8192
#define SIGNATURE_MAX    (RSA_BITS_MAX / 8)
#define DER_KEY_MIN      32 /* shorter ones are no SubjectPublicKeyInfo of the curves we take */

static_assert(ED25519_PUBLIC == crypto_sign_PUBLICKEYBYTES, "libsodium's sizes");
static_assert(ED25519_SECRET == crypto_sign_SECRETKEYBYTES, "libsodium's sizes");
static_assert(ED25519_SEED == crypto_sign_SEEDBYTES, "libsodium's sizes");
static_assert(ED25519_SIGNATURE == crypto_sign_BYTES, "libsodium's sizes");

/* ---- encoding ---- */

static bool pubkey_len_ok(enum pubkey_type type, size_t len)
{
    switch (type) {
    case PUBKEY_ED25519:
        return len == ED25519_PUBLIC;
    case PUBKEY_SECP256K1:
        return len == SECP256K1_PUBLIC;
    case PUBKEY_RSA:
    case PUBKEY_ECDSA:
        return len >= DER_KEY_MIN && len <= PUBKEY_DATA_MAX;
    }
    return false;
}

int pubkey_parse(struct span in, struct pubkey *ret)
{
    void *m;
    int r = wire_unpack(&wire__public_key__descriptor, in, PUBKEY_ENCODED_MAX, &m);
    if (r < 0)
        return ERR_INVALID;
    const Wire__PublicKey *wire = m;
    bool known = (int)wire->type >= PUBKEY_RSA && (int)wire->type <= PUBKEY_ECDSA;
    bool good = known && pubkey_len_ok((enum pubkey_type)wire->type, wire->data.len);
    if (good) {
        ret->type = (enum pubkey_type)wire->type;
        ret->len = (uint16_t)wire->data.len;
        memcpy(ret->data, wire->data.data, wire->data.len);
    }
    wire_free(m);
    if (!known)
        return ERR_UNSUPPORTED;
    return good ? 0 : ERR_INVALID;
}

void pubkey_encode(const struct pubkey *k, struct buf *out)
{
    Wire__PublicKey wire = WIRE__PUBLIC_KEY__INIT;
    wire.type = (Wire__KeyType)k->type;
    wire.data = wire_bytes(span_of(k->data, k->len));
    wire_pack(&wire, out);
}

void pubkey_id(const struct pubkey *k, struct peer_id *ret)
{
    struct buf b = BUF_INIT;
    pubkey_encode(k, &b);
    peer_id_of_key(buf_span(&b), ret);
    buf_done(&b);
}

bool pubkey_eq(const struct pubkey *a, const struct pubkey *b)
{
    return a->type == b->type && span_eq(span_of(a->data, a->len), span_of(b->data, b->len));
}

int pubkey_from_id(const struct peer_id *id, struct pubkey *ret)
{
    struct span key;
    if (!peer_id_inline_key(id, &key))
        return ERR_NOT_FOUND;
    return pubkey_parse(key, ret);
}

/* ---- verification ---- */

static bool rsa_key_ok(EVP_PKEY *pkey)
{
    int bits = EVP_PKEY_get_bits(pkey);
    return EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA && bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX;
}

static bool ecdsa_key_ok(EVP_PKEY *pkey)
{
    static const char *const curves[] = {"prime256v1", "secp384r1", "secp521r1"};
    char name[64];
    size_t len;
    if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_EC || EVP_PKEY_get_group_name(pkey, name, sizeof name, &len) != 1)
        return false;
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (strcmp(name, curves[i]) == 0)
            return true;
    return false;
}

static EVP_PKEY *der_key(const struct pubkey *k)
{
    const unsigned char *at = k->data;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, k->len);
    if (!pkey)
        return NULL;
    bool good = at == k->data + k->len && (k->type == PUBKEY_RSA ? rsa_key_ok(pkey) : ecdsa_key_ok(pkey));
    if (good)
        return pkey;
    EVP_PKEY_free(pkey);
    return NULL;
}

static EVP_PKEY *secp256k1_key(const struct pubkey *k)
{
    char group[] = "secp256k1";
    uint8_t point[SECP256K1_PUBLIC];
    memcpy(point, k->data, sizeof point);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (!ctx || EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static int openssl_verify(const struct pubkey *k, struct span message, struct span signature)
{
    EVP_PKEY *pkey = k->type == PUBKEY_SECP256K1 ? secp256k1_key(k) : der_key(k);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    static const uint8_t nothing[1];
    const uint8_t *data = message.len ? message.data : nothing;
    bool good = pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1 &&
                EVP_DigestVerify(ctx, signature.data, signature.len, data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    ERR_clear_error(); /* nobody reads the thread's queue of them */
    return good ? 0 : ERR_VERIFY;
}

int pubkey_verify(const struct pubkey *k, struct span message, struct span signature)
{
    if (!pubkey_len_ok(k->type, k->len) || signature.len == 0 || signature.len > SIGNATURE_MAX)
        return ERR_VERIFY;
    if (k->type != PUBKEY_ED25519)
        return openssl_verify(k, message, signature);
    if (signature.len != ED25519_SIGNATURE)
        return ERR_VERIFY;
    return crypto_sign_verify_detached(signature.data, message.data, message.len, k->data) == 0 ? 0 : ERR_VERIFY;
}

/* ---- our own ---- */

void identity_from_seed(struct identity *ret, const uint8_t seed[ED25519_SEED])
{
    (void)crypto_sign_seed_keypair(ret->public_key, ret->secret, seed); /* cannot fail */
    struct pubkey k;
    identity_pubkey(ret, &k);
    pubkey_id(&k, &ret->id);
}

void identity_new(struct identity *ret, struct rng *rng)
{
    uint8_t seed[ED25519_SEED];
    rng_fill(rng, seed, sizeof seed);
    identity_from_seed(ret, seed);
    sodium_memzero(seed, sizeof seed);
}

int identity_parse(struct span in, struct identity *ret)
{
    /* By hand: protobuf-c would leave a copy of the secret in freed memory. `08 01 12 len seed public [public]` */
    enum { HEAD = 4, WITH_PUBLIC = ED25519_SECRET, WITH_BOTH = ED25519_SECRET + ED25519_PUBLIC };
    if (in.len < HEAD || in.data[0] != 0x08 || in.data[2] != 0x12 || in.data[3] != in.len - HEAD)
        return ERR_INVALID;
    if (in.data[1] != PUBKEY_ED25519)
        return in.data[1] <= PUBKEY_ECDSA ? ERR_UNSUPPORTED : ERR_INVALID;
    const uint8_t *data = in.data + HEAD;
    size_t len = in.len - HEAD;
    if (len != WITH_PUBLIC && len != WITH_BOTH)
        return ERR_INVALID;
    struct identity i;
    identity_from_seed(&i, data);
    bool good = memcmp(i.public_key, data + ED25519_SEED, ED25519_PUBLIC) == 0 &&
                (len == WITH_PUBLIC || memcmp(i.public_key, data + ED25519_SECRET, ED25519_PUBLIC) == 0);
    if (good)
        *ret = i;
    identity_wipe(&i);
    return good ? 0 : ERR_INVALID;
}

void identity_encode(const struct identity *i, struct buf *out)
{
    static const uint8_t head[] = {0x08, PUBKEY_ED25519, 0x12, ED25519_SECRET};
    buf_add(out, head, sizeof head);
    buf_add(out, i->secret, sizeof i->secret);
}

void identity_wipe(struct identity *i)
{
    sodium_memzero(i, sizeof *i);
}

void identity_pubkey(const struct identity *i, struct pubkey *ret)
{
    ret->type = PUBKEY_ED25519;
    ret->len = ED25519_PUBLIC;
    memcpy(ret->data, i->public_key, ED25519_PUBLIC);
}

void identity_sign(const struct identity *i, struct span message, uint8_t ret_signature[ED25519_SIGNATURE])
{
    (void)crypto_sign_detached(ret_signature, NULL, message.data, message.len, i->secret); /* cannot fail */
}
