/* SPDX-License-Identifier: MIT */
#include "store/content/hasher.h"

#include "store/content/multibase.h"

#include <criterion/criterion.h>

/* FIPS 180, FIPS 202, RFC 7693 and the Keccak team: digests of "abc" */
static const struct {
    uint64_t code;
    const char *hex; /* of the multihash */
} vectors[] = {
    {HASH_SHA1, "1114a9993e364706816aba3e25717850c26c9cd0d89d"},
    {HASH_SHA2_256, "1220ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {HASH_SHA2_512,
     "1340ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80"
     "e2a9ac94fa54ca49f"},
    {HASH_SHA3_256, "16203a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"},
    {HASH_SHA3_512,
     "1440b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56"
     "592f8274eec53f0"},
    {HASH_BLAKE2B_256, "a0e40220bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"},
    {HASH_IDENTITY, "0003616263"},
};

static void hex(struct span s, struct buf *out)
{
    multibase_encode(out, 'f', s);
    buf_consume(out, 1);
}

Test(hasher, vectors)
{
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct buf hash = BUF_INIT, text = BUF_INIT;
        struct cid c;
        cr_assert_eq(hash_compute(vectors[i].code, 0, span_str("abc"), &hash), 0);
        hex(buf_span(&hash), &text);
        cr_assert_str_eq(buf_cstr(&text), vectors[i].hex);
        cr_assert_eq(cid_from_hash(&c, 1, CODEC_RAW, buf_span(&hash)), 0);
        cr_assert_eq(hash_verify(&c, span_str("abc")), 0);
        cr_assert_eq(hash_verify(&c, span_str("abd")), ERR_VERIFY);
        cr_assert_eq(hash_verify(&c, SPAN_NONE), ERR_VERIFY);
        buf_done(&hash);
        buf_done(&text);
    }
}

Test(hasher, shortened_digests)
{
    struct buf hash = BUF_INIT;
    struct cid c;
    cr_assert_eq(hash_compute(HASH_SHA2_512, 32, span_str("abc"), &hash), 0);
    cr_assert_eq(cid_from_hash(&c, 1, CODEC_RAW, buf_span(&hash)), 0);
    cr_assert_eq(hash_verify(&c, span_str("abc")), 0);
    cr_assert_eq(hash_verify(&c, span_str("ab")), ERR_VERIFY);
    cr_assert_eq(hash_compute(HASH_SHA2_256, 33, span_str("abc"), &hash), ERR_UNSUPPORTED);
    uint8_t longer[2 + 40] = {HASH_SHA2_256, 40};
    cr_assert_eq(cid_from_hash(&c, 1, CODEC_RAW, span_of(longer, sizeof longer)), 0);
    cr_assert_eq(hash_verify(&c, span_str("abc")), ERR_VERIFY);
    buf_done(&hash);
}

Test(hasher, functions_we_cannot_compute)
{
    uint8_t blake3[2 + 32] = {HASH_BLAKE3, 32};
    struct buf out = BUF_INIT;
    struct cid c;
    cr_assert_eq(cid_from_hash(&c, 1, CODEC_RAW, span_of(blake3, sizeof blake3)), 0);
    cr_assert_eq(hash_verify(&c, span_str("abc")), ERR_UNSUPPORTED);
    cr_assert_eq(hash_compute(HASH_BLAKE3, 0, span_str("abc"), &out), ERR_UNSUPPORTED);
    cr_assert_eq(buf_len(&out), 0);
}

Test(hasher, incremental)
{
    struct hasher *h = hasher_new();
    uint8_t one[SHA256_SIZE], parts[SHA256_SIZE];
    sha256(span_str("hello world"), one);
    for (int round = 0; round < 2; round++) {
        hasher_add(h, span_str("hello"));
        hasher_add(h, SPAN_NONE);
        hasher_add(h, span_str(" world"));
        hasher_end(h, parts);
        cr_assert_arr_eq(one, parts, SHA256_SIZE);
        hasher_reset(h);
    }
    hasher_free(h);
    hasher_free(NULL);
}
