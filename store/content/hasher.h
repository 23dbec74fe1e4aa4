/* SPDX-License-Identifier: MIT
 *
 * Bulk hashing, on OpenSSL (its SHA-256 uses the CPU's instructions; libsodium's does not). Contexts are per call or per
 * object; any thread.
 */
#ifndef STORE_CONTENT_HASHER_H
#define STORE_CONTENT_HASHER_H

#include "store/content/cid.h"

#define SHA256_SIZE 32

void sha256(struct span data, uint8_t ret_digest[SHA256_SIZE]);

/* Incremental */
struct hasher;
struct hasher *hasher_new(void); /* sha2-256 */
struct hasher *hasher_free(struct hasher *h);
void hasher_reset(struct hasher *h);
void hasher_add(struct hasher *h, struct span data);
void hasher_end(struct hasher *h, uint8_t ret_digest[SHA256_SIZE]); /* then reset before use */

/* Does `data` have the multihash of `cid`? 0; ERR_VERIFY; ERR_UNSUPPORTED when we cannot compute that function. Computes
 * sha1, sha2-256, sha2-512, sha3-256, sha3-512, blake2b-256 and identity. */
int hash_verify(const struct cid *cid, struct span data);
/* The multihash of data with that function, appended. 0 or ERR_UNSUPPORTED. `digest_len` 0: the function's own length. */
int hash_compute(uint64_t code, size_t digest_len, struct span data, struct buf *out);

#endif
