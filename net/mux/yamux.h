/* SPDX-License-Identifier: MIT
 *
 * Yamux /yamux/1.0.0 (hashicorp's spec, as libp2p's implementations speak it): many streams on one secured connection.
 *
 *      0       1       2               4               8              12
 *      +-------+-------+---------------+---------------+---------------+
 *      | ver 0 | type  | flags         | stream id     | length        |   types: data, window update, ping, go away
 *      +-------+-------+---------------+---------------+---------------+   flags: SYN 1, ACK 2, FIN 4, RST 8, on the first two
 *
 * A stream's two sides are closed one by one; RST ends both:
 *      OPEN ─→ we finished ─→ gone (when all was handed out)
 *        └──→ peer finished ──↑
 * Input is parsed in place: DATA events borrow from what yamux_input was given. Output is gathered: yamux_gather lists spans of
 * headers and of send queues, to be encrypted straight into the connection's output. Control frames (pongs first, so that
 * a peer with a 10 s timer stays content; then window updates and resets) go before data; data goes round-robin, one
 * frame a turn.
 *
 * Windows start at 256 KiB. A window that was used up in less than four round trips doubles, up to window_max, as long as the
 * growth of all windows stays within window_total and the memory budget grants it. Frames for streams we have forgotten are
 * ignored. Peers that overrun a window, or break the framing, get a go-away and the session ends.
 *
 * Bounds: streams, unacknowledged opens, queued pongs and resets, streams opened in vain, bytes in send queues. Received bytes
 * are not kept here.
 */
#ifndef NET_MUX_YAMUX_H
#define NET_MUX_YAMUX_H

#include "store/base/err.h"
#include "store/base/mono.h"
#include "store/base/span.h"

struct budget;

#define YAMUX_HEADER      12
#define YAMUX_WINDOW      (256u * 1024) /* initial, of both directions of each stream */
#define YAMUX_DATA_MAX    65507u        /* of one frame we send: with its header it fills one Noise message */
#define YAMUX_UNACKED_MAX 256           /* opens the peer has not acknowledged: go's accept backlog */
#define YAMUX_PONGS_MAX   64            /* pings not yet answered, before we hang up */
#define YAMUX_RESETS_MAX  4096          /* resets not yet sent, before we hang up */
#define YAMUX_VAIN_MAX    1024 /* streams that the peer reset before we could answer, or that were too many, more than others */
#define YAMUX_BATCH_PARTS 64

enum yamux_goaway { YAMUX_GOAWAY_NORMAL, YAMUX_GOAWAY_PROTOCOL, YAMUX_GOAWAY_INTERNAL };

struct yamux;

struct yamux_config {
    bool dialer;         /* of the connection: our streams are odd */
    unsigned streams_in; /* more are reset */
    unsigned streams_out;
    size_t send_queue; /* bytes for each stream */
    size_t send_total; /* bytes for all of them; beyond that each group (yamux_set_group) has a frame's worth */
    uint32_t window_max;
    size_t window_total;   /* what all windows together may have grown by */
    mono_ns keepalive;     /* between pings; MONO_NEVER: none */
    mono_ns pong;          /* how long without pong and without any byte until the peer counts as dead */
    struct budget *budget; /* NULL: none */
    uint64_t seed;         /* of the table of streams, whose numbers the peer chooses: it shall not know it */
};
extern const struct yamux_config yamux_defaults; /* for a listener */

enum yamux_event_type {
    YAMUX_NONE,
    YAMUX_OPENED, /* by the peer */
    YAMUX_DATA,
    YAMUX_FIN,      /* the peer finished */
    YAMUX_WRITABLE, /* room again after yamux_write took less than it was given */
    YAMUX_RESET,    /* by the peer; the stream is gone */
    YAMUX_CLOSED,   /* both sides finished and ours was handed out; the stream is gone */
    YAMUX_PONG,     /* rtt */
    YAMUX_GOAWAY,   /* code: the peer takes and opens no more streams; those that are open live on */
};

struct yamux_event {
    enum yamux_event_type type;
    uint32_t stream;
    void *user;       /* of the stream; also in the event that ends it */
    struct span data; /* borrowed until the next call */
    uint32_t code;
    mono_ns rtt;
};

