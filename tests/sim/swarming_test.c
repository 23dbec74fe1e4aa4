/* SPDX-License-Identifier: MIT
 *
 * Swarms of whole nodes: what must hold whatever the network does to them. One seed makes one network, one timetable of
 * accidents and one digest; a failure prints the seed, and SIM_SEED replays it. By hand: SIM_NODES=500, SIM_SEEDS=1000 (how many).
 * Seeds that found something belong into `found`.
 */
#include "tests/sim/hostsim.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define LEAVES 48
#define LEAF   65536

static const uint64_t found[] = {1, 29};

static uint64_t env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

/* ---- a swarm: node 0 has a file, all others fetch it ---- */

struct swarm {
    struct hostsim *s;
    uint64_t seed;
    int nodes;
    struct cid root;
    struct hostsim_want *wants[HOSTSIM_NODES_MAX];
};

/* Homes: 5 to 40 ms from the middle, 2 to 10 MiB/s up and twice that down. Node 0 is no better than they are. */
static struct hostsim_line some_line(struct rng *r)
{
    uint64_t up = (2 + rng_below(r, 9)) << 20;
    return (struct hostsim_line){.delay = (5 + rng_below(r, 36)) * MONO_MS, .up = up, .down = 2 * up};
}

/* A ring, so that it is connected, and `more` chords for each. */
static void wire(struct swarm *w, unsigned more)
{
    for (int i = 0; i < w->nodes; i++) {
        hostsim_protect(w->s, i, (i + 1) % w->nodes);
        hostsim_connect(w->s, i, (i + 1) % w->nodes);
        for (unsigned k = 0; k < more; k++) {
            int to = (int)rng_below(hostsim_rng(w->s), (uint64_t)w->nodes);
            if (to != i)
                hostsim_connect(w->s, i, to);
        }
    }
    hostsim_run(w->s, 5 * MONO_S);
}

static void want_all(struct swarm *w)
{
    for (int i = 1; i < w->nodes; i++)
        w->wants[i] = hostsim_want(w->s, i, WANT_DAG, &w->root, MONO_NEVER);
}

static struct swarm swarm_new(uint64_t seed, int nodes)
{
    struct swarm w = {.s = hostsim_new(seed), .seed = seed, .nodes = nodes};
    for (int i = 0; i < nodes; i++) {
        struct hostsim_node like = {.line = some_line(hostsim_rng(w.s)), .budget = 32u << 20};
        (void)hostsim_add(w.s, &like);
    }
    w.root = hostsim_put_file(w.s, 0, LEAVES, LEAF);
    wire(&w, 3);
    return w;
}

static int missing(const struct swarm *w)
{
    int n = 0;
    for (int i = 1; i < w->nodes; i++)
        n += hostsim_held(w->s, i) <= LEAVES;
    return n;
}

/* Wants that were lost with their node are asked again: what a restarted node does for its pins. */
static void ask_again(struct swarm *w)
{
    for (int i = 1; i < w->nodes; i++)
        if (w->wants[i]->lost && hostsim_host(w->s, i))
            w->wants[i] = hostsim_want(w->s, i, WANT_DAG, &w->root, MONO_NEVER);
}

/* Runs until everybody has everything; the seconds it took, or fails. */
static double finish(struct swarm *w, mono_ns most)
{
    mono_ns begun = hostsim_now(w->s), end = begun + most;
    while (missing(w) && hostsim_now(w->s) < end) {
        hostsim_run(w->s, 100 * MONO_MS);
        ask_again(w);
    }
    cr_assert_eq(missing(w), 0, "seed %llu: %d of %d nodes starve", (unsigned long long)w->seed, missing(w), w->nodes);
    return (double)(hostsim_now(w->s) - begun) / (double)MONO_S;
}

/* Figures of all nodes together; `most_twice`: percent of the bytes received that may have come twice, or after they were given
 * up and forgotten (which the ledger calls wrong). */
static void check_shares(struct swarm *w, double most_twice)
{
    uint64_t received = 0, twice = 0;
    for (int i = 0; i < w->nodes; i++) {
        struct hostsim_ledger l = hostsim_ledger(w->s, i);
        received += l.bytes_received;
        twice += l.duplicate_bytes + l.wrong_bytes;
        cr_assert_leq(hostsim_peak(w->s, i), hostsim_limit(w->s, i), "seed %llu: node %d is over its budget",
                      (unsigned long long)w->seed, i);
    }
    double percent = 100.0 * (double)twice / (double)(received ? received : 1);
    cr_assert_lt(percent, most_twice, "seed %llu: %.1f %% came twice", (unsigned long long)w->seed, percent);
    cr_log_info("seed %llu: %.1f %% of %llu MiB came twice", (unsigned long long)w->seed, percent,
                (unsigned long long)(received >> 20));
}

