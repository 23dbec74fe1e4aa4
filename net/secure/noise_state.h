/* SPDX-License-Identifier: MIT
 *
 * The symmetric and handshake state of Noise_XX_25519_ChaChaPoly_SHA256 (noiseprotocol.org revision 34, section 5): keys,
 * chaining key, handshake hash. noise.c strings these tokens into libp2p's three messages; the tests string them into the
 * published vectors. Ours alone: other folders use noise.h.
 */
#ifndef NET_SECURE_NOISE_STATE_H
#define NET_SECURE_NOISE_STATE_H

#include "store/base/err.h"
#include "store/base/span.h"

#include <stdbool.h>

#define NOISE_DH    32
#define NOISE_HASH  32
#define NOISE_KEY   32
#define NOISE_NONCE 12

struct noise_keys {
    uint8_t static_secret[NOISE_DH];
    uint8_t ephemeral_secret[NOISE_DH];
};

struct noise_state {
    uint8_t ck[NOISE_HASH];
    uint8_t h[NOISE_HASH];
    uint8_t k[NOISE_KEY];
    bool keyed;
    uint64_t nonce;
    struct noise_keys own;
    uint8_t static_public[NOISE_DH], ephemeral_public[NOISE_DH];
    uint8_t remote_static[NOISE_DH], remote_ephemeral[NOISE_DH];
};

/* Which of our keys meets which of theirs. The pattern's `es` and `se` name the initiator's key first: a responder reads them
 * the other way round. */
enum noise_dh { NOISE_EE, NOISE_ES /* our ephemeral, their static */, NOISE_SE /* our static, their ephemeral */ };

void noise_state_init(struct noise_state *s, const struct noise_keys *keys, struct span prologue);
void noise_state_wipe(struct noise_state *s);

/* The tokens of a message. Writers append to `out`; readers take from the front of `in`: ERR_PROTOCOL when it is too
 * short, ERR_VERIFY when it does not decrypt. noise_state_mix_dh: ERR_PROTOCOL when the result is zero (a point of small
 * order). */
void noise_state_write_e(struct noise_state *s, struct buf *out);
void noise_state_write_s(struct noise_state *s, struct buf *out);
int noise_state_read_e(struct noise_state *s, struct span *in);
int noise_state_read_s(struct noise_state *s, struct span *in);
int noise_state_mix_dh(struct noise_state *s, enum noise_dh which);

/* EncryptAndHash, DecryptAndHash: without a key yet, they pass the bytes through. */
void noise_state_write_sealed(struct noise_state *s, struct span plain, struct buf *out);
int noise_state_read_sealed(struct noise_state *s, struct span sealed, struct buf *out);

/* k1: what the initiator sends with; k2: the responder. */
void noise_state_split(const struct noise_state *s, uint8_t ret_k1[NOISE_KEY], uint8_t ret_k2[NOISE_KEY]);

#endif
