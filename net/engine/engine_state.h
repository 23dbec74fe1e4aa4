/* SPDX-License-Identifier: MIT
 *
 * The inside of the engine: what its files share. Nobody else includes this.
 *
 *   engine.c       life, the thread, one turn, carrying out the host's actions
 *   engine_ask.c   requests from other threads: wants, commands
 *   engine_net.c   sockets: listening, connections, interfaces, mDNS; engine_lookup.c, engine_dnsaddr.c: names
 *   engine_jobs.c  blocks: read, verify, store
 *   engine_view.c  what is told to the listener; engine_view_service.c: of services
 *   engine_service.c, engine_bridge.c, engine_target.c, engine_ends.c,
 *   engine_exec.c, engine_datagram.c, engine_forward.c, engine_flows.c, engine_lend.c   streams of services (engine_bridge.h)
 *
 * Everything but `inbox`, `answers`, `open_wants` and what engine_start wrote once belongs to the engine's thread.
 */
#ifndef NET_ENGINE_ENGINE_STATE_H
#define NET_ENGINE_ENGINE_STATE_H

#include "net/engine/engine.h"
#include "net/host/host_raw.h"
#include "net/host/host_sources.h"
#include "net/io/loop.h"
#include "net/service/tally.h"
#include "net/service/turns.h"
#include "net/swarm/dnsaddr.h"
#include "net/transport/ifaces.h"
#include "net/transport/multicast.h"
#include "net/transport/tcp.h"
#include "store/block/blockcache.h"

#include <stdatomic.h>

#define ENGINE_WANTS_MAX    EXCHANGE_WANTS_MAX
#define ENGINE_REQUESTS_MAX 65536 /* commands and have-messages waiting in the inbox */
#define ENGINE_READERS      4     /* block reads at once */
#define ENGINE_BATCH        32    /* blocks in a job */
#define ENGINE_SERVED       8192  /* what was read lately is remembered of so many */
#define ENGINE_BATCH_BYTES  ((size_t)512 << 10)
#define ENGINE_LISTEN_MAX   TCP_LISTEN_MAX

/* The owner of a tcp_conn and of a host_conn */
struct engine_conn {
    struct engine_conn *prev, *next; /* e->dialing, while it dials */
    struct engine *e;
    struct host_conn *hc; /* NULL while dialing */
    struct tcp_conn *tc;
    uint64_t dial;
};

/* Of a name, on a thread of its own (engine_lookup.c) */
struct lookup {
    struct lookup *next;
    pthread_t thread;
    atomic_bool done;
    int told; /* the descriptor that says so */
    bool by_user;
    uint64_t dial;
    void (*work)(struct lookup *l); /* on the thread: from `host` or `d` to d.addrs and: */
    int result;
    struct multiaddr_host host;
    struct dnsaddr d;
};

struct load_job;
struct verify_job;

/* Wants that are open, by address: a cancel may cross with the answer, and then names memory that is the asker's again */
struct want_set {
    struct want **slots;
    size_t cap, count; /* cap: a power of two, or 0 */
};

struct engine {
    struct engine_options o;
    pthread_t thread;
    struct mailbox *inbox;   /* requests of other threads */
    struct mailbox *answers; /* of workers and the committer */
    atomic_size_t open_wants;

    struct loop *loop;
    struct host *host;
    struct tcp *tcp;
    struct multicast *mdns[2]; /* v4, v6; NULL: not there */
    struct iface_watch *watch;
    struct loop_fd *budget_watch;
    int budget_fd;
    struct engine_conn *dialing;
    struct lookup *lookups; /* under way; how many, [by_user]: */
    unsigned lookup_count[2];
    int lookup_fd;
    struct loop_fd *lookup_watch;
    struct want_set wants;

