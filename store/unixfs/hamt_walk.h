/* SPDX-License-Identifier: MIT
 *
 * A walk over a HAMT in the order of hashes, from any hash on; the caller decides slot by slot whether to enter a child shard.
 * No recursion: a stack of HAMT_DEPTH_MAX levels. Borrows the source's spans, so a walk does not outlive one read. The
 * source's thread.
 */
#ifndef STORE_UNIXFS_HAMT_WALK_H
#define STORE_UNIXFS_HAMT_WALK_H

#include "store/block/source.h"
#include "store/unixfs/hamt.h"

struct hamt_walk {
    struct block_source *src;
    uint64_t from; /* slots that end before it are passed over */
    unsigned depth;
    struct hamt_walk_level {
        struct cid cid; /* an inline block borrows it */
        struct hamt_shard shard;
        struct dagpb_iter it;
    } levels[HAMT_DEPTH_MAX];
};

/* `root` is a parsed HAMT node. 0; ERR_INVALID, ERR_UNSUPPORTED. */
int hamt_walk_begin(struct hamt_walk *w, struct block_source *src, const struct unixfs_node *root, uint64_t from);
/* 1: the next slot; 0: the end; ERR_INVALID. */
int hamt_walk_next(struct hamt_walk *w, struct hamt_slot *ret);
/* Goes on inside the child shard `slot`, which hamt_walk_next has just given: 0; ERR_MISSING, ERR_INVALID, a source's error. */
int hamt_walk_enter(struct hamt_walk *w, const struct hamt_slot *slot);
/* The child's block as a shard; `cid` keeps an inline block. The same errors. */
int hamt_child_open(struct block_source *src, const struct hamt_shard *parent, const struct hamt_slot *slot,
                    struct cid *ret_cid, struct hamt_shard *ret);

/* Makes the source note missing shards that hold hashes ≥ from, in the order of a walk, until it can note no more or a bounded
 * number of shards has been looked at. Not breadth first: who lists a large directory runs it for each block that comes, and
 * would parse all shards of the upper levels each time. */
void hamt_note_missing(struct block_source *src, const struct unixfs_node *root, uint64_t from);
/* The same for the first missing shard on the way to `hash`. */
void hamt_note_path(struct block_source *src, const struct unixfs_node *root, uint64_t hash);

#endif
