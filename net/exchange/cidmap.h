/* SPDX-License-Identifier: MIT
 *
 * Hash table of objects that have a CID, keyed by multihash with a secret: peers choose CIDs, and must not be able to choose
 * collisions. Intrusive: the object has a struct cidnode as its LAST member, because the CID's bytes follow it; it is
 * allocated with cidnode_size bytes beyond its own size, 36 for the usual CID instead of the 141 of a struct cid.
 *
 * Several objects may have one multihash (or even one CID): cidmap_first and cidmap_more give them all, in no order.
 */
#ifndef NET_EXCHANGE_CIDMAP_H
#define NET_EXCHANGE_CIDMAP_H

#include "store/content/cid.h"

#define CIDMAP_KEY_SIZE 16

struct cidnode {
    struct cidnode *next; /* in the bucket */
    uint64_t hash;        /* of the multihash, keyed */
    uint8_t len, hash_at; /* as in struct cid */
    uint8_t bytes[];
};

struct cidmap {
    struct cidnode **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
    uint8_t key[CIDMAP_KEY_SIZE];
};

void cidmap_init(struct cidmap *m, const uint8_t key[CIDMAP_KEY_SIZE]);
void cidmap_done(struct cidmap *m); /* frees the table, not the nodes */

static inline size_t cidnode_size(const struct cid *c)
{
    return c->len;
}

/* A zeroed object of `size` bytes (the struct with the node last) with room for the CID, its node filled. */
void *cidnode_new(const struct cidmap *m, size_t size, size_t node_at, const struct cid *c);
#define CIDNODE_NEW(map, type, cid) ((type *)cidnode_new((map), sizeof(type), offsetof(type, node), (cid)))

void cidnode_cid(const struct cidnode *n, struct cid *ret);
bool cidnode_is(const struct cidnode *n, const struct cid *c); /* the same whole CID */

uint64_t cidmap_hash(const struct cidmap *m, const struct cid *c);
void cidmap_add(struct cidmap *m, struct cidnode *n);
void cidmap_remove(struct cidmap *m, struct cidnode *n); /* must be in it */

struct cidnode *cidmap_first(const struct cidmap *m, const struct cid *c); /* with the same multihash; NULL: none */
struct cidnode *cidmap_more(struct cidnode *n);                            /* the next with the multihash of n */

#endif
