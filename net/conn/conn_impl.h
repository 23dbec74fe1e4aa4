/* SPDX-License-Identifier: MIT
 *
 * The inside of a connection, shared by conn.c (the upgrade, bytes, time) and conn_stream.c (streams and their
 * negotiation). Ours alone: other folders use conn.h.
 */
#ifndef NET_CONN_CONN_IMPL_H
#define NET_CONN_CONN_IMPL_H

#include "net/conn/conn.h"

#include "net/mux/yamux.h"
#include "net/negotiate/multistream.h"
#include "net/secure/noise.h"

#include <sys/queue.h>

enum conn_state { CONN_STATE_NEW, CONN_STATE_SECURITY, CONN_STATE_NOISE, CONN_STATE_MUXER, CONN_STATE_OPEN, CONN_STATE_DEAD };

#define CONN_PROPOSALS_MAX 8

/* What a Yamux stream's `user` points to. */
struct conn_stream {
    uint32_t id;
    bool inbound;
    bool negotiating; /* then in the list of those, and `ms` is in use */
    bool write_held;  /* with several proposals: nothing of ours may go out before the answer */
    bool fin_held;    /* our FIN waits for that, too */
    void *user;
    mono_ns deadline; /* of the negotiation */
    struct multistream ms;
    char *proposals; /* owned: the array and the strings behind it; NULL for inbound ones */
    TAILQ_ENTRY(conn_stream) link;
};
TAILQ_HEAD(conn_stream_list, conn_stream);

struct conn {
    struct conn_config cfg; /* limits filled in */
    enum conn_state state;
    mono_ns now;
    mono_ns heard; /* when bytes came last */
    mono_ns upgrade_by;
    struct buf recv;  /* from the wire, not taken yet */
    size_t read_size; /* what is reserved for the next read */
    size_t reserved;  /* by conn_input_reserve */
    struct buf out;   /* of the upgrade, for the wire */
    bool telling;     /* the last conn_next told something: recv must stay where it is */
    bool ended;       /* no more input; why: */
    int end_err;
    int err;                                 /* once dead */
    bool secured_due, ready_due, closed_due; /* events */
    bool peer_going, going;
    struct multistream ms; /* of the security protocol, then of the muxer */
    bool ms_used;
    struct noise *noise;
    struct yamux *yamux;
    struct conn_stream_list negotiating; /* the oldest first: all have the same time */
    size_t stream_count;
    unsigned negotiating_in; /* of `negotiating`, those that the peer opened */
    /* bytes behind a negotiation, still to be told */
    uint32_t left_stream;
    struct span left;
    struct buf id; /* the name in the event told last */
};

/* conn_stream.c: what a Yamux event means. 1: *ret is to be told; 0: nothing is. */
int conn_on_yamux(struct conn *c, const struct yamux_event *yev, struct conn_event *ret);
int conn_next_left(struct conn *c, struct conn_event *ret);    /* bytes behind a negotiation */
int conn_next_overdue(struct conn *c, struct conn_event *ret); /* a negotiation that took too long */
int conn_next_orphan(struct conn *c, struct conn_event *ret);  /* a stream of a dead connection */
void conn_streams_drop(struct conn *c);                        /* all, silently */
mono_ns conn_negotiation_deadline(const struct conn *c);

#endif
