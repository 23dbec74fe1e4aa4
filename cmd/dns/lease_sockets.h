/* SPDX-License-Identifier: MIT
 *
 * Listening sockets on leased addresses. They are opened when a name is asked for, before its answer leaves, because a program
 * connects right after it; they are closed when the lease has not been used for LEASE_IDLE, and earlier, the least recently
 * used lease first, when LEASE_SOCKETS_MAX would be passed. Connections that were taken do not depend on them.
 *
 * The thread of `base`.
 *
 *   asked for ─► open ─► idle, or another lease needs the room ─► closed ─► asked for ─► open …
 */
#ifndef CMD_DNS_LEASE_SOCKETS_H
#define CMD_DNS_LEASE_SOCKETS_H

#include "cmd/dns/leases.h"
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
};

struct lease_sockets *lease_sockets_new(const struct lease_sockets_options *o);
struct lease_sockets *lease_sockets_free(struct lease_sockets *s); /* NULL accepted */

/* Listens on `port`, 0: one that the system chooses, unless it does already. 0; ERR_DENIED: below what we may have; ERR_BUSY:
 * another program has it, on this address or on all of them, and so it gets who connects there; ERR_LIMIT. */
int lease_sockets_open(struct lease_sockets *s, struct lease *lease, uint16_t port);
bool lease_sockets_has(const struct lease_sockets *s, const struct lease *lease, uint16_t port);
uint16_t lease_sockets_chosen(const struct lease_sockets *s, const struct lease *lease); /* for port 0; 0: none is open */
/* The open ports in turn; i from 0 until 0. */
uint16_t lease_sockets_at(const struct lease_sockets *s, const struct lease *lease, unsigned i);
void lease_sockets_close(struct lease_sockets *s, struct lease *lease);
void lease_sockets_tick(struct lease_sockets *s, mono_ns now);

#endif
