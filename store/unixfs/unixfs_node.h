/* SPDX-License-Identifier: MIT
 *
 * One UnixFS block: what it is, and its bytes (specs.ipfs.tech/unixfs). Reading is zero-copy and checked once; writing gives
 * the exact bytes of profile unixfs-v1-2025.
 *
 *   raw block (codec 0x55)                a file whose content is the block
 *   dag-pb, Data is the message           Type = 1, Data = 2, filesize = 3, blocksizes = 4 (repeated), hashType = 5,
 * fanout = 6,
 *                                         mode = 7, mtime = 8 { Seconds = 1, FractionalNanoseconds = 2 fixed32 }
 *
 * Files: child i is link i, with blocksizes[i] bytes of the file; own data (possible in foreign nodes) comes before all of
 * them. Always: count of blocksizes == count of links, and own data + Σ blocksizes == file_size without overflow, else
 * ERR_INVALID. That a child has the size its parent says is for the reader to check when it gets there.
 *
 * A struct unixfs_node borrows the block (and the cid, when it is inline). Pure, any thread.
 */
#ifndef STORE_UNIXFS_UNIXFS_NODE_H
#define STORE_UNIXFS_UNIXFS_NODE_H

#include "store/codec/dagpb.h"

enum unixfs_type {                 /* the wire's numbers */
                   UNIXFS_RAW = 0, /* an old kind of file leaf; read as a file */
                   UNIXFS_DIRECTORY = 1,
                   UNIXFS_FILE = 2,
                   UNIXFS_METADATA = 3, /* obsolete: ERR_UNSUPPORTED */
                   UNIXFS_SYMLINK = 4,
                   UNIXFS_HAMT = 5,
};

#define UNIXFS_HASH_MURMUR3 0x22 /* murmur3-x64-64 */

/* Optional (UnixFS 1.5). We write none unless asked to: it changes CIDs. */
struct unixfs_meta {
    bool has_mode, has_mtime;
    uint32_t mode; /* permission bits, and whatever else the writer put */
    int64_t mtime_seconds;
    uint32_t mtime_nanoseconds; /* < 1e9 */
};

struct unixfs_node {
    enum unixfs_type type;      /* UNIXFS_FILE for raw blocks and for Type Raw */
    bool raw_block;             /* not dag-pb: `data` is the whole block */
    struct dagpb pb;            /* no links for raw blocks */
    struct span data;           /* file: own content; symlink: target; HAMT: bitfield */
    uint64_t file_size;         /* files, and symlinks: length of the target */
    struct span message;        /* the encoded UnixFS message */
    uint64_t hash_type, fanout; /* HAMT; checked by hamt.h */
    struct unixfs_meta meta;
};

/* 0; ERR_INVALID: damaged or inconsistent; ERR_UNSUPPORTED: a codec or kind that is not UnixFS (dag-cbor, dag-pb without a
 * UnixFS message, Metadata). */
int unixfs_parse(const struct cid *cid, struct span block, struct unixfs_node *ret);

static inline bool unixfs_is_dir(const struct unixfs_node *n)
{
    return n->type == UNIXFS_DIRECTORY || n->type == UNIXFS_HAMT;
}

/* ---- children of a file, in order ---- */

struct unixfs_child {
    struct cid cid;
    uint64_t size;  /* bytes of the file below it */
    uint64_t tsize; /* length of its block and of all blocks below it; advisory */
};

struct unixfs_children {
    struct dagpb_iter links;
    struct span fields;
    struct span packed;
};

void unixfs_children(const struct unixfs_node *file, struct unixfs_children *ret);
bool unixfs_children_next(struct unixfs_children *it, struct unixfs_child *ret);
/* The child that holds byte `at` ≥ length of own data, and where in the file it begins. Children of size 0 are passed over.
 * False: at or past the end. */
bool unixfs_child_at(const struct unixfs_node *file, uint64_t at, struct unixfs_child *ret, uint64_t *ret_begin);

/* ---- writing ---- */

/* What a block adds to its parent's Tsize: its length and its links' Tsizes. Saturates instead of overflowing. */
uint64_t unixfs_tsize(size_t block_len, const struct unixfs_child *children, size_t count);

/* Appends the whole block of an inner file node. `meta` NULL: none. 0; ERR_NO_MEMORY: nothing was appended. */
int unixfs_add_file(struct buf *out, const struct unixfs_child *children, size_t count, const struct unixfs_meta *meta);
/* Appends a dag-pb leaf (Type File with content): what a small file with mode or mtime needs. */
void unixfs_add_leaf(struct buf *out, struct span content, const struct unixfs_meta *meta);
void unixfs_add_symlink(struct buf *out, struct span target, const struct unixfs_meta *meta);
/* Appends only the UnixFS message (it goes into dagpb_add_data after the links). */
void unixfs_add_directory_message(struct buf *out, const struct unixfs_meta *meta);
void unixfs_add_hamt_message(struct buf *out, struct span bitfield, uint64_t fanout, const struct unixfs_meta *meta);

#endif
