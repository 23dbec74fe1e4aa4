/* SPDX-License-Identifier: MIT
 *
 * Noise_XX_25519_ChaChaPoly_SHA256 as libp2p uses it (specs, noise; noiseprotocol.org revision 34), for one connection.
 *
 *   initiator: START ─→ WAIT_2 ─→ TRANSPORT          -> e
 *   responder: WAIT_1 ─→ WAIT_3 ─→ TRANSPORT         <- e, ee, s, es, payload
 *        any ─→ FAILED                               -> s, se, payload
 *
 * A frame is `length (2) ‖ message`. The payloads carry each side's identity key and its signature of the static key, and the
 * muxers it offers; each connection has a fresh static key. The initiator's list decides: its first entry that the responder
 * has too. DH and handshake hashing are libsodium's; the bulk cipher is OpenSSL's, with one context per direction, keyed once.
 * A transport message carries at most NOISE_PLAIN_MAX bytes; batch small writes into one, or throughput collapses.
 */
#ifndef NET_SECURE_NOISE_H
#define NET_SECURE_NOISE_H

#include "net/addr/pubkey.h"

#define NOISE_MESSAGE_MAX 65535
#define NOISE_TAG         16
#define NOISE_PLAIN_MAX   (NOISE_MESSAGE_MAX - NOISE_TAG)
#define NOISE_FRAME_MAX   (2 + NOISE_MESSAGE_MAX)
#define NOISE_OVERHEAD    (2 + NOISE_TAG) /* of a transport frame */
#define NOISE_MUXERS_MAX  16              /* offers beyond these are not looked at */

struct noise;

struct noise_config {
    bool initiator;
    const struct identity *identity; /* borrowed */
    struct peer_id expected;         /* none: anybody but ourselves */
    const char *const *muxers;       /* offered early, in order of preference; borrowed */
    unsigned muxer_count;            /* 0: offers none */
    struct rng *rng;                 /* for the ephemeral and static keys; used in noise_new only */
};

struct noise *noise_new(const struct noise_config *cfg);
struct noise *noise_free(struct noise *n); /* NULL accepted; wipes */

/* Takes complete handshake frames from `in` and appends ours to `out`; call it once at the start with nothing (the
 * initiator speaks first). 1: done, what is left in `in` belongs to the transport; 0: more is needed; ERR_PROTOCOL:
 * malformed, zero DH result, or no common muxer; ERR_VERIFY: does not decrypt, or the identity's signature is wrong;
 * ERR_DENIED: another peer than expected, or ourselves. After an error the machine only fails. */
int noise_handshake(struct noise *n, struct buf *in, struct buf *out);

/* ---- once done ---- */

const struct pubkey *noise_peer_key(const struct noise *n);
const struct peer_id *noise_peer(const struct noise *n);
int noise_muxer(const struct noise *n); /* index into the offered list, or ERR_NOT_FOUND: a side offered none */

/* Appends one frame that carries the parts, one after the other (1 to NOISE_PLAIN_MAX bytes in all). */
void noise_encrypt(struct noise *n, const struct span *parts, unsigned count, struct buf *out);
/* Takes one frame from `in` and decrypts it where it lies. 1: *ret_plain, valid until `in` is appended to or its owner
 * touches it; 0: the frame is not complete; ERR_VERIFY: forged, or shorter than its tag. */
int noise_decrypt(struct noise *n, struct buf *in, struct span *ret_plain);
size_t noise_missing(const struct buf *in); /* of the frame that has begun in it; 0: none has, or it is complete */

#endif
