/* SPDX-License-Identifier: MIT
 *
 * The balanced layout of a file's DAG (PROTOCOLS 20.2, 20.4): leaves come in order, parents go out. Leaves are grouped by
 * max_links under a parent, parents likewise, until one root is left; all leaves have the same depth and parents hold no
 * data. A single leaf is its own root.
 *
 * Pure: no I/O but the sink. Each level keeps the children of its open parent, so memory is depth × max_links × 160 bytes at
 * most, whatever the size of the file. Parents go to the sink as soon as they are full.
 */
#ifndef STORE_UNIXFS_LAYOUT_H
#define STORE_UNIXFS_LAYOUT_H

#include "store/block/source.h"
#include "store/unixfs/unixfs_node.h"

/* The root of a DAG of UnixFS, with what a link to it says. */
struct unixfs_root {
    struct cid cid;
    uint64_t size;  /* bytes of the file below it */
    uint64_t tsize; /* bytes of all blocks below it, itself included, repeated ones counted each time */
};

/* How bytes become a DAG: it decides the CID (IPIP-499). */
struct layout_profile {
    const char *name;
    uint32_t chunk_size;
    uint16_t max_links;
    bool raw_leaves; /* else dag-pb leaves of type File */
    uint8_t cid_version;
};

extern const struct layout_profile layout_v1_2025; /* unixfs-v1-2025: 1 MiB, 1024, raw, v1. What we write everywhere */
extern const struct layout_profile layout_v0_2015; /* unixfs-v0-2015: 256 KiB, 174, dag-pb, v0. For comparing CIDs */
const struct layout_profile *layout_profile_find(struct span name); /* NULL: no such profile */

/* Parents never have more levels than this: 1024^6 MiB and 174^8 × 256 KiB both pass 2^63 bytes. */
#define LAYOUT_DEPTH_MAX 10

struct layout;

/* `sink` gets the parents; NULL: only CIDs are wanted. It is borrowed and must outlive the layout. */
struct layout *layout_new(const struct layout_profile *p, struct block_sink *sink);
struct layout *layout_free(struct layout *l); /* NULL accepted */

/* Takes the next leaf; or, of a file made of complete parents of equal height (editor.h), the next parent.
 * 0; ERR_AGAIN: the sink or its budget has no room now, ERR_NO_MEMORY: the machine, the leaf was not taken, call again; a
 * sink's error. */
int layout_leaf(struct layout *l, const struct unixfs_root *leaf);

/* Closes what is open. 0 and the root; ERR_AGAIN, ERR_NO_MEMORY: call again; a sink's error. With no leaf at all: the empty
 * file, whose block (raw: no bytes; dag-pb: 08 02 18 00) goes to the sink. Afterwards only layout_free. */
int layout_finish(struct layout *l, struct unixfs_root *ret);

/* One parent of 1 to max_links children: its block goes to `sink` (unless NULL). 0, ERR_AGAIN, ERR_NO_MEMORY, a sink's
 * error. */
struct layout_children {
    const struct unixfs_child *child;
    size_t count;
};
int layout_parent(const struct layout_profile *p, struct layout_children c, struct block_sink *sink, struct unixfs_root *ret);

/* The leaf block of `data` under the profile, appended to `out`: data itself, or data as a dag-pb node. */
void layout_encode_leaf(const struct layout_profile *p, struct span data, struct buf *out);
/* The CID of a leaf or parent block under the profile. */
void layout_leaf_cid(const struct layout_profile *p, struct span block, struct cid *ret);

#endif
