/* SPDX-License-Identifier: MIT
 *
 * The whole node without I/O: connections, peers, dialing, identify, ping, block exchange and LAN discovery as one machine.
 * The engine drives it with sockets and the clock; the simulator drives hundreds of them in one process. No globals, no
 * clock, no randomness of its own: the same inputs give the same actions.
 *
 * How to drive it: hand in what happened, then pull host_next until it says false, carry each action out, and come back at
 * host_deadline with host_expire. Actions are never answered before host_next returns; answers are inputs like others.
 * One thread. Everything a peer can cause is bounded: connections by net/swarm/connlimit.h, peers by the peerstore, bytes by
 * the limits of conn and exchange and by the budget (when it is used up, HOST_PAUSE).
 *
 * Life of a connection: host_accepted, or HOST_DIAL and host_dialed, give a struct host_conn or refuse it (NULL: the owner
 * closes
 * the socket). It is valid until HOST_CLOSE has been pulled for it, whatever happens before; the owner then closes the socket.
 */
#ifndef NET_HOST_HOST_H
#define NET_HOST_HOST_H

#include "net/addr/multiaddr.h"
#include "net/addr/pubkey.h"
#include "net/conn/conn.h"
#include "net/exchange/exchange.h"
#include "net/swarm/peerstore.h"
#include "net/service/service.h"
#include "net/swarm/selfaddrs.h"
#include "store/base/rng.h"

struct host;
struct host_conn;
struct host_raw;

#define HOST_LAN_PEERS_MAX      64              /* peers on the LAN that we connect to by ourselves */
#define HOST_PEER_CONNS_MAX     8               /* connections with one peer */
#define HOST_CALLS_MAX          4096            /* calls that wait */
#define HOST_IDLE_CLOSE         (60 * MONO_S)   /* without streams, when there are more connections than the low water mark */
#define HOST_IDLE_CLOSE_CALM    (1800 * MONO_S) /* and when there are fewer */
#define HOST_GRACE              (20 * MONO_S)   /* a new connection is not pruned */
#define HOST_MAX_CONNECTIONS    96              /* default; strangers may have 3/4 of it, the low water mark is 5/8 */
#define HOST_CONNECTIONS_PER_IP 16              /* default */

struct host_config {
    const struct identity *identity; /* borrowed for the host's life */
    struct rng rng;                  /* copied */
    struct budget *budget;
    const char *agent; /* borrowed */
    bool mdns;
    unsigned max_connections, max_connections_per_ip; /* 0: the default */
    uint64_t descriptors;                             /* that streams of services may have; 0: there is no limit */
    uint64_t upload_limit, download_limit;            /* bytes of blocks per second, 0: none */
    struct conn_limits limits;                        /* 0 in a field: the default of conn.h */
    const struct services *services;                  /* borrowed, NULL: none; host_services_changed tells of changes */
    wall_ns wall;                                     /* the wall clock at `now` of host_new */
};

struct host *host_new(const struct host_config *c, mono_ns now);
/* Says goodbye to everybody, settles every want and call with ERR_CANCELLED. Pull the actions, then host_free. */
void host_stop(struct host *h, mono_ns now);
struct host *host_free(struct host *h);                        /* NULL accepted */
void host_set_wall(struct host *h, wall_ns wall, mono_ns now); /* now and then: the clocks drift */

/* ---- the machine we run on ---- */

void host_listening(struct host *h, const struct multiaddr *bound, unsigned count, mono_ns now);
void host_interfaces(struct host *h, const struct self_iface *ifaces, unsigned count, mono_ns now);
bool host_online(const struct host *h);              /* an interface other than loopback is up, or a peer is connected */
void host_budget_freed(struct host *h, mono_ns now); /* the budget's eventfd fired */

/* ---- connections ---- */

/* `owner` comes back in actions. NULL: refused, close it. */
struct host_conn *host_accepted(struct host *h, void *owner, const struct multiaddr *remote, const struct multiaddr *local,
                                mono_ns now);
