/* SPDX-License-Identifier: MIT
 *
 * A HAMT from its content in the order of hashes: entries, and whole subtrees that exist already. One look ahead decides how
 * deep an entry goes (as deep as it must to differ from both neighbours), so the result depends on the content alone, and
 * memory is one open shard per level.
 *
 *   item before ─┐
 *   item ────────┼─► level = longest prefix shared with either, in digits of 8 bits ─► link in the open shard of that level
 *   item after ──┘
 *
 * A machine with one owner.
 */
#ifndef STORE_UNIXFS_HAMT_STREAM_H
#define STORE_UNIXFS_HAMT_STREAM_H

#include "store/block/source.h"
#include "store/unixfs/hamt.h"

struct hamt_item {
    uint64_t hash;       /* of the name; of a subtree: the first in it */
    unsigned shard_bits; /* 0: an entry. Else a subtree: how many bits of the hash lead to it, a multiple of 8 */
    struct span name;    /* of an entry, ≤ 255 bytes */
    struct cid cid;
    uint64_t tsize;
};

struct hamt_stream;

struct hamt_stream *hamt_stream_new(struct block_sink *sink,
                                    const struct unixfs_meta *meta); /* of the root; sink may be NULL */
struct hamt_stream *hamt_stream_free(struct hamt_stream *s);         /* NULL accepted */

/* Items in ascending order, none inside a subtree that was added whole. Copies. 0; ERR_AGAIN: no room in the sink now,
 * not taken, add it again; ERR_EXISTS: the same name again; ERR_LIMIT: another name with the same hash; a sink's error. */
int hamt_stream_add(struct hamt_stream *s, const struct hamt_item *item);
/* 0 and the root; ERR_AGAIN: call again; a sink's error. */
int hamt_stream_finish(struct hamt_stream *s, struct cid *ret, uint64_t *ret_tsize);

#endif
