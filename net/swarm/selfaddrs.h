/* SPDX-License-Identifier: MIT
 *
 * Our own addresses: what we listen on, expanded by the interfaces that exist (0.0.0.0 and :: stand for every address of
 * their family). Answers what to advertise, what not to dial, and whether we are online at all. One thread, pure.
 */
#ifndef NET_SWARM_SELFADDRS_H
#define NET_SWARM_SELFADDRS_H

#include "net/addr/multiaddr.h"

#define SELF_IFACES_MAX      32
#define SELF_IFACE_ADDRS_MAX 16
#define SELF_LISTEN_MAX      16
#define SELF_ADDRS_MAX       64 /* expanded; further ones are left out, loopback first */

struct self_ip {
    bool v6;
    uint8_t ip[16]; /* 4 bytes used for v4 */
};

struct self_iface {
    unsigned index;
    bool up, loopback, multicast;
    unsigned addr_count;
    struct self_ip addrs[SELF_IFACE_ADDRS_MAX];
};

struct self_addr {
    struct multiaddr addr; /* without /p2p; link-local with /ip6zone */
    enum multiaddr_scope scope;
    unsigned iface; /* index; 0: not of an interface we know */
};

struct selfaddrs {
    unsigned listen_count, iface_count, addr_count;
    struct multiaddr listen[SELF_LISTEN_MAX]; /* as bound */
    struct self_iface ifaces[SELF_IFACES_MAX];
    struct self_addr addrs[SELF_ADDRS_MAX]; /* public, private, link-local, loopback: in this order */
};

/* Both answer true when the expanded addresses changed. Beyond the MAX: left out. */
bool selfaddrs_set_listen(struct selfaddrs *s, const struct multiaddr *listen, unsigned count);
bool selfaddrs_set_ifaces(struct selfaddrs *s, const struct self_iface *ifaces, unsigned count);

bool selfaddrs_online(const struct selfaddrs *s); /* an interface other than loopback is up and has an address */
bool selfaddrs_listens(const struct selfaddrs *s,
                       const struct multiaddr *addr); /* IP and port are ours: dialing it meets ourselves */
bool selfaddrs_is_our_ip(const struct selfaddrs *s,
                         const struct multiaddr *addr); /* loopback, or of an interface: on this machine */
/* Is `local` (of a connection) on one of our listen ports? */
bool selfaddrs_is_listen_port(const struct selfaddrs *s, const struct multiaddr *local);

#endif
