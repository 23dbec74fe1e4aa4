/* SPDX-License-Identifier: MIT
 *
 * The inside of a Yamux session, shared by its three files: yamux.c (input, events, time), yamux_stream.c (the table of
 * streams and their verbs) and yamux_send.c (output). Ours alone: other folders use yamux.h.
 *
 * A live stream stands in the table and in up to four lists: `control` (owes a SYN, an ACK or a window update), `sending`
 * (has data that the window lets go, or a FIN), `blocked` (somebody waits for room), `events` (an event waits to be
 * pulled).
 */
#ifndef NET_MUX_YAMUX_IMPL_H
#define NET_MUX_YAMUX_IMPL_H

#include "net/mux/yamux.h"

#include <sys/queue.h>

enum yamux_frame_type { FRAME_DATA, FRAME_WINDOW, FRAME_PING, FRAME_GOAWAY, FRAME_TYPES };
enum yamux_flags { FLAG_SYN = 1, FLAG_ACK = 2, FLAG_FIN = 4, FLAG_RST = 8 };

#define YAMUX_BUCKETS    32 /* of the table; the peer chooses its numbers, but not where they stand in it */
#define YAMUX_CHUNK_MIN  1024
#define YAMUX_SPARES_MAX 4       /* empty chunks kept for the next write */
#define YAMUX_RTT_ROUNDS 4       /* a window used up within so many round trips is too small */
#define YAMUX_RTT_MIN    MONO_MS /* on a LAN the scheduler, not the wire, sets the pace: let windows grow there too */

/* A piece of a send queue. */
struct chunk {
    struct chunk *next;
    size_t start, end, cap; /* cap: 0 for what is lent */
    struct loan loan;       /* instead of `data` */
    uint8_t data[];
};

struct stream;
TAILQ_HEAD(stream_list, stream);

/* Streams that have one turn together */
struct group {
    TAILQ_ENTRY(group) turns, all;
    const void *key;
    unsigned streams;
    size_t queued;              /* bytes in their send queues */
    struct stream_list sending; /* those that have something to send; in `turns` while there are any */
};
TAILQ_HEAD(group_list, group);

struct stream {
    uint32_t id;
    void *user;
    struct group *group;
    struct stream *chain; /* of its bucket */
    TAILQ_ENTRY(stream) control, sending, blocked, events;
    bool in_control, in_sending, in_blocked, in_events;
    bool inbound, acked;
    bool syn_due, ack_due;
    bool fin_wanted, fin_sent, fin_received;
    bool writable_due;
    /* receiving */
    uint32_t window;   /* its size */
    uint32_t credit;   /* what the peer may still send */
    size_t unconsumed; /* sent by the peer and not given back, also what has not arrived of the frame under way */
    size_t delivered;  /* of these, what events have told */
    size_t grown;      /* charged to the session's allowance and to the budget */
    mono_ns granted;   /* when the last window update was due */
    /* sending */
    uint64_t send_window;
    size_t queued;
    struct chunk *head, *tail;
};

/* The frame whose header was read. */
struct frame_now {
    struct stream *stream; /* NULL: its body is thrown away */
    uint32_t left;         /* of its body */
    bool opened, fin, rst; /* events still to be told: before the body, after it, instead of it */
};

struct yamux {
    struct yamux_config cfg;
    int err; /* fatal */
    mono_ns now;
    /* input */
    struct span in;
    uint8_t head[YAMUX_HEADER];
    unsigned head_len;
    struct frame_now frame;
    mono_ns heard; /* when bytes came last */
    bool goaway_event, pong_event;
    uint32_t goaway_code;
    /* streams */
    struct stream *buckets[YAMUX_BUCKETS];
    uint64_t mix; /* of numbers */
    unsigned count_in, count_out, unacked;
    unsigned vain; /* opened and reset in one go, or too many: work for nothing; each one that we answered makes up for one */
    uint32_t next_id;
    size_t unconsumed, grown;
    struct stream_list control, blocked, events;
    struct group common; /* of those that are in no other */
    struct group_list turns, groups;
    /* output */
    size_t queued;      /* bytes in all send queues */
    size_t chunk_bytes; /* what these take, with spares */
    struct chunk *spent, *spares;
    unsigned spare_count;
    uint32_t pongs[YAMUX_PONGS_MAX];
    unsigned pong_count;
    uint32_t *resets;
    unsigned reset_count, reset_cap;
    bool goaway_due, going, peer_going;
    enum yamux_goaway going_code;
    /* ping */
    bool ping_due, ping_waits;
    uint32_t ping_value;
    mono_ns ping_at;                /* when the last one was asked for */
    mono_ns silent_since, patience; /* since when, and how long, its answer or any byte is waited for */
    mono_ns rtt;
};

/* yamux.c */
int yamux_fail(struct yamux *y, int err, enum yamux_goaway code); /* returns err */

/* yamux_stream.c */
struct stream *stream_find(const struct yamux *y, uint32_t id);
struct stream *stream_new(struct yamux *y, uint32_t id, bool inbound, void *user);
void stream_free(struct yamux *y, struct stream *s);
void stream_refuse(struct yamux *y, uint32_t id); /* queues a RST */
void stream_acked(struct yamux *y, struct stream *s);
void stream_want_control(struct yamux *y, struct stream *s);
void stream_want_event(struct yamux *y, struct stream *s);
void stream_update(struct yamux *y, struct stream *s); /* its place in sending and events, after anything changed */
void stream_had_turn(struct yamux *y, struct stream *s);
void stream_queued(struct yamux *y, struct stream *s, size_t n); /* so many bytes more */
void stream_sent(struct yamux *y, struct stream *s, size_t n);
void stream_wake(struct yamux *y, struct stream *s); /* if it waits for room, and there is enough of it to be worth it */
void streams_wake(struct yamux *y);                  /* those that wait for room, when there is enough of it to be worth it */
bool stream_finished(const struct stream *s);

/* yamux_send.c */
void chunk_drop(struct yamux *y, struct chunk *c);
void chunks_trim(struct yamux *y); /* frees spares and what was sent */
void queue_add(struct yamux *y, struct stream *s, struct span data);
void queue_lend(struct yamux *y, struct stream *s, const struct loan *l);

#endif
