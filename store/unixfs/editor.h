/* SPDX-License-Identifier: MIT
 *
 * A file that is being written: an existing file's DAG edited by extents, in a way that the CID always equals that of a fresh
 * import of the same bytes (unixfs-v1-2025).
 *
 * The file is a sequence of 1 MiB chunks, grouped by 1024 as the layout groups them. A chunk is one of
 *
 *   HOLE    zeros                                    CLEAN   a stored leaf block, known by digest
 *   BASE    bytes of the base DAG in other chunks    CUT     the first bytes of a stored leaf (after a truncation)
 *   DIRTY   a buffer                                 AWAY    a buffer handed out to be hashed and stored
 *
 *   HOLE, BASE, CLEAN, CUT --write--> DIRTY --editor_next--> AWAY --editor_stored--> CLEAN
 *                                       ^--------write (a copy)---'      (failed: DIRTY again)
 *
 * Memory: 40 bytes per chunk of a group that was touched (100 GB: 4 MB when all is touched), 100 per group, nothing per hole or
 * per chunk of a group that is as in the base; buffers grow from 4 KiB to 1 MiB and are blocks charged to BUDGET_WRITE.
 * Parents of groups that did not change are neither read, hashed nor emitted again. A copy of a whole file is its root CID: an
 * untouched editor finishes with its base.
 *
 * The loop of whoever owns it: write; take chunks with editor_next (EDITOR_FULL after each write, EDITOR_ALL to finish,
 * EDITOR_PRESSURE when the budget says not now to either); hash each on a worker (cid_of with CODEC_RAW), editor_hashed, put
 * the block into the store, editor_stored when the store has committed it (or has refused). When editor_next(EDITOR_ALL)
 * gives 0 and nothing is unhashed, editor_finish gives the root. The editor goes on being usable after that (fsync).
 * Between editor_hashed and the commit of the record that refers to the new root nothing refers to the leaves: the owner holds
 * them (blockstore_hold), or a collection may take them.
 *
 * A base in exactly our own layout is reused by groups and leaves without reading its bytes. We recognise it by its root node's
 * exact bytes; a base that imitates our root above foreign inner nodes gives a valid DAG with another CID.
 *
 * Pure machine over a block_source; single owner (the fs thread).
 */
#ifndef STORE_UNIXFS_EDITOR_H
#define STORE_UNIXFS_EDITOR_H

#include "store/unixfs/layout.h"
#include "store/unixfs/reader.h"

#define EDITOR_CHUNK    (UINT32_C(1) << 20)
#define EDITOR_SIZE_MAX (UINT64_C(16) << 40) /* 16 TiB, as ext4: longer files are ERR_TOO_BIG (EFBIG) */

struct editor;

/* `base`: what is there already, NULL for an empty file. Does not look at any source yet. `budget` may be NULL. */
struct editor *editor_new(const struct unixfs_root *base, struct budget *budget);
/* Flights still away stay valid for editor_hashed and editor_stored. NULL accepted. */
struct editor *editor_free(struct editor *e);

uint64_t editor_size(const struct editor *e);
bool editor_changed(const struct editor *e);         /* since the last editor_finish (or editor_new) */
uint64_t editor_dirty_bytes(const struct editor *e); /* in buffers that were not handed out */

/* Spans of [offset, offset + len) as unixfs_read (reader.h), of the file as it is now. Spans also point into buffers: valid
 * until the next call that changes the editor, or the end of the source's read. */
int editor_read(struct editor *e, struct block_source *s, uint64_t offset, size_t len, struct read_spans *out);

/* Bytes taken, which may be fewer than given (a call writes into at most the chunks it finds room for). ERR_AGAIN: the budget
 * says not now: take chunks with EDITOR_PRESSURE here or in another editor, wait for their end, call again. ERR_MISSING: a
 * part of a chunk that is not held is overwritten; noted in `s`. ERR_BUSY: a step of reading the base was done, call again.
 * ERR_TOO_BIG. Nothing changes when an error is given. */
int editor_write(struct editor *e, struct block_source *s, uint64_t offset, struct span data);

/* 0; ERR_TOO_BIG. Needs neither source nor budget: cut and lengthened chunks are settled when the file is finished. */
int editor_truncate(struct editor *e, uint64_t size);

/* A chunk on its way. The owner hashes block (data, len) into block->cid, unless it is set already, takes its own reference
 * for the store, then calls editor_hashed and, once, editor_stored. */
struct editor_flight {
    struct block *block;   /* the flight's own reference */
    struct editor *editor; /* NULL: the editor was freed meanwhile */
    struct editor_flight *prev, *next;
    struct editor_buf *buf; /* NULL: the chunk was written, cut or dropped meanwhile */
    bool hashed;
};

enum editor_want {
    EDITOR_FULL,     /* chunks that have been written full */
    EDITOR_PRESSURE, /* besides, the one that was not written for longest */
    EDITOR_ALL,      /* everything that keeps the file from being finished */
};

/* 1 and *ret; 0: nothing of the kind. EDITOR_ALL reads cut, lengthened and BASE chunks through `s`: ERR_MISSING, ERR_IO,
 * ERR_CORRUPT. ERR_AGAIN, ERR_BUSY: as of editor_write; chunks that come later may have all memory. The other two need no
 * source. */
int editor_next(struct editor *e, struct block_source *s, enum editor_want want, struct editor_flight **ret);
void editor_hashed(struct editor_flight *fl);
/* result 0: the source holds the block from now on. Else the chunk is dirty again. Ends the flight. */
void editor_stored(struct editor_flight *take_fl, int result);
unsigned editor_unhashed(const struct editor *e); /* flights that were not hashed yet */
/* Leaves that were stored and that the file has no longer: so many so far. */
uint64_t editor_replaced(const struct editor *e);
/* The others, and those on their way: what is to be held for the next root, once parents are forgotten. */
void editor_each_leaf(const struct editor *e, void (*each)(void *arg, const struct cid *leaf), void *arg);

/* The root of the file as it is now; parents that changed go to `sink` (NULL: CIDs only), which must keep them until the root
 * is referred to. 0; ERR_BUSY: dirty or unhashed chunks are left (editor_next EDITOR_ALL), or enough was done in one call: call
 * again; ERR_AGAIN: the sink or its budget has no room; ERR_MISSING (inner nodes of the base), ERR_IO, ERR_CORRUPT. */
int editor_finish(struct editor *e, struct block_source *s, struct block_sink *sink, struct unixfs_root *ret);

/* The sink's blocks did not reach the store after all: the next editor_finish makes all parents again. */
void editor_forget_parents(struct editor *e);

#endif
