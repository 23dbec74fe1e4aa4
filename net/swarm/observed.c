/* SPDX-License-Identifier: MIT */
#include "net/swarm/observed.h"

#include <assert.h>
#include <stdlib.h>

struct voice {
    ip_group by;
    unsigned connections;
};

struct seen {
    struct multiaddr addr; /* len 0: free */
    unsigned voice_count;
    struct voice voices[OBSERVED_OBSERVERS_MAX];
};

struct observed {
    struct seen seen[OBSERVED_MAX];
};

struct observed *observed_new(void)
{
    return MEM_NEW(struct observed);
}

struct observed *observed_free(struct observed *o)
{
    free(o);
    return NULL;
}

static struct seen *find(struct observed *o, const struct multiaddr *addr)
{
    for (unsigned i = 0; i < OBSERVED_MAX; i++)
        if (multiaddr_eq(&o->seen[i].addr, addr))
            return &o->seen[i];
    return NULL;
}

static struct voice *find_voice(struct seen *s, ip_group by)
{
    for (unsigned i = 0; i < s->voice_count; i++)
        if (s->voices[i].by == by)
            return &s->voices[i];
    return NULL;
}

bool observed_add(struct observed *o, const struct multiaddr *addr, ip_group by)
{
    static const struct multiaddr none = {.len = 0};
    if (addr->len == 0 || multiaddr_scope(addr) != MA_SCOPE_PUBLIC)
        return false;
    struct seen *s = find(o, addr);
    if (!s)
        s = find(o, &none);
    if (!s)
        return false;
    struct voice *v = find_voice(s, by);
    if (!v && s->voice_count == OBSERVED_OBSERVERS_MAX)
        return false;
    if (!v) {
        v = &s->voices[s->voice_count++];
        *v = (struct voice){.by = by};
    }
    v->connections++;
    s->addr = *addr;
    return true;
}

void observed_remove(struct observed *o, const struct multiaddr *addr, ip_group by)
{
    struct seen *s = find(o, addr);
    struct voice *v = s ? find_voice(s, by) : NULL;
    assert(v && v->connections);
    if (--v->connections)
        return;
    *v = s->voices[--s->voice_count];
    if (!s->voice_count)
        s->addr.len = 0;
}

unsigned observed_best(const struct observed *o, struct multiaddr ret[OBSERVED_BEST])
{
    const struct seen *best[OBSERVED_BEST];
    unsigned count = 0;
    for (unsigned i = 0; i < OBSERVED_MAX; i++) {
        const struct seen *s = &o->seen[i];
        if (s->addr.len == 0 || s->voice_count < OBSERVED_ACTIVATE)
            continue;
        unsigned at = count < OBSERVED_BEST ? count++ : OBSERVED_BEST;
        while (at > 0 && best[at - 1]->voice_count < s->voice_count) {
            if (at < OBSERVED_BEST)
                best[at] = best[at - 1];
            at--;
        }
        if (at < OBSERVED_BEST)
            best[at] = s;
    }
    for (unsigned i = 0; i < count; i++)
        ret[i] = best[i]->addr;
    return count;
}
