/* SPDX-License-Identifier: MIT
 *
 * Three levels of queues. What had its turn goes to the end of each: the address behind other addresses, the service behind its
 * other services. A queue that is empty is freed, so that coming back costs what coming did. */
#include "net/service/turns.h"

#include "store/base/span.h"

#include <stdlib.h>

void turns_init(struct turns *t)
{
    *t = (struct turns){.given = 0};
    t->ips_end[0] = &t->ips[0];
    t->ips_end[1] = &t->ips[1];
}

static void free_ip(struct turns_ip *ip)
{
    while (ip->services) {
        struct turns_service *s = ip->services;
        ip->services = s->next;
        free(s);
    }
    free(ip);
}

void turns_done(struct turns *t)
{
    for (int local = 0; local < 2; local++)
        while (t->ips[local]) {
            struct turns_ip *ip = t->ips[local];
            t->ips[local] = ip->next;
            free_ip(ip);
        }
}

bool turns_empty(const struct turns *t)
{
    return !t->ips[0] && !t->ips[1];
}

bool turns_only_local(const struct turns *t)
{
    return t->ips[1] && !t->ips[0];
}

static struct turns_ip *ip_of(struct turns *t, uint64_t number, bool local)
{
    struct turns_ip *ip = t->ips[local];
    while (ip && ip->ip != number)
        ip = ip->next;
    if (ip)
        return ip;
    ip = MEM_NEW(struct turns_ip);
    ip->ip = number;
    ip->services_end = &ip->services;
    *t->ips_end[local] = ip;
    t->ips_end[local] = &ip->next;
    return ip;
}

static struct turns_service *service_of(struct turns_ip *ip, const void *key)
{
    struct turns_service *s = ip->services;
    while (s && s->key != key)
        s = s->next;
    if (s)
        return s;
    s = MEM_NEW(struct turns_service);
    s->key = key;
    s->last = &s->first;
    *ip->services_end = s;
    ip->services_end = &s->next;
    return s;
}

void turns_add(struct turns *t, struct turn *e, uint64_t ip, bool local, const void *service)
{
    if (e->in)
        return;
    struct turns_service *s = service_of(ip_of(t, ip, local), service);
    e->in = s;
    e->next = NULL;
    *s->last = e;
    s->last = &e->next;
}

/* Takes the first service of the first address off, and puts both behind the others if they have more */
static struct turn *take(struct turns *t, int local)
{
    struct turns_ip *ip = t->ips[local];
    struct turns_service *s = ip->services;
    struct turn *e = s->first;
    s->first = e->next;
    e->in = NULL;
    if (!(ip->services = s->next))
        ip->services_end = &ip->services;
    if (s->first) {
        s->next = NULL;
        *ip->services_end = s;
        ip->services_end = &s->next;
    } else {
        free(s);
    }
    if (!(t->ips[local] = ip->next))
        t->ips_end[local] = &t->ips[local];
    if (ip->services) {
        ip->next = NULL;
        *t->ips_end[local] = ip;
        t->ips_end[local] = &ip->next;
    } else {
        free(ip);
    }
    return e;
}

struct turn *turns_next(struct turns *t)
{
    bool due = ++t->given >= TURNS_LOCAL_ONE_IN;
    int local = t->ips[1] && (due || !t->ips[0]);
    if (!t->ips[local])
        return NULL;
    if (local)
        t->given = 0;
    return take(t, local);
}

static void drop_service(struct turns_ip **at, struct turns_ip ***end, struct turns_service *s)
{
    struct turns_ip *ip = *at;
    struct turns_service **p = &ip->services;
    while (*p != s)
        p = &(*p)->next;
    *p = s->next;
    if (!*p)
        ip->services_end = p;
    free(s);
    if (ip->services)
        return;
    *at = ip->next;
    if (!*at)
        *end = at;
    free(ip);
}

static bool has(const struct turns_ip *ip, const struct turns_service *s)
{
    const struct turns_service *x = ip->services;
    while (x && x != s)
        x = x->next;
    return x != NULL;
}

void turns_remove(struct turns *t, struct turn *e)
{
    struct turns_service *s = e->in;
    if (!s)
        return;
    struct turn **p = &s->first;
    while (*p != e)
        p = &(*p)->next;
    *p = e->next;
    if (!*p)
        s->last = p;
    e->in = NULL;
    if (s->first)
        return;
    for (int local = 0; local < 2; local++)
        for (struct turns_ip **at = &t->ips[local]; *at; at = &(*at)->next)
            if (has(*at, s)) {
                drop_service(at, &t->ips_end[local], s);
                return;
            }
}
