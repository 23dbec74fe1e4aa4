/* SPDX-License-Identifier: MIT
 *
 * The engine: one thread that owns every connection, all protocol state and timers. It drives the pure net/host machine with
 * sockets (net/transport), a libevent loop (net/io), workers (hashing, verifying, reading blocks to serve, name lookup)
 * and the committer (blocks that arrived). Nothing here blocks: no disk, no hashing of bulk data, no name lookup on this
 * thread.
 *
 * Everything public below may be called from any thread; it is a message to the engine unless it says otherwise.
 */
#ifndef NET_ENGINE_ENGINE_H
#define NET_ENGINE_ENGINE_H

#include "net/addr/multiaddr.h"
#include "net/addr/peerid.h"
#include "net/addr/pubkey.h"
#include "store/base/workers.h"
#include "store/block/blockstore.h"
#include "store/block/want.h"

struct engine;

/* ---- what the engine tells ---- */

struct engine_count { /* of streams of services */
    unsigned open;
    uint64_t streams, refused; /* since the start */
    uint64_t bytes_in, bytes_out;
    uint64_t dropped; /* datagrams */
    double seconds;   /* of all of them together */
};

/* One row of a view. Strings and arrays belong to the view. */
struct engine_peer {
    struct peer_id id;
    bool connected, lan, saved; /* found by mDNS lately; in the persistent peerstore */
    bool inbound;               /* of the newest connection */
    unsigned connections, streams;
    wall_ns last_seen;
    mono_ns rtt;              /* smoothed; 0: unknown */
    char agent[64];           /* printable; "" unknown */
    const char *remote;       /* address of the newest connection as text, "" none */
    const char *const *addrs; /* known addresses as text */
    unsigned addr_count;
    const char *const *protocols;
    unsigned protocol_count;
    uint64_t bytes_in, bytes_out; /* on the wire */
    uint64_t blocks_in, blocks_out, block_bytes_in, block_bytes_out;
    uint64_t blocks_dup, blocks_unasked, blocks_wrong;
    uint64_t wants_theirs, wants_ours; /* queued now */
    mono_ns connected_for;
    struct engine_count services;
};
struct engine_address {  /* that streams of services came from or went to */
    const char *address; /* "/ip4/192.0.2.1" */
    struct engine_count count;
};

struct engine_offer {
    const char *name, *target;     /* "tcp 127.0.0.1:22" */
    bool datagrams, any;           /* any: every peer may dial */
    const struct peer_id *allowed; /* may dial, besides */
    unsigned allowed_count;
    uint64_t connections_max, rate_max; /* 0: no limit */
    struct engine_count count;
};
struct engine_forward {
    const char *place; /* "tcp 127.0.0.1:2222" */
    struct peer_id peer;
    const char *service;
    bool listening;
    const char *fault; /* a sentence; "" works */
    struct engine_count count;
};
struct engine_stream {
    uint64_t number;
    struct peer_id peer;
    const char *service;
    bool inbound, datagrams, connecting; /* connecting: to the peer, or to the target */
    const char *local, *remote;          /* what it is joined to here; the peer's address */
    uint64_t bytes_in, bytes_out, dropped;
    double seconds;
};

struct engine_flows_row { /* of what engine_flows_open opened (engine_service.h) */
    uint64_t number;
    struct engine_count count;
};

/* A snapshot; immutable; freed with engine_view_free by whoever has it. */
struct engine_view {
    struct engine_peer *peers;
    size_t peer_count;
    const char *const *listen; /* addresses we listen on, interfaces expanded, as text without /p2p */
    unsigned listen_count;
    const char *const *observed; /* what several peers see of us */
    unsigned observed_count;
    bool online; /* an interface other than loopback is up, or a peer is connected */
    unsigned connections;
    uint64_t bytes_in, bytes_out, rate_in, rate_out; /* totals; bytes per second over the last seconds */
    uint64_t wants;                                  /* open */
    const struct engine_offer *offers;
    const struct engine_forward *forwards;
    const struct engine_stream *streams; /* of services; not more than ENGINE_STREAMS_SHOWN, the oldest */
    const struct engine_address *addresses;
    const struct engine_flows_row *flows;
    unsigned offer_count, forward_count, stream_count, address_count, flows_count;
    mono_ns uptime;
    void *memory; /* the allocation behind it */
};
void engine_view_free(struct engine_view *v);
#define ENGINE_STREAMS_SHOWN 4096

