/* SPDX-License-Identifier: MIT
 *
 * Bridges: a raw stream of the host on one side, something of this machine on the other. Engine's thread.
 *
 *   DIALING ─→ OPEN        ours: a local socket waits while the peer is dialed (engine_service.c, engine_forward.c)
 *   TARGET  ─→ OPEN        theirs: the stream waits while its target is connected to (engine_target.c)
 *   any     ─→ bridge_end  once: everything is closed, counted and freed
 *
 * What is on this machine's side is a row of functions: a descriptor (almost everything), an echo, a file, the ring of a live
 * service, a flow of datagrams. A bridge that could move something is woken (bridge_wake) and pumped when its turn comes
 * (net/service/turns.h): pump() moves at most BRIDGE_QUANTUM in each direction, never waits, and wakes the bridge again if
 * it could go on.
 */
#ifndef NET_ENGINE_ENGINE_BRIDGE_H
#define NET_ENGINE_ENGINE_BRIDGE_H

#include "net/engine/engine_service.h"
#include "net/engine/engine_state.h"
#include "net/service/datagram.h"
#include "net/service/live.h"
#include "net/service/tally.h"
#include "net/service/turns.h"
#include "store/base/tokens.h"

#define BRIDGE_QUANTUM (4 * HOST_RAW_FRAME)

enum bridge_state { BRIDGE_DIALING, BRIDGE_TARGET, BRIDGE_OPEN };

struct bridge;

struct bridge_ends {
    void (*pump)(struct bridge *b);   /* may end the bridge, as the last thing it does */
    void (*opened)(struct bridge *b); /* the stream is there; NULL: nothing to do */
    void (*done)(struct bridge *b);   /* NULL: nothing of its own to free */
};
extern const struct bridge_ends bridge_fd, bridge_program, bridge_echo, bridge_file, bridge_live, bridge_feed, bridge_datagrams,
    bridge_flow;

struct bridge {
    struct turn turn;           /* first: turns give it back */
    struct bridge *prev, *next; /* e->bridges, the oldest first */
    struct engine *e;
    const struct bridge_ends *ends;
    enum bridge_state state;
    uint64_t number;
    struct host_raw *raw;     /* NULL while DIALING, of a feed, and once it is gone */
    struct host_call *call;   /* while DIALING */
    struct engine_dial *dial; /* whose stream it is, until it was answered */
    void (*ended)(void *arg, uint64_t stream, int err, bool whole);
    void *arg;
    int fd, other_fd; /* -1: none. other_fd: to be handed to who dialed */
    struct loop_fd *watch;
    bool unheard;         /* bytes came for a program that has gone */
    bool eof, shut, full; /* fd gave its end; took ours; takes no more now */
    bool unsaid;          /* fd gave its end, and it is not known yet whether it is one (exec_fate) */
    bool unix_end;        /* fd is a unix socket: it tells when the other end is closed altogether */
    bool inbound;
    bool counted;
    struct service_offer *offer; /* one of these counts it; both NULL: a stream somebody dialed */
    struct service_forward *forward;
    struct tally_row *of_peer, *of_ip; /* these too; NULL: not counted */
    struct peer_id peer;
    char service[SERVICE_NAME_SIZE];
    bool datagrams;
    char *place; /* what is on this machine's side, as text */
    uint64_t bytes_in, bytes_out, dropped;
    uint64_t ip; /* for turns */
    bool lan;
    mono_ns opened_at,
        deadline;   /* of TARGET, a look at who DIALING is for, of a stream that lingers, of an idle flow; MONO_NEVER */
    uint64_t moved; /* bytes, without those that have not left yet, when the deadline was set */
    bool held;      /* its service's rate is used up: it waits for its turn (offer_state) */
    bool dry;       /* fd has no more to read now */
    size_t paid;    /* taken off the rate before it moved */
    union {
        struct file_read *file;
        struct child *child; /* of an exec offer; NULL: not watched */
        uint64_t place;      /* of a reader of a live service */
        struct {
            struct datagram_queue queue;
            struct flow *flow; /* NULL: has a descriptor of its own */
            mono_ns used_at;
            bool finished;   /* our FIN was said */
            uint32_t missed; /* of its socket, see datagram_missed */
            size_t waits;    /* bytes of the queue, as counted in e->datagram_bytes */
        } d;
    } u;
};

/* The runtime of an offer */
struct offer_state {
    struct tokens rate;
    struct turns held; /* bridges that wait for the rate: it is shared as the machine is, by address */
    mono_ns resume_at; /* the next of them has its turn; MONO_NEVER: none waits */
    const struct bridge *served;
    struct live live;
    struct bridge *writer;
    bool was_fed; /* a writer came and went: readers that have everything are at the end */
};
struct offer_state *offer_state(struct engine *e, struct service_offer *o); /* made when it is not there */
void offer_close(struct engine *e, struct service_offer *o);                /* with its streams */

