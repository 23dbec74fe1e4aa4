/* SPDX-License-Identifier: MIT */
#include "net/swarm/connlimit.h"

#include "store/base/err.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS     256
#define COMINGS     4096 /* 32 KiB. Addresses that share a place share what they may, which does them no good */
#define STRANGER    (60 * MONO_S)
#define KNOWN_OFTEN 4 /* times as often as another address */

struct group {
    struct group *next;
    ip_group g;
    unsigned count, pending;
};

struct known {
    ip_group g; /* 0: none */
    mono_ns came;
};

struct connlimit {
    struct group *buckets[BUCKETS];
    unsigned total, pending;
    unsigned max_total, max_per_ip;
    uint64_t seed; /* nobody knows whose place he shares */
    mono_ns came_all, came[COMINGS];
    struct known known[CONNLIMIT_KNOWN_MAX]; /* used last first */
};

static uint64_t pack(const uint8_t *bytes, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v = v << 8 | bytes[i];
    return v;
}

ip_group ip_group_of(const struct multiaddr *addr)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct multiaddr_part part;
    if (multiaddr_find(addr, MA_IP4, &part))
        return UINT64_C(4) << 60 | pack(part.value.data, 4);
    if (!multiaddr_find(addr, MA_IP6, &part))
        return 0;
    if (memcmp(part.value.data, mapped, sizeof mapped) == 0)
        return UINT64_C(4) << 60 | pack(part.value.data + 12, 4);
    return UINT64_C(6) << 60 | pack(part.value.data, 7);
}

struct connlimit *connlimit_new(unsigned total, unsigned per_ip, uint64_t seed)
{
    struct connlimit *l = MEM_NEW(struct connlimit);
    l->seed = seed;
    connlimit_set(l, total, per_ip);
    return l;
}

struct connlimit *connlimit_free(struct connlimit *l)
{
    if (!l)
        return NULL;
    for (unsigned i = 0; i < BUCKETS; i++)
        while (l->buckets[i]) {
            struct group *next = l->buckets[i]->next;
            free(l->buckets[i]);
            l->buckets[i] = next;
        }
    free(l);
    return NULL;
}

void connlimit_set(struct connlimit *l, unsigned total, unsigned per_ip)
{
    l->max_total = total;
    l->max_per_ip = per_ip;
}

