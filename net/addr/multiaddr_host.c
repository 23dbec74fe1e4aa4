/* SPDX-License-Identifier: MIT
 *
 * Multiaddrs and the addresses that sockets take; where in the internet an address is. */
#include "net/addr/multiaddr.h"

#include "store/base/uvarint.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- from sockets ---- */

static void part_add(struct multiaddr *m, enum multiaddr_code code, const void *value, size_t len)
{
    m->len = (uint16_t)(m->len + uvarint_put(m->bytes + m->len, code));
    memcpy(m->bytes + m->len, value, len);
    m->len = (uint16_t)(m->len + len);
}

static void zone_add(struct multiaddr *m, unsigned scope)
{
    uint8_t value[16];
    int n = snprintf((char *)value + 1, sizeof value - 1, "%u", scope);
    value[0] = (uint8_t)n;
    part_add(m, MA_IP6ZONE, value, (size_t)n + 1);
}

int multiaddr_from_sockaddr(const struct sockaddr *sa, enum multiaddr_code transport, struct multiaddr *ret)
{
    assert(transport == MA_TCP || transport == MA_UDP);
    struct multiaddr m;
    m.len = 0;
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        part_add(&m, MA_IP4, &in->sin_addr, sizeof in->sin_addr);
        part_add(&m, transport, &in->sin_port, sizeof in->sin_port);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) { /* a socket for both families: the peer came by IPv4 */
            part_add(&m, MA_IP4, in6->sin6_addr.s6_addr + 12, 4);
        } else {
            if (in6->sin6_scope_id && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
                zone_add(&m, in6->sin6_scope_id);
            part_add(&m, MA_IP6, &in6->sin6_addr, sizeof in6->sin6_addr);
        }
        part_add(&m, transport, &in6->sin6_port, sizeof in6->sin6_port);
    } else {
        return ERR_UNSUPPORTED;
    }
    *ret = m;
    return 0;
}

/* ---- to sockets ---- */

static bool copy_name(struct span v, char *to, size_t size)
{
    if (v.len >= size)
        return false;
    memcpy(to, v.data, v.len);
    to[v.len] = 0;
    return true;
}

/* The component that says where. */
static bool host_place(const struct multiaddr_part *part, struct multiaddr_host *h)
{
    h->kind = (enum multiaddr_code)part->code;
    switch (part->code) {
    case MA_IP4:
    case MA_IP6:
        memcpy(h->ip, part->value.data, part->value.len);
        return true;
    case MA_DNS:
    case MA_DNS4:
    case MA_DNS6:
        return copy_name(part->value, h->name, sizeof h->name);
    default:
        return false;
    }
}

int multiaddr_host(const struct multiaddr *m, struct multiaddr_host *ret, struct span *ret_rest)
{
    struct multiaddr_host h = {0};
    struct multiaddr_part part;
    size_t at = 0;
    bool zoned = false;
    if (!multiaddr_next(m, &at, &part))
        return ERR_UNSUPPORTED;
    if (part.code == MA_IP6ZONE) {
        zoned = true;
        if (!copy_name(part.value, h.zone, sizeof h.zone) || !multiaddr_next(m, &at, &part))
            return ERR_UNSUPPORTED;
    }
    if (!host_place(&part, &h) || (zoned && h.kind != MA_IP6))
        return ERR_UNSUPPORTED;
    if (!multiaddr_next(m, &at, &part) || (part.code != MA_TCP && part.code != MA_UDP))
        return ERR_UNSUPPORTED;
    h.transport = (enum multiaddr_code)part.code;
    h.port = (uint16_t)(part.value.data[0] << 8 | part.value.data[1]);
    size_t from = at, end = m->len;
    while (multiaddr_next(m, &at, &part))
        if (part.code == MA_P2P && part.end == m->len)
            end = part.at;
    *ret = h;
    *ret_rest = span_sub(multiaddr_span(m), from, end - from);
    return 0;
}

bool multiaddr_is_tcp(const struct multiaddr *m)
{
    struct multiaddr_host h;
    struct span rest;
    return multiaddr_host(m, &h, &rest) == 0 && h.transport == MA_TCP && rest.len == 0;
}

static uint32_t zone_number(const char *zone)
{
    char *end;
    unsigned long v = strtoul(zone, &end, 10);
    return *zone >= '0' && *zone <= '9' && *end == 0 && v <= UINT32_MAX ? (uint32_t)v : 0;
}

