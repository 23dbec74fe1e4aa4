/* SPDX-License-Identifier: MIT
 *
 * The addresses at which others see us (PROTOCOLS.md section 8): counted over live connections, by distinct groups of observers
 * (one IPv4 address or IPv6 /56 has one voice). Only public addresses, and only from connections that used our listen port.
 * One thread, pure.
 */
#ifndef NET_SWARM_OBSERVED_H
#define NET_SWARM_OBSERVED_H

#include "net/swarm/connlimit.h"

#define OBSERVED_MAX           32 /* addresses; further ones are not counted until one is free */
#define OBSERVED_OBSERVERS_MAX 32 /* groups for each */
#define OBSERVED_ACTIVATE      4  /* groups that must agree */
#define OBSERVED_BEST          3  /* reported at most */

struct observed;

struct observed *observed_new(void);
struct observed *observed_free(struct observed *o); /* NULL accepted */

/* A connection from `by` says so. true: counted; then observed_remove with the same arguments when it closes or says
 * otherwise. */
bool observed_add(struct observed *o, const struct multiaddr *addr, ip_group by);
void observed_remove(struct observed *o, const struct multiaddr *addr, ip_group by);
/* The addresses that enough groups agree on, most observers first; returns how many. */
unsigned observed_best(const struct observed *o, struct multiaddr ret[OBSERVED_BEST]);

#endif
