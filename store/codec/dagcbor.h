/* SPDX-License-Identifier: MIT
 *
 * dag-cbor (ipld.io/specs/codecs/dag-cbor) as a stream of tokens, without recursion and without copies, on libcbor's stream
 * decoder. Refused: indefinite lengths, tags other than 42, depth over DAGCBOR_DEPTH_MAX, a count of items that cannot
 * fit in the bytes that are left, bytes after the first item. Not checked: order and uniqueness of map keys, minimal
 * integers: nothing here re-encodes. Pure, any thread.
 */
#ifndef STORE_CODEC_DAGCBOR_H
#define STORE_CODEC_DAGCBOR_H

#include "store/content/cid.h"

#define DAGCBOR_DEPTH_MAX 256
#define DAGCBOR_TAG_CID   42

enum dagcbor_type {
    DAGCBOR_UINT,   /* number */
    DAGCBOR_NEGINT, /* -1 - number */
    DAGCBOR_BYTES,  /* bytes */
    DAGCBOR_TEXT,   /* bytes; UTF-8 is not checked */
    DAGCBOR_ARRAY,  /* number of items that follow */
    DAGCBOR_MAP,    /* number of pairs that follow */
    DAGCBOR_CID,    /* cid */
    DAGCBOR_FLOAT,
    DAGCBOR_BOOL, /* number is 0 or 1 */
    DAGCBOR_NULL,
};

struct dagcbor_token {
    enum dagcbor_type type;
    uint64_t number;
    struct span bytes; /* borrowed from the input */
    struct cid cid;
};

struct dagcbor {
    struct span rest;
    unsigned depth;
    bool started;
    uint64_t left[DAGCBOR_DEPTH_MAX]; /* items still to come at each level */
};

void dagcbor_init(struct dagcbor *d, struct span in);
/* 1: a token; 0: the item ended with the last byte; ERR_INVALID; ERR_TRUNCATED. */
int dagcbor_next(struct dagcbor *d, struct dagcbor_token *ret);

/* ---- writing: what CAR headers need ---- */
void dagcbor_add_head(struct buf *out, enum dagcbor_type type, uint64_t number); /* UINT, NEGINT, BYTES, TEXT, ARRAY, MAP */
void dagcbor_add_text(struct buf *out, const char *text);
void dagcbor_add_cid(struct buf *out, const struct cid *cid);

#endif
