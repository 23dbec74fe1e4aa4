/* SPDX-License-Identifier: MIT
 *
 * TCP: listening, dialing, and the bytes of connections, on one loop. Every call on the loop's thread.
 *
 * The owner (the engine) answers the callbacks from the host machine. Received bytes go straight into the room the machine
 * gives,
 * so this file holds none; of bytes to send it holds at most what one pull gave and the kernel did not take yet, and its
 * scratch is charged to the budget once. Back-pressure: commit() answers whether to go on reading; a paused connection is not
 * watched, so that the kernel's window closes.
 *
 * Callbacks must not close the connection they are called for (the machine's actions are carried out in the loop's turn).
 *
 * The receive buffer is left to the kernel: setting SO_RCVBUF switches its tuning off, which goes up to tcp_rmem[2]. The send
 * buffer, too (tcp_wmem[2], 4 MB as shipped: a BDP of 200 Mbit/s × 120 ms), but where net.core.wmem_max allows for more than
 * that we take it: a congestion control that probes with up to three times the path's BDP in flight (BBR) and meets a full
 * buffer believes that the program has no more to send, and keeps probing, with a tenth of the packets lost, for ever.
 * TCP_NOTSENT_LOWAT keeps what is queued there but not sent small, so that pings and window updates do not wait behind
 * megabytes, and so that a large buffer costs memory only while it is in flight. A connection in a hurry (datagrams) keeps it
 * smaller still, here and there: what stands before a datagram makes it old.
 */
#ifndef NET_TRANSPORT_TCP_H
#define NET_TRANSPORT_TCP_H

#include "net/addr/multiaddr.h"
#include "net/io/loop.h"
#include "store/base/budget.h"

struct tcp;
struct tcp_conn;

struct tcp_callbacks {
    void *arg;
    /* A connection came in. Its owner from now on, or NULL: refused, it is closed. */
    void *(*accepted)(void *arg, struct tcp_conn *c, const struct multiaddr *remote, const struct multiaddr *local);
    /* A dial ended: 0, or the error (then the connection is freed after the call). Answers the owner from now on; NULL:
     * close it. */
    void *(*dialed)(void *arg, void *owner, struct tcp_conn *c, int err, const struct multiaddr *local);
    uint8_t *(*reserve)(void *arg, void *owner, size_t *ret_room); /* room > 0; NULL: end it */
    bool (*commit)(void *arg, void *owner, size_t n); /* n bytes came; false: stop reading (tcp_conn_pause is told) */
    void (*ended)(void *arg, void *owner, int err);   /* no more bytes will come: 0 at the end, or why */
    size_t (*output)(void *arg, void *owner, struct buf *out, size_t most);
    void (*event)(void *arg, const char *kind, const char *text); /* descriptors ran out, and the like */
};

struct tcp *tcp_new(struct loop *loop, struct budget *budget, const struct tcp_callbacks *cb);
struct tcp *tcp_free(struct tcp *t); /* closes all listeners and connections, without callbacks */

/* Listens on /ip4|ip6/…/tcp/N; port 0: any. What was bound is written to *ret_bound. ERR_BUSY: the port is taken; ERR_INVALID;
 * ERR_UNSUPPORTED: no such family on this machine; ERR_LIMIT: descriptors or TCP_LISTEN_MAX. */
#define TCP_LISTEN_MAX 16
int tcp_listen(struct tcp *t, const struct multiaddr *addr, struct multiaddr *ret_bound);
void tcp_unlisten(struct tcp *t);

/* Begins to connect; dialed() tells how it ended, never before this returns. Public addresses are dialed from our listen
 * port, so that what the peer observes is worth something (PROTOCOLS.md section 8); local ones from any port, where two nodes
 * dialing each other at once would meet in a TCP simultaneous open. ERR_INVALID, ERR_UNSUPPORTED, ERR_LIMIT, ERR_UNREACHABLE,
 * ERR_OFFLINE. */
int tcp_dial(struct tcp *t, const struct multiaddr *addr, void *owner, struct tcp_conn **ret);

void tcp_conn_pause(struct tcp_conn *c, bool paused); /* stop or go on reading */
void tcp_conn_flush(struct tcp_conn *c);              /* there is output: pull and send */
void tcp_conn_hurry(struct tcp_conn *c, mono_ns now); /* for some seconds little may stand unsent before what is said next */
void tcp_conn_close(struct tcp_conn *c);              /* also a dial under way; frees; no callback. Unsent bytes are dropped */

mono_ns tcp_deadline(const struct tcp *t); /* of a listener that waits for descriptors */
void tcp_expire(struct tcp *t, mono_ns now);

#endif