int multiaddr_to_sockaddr(const struct multiaddr *m, struct sockaddr_storage *ret, socklen_t *ret_len)
{
    struct multiaddr_host h;
    struct span rest;
    int r = multiaddr_host(m, &h, &rest);
    if (r < 0)
        return r;
    if (h.kind == MA_IP4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(h.port)};
        memcpy(&in.sin_addr, h.ip, 4);
        memcpy(ret, &in, sizeof in);
        *ret_len = sizeof in;
    } else if (h.kind == MA_IP6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(h.port)};
        memcpy(&in6.sin6_addr, h.ip, 16);
        in6.sin6_scope_id = zone_number(h.zone);
        memcpy(ret, &in6, sizeof in6);
        *ret_len = sizeof in6;
    } else {
        return ERR_UNSUPPORTED;
    }
    return 0;
}

/* ---- scope ---- */

struct network {
    uint8_t prefix[8];
    unsigned bits;
    enum multiaddr_scope scope;
};

/* IANA's special-purpose registries, the narrower before the wider. */
static const struct network ip4_networks[] = {
    {{0, 0, 0, 0}, 32, MA_SCOPE_UNSPECIFIED}, {{0}, 8, MA_SCOPE_RESERVED},          {{10}, 8, MA_SCOPE_PRIVATE},
    {{100, 64}, 10, MA_SCOPE_PRIVATE},        {{127}, 8, MA_SCOPE_LOOPBACK},        {{169, 254}, 16, MA_SCOPE_LINK_LOCAL},
    {{172, 16}, 12, MA_SCOPE_PRIVATE},        {{192, 0, 0}, 24, MA_SCOPE_RESERVED}, {{192, 0, 2}, 24, MA_SCOPE_RESERVED},
    {{192, 168}, 16, MA_SCOPE_PRIVATE},       {{198, 18}, 15, MA_SCOPE_RESERVED},   {{198, 51, 100}, 24, MA_SCOPE_RESERVED},
    {{203, 0, 113}, 24, MA_SCOPE_RESERVED},   {{224}, 3, MA_SCOPE_RESERVED}, /* multicast and class E */
};

/* :: and ::1 are compared whole. */
static const struct network ip6_networks[] = {
    {{0xfe, 0x80}, 10, MA_SCOPE_LINK_LOCAL},
    {{0xfe, 0xc0}, 10, MA_SCOPE_PRIVATE}, /* site-local, of old */
    {{0xfc}, 7, MA_SCOPE_PRIVATE},
    {{0xff}, 8, MA_SCOPE_RESERVED},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, MA_SCOPE_RESERVED},
    {{0x01, 0x00}, 64, MA_SCOPE_RESERVED}, /* discard only */
    {{0}, 8, MA_SCOPE_RESERVED},
};

static bool network_has(const struct network *n, const uint8_t *ip)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    if (memcmp(n->prefix, ip, whole) != 0)
        return false;
    return rest == 0 || ((n->prefix[whole] ^ ip[whole]) >> (8 - rest)) == 0;
}

static enum multiaddr_scope scope_lookup(const struct network *table, size_t count, const uint8_t *ip)
{
    for (size_t i = 0; i < count; i++)
        if (network_has(&table[i], ip))
            return table[i].scope;
    return MA_SCOPE_PUBLIC;
}

static enum multiaddr_scope scope_ip4(const uint8_t *ip)
{
    return scope_lookup(ip4_networks, sizeof ip4_networks / sizeof *ip4_networks, ip);
}

static enum multiaddr_scope scope_ip6(const uint8_t *ip)
{
    struct in6_addr a;
    memcpy(&a, ip, sizeof a);
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    if (IN6_IS_ADDR_V4MAPPED(&a) || memcmp(ip, nat64, sizeof nat64) == 0)
        return scope_ip4(ip + 12);
    if (IN6_IS_ADDR_UNSPECIFIED(&a))
        return MA_SCOPE_UNSPECIFIED;
    if (IN6_IS_ADDR_LOOPBACK(&a))
        return MA_SCOPE_LOOPBACK;
    return scope_lookup(ip6_networks, sizeof ip6_networks / sizeof *ip6_networks, ip);
}

enum multiaddr_scope multiaddr_scope(const struct multiaddr *m)
{
    struct multiaddr_part part;
    size_t at = 0;
    if (multiaddr_next(m, &at, &part) && part.code == MA_IP6ZONE && !multiaddr_next(m, &at, &part))
        return MA_SCOPE_NONE;
    if (m->len == 0)
        return MA_SCOPE_NONE;
    if (part.code == MA_IP4)
        return scope_ip4(part.value.data);
    if (part.code == MA_IP6)
        return scope_ip6(part.value.data);
    return MA_SCOPE_NONE;
}
