/* SPDX-License-Identifier: MIT
 *
 * A stream of bytes becomes a file's DAG: chunks of the profile's size become leaf blocks, layout.h makes the parents.
 *
 * Two ways to hash. Inline (in_flight 0): importer_write hashes each chunk itself; for `p2p cid` and small files. Handed out
 * (in_flight n): a full chunk is taken with importer_next, hashed anywhere (a worker: layout_leaf_cid or cid_of the block), and
 * given back with importer_hashed, in any order; up to n chunks are away at once. Leaves go to the sink in the order of the
 * file. Memory: (n + 1) chunks, charged to the sink's budget, plus the layout.
 *
 * Without a sink only CIDs are made: then chunks that lie whole in the given bytes are hashed where they are, without a copy.
 * Chunks of zeros (sparse files) are hashed once.
 *
 * Pure machine, one owner.
 */
#ifndef STORE_UNIXFS_IMPORTER_H
#define STORE_UNIXFS_IMPORTER_H

#include "store/unixfs/layout.h"

struct importer;

#define IMPORTER_FLIGHT_MAX 64

struct importer_options {
    const struct layout_profile *profile; /* NULL: layout_v1_2025 */
    struct block_sink *sink;              /* borrowed; NULL: only the CID is wanted */
    unsigned in_flight;                   /* 0: hash inline; ≤ IMPORTER_FLIGHT_MAX */
};

struct importer *importer_new(const struct importer_options *o);
struct importer *importer_free(struct importer *im); /* drops what is open; chunks away stay their holder's. NULL accepted */

/* Takes bytes: how many (may be fewer than given, when chunks away fill the window). ERR_AGAIN: none now (window full: drive
 * importer_next and importer_hashed; or the sink or its budget has no room: wait for it). A sink's error is final. */
int importer_write(struct importer *im, struct span data);

/* A full chunk to be hashed: 1 and *ret (a reference of the caller's own; len and data set, cid for the caller to fill);
 * 0: none now. Only with in_flight > 0. Hash with layout_leaf_cid. */
int importer_next(struct importer *im, struct block **ret);
/* `b` came from importer_next and has its CID now; takes that reference. 0; ERR_AGAIN: noted, but the sink has no room (the
 * next call of any importer function tries again); a sink's error. */
int importer_hashed(struct importer *im, struct block *take_b);

/* No more bytes. 0 and the root; ERR_AGAIN: chunks are still away, or the last one waits in importer_next, or the sink has
 * no room: go on and call again. */
int importer_finish(struct importer *im, struct unixfs_root *ret);

uint64_t importer_bytes(const struct importer *im); /* taken so far */

#endif
