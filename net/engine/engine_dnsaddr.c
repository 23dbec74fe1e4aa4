/* SPDX-License-Identifier: MIT
 *
 * /dnsaddr addresses: net/swarm/dnsaddr.h says what to ask, glibc's resolver asks it (resolv.conf decides whom). It blocks, as
 * getaddrinfo does (engine_lookup.c). */
#include "net/engine/engine_state.h"

#include <netdb.h>
#include <resolv.h>
#include <stdlib.h>

#define ANSWER_MAX   65536
#define LOOKUP_TRIES 2
#define LOOKUP_WAIT  2            /* seconds for one try */
#define ALL_LOOKUPS  (8 * MONO_S) /* no new one after that: the dial gives up after ten */

/* 0; ERR_NOT_FOUND: there is no such name, or it has no TXT record; ERR_TIMEOUT: nobody who knows answered; ERR_INVALID */
static int look_up(struct __res_state *resolver, const char *name, uint8_t *answer, struct dnsaddr *d)
{
    int len = res_nquery(resolver, name, C_IN, T_TXT, answer, ANSWER_MAX);
    if (len >= 0)
        return dnsaddr_answer(d, span_of(answer, len < ANSWER_MAX ? (size_t)len : ANSWER_MAX));
    return resolver->res_h_errno == HOST_NOT_FOUND || resolver->res_h_errno == NO_DATA ? ERR_NOT_FOUND : ERR_TIMEOUT;
}

static void dnsaddr_work(struct lookup *l)
{
    struct __res_state resolver = {0};
    char name[MULTIADDR_HOST_MAX + 1];
    if (res_ninit(&resolver) != 0) {
        l->result = ERR_UNREACHABLE;
        return;
    }
    resolver.retry = LOOKUP_TRIES;
    resolver.retrans = LOOKUP_WAIT;
    resolver.options |= RES_USE_EDNS0;
    uint8_t *answer = mem_new(ANSWER_MAX);
    mono_ns until = mono_after(mono_now(), ALL_LOOKUPS);
    int failed = 0;
    while (mono_now() < until && dnsaddr_next(&l->d, name)) {
        int rc = look_up(&resolver, name, answer, &l->d);
        failed = rc < 0 ? rc : failed;
    }
    free(answer);
    res_nclose(&resolver);
    l->result = l->d.addr_count ? 0 : failed ? failed : ERR_NOT_FOUND;
}

void engine_resolve_dnsaddr(struct engine *e, const struct host_action *a)
{
    struct lookup *l = MEM_NEW(struct lookup);
    l->work = dnsaddr_work;
    dnsaddr_init(&l->d, &a->addr, &a->peer);
    lookup_start(e, l, a);
}
