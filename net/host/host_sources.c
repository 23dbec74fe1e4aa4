/* SPDX-License-Identifier: MIT */
#include "net/host/host_sources.h"

#include "net/exchange/cidmap.h"

#include <stdlib.h>

#define NOBODY UINT16_MAX
#define WAYS   4 /* places that one hash may have */

struct source {
    uint64_t hash; /* of the multihash; 0: free */
    uint16_t peers[HOST_PROVIDERS_MAX];
    bool itself;
    uint32_t noted; /* when: of those that share the places the oldest gives way */
};

struct host_sources {
    struct cidmap keyed; /* only its key */
    struct source sources[HOST_SOURCES_MAX];
    struct peer_id peers[HOST_SOURCE_PEERS];
    unsigned next; /* the peer that gives way */
    uint32_t now;  /* counts notes */
};

struct host_sources *host_sources_new(uint64_t seed)
{
    struct host_sources *s = MEM_NEW(struct host_sources);
    uint8_t key[CIDMAP_KEY_SIZE] = {0};
    memcpy(key, &seed, sizeof seed);
    cidmap_init(&s->keyed, key);
    return s;
}

struct host_sources *host_sources_free(struct host_sources *s)
{
    if (s)
        cidmap_done(&s->keyed);
    free(s);
    return NULL;
}

static void drop(struct source *e, unsigned at)
{
    if (at == 0)
        e->itself = false;
    for (; at + 1 < HOST_PROVIDERS_MAX; at++)
        e->peers[at] = e->peers[at + 1];
    e->peers[HOST_PROVIDERS_MAX - 1] = NOBODY;
}

static unsigned place_of(const struct source *e, uint16_t peer)
{
    unsigned at = 0;
    while (at < HOST_PROVIDERS_MAX && e->peers[at] != peer)
        at++;
    return at;
}

static uint16_t number_of(struct host_sources *s, const struct peer_id *peer)
{
    for (unsigned i = 0; i < HOST_SOURCE_PEERS; i++)
        if (peer_id_eq(&s->peers[i], peer))
            return (uint16_t)i;
    uint16_t number = (uint16_t)s->next;
    s->next = (s->next + 1) % HOST_SOURCE_PEERS;
    for (unsigned i = 0; i < HOST_SOURCES_MAX && !peer_id_is_none(&s->peers[number]); i++) {
        unsigned at = place_of(&s->sources[i], number);
        if (at < HOST_PROVIDERS_MAX)
            drop(&s->sources[i], at);
    }
    s->peers[number] = *peer;
    return number;
}

static struct source *find(const struct host_sources *s, uint64_t hash)
{
    const struct source *first = &s->sources[hash / 2 % (HOST_SOURCES_MAX / WAYS) * WAYS];
    for (unsigned i = 0; i < WAYS; i++)
        if (first[i].hash == hash)
            return (struct source *)(uintptr_t)&first[i];
    return NULL;
}

static struct source *take(struct host_sources *s, uint64_t hash)
{
    struct source *first = &s->sources[hash / 2 % (HOST_SOURCES_MAX / WAYS) * WAYS], *oldest = first;
    for (unsigned i = 1; i < WAYS; i++)
        if (s->now - first[i].noted > s->now - oldest->noted)
            oldest = &first[i];
    *oldest = (struct source){.hash = hash, .peers = {NOBODY, NOBODY, NOBODY, NOBODY}};
    _Static_assert(HOST_PROVIDERS_MAX == 4, "as many as are initialised");
    return oldest;
}

void host_sources_note(struct host_sources *s, const struct cid *cid, const struct peer_id *from, bool itself)
{
    uint16_t peer = number_of(s, from);
    uint64_t hash = cidmap_hash(&s->keyed, cid) | 1;
    struct source *e = find(s, hash);
    if (!e)
        e = take(s, hash);
    e->noted = ++s->now;
    unsigned at = place_of(e, peer);
    if (at < HOST_PROVIDERS_MAX && !itself)
        return;
    unsigned first = e->itself && !itself ? 1 : 0; /* the source stays the first */
    for (at = at < HOST_PROVIDERS_MAX ? at : HOST_PROVIDERS_MAX - 1; at > first; at--)
        e->peers[at] = e->peers[at - 1];
    e->peers[first] = peer;
    e->itself |= itself;
}

unsigned host_sources_find(const struct host_sources *s, const struct cid *cid, struct peer_id ret[HOST_PROVIDERS_MAX],
                           bool *ret_itself)
{
    const struct source *e = find(s, cidmap_hash(&s->keyed, cid) | 1);
    unsigned count = 0;
    while (e && count < HOST_PROVIDERS_MAX && e->peers[count] != NOBODY) {
        ret[count] = s->peers[e->peers[count]];
        count++;
    }
    *ret_itself = e && e->itself;
    return count;
}
