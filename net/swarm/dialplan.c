/* SPDX-License-Identifier: MIT */
#include "net/swarm/dialplan.h"

static bool is_local(enum multiaddr_scope scope)
{
    return scope == MA_SCOPE_LOOPBACK || scope == MA_SCOPE_LINK_LOCAL || scope == MA_SCOPE_PRIVATE;
}

static bool is_v6(const struct multiaddr *addr)
{
    struct multiaddr_part part;
    return multiaddr_find(addr, MA_IP6, &part) || multiaddr_find(addr, MA_DNS6, &part);
}

static unsigned rank(const struct dial_candidate *c)
{
    enum multiaddr_scope scope = multiaddr_scope(&c->addr);
    unsigned far = scope == MA_SCOPE_LOOPBACK ? 0 : is_local(scope) ? 1 : 2;
    return far * 2 + !is_v6(&c->addr);
}

static bool before(const struct dial_candidate *a, const struct dial_candidate *b)
{
    unsigned ra = rank(a), rb = rank(b);
    if (ra != rb)
        return ra < rb;
    if (a->last_success != b->last_success)
        return a->last_success > b->last_success;
    return a->failures < b->failures;
}

void dialplan_order(struct dial_candidate *c, unsigned count)
{
    for (unsigned i = 1; i < count; i++) { /* insertion: stable, and there are at most 64 */
        struct dial_candidate x = c[i];
        unsigned at = i;
        for (; at > 0 && before(&x, &c[at - 1]); at--)
            c[at] = c[at - 1];
        c[at] = x;
    }
    mono_ns delay = 0;
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            delay += is_local(multiaddr_scope(&c[i].addr)) ? DIAL_STEP_LOCAL : DIAL_STEP;
        c[i].delay = delay;
    }
}

mono_ns dial_timeout(const struct multiaddr *addr)
{
    return is_local(multiaddr_scope(addr)) ? DIAL_TIMEOUT_LOCAL : DIAL_TIMEOUT;
}

mono_ns dial_backoff(unsigned failures)
{
    if (failures > 17) /* 5 + 17² < 300 < 5 + 18² */
        return DIAL_BACKOFF_MAX;
    return (5 + (mono_ns)failures * failures) * MONO_S;
}

bool dial_sensible(const struct multiaddr *addr, enum multiaddr_scope teller, bool same_machine)
{
    struct multiaddr_part zone;
    switch (multiaddr_scope(addr)) {
    case MA_SCOPE_NONE: { /* a name: of public addresses, by assumption */
        struct multiaddr_host host;
        struct span rest;
        return multiaddr_host(addr, &host, &rest) == 0 && !multiaddr_is_relayed(addr);
    }
    case MA_SCOPE_LOOPBACK:
        return same_machine || teller == MA_SCOPE_LOOPBACK;
    case MA_SCOPE_PRIVATE:
        return same_machine || is_local(teller);
    case MA_SCOPE_LINK_LOCAL:
        return is_local(teller) && multiaddr_find(addr, MA_IP6ZONE, &zone);
    case MA_SCOPE_PUBLIC:
        return !multiaddr_is_relayed(addr);
    case MA_SCOPE_UNSPECIFIED:
    case MA_SCOPE_RESERVED:
        break;
    }
    return false;
}
