/* SPDX-License-Identifier: MIT
 *
 * Streams as files: streams/ and peers/<p>/streams/. Private to fs/node; fs thread.
 *
 * A stream is a connected socket that others hand to the mount (stream_port of mount.h); reading, writing, poll and closing
 * here are those of the socket. No thread waits: a read that finds nothing is parked until the socket has something.
 *
 *   open ─► dials (parked) ─► handle ─► stream_end ─► the socket
 *                              streams/clone ─► conversation ─┘        (streams/N/data and others may share one)
 *
 * Each lookup of what can be dialed gives an inode of its own (with the same st_ino): the kernel lets one write at a time into
 * an inode, and two streams to one service must not wait for each other.
 */
#ifndef FS_NODE_STREAMS_H
#define FS_NODE_STREAMS_H

#include "fs/node/mount_state.h"

enum streams_dir {
    STREAMS_ROOT,    /* streams/ */
    STREAMS_OFFERS,  /* streams/offer */
    STREAMS_OFFER,   /* streams/offer/<key> */
    STREAMS_ALLOW,   /* streams/offer/<key>/allow */
    STREAMS_FORWARD, /* streams/forward */
    STREAMS_LIVE,    /* streams/live */
    STREAMS_NUMBER,  /* streams/<key> */
    STREAMS_PEER,    /* peers/<key>/streams */
};

enum stream_file {
    STREAM_SERVICE,   /* peers/<p>/streams/<s>; key: peer NUL service NUL number of the lookup */
    STREAM_LIVE_FEED, /* streams/live/<s>; key: NUL service NUL number of the lookup */
    STREAM_DATA,      /* streams/<N>/data; key: N */
};

/* streams.c */
void streams_found(const struct mount *m, enum streams_dir dir, struct span key, struct found *ret);
void streams_describe(const struct inode *i, struct buf *out);
const struct offer_row *streams_offer(const struct mount *m, struct span name);     /* NULL: none */
const struct stream_row *streams_number(const struct mount *m, struct span number); /* NULL: none */
/* Of peers/<key>, streams/offer/<key>, streams/<key> and what lies in them: 0, ERR_STALE when it is gone */
node_allowed peer_is_there, offer_is_there, stream_is_there;

/* The service of a file of peers/<peer>/streams: what the peer lists, else `file` itself if it could be one; NULL: it cannot */
const char *streams_service(const struct mount *m, struct span peer, const char *file);

/* stream_file.c: one socket, shared by handles and a conversation */
struct stream_end *stream_end_ref(struct stream_end *e);
void stream_close(struct handle *h);                             /* its reference, if it is a stream's */
void stream_leave(struct stream_end *e);                         /* the last one closes; NULL accepted */
void stream_ready(struct mount *m, struct stream_end *e);        /* epoll told */
void streams_sweep(struct mount *m);                             /* frees those that were left during the turn */
void stream_ended(struct mount *m, uint64_t number, bool whole); /* mount_stream_ended */
/* Opens a stream for a request: ERR_AGAIN until it is settled; 0: one reference of *ret_end is the caller's; else why not. The
 * state is the request's. `number` 0: any. `why` NULL: not asked. */
int stream_opening(struct mount *m, struct request *r, const struct stream_open *what, struct stream_end **ret_end,
                   struct why *why);
void stream_hang_up(struct stream_end *e); /* whoever reads or writes it sees its end; NULL accepted */
void stream_file_found(struct mount *m, enum stream_file kind, struct span peer, struct span service, struct found *ret);

/* clone.c: conversations, in the manner of ip(3) */
struct conversation *conversation_new(struct mount *m, struct handle *h); /* its first handle; NULL: no streams here */
struct conversation *conversation_find(const struct mount *m, struct span number);
void conversation_enter(struct conversation *c, struct handle *h); /* one more handle */
void conversation_leave(struct mount *m, struct conversation *c);  /* the last one hangs up; NULL accepted */
void conversation_names(const struct mount *m, struct buf *out);
void conversation_status(const struct conversation *c, struct buf *out);
uint64_t conversation_number(const struct conversation *c);
struct stream_end *conversation_end(const struct conversation *c); /* NULL: not connected */
const char *conversation_remote(const struct conversation *c);     /* PEER/SERVICE, peer by id; NULL: not connected */
/* The sentence of its last refused line, by whichever ctl it came; NULL: none, and to clear it */
const char *conversation_refusal(const struct conversation *c);
void conversation_refused(struct conversation *c, const char *sentence);
/* A line that was written to its ctl: `connect PEER SERVICE`, `connect PEER/SERVICE`, `hangup`. ERR_AGAIN: again. */
int conversation_command(struct mount *m, struct request *r, struct conversation *c, struct span line, struct why *why);

#endif