struct yamux *yamux_new(const struct yamux_config *cfg, mono_ns now);
struct yamux *yamux_free(struct yamux *y); /* NULL accepted; `user` of live streams is the owner's: see yamux_any */

/* Borrows `in` until yamux_next has answered 0; the input before must have been used up. */
void yamux_input(struct yamux *y, struct span in, mono_ns now);
/* 1: an event; 0: none, the input is used up. ERR_PROTOCOL: the peer broke the protocol; ERR_LIMIT: a bound of the session;
 * ERR_TIMEOUT: the peer is dead. Errors repeat, and a go-away is left in the output. */
int yamux_next(struct yamux *y, struct yamux_event *ret);

struct yamux_batch {
    struct span parts[YAMUX_BATCH_PARTS];
    unsigned count;
    size_t bytes;
    uint8_t heads[YAMUX_BATCH_PARTS][YAMUX_HEADER];
};
/* Takes frames of at most `most` bytes (≥ YAMUX_HEADER + 1, or nothing is taken) from the output. The parts are borrowed
 * from batch and y until the next call that takes y. Returns the bytes; 0: nothing to send. */
size_t yamux_gather(struct yamux *y, struct yamux_batch *batch, size_t most);
size_t yamux_output(struct yamux *y, struct buf *out, size_t most); /* the same, copied to the end of out, many batches */
bool yamux_has_output(const struct yamux *y);
mono_ns yamux_deadline(const struct yamux *y);
void yamux_expire(struct yamux *y, mono_ns now); /* then yamux_next: it may have died */

/* ---- streams; ERR_NOT_FOUND for those that are gone ---- */

int yamux_open(struct yamux *y, void *user, uint32_t *ret_stream);   /* ERR_LIMIT; ERR_CLOSED after a go-away or an error */
int yamux_write(struct yamux *y, uint32_t stream, struct span data); /* bytes taken; ERR_CLOSED after yamux_close_write */
/* As yamux_write, but the bytes stay where they are until they are sent or the stream is gone. > 0: the loan was taken, with so
 * many of its bytes; else it was not. */
int yamux_lend(struct yamux *y, uint32_t stream, const struct loan *l);
int yamux_write_over(struct yamux *y, uint32_t stream,
                     struct span data);                          /* all of it, past the bounds: for what is bounded elsewhere */
size_t yamux_write_room(const struct yamux *y, uint32_t stream); /* what is to be written now: less when memory is short */
void yamux_want_room(struct yamux *y, uint32_t stream);          /* WRITABLE when there is some */
size_t yamux_unsent(const struct yamux *y, uint32_t stream);
int yamux_consume(struct yamux *y, uint32_t stream, size_t n); /* n bytes of DATA events are done with */
int yamux_close_write(struct yamux *y, uint32_t stream);
int yamux_reset(struct yamux *y, uint32_t stream); /* gone at once, without an event */
/* The same with one that the peer has just opened and that is too many. ERR_LIMIT: so were too many before, the session ends */
int yamux_refuse(struct yamux *y, uint32_t stream);
int yamux_set_user(struct yamux *y, uint32_t stream, void *user);
void *yamux_user(const struct yamux *y, uint32_t stream);
/* Streams with the same key (compared, never followed) take turns for one turn of the others; NULL: of those that have none. */
int yamux_set_group(struct yamux *y, uint32_t stream, const void *key);

/* ---- the session ---- */

/* With `patience` instead of cfg.pong for its answer. ERR_AGAIN: one is under way, which has no longer than that from now. */
int yamux_ping(struct yamux *y, mono_ns patience, mono_ns now);
void yamux_goodbye(struct yamux *y, enum yamux_goaway code);
mono_ns yamux_rtt(const struct yamux *y); /* 0: unknown */
unsigned yamux_streams(const struct yamux *y);
size_t yamux_unconsumed(const struct yamux *y); /* delivered and not consumed, all streams */
size_t yamux_grown(const struct yamux *y);      /* by which all windows have grown */
size_t yamux_memory(const struct yamux *y);
/* The number and user of any one stream that lives, for taking all of them down with yamux_reset; false: there is none. */
bool yamux_any(const struct yamux *y, uint32_t *ret_stream, void **ret_user);

#endif
