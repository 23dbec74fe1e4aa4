/* SPDX-License-Identifier: MIT
 *
 * dag-pb (ipld.io/specs/codecs/dag-pb): the node format of UnixFS. Exact bytes, because bytes are what is hashed.
 *
 *   PBNode  { repeated PBLink Links = 2;  optional bytes Data = 1 }     written in this order
 *   PBLink  { bytes Hash = 1;  optional string Name = 2;  optional uint64 Tsize = 3 }
 *
 * Reading is zero-copy: a struct dagpb borrows the block. It is checked once, whole, by dagpb_parse; iterating afterwards
 * cannot fail. Accepted: Data before or after the links, absent Name and Tsize. Refused: unknown fields, a second Data, links
 * on both sides of Data, fields of a link out of order or twice, a missing or malformed Hash. Names are bytes here: whether
 * they are good for a file system is decided in unixfs/directory.h.
 *
 * A foreign node is never re-encoded to get "the same" block: presence of empty names differs between writers. Pure, any
 * thread.
 */
#ifndef STORE_CODEC_DAGPB_H
#define STORE_CODEC_DAGPB_H

#include "store/content/cid.h"

struct dagpb {
    struct span links; /* the encoded links, one after the other */
    uint32_t link_count;
    bool has_data;
    struct span data; /* PBNode.Data */
};

struct dagpb_link {
    struct span hash; /* the binary CID; dagpb_link_cid makes it a value */
    struct span name; /* empty when absent */
    uint64_t tsize;   /* 0 when absent; only what the writer claimed */
    bool has_name, has_tsize;
};

struct dagpb_iter {
    struct span rest;
};

/* 0 or ERR_INVALID. `ret` borrows `block`. */
int dagpb_parse(struct span block, struct dagpb *ret);

/* Links in their order: `struct dagpb_iter it = dagpb_iter(&node); while (dagpb_next(&it, &link)) …`. Spans borrow the
 * block. */
static inline struct dagpb_iter dagpb_iter(const struct dagpb *node)
{
    return (struct dagpb_iter){node->links};
}
bool dagpb_next(struct dagpb_iter *it, struct dagpb_link *ret);
void dagpb_link_cid(const struct dagpb_link *link, struct cid *ret);

/* ---- writing: all links, then the data ---- */

/* Name and Tsize are always present, as every current writer has it (an empty Name is `12 00`). */
void dagpb_add_link(struct buf *out, const struct cid *cid, struct span name, uint64_t tsize);
void dagpb_add_data(struct buf *out, struct span data);

/* How many bytes these calls append. */
size_t dagpb_link_size(size_t cid_len, size_t name_len, uint64_t tsize);
size_t dagpb_data_size(size_t data_len);

#endif