static void each_seed(void (*run)(uint64_t seed, int nodes), int nodes)
{
    if (getenv("SIM_SEED")) {
        run(env("SIM_SEED", 0), (int)env("SIM_NODES", (uint64_t)nodes));
        return;
    }
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        run(found[i], nodes);
    for (uint64_t seed = 2; seed < 2 + env("SIM_SEEDS", 2); seed++)
        run(seed, (int)env("SIM_NODES", (uint64_t)nodes));
}

/* ---- a quiet network ---- */

static void run_calm(uint64_t seed, int nodes)
{
    struct swarm w = swarm_new(seed, nodes);
    want_all(&w);
    double seconds = finish(&w, 120 * MONO_S);
    struct hostsim_ledger l = hostsim_ledger(w.s, 0);
    double copies = (double)l.bytes_sent / (LEAVES * LEAF);
    cr_log_info("seed %llu: %d nodes in %.1f s, the first one sent %.1f copies", (unsigned long long)seed, nodes, seconds,
                copies);
    cr_assert_lt(copies, nodes / 2.0, "seed %llu: the first one served %.1f copies to %d nodes", (unsigned long long)seed,
                 copies, nodes);
    check_shares(&w, 2);
    hostsim_free(w.s);
}

Test(swarming, everybody_gets_a_file)
{
    each_seed(run_calm, 50);
}

/* ---- accidents ---- */

static void accident(struct swarm *w)
{
    struct rng *r = hostsim_rng(w->s);
    int node = 1 + (int)rng_below(r, (uint64_t)w->nodes - 1);
    unsigned links = hostsim_links(w->s);
    switch (rng_below(r, 5)) {
    case 0:
    case 1:
        if (links)
            hostsim_cut(w->s, (unsigned)rng_below(r, links));
        break;
    case 2:
        if (hostsim_host(w->s, node))
            hostsim_kill(w->s, node);
        else
            hostsim_start(w->s, node);
        break;
    case 3:
        hostsim_suspend(w->s, node, (1 + rng_below(r, 40)) * MONO_S);
        break;
    default:
        hostsim_jump_wall(w->s, node, (int64_t)(rng_below(r, 2000) * MONO_S) - (int64_t)(1000 * MONO_S));
        break;
    }
}

static void all_up(struct swarm *w)
{
    for (int i = 0; i < w->nodes; i++)
        if (!hostsim_host(w->s, i)) {
            hostsim_start(w->s, i);
            hostsim_protect(w->s, i, (i + 1) % w->nodes);
        }
}

static uint64_t churn(uint64_t seed, int nodes)
{
    struct swarm w = swarm_new(seed, nodes);
    want_all(&w);
    for (int i = 0; i < 60; i++) {
        accident(&w);
        hostsim_run(w.s, 200 * MONO_MS);
        ask_again(&w);
    }
    all_up(&w);
    double seconds = finish(&w, 600 * MONO_S);
    cr_log_info("seed %llu: whole %.1f s after the last accident", (unsigned long long)seed, seconds);
    check_shares(&w, 8);
    uint64_t digest = hostsim_digest(w.s);
    hostsim_free(w.s);
    return digest;
}

static void run_churn(uint64_t seed, int nodes)
{
    (void)churn(seed, nodes);
}

Test(swarming, survives_accidents)
{
    each_seed(run_churn, 25);
}

Test(swarming, a_seed_replays)
{
    uint64_t first = churn(7, 15), again = churn(7, 15), other = churn(8, 15);
    cr_assert_eq(first, again, "the same seed went another way");
    cr_assert_neq(first, other, "the digest sees nothing");
}

/* ---- a partition ---- */

static void run_partition(uint64_t seed, int nodes)
{
    struct swarm w = swarm_new(seed, nodes);
    want_all(&w);
    hostsim_run(w.s, 300 * MONO_MS);
    for (int i = nodes / 2; i < nodes; i++)
        hostsim_partition(w.s, i, 1);
    hostsim_run(w.s, 90 * MONO_S);
    for (int i = 1; i < nodes / 2; i++)
        cr_assert_gt(hostsim_held(w.s, i), LEAVES, "seed %llu: node %d is with the first one and starves",
                     (unsigned long long)seed, i);
    cr_assert_gt(missing(&w), 0, "seed %llu: it was whole before the cable was pulled", (unsigned long long)seed);
    for (int i = nodes / 2; i < nodes; i++)
        hostsim_partition(w.s, i, 0);
    double seconds = finish(&w, 600 * MONO_S);
    cr_log_info("seed %llu: healed in %.1f s", (unsigned long long)seed, seconds);
    check_shares(&w, 3);
    hostsim_free(w.s);
}

Test(swarming, partition_heals)
{
    each_seed(run_partition, 30);
}
