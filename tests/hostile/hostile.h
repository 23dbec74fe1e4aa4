/* SPDX-License-Identifier: MIT
 *
 * A peer that does wrong things to a running node, over real sockets. Two ways to speak:
 *
 *   struct link      a blocking socket, Noise and Yamux frames made by hand: for what our own machines would never send
 *   struct session   a whole connection of net/conn: for well-formed protocol with hostile content
 *
 * An attack is one function: it makes one or more connections, does its thing, and notes in the tally what the node did. It
 * is called again and again until the time is over. Single-threaded.
 */
#ifndef TESTS_HOSTILE_HOSTILE_H
#define TESTS_HOSTILE_HOSTILE_H

#include "net/conn/conn.h"
#include "net/secure/noise.h"
#include "store/content/cid.h"

#include <netinet/in.h>

/* What the node did, one count a round: the first that applies */
enum outcome {
    GOT_REFUSED, /* the connection or its handshake was not taken: a limit */
    GOT_GOAWAY,  /* Yamux go-away with an error, and closed */
    GOT_CLOSED,
    GOT_RESET,     /* the stream was reset, the connection lives */
    GOT_THROTTLED, /* our bytes were not read any more */
    GOT_ANSWERED,  /* it went on as with anybody */
    GOT_IGNORED,   /* nothing at all */
    OUTCOMES
};
extern const char *const outcome_names[OUTCOMES];

struct tally {
    uint64_t rounds, outcome[OUTCOMES];
    uint64_t units; /* frames, entries, streams …: what the attack counts */
    uint64_t sent, received;
    unsigned open_most; /* connections held at once */
    bool cut;           /* the only round was cut short by the end: what it saw may be too early */
};

struct target {
    struct in_addr ip;
    uint16_t port;
    struct in_addr first_source; /* none: any. Sources are this address and the `sources` - 1 behind it */
    unsigned sources;
    struct cid root; /* of a DAG that the node holds; none */
    uint64_t work;   /* units that an attack of many does in a round; 0: its own number */
};

struct hostile {
    struct target target;
    struct tally tally;
    struct rng rng;
    mono_ns until;
    unsigned turn; /* of the sources */
};

struct attack {
    const char *name, *group;
    unsigned expect; /* outcomes that are right, as bits; 0: any */
    void (*run)(struct hostile *h);
    const char *what;
};
#define GETS(outcome) (1u << (outcome))
#define GETS_CLOSED   (GETS(GOT_CLOSED) | GETS(GOT_GOAWAY))

struct attack_table {
    const struct attack *attacks;
    unsigned count;
};
extern const struct attack_table attacks_select, attacks_noise, attacks_mux, attacks_identify, attacks_blocks, attacks_liar,
    attacks_crowd, attacks_drip, attacks_lan;

bool hostile_over(const struct hostile *h);
void hostile_sleep(const struct hostile *h, mono_ns until); /* or until it is over */
void hostile_begun(void);                                   /* the first connection was tried: says so, once */
void hostile_note(struct hostile *h, enum outcome o);
uint64_t hostile_work(const struct hostile *h, uint64_t own);

/* ---- sockets ---- */

/* Connected from the next source address, or -1. Not blocking. */
int hostile_dial(struct hostile *h);

struct link {
    struct hostile *h;
    int fd; /* -1: none */
    struct identity identity;
    struct noise *noise; /* NULL before link_secure */
    struct buf raw;      /* received, not opened yet */
    struct buf plain;    /* received frames, not parsed yet */
    struct buf out;      /* frames to be sealed by mux_flush */
    bool secured;        /* `raw` holds frames */
    bool deaf;           /* never reads */
    bool closed, stalled, goaway;
    uint32_t goaway_code;
    uint64_t received; /* bytes of stream data */
    unsigned resets, pongs, opened;
};

bool link_dial(struct link *l, struct hostile *h);   /* TCP only */
bool link_secure(struct link *l, struct hostile *h); /* up to the muxer, with a fresh identity */
/* The pieces of link_secure, for those who go wrong in between: l->noise is made, /noise is agreed on. */
bool link_agree(struct link *l, struct hostile *h, const struct identity *who);
bool link_handshake(struct link *l);
bool link_send(struct link *l, struct span bytes); /* raw; false: closed by the node, or not read for LINK_STALL */
bool link_wait(struct link *l, mono_ns time);      /* reads until the node closes (true) or the time is over */
void link_fin(struct link *l);                     /* our side of the socket is finished */
void link_end(struct link *l);                     /* frees */
void link_verdict(struct link *l);                 /* waits a little, notes what the node did, and ends it */
#define LINK_STALL  (1500 * MONO_MS)
#define LINK_LISTEN (700 * MONO_MS) /* how long a verdict waits: an honest node on a busy machine answers well within */

/* ---- Yamux by hand ---- */

enum { MUX_DATA, MUX_WINDOW, MUX_PING, MUX_GOAWAY };
enum { MUX_SYN = 1, MUX_ACK = 2, MUX_FIN = 4, MUX_RST = 8 };
void mux_frame(struct link *l, unsigned type, unsigned flags, uint32_t id, uint32_t length); /* the header only */
void mux_data(struct link *l, unsigned flags, uint32_t id, struct span data);
void mux_open(struct link *l, uint32_t id, const char *protocol); /* SYN, multistream, proposal */
bool mux_flush(struct link *l);                                   /* seals and sends; as link_send */
bool mux_flush_some(struct link *l);                              /* when there is enough for a Noise frame */

/* ---- whole connections ---- */

struct session;
struct session_plan {
    void *arg;
    void (*ready)(struct session *s);
    /* On a stream of ours (`ours`) or theirs. Bytes of DATA are given back unless hoard. NULL: nothing is done */
    void (*event)(struct session *s, const struct conn_event *ev);
    void (*identify)(struct session *s, struct buf *out); /* what we say; NULL: the truth */
    bool hoard;                                           /* never gives received bytes back */
    const struct identity *who;                           /* NULL: somebody new */
    struct conn_limits limits;
};

struct session {
    struct hostile *h;
    const struct session_plan *plan;
    struct identity identity;
    struct conn *conn;
    int fd;
    struct buf out;
    bool over; /* closed by the node */
    unsigned resets, streams_in;
    uint64_t received;
    void *arg;
};

struct session *session_new(struct hostile *h, const struct session_plan *plan); /* NULL: no connection */
/* Moves bytes and handles events of `count` sessions until nothing happens for `wait`, once. */
void session_turn(struct session **all, unsigned count, mono_ns wait);
void session_run(struct session *s, mono_ns time); /* until it is over or the time is */
struct session *session_free(struct session *s);
void session_verdict(struct session *s); /* as link_verdict */
/* Appends an identify message of ours as honest nodes send it */
void session_say_identify(struct session *s, struct buf *out);
uint32_t session_open(struct session *s, const char *protocol); /* 0: refused */

#endif
