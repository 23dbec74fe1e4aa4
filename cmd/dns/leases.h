/* SPDX-License-Identifier: MIT
 *
 * The addresses of 127.64.0.0/10 that stand for peers, and for single services of peers.
 *
 * An address is derived, not stored: the first 22 bits of SHA-256(our id ‖ peer's id ‖ service) say where to begin, and the
 * next address that nobody has is taken; those that end in 0 or 255 are left out. So a peer has the same address after a
 * restart and nothing is written; two leases want the same address once in four million, and then the order of asking
 * decides between these two. Our own id is in the hash so that two nodes on one machine do not want the same addresses.
 *
 * At most LEASES_MAX are kept; then the one that has not been used for longest goes, among those that nobody holds
 * (`held` is the owner's count of sockets on the address). Pure: the time is given.
 */
#ifndef CMD_DNS_LEASES_H
#define CMD_DNS_LEASES_H

#include "net/addr/peerid.h"
#include "store/base/mono.h"

#define LEASES_MAX        1024
#define LEASE_SERVICE_MAX 63
#define LEASE_FIRST       UINT32_C(0x7f400000) /* 127.64.0.0 */
#define LEASE_BITS        22

struct lease {
    struct peer_id peer;
    char service[LEASE_SERVICE_MAX + 1]; /* "": the peer itself */
    uint32_t ip;                         /* host order */
    mono_ns used;
    uint64_t accepted; /* connections to it; the owner counts */
    unsigned held;
    void *owned;   /* the owner's: lease_sockets.h */
    mono_ns tried; /* when all its ports were tried last; 0: not since they were closed */
};

struct leases;

struct leases *leases_new(const struct peer_id *self);
struct leases *leases_free(struct leases *l); /* NULL accepted */
/* The lease of that peer and service, made when there is none; valid until it goes, and a held one does not go. NULL: all are
 * held. */
struct lease *leases_get(struct leases *l, const struct peer_id *peer, const char *service, mono_ns now);
/* Each in turn, in no order; i from 0 until NULL. */
struct lease *leases_at(const struct leases *l, unsigned i);

#endif
