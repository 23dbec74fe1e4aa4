/* SPDX-License-Identifier: MIT
 *
 * The UDP sockets of mDNS: one for each family on port 5353, joined to the group on each interface. They share the port with
 * other responders (SO_REUSEADDR, SO_REUSEPORT), hear their own machine (IP_MULTICAST_LOOP: several nodes on one host see
 * each other), and know by IP_PKTINFO where a datagram came from. Every call on the loop's thread.
 */
#ifndef NET_TRANSPORT_MULTICAST_H
#define NET_TRANSPORT_MULTICAST_H

#include "net/io/loop.h"
#include "store/base/span.h"

#include <netinet/in.h>

struct multicast;

struct multicast_from {
    unsigned iface;
    bool v6;
    uint8_t ip[16]; /* 4 bytes used for v4 */
    uint16_t port;
};

/* At most this much of a datagram is taken. */
#define MULTICAST_INPUT_MAX 9000

/* `input` gets each datagram; the span is borrowed for the call. ERR_*: no such family, or the port is taken exclusively. */
int multicast_new(struct multicast **ret, struct loop *loop, bool v6,
                  void (*input)(void *arg, const struct multicast_from *from, struct span datagram), void *arg);
struct multicast *multicast_free(struct multicast *m); /* NULL accepted */

int multicast_join(struct multicast *m, unsigned iface); /* 0, also when joined already */
void multicast_leave(struct multicast *m, unsigned iface);

/* To the group on `iface`, or to the address in `to` when it is not NULL. Errors are told and may be ignored: mDNS repeats. */
int multicast_send(struct multicast *m, unsigned iface, const struct multicast_from *to, struct span datagram);

#endif