static unsigned bucket_of(ip_group g)
{
    return (unsigned)((g * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}
_Static_assert(BUCKETS == 256, "the top 8 bits choose a bucket");

static struct group *find(const struct connlimit *l, ip_group g)
{
    struct group *x = l->buckets[bucket_of(g)];
    while (x && x->g != g)
        x = x->next;
    return x;
}

static struct group *find_or_add(struct connlimit *l, ip_group g)
{
    struct group *x = find(l, g);
    if (x)
        return x;
    x = MEM_NEW(struct group);
    x->g = g;
    x->next = l->buckets[bucket_of(g)];
    l->buckets[bucket_of(g)] = x;
    return x;
}

/* ---- how often ---- */

static mono_ns *coming_of(struct connlimit *l, ip_group g)
{
    uint64_t mix = (g ^ l->seed) * UINT64_C(0x9e3779b97f4a7c15);
    mix = (mix ^ mix >> 32) * UINT64_C(0x9e3779b97f4a7c15);
    return &l->came[mix >> 52];
}
_Static_assert(COMINGS == 4096, "the top 12 bits choose a place");

#define OF_ADDRESS (2 * MONO_S)             /* in which as many come as there may be at once */
#define OF_ALL     (8 * CONNLIMIT_PATIENCE) /* and the door is an eighth of them */

/* Each that comes moves *came on by its part of `time`: who keeps to the rate is never ahead of the clock, and nobody gets
 * further ahead than `at_once` of them. */
static bool in_time(mono_ns came, mono_ns time, unsigned may, unsigned at_once, mono_ns now)
{
    return came <= now || came - now <= (mono_ns)(at_once - 1) * (time / may);
}

static void count_coming(mono_ns *came, mono_ns time, unsigned may, mono_ns now)
{
    *came = (*came > now ? *came : now) + time / may;
}

/* What may come from an address, and how far ahead all may be for its sake */
struct allowance {
    mono_ns *came;
    unsigned most, ahead;
};

static struct allowance allowance_of(struct connlimit *l, ip_group g, struct known *k, mono_ns now)
{
    if (k)
        return (struct allowance){&k->came, KNOWN_OFTEN * l->max_per_ip, 2 * l->max_total};
    mono_ns *came = coming_of(l, g);
    bool stranger = *came + STRANGER <= now || !*came;
    return (struct allowance){came, l->max_per_ip, stranger ? l->max_total : (l->max_total + 1) / 2};
}

static bool may_come(const struct connlimit *l, const struct allowance *a, mono_ns now)
{
    return in_time(*a->came, OF_ADDRESS, a->most, a->most, now) && in_time(l->came_all, OF_ALL, l->max_total, a->ahead, now);
}

/* ---- addresses of known peers ---- */

static unsigned known_at(const struct connlimit *l, ip_group g)
{
    unsigned i = 0;
    while (i < CONNLIMIT_KNOWN_MAX && l->known[i].g != g && l->known[i].g)
        i++;
    return g && i < CONNLIMIT_KNOWN_MAX && l->known[i].g ? i : CONNLIMIT_KNOWN_MAX;
}

void connlimit_know(struct connlimit *l, ip_group g)
{
    unsigned at = known_at(l, g), last = CONNLIMIT_KNOWN_MAX - 1;
    struct known k = at <= last ? l->known[at] : (struct known){.g = g};
    if (!g)
        return;
    memmove(l->known + 1, l->known, (at <= last ? at : last) * sizeof k);
    l->known[0] = k;
}

bool connlimit_knows(const struct connlimit *l, ip_group g)
{
    return known_at(l, g) < CONNLIMIT_KNOWN_MAX;
}

/* ---- places ---- */

static unsigned kept(const struct connlimit *l, unsigned parts)
{
    return l->max_total - l->max_total / 16 * parts;
}

unsigned connlimit_of_strangers(const struct connlimit *l)
{
    return kept(l, 4);
}

static enum connlimit_answer came(struct connlimit *l, ip_group g, mono_ns now)
{
    const struct group *x = find(l, g);
    struct known *k = connlimit_knows(l, g) ? &l->known[known_at(l, g)] : NULL;
    struct allowance a = allowance_of(l, g, k, now);
    unsigned share = k ? 2 : 1;
    if (!may_come(l, &a, now))
        return CONNLIMIT_TOO_OFTEN;
    if (x && (x->count >= share * l->max_per_ip || x->pending >= share * CONNLIMIT_PENDING_PER_IP))
        return CONNLIMIT_ADDRESS_FULL;
    if (l->total >= kept(l, k ? 1 : 2) || (!k && l->pending >= CONNLIMIT_PENDING_MAX))
        return CONNLIMIT_FULL;
    count_coming(a.came, OF_ADDRESS, a.most, now);
    count_coming(&l->came_all, OF_ALL, l->max_total, now);
    return CONNLIMIT_TAKEN;
}

enum connlimit_answer connlimit_take(struct connlimit *l, ip_group g, enum connlimit_who who, mono_ns now)
{
    if (who == CONNLIMIT_CAME) {
        enum connlimit_answer no = came(l, g, now);
        if (no)
            return no;
    } else if (l->total >= kept(l, who == CONNLIMIT_OURS ? 1 : 0)) {
        return CONNLIMIT_FULL;
    }
    struct group *mine = find_or_add(l, g);
    mine->count++;
    mine->pending++;
    l->total++;
    l->pending++;
    return CONNLIMIT_TAKEN;
}

static void no_longer_pending(struct connlimit *l, struct group *x)
{
    assert(x && x->pending && l->pending);
    x->pending--;
    l->pending--;
}

int connlimit_established(struct connlimit *l, ip_group g, bool welcome)
{
    struct group *x = find(l, g);
    assert(x);
    if (!welcome && (x->count > l->max_per_ip || l->total - l->pending >= kept(l, 4)))
        return ERR_LIMIT;
    no_longer_pending(l, x);
    return 0;
}

bool connlimit_crowded(const struct connlimit *l)
{
    return l->total - l->pending > kept(l, 4);
}

void connlimit_give(struct connlimit *l, ip_group g, bool pending)
{
    struct group *x = find(l, g);
    assert(x && x->count && l->total);
    if (pending)
        no_longer_pending(l, x);
    x->count--;
    l->total--;
    if (x->count)
        return;
    struct group **at = &l->buckets[bucket_of(g)];
    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    free(x);
}

unsigned connlimit_total(const struct connlimit *l)
{
    return l->total;
}

unsigned connlimit_pending(const struct connlimit *l)
{
    return l->pending;
}

unsigned connlimit_of(const struct connlimit *l, ip_group g)
{
    const struct group *x = find(l, g);
    return x ? x->count : 0;
}
