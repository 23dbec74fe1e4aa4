/* SPDX-License-Identifier: MIT
 *
 * The records of a tree in LMDB (database "tree.records"). Keys begin with the tree's number, so trees are ranges:
 *
 *   tree u32  'm'                          → version u8, last operation u64, next node id u64
 *   tree u32  'n'  id u64                  → the node, below
 *   tree u32  'e'  parent u64  name        → id u64                 to look up a name
 *   tree u32  'd'  parent u64  id u64      → type u8, name          to list: the order of ids gives cookies that last
 *   tree u32  'o'  id u64                  → 0                      a node without a name
 *   tree u32  'k'  id u64                  → cid                    what a symlink keeps
 *   tree u32  'f'  id u64                  → seq u64, mtime i64, size u64, tsize u64, cid
 *                                            what a node had before its content, while blocks of that may be missing; the store
 *                                            counts a reference to it
 *
 *   node: type u8, flags u8, mode u16, parent u64, mtime i64, ctime i64, size u64, tsize u64,
 *         cid length u8, cid, name length u8, name, target length u16, target
 *
 * Numbers are big-endian: LMDB's order of keys is that of the numbers. Pure, any thread.
 */
#ifndef STORE_TREE_TREE_RECORD_H
#define STORE_TREE_TREE_RECORD_H

#include "store/tree/tree.h"

#define TREE_VERSION 1

enum record_kind {
    RECORD_META = 'm',
    RECORD_NODE = 'n',
    RECORD_ENTRY = 'e',
    RECORD_LISTED = 'd',
    RECORD_ORPHAN = 'o',
    RECORD_KEPT = 'k',
    RECORD_FORMER = 'f',
};

enum record_flag {
    RECORD_DIRTY = 1,  /* directory: content is out of date */
    RECORD_REFERS = 2, /* directory, symlink: the store counts a reference to content.cid */
};

struct tree_meta {
    uint64_t seq; /* of the last operation that was applied */
    uint64_t next_id;
};

struct tree_record {
    enum tree_type type;
    uint8_t flags;
    uint16_t mode;
    uint64_t parent; /* 0: no name, or the root */
    wall_ns mtime, ctime;
    struct unixfs_root content;
    uint8_t name_len;
    uint8_t name[TREE_NAME_MAX];
    struct span target; /* borrowed from the encoded record */
};

/* A key, as a value. */
struct tree_key {
    uint16_t len;
    uint8_t bytes[4 + 1 + 8 + TREE_NAME_MAX];
};

static inline struct span tree_key_span(const struct tree_key *k)
{
    return (struct span){k->bytes, k->len};
}

struct tree_key tree_key(uint32_t tree, enum record_kind kind); /* all of a kind begin with it */
struct tree_key tree_key_id(uint32_t tree, enum record_kind kind, uint64_t id);
struct tree_key tree_key_entry(uint32_t tree, uint64_t parent, struct span name); /* name ≤ TREE_NAME_MAX */
struct tree_key tree_key_listed(uint32_t tree, uint64_t parent, uint64_t id);
/* The last u64 of a key */
uint64_t tree_key_tail(struct span key);

void tree_meta_encode(const struct tree_meta *m, struct buf *out);
int tree_meta_parse(struct span in, struct tree_meta *ret); /* 0, ERR_CORRUPT, ERR_VERSION */

void tree_record_encode(const struct tree_record *r, struct buf *out);
int tree_record_parse(struct span in, struct tree_record *ret); /* 0, ERR_CORRUPT */

/* The block that an entry refers to, of any kind: 1; 0: none. */
int tree_record_refers(struct span key, struct span value, struct cid *ret);

struct tree_former {
    uint64_t seq; /* of the last change whose blocks may be missing */
    wall_ns mtime;
    struct unixfs_root content; /* cid none: it was empty, or a directory, which is made anew */
};
void tree_former_encode(const struct tree_former *f, struct buf *out);
int tree_former_parse(struct span in, struct tree_former *ret); /* 0, ERR_CORRUPT */

void tree_put_u64(struct buf *out, uint64_t v);
int tree_id_parse(struct span in, uint64_t *ret); /* exactly a u64 > 0. 0, ERR_CORRUPT */

/* What a symlink to `target` keeps: the CID of a target that ends in `ipfs/<cid>` (a slash may follow). */
bool tree_target_cid(struct span target, struct cid *ret);

#endif
