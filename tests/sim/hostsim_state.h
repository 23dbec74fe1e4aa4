/* SPDX-License-Identifier: MIT
 *
 * What the files of the simulator share: hostsim.c time and nodes, hostsim_line.c connections, hostsim_engine.c what a node's
 * engine, workers and store would do.
 */
#ifndef TESTS_SIM_HOSTSIM_STATE_H
#define TESTS_SIM_HOSTSIM_STATE_H

#include "net/exchange/cidmap.h"
#include "tests/sim/hostsim.h"

#include <sys/queue.h>

enum event_type { EV_TIMER, EV_BYTES, EV_END, EV_LINE, EV_DIALED, EV_LOADED, EV_VERIFIED, EV_STORED, EV_DATAGRAM };

struct event {
    mono_ns at;
    uint64_t order;
    enum event_type type;
    int node;
    uint32_t life; /* of the node: what was for an earlier life is dropped */
    struct end *end;
    struct buf bytes; /* of BYTES and DATAGRAM */
    uint64_t tag, size, dial;
    int result;
    struct block *block;
    struct exchange_prefix prefix;
    struct multiaddr addr;
};

/* One side of a connection: the owner of a host_conn. Both sides and the events on their way hold the pair. */
struct end {
    struct end *other;
    struct pair *pair;
    int node;
    struct host_conn *hc;
    bool open; /* not closed by its host */
    bool hold; /* its host does not read */
    bool cut, told_end;
    bool in_turn;     /* waits in its node's queue for the line */
    size_t in_flight; /* bytes towards the other end that it has not taken */
    STAILQ_HEAD(, arrival) arrived;
    TAILQ_ENTRY(end) turn;
};

struct arrival { /* came, and its host does not read or the cable is pulled */
    STAILQ_ENTRY(arrival) link;
    struct buf bytes;
    bool is_end;
};

struct pair {
    TAILQ_ENTRY(pair) link;
    struct end ends[2];
    unsigned refs; /* events that name an end */
};

struct owned_want {
    STAILQ_ENTRY(owned_want) link;
    struct hostsim_want w;
};

struct owned_call {
    STAILQ_ENTRY(owned_call) link;
    struct host_call call;
};

struct stored {
    struct block *block;
    struct cidnode node;
};

struct node {
    struct host *host; /* NULL: killed */
    struct budget *budget;
    uint64_t budget_limit, last_used;
    struct identity identity;
    struct cidmap store;
    struct hostsim_line line;
    bool mdns;
    unsigned dials;
    void (*tune)(struct host_config *c);
    mono_ns up_free, down_free; /* when the line has carried what it was given */
    bool line_event;
    TAILQ_HEAD(, end) turns; /* ends that have something to send */
    int group;
    uint32_t life;
    mono_ns timer_at, still_until;
    int64_t wall_off;
    struct buf saved_peers;
};

struct hostsim {
    mono_ns now;
    struct rng rng;
    uint64_t seed, order, digest;
    struct node *nodes[HOSTSIM_NODES_MAX];
    int count;
    struct event **heap; /* from 1 */
    size_t heap_count, heap_cap;
    TAILQ_HEAD(, pair) pairs;
    STAILQ_HEAD(, owned_want) wants;
    STAILQ_HEAD(, owned_call) calls;
    bool lan;
    hostsim_watcher *watch;
    void *watch_arg;
};

/* ---- events ---- */

/* Not before now, after all that are posted for the same time. The event is the heap's until it is handled. */
struct event *hostsim_post(struct hostsim *s, mono_ns at, enum event_type type, int node);
void hostsim_event_free(struct hostsim *s, struct event *e);
/* Carries out what the node's host wants, and sets its timer. */
void hostsim_drive(struct hostsim *s, int node);
struct multiaddr hostsim_address(int node);

/* ---- connections ---- */

void end_deliver(struct hostsim *s, struct end *e); /* hands what arrived to the host as long as it reads */
void end_came(struct hostsim *s, struct event *e);  /* BYTES, END */
void end_close(struct hostsim *s, struct end *e);
void end_wants_line(struct hostsim *s, struct end *e);
void line_run(struct hostsim *s, int node); /* LINE: lets it carry what its connections have until it is busy */
void line_dialed(struct hostsim *s, const struct event *e);
void line_killed(struct hostsim *s, int node); /* its connections are reset */
void pair_free(struct hostsim *s, struct pair *p);
void pair_release(struct hostsim *s, struct pair *p); /* frees it when nothing holds it */

/* ---- a node's engine ---- */

void hostsim_carry_out(struct hostsim *s, int node, const struct host_action *a);
void hostsim_handle_alive(struct hostsim *s, struct event *e); /* an event of a node that runs */
void hostsim_store_free(struct node *d);

#endif
