/* SPDX-License-Identifier: MIT
 *
 * Pins: DAGs that the user keeps. A pin is a named root reference (blockstore.h, Liveness); all pins are recursive. What a pin
 * still misses is fetched by whoever iterates the wanted blocks (the daemon, through want.h).
 *
 * A pin is complete when all of its DAG is held. The committer sets that by itself whenever nothing at all is wanted;
 * blockstore_pin_complete sets it sooner, for who has walked the DAG. A damaged block that is dropped clears it.
 */
#ifndef STORE_BLOCK_PIN_H
#define STORE_BLOCK_PIN_H

#include "store/block/blockstore.h"

#define PIN_NAME_MAX 255

struct pin {
    struct cid cid;
    wall_ns since;
    bool complete;
    char name[PIN_NAME_MAX + 1]; /* free text, may be empty */
};

/* Operations. done(arg, result) on `reply`'s thread (NULL: on the committer). `name` is copied, longer ones are cut.
 * add: 0 also when pinned already (the name is replaced). del, complete: ERR_NOT_FOUND when not pinned. */
typedef void (*pin_done)(void *arg, int result);
void blockstore_pin(struct blockstore *bs, const struct cid *cid, const char *name, struct mailbox *reply, pin_done done,
                    void *arg);
/* Once the puts that `g` counts are stored; else the error of one that was refused, and nothing is pinned. */
void blockstore_pin_guarded(struct blockstore *bs, const struct cid *cid, const char *name, struct store_guard *g,
                            struct mailbox *reply, pin_done done, void *arg);
void blockstore_unpin(struct blockstore *bs, const struct cid *cid, struct mailbox *reply, pin_done done, void *arg);
/* `damaged`: of the figures, before the walk. ERR_AGAIN: more were found meanwhile, and the walk may have passed over them. */
void blockstore_pin_complete(struct blockstore *bs, const struct cid *cid, uint64_t damaged, struct mailbox *reply,
                             pin_done done, void *arg);
/* The same inside an operation's apply() */
struct store_txn;
int store_txn_pin(struct store_txn *txn, const struct cid *cid, const char *name);
int store_txn_unpin(struct store_txn *txn, const struct cid *cid);

/* Reading, between store_read_begin and _end. Pages: start with an empty *at (len 0), call again with what came back.
 * 1: *ret filled and *at moved; 0: no more; ERR_*. Of pins, those that are damaged are left out. */
int store_pin_next(struct store_reader *r, struct cid *at, struct pin *ret);
int store_pin_get(struct store_reader *r, const struct cid *cid, struct pin *ret); /* 0, ERR_NOT_FOUND */
/* Blocks that are referred to and not held, in no order that means anything; the same paging. */
int store_wanted_next(struct store_reader *r, struct cid *at, struct cid *ret);
/* Is this block live (referred to by a pin, a record or a live parent)? */
bool store_is_live(struct store_reader *r, const struct cid *cid);

#endif
