/* SPDX-License-Identifier: MIT
 *
 * The inside of the host: what its files share. Nobody else includes this.
 *
 *   host.c           life, action queue, timers, one turn
 *   host_conn.c      connections: bytes, budget, limits, death
 *   host_stream.c    streams: what each protocol does with its bytes
 *   host_identify.c  identify and push: what we say, what we believe
 *   host_raw.c       streams of services
 *   host_exchange.c  the block exchange's actions and wants
 *   host_peer.c      the table of peers, which connections are kept
 *   host_dial.c      attempts to reach a peer
 *   host_call.c      commands
 *   host_lan.c       interfaces and mDNS
 *   host_view.c      what is shown
 *
 * Ownership: the host owns peers, connections and dials; a connection owns its streams. A peer exists while it is connected,
 * being dialed, a friend, or about to be dialed (peer_release frees it otherwise). Order never depends on addresses of
 * memory: all lists are in order of insertion.
 */
#ifndef NET_HOST_HOST_STATE_H
#define NET_HOST_HOST_STATE_H

#include "net/discover/mdns.h"
#include "net/exchange/timerheap.h"
#include "net/host/host.h"
#include "net/host/host_raw.h"
#include "net/proto/identify.h"
#include "net/proto/ping.h"
#include "net/swarm/connlimit.h"
#include "net/swarm/dialplan.h"
#include "net/swarm/observed.h"
#include "net/swarm/peerstore.h"

/* ---- doubly linked lists, insertion order ---- */

struct link {
    struct link *prev, *next; /* NULL prev and next: also when alone */
    bool in;
};
struct chain {
    struct link *first, *last;
    unsigned count;
};
void chain_add(struct chain *c, struct link *l);
void chain_remove(struct chain *c, struct link *l); /* not in it: nothing */
#define LINK_OF(l, type, member) ((type *)(void *)((char *)(l)-offsetof(type, member)))

/* ---- timers: what a struct timer is embedded in ---- */
enum { TIMER_CONN, TIMER_STREAM, TIMER_DIAL, TIMER_PEER, TIMER_TICK, TIMER_PUSH, TIMER_STARVED, TIMER_OPENS };

/* ---- connections ---- */

struct host_conn {
    struct link link;    /* host->conns */
    struct link of_peer; /* peer->conns, once READY */
    struct link dirty;   /* host->dirty */
    struct host *host;
    void *owner;
    struct conn *conn;
    struct host_peer *peer; /* once READY */
    struct host_dial *dial; /* whose attempt it is, until READY or the dial ends */
    struct multiaddr remote, local;
    ip_group group;
    bool inbound, ready, closing, told_close, told_send, told_hold, starved, pulling, doubted;
    int doom, close_err;            /* doom: a handler found a reason to close: done after it returned; 0: none */
    mono_ns push_debt, identify_at; /* each push that came costs a second; 0: it is not asked again */
    mono_ns opened_at, ready_at, used_at, raw_looked; /* used_at: it last had streams; raw_looked: at who holds much, or 0 */
    struct timer timer;
    struct chain streams;
    unsigned pings_in, identifies_in, pushes_in, identify_tries;
    size_t charged; /* to BUDGET_NET */
    uint64_t bytes_in, bytes_out;
    struct multiaddr observed;       /* counted in host->observed; len 0: none */
    struct conn_protocols protocols; /* what this peer may open */
    char *protocol_memory;
    int open_err;               /* why stream_open could not, the last time */
    size_t raw_held, rest_held; /* bytes that readers did not take yet: of raw streams; of others, in their `rest` */
};

/* ---- peers ---- */

struct host_peer {
    struct link link; /* host->peers */
    struct link idle; /* host->idle: perhaps not needed any more */
    struct host_peer *hash_next;
    struct host *host;
    struct peer_id id;
    struct peer_entry *entry; /* pinned */
    struct chain conns;       /* READY ones, oldest first */
    struct exchange_peer *xp; /* while conns.count */
    struct host_stream *out;  /* our bitswap stream that is in use */
    bool no_bitswap;          /* refused it lately */
    bool wanted_by_user;      /* `connect`: kept, and dialed again, until `disconnect` */
    unsigned raws;            /* streams of services */
    char **protocols;         /* by identify */
    unsigned protocol_count;
    struct host_dial *dial;
    struct timer timer; /* when to dial (friend, LAN) */
    unsigned redials;   /* failed ones in a row */
    mono_ns connected_at, moved_at;
    uint64_t bytes_in, bytes_out; /* of its connections that are closed */
};

/* ---- the host ---- */

struct queued {
    struct queued *next;
    struct host_action action;
    char *kind, *text;
};

struct host {
    struct host_config config;
    struct rng rng;
    wall_ns wall;
    mono_ns wall_at;
    mono_ns now; /* of the running call: handlers deep inside need it */
    struct timerheap timers;
    struct timer tick, push, starved, opens_timer;

    struct chain conns, dirty, peers, idle, dials;
    struct host_peer **peer_buckets;
    struct connlimit *limit;
    struct peerstore *store;
    struct observed *observed;
    struct selfaddrs self;
    struct exchange *exchange;
    struct host_sources *sources;
    struct mdns *mdns;                    /* NULL: off */
    struct chain raw_ready;               /* to be told HOST_STREAM_READY */
    size_t raw_kept, rest_held;           /* bytes not taken yet: of raw streams that had ended; in all `rest` */
    struct buf raw_spare;                 /* memory for the next stream that has something to hold */
    struct host_call *opens, **opens_end; /* that wait until a stream may be opened; */
    mono_ns short_told_at;                /* that a stream ended for want of memory: not again before */
    mono_ns opens_at;                     /* the earliest of their deadlines */

