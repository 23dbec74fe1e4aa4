/* SPDX-License-Identifier: MIT
 *
 * Which addresses of a peer are worth dialing, in which order and when (PROTOCOLS.md section 7, "happy eyeballs"). Pure
 * functions: the host keeps the attempts.
 */
#ifndef NET_SWARM_DIALPLAN_H
#define NET_SWARM_DIALPLAN_H

#include "net/addr/multiaddr.h"
#include "store/base/mono.h"

#define DIAL_PARALLEL_MAX  8   /* for one peer */
#define DIAL_TOTAL_MAX     160 /* for the node */
#define DIAL_TIMEOUT       (15 * MONO_S)
#define DIAL_TIMEOUT_LOCAL (5 * MONO_S)    /* loopback, link-local, private */
#define DIAL_STEP          (250 * MONO_MS) /* between two public addresses, v6 before v4 */
#define DIAL_STEP_LOCAL    (30 * MONO_MS)
#define DIAL_BACKOFF_MAX   (300 * MONO_S)

struct dial_candidate {
    struct multiaddr addr;
    wall_ns last_success; /* 0: never */
    unsigned failures;
    mono_ns delay; /* out: start that long after the first */
};

/* Orders the candidates and fills their delays: local ones first (loopback, private, link-local), then public; v6 before
 * v4; within that, what worked last, then what failed least. Stable. */
void dialplan_order(struct dial_candidate *c, unsigned count);

mono_ns dial_timeout(const struct multiaddr *addr);
mono_ns dial_backoff(unsigned failures); /* failures ≥ 1: 5 s + failures² s, at most 5 min */

/* Is it worth keeping and dialing what a peer at `teller` told (MA_SCOPE_*; `same_machine`: the teller is one of our own
 * addresses)? Never: unspecified, reserved, link-local without a zone. Loopback: only when the teller is on this machine.
 * Private:
 * only when the teller is not public. */
bool dial_sensible(const struct multiaddr *addr, enum multiaddr_scope teller, bool same_machine);

#endif
