/* SPDX-License-Identifier: MIT
 *
 * What we know about peers: addresses with how well they did, when they were last seen, who is a friend. In memory a table
 * with a bounded number of bytes, least recently used peers leave first; on disk what peerstore_save gives.
 *
 * Addresses are stored without a /p2p at the end. An address lives until its source's time is over; one that worked lives for
 * PEERSTORE_PROVEN_TTL after that. Failures put it off (dialplan.h: dial_backoff), never delete it. Of a friend the best one
 * stays: he may be away, or connected, for longer. Friends and peers that are pinned (connected, being dialed) are never
 * evicted. One thread, pure.
 */
#ifndef NET_SWARM_PEERSTORE_H
#define NET_SWARM_PEERSTORE_H

#include "net/addr/multiaddr.h"
#include "net/addr/peerid.h"
#include "store/base/mono.h"

#define PEERSTORE_PEERS_MAX      4096
#define PEERSTORE_FRIENDS_MAX    1024
#define PEERSTORE_ADDRS_MAX      64  /* per peer (PROTOCOLS.md section 8) */
#define PEERSTORE_ADDR_BYTES_MAX 160 /* longer ones are not kept: what we dial is below 60 */
#define PEERSTORE_BYTES_MAX      ((size_t)4 << 20)
#define PEERSTORE_AGENT_SIZE     64
#define PEERSTORE_VERSION        1

#define PEERSTORE_PEER_TTL   (3600 * MONO_S)          /* told by identify */
#define PEERSTORE_LAN_TTL    (600 * MONO_S)           /* told by mDNS, which repeats every minute */
#define PEERSTORE_PROVEN_TTL (7 * 24 * 3600 * MONO_S) /* after it worked */

enum addr_source { ADDR_FROM_PEER, ADDR_FROM_LAN, ADDR_FROM_USER, ADDR_SOURCES };

struct peer_addr {
    mono_ns expires;      /* MONO_NEVER: never */
    mono_ns retry_at;     /* not before that, unless a person asks */
    wall_ns last_success; /* 0: none */
    uint16_t failures;    /* since the last success */
    uint16_t len;
    uint8_t source; /* enum addr_source, the most lasting one */
    uint8_t bytes[];
};

struct peer_entry {
    struct peer_id id;
    struct peer_entry *hash_next, *older, *newer;
    wall_ns last_seen; /* 0: never */
    mono_ns lan_until; /* heard by mDNS lately; 0: not */
    unsigned pins;
    bool is_friend;
    bool proven; /* was connected once: worth saving */
    char agent[PEERSTORE_AGENT_SIZE];
    uint8_t addr_count;
    struct peer_addr **addrs;
};

struct peerstore;

struct peerstore *peerstore_new(void);
struct peerstore *peerstore_free(struct peerstore *ps); /* NULL accepted */

struct peer_entry *peerstore_find(struct peerstore *ps, const struct peer_id *id);  /* NULL: unknown */
struct peer_entry *peerstore_touch(struct peerstore *ps, const struct peer_id *id); /* made when unknown; newest now */
void peerstore_forget(struct peerstore *ps,
                      const struct peer_id *id); /* a pinned one loses its addresses and friendship only */
void peerstore_pin(struct peer_entry *e);
void peerstore_unpin(struct peer_entry *e);
int peerstore_set_friend(struct peerstore *ps, struct peer_entry *e, bool on); /* 0, ERR_LIMIT */
void peerstore_set_agent(struct peer_entry *e, struct span agent);             /* printable ASCII, cut; the rest becomes '?' */

/* true: it was not known. Longer than PEERSTORE_ADDR_BYTES_MAX: not kept. Beyond PEERSTORE_ADDRS_MAX the worst one gives
 * way. */
bool peerstore_learn(struct peerstore *ps, struct peer_entry *e, const struct multiaddr *addr, enum addr_source source,
                     mono_ns now);
void peerstore_succeeded(struct peerstore *ps, struct peer_entry *e, const struct multiaddr *addr, mono_ns now, wall_ns wall);
void peerstore_failed(struct peer_entry *e, const struct multiaddr *addr, mono_ns now);
void peerstore_forgive(struct peerstore *ps); /* our network is another one: what failed from the old one may do now */
void peer_addr_get(const struct peer_addr *a, struct multiaddr *ret);

void peerstore_expire(struct peerstore *ps, mono_ns now);        /* drops addresses whose time is over; every minute or so */
struct peer_entry *peerstore_newest(const struct peerstore *ps); /* then e->older: most recently used first */
size_t peerstore_count(const struct peerstore *ps);
size_t peerstore_bytes(const struct peerstore *ps);
bool peerstore_is_saved(const struct peer_entry *e); /* does peerstore_save keep it? */

/* Appends. */
void peerstore_save(const struct peerstore *ps, struct buf *out, mono_ns now, wall_ns wall);
/* Adds what was saved. 0; ERR_INVALID, ERR_TRUNCATED (what came before is kept), ERR_VERSION. */
int peerstore_load(struct peerstore *ps, struct span in, mono_ns now, wall_ns wall);

#endif
