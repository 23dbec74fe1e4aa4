/* SPDX-License-Identifier: MIT
 *
 * A network of exchanges in one process under a virtual clock: nodes with a store in memory, links with delay, rate and a
 * window, workers and committer that answer after a while. Everything happens in an order that depends only on the seed and
 * the calls made, so a failure replays.
 *
 * A node here is what net/host makes of an exchange, without connections and negotiation: streams are byte queues.
 */
#ifndef TESTS_SIM_SIMNET_H
#define TESTS_SIM_SIMNET_H

#include "net/exchange/exchange.h"
#include "store/base/rng.h"

#define SIM_NODES_MAX 128

struct simnet;

struct simnet *simnet_new(uint64_t seed);
struct simnet *simnet_free(struct simnet *n); /* checks that every node gives its memory back */
mono_ns simnet_now(const struct simnet *n);
struct rng *simnet_rng(struct simnet *n);

/* ---- nodes ---- */

struct sim_node_options {
    uint64_t budget; /* 0: BUDGET_DEFAULT */
    uint64_t upload_rate, download_rate;
    bool corrupts;    /* flips a byte of every block it serves */
    int store_result; /* what its committer answers */
};
int simnet_node(struct simnet *n, const struct sim_node_options *o); /* its number */
struct exchange *simnet_exchange(struct simnet *n, int node);
void simnet_freeze(struct simnet *n, int node, bool frozen); /* SIGSTOP and SIGCONT: its links stay up */

/* Puts blocks in its store, as an importer would. */
struct cid simnet_put(struct simnet *n, int node, uint64_t codec, struct span data);
/* Random leaves of leaf_size under nodes of `fan` links (dag-pb), `leaves` ≥ 1; the root. Equal arguments and seed: equal
 * DAGs. */
struct cid simnet_put_tree(struct simnet *n, int node, unsigned leaves, unsigned leaf_size, unsigned fan, uint64_t seed);
bool simnet_has(const struct simnet *n, int node, const struct cid *cid);
size_t simnet_count(const struct simnet *n, int node); /* blocks held */
void simnet_copy(struct simnet *n, int from, int to, unsigned part,
                 unsigned parts);                       /* every block whose hash falls in the part */
uint64_t simnet_peak(const struct simnet *n, int node); /* of its memory budget */

/* ---- links ---- */

struct sim_link_options {
    mono_ns delay;  /* one way */
    uint64_t rate;  /* bytes a second each way; 0: unlimited */
    unsigned flags; /* EXCHANGE_LAN …, both ends; EXCHANGE_CAPABLE is added */
};
void simnet_link(struct simnet *n, int a, int b, const struct sim_link_options *o);
void simnet_unlink(struct simnet *n, int a, int b); /* what was on its way is lost */
bool simnet_linked(const struct simnet *n, int a, int b);
void simnet_break_streams(struct simnet *n, int a, int b); /* resets every stream of the link */
void simnet_ledger(const struct simnet *n, int node, int peer, struct exchange_ledger *ret);

/* ---- wants ---- */

struct sim_want {
    struct want want;
    bool settled;
    mono_ns settled_at;
};
/* Owned by the network; its block is released with it. */
struct sim_want *simnet_want(struct simnet *n, int node, enum want_kind kind, enum want_priority p, const struct cid *cid,
                             const struct cid *root, mono_ns timeout);
void simnet_cancel(struct simnet *n, int node, struct sim_want *w);

/* ---- time ---- */

void simnet_run(struct simnet *n, mono_ns time); /* lets so much time pass */
/* Until the want is settled or `most` has passed; is it settled? */
bool simnet_run_until(struct simnet *n, const struct sim_want *w, mono_ns most);

struct sim_counts {
    uint64_t drops, seeks, events, refused; /* refused: bytes that were not taken at once */
};
struct sim_counts simnet_counts(const struct simnet *n);

#endif
