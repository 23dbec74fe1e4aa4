/* SPDX-License-Identifier: MIT
 *
 * How many connections there may be: in all, from one IPv4 address or IPv6 /56, and how many of them may be unfinished
 * handshakes. One thread, pure. The host takes a place before it makes a connection and gives it back after.
 */
#ifndef NET_SWARM_CONNLIMIT_H
#define NET_SWARM_CONNLIMIT_H

#include "net/addr/multiaddr.h"

/* An IPv4 address, or the first 56 bits of an IPv6 one. 0: no IP address; all of those count as one. */
typedef uint64_t ip_group;
ip_group ip_group_of(const struct multiaddr *addr);

#define CONNLIMIT_PENDING_PER_IP 16  /* handshakes (PROTOCOLS.md section 7) */
#define CONNLIMIT_PENDING_MAX    256 /* in all */

struct connlimit;

struct connlimit *connlimit_new(unsigned total, unsigned per_ip);
struct connlimit *connlimit_free(struct connlimit *l);                    /* NULL accepted */
void connlimit_set(struct connlimit *l, unsigned total, unsigned per_ip); /* what is above stays until it closes */

/* A connection that came in: 0, or ERR_LIMIT. Ours (`ours`) are limited by the total only: we chose the address. Pending until
 * connlimit_established. */
int connlimit_take(struct connlimit *l, ip_group g, bool ours);
void connlimit_established(struct connlimit *l, ip_group g);
void connlimit_give(struct connlimit *l, ip_group g, bool pending);

unsigned connlimit_total(const struct connlimit *l);
unsigned connlimit_pending(const struct connlimit *l);
unsigned connlimit_of(const struct connlimit *l, ip_group g);

#endif
