/* SPDX-License-Identifier: MIT
 *
 * Who delivered the blocks that came lately, for those who ask where content is from. A table of a fixed size (110 KiB) by
 * keyed hashes of multihashes: a newer block takes the place of an older one, and a peer that of the one that was first seen
 * longest ago. It knows nothing of before the start. Pure; engine thread.
 */
#ifndef NET_HOST_HOST_SOURCES_H
#define NET_HOST_HOST_SOURCES_H

#include "net/addr/peerid.h"
#include "store/content/cid.h"

#define HOST_SOURCES_MAX   4096 /* blocks and roots */
#define HOST_SOURCE_PEERS  256  /* that are remembered */
#define HOST_PROVIDERS_MAX 4    /* of one block or root */

struct host_sources;

struct host_sources *host_sources_new(uint64_t seed);
struct host_sources *host_sources_free(struct host_sources *s); /* NULL accepted */

/* `itself`: `from` delivered the very block `cid`; else one that was wanted for the sake of it. */
void host_sources_note(struct host_sources *s, const struct cid *cid, const struct peer_id *from, bool itself);

/* How many peers delivered something of it. *ret_itself: the first one delivered the very block, and nobody did after it. */
unsigned host_sources_find(const struct host_sources *s, const struct cid *cid, struct peer_id ret[HOST_PROVIDERS_MAX],
                           bool *ret_itself);

#endif
