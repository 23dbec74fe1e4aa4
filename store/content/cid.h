/* SPDX-License-Identifier: MIT
 *
 * Multihashes and CIDs (github.com/multiformats/cid), as values.
 *
 * A CID is kept in its binary form: v0 is the bare 34-byte sha2-256 multihash, v1 is `01 ‖ codec ‖ multihash`. CIDs with equal
 * multihashes name the same block, whatever their version and codec: stores key by multihash (cid_hash), wants compare
 * whole CIDs (cid_eq). Unused bytes of the struct are zero, so that it may also be compared and hashed as memory.
 *
 * Accepted multihashes: the functions of the table in cid.c that boxo's verifcid allows; digests of 20 to 128 bytes,
 * identity up to 128 bytes. We compute sha2-256 and identity; verification of the others we know goes through hasher.h.
 */
#ifndef STORE_CONTENT_CID_H
#define STORE_CONTENT_CID_H

#include "store/base/err.h"
#include "store/base/span.h"

#include <stdbool.h>

#define DIGEST_MAX    128
#define MULTIHASH_MAX (4 + 2 + DIGEST_MAX) /* code ≤ 4 bytes here, length ≤ 2 */
#define CID_MAX       (1 + 4 + MULTIHASH_MAX)

enum multicodec {
    CODEC_RAW = 0x55,
    CODEC_DAG_PB = 0x70,
    CODEC_DAG_CBOR = 0x71,
    CODEC_LIBP2P_KEY = 0x72,
    CODEC_DAG_JSON = 0x0129,
};

enum multihash_code {
    HASH_IDENTITY = 0x00,
    HASH_SHA1 = 0x11,
    HASH_SHA2_256 = 0x12,
    HASH_SHA2_512 = 0x13,
    HASH_SHA3_512 = 0x14,
    HASH_SHA3_256 = 0x16,
    HASH_BLAKE3 = 0x1e,
    HASH_BLAKE2B_256 = 0xb220,
};

struct cid {
    uint8_t len;     /* of bytes; 0: no CID */
    uint8_t hash_at; /* where the multihash begins: 0 for v0 */
    uint8_t bytes[CID_MAX];
};

static inline struct span cid_span(const struct cid *c)
{
    return (struct span){c->bytes, c->len};
}

/* The multihash: the key of a block. */
static inline struct span cid_hash(const struct cid *c)
{
    return (struct span){c->bytes + c->hash_at, (size_t)c->len - c->hash_at};
}

static inline bool cid_is_none(const struct cid *c)
{
    return c->len == 0;
}

bool cid_eq(const struct cid *a, const struct cid *b);
bool cid_same_block(const struct cid *a, const struct cid *b); /* equal multihashes */
uint64_t cid_mix(const struct cid *c); /* 64 well-mixed bits of the multihash, for hash tables; not a secret */
int cid_version(const struct cid *c);  /* 0 or 1 */
uint64_t cid_codec(const struct cid *c);
uint64_t cid_hash_code(const struct cid *c);
struct span cid_digest(const struct cid *c); /* borrowed from c */

/* Identity CIDs carry the block itself: true, and the bytes (borrowed from c). */
bool cid_inline(const struct cid *c, struct span *ret_block);

/* From parts. `multihash` is checked: 0 or ERR_INVALID. */
int cid_from_hash(struct cid *ret, int version, uint64_t codec, struct span multihash);
void cid_sha256(struct cid *ret, uint64_t codec, const uint8_t digest[32]); /* v1 */
void cid_of(struct cid *ret, uint64_t codec, struct span block);            /* v1, hashes with sha2-256 */
/* The same multihash as v1 with another codec. */
void cid_recode(struct cid *ret, const struct cid *c, uint64_t codec);

/* Binary. cid_read takes one CID from the front of `in`: bytes used, or ERR_TRUNCATED, ERR_INVALID. cid_parse takes all
 * of it. */
int cid_read(struct span in, struct cid *ret);
int cid_parse(struct span in, struct cid *ret);

/* One multihash at the front of `in`: bytes used, or ERR_TRUNCATED, ERR_INVALID (also for functions not allowed). */
int multihash_read(struct span in, uint64_t *ret_code, struct span *ret_digest);

/* Text: v0 `Qm…`, v1 in any base of multibase.h. ERR_INVALID with a sentence in `why`. */
int cid_from_text(struct span text, struct cid *ret, struct why *why);

/* v0 as base58btc, v1 as base32 lower. NUL-terminated. */
#define CID_TEXT_SIZE 256
char *cid_text(const struct cid *c, char text[CID_TEXT_SIZE]);       /* returns text; "-" for no CID */
void cid_text_base(const struct cid *c, char base, struct buf *out); /* v1 in another base; v0 ignores it */

#endif
