/* SPDX-License-Identifier: MIT
 *
 * Public keys of peers (libp2p specs, peer-ids): Ed25519, RSA, secp256k1 and ECDSA; verification of their signatures. And our
 * own identity, which is always Ed25519.
 *
 * The serialized form `type=1, data=2` is hashed into the peer id, so it is always encoded the same way: both fields, in
 * order, minimal. What is parsed is encoded again before it is hashed. Ed25519 uses libsodium, the others OpenSSL.
 */
#ifndef NET_ADDR_PUBKEY_H
#define NET_ADDR_PUBKEY_H

#include "net/addr/peerid.h"
#include "store/base/rng.h"

#define PUBKEY_DATA_MAX    1100                   /* an RSA key of 8192 bits takes 1062 as SubjectPublicKeyInfo */
#define PUBKEY_ENCODED_MAX (PUBKEY_DATA_MAX + 16) /* with the protobuf around it */
#define ED25519_PUBLIC     32
#define ED25519_SEED       32
#define ED25519_SECRET     64 /* seed ‖ public */
#define ED25519_SIGNATURE  64

enum pubkey_type { PUBKEY_RSA = 0, PUBKEY_ED25519 = 1, PUBKEY_SECP256K1 = 2, PUBKEY_ECDSA = 3 };

struct pubkey {
    enum pubkey_type type;
    uint16_t len;
    uint8_t data[PUBKEY_DATA_MAX]; /* Ed25519: 32 bytes; secp256k1: 33, compressed; RSA, ECDSA: SubjectPublicKeyInfo, DER */
};

/* A serialized PublicKey. Lengths are checked, curves and DER only by pubkey_verify. ERR_INVALID, ERR_UNSUPPORTED (type). */
int pubkey_parse(struct span in, struct pubkey *ret);
void pubkey_encode(const struct pubkey *k, struct buf *out); /* appends */
void pubkey_id(const struct pubkey *k, struct peer_id *ret);
bool pubkey_eq(const struct pubkey *a, const struct pubkey *b);
/* The key that stands in the id. ERR_NOT_FOUND: the id is only a hash. ERR_INVALID. */
int pubkey_from_id(const struct peer_id *id, struct pubkey *ret);

/* 0; ERR_VERIFY: not this key's signature of `message`, or the key itself is malformed or outside what we take (RSA of 2048 to
 * 8192 bits, ECDSA on P-256, P-384 or P-521). */
int pubkey_verify(const struct pubkey *k, struct span message, struct span signature);

/* ---- our own ---- */

struct identity {
    struct peer_id id;
    uint8_t public_key[ED25519_PUBLIC];
    uint8_t secret[ED25519_SECRET];
};

void identity_new(struct identity *ret, struct rng *rng);
void identity_from_seed(struct identity *ret, const uint8_t seed[ED25519_SEED]);
/* A serialized PrivateKey (Ed25519, 64 bytes or the old 96): ERR_INVALID when its halves disagree, ERR_UNSUPPORTED other
 * types. */
int identity_parse(struct span in, struct identity *ret);
void identity_encode(const struct identity *i, struct buf *out); /* PrivateKey; wipe `out` after use */
void identity_wipe(struct identity *i);
void identity_pubkey(const struct identity *i, struct pubkey *ret);
void identity_sign(const struct identity *i, struct span message, uint8_t ret_signature[ED25519_SIGNATURE]);

#endif