/* Answer to HOST_DIAL: err 0 and where it comes from, or why not (then `owner` and `local` are not used, and NULL is
 * returned). NULL with
 * err 0: not needed any more, close it. */
struct host_conn *host_dialed(struct host *h, uint64_t dial, void *owner, int err, const struct multiaddr *local, mono_ns now);
/* Answer to HOST_RESOLVE: addresses like the one asked for, with the name replaced. */
void host_resolved(struct host *h, uint64_t dial, int err, const struct multiaddr *addrs, unsigned count, mono_ns now);

uint8_t *host_input_reserve(struct host *h, struct host_conn *c, size_t *ret_room); /* room > 0 */
bool host_input_commit(struct host *h, struct host_conn *c, size_t n, mono_ns now); /* false: stop reading until HOST_RESUME */
bool host_input(struct host *h, struct host_conn *c, struct span in, mono_ns now);  /* the same, copying */
void host_input_end(struct host *h, struct host_conn *c, int err, mono_ns now);
/* After HOST_SEND: appends at most `most` (≥ 256) bytes; 0: nothing more until the next HOST_SEND. */
size_t host_output(struct host *h, struct host_conn *c, struct buf *out, size_t most, mono_ns now);

struct host_datagram { /* mDNS */
    unsigned iface;
    bool v6;
    uint8_t ip[16];
    uint16_t port;
};
void host_datagram(struct host *h, const struct host_datagram *from, struct span datagram, mono_ns now);

/* ---- blocks (exchange.h, want.h) ---- */

int host_want(struct host *h, struct want *take_w, mono_ns now); /* 0, or ERR_AGAIN: not taken */
void host_cancel(struct host *h, struct want *w, mono_ns now);
void host_raise(struct host *h, struct want *w, enum want_priority p, mono_ns now);
void host_have(struct host *h, const struct cid *cid, mono_ns now);
void host_loaded(struct host *h, uint64_t tag, int result, uint64_t size, struct block *take_b, mono_ns now);
void host_verified(struct host *h, uint64_t tag, struct block *take_b, int result, mono_ns now);
void host_stored(struct host *h, const struct cid *cid, int result, mono_ns now);
const struct host_sources *host_sources_of(const struct host *h); /* host_sources.h: who delivered what */

/* ---- commands ---- */

enum host_verb { HOST_CONNECT, HOST_DISCONNECT, HOST_PING, HOST_FORGET, HOST_PROTECT, HOST_LIMITS, HOST_OPEN };
#define HOST_CALL_TIMEOUT (15 * MONO_S)

struct host_call {
    enum host_verb verb;
    void *owner;                           /* the caller's */
    struct peer_id peer;                   /* answer of CONNECT too */
    struct multiaddr addr;                 /* CONNECT; empty: known addresses of peer */
    bool on;                               /* PROTECT */
    uint64_t upload_limit, download_limit; /* LIMITS */
    unsigned max_connections;              /* LIMITS; 0: unchanged */
    char protocol[SERVICE_ID_SIZE];        /* OPEN. In the answer: which it is */
    char other[SERVICE_ID_SIZE];           /* OPEN: proposed when the peer does not speak that one; "": none */
    struct host_raw *raw;                  /* OPEN: the answer, see host_raw.h */
    mono_ns deadline;                      /* 0: HOST_CALL_TIMEOUT from now */
    /* ERR_UNREACHABLE, ERR_OFFLINE, ERR_TIMEOUT, ERR_VERIFY, ERR_REFUSED, ERR_LIMIT, ERR_NOT_FOUND, ERR_INVALID,
     * ERR_CANCELLED, ERR_DENIED (OPEN: the peer does not offer it to us) */
    int result;
    mono_ns rtt; /* PING */
    struct why why;
    struct host_call *next; /* these two: the host's while it has the call */
    bool again;
};
/* Comes back by HOST_CALLED, exactly once. */
void host_call(struct host *h, struct host_call *take_c, mono_ns now);

