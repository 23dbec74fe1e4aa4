/* SPDX-License-Identifier: MIT
 *
 * Through OpenSSL's EVP. Fetching an algorithm by name costs more than hashing a small block, so each is fetched
 * once per process, and what is done in one go uses contexts kept per thread. BLAKE2b-256 is libsodium's: OpenSSL 3.0 has
 * only the 512-bit one. An OpenSSL that cannot hash is a broken installation: we abort rather than carry an error that
 * no caller could act on.
 */
#include "store/content/hasher.h"

#include "store/base/uvarint.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

struct function {
    uint32_t code;
    uint8_t size;
    const char *name; /* OpenSSL's; NULL: libsodium's BLAKE2b */
};

static const struct function functions[] = {
    {HASH_SHA2_256, SHA256_SIZE, "SHA2-256"}, /* first: sha256() uses it directly */
    {HASH_SHA2_512, 64, "SHA2-512"},          {HASH_SHA1, 20, "SHA1"},      {HASH_SHA3_256, 32, "SHA3-256"},
    {HASH_SHA3_512, 64, "SHA3-512"},          {HASH_BLAKE2B_256, 32, NULL},
};
#define FUNCTIONS       (sizeof functions / sizeof functions[0])
#define FUNCTION_SHA256 0

static EVP_MD *digests[FUNCTIONS];
static pthread_key_t thread_context; /* each thread's EVP_MD_CTX; made at its first use */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void context_free(void *arg)
{
    EVP_MD_CTX_free(arg);
}

static void fetch_all(void)
{
    for (size_t i = 0; i < FUNCTIONS; i++)
        if (functions[i].name)
            must((digests[i] = EVP_MD_fetch(NULL, functions[i].name, NULL)) != NULL);
    must(pthread_key_create(&thread_context, context_free) == 0);
}

static EVP_MD_CTX *context(void)
{
    (void)pthread_once(&once, fetch_all); /* cannot fail with a valid once */
    EVP_MD_CTX *c = pthread_getspecific(thread_context);
    if (!c) {
        must((c = EVP_MD_CTX_new()) != NULL);
        must(pthread_setspecific(thread_context, c) == 0);
    }
    return c;
}

/* `out` takes functions[i].size bytes. */
static void digest_one(size_t i, struct span data, uint8_t *out)
{
    if (!functions[i].name) {
        must(crypto_generichash(out, functions[i].size, data.data, data.len, NULL, 0) == 0);
        return;
    }
    EVP_MD_CTX *ctx = context();
    must(EVP_DigestInit_ex2(ctx, digests[i], NULL) == 1);
    must(EVP_DigestUpdate(ctx, data.data, data.len) == 1);
    must(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
}

void sha256(struct span data, uint8_t ret_digest[SHA256_SIZE])
{
    digest_one(FUNCTION_SHA256, data, ret_digest);
}

/* ---- incremental ---- */

struct hasher {
    EVP_MD_CTX *ctx;
};

struct hasher *hasher_new(void)
{
    struct hasher *h = MEM_NEW(struct hasher);
    (void)pthread_once(&once, fetch_all); /* cannot fail with a valid once */
    must((h->ctx = EVP_MD_CTX_new()) != NULL);
    hasher_reset(h);
    return h;
}

struct hasher *hasher_free(struct hasher *h)
{
    if (h) {
        EVP_MD_CTX_free(h->ctx);
        free(h);
    }
    return NULL;
}

void hasher_reset(struct hasher *h)
{
    must(EVP_DigestInit_ex2(h->ctx, digests[FUNCTION_SHA256], NULL) == 1);
}

void hasher_add(struct hasher *h, struct span data)
{
    must(EVP_DigestUpdate(h->ctx, data.data, data.len) == 1);
}

void hasher_end(struct hasher *h, uint8_t ret_digest[SHA256_SIZE])
{
    must(EVP_DigestFinal_ex(h->ctx, ret_digest, NULL) == 1);
}

/* ---- multihashes ---- */

static int function_find(uint64_t code, size_t *ret)
{
    for (size_t i = 0; i < FUNCTIONS; i++) {
        if (functions[i].code == code) {
            *ret = i;
            return 0;
        }
    }
    return ERR_UNSUPPORTED;
}

int hash_verify(const struct cid *cid, struct span data)
{
    struct span own, digest = cid_digest(cid);
    if (cid_inline(cid, &own))
        return span_eq(own, data) ? 0 : ERR_VERIFY;
    size_t i;
    uint8_t out[EVP_MAX_MD_SIZE];
    int err = function_find(cid_hash_code(cid), &i);
    if (err)
        return err;
    if (digest.len > functions[i].size)
        return ERR_VERIFY; /* no bytes can have it */
    digest_one(i, data, out);
    return memcmp(out, digest.data, digest.len) == 0 ? 0 : ERR_VERIFY;
}

int hash_compute(uint64_t code, size_t digest_len, struct span data, struct buf *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    struct span result = data;
    if (code != HASH_IDENTITY) {
        size_t i;
        int err = function_find(code, &i);
        if (err)
            return err;
        digest_one(i, data, digest);
        result = span_of(digest, functions[i].size);
    }
    if (digest_len > result.len || (code == HASH_IDENTITY && result.len > DIGEST_MAX))
        return ERR_UNSUPPORTED;
    if (digest_len && code != HASH_IDENTITY) /* identity cannot be shortened */
        result.len = digest_len;
    buf_add_uvarint(out, code);
    buf_add_uvarint(out, result.len);
    buf_add_span(out, result);
    return 0;
}
