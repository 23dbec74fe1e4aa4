/* SPDX-License-Identifier: MIT
 *
 * Attempts to reach a peer, from the inside of the host (host_state.h).
 */
#ifndef NET_HOST_HOST_DIAL_H
#define NET_HOST_HOST_DIAL_H

#include "net/host/host_state.h"

enum try_state { TRY_WAIT, TRY_RESOLVING, TRY_FLYING, TRY_CONNECTED, TRY_FAILED };

struct dial_try {
    struct multiaddr addr;
    enum try_state state;
    mono_ns at;             /* WAIT: start; RESOLVING, FLYING: give up */
    int err;                /* FAILED */
    struct host_conn *conn; /* CONNECTED */
    bool explicit_;         /* a person said so: no rule but their own applies */
};

#define DIAL_TRIES_MAX 64

struct host_dial {
    struct link link; /* host->dials */
    struct host *host;
    struct host_peer *peer; /* NULL: whoever answers */
    struct peer_id expected;
    uint64_t number;
    unsigned count;
    struct dial_try tries[DIAL_TRIES_MAX];
    struct timer timer;
    mono_ns deadline;
    bool by_user;
    struct host_call *calls; /* that wait for it */
};

struct host_dial *dial_peer(struct host_peer *p, bool by_user); /* the running one, or a new one; NULL: no address to try */
struct host_dial *dial_address(struct host *h, const struct multiaddr *addr, const struct peer_id *expected);
void dial_add_address(struct host_dial *d, const struct multiaddr *addr);
void dial_step(struct host_dial *d);
void dial_try_failed(struct host_dial *d, unsigned i, int err);
void dial_try_connected(struct host_dial *d, unsigned i, struct host_conn *c);
void dial_try_resolved(struct host_dial *d, unsigned i, int err, const struct multiaddr *addrs, unsigned count);
void dial_conn_ready(struct host_conn *c);           /* its handshake is done: the dial has what it wants */
void dial_conn_failed(struct host_conn *c, int err); /* its handshake failed */
void dial_end(struct host_dial *d, int err);         /* answers its calls, aborts what flies, frees */

#endif
