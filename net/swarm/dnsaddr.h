/* SPDX-License-Identifier: MIT
 *
 * /dnsaddr/<domain>[/p2p/<id>]: the addresses that the TXT records of _dnsaddr.<domain> list as `dnsaddr=<multiaddr>`, through
 * as many domains as they lead to (PROTOCOLS.md section 1.4; specs: multiformats/multiaddr, protocols/DNSADDR.md). With an id
 * only answers that end in the same one count.
 *
 * A machine without I/O: it says which name to ask and takes the answer's packet. Bounded as rust-libp2p's: DNSADDR_LOOKUPS_MAX
 * names, DNSADDR_RECORDS_MAX records of each, DNSADDR_ADDRS_MAX addresses. A name is asked once.
 */
#ifndef NET_SWARM_DNSADDR_H
#define NET_SWARM_DNSADDR_H

#include "net/addr/multiaddr.h"

#define DNSADDR_LOOKUPS_MAX 32
#define DNSADDR_RECORDS_MAX 16
#define DNSADDR_ADDRS_MAX   16

struct dnsaddr {
    struct peer_id want; /* none: any */
    char names[DNSADDR_LOOKUPS_MAX][MULTIADDR_HOST_MAX + 1];
    unsigned name_count, asked;
    struct multiaddr addrs[DNSADDR_ADDRS_MAX]; /* for TCP, without /p2p */
    unsigned addr_count;
};

bool dnsaddr_is(const struct multiaddr *m); /* /dnsaddr and nothing but a /p2p behind it */
/* `m` is such an address. */
void dnsaddr_init(struct dnsaddr *d, const struct multiaddr *m, const struct peer_id *want);
/* The name to ask for TXT records; false: that was all. */
bool dnsaddr_next(struct dnsaddr *d, char ret_name[MULTIADDR_HOST_MAX + 1]);
/* The answer to it, from anybody. 0, ERR_INVALID: it is malformed (what came before the damage counts). */
int dnsaddr_answer(struct dnsaddr *d, struct span packet);

#endif
