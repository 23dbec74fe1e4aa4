/* SPDX-License-Identifier: MIT
 *
 * One connection, from raw bytes to negotiated streams: multistream(/noise) → Noise XX → early muxer or
 * multistream(/yamux/1.0.0) → Yamux → multistream on each stream. A machine without I/O: bytes and time in, events and
 * bytes out. Owned by one thread (the engine's).
 *
 *   NEW ─→ SECURITY ─→ NOISE ─→ MUXER ─→ OPEN ─→ DEAD       READY is told on entering OPEN, CLOSED is the last event.
 *             │          └────────────────↑ ↑                 Any state may go to DEAD (error, timeout, end of input).
 *             └──────────────────────────────┘
 *
 * How to drive it, whenever anything happened (bytes came, a deadline passed, the application acted):
 *     uint8_t *at = conn_input_reserve(c, &room); n = recv(fd, at, room); conn_input_commit(c, n, now);
 *     while (conn_next(c, &ev) > 0) handle(&ev);
 *     conn_output(c, &out, most); send(out);          as long as it appends, and after it conn_next again: output makes
 *                                                     room (WRITABLE) and finishes streams (STREAM_CLOSED)
 *     arm_timer(conn_deadline(c));                    then conn_expire(c, now), and again conn_next
 * Events are pulled; ev.data is borrowed until the next call that takes the connection. Handlers may call any verb of a
 * stream between two conn_next. Input may be added only when conn_next has answered 0 (asserted): events point into it.
 *
 * Life of a stream: conn_open (ours) or CONN_STREAM (theirs). DATA and FIN tell what comes, conn_write and
 * conn_close_write what goes. It ends with exactly one of: CONN_STREAM_CLOSED (both sides finished and all of ours handed
 * to conn_output), CONN_RESET (theirs, a refusal of ours by time-out, or the connection's death), CONN_REFUSED, or our
 * conn_reset, which is silent. After that its number is unknown: verbs answer ERR_NOT_FOUND, which is harmless. Numbers
 * are never used twice.
 *
 * Flow control: what DATA delivered counts against the stream's receive window until conn_consume gives it back. While
 * the sum of what was not consumed is above what was promised (limits.hold_max and grown windows), conn_wants_input is
 * false: stop reading the socket. conn_write takes what fits the stream's send queue; CONN_WRITABLE tells when there is
 * room after it took less.
 */
#ifndef NET_CONN_CONN_H
#define NET_CONN_CONN_H

#include "net/addr/pubkey.h"
#include "store/base/mono.h"

struct budget;
struct conn;

#define CONN_FRAME_DATA ((size_t)65507) /* bytes of a stream that fill one frame */
#define CONN_FRAME_WIRE ((size_t)65537) /* which then has this many on the wire */

enum conn_role { CONN_DIALER, CONN_LISTENER };

/* What we speak to peers that open streams: borrowed, may change between calls. An entry that ends in '*' stands for all
 * ids that begin with what is before it (`/x/ *` without the blank). */
struct conn_protocols {
    const char *const *ids;
    unsigned count;
    unsigned negotiating_max; /* streams of theirs at a time, others are reset; 0: any number */
};

struct conn_limits {      /* 0 in a field: the default */
    unsigned streams_in;  /* 256: more are reset */
    unsigned streams_out; /* 256: more are ERR_LIMIT */
    size_t send_queue;    /* four full frames for each stream */
    size_t send_total;    /* 4 MiB for all its streams; beyond that conn_write takes nothing */
    size_t hold_max;      /* 1 MiB: unconsumed bytes of all streams, beside windows that have grown */
    uint32_t window_max;  /* 16 MiB: what a stream's receive window may grow to from 256 KiB */
    size_t window_total;  /* 32 MiB: what all windows of the connection may have grown by */
    mono_ns handshake;    /* 15 s for everything up to READY */
    mono_ns negotiation;  /* 10 s for the protocol of a stream */
    mono_ns keepalive;    /* 30 s between pings */
    mono_ns pong;         /* 10 s without pong and without any byte: dead */
};

struct conn_config {
    enum conn_role role;
    const struct identity *identity;        /* borrowed for the connection's life */
    struct peer_id expected;                /* a dialer that knows whom it calls; none: anybody */
    const struct conn_protocols *protocols; /* borrowed for the connection's life */
    struct rng *rng;                        /* borrowed */
    struct budget *budget;                  /* NULL: none. Growth of windows is charged to BUDGET_NET */
    struct conn_limits limits;
    bool no_early_muxer; /* for tests: do not offer one */
};

