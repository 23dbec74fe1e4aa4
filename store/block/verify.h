/* SPDX-License-Identifier: MIT
 *
 * Checks the whole store, a few blocks at a time, while it is used: every block is hashed again, sizes are compared, and all
 * reference counts are counted anew from the roots and links and compared, in as many passes as its fixed table needs.
 * Owned by one thread, which may be a worker job; it has a reader of its own.
 *
 *   PAGES ──▶ HASH ──▶ SETTLE ──▶ PINS ──▶ RECORDS ──▶ (COUNT ──▶ COMPARE ──▶ NAME) × passes ──▶ DONE
 *
 * PAGES looks at the pages of the index in one step, without LMDB; one that is damaged is mended when the store is opened next.
 * SETTLE waits until no cascade is pending, or gives up when the committer cannot write what it counts; the rest shares one
 * snapshot, so a store that is written at the same time grows a little meanwhile. With `repair` a damaged block is dropped (a
 * live one is then "wanted" and will be fetched again), and wrong counts, indexes and totals are corrected by their
 * difference, which stays right while others write.
 */
#ifndef STORE_BLOCK_VERIFY_H
#define STORE_BLOCK_VERIFY_H

#include "store/block/blockstore.h"

struct store_verify;

enum verify_problem {
    VERIFY_DAMAGED, /* bytes do not have the hash, or cannot be read */
    VERIFY_SIZE,    /* the recorded size differs */
    VERIFY_COUNT,   /* a reference count differs */
    VERIFY_INDEX,   /* the eviction order or the wanted list disagrees with the block's row */
    VERIFY_TOTAL,   /* the store's totals differ: no block to name */
    VERIFY_KEY,     /* an entry whose key is no multihash: no block to name; it goes */
    VERIFY_PAGES,   /* a page of the index, `found`, is damaged: no block to name, repaired at the next start */
};

struct verify_event {
    enum verify_problem problem;
    struct cid cid;           /* of the block, as far as its codec is known */
    uint64_t expected, found; /* sizes or counts */
    bool repaired;            /* the remedy was submitted */
};

struct verify_progress {
    uint64_t blocks, bytes; /* hashed */
    uint64_t blocks_total;  /* held when it began */
    uint64_t unchecked;     /* blocks whose hash function we cannot compute */
    uint64_t problems, repaired;
    bool done;
};

int store_verify_new(struct store_verify **ret, struct blockstore *bs, bool repair);
/* Waits for repairs that are under way. NULL accepted. */
struct store_verify *store_verify_free(struct store_verify *v);
bool store_verify_repairs(const struct store_verify *v); /* some are */
/* Looks at up to `blocks` more blocks or rows. 1: *ret_event tells a problem; 0: none in this step; ERR_AGAIN: waiting for the
 * committer, or for another check to end; call again a little later; ERR_CLOSED: done; a store's error, also that of the
 * committer when it cannot write. */
int store_verify_step(struct store_verify *v, unsigned blocks, struct verify_event *ret_event);
void store_verify_progress(const struct store_verify *v, struct verify_progress *ret);
const char *verify_problem_text(enum verify_problem p);

/* The pages of the index alone, in one step: 0, ERR_CORRUPT: the log tells it, and the next start writes it anew; or another
 * error. Any thread. */
int store_check_pages(struct blockstore *bs);
/* One block now: 0, ERR_MISSING, ERR_CORRUPT, ERR_UNSUPPORTED (hash function unknown), ERR_IO. Between begin and end of the
 * reader. */
int store_check(struct store_reader *r, const struct cid *cid);
/* Drops the block if it is (still) damaged: a live one becomes wanted. done(result): 0 dropped, ERR_EXISTS it is sound,
 * ERR_MISSING. */
void blockstore_drop_damaged(struct blockstore *bs, const struct cid *cid, struct mailbox *reply,
                             void (*done)(void *arg, int result), void *arg);

#endif
