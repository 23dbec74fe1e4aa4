/* SPDX-License-Identifier: MIT
 *
 * A plain array of pointers is searched: at most LEASES_MAX rows, a few microseconds. */
#include "cmd/dns/leases.h"

#include "store/content/hasher.h"

#include <assert.h>
#include <stdlib.h>

struct leases {
    struct peer_id self;
    struct lease **rows;
    unsigned count;
};

struct leases *leases_new(const struct peer_id *self)
{
    struct leases *l = MEM_NEW(struct leases);
    l->self = *self;
    l->rows = mem_array(LEASES_MAX, sizeof(struct lease *));
    return l;
}

struct leases *leases_free(struct leases *l)
{
    if (!l)
        return NULL;
    while (l->count)
        free(l->rows[--l->count]);
    free(l->rows);
    free(l);
    return NULL;
}

struct lease *leases_at(const struct leases *l, unsigned i)
{
    return i < l->count ? l->rows[i] : NULL;
}

static uint32_t wish(const struct leases *l, const struct peer_id *peer, const char *service)
{
    struct buf b = BUF_INIT;
    uint8_t digest[SHA256_SIZE];
    buf_add_span(&b, peer_id_span(&l->self)); /* ids tell their own length: no two inputs are alike */
    buf_add_span(&b, peer_id_span(peer));
    buf_add_str(&b, service);
    sha256(buf_span(&b), digest);
    buf_done(&b);
    return ((uint32_t)digest[0] << 16 | (uint32_t)digest[1] << 8 | digest[2]) >> (24 - LEASE_BITS);
}

static bool is_free(const struct leases *l, uint32_t ip)
{
    if ((ip & 0xff) == 0 || (ip & 0xff) == 0xff)
        return false;
    for (unsigned i = 0; i < l->count; i++)
        if (l->rows[i]->ip == ip)
            return false;
    return true;
}

static uint32_t choose(const struct leases *l, const struct peer_id *peer, const char *service)
{
    uint32_t at = wish(l, peer, service);
    while (!is_free(l, LEASE_FIRST | at)) /* ends: far more addresses than leases */
        at = (at + 1) & ((UINT32_C(1) << LEASE_BITS) - 1);
    return LEASE_FIRST | at;
}

/* Makes room for one more: false when all are held. */
static bool drop_oldest(struct leases *l)
{
    unsigned oldest = l->count;
    for (unsigned i = 0; i < l->count; i++)
        if (!l->rows[i]->held && (oldest == l->count || l->rows[i]->used < l->rows[oldest]->used))
            oldest = i;
    if (oldest == l->count)
        return false;
    free(l->rows[oldest]);
    l->rows[oldest] = l->rows[--l->count];
    return true;
}

struct lease *leases_get(struct leases *l, const struct peer_id *peer, const char *service, mono_ns now)
{
    assert(strlen(service) <= LEASE_SERVICE_MAX);
    for (unsigned i = 0; i < l->count; i++) {
        struct lease *have = l->rows[i];
        if (peer_id_eq(&have->peer, peer) && strcmp(have->service, service) == 0) {
            have->used = now;
            return have;
        }
    }
    if (l->count == LEASES_MAX && !drop_oldest(l))
        return NULL;
    struct lease *made = MEM_NEW(struct lease);
    *made = (struct lease){.peer = *peer, .used = now};
    memcpy(made->service, service, strlen(service) + 1);
    made->ip = choose(l, peer, service);
    l->rows[l->count++] = made;
    return made;
}