/* engine_bridge.c */
struct bridge *bridge_new(struct engine *e, enum bridge_state state); /* takes no count yet */
void bridge_count(struct bridge *b);                                  /* offer or forward is set: counts it as open */
void bridge_set_fd(struct bridge *b, int fd);                         /* takes it */
void bridge_open(struct bridge *b, struct host_raw *raw);             /* both sides are there: OPEN, and woken */
void bridge_end(struct bridge *b, int err);                           /* < 0: both sides learn that it broke */
void bridge_deadline(struct bridge *b, mono_ns at);
void bridge_wake(struct bridge *b);
void bridges_end_all(struct engine *e, int err);
void bridges_stream_end(struct bridge *b, const struct host_action *a); /* HOST_STREAM_END */
mono_ns bridges_turn(struct engine *e, mono_ns now);                    /* deadlines */
void bridges_run(struct engine *e);                                     /* those whose turn it is, for a while */
void bridges_limited(struct engine *e, struct service_offer *o); /* its limits are others: those that wait go on by them */
/* For pumps: how many of `want` bytes may move now; 0: the service's rate is used up or others wait for it, it is held */
size_t bridge_allow(struct bridge *b, size_t want);
void bridge_pay(struct bridge *b, size_t n);  /* n bytes that were allowed move later: others shall not have them meanwhile */
void bridge_came(struct bridge *b, size_t n); /* n bytes were moved from the peer, to it */
void bridge_went(struct bridge *b, size_t n);
void bridge_dropped(struct bridge *b, uint64_t n); /* n datagrams more */
bool bridge_take(struct bridge *b, size_t most);   /* fd → stream; false: the bridge is gone */

/* engine_lend.c */
void bridge_lend(struct bridge *b);        /* what the engine's scratch has → stream; there is room, or its end is near */
struct buf bridge_piece(struct engine *e); /* has room for BRIDGE_QUANTUM, charged; base NULL: there is no memory */
void bridge_piece_back(struct engine *e, struct buf *take_piece);
void bridge_spare_free(struct engine *e); /* when nothing is lent any more */

/* engine_target.c, engine_exec.c: theirs */
void target_start(struct engine *e, struct service_offer *o, struct host_raw *raw);
void target_connected(struct bridge *b); /* fd is ready to say */
void target_started(struct bridge *b, int take_fd,
                    int number);   /* our end of a program's standard input and output, or errno's */
void exec_start(struct bridge *b); /* target_started follows, unless the bridge ends before */
/* Its output has ended. 0: the program has, too, or nothing is known of it; ERR_RESET: by a signal; ERR_AGAIN: it is about to
 * end, and the bridge is woken when it has. */
int exec_fate(struct bridge *b);
void exec_left(struct bridge *b); /* its stream has ended */
void exec_forget_offer(struct engine *e, const struct service_offer *o);
/* Are there too many programs for one more of this peer? Those that outlive their streams count as streams, too. */
bool exec_full(const struct engine *e, const struct service_offer *o, const struct peer_id *peer);
mono_ns exec_turn(struct engine *e, mono_ns now); /* signals to those that outlive their streams */
void exec_stop_all(struct engine *e);

/* engine_datagram.c */
void flows_ready(struct engine *e, struct service_forward *f, int fd); /* the socket of a UDP forward has datagrams */
void datagrams_expire(struct bridge *b, mono_ns now);                  /* its deadline has come; it may be gone then */
void datagrams_drain(struct bridge *b); /* it is held, and has some to read: so that they grow old here; it may be gone then */
void datagram_buffers(int fd);          /* of a socket of datagrams: room for those that come while others have their turn */
uint32_t datagram_missed(int fd);       /* that found no room in a UDP socket, so far */

/* engine_forward.c */
int forward_listen(struct engine *e, struct service_forward *f, struct why *why);
void forward_adopt(struct engine *e, struct service_forward *f, int take_fd); /* one that is bound: it listens */
void forward_close(struct engine *e, struct service_forward *f);              /* with its streams */
mono_ns forwards_turn(struct engine *e, mono_ns now); /* those that could not listen, or not accept, try again */
struct bridge *forward_bridge(struct engine *e, struct service_forward *f); /* DIALING, counted */

/* engine_flows.c */
/* What else its dial may be asked for, when the peer does not have b->service; NULL: nothing */
const char *flows_other_name(const struct bridge *b);
void flows_each(const struct engine *e, void (*each)(void *arg, uint64_t number, const struct service_count *c), void *arg);
void flows_close_all(struct engine *e);

/* engine_service.c */
void service_dial(struct bridge *b, const char *name, mono_ns timeout); /* b->peer, b->datagrams are set */
void service_look(struct bridge *b, mono_ns now); /* is the program still there for which it dials? It may be gone then */
void service_undial(struct bridge *b, int err);   /* of bridge_end */
void service_opened(struct engine *e, struct host_call *call);    /* HOST_CALLED of an OPEN */
void service_came(struct engine *e, const struct host_action *a); /* HOST_STREAM_CAME */
void services_open(struct engine *e);
void services_close(struct engine *e); /* before the host stops */

/* engine_view_service.c */
bool view_add_services(struct engine_view *v, const struct engine *e, mono_ns now); /* false: no memory */
void view_add_tallies(struct engine_view *v, const struct engine *e);               /* to the peers */

#endif
