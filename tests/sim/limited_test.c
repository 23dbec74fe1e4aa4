/* SPDX-License-Identifier: MIT
 *
 * One file from several peers at once, each behind a slow line: whoever fetches it gets nearly the sum of what they can send,
 * evenly, and next to nothing twice. Whole nodes under the virtual clock, so a ratio here is a matter of order and not of time
 * on this machine. SIM_SEED replays a seed, SIM_SEEDS tries so many; those that found something belong into `found`.
 */
#include "tests/sim/hostsim.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define LEAVES 64
#define LEAF   (1u << 20)
#define PEERS  4
#define RATE   20000000 /* bytes a second of each */
#define WINDOW 32       /* leaves: the mount's read-ahead */

static const uint64_t found[] = {1};

struct fetch {
    struct hostsim *s;
    uint64_t seed;
    struct cid root, leaves[LEAVES];
    int me;
};

/* Node 0 … PEERS - 1 hold the file, the last one fetches it. */
static struct fetch fetch_new(uint64_t seed, mono_ns delay)
{
    struct fetch f = {.s = hostsim_new(seed), .seed = seed};
    for (int i = 0; i < PEERS; i++)
        (void)hostsim_add(f.s, &(struct hostsim_node){.line = {.delay = delay / 4, .up = RATE}});
    f.me = hostsim_add(f.s, &(struct hostsim_node){.line = {.delay = delay / 4}});
    f.root = hostsim_put_file_of(f.s, 0, LEAVES, LEAF, f.leaves);
    for (int i = 0; i < PEERS; i++) {
        if (i)
            hostsim_copy(f.s, 0, i);
        cr_assert_eq(hostsim_connect_now(f.s, f.me, i), 0);
    }
    hostsim_run(f.s, 2 * MONO_S);
    return f;
}

/* As somebody reads it through the mount: a window of read-ahead that doubles when half of it was used. */
static void read_file(struct fetch *f)
{
    struct hostsim_want *ahead[LEAVES];
    unsigned asked = 0, window = 0;
    for (unsigned i = 0; i < LEAVES; i++) {
        if (asked <= i + window / 2) {
            window = window ? window < WINDOW ? window * 2 : WINDOW : 4;
            for (; asked < LEAVES && asked < i + window; asked++)
                ahead[asked] = hostsim_want_of(f->s, f->me, &f->leaves[asked], &f->root, WANT_AHEAD);
        }
        struct hostsim_want *w = hostsim_want_of(f->s, f->me, &f->leaves[i], &f->root, WANT_NOW);
        hostsim_wait(f->s, w, 10 * MONO_S);
        cr_assert(w->settled && w->want.result == 0, "seed %llu: leaf %u does not come", (unsigned long long)f->seed, i);
        w->want.block = block_unref(w->want.block); /* it was read */
        ahead[i]->want.block = block_unref(ahead[i]->want.block);
    }
}

static void pin_file(struct fetch *f)
{
    struct hostsim_want *w = hostsim_want(f->s, f->me, WANT_DAG, &f->root, MONO_NEVER);
    hostsim_wait(f->s, w, 60 * MONO_S);
    cr_assert(w->settled && w->want.result == 0);
}

static uint64_t measure(uint64_t seed, mono_ns delay, void (*get)(struct fetch *), const char *what)
{
    struct fetch f = fetch_new(seed, delay);
    mono_ns begun = hostsim_now(f.s);
    get(&f);
    double seconds = (double)(hostsim_now(f.s) - begun) / (double)MONO_S, least = (double)LEAVES * LEAF / PEERS / RATE;
    struct hostsim_ledger l = hostsim_ledger(f.s, f.me);
    uint64_t most = 0, fewest = UINT64_MAX;
    for (int i = 0; i < PEERS; i++) {
        uint64_t gave = hostsim_ledger(f.s, i).bytes_sent;
        most = gave > most ? gave : most;
        fewest = gave < fewest ? gave : fewest;
    }
    cr_log_info("seed %llu, %s over %.0f ms: %.3f of the sum, %.1f to %.1f MiB of each, %.1f %% twice",
                (unsigned long long)seed, what, (double)delay / 1e6, least / seconds, (double)fewest / LEAF,
                (double)most / LEAF, 100.0 * (double)l.duplicate_bytes / (double)l.bytes_received);
    cr_assert_geq(least / seconds, 0.9, "seed %llu: %s over %.0f ms", (unsigned long long)seed, what, (double)delay / 1e6);
    cr_assert_leq(l.duplicate_bytes + l.wrong_bytes, l.bytes_received / 50, "seed %llu: bytes came twice",
                  (unsigned long long)seed);
    uint64_t digest = hostsim_digest(f.s);
    hostsim_free(f.s);
    return digest;
}

static void each_seed(void (*get)(struct fetch *), const char *what)
{
    const char *one = getenv("SIM_SEED"), *many = getenv("SIM_SEEDS");
    static const mono_ns delays[] = {MONO_MS,
                                     10 * MONO_MS}; /* of a round trip; over a longer one so small a file is all start */
    uint64_t last = 1 + (many ? strtoull(many, NULL, 0) : 1);
    for (size_t d = 0; d < sizeof delays / sizeof *delays; d++) {
        for (size_t i = 0; !one && i < sizeof found / sizeof *found; i++)
            (void)measure(found[i], delays[d], get, what);
        if (one)
            (void)measure(strtoull(one, NULL, 0), delays[d], get, what);
        for (uint64_t seed = 2; !one && seed <= last; seed++)
            (void)measure(seed, delays[d], get, what);
    }
}

Test(limited, a_reader_gets_the_sum)
{
    each_seed(read_file, "reading");
}

Test(limited, a_pin_gets_the_sum)
{
    each_seed(pin_file, "pinning");
}

Test(limited, a_seed_replays)
{
    cr_assert_eq(measure(7, MONO_MS, read_file, "reading"), measure(7, MONO_MS, read_file, "reading"));
}
