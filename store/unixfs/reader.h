/* SPDX-License-Identifier: MIT
 *
 * Reads a file's DAG, whoever made it: raw leaves and dag-pb leaves, balanced and trickle layouts (inner nodes with bytes of
 * their own), any chunk size, identity CIDs, any depth up to READER_DEPTH_MAX.
 *
 * A unixfs_file is one handle's cursor over an immutable DAG. It keeps, for each inner node on the path to the last offset,
 * where it was and a sparse index of its children (about 1.3 KB), but no block: every read gets the blocks from the
 * source again, so nothing is pinned between reads. A sequential read costs O(1) per leaf; a seek one scan of at most 1/64 of
 * each node on the path.
 *
 * Blocks come from strangers: every inner node is checked as a whole when it is entered (as many sizes as links, their sum the
 * file size), each child against the size its parent gave. Lies are ERR_CORRUPT. Children of no bytes are skipped, and a call
 * visits a bounded number of nodes, so no DAG makes it loop.
 *
 * Pure machine over a block_source; one owner, the source's thread.
 */
#ifndef STORE_UNIXFS_READER_H
#define STORE_UNIXFS_READER_H

#include "store/block/source.h"

#define READER_DEPTH_MAX 64

struct unixfs_file;

/* Does not look at the source yet. */
struct unixfs_file *unixfs_file_new(const struct cid *root);
struct unixfs_file *unixfs_file_free(struct unixfs_file *f); /* NULL accepted */
const struct cid *unixfs_file_root(const struct unixfs_file *f);

/* Bytes of the file. 0; ERR_MISSING: the root block is not held (noted in the source); ERR_IS_DIR: a directory or HAMT shard;
 * ERR_INVALID: a symlink or other node that is not a file; ERR_UNSUPPORTED: a codec that is not UnixFS; ERR_CORRUPT. */
int unixfs_file_size(struct unixfs_file *f, struct block_source *s, uint64_t *ret);

/* Where a read puts its spans: the caller sets spans and max. They point into the source's blocks (into f's root for identity
 * CIDs) and live as long as the source's spans do. */
struct read_spans {
    struct span *spans;
    unsigned max;   /* ≥ 1 */
    unsigned count; /* set by the read */
    size_t bytes;   /* sum of the spans: how much of the wanted range they cover, from its beginning */
    bool more;      /* not all of what there is: call again from there */
};

/* The bytes [offset, offset + len), less at the end of the file. 0: out->bytes of them (fewer than wanted only at the end of
 * the file, or with out->more: the spans ran out, or enough was done in one call). ERR_MISSING: some block in the range is not
 * held; all missing ones that can be known now, not only the first, are noted in the source (up to MISSING_MAX), and `out` has
 * what is held in front of the first. Errors as unixfs_file_size. */
int unixfs_read(struct unixfs_file *f, struct block_source *s, uint64_t offset, size_t len, struct read_spans *out);

/* The same into memory: bytes copied, or an error. Of so many pieces at most (whoever made the file may have cut it into single
 * bytes): fewer than wanted, but some, are not the end. */
#define UNIXFS_COPY_PIECES 4096
int unixfs_read_copy(struct unixfs_file *f, struct block_source *s, uint64_t offset, void *out, size_t len);

/* Blocks in the file range [from, to) which are not held, breadth first (inner nodes before leaves, each in file order): how
 * many (≤ max, ≤ 1024) were put into cids; ask again when these have come. Does not note them, does not disturb the cursor of
 * unixfs_read. Errors as unixfs_file_size, but a missing root is just the first of the list. */
struct read_range {
    uint64_t from, to;
};
int unixfs_read_ahead(struct unixfs_file *f, struct block_source *s, struct read_range range, struct cid *cids, unsigned max);

#endif
