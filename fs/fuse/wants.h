/* SPDX-License-Identifier: MIT
 *
 * The blocks that the mount waits for: one want per CID, however many requests and read-ahead windows need it.
 *
 * Who needs blocks is a struct waiter; it is linked to each want it needs. A want that is settled is unlinked from its waiters,
 * which are told. A want that nobody is linked to any more is cancelled; it still comes back from the port, exactly once,
 * and until then its memory stays.
 *
 * One thread. Bounded: WAITER_WANTS_MAX per waiter, and waiters are requests (bounded by the kernel) or open handles.
 */
#ifndef FS_FUSE_WANTS_H
#define FS_FUSE_WANTS_H

#include "store/base/budget.h"
#include "store/block/want.h"

struct wants;

#define WAITER_WANTS_MAX 192

struct want_link;
struct waiter {
    struct want_link *links;
    unsigned count;
    bool background; /* read-ahead: not told */
};

struct wants_options {
    struct want_port port;
    struct mailbox *reply;
    struct budget *budget; /* BUDGET_TABLE; NULL: not counted */
    void *owner;
    /* A block that `w` waited for came (result 0) or could not be had. May drop any waiter. */
    void (*settled)(void *owner, struct waiter *w, int result);
    /* Before that: the block itself, borrowed. */
    void (*arrived)(void *owner, struct block *b);
};

struct wants *wants_new(const struct wants_options *o);
/* Every want must have come back (wants_open 0). NULL accepted. */
struct wants *wants_free(struct wants *ws);

/* Links `w` to the want for `cid`, posting it when it is new. 0, also when linked already; ERR_AGAIN: no room; another error of
 * the port. `root`: what is being read. */
int wants_add(struct wants *ws, struct waiter *w, const struct cid *cid, const struct cid *root, enum want_priority p);
/* Unlinks `w` from everything. */
void wants_drop(struct wants *ws, struct waiter *w);
/* When something was known last to be on its way for `w` (want.heard); 0: of nothing that it waits for. */
mono_ns wants_heard(const struct waiter *w);
bool wants_has(const struct wants *ws, const struct cid *cid);

void wants_cancel_all(struct wants *ws);     /* waiters must have been dropped */
unsigned wants_open(const struct wants *ws); /* wants that have not come back */

#endif
