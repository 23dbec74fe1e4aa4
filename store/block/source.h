/* SPDX-License-Identifier: MIT
 *
 * Where DAG code gets blocks from and puts them to. Code above (unixfs, tree, fs, control) is written as plain functions that
 * can be run again: source_get answers ERR_MISSING for what is not held and notes the CID; the caller returns ERR_MISSING
 * all the way up; whoever can wait (a parked FUSE request, a control request) wants the noted CIDs from the engine and runs
 * the same function again when they came. Nothing in between keeps state across the wait.
 *
 * A source and the spans it gives belong to one thread, and spans live until the owner of the source ends the read
 * (blockstore.h: store_read_end).
 */
#ifndef STORE_BLOCK_SOURCE_H
#define STORE_BLOCK_SOURCE_H

#include "store/block/block.h"

/* CIDs noted by one run. More are not noted: they come up in the next run. */
#define MISSING_MAX 64

struct block_source {
    /* 0, ERR_MISSING, ERR_CORRUPT: it is not held because it was damaged; or a store's error (ERR_IO) */
    int (*get)(struct block_source *self, const struct cid *cid, struct span *ret);
    /* Is it held? Cheaper than get: the bytes are not looked at. NULL: get is asked */
    bool (*has)(struct block_source *self, const struct cid *cid);
    bool damaged; /* one of the missing blocks was damaged: what to tell when it cannot be had */
    unsigned missing_count;
    struct cid missing[MISSING_MAX];
};

/* Identity CIDs are answered from themselves. ERR_MISSING notes the CID (once); a damaged block is a missing one. */
int  source_get(struct block_source *s, const struct cid *cid, struct span *ret);
bool source_has(struct block_source *s, const struct cid *cid); /* without noting */
void source_forget_missing(struct block_source *s);

/* Takes finished blocks. */
struct block_sink {
    /* 0; ERR_AGAIN: no room now, `b` not taken, call again later; a store's error: not taken */
    int (*put)(struct block_sink *self, struct block *take_b);
    struct budget *budget; /* what new blocks are charged to; NULL: nothing */
};

#endif