/* ---- actions ---- */

enum host_action_type {
    HOST_NONE,
    HOST_DIAL,         /* dial, addr: connect, then host_dialed */
    HOST_ABORT,        /* dial: not needed any more; no answer is expected (one is ignored) */
    HOST_RESOLVE,      /* dial, addr (a name, or /dnsaddr), peer (may be none): look it up, then host_resolved */
    HOST_SEND,         /* conn: host_output has bytes */
    HOST_HOLD,         /* conn: stop reading */
    HOST_RESUME,       /* conn: read again */
    HOST_CLOSE,        /* owner: close the socket; the host_conn is gone */
    HOST_MULTICAST,    /* datagram, to (v6, iface): to the mDNS group */
    HOST_UNICAST,      /* datagram, to */
    HOST_LOAD,         /* cid, tag, most: as EXCHANGE_LOAD, then host_loaded */
    HOST_VERIFY,       /* block, prefix, tag: exchange_verify_block on a worker, then host_verified */
    HOST_STORE,        /* block (one reference), then host_stored */
    HOST_SETTLE,       /* want: to its asker */
    HOST_CALLED,       /* call: to its asker */
    HOST_EVENT,        /* kind, text: one line of .p2p/events */
    HOST_SAVE,         /* the peerstore changed: host_save_peers some time */
    HOST_STREAM_CAME,  /* raw, peer, text: its protocol id. These three: host_raw.h */
    HOST_STREAM_READY, /* raw, owner */
    HOST_STREAM_END,   /* owner, result, whole */
};

struct host_action {
    enum host_action_type type;
    void *owner; /* of conn */
    struct host_conn *conn;
    uint64_t dial, tag, most;
    struct multiaddr addr;
    struct host_datagram to;
    struct span datagram; /* these and the texts: borrowed until the next call */
    struct cid cid;
    struct block *block;
    struct exchange_prefix prefix;
    struct want *want;
    struct host_call *call;
    struct host_raw *raw;
    struct peer_id peer;
    int result;
    bool by_user; /* somebody here asked for the dial */
    bool whole;   /* the peer finished before, and everything was taken */
    const char *kind, *text;
};

bool host_next(struct host *h, struct host_action *ret, mono_ns now);
mono_ns host_deadline(const struct host *h);
void host_expire(struct host *h, mono_ns now);

/* ---- the peerstore on disk ---- */

int host_load_peers(struct host *h, struct span saved, mono_ns now); /* the errors of peerstore_load; friends are dialed */
void host_save_peers(struct host *h, struct buf *out, mono_ns now);

/* ---- to look at ---- */

struct host_peer_info {
    struct peer_id id;
    bool connected, lan, saved, is_friend, inbound;
    unsigned connections, streams;
    wall_ns last_seen;
    mono_ns rtt, connected_for;
    const char *agent;              /* all pointers: borrowed until the host is changed */
    const struct multiaddr *remote; /* of the newest connection; NULL: none */
    const struct peer_entry *entry; /* known addresses */
    const char *const *protocols;
    unsigned protocol_count;
    uint64_t bytes_in, bytes_out; /* on the wire since it is connected */
    struct exchange_ledger ledger;
};
struct host_stats {
    unsigned connections, pending, peers, wants;
    uint64_t bytes_in, bytes_out;
    struct exchange_ledger blocks; /* of all peers, those that are gone too */
    uint64_t changes;              /* grows with every change worth showing */
};
/* Calls `each` for connected peers, then for others that are known, most recently used first, `most` in all. */
void host_each_peer(struct host *h, unsigned most, mono_ns now, void (*each)(void *arg, const struct host_peer_info *p),
                    void *arg);
void host_stats(const struct host *h, struct host_stats *ret);
const struct selfaddrs *host_self(const struct host *h);
unsigned host_observed(const struct host *h, struct multiaddr *ret, unsigned most);

#endif
