/* SPDX-License-Identifier: MIT
 *
 * As in hasher.c: the cipher is fetched once, each thread keeps a context, and an OpenSSL that cannot do it is a broken
 * installation. */
#include "store/content/checksum.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

static EVP_CIPHER *cipher;
static pthread_key_t thread_context;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void context_free(void *ctx)
{
    EVP_CIPHER_CTX_free(ctx);
}

static void fetch(void)
{
    must((cipher = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL)) != NULL);
    must(pthread_key_create(&thread_context, context_free) == 0);
}

static EVP_CIPHER_CTX *context(void)
{
    static const uint8_t key[16];
    (void)pthread_once(&once, fetch); /* cannot fail with a valid once */
    EVP_CIPHER_CTX *ctx = pthread_getspecific(thread_context);
    if (!ctx) {
        must((ctx = EVP_CIPHER_CTX_new()) != NULL);
        must(EVP_EncryptInit_ex2(ctx, cipher, key, NULL, NULL) == 1);
        must(pthread_setspecific(thread_context, ctx) == 0);
    }
    return ctx;
}

uint64_t checksum(struct span data)
{
    static const uint8_t nonce[12];
    uint8_t tag[8], none[16];
    int len;
    EVP_CIPHER_CTX *ctx = context();
    assert(data.len <= UINT32_C(1) << 30);
    must(EVP_EncryptInit_ex2(ctx, NULL, NULL, nonce, NULL) == 1);
    if (data.len)
        must(EVP_EncryptUpdate(ctx, NULL, &len, data.data, (int)data.len) == 1);
    must(EVP_EncryptFinal_ex(ctx, none, &len) == 1);
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag) == 1);
    uint64_t sum = 0;
    for (unsigned i = 0; i < sizeof tag; i++)
        sum = sum << 8 | tag[i];
    return sum;
}
