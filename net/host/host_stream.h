/* SPDX-License-Identifier: MIT
 *
 * Streams of a connection of the host, from the inside (host_state.h).
 */
#ifndef NET_HOST_HOST_STREAM_H
#define NET_HOST_HOST_STREAM_H

#include "net/host/host_state.h"

#define HOST_STREAM_BESIDE 2048 /* bytes of each stream: the host's part, the engine's and its socket's */

enum stream_kind {
    STREAM_IDENTIFY_IN,  /* they asked, we tell */
    STREAM_IDENTIFY_OUT, /* we asked */
    STREAM_PUSH_IN,
    STREAM_PUSH_OUT,
    STREAM_PING_IN,
    STREAM_PING_OUT,
    STREAM_BITSWAP_IN,
    STREAM_BITSWAP_OUT,
    STREAM_RAW_IN,
    STREAM_RAW_OUT,
    STREAM_KINDS
};

struct host_stream {
    struct link link; /* conn->streams */
    struct host_conn *conn;
    uint32_t number;
    enum stream_kind kind;
    struct timer timer;
    struct buf out;  /* to be written when there is room */
    struct buf rest; /* came, and its reader takes no more now; not consumed yet */
    bool fin_after;  /* our FIN follows `out` */
    bool fin_came;
    union {
        struct identify_reader reader;   /* IDENTIFY_OUT, PUSH_IN */
        struct ping_responder responder; /* PING_IN */
        struct {
            struct pinger pinger;
            struct host_call *call; /* NULL: nobody waits any more */
        } ping;                     /* PING_OUT */
        struct exchange_stream *xs; /* BITSWAP_IN; NULL: ended */
        struct host_raw *raw;       /* RAW_*; NULL: its owner has dropped it */
    } u;
};

void stream_opened_by_peer(struct host_conn *c, uint32_t number, unsigned protocol); /* index in c->protocols */
struct host_stream *stream_open(struct host_conn *c, enum stream_kind kind, const char *const *ids,
                                unsigned count); /* NULL: not now, for c->open_err */
void stream_event(struct host_stream *s, const struct conn_event *ev);
void stream_send(struct host_stream *s, struct span bytes);
void stream_finish(struct host_stream *s);               /* our FIN, after what was sent */
bool stream_pump(struct host_stream *s);                 /* writes what waits; true: all is written */
bool stream_keep(struct host_stream *s, struct span in); /* at the end of `rest`; false: no memory, the stream is gone */
void stream_took(struct host_stream *s, size_t n);       /* so many bytes of `rest` */
void stream_reset(struct host_stream *s);                /* and frees it, with its end told to its protocol */
void stream_short(struct host_stream *s);                /* the same, for want of memory: what came cannot be kept */
void stream_end(struct host_stream *s, int err);         /* it is gone from the connection: tell and free */
void stream_expire(struct host_stream *s);
const struct conn_protocols *stream_protocols(void); /* that any peer may open */

#endif