    unsigned flying, call_count, raw_came; /* dials on their way; calls; raw streams that peers opened */
    uint64_t dial_number;
    bool stopped;
    mono_ns next_expire; /* of the peerstore */

    struct queued *first, **last; /* actions */
    struct queued *told;          /* the last one handed out: its texts are borrowed */

    uint64_t record_seq;
    struct buf record_near, record_far; /* sealed peer records: for this machine, for others; empty: make anew */
    struct {
        unsigned iface;
        enum mdns_family family;
    } lan_set[MDNS_IFACES_MAX]; /* told to mdns */
    unsigned lan_set_count;
    uint64_t bytes_in, bytes_out, changes;
};

/* host.c */
struct host_action *host_queue(struct host *h, enum host_action_type type);
struct host_action *host_queue_text(struct host *h, enum host_action_type type, const char *text); /* copied */
void host_event(struct host *h, const char *kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
wall_ns host_wall(const struct host *h);
static inline void host_changed(struct host *h)
{
    h->changes++;
}

/* host_conn.c */
void hconn_touch(struct host_conn *c);          /* something happened: look at it before the turn ends */
void hconn_close(struct host_conn *c, int err); /* goodbye; freed when HOST_CLOSE is pulled. Not from a stream's handler */
void hconn_doom(struct host_conn *c, int err);  /* the same, after the running handler */
void hconn_pull_events(struct host_conn *c);
bool hconn_settle_dirty(struct host *h); /* tells SEND, HOLD, RESUME, CLOSE; true: something was queued */
void hconn_expire(struct host_conn *c);
void hconn_free(struct host_conn *c);     /* when HOST_CLOSE is handed out */
void hconn_starved_again(struct host *h); /* the budget may have room */

/* host_identify.c */
void identify_ask(struct host_conn *c);
void identify_failed(struct host_conn *c);
void identify_ask_again(struct host *h);
void identify_answer(struct host_stream *s);
void identify_came(struct host_stream *s, bool push);
void identify_changed(struct host *h); /* our addresses changed: push soon */
void identify_push_soon(struct host *h);
void identify_push_all(struct host *h);
void identify_unobserve(struct host_conn *c);

/* host_raw.c */
void raw_open(struct host *h, struct host_call *call);                       /* host_call.c */
bool raw_start(struct host *h, struct host_call *call, struct host_peer *p); /* false: it is not connected after all */
void raw_opens_again(struct host *h);
void raw_opens_cancel(struct host *h);
bool raw_call_cancel(struct host *h, struct host_call *call); /* false: it is not here */
bool raw_pull(struct host *h, struct host_action *ret);
bool raw_take_end(struct host_action *a);
void raw_free(struct host_raw *r);
void raw_opened(struct host_stream *s, const char *id);
void raw_data(struct host_stream *s, struct span in);
void raw_fin(struct host_stream *s);
void raw_agreed(struct host_stream *s, unsigned proposal);
void raw_writable(struct host_stream *s);
void raw_end(struct host_stream *s, int err);
void raw_expire(struct host_stream *s);
bool raw_unstick(struct host_conn *c, bool needed); /* true: one that stood still was reset. Again in a second if raw_looked */
void raw_set_protocols(struct host_conn *c);

/* host_exchange.c */
bool exchange_pull(struct host *h, struct host_action *ret); /* does what is ours; true: *ret is for the owner */
void bitswap_in_bytes(struct host_stream *s, struct span in);
void bitswap_in_data(struct host_stream *s); /* what waits in `rest` */
void bitswap_in_end(struct host_stream *s);
void bitswap_out_pump(struct host_stream *s);
void bitswap_out_end(struct host_stream *s, int err);
void exchange_flags_changed(struct host_peer *p);

/* host_peer.c */
struct host_peer *peer_find(struct host *h, const struct peer_id *id);
struct host_peer *peer_get(struct host *h, const struct peer_id *id);
void peer_probe(struct host_peer *p, const struct host_conn *except); /* its connections but that one may be dead */
void peer_release(struct host_peer *p); /* look at the end of the turn whether anything needs it */
void peers_sweep(struct host *h);       /* frees those that nothing needs */
void peer_conn_ready(struct host_peer *p, struct host_conn *c);
void peer_conn_gone(struct host_peer *p, struct host_conn *c);
void peer_set_protocols(struct host_peer *p, const struct identify *id);
bool peer_speaks(const struct host_peer *p, const char *protocol);
struct host_conn *peer_best_conn(const struct host_peer *p); /* NULL: not connected */
bool peer_is_lan(const struct host_peer *p);
bool peer_is_wanted(const struct host_peer *p); /* dialed again whenever it is not connected */
bool peer_is_known(const struct host_peer *p);  /* connlimit.h */
void peer_know_addresses(struct host *h, const struct peer_entry *e);
void peers_make_room(struct host *h); /* somebody known came: does a stranger have to go? */
void peer_timer_fired(struct host_peer *p);
void peer_dial_later(struct host_peer *p, mono_ns at);
void peers_tidy(struct host *h); /* idle, redundant and too many connections */
void peer_free(struct host_peer *p);

/* host_call.c */
void call_answer(struct host *h, struct host_call *call, int result);
void call_dialed(struct host *h, struct host_call *call, struct host_peer *p); /* the dial it waited for succeeded */
void call_ping_ended(struct host_stream *s, int err);
void call_ping_came(struct host_stream *s, struct span in);

/* host_lan.c */
void lan_rebuild(struct host *h);
void host_online_changed(struct host *h); /* perhaps: tells the exchange */
bool lan_pull(struct host *h, struct host_action *ret);

#include "net/host/host_dial.h"
#include "net/host/host_stream.h"

#endif
