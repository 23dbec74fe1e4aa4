/* SPDX-License-Identifier: MIT
 *
 * What we offer to peers and what we forward to theirs: the registry. Pure; owned by the engine's thread. Streams themselves
 * are elsewhere (net/host/host_raw.h, net/engine): each that runs is counted here, at its offer or forward.
 *
 * Nobody may dial an offer until it is allowed: by peer id, or `any`. Who may not is told the same as about a service that
 * is not there. What a peer may dial is what identify lists to it (net/host).
 *
 * The registry as text (services_save) is lines of service_line.h; applying them to an empty one gives the same.
 */
#ifndef NET_SERVICE_SERVICE_H
#define NET_SERVICE_SERVICE_H

#include "net/service/service_line.h"
#include "store/base/mono.h"

#define SERVICE_OFFERS_MAX   128
#define SERVICE_FORWARDS_MAX 256
#define SERVICE_ALLOWED_MAX  256 /* peers that are named, of one offer */

struct service_count {
    unsigned open;                /* streams now */
    uint64_t streams;             /* that there were, these too */
    uint64_t refused;             /* by a limit, or because the target did not answer */
    uint64_t bytes_in, bytes_out; /* from and to peers */
    uint64_t dropped;             /* datagrams that came here and went no further */
    mono_ns time;                 /* of streams that have ended, added up */
};

struct service_offer {
    char name[SERVICE_NAME_SIZE];
    char id[SERVICE_ID_SIZE];
    enum service_kind kind;
    struct service_addr addr;
    struct buf text; /* as in service_line; a path with a NUL behind it */
    bool any;
    struct peer_id *allowed;
    unsigned allowed_count;
    uint64_t connections_max, rate_max; /* 0: none */
    struct service_count count;
    void *runtime; /* the engine's */
};

struct service_forward {
    uint64_t number;
    enum service_kind kind; /* TCP, UDP, UNIX */
    struct service_addr addr;
    struct buf text; /* path with a NUL behind it */
    struct peer_id peer;
    char name[SERVICE_NAME_SIZE];
    struct service_count count;
    struct why fault; /* why it does not listen, or the last dial failed; "": works */
    bool listening;
    void *runtime; /* the engine's */
};

struct services;

struct services *services_new(void);
struct services *services_free(struct services *s); /* NULL accepted */

/* OFFER, UNOFFER, ALLOW, DENY, LIMIT, FORWARD, UNFORWARD (HANGUP is not the registry's). An offer of a name that is there
 * changes its target and keeps who is allowed. ERR_NOT_FOUND, ERR_EXISTS (such a forward), ERR_LIMIT, with a sentence. What
 * goes must have runtime NULL (asserted), so the caller takes that down first. */
int services_apply(struct services *s, const struct service_line *l, struct why *why);
void services_save(const struct services *s, struct buf *out);
/* Lines that are not understood are skipped, and saved behind a '#': how many; the first of them with a sentence. Lines that
 * begin so are not read. */
unsigned services_load(struct services *s, struct span text, struct why *why);

struct service_offer *services_offer(const struct services *s, unsigned i); /* NULL: no more */
struct service_offer *services_find(const struct services *s, const char *name);
struct service_offer *services_by_id(const struct services *s, const char *id);
struct service_forward *services_forward(const struct services *s, unsigned i);                        /* NULL: no more */
struct service_forward *services_find_forward(const struct services *s, const struct service_line *l); /* by kind and place */

bool service_may(const struct service_offer *o, const struct peer_id *peer);
/* Ids of what `peer` may dial, borrowed until the next change; how many. Those of datagrams first: of many not all are told,
 * and one that is not is taken for one of streams. */
unsigned services_allowed(const struct services *s, const struct peer_id *peer, const char *ret[SERVICE_OFFERS_MAX]);
bool services_name(const struct services *s, const struct peer_id *peer);        /* an offer is allowed to this very peer */
bool services_forwards_to(const struct services *s, const struct peer_id *peer); /* somebody here counts on this peer */

/* Target or place as text: "tcp 127.0.0.1:22". Appends. */
void service_offer_text(const struct service_offer *o, struct buf *out);
void service_forward_text(const struct service_forward *f, struct buf *out);

#endif
