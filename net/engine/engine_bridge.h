/* SPDX-License-Identifier: MIT
 *
 * Bridges: a raw stream of the host on one side, something of this machine on the other. Engine's thread.
 *
 *   DIALING ─→ OPEN        ours: a local socket waits while the peer is dialed (engine_service.c, engine_forward.c)
 *   TARGET  ─→ OPEN        theirs: the stream waits while its target is connected to (engine_target.c)
 *   any     ─→ bridge_end  once: everything is closed, counted and freed
 *
 * What is on this machine's side is a row of bridge_ends: a descriptor (almost everything), an echo … A row never waits:
 * pump() moves what can be moved, and is called again when the stream is READY or the descriptor is ready.
 */
#ifndef NET_ENGINE_ENGINE_BRIDGE_H
#define NET_ENGINE_ENGINE_BRIDGE_H

#include "net/engine/engine_service.h"
#include "net/engine/engine_state.h"

enum bridge_state { BRIDGE_DIALING, BRIDGE_TARGET, BRIDGE_OPEN };

struct bridge;

struct bridge_ends {
    void (*pump)(struct bridge *b); /* may end the bridge, as the last thing it does */
    void (*done)(struct bridge *b); /* NULL: nothing of its own to free */
};
extern const struct bridge_ends bridge_fd, bridge_echo;

struct bridge {
    struct bridge *prev, *next; /* e->bridges, the oldest first */
    struct engine *e;
    const struct bridge_ends *ends;
    enum bridge_state state;
    uint64_t number;
    struct host_raw *raw;     /* NULL while DIALING, and once it is gone */
    struct host_call *call;   /* while DIALING */
    struct engine_dial *dial; /* whose stream it is, until it was answered */
    void (*ended)(void *arg, uint64_t stream, int err);
    void *arg;
    int fd, other_fd; /* -1: none. other_fd: to be handed to who dialed */
    struct loop_fd *watch;
    bool eof, shut, full; /* fd gave its end; took ours; takes no more now */
    bool unix_end;        /* fd is a unix socket: it tells when the other end is closed altogether */
    bool inbound;
    struct service_offer *offer; /* one of these counts it; both NULL: a stream somebody dialed */
    struct service_forward *forward;
    struct peer_id peer;
    char service[SERVICE_NAME_SIZE];
    bool datagrams;
    char *place; /* what is on this machine's side, as text */
    uint64_t bytes_in, bytes_out;
    mono_ns opened_at, deadline; /* deadline: of TARGET, or of a stream that lingers; MONO_NEVER */
};

struct bridge *bridge_new(struct engine *e, enum bridge_state state); /* takes no count yet */
void bridge_count(struct bridge *b);                                  /* offer or forward is set: counts it as open */
void bridge_set_fd(struct bridge *b, int fd);                         /* takes it */
void bridge_open(struct bridge *b, struct host_raw *raw);             /* both sides are there: OPEN, and pumped soon */
void bridge_end(struct bridge *b, int err);                           /* < 0: both sides learn that it broke */
void bridges_end_all(struct engine *e, int err);
void bridges_stream_ready(struct bridge *b);
void bridges_stream_end(struct bridge *b, int err);
void bridge_deadline(struct bridge *b, mono_ns at);
mono_ns bridges_turn(struct engine *e, mono_ns now); /* deadlines */

/* engine_target.c: theirs */
void target_start(struct engine *e, struct service_offer *o, struct host_raw *raw);
void target_connected(struct bridge *b); /* fd is ready to say */

/* engine_forward.c */
int forward_listen(struct engine *e, struct service_forward *f, struct why *why);
void forward_close(struct engine *e, struct service_forward *f); /* with its streams */
mono_ns forwards_turn(struct engine *e, mono_ns now);            /* those that could not listen, or not accept, try again */

/* engine_service.c */
void service_dial(struct bridge *b, const char *name, mono_ns timeout); /* b->peer, b->datagrams are set */
void service_opened(struct engine *e, struct host_call *call);          /* HOST_CALLED of an OPEN */
void service_undial(struct bridge *b, int err);                         /* of bridge_end */
void service_came(struct engine *e, const struct host_action *a);       /* HOST_STREAM_CAME */
void services_open(struct engine *e);
void services_close(struct engine *e); /* before the host stops */

/* engine_view_service.c */
struct engine_view;
void view_add_services(struct engine_view *v, const struct engine *e, mono_ns now);

#endif
