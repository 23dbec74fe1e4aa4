/* SPDX-License-Identifier: MIT
 *
 * Names to addresses. The resolver of the C library blocks, for half a minute where nobody answers, and cannot be interrupted:
 * so each lookup has a thread of its own, which says when it is done, and is left behind when the engine stops before. Those
 * that a person here asked for, and those of what peers tell (whose names may be served by nobody), have a bound each.
 */
#include "net/engine/engine_addr.h"
#include "net/engine/engine_state.h"

#include "store/base/thread.h"

#include <netdb.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const unsigned most[2] = {4, 16}; /* at once: of what peers told, by_user */

static struct lookup *left; /* behind: each thread has its own still, and whoever looks for leaks sees why */

/* ---- threads ---- */

static void *lookup_main(void *arg)
{
    struct lookup *l = arg;
    uint64_t one = 1;
    int told = l->told;
    l->work(l);
    atomic_store(&l->done, true); /* from here on it is the engine's */
    ssize_t wrote = write(told, &one, sizeof one);
    (void)wrote; /* full counter: it is readable already */
    return NULL;
}

static void lookup_ends(struct engine *e, struct lookup *l)
{
    (void)pthread_join(l->thread, NULL); /* it does no more than end */
    e->lookup_count[l->by_user]--;
    host_resolved(e->host, l->dial, l->result, l->d.addrs, l->d.addr_count, mono_now());
    free(l);
}

static void lookups_told(void *arg, unsigned what)
{
    struct engine *e = arg;
    uint64_t counter;
    ssize_t got = read(e->lookup_fd, &counter, sizeof counter);
    (void)what;
    (void)got; /* they are looked at in any case */
    for (struct lookup **at = &e->lookups, *l; (l = *at);) {
        if (!atomic_load(&l->done)) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        lookup_ends(e, l);
    }
}

void lookup_start(struct engine *e, struct lookup *take_l, const struct host_action *a)
{
    struct lookup *l = take_l;
    l->dial = a->dial;
    l->by_user = a->by_user;
    l->told = e->lookup_fd;
    if (e->lookup_count[l->by_user] >= most[l->by_user] || thread_start(&l->thread, "p2p-lookup", lookup_main, l) < 0) {
        host_resolved(e->host, l->dial, ERR_LIMIT, NULL, 0, mono_now());
        free(l);
        return;
    }
    e->lookup_count[l->by_user]++;
    l->next = e->lookups;
    e->lookups = l;
}

int lookups_open(struct engine *e)
{
    e->lookup_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (e->lookup_fd < 0)
        return ERR_LIMIT;
    e->lookup_watch = loop_fd_new(e->loop, e->lookup_fd, lookups_told, e);
    loop_fd_watch(e->lookup_watch, LOOP_READ);
    return 0;
}

void lookups_close(struct engine *e)
{
    if (!e->lookup_watch)
        return;
    e->lookup_watch = loop_fd_free(e->lookup_watch);
    lookups_told(e, 0);
    if (!e->lookups)
        close(e->lookup_fd);
    for (struct lookup *l; (l = e->lookups);) {
        e->lookups = l->next;
        (void)pthread_detach(l->thread); /* and what it has and writes to stays */
        l->next = left;
        left = l;
    }
}

/* ---- hosts ---- */

static void host_work(struct lookup *l)
{
    struct addrinfo hints = {.ai_family = l->host.kind == MA_DNS4   ? AF_INET
                                          : l->host.kind == MA_DNS6 ? AF_INET6
                                                                    : AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *all;
    int rc = getaddrinfo(l->host.name, NULL, &hints, &all);
    if (rc != 0) {
        l->result = rc == EAI_AGAIN ? ERR_TIMEOUT : ERR_UNREACHABLE;
        return;
    }
    for (const struct addrinfo *a = all; a && l->d.addr_count < DNSADDR_ADDRS_MAX; a = a->ai_next) {
        sockaddr_set_port(a->ai_addr, l->host.port);
        l->d.addr_count += multiaddr_from_sockaddr(a->ai_addr, MA_TCP, &l->d.addrs[l->d.addr_count]) == 0;
    }
    freeaddrinfo(all);
}

void engine_resolve(struct engine *e, const struct host_action *a)
{
    struct span rest;
    if (dnsaddr_is(&a->addr)) {
        engine_resolve_dnsaddr(e, a);
        return;
    }
    struct lookup *l = MEM_NEW(struct lookup);
    int err = multiaddr_host(&a->addr, &l->host, &rest);
    if (err < 0 || l->host.kind == MA_IP4 || l->host.kind == MA_IP6) {
        free(l);
        host_resolved(e->host, a->dial, ERR_UNSUPPORTED, NULL, 0, mono_now());
        return;
    }
    l->work = host_work;
    lookup_start(e, l, a);
}
