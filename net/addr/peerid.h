/* SPDX-License-Identifier: MIT
 *
 * Peer ids (libp2p specs, peer-ids): the multihash of a peer's public key, as a value.
 *
 * A serialized PublicKey of at most 42 bytes stands in the id itself (identity multihash, `00 len key`), a longer one by its
 * SHA-256 (`12 20 digest`). Ids of Ed25519 keys are 38 bytes long. Text: base58btc without a multibase prefix (`12D3Koo…`,
 * `Qm…`, `16Uiu2…`) or a CIDv1 with codec libp2p-key (`bafz…`, `k51…`). Unused bytes of the struct are always zero.
 */
#ifndef NET_ADDR_PEERID_H
#define NET_ADDR_PEERID_H

#include "store/base/err.h"
#include "store/base/span.h"

#include <stdbool.h>

#define PEER_ID_INLINE_MAX 42 /* longest serialized key that is its own hash */
#define PEER_ID_MAX        (2 + PEER_ID_INLINE_MAX)

struct peer_id {
    uint8_t len; /* of bytes; 0: no peer */
    uint8_t bytes[PEER_ID_MAX];
};

static inline struct span peer_id_span(const struct peer_id *p)
{
    return (struct span){p->bytes, p->len};
}

static inline bool peer_id_is_none(const struct peer_id *p)
{
    return p->len == 0;
}

bool peer_id_eq(const struct peer_id *a, const struct peer_id *b);
int peer_id_cmp(const struct peer_id *a, const struct peer_id *b); /* order of the bytes */
uint64_t peer_id_mix(const struct peer_id *p);                     /* 64 well-mixed bits for hash tables; not a secret */

/* All of `in` is one id: 0 or ERR_INVALID (neither an inline key of 1 to 42 bytes nor a sha2-256 hash). */
int peer_id_parse(struct span in, struct peer_id *ret);
/* The id of a serialized PublicKey (pubkey.h encodes it). Never fails; `key` is not checked. */
void peer_id_of_key(struct span key, struct peer_id *ret);
/* The serialized PublicKey that stands in the id, borrowed from p; false when there is only a hash. */
bool peer_id_inline_key(const struct peer_id *p, struct span *ret_key);

/* Either text form. ERR_INVALID with a sentence in `why` (may be NULL). */
int peer_id_from_text(struct span text, struct peer_id *ret, struct why *why);

#define PEER_ID_TEXT_SIZE  72 /* base58btc, NUL-terminated; "-" for no peer */
#define PEER_ID_CID_SIZE   96 /* CIDv1 libp2p-key in base36, as in IPNS names */
#define PEER_ID_SHORT_SIZE 12 /* the last 8 characters of the base58 text: for logs and tables, not unique */
char *peer_id_text(const struct peer_id *p, char text[PEER_ID_TEXT_SIZE]); /* these three return text */
char *peer_id_cid_text(const struct peer_id *p, char text[PEER_ID_CID_SIZE]);
char *peer_id_short(const struct peer_id *p, char text[PEER_ID_SHORT_SIZE]);

#endif
