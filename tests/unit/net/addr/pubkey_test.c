/* SPDX-License-Identifier: MIT */
#include "net/addr/pubkey.h"

#include "tests/unit/net/hexbytes.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

/* Keys of specs/peer-ids and one RSA key; signatures made by js-libp2p of this message. */
static const char message[] = "p2p signature vector";
#define ED_PRIVATE                                                                                                             \
    "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c"         \
    "3cacf6010f0e42d474fce27e"
#define ECDSA_PUBLIC                                                                                                           \
    "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83abab44abf3161f"                 \
    "162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62"

static const struct vector {
    enum pubkey_type type;
    const char *key, *id, *signature;
} vectors[] = {
    {PUBKEY_ED25519, "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
     "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
     "f3c90775eb8f72780a8311cb94f9b76f7287dc75ef524bf0452571988d3320b996b8d77e39903949d90a8b10d4e14b442cfc"
     "b28c7917e7314b4e4303d5edca0b"},
    {PUBKEY_SECP256K1, "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99",
     "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY",
     "3045022100d374eb0a3305875b1782ee4e6a26a213603f5dabcb9622a7b26ee29e387df9db02202e7e56b9d0b4fbfe8ee4d5"
     "0dbe7ada59318cf6396e7dad6d7f14b90f760641f0"},
    {PUBKEY_RSA,
     "080012a60230820122300d06092a864886f70d01010105000382010f003082010a0282010100ae18968f568edbe0841d4567"
     "8f7717eb0ca7aa329bdf072920154bdba171d5d8900ef0422546c4553980f423bf42b22627af59fcfa5d9394113677cb8b87"
     "42efbdd4773ae0d3e3ca9482611a25a5ab50341be05d6f22c2daa1dfdd8ce4b385deeeed328a401f05e000fbc5c73ad2cba6"
     "e8631cca9b648f35dd8117aa4aea58b3289c8d2e8d09dfedce93088e91564371f824170c6ddd73b0d06d7c300f3656f3c90c"
     "ae117bf1990e86f676592702c451b9e23a4f3b6788e4b97bba9f8ac2a9eaf5d0153d4b8350b3c9825aa01d1e407afb03eaf2"
     "67bbe7f9f0b4346335190ca5e321af79715d49101983bd30c4dd27e77a5c6056c8bac85b9d43cbbbee22b5ab0203010001",
     "QmTVzozzs86vaaxGsKHP7CKtcYqNTExh2VjardnA2vum2j",
     "525c9c2c7c1b2b2d3b655f66448dd7573e1e9db1a7dbeb537751c6e6e3af88f0917b3265506087b4a674dfdb0b4d79fe1f14"
     "6221e468c426e9f3ca7d103f7e623a7bf5194d8874330fb7708590a366e8f1efc92fe3c4487e0f72d134c6e7db6aec2f572e"
     "be59988c7dcbf88e43baef4b3454feb5d0e8e811d483ce8ebc95bbf59b6fa36c18637200bc75235f030d7c6ae77bc976edd2"
     "9b1c3295204134e438ec8783900e76580a74b17f76dd3179b8bf2ccc17f26b6ea59a58fc3c3f633a612b472413b92ebcd4ac"
     "8776a1d40cf0f82d04822b559c1b5f08f28492af93bfdf366ac67a8729940c4d33f20c43faf0b9f9a23729225b54c893d26a"
     "aef469d13aba"},
    {PUBKEY_ECDSA, ECDSA_PUBLIC, NULL, NULL},
};

Test(pubkey, vectors)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        struct buf key = BUF_INIT, again = BUF_INIT, sig = BUF_INIT;
        struct pubkey k, inlined;
        struct peer_id id;
        char text[PEER_ID_TEXT_SIZE];
        hex_add(&key, v->key);
        cr_assert_eq(pubkey_parse(buf_span(&key), &k), 0, "vector %zu", i);
        cr_assert_eq(k.type, v->type);
        pubkey_encode(&k, &again);
        cr_assert(span_eq(buf_span(&again), buf_span(&key)));
        pubkey_id(&k, &id);
        if (v->id)
            cr_assert_str_eq(peer_id_text(&id, text), v->id);
        cr_assert_eq(pubkey_from_id(&id, &inlined), buf_len(&key) <= PEER_ID_INLINE_MAX ? 0 : ERR_NOT_FOUND);
        if (buf_len(&key) <= PEER_ID_INLINE_MAX)
            cr_assert(pubkey_eq(&inlined, &k));
        if (v->signature) {
            hex_add(&sig, v->signature);
            cr_assert_eq(pubkey_verify(&k, span_str(message), buf_span(&sig)), 0, "vector %zu", i);
            cr_assert_eq(pubkey_verify(&k, span_str("another"), buf_span(&sig)), ERR_VERIFY);
            cr_assert_eq(pubkey_verify(&k, span_str(message), span_sub(buf_span(&sig), 0, buf_len(&sig) - 1)), ERR_VERIFY);
            for (size_t at = 0; at < buf_len(&sig); at += 7) {
                sig.base[sig.start + at] ^= 1;
                cr_assert_eq(pubkey_verify(&k, span_str(message), buf_span(&sig)), ERR_VERIFY);
                sig.base[sig.start + at] ^= 1;
            }
            k.data[k.len - 1] ^= 1;
            cr_assert_eq(pubkey_verify(&k, span_str(message), buf_span(&sig)), ERR_VERIFY);
        }
        for (size_t n = 0; n < buf_len(&key); n++) {
            uint8_t *mem;
            struct span cut = exact(span_sub(buf_span(&key), 0, n), &mem);
            cr_assert_lt(pubkey_parse(cut, &k), 0, "vector %zu cut to %zu", i, n);
            free(mem);
        }
        buf_done(&key);
        buf_done(&again);
        buf_done(&sig);
    }
}

