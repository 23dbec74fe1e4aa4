/* SPDX-License-Identifier: MIT
 *
 * Sockets on leased addresses: listening ones, and ones of datagrams, which are handed over. They are opened when a name is
 * asked for, before its answer leaves, because a program connects right after it; they are closed when the lease has not been
 * used for LEASE_IDLE, and earlier, the least recently used lease first, when LEASE_SOCKETS_MAX would be passed. Connections
 * that were taken do not depend on them; flows of datagrams do, and are a use of the lease.
 *
 * The thread of `base`.
 *
 *   asked for ─► open ─► idle, or another lease needs the room ─► closed ─► asked for ─► open …
 */
#ifndef CMD_DNS_LEASE_SOCKETS_H
#define CMD_DNS_LEASE_SOCKETS_H

#include "cmd/dns/leases.h"
#include "cmd/dns/service_ports.h"
#include "store/base/err.h"

#define LEASE_SOCKETS_MAX 384
#define LEASE_IDLE        (600 * MONO_S)

struct event_base;
struct lease_sockets;

struct lease_sockets_options {
    struct event_base *base;
    struct leases *leases;
    void *arg;
    /* Somebody connected to `port` of the lease; the descriptor is the callee's, non-blocking. */
    void (*accepted)(void *arg, struct lease *lease, uint16_t port, int take_fd);
    /* A socket of datagrams on `port` of the lease; the descriptor is the callee's. By what it is to be closed; 0: it is not
     * taken, and closed. */
    uint64_t (*bound)(void *arg, struct lease *lease, uint16_t port, int take_fd);
    void (*unbound)(void *arg, uint64_t number);
};

struct lease_sockets *lease_sockets_new(const struct lease_sockets_options *o);
struct lease_sockets *lease_sockets_free(struct lease_sockets *s); /* NULL accepted */

/* Listens on `port`, 0: one that the system chooses, unless it does already. 0; ERR_DENIED: below what we may have; ERR_BUSY:
 * another program has it, on this address or on all of them, and so it gets who connects there; ERR_LIMIT. */
int lease_sockets_open(struct lease_sockets *s, struct lease *lease, enum service_way way, uint16_t port);
bool lease_sockets_has(const struct lease *lease, enum service_way way, uint16_t port);
uint16_t lease_sockets_chosen(const struct lease *lease, enum service_way way); /* for port 0; 0: none is open */
/* Of the socket that is to be closed by `number`: how many flows there are, and were so far, these too. */
void lease_sockets_flows(struct lease_sockets *s, uint64_t number, unsigned open, uint64_t total, mono_ns now);
void lease_sockets_close(struct lease_sockets *s, struct lease *lease);
void lease_sockets_tick(struct lease_sockets *s, mono_ns now);

#endif