/* Called on the engine thread; must not block: post a message. */
struct engine_listener {
    void *arg;
    /* After changes, at most 4 times a second; at least every 5 s when figures changed. */
    void (*view)(void *arg, struct engine_view *take_v);
    void (*event)(void *arg, const char *kind, const char *text); /* "peer.connected" "12D3… /ip4/…": one line of .p2p/events */
    void (*save_peers)(void *arg, struct buf *bytes); /* the peerstore, to be written to disk; takes the contents of `bytes` */
};

/* ---- life ---- */

struct engine_options {
    const struct identity *identity; /* ours; borrowed while the engine lives */
    struct blockstore *store;
    struct workers *workers;
    struct budget *budget;
    struct engine_listener listener;
    const struct multiaddr *listen; /* port 0: any. A taken port falls back to any and says so in an event */
    unsigned listen_count;
    bool mdns;
    unsigned max_connections, max_connections_per_ip;
    uint64_t upload_limit, download_limit; /* bytes per second, 0: none */
    struct span saved_peers;               /* what save_peers gave last time, or nothing */
    struct span saved_services;            /* lines of net/service/service_line.h, or nothing */
    const char *agent;                     /* "p2pfs/0.1.0" */
};
int engine_start(struct engine **ret, const struct engine_options *o, struct why *why); /* ERR_BUSY, ERR_INVALID, ERR_IO */
struct engine *engine_stop(struct engine *e); /* settles every want with ERR_CANCELLED, closes, joins; NULL accepted */

/* ---- asking for blocks ---- */
struct want_port engine_want_port(struct engine *e);
/* Blocks were stored by somebody else on this machine: peers that wait for them get them. */
void engine_have(struct engine *e, const struct cid *cids, unsigned count);

/* ---- commands ---- */
enum engine_verb {
    ENGINE_CONNECT,    /* to `addr` (with /p2p/<id> or without) or, when addr is empty, to `peer` by known addresses */
    ENGINE_DISCONNECT, /* every connection to `peer`. A view that shows it comes before the answer, as for CONNECT */
    ENGINE_PING,       /* `peer`, dialing when needed; rtt is the answer */
    ENGINE_FORGET,     /* `peer` leaves the peerstore */
    ENGINE_PROTECT,    /* `peer` is a friend: `on` keeps it connected, redials with back-off, never pruned */
    ENGINE_LIMITS,     /* upload_limit, download_limit, max_connections as in the options */
    ENGINE_NETWORK,    /* re-read interfaces now */
    ENGINE_LOOK,       /* tell a view now, before the answer; `on`: only if something has changed since the last */
    ENGINE_PROVIDERS,  /* who delivered `cid` or what was fetched for its sake, as far as it is remembered */
};
#define ENGINE_PROVIDERS_MAX 4
struct engine_call {
    struct mail mail; /* run() on the asker's thread when done */
    struct mailbox *reply;
    enum engine_verb verb;
    struct peer_id peer; /* answer of CONNECT too */
    struct multiaddr addr;
    struct cid cid;
    struct peer_id providers[ENGINE_PROVIDERS_MAX]; /* answer; the first one is the source of the very block if is_source */
    unsigned provider_count;
    bool is_source;
    bool on;
    uint64_t upload_limit, download_limit;
    unsigned max_connections;
    mono_ns timeout; /* 0: 15 s */
    int result; /* 0, ERR_UNREACHABLE, ERR_OFFLINE, ERR_TIMEOUT, ERR_VERIFY (another peer answered), ERR_REFUSED, ERR_LIMIT … */
    mono_ns rtt;
    struct why why; /* a sentence when result < 0: what was tried */
};
void engine_command(struct engine *e, struct engine_call *take_c);

#endif
