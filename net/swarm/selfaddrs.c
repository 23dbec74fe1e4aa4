/* SPDX-License-Identifier: MIT */
#include "net/swarm/selfaddrs.h"

static bool make_addr(const struct self_iface *iface, const struct self_ip *ip, uint16_t port, struct multiaddr *ret)
{
    if (ip->v6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        memcpy(&in6.sin6_addr, ip->ip, 16);
        if (IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr))
            in6.sin6_scope_id = iface->index;
        return multiaddr_from_sockaddr((struct sockaddr *)&in6, MA_TCP, ret) == 0;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&in.sin_addr, ip->ip, 4);
    return multiaddr_from_sockaddr((struct sockaddr *)&in, MA_TCP, ret) == 0;
}

static void add(struct selfaddrs *s, const struct multiaddr *addr, unsigned iface)
{
    for (unsigned i = 0; i < s->addr_count; i++)
        if (multiaddr_eq(&s->addrs[i].addr, addr))
            return;
    if (s->addr_count == SELF_ADDRS_MAX)
        return;
    enum multiaddr_scope scope = multiaddr_scope(addr);
    unsigned at = s->addr_count++;
    for (; at > 0 && s->addrs[at - 1].scope < scope; at--) /* the enum grows from loopback to public */
        s->addrs[at] = s->addrs[at - 1];
    s->addrs[at] = (struct self_addr){.addr = *addr, .scope = scope, .iface = iface};
}
_Static_assert(MA_SCOPE_LOOPBACK < MA_SCOPE_LINK_LOCAL && MA_SCOPE_LINK_LOCAL < MA_SCOPE_PRIVATE &&
                   MA_SCOPE_PRIVATE < MA_SCOPE_PUBLIC,
               "addresses are ordered by scope");

static void expand_iface(struct selfaddrs *s, const struct self_iface *iface, const struct multiaddr_host *host)
{
    for (unsigned i = 0; i < iface->addr_count; i++) {
        struct multiaddr addr;
        if (iface->addrs[i].v6 == (host->kind == MA_IP6) && make_addr(iface, &iface->addrs[i], host->port, &addr))
            add(s, &addr, iface->index);
    }
}

static unsigned iface_of(const struct selfaddrs *s, const struct multiaddr_host *host)
{
    bool v6 = host->kind == MA_IP6;
    for (unsigned i = 0; i < s->iface_count; i++)
        for (unsigned k = 0; k < s->ifaces[i].addr_count; k++) {
            const struct self_ip *ip = &s->ifaces[i].addrs[k];
            if (ip->v6 == v6 && memcmp(ip->ip, host->ip, v6 ? 16 : 4) == 0)
                return s->ifaces[i].index;
        }
    return 0;
}

static void expand_listen(struct selfaddrs *s, const struct multiaddr *listen, bool loopback)
{
    struct multiaddr_host host;
    struct span rest;
    if (multiaddr_host(listen, &host, &rest) < 0)
        return;
    if (multiaddr_scope(listen) != MA_SCOPE_UNSPECIFIED) {
        if ((multiaddr_scope(listen) == MA_SCOPE_LOOPBACK) == loopback)
            add(s, listen, iface_of(s, &host));
        return;
    }
    for (unsigned i = 0; i < s->iface_count; i++)
        if (s->ifaces[i].up && s->ifaces[i].loopback == loopback)
            expand_iface(s, &s->ifaces[i], &host);
}

/* Addresses of the world first, so that they are there when the table is full */
static bool rebuild(struct selfaddrs *s)
{
    struct self_addr before[SELF_ADDRS_MAX];
    unsigned count = s->addr_count;
    memcpy(before, s->addrs, count * sizeof *before);
    s->addr_count = 0;
    for (int loopback = 0; loopback < 2; loopback++)
        for (unsigned i = 0; i < s->listen_count; i++)
            expand_listen(s, &s->listen[i], loopback);
    bool same = count == s->addr_count;
    for (unsigned i = 0; same && i < count; i++)
        same = multiaddr_eq(&before[i].addr, &s->addrs[i].addr) && before[i].iface == s->addrs[i].iface;
    return !same;
}

bool selfaddrs_set_listen(struct selfaddrs *s, const struct multiaddr *listen, unsigned count)
{
    s->listen_count = count < SELF_LISTEN_MAX ? count : SELF_LISTEN_MAX;
    if (s->listen_count)
        memcpy(s->listen, listen, s->listen_count * sizeof *listen);
    return rebuild(s);
}

bool selfaddrs_set_ifaces(struct selfaddrs *s, const struct self_iface *ifaces, unsigned count)
{
    s->iface_count = count < SELF_IFACES_MAX ? count : SELF_IFACES_MAX;
    if (s->iface_count)
        memcpy(s->ifaces, ifaces, s->iface_count * sizeof *ifaces);
    return rebuild(s);
}

bool selfaddrs_online(const struct selfaddrs *s)
{
    for (unsigned i = 0; i < s->iface_count; i++)
        if (s->ifaces[i].up && !s->ifaces[i].loopback && s->ifaces[i].addr_count)
            return true;
    return false;
}

static bool same_host(const struct multiaddr_host *a, const struct multiaddr_host *b)
{
    return a->kind == b->kind && memcmp(a->ip, b->ip, a->kind == MA_IP6 ? 16 : 4) == 0;
}

bool selfaddrs_is_our_ip(const struct selfaddrs *s, const struct multiaddr *addr)
{
    struct multiaddr_host host;
    struct span rest;
    if (multiaddr_scope(addr) == MA_SCOPE_LOOPBACK)
        return true;
    if (multiaddr_host(addr, &host, &rest) < 0 || (host.kind != MA_IP4 && host.kind != MA_IP6))
        return false;
    return iface_of(s, &host) != 0;
}

bool selfaddrs_is_listen_port(const struct selfaddrs *s, const struct multiaddr *local)
{
    struct multiaddr_host host, ours;
    struct span rest;
    if (multiaddr_host(local, &host, &rest) < 0)
        return false;
    for (unsigned i = 0; i < s->listen_count; i++)
        if (multiaddr_host(&s->listen[i], &ours, &rest) == 0 && ours.port == host.port && ours.kind == host.kind)
            return true;
    return false;
}

bool selfaddrs_listens(const struct selfaddrs *s, const struct multiaddr *addr)
{
    struct multiaddr_host host, ours;
    struct span rest;
    if (multiaddr_host(addr, &host, &rest) < 0)
        return false;
    for (unsigned i = 0; i < s->addr_count; i++)
        if (multiaddr_host(&s->addrs[i].addr, &ours, &rest) == 0 && ours.port == host.port && same_host(&ours, &host))
            return true;
    /* any loopback address reaches a listener on all of them */
    return multiaddr_scope(addr) == MA_SCOPE_LOOPBACK && host.kind == MA_IP4 && selfaddrs_is_listen_port(s, addr) &&
           s->addr_count && s->addrs[s->addr_count - 1].scope == MA_SCOPE_LOOPBACK;
}
