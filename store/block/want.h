/* SPDX-License-Identifier: MIT
 *
 * The one small interface between those who miss a block (the mount, the control socket, pins) and whoever can get it (the
 * engine). It stands here because the block store is where the two meet: neither side includes the other.
 *
 * A want is a message: the asker fills it, posts it through the port and gets the same want back in its own mailbox when it
 * is settled: exactly once, also when it was cancelled. Until then the asker may only cancel it or raise its priority.
 */
#ifndef STORE_BLOCK_WANT_H
#define STORE_BLOCK_WANT_H

#include "store/base/mailbox.h"
#include "store/block/block.h"

enum want_kind {
    WANT_BLOCK, /* this block */
    WANT_DAG,   /* this block and everything below it, breadth first; answered when all is held. No block is handed back */
};

enum want_priority {
    WANT_NOW,     /* somebody waits for exactly this */
    WANT_AHEAD,   /* read-ahead: soon */
    WANT_KEEP,    /* pins: whenever there is room */
};

struct want {
    struct mail mail;         /* run() on the asker's thread when settled */
    struct mailbox *reply;    /* the asker's */
    enum want_kind kind;
    enum want_priority priority;
    struct cid cid;
    /* what the asker is reading, for grouping wants into a session and finding providers; none: cid */
    struct cid root;
    mono_ns deadline;         /* settled with ERR_TIMEOUT then; MONO_NEVER: waits for ever */
    /* When it was known last that the block is on its way, or that its turn comes behind others that are; WANT_DAG: any of its
     * blocks, or that one of them is held. 0: not yet. Whoever gets the block writes it, the asker may look at any time: that
     * nothing came yet is not that nothing comes. */
    _Atomic mono_ns heard;

    /* the answer */
    int result;               /* 0, ERR_TIMEOUT, ERR_UNREACHABLE, ERR_OFFLINE, ERR_VERIFY, ERR_CANCELLED, ERR_NO_SPACE … */
    struct block *block;      /* WANT_BLOCK: one reference, the asker's; may be NULL when it is in the store already */
    /* WANT_DAG: fetched so far. As `heard`: also while it runs; two figures, perhaps of two moments. */
    _Atomic uint64_t blocks, bytes;

    void *engine;             /* the engine's; NULL when posted */
};

struct want_port {
    void *self;
    /* 0: taken. ERR_AGAIN: too many wants, not taken. */
    int (*post)(void *self, struct want *take_w);
    /* Asks for an early end; the want still comes back (ERR_CANCELLED, or settled meanwhile). */
    void (*cancel)(void *self, struct want *w);
    /* The asker needs it sooner. */
    void (*raise)(void *self, struct want *w, enum want_priority p);
};

#endif
