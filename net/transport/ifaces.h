/* SPDX-License-Identifier: MIT
 *
 * The machine's interfaces and their addresses, and being told when they change (netlink). Loop's thread.
 */
#ifndef NET_TRANSPORT_IFACES_H
#define NET_TRANSPORT_IFACES_H

#include "net/io/loop.h"

#include <net/if.h>

#define IFACES_MAX      32
#define IFACE_ADDRS_MAX 16

struct iface_addr {
    bool v6;
    uint8_t ip[16]; /* 4 bytes used for v4 */
};

struct iface {
    unsigned index;
    char name[IFNAMSIZ];
    bool up, loopback, multicast, point_to_point;
    unsigned addr_count;
    struct iface_addr addrs[IFACE_ADDRS_MAX];
};

/* Fills at most IFACES_MAX, ordered by index; those without an address too. Their number, or ERR_*. */
int ifaces_read(struct iface ret[IFACES_MAX]);

struct iface_watch;
/* changed() is called when links or addresses may have changed (often several times in a row). ERR_*: not watched. */
int iface_watch_new(struct iface_watch **ret, struct loop *loop, void (*changed)(void *arg), void *arg);
struct iface_watch *iface_watch_free(struct iface_watch *w); /* NULL accepted */

#endif