enum conn_event_type {
    CONN_NONE,
    CONN_SECURED,       /* peer: who it is */
    CONN_READY,         /* streams can be opened */
    CONN_STREAM,        /* the peer opened `stream` for protocol number `protocol` of the table, named `data` */
    CONN_STREAM_READY,  /* the peer agreed on proposal number `protocol` of our `stream` */
    CONN_REFUSED,       /* the peer speaks none of what we proposed on `stream`; it is gone */
    CONN_DATA,          /* `data` of `stream`; to be given back by conn_consume */
    CONN_FIN,           /* the peer finished sending on `stream` */
    CONN_WRITABLE,      /* `stream` takes bytes again */
    CONN_RESET,         /* `stream` is gone; err tells why */
    CONN_STREAM_CLOSED, /* `stream` is gone, well */
    CONN_PONG,          /* rtt */
    CONN_CLOSED,        /* err; 0 after a normal goodbye. Nothing follows but bytes of conn_output */
};

struct conn_event {
    enum conn_event_type type;
    uint32_t stream;
    unsigned protocol;
    void *user;       /* what conn_set_user put there; NULL before */
    struct span data; /* borrowed until the next call */
    int err;
    mono_ns rtt;
    const struct pubkey *peer; /* CONN_SECURED: its key, borrowed until the next call; conn_peer has the id */
};

struct conn *conn_new(const struct conn_config *cfg, mono_ns now);
struct conn *conn_free(struct conn *c); /* NULL accepted; silent */

/* ---- bytes and time ---- */

/* Room to receive into (*ret_room > 0 bytes); grows and shrinks with the traffic. Commit what was received, 0 ≤ n ≤ room.
 * NULL: there is no memory, and the connection can only be ended. */
uint8_t *conn_input_reserve(struct conn *c, size_t *ret_room);
void conn_input_commit(struct conn *c, size_t n, mono_ns now);
void conn_input(struct conn *c, struct span in, mono_ns now); /* the same, copying */
void conn_input_end(struct conn *c, int err);                 /* no more will come: 0 at the end of the stream, or why */
bool conn_wants_input(const struct conn *c);
int conn_next(struct conn *c, struct conn_event *ret); /* 1: an event; 0: none now */
/* Appends at most `most` (≥ 256) bytes for the wire; returns how many, 0 when there is nothing to send. */
size_t conn_output(struct conn *c, struct buf *out, size_t most);
bool conn_has_output(const struct conn *c);  /* would conn_output append anything? */
mono_ns conn_deadline(const struct conn *c); /* MONO_NEVER: none */
void conn_expire(struct conn *c, mono_ns now);

/* ---- streams ---- */

/* Opens a stream and proposes `ids` (1 to 8, in order of preference; copied). Bytes may be written at once: with
 * one proposal they go out along with it, with several they wait for the answer. ERR_LIMIT: too many streams, or too many that
 * the peer has not acknowledged; ERR_AGAIN: before READY; ERR_CLOSED: dead, or the peer is going away. */
int conn_open(struct conn *c, const char *const *ids, unsigned count, mono_ns now, uint32_t *ret_stream);
int conn_write(struct conn *c, uint32_t stream,
               struct span data); /* bytes taken, ≥ 0; ERR_NOT_FOUND; ERR_CLOSED after close_write */
int conn_write_over(struct conn *c, uint32_t stream, struct span data); /* all of it; 0, ERR_NOT_FOUND, ERR_CLOSED */
/* As conn_write, but nothing is copied: the loan ends when the bytes are sealed or the stream is gone. Answers 0 or an error:
 * it was not taken. */
int conn_lend(struct conn *c, uint32_t stream, const struct loan *l);
size_t conn_write_room(const struct conn *c, uint32_t stream); /* what conn_write would take now */
void conn_want_room(struct conn *c, uint32_t stream);          /* CONN_WRITABLE when there is some, as if a write took less */
size_t conn_unsent(const struct conn *c, uint32_t stream);     /* bytes taken that conn_output has not given yet */
int conn_consume(struct conn *c, uint32_t stream, size_t n);   /* n bytes of DATA are done with */
int conn_close_write(struct conn *c, uint32_t stream);         /* our FIN, after what was written */
int conn_reset(struct conn *c, uint32_t stream);
int conn_set_user(struct conn *c, uint32_t stream, void *user);
int conn_set_group(struct conn *c, uint32_t stream, const void *key); /* as yamux_set_group */
void *conn_user(const struct conn *c, uint32_t stream);

/* ---- the connection ---- */

int conn_ping(struct conn *c, mono_ns patience, mono_ns now); /* as yamux_ping; measures: CONN_PONG follows */
void conn_goodbye(struct conn *c); /* tells the peer that we go; send the output, then close the socket */

const struct peer_id *conn_peer(const struct conn *c); /* none before CONN_SECURED */
bool conn_is_ready(const struct conn *c);
bool conn_is_dead(const struct conn *c);
bool conn_is_left(const struct conn *c);     /* one side takes no more streams; those that are open live on */
mono_ns conn_rtt(const struct conn *c);      /* 0: not measured yet */
unsigned conn_streams(const struct conn *c); /* open ones, both directions */
size_t conn_grown(const struct conn *c);     /* by which the receive windows have grown */
size_t conn_memory(const struct conn *c);    /* bytes held in its buffers, queues and stream records, for the budget */

#endif
