/* SPDX-License-Identifier: MIT
 *
 * How many connections there may be: in all, from one IPv4 address or IPv6 /56, and how many of them may be unfinished
 * handshakes. One thread, pure. The host takes a place before it makes a connection and gives it back after.
 *
 * And how many may come a second, since each costs a handshake (1 ms) however soon it goes: half as many as there may be, of
 * an address and of all, after as many at once as there may be. Of what all may have, one half is for addresses that were not
 * heard of for a minute, so that who comes again and again from a few does not shut out who comes for the first time. Who is
 * behind an address with somebody who does that is, as by the other limits: what he has stays, and we may dial him.
 */
#ifndef NET_SWARM_CONNLIMIT_H
#define NET_SWARM_CONNLIMIT_H

#include "net/addr/multiaddr.h"
#include "store/base/mono.h"

/* An IPv4 address, or the first 56 bits of an IPv6 one. 0: no IP address; all of those count as one. */
typedef uint64_t ip_group;
ip_group ip_group_of(const struct multiaddr *addr);

#define CONNLIMIT_PENDING_PER_IP 16  /* handshakes (PROTOCOLS.md section 7) */
#define CONNLIMIT_PENDING_MAX    256 /* in all */

struct connlimit;

struct connlimit *connlimit_new(unsigned total, unsigned per_ip, uint64_t seed);
struct connlimit *connlimit_free(struct connlimit *l);                    /* NULL accepted */
void connlimit_set(struct connlimit *l, unsigned total, unsigned per_ip); /* what is above stays until it closes */

/* A connection that came in: 0, or ERR_LIMIT. Ours (`ours`) are limited by the total only: we chose the address. Pending until
 * connlimit_established. */
int connlimit_take(struct connlimit *l, ip_group g, bool ours, mono_ns now);
void connlimit_established(struct connlimit *l, ip_group g);
void connlimit_give(struct connlimit *l, ip_group g, bool pending);

unsigned connlimit_total(const struct connlimit *l);
unsigned connlimit_pending(const struct connlimit *l);
unsigned connlimit_of(const struct connlimit *l, ip_group g);

#endif
