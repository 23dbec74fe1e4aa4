/* SPDX-License-Identifier: MIT
 *
 * Whole nodes (net/host) in one process under a virtual clock: real handshakes, negotiation, identify and block exchange over
 * simulated lines. What the engine does with sockets, workers and the store is done here with one heap of events, so that
 * everything happens in an order that depends on the seed and the calls only: hostsim_digest proves it.
 *
 * The network: each node has one line to the middle, with a delay, a rate up and a rate down that all its connections share
 * in turn. A connection delivers in order and loses nothing; it holds WINDOW bytes, then its sender waits. What can happen to it:
 *   hostsim_cut         it is reset, both ends hear of it
 *   hostsim_partition   nodes of different groups hear nothing of each other, as with a cable pulled: no reset, dials unanswered.
 *                       When the groups are joined again, what was sent arrives (as TCP would repeat it)
 *   hostsim_suspend     a node stands still while time goes on: a lid that was closed
 *   hostsim_kill        the node is gone; its peers hear a reset. hostsim_start brings it back with what it had stored
 * Node n has the address /ip4/10.<n/250>.<n%250+1>.1/tcp/4001. After a call of the host itself the next hostsim_run goes on with it.
 */
#ifndef TESTS_SIM_HOSTSIM_H
#define TESTS_SIM_HOSTSIM_H

#include "net/host/host.h"

#define HOSTSIM_NODES_MAX 1024
#define HOSTSIM_IP(node)  10, (uint8_t)((node) / 250), (uint8_t)((node) % 250 + 1), 1

struct hostsim;

struct hostsim_line {
    mono_ns delay;     /* one way, to the middle */
    uint64_t up, down; /* bytes a second; 0: unlimited */
};

struct hostsim *hostsim_new(uint64_t seed);
struct hostsim *hostsim_free(struct hostsim *s); /* aborts when a node did not give its memory back */
mono_ns hostsim_now(const struct hostsim *s);
struct rng *hostsim_rng(struct hostsim *s);
/* Mixes every event with its time and every byte count: equal for equal seeds and calls. */
uint64_t hostsim_digest(const struct hostsim *s);

/* ---- nodes ---- */

struct hostsim_node {
    struct hostsim_line line;
    uint64_t budget;                     /* 0: the default */
    bool mdns;                           /* see hostsim_lan */
    void (*tune)(struct host_config *c); /* changes what it is started with, each time; NULL: nothing */
};
int hostsim_add(struct hostsim *s, const struct hostsim_node *like); /* its number; it is started */
int hostsim_count(const struct hostsim *s);
struct host *hostsim_host(struct hostsim *s, int node); /* NULL: killed */
const struct peer_id *hostsim_id(const struct hostsim *s, int node);
struct multiaddr hostsim_address(int node);
unsigned hostsim_dials(const struct hostsim *s, int node); /* that it tried */
uint64_t hostsim_peak(const struct hostsim *s, int node);  /* of its memory budget */
uint64_t hostsim_limit(const struct hostsim *s, int node);
void hostsim_kill(struct hostsim *s, int node);
void hostsim_start(struct hostsim *s, int node);
void hostsim_suspend(struct hostsim *s, int node, mono_ns time);
void hostsim_jump_wall(struct hostsim *s, int node, int64_t by); /* its wall clock is set, nanoseconds */

void hostsim_connect(struct hostsim *s, int from, int to);      /* asks for it; the answer is in the events */
void hostsim_protect(struct hostsim *s, int node, int peer);    /* a friend: dialed again whenever it is not connected */
unsigned hostsim_links(const struct hostsim *s);                /* connections open at both ends */
void hostsim_cut(struct hostsim *s, unsigned nth);              /* of hostsim_links */
void hostsim_partition(struct hostsim *s, int node, int group); /* all begin in group 0 */

/* Somebody at `remote` connects, sends `bytes` and, when 20 ms have passed, hangs up. False: the node did not notice that. */
bool hostsim_stranger(struct hostsim *s, int node, const struct multiaddr *remote, struct span bytes);
/* Datagrams reach everybody of the same group; until this is called, nobody. */
void hostsim_lan(struct hostsim *s);

/* What the simulator has no part in is shown to `each`: events, the streams of services. */
typedef void hostsim_watcher(void *arg, int node, const struct host_action *a);
void hostsim_watch(struct hostsim *s, hostsim_watcher *each, void *arg);

/* ---- calls: `owner` is NULL when they were answered ---- */

void hostsim_call(struct hostsim *s, int node, struct host_call *c);             /* the caller's until then */
int hostsim_ask(struct hostsim *s, int node, struct host_call *c, mono_ns most); /* waits: the result; ERR_AGAIN: none yet */
int hostsim_connect_now(struct hostsim *s, int from, int to);                    /* waits */

/* ---- blocks ---- */

struct cid hostsim_put(struct hostsim *s, int node, uint64_t codec, struct span data);
/* `leaves` raw blocks of pseudo-random bytes under one dag-pb root, as a file has them */
struct cid hostsim_put_file(struct hostsim *s, int node, unsigned leaves, size_t leaf_size);
struct cid hostsim_put_file_of(struct hostsim *s, int node, unsigned leaves, size_t leaf_size, struct cid *ret_leaves);
void hostsim_copy(struct hostsim *s, int from, int to); /* all that `from` holds */
size_t hostsim_held(const struct hostsim *s, int node); /* blocks */

struct hostsim_want {
    struct want want;
    int node;
    bool settled, lost; /* lost: its node was killed before */
    mono_ns asked_at, settled_at;
};
/* Owned by the simulator, its block too. As somebody who waits asks; MONO_NEVER: as a pin does. */
struct hostsim_want *hostsim_want(struct hostsim *s, int node, enum want_kind kind, const struct cid *cid, mono_ns timeout);
/* A block of what is below `root`, as a reader asks */
struct hostsim_want *hostsim_want_of(struct hostsim *s, int node, const struct cid *cid, const struct cid *root,
                                     enum want_priority priority);

struct hostsim_ledger { /* of one node, over all peers it had */
    uint64_t bytes_received, bytes_sent, duplicate_bytes, wrong_bytes;
};
struct hostsim_ledger hostsim_ledger(struct hostsim *s, int node);

/* ---- time ---- */

void hostsim_run(struct hostsim *s, mono_ns time);
void hostsim_wait(struct hostsim *s, const struct hostsim_want *w, mono_ns most); /* until it is settled */

#endif
