/* SPDX-License-Identifier: MIT
 *
 * Signed envelopes (libp2p RFC 0002) and the peer records in them (RFC 0003): what a peer says about itself, so that others can
 * pass it on. The signature covers `len ‖ domain ‖ len ‖ payload type ‖ len ‖ payload`.
 *
 * On the wire the types are the raw bytes 03 01 and 03 02 and the domains the strings below, whatever the RFC texts say.
 */
#ifndef NET_ADDR_ENVELOPE_H
#define NET_ADDR_ENVELOPE_H

#include "net/addr/multiaddr.h"
#include "net/addr/pubkey.h"

#define ENVELOPE_MAX      (64 * 1024) /* longest we open */
#define ENVELOPE_TYPE_MAX 16
#define ENVELOPE_PEER     "libp2p-peer-record" /* domain; payload type 03 01 */
#define ENVELOPE_RELAY    "libp2p-relay-rsvp"  /* domain; payload type 03 02 */

extern const struct span envelope_type_peer;  /* 03 01 */
extern const struct span envelope_type_relay; /* 03 02 */

/* Appends the envelope. `type` ≤ ENVELOPE_TYPE_MAX. */
void envelope_seal(const struct identity *i, const char *domain, struct span type, struct span payload, struct buf *out);
/* 0, the signer and the payload (appended). ERR_INVALID: malformed, or of another type; ERR_VERIFY: the signature is wrong;
 * ERR_TOO_BIG. On failure nothing is written. */
int envelope_open(struct span in, const char *domain, struct span type, struct pubkey *ret_signer, struct buf *payload);

/* ---- peer records ---- */

#define PEER_RECORD_ADDRS_MAX 64 /* further addresses are left out */

struct peer_record {
    struct peer_id peer;
    uint64_t seq; /* the higher one replaces the other wholesale */
    unsigned count;
    struct multiaddr *addrs; /* owned; those that could be parsed */
};

void peer_record_done(struct peer_record *r);
/* Appends the sealed envelope of our record; r->peer must be i->id. */
void peer_record_seal(const struct identity *i, const struct peer_record *r, struct buf *out);
/* Opens and checks that the signer is the peer itself: the errors of envelope_open; ERR_VERIFY also when it is another. */
int peer_record_open(struct span envelope, struct peer_record *ret);

#endif