    struct services *services;
    struct bridge *bridges, *bridges_last;
    unsigned bridge_count;
    _Atomic uint64_t bridge_number;          /* the newest that was given */
    uint64_t service_changes, ended_last;    /* ended_last: number of the bridge that ended last */
    struct buf bridge_scratch, bridge_spare; /* to read into; what takes its place when it is lent, charged */
    struct turns *turns;                     /* which of them moves bytes next */
    mono_ns yield_until;                     /* remote ones moved much lately */
    struct tally peer_tally, ip_tally;
    struct child *children; /* programs of exec offers */
    mono_ns exec_at;        /* one of them gets a signal */
    struct flow *flows;     /* of UDP forwards, by source */
    struct loose *loose;    /* forwards of which others keep account (engine_flows.c) */
    unsigned loose_count;
    uint64_t service_bytes;          /* moved by all bridges */
    size_t datagram_bytes;           /* that wait in all bridges */
    unsigned file_reads;             /* on workers */
    unsigned exec_starts;            /* programs that threads start */
    mono_ns bridges_at, forwards_at; /* deadlines of bridges; listeners that try again */

    bool stopping;

    struct multiaddr listening[ENGINE_LISTEN_MAX];
    unsigned listen_count;
    struct buf notes; /* events from before the thread ran: lines "kind text" */
    struct iface ifaces[IFACES_MAX];
    int iface_count;
    mono_ns ifaces_at; /* read them again then */

    struct blockcache *cache;       /* pins blocks that are not committed yet; keeps some of the last ones */
    uint32_t served[ENGINE_SERVED]; /* direct-mapped: marks of blocks that were read lately */
    struct store_reader *readers[ENGINE_READERS];
    unsigned reader_count;                         /* idle ones */
    struct load_job *filling, *loads, **loads_end; /* being filled; waiting for a reader */
    struct verify_job *checking;                   /* being filled */
    unsigned jobs;                                 /* under way on workers and at the committer */

    mono_ns started, view_at, view_latest, save_at;
    uint64_t view_changes;
    bool view_online, view_now;
    struct {
        mono_ns at;
        uint64_t in, out;
        double rate_in, rate_out;
    } rate;
};

static inline mono_ns engine_min(mono_ns a, mono_ns b)
{
    return a < b ? a : b;
}

/* engine.c */
void engine_event(struct engine *e, const char *kind, const char *text);

/* engine_ask.c */
void engine_settled(struct engine *e, struct want *w);        /* HOST_SETTLE */
void engine_called(struct engine *e, struct host_call *call); /* HOST_CALLED */
void engine_asks_done(struct engine *e);

/* engine_net.c */
int engine_net_open(struct engine *e, struct why *why);
void engine_net_start(struct engine *e); /* on the thread */
void engine_net_stop(struct engine *e);  /* sockets, listeners */
void engine_read_ifaces(struct engine *e, bool forced);
void engine_dial(struct engine *e, const struct host_action *a);
void engine_abort_dial(struct engine *e, uint64_t dial);
void engine_conn_close(struct engine_conn *c);
void engine_send_datagram(struct engine *e, const struct host_action *a);

/* engine_lookup.c */
int lookups_open(struct engine *e);
void lookups_close(struct engine *e); /* those under way are left behind */
void lookup_start(struct engine *e, struct lookup *take_l, const struct host_action *a);
void engine_resolve(struct engine *e, const struct host_action *a);
void engine_resolve_dnsaddr(struct engine *e, const struct host_action *a); /* engine_dnsaddr.c */

/* engine_jobs.c */
int engine_jobs_open(struct engine *e);
void engine_jobs_close(struct engine *e);
void engine_load(struct engine *e, const struct host_action *a);
void engine_verify(struct engine *e, const struct host_action *a);
void engine_store(struct engine *e, const struct host_action *a);
void engine_jobs_flush(struct engine *e); /* the end of a turn: what was collected goes */

/* engine_view.c */
mono_ns engine_view_turn(struct engine *e, mono_ns now); /* tells the view when it is time; when to be called again */
bool engine_view_old(const struct engine *e);            /* something has changed since the last one */

#endif