/* Signs with a new key of OpenSSL and checks with ours. */
static int made_by_openssl(EVP_PKEY *pkey, enum pubkey_type type)
{
    struct pubkey k = {.type = type};
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(pkey, &der);
    cr_assert(len > 0 && len <= PUBKEY_DATA_MAX);
    memcpy(k.data, der, (size_t)len);
    k.len = (uint16_t)len;
    OPENSSL_free(der);
    uint8_t sig[1024];
    size_t sig_len = sizeof sig;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    cr_assert_eq(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    cr_assert_eq(EVP_DigestSign(ctx, sig, &sig_len, (const uint8_t *)message, strlen(message)), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    struct buf enc = BUF_INIT;
    struct pubkey parsed;
    pubkey_encode(&k, &enc);
    cr_assert_eq(pubkey_parse(buf_span(&enc), &parsed), 0);
    buf_done(&enc);
    return pubkey_verify(&parsed, span_str(message), span_of(sig, sig_len));
}

Test(pubkey, curves_and_sizes)
{
    cr_assert_eq(made_by_openssl(EVP_EC_gen("P-256"), PUBKEY_ECDSA), 0);
    cr_assert_eq(made_by_openssl(EVP_EC_gen("P-384"), PUBKEY_ECDSA), 0);
    cr_assert_eq(made_by_openssl(EVP_EC_gen("secp256k1"), PUBKEY_ECDSA), ERR_VERIFY, "has a type of its own");
    cr_assert_eq(made_by_openssl(EVP_RSA_gen(1024), PUBKEY_RSA), ERR_VERIFY, "too short");
    cr_assert_eq(made_by_openssl(EVP_EC_gen("P-256"), PUBKEY_RSA), ERR_VERIFY, "not what it says");
}

Test(pubkey, malformed)
{
    static const struct {
        const char *hex;
        int err;
    } bad[] = {
        {"", ERR_INVALID},
        {"0801", ERR_INVALID},                                                                       /* no data */
        {"12030102030801", ERR_INVALID},                                                             /* short */
        {"08041203010203", ERR_UNSUPPORTED},                                                         /* no such type */
        {"080112210102030405060708091011121314151617181920212223242526272829303132ff", ERR_INVALID}, /* 33 bytes */
        {"08021220010203040506070809101112131415161718192021222324252627282930313233", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf b = BUF_INIT;
        struct pubkey k;
        hex_add(&b, bad[i].hex);
        cr_assert_eq(pubkey_parse(buf_span(&b), &k), bad[i].err, "%s", bad[i].hex);
        buf_done(&b);
    }
    /* fields in the other order are taken, and give the same id */
    struct buf a = BUF_INIT;
    struct pubkey k;
    hex_add(&a, "12201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e0801");
    cr_assert_eq(pubkey_parse(buf_span(&a), &k), 0);
    buf_clear(&a);
    pubkey_encode(&k, &a);
    cr_assert(hex_is(buf_span(&a), vectors[0].key));
    buf_done(&a);
    /* a point that is not on the curve */
    struct pubkey s = {.type = PUBKEY_SECP256K1, .len = 33};
    memset(s.data, 0xff, 33);
    uint8_t sig[70] = {0x30};
    cr_assert_eq(pubkey_verify(&s, span_str(message), span_of(sig, sizeof sig)), ERR_VERIFY);
}

Test(identity, private_keys)
{
    struct buf b = BUF_INIT, again = BUF_INIT;
    struct identity i;
    char text[PEER_ID_TEXT_SIZE];
    hex_add(&b, ED_PRIVATE);
    cr_assert_eq(identity_parse(buf_span(&b), &i), 0);
    cr_assert_str_eq(peer_id_text(&i.id, text), vectors[0].id);
    identity_encode(&i, &again);
    cr_assert(span_eq(buf_span(&b), buf_span(&again)));
    uint8_t sig[ED25519_SIGNATURE];
    identity_sign(&i, span_str(message), sig);
    cr_assert(hex_is(span_of(sig, sizeof sig), vectors[0].signature));

    /* the old form with the public key twice */
    buf_add(&b, i.public_key, sizeof i.public_key);
    b.base[b.start + 3] = 96;
    cr_assert_eq(identity_parse(buf_span(&b), &i), 0);
    b.base[b.end - 1] ^= 1;
    cr_assert_eq(identity_parse(buf_span(&b), &i), ERR_INVALID);
    /* halves that disagree; another type; cuts */
    struct span s = buf_span(&again);
    again.base[again.end - 1] ^= 1;
    cr_assert_eq(identity_parse(s, &i), ERR_INVALID);
    again.base[again.end - 1] ^= 1;
    again.base[again.start + 1] = PUBKEY_RSA;
    cr_assert_eq(identity_parse(s, &i), ERR_UNSUPPORTED);
    again.base[again.start + 1] = PUBKEY_ED25519;
    for (size_t n = 0; n < s.len; n++)
        cr_assert_lt(identity_parse(span_sub(s, 0, n), &i), 0);
    identity_wipe(&i);
    struct identity zero;
    memset(&zero, 0, sizeof zero);
    cr_assert_eq(memcmp(&i, &zero, sizeof i), 0);
    buf_done(&b);
    buf_done(&again);
}

Test(identity, made_from_rng)
{
    struct rng r;
    struct identity a, b;
    struct pubkey k;
    struct peer_id id;
    rng_init_seed(&r, 7);
    identity_new(&a, &r);
    identity_new(&b, &r);
    cr_assert(!peer_id_eq(&a.id, &b.id));
    identity_pubkey(&a, &k);
    pubkey_id(&k, &id);
    cr_assert(peer_id_eq(&a.id, &id));
}
