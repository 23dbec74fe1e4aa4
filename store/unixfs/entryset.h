/* SPDX-License-Identifier: MIT
 *
 * Many directory entries in little memory: packed in one arena, with an index beside it that can be sorted by hash or name.
 * About 24 bytes and the CID and the name each. One owner.
 */
#ifndef STORE_UNIXFS_ENTRYSET_H
#define STORE_UNIXFS_ENTRYSET_H

#include "store/content/cid.h"

/* In the arena at `at`: length of CID, CID, length of name, name. */
struct entryset_slot {
    uint64_t hash;
    uint64_t tsize;
    size_t at;
};

struct entryset {
    struct buf arena;
    struct entryset_slot *index;
    size_t count, cap;
};

struct entryset_item {
    uint64_t hash;
    struct span name; /* borrowed until the set changes */
    struct cid cid;   /* may be none */
    uint64_t tsize;
};

void entryset_done(struct entryset *s); /* zeroed memory is an empty set */
void entryset_clear(struct entryset *s);
/* `cid` NULL: none. The name has at most 255 bytes. 0; ERR_NO_MEMORY: nothing was added. */
int entryset_add(struct entryset *s, struct span name, const struct cid *cid, uint64_t tsize, uint64_t hash);
void entryset_get(const struct entryset *s, size_t i, struct entryset_item *ret);
struct span entryset_name(const struct entryset *s, size_t i);
size_t entryset_bytes(const struct entryset *s);

void entryset_sort_hash(struct entryset *s); /* equal hashes by name */
void entryset_sort_name(struct entryset *s);
/* In a set sorted by hash: the first with a hash ≥ the given one; and the one with this name, or `count`. */
size_t entryset_from(const struct entryset *s, uint64_t hash);
size_t entryset_find(const struct entryset *s, uint64_t hash, struct span name);
/* Keeps the first n in the order of the index and gives back the memory of the others. 0; ERR_NO_MEMORY: it kept all. */
int entryset_keep(struct entryset *s, size_t n);

#endif
