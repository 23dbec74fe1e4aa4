/* SPDX-License-Identifier: MIT */
#include "net/discover/mdns_known.h"

void mdns_known_put(struct mdns_known_table *t, const struct mdns_known *k, uint32_t ttl)
{
    struct mdns_known *to = mdns_known_find(t, k->iface, k->name);
    for (unsigned i = 0; !to && i < MDNS_KNOWN_MAX; i++)
        if (!t->rows[i].name[0])
            to = &t->rows[i];
    if (!to) {
        to = &t->rows[0];
        for (unsigned i = 1; i < MDNS_KNOWN_MAX; i++)
            if (t->rows[i].until < to->until)
                to = &t->rows[i];
    }
    *to = *k;
    to->until = mono_after(k->heard, (mono_ns)(ttl < MDNS_KNOWN_TTL_MOST ? ttl : MDNS_KNOWN_TTL_MOST) * MONO_S);
}

struct mdns_known *mdns_known_find(struct mdns_known_table *t, unsigned iface, const char *name)
{
    for (unsigned i = 0; i < MDNS_KNOWN_MAX; i++)
        if (t->rows[i].name[0] && t->rows[i].iface == iface && strcmp(t->rows[i].name, name) == 0)
            return &t->rows[i];
    return NULL;
}

void mdns_known_drop(struct mdns_known *k)
{
    k->name[0] = 0;
}

void mdns_known_doubt(struct mdns_known_table *t, unsigned iface)
{
    for (unsigned i = 0; i < MDNS_KNOWN_MAX; i++)
        t->rows[i].doubted |= t->rows[i].iface == iface;
}

bool mdns_known_fresh(const struct mdns_known *k, unsigned iface, mono_ns now)
{
    if (!k->name[0] || k->iface != iface || k->doubted)
        return false;
    return now < k->until && k->until - now > (k->until - k->heard) / 2;
}
