/* SPDX-License-Identifier: MIT */
#include "net/swarm/connlimit.h"

#include "store/base/err.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS  256
#define COMINGS  4096 /* 32 KiB. Addresses that share a place share what they may, which does them no good */
#define STRANGER (60 * MONO_S)

struct group {
    struct group *next;
    ip_group g;
    unsigned count, pending;
};

struct connlimit {
    struct group *buckets[BUCKETS];
    unsigned total, pending;
    unsigned max_total, max_per_ip;
    uint64_t seed; /* nobody knows whose place he shares */
    mono_ns came_all, came[COMINGS];
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

/* Each that comes moves *came on by its part of two seconds: who keeps to the rate is never ahead of the clock, and nobody
 * gets further ahead than `at_once` of them. */
static bool in_time(mono_ns came, unsigned may, unsigned at_once, mono_ns now)
{
    return came <= now || came - now <= (mono_ns)(at_once - 1) * (2 * MONO_S / may);
}

static void count_coming(mono_ns *came, unsigned may, mono_ns now)
{
    *came = (*came > now ? *came : now) + 2 * MONO_S / may;
}

static bool comes_too_often(struct connlimit *l, ip_group g, mono_ns now)
{
    mono_ns *came = coming_of(l, g);
    unsigned most = l->max_per_ip, most_all = l->max_total;
    bool stranger = *came + STRANGER <= now || !*came;
    if (!in_time(*came, most, most, now) || !in_time(l->came_all, most_all, stranger ? most_all : (most_all + 1) / 2, now))
        return true;
    count_coming(came, most, now);
    count_coming(&l->came_all, most_all, now);
    return false;
}

/* ---- places ---- */

int connlimit_take(struct connlimit *l, ip_group g, bool ours, mono_ns now)
{
    const struct group *x = find(l, g);
    if (l->total >= l->max_total)
        return ERR_LIMIT;
    if (!ours && l->pending >= CONNLIMIT_PENDING_MAX)
        return ERR_LIMIT;
    if (!ours && x && (x->count >= l->max_per_ip || x->pending >= CONNLIMIT_PENDING_PER_IP))
        return ERR_LIMIT;
    if (!ours && comes_too_often(l, g, now))
        return ERR_LIMIT;
    struct group *mine = find_or_add(l, g);
    mine->count++;
    mine->pending++;
    l->total++;
    l->pending++;
    return 0;
}

void connlimit_established(struct connlimit *l, ip_group g)
{
    struct group *x = find(l, g);
    assert(x && x->pending && l->pending);
    x->pending--;
    l->pending--;
}

void connlimit_give(struct connlimit *l, ip_group g, bool pending)
{
    struct group *x = find(l, g);
    assert(x && x->count && l->total);
    if (pending)
        connlimit_established(l, g);
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
