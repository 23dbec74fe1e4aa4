/* SPDX-License-Identifier: MIT
 *
 * Keys that cost nothing, for targets that need a whole handshake before each input: with real ones X25519 and Ed25519 were nine
 * tenths of the time. The program's own definitions win over the library's. They keep what the callers rely on: both sides get the
 * same secret, a signature is of these bytes by this key and no other; they keep nothing secret. Included by one file of a target. */
#pragma once
#include <sodium.h>
#include <stdint.h>
#include <string.h>

/* The public key is secret ^ 9, the shared secret thus a ^ b ^ 9 on both sides */
int crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p)
{
    for (unsigned i = 0; i < crypto_scalarmult_BYTES; i++)
        q[i] = n[i] ^ p[i];
    return 0;
}

int crypto_scalarmult_base(unsigned char *q, const unsigned char *n)
{
    static const unsigned char base[crypto_scalarmult_BYTES] = {9};
    return crypto_scalarmult(q, n, base);
}

int crypto_sign_seed_keypair(unsigned char *pk, unsigned char *sk, const unsigned char *seed)
{
    for (unsigned i = 0; i < crypto_sign_PUBLICKEYBYTES; i++)
        pk[i] = seed[i] ^ 0x5a;
    memcpy(sk, seed, crypto_sign_SEEDBYTES);
    memcpy(sk + crypto_sign_SEEDBYTES, pk, crypto_sign_PUBLICKEYBYTES);
    return 0;
}

static void cheap_signature(unsigned char *sig, const unsigned char *m, unsigned long long len, const unsigned char *pk)
{
    (void)crypto_generichash(sig, crypto_sign_BYTES, m, len, pk, crypto_sign_PUBLICKEYBYTES); /* sizes are right: cannot fail */
}

int crypto_sign_detached(unsigned char *sig, unsigned long long *ret_len, const unsigned char *m, unsigned long long len,
                         const unsigned char *sk)
{
    cheap_signature(sig, m, len, sk + crypto_sign_SEEDBYTES);
    if (ret_len)
        *ret_len = crypto_sign_BYTES;
    return 0;
}

int crypto_sign_verify_detached(const unsigned char *sig, const unsigned char *m, unsigned long long len,
                                const unsigned char *pk)
{
    unsigned char right[crypto_sign_BYTES];
    cheap_signature(right, m, len, pk);
    return memcmp(right, sig, sizeof right) ? -1 : 0;
}
