/* SPDX-License-Identifier: MIT
 *
 * Requests that cannot be answered yet. A request's function says ERR_MISSING (blocks noted in the source are not held) or
 * ERR_AGAIN (no room, or something of ours must happen first); then a copy of the request is parked here, what it misses is
 * wanted, and the same function runs again when that came. It may happen many times; nothing waits in a thread.
 *
 *   run ─► 0: answered ─► gone            interrupted ─► EINTR        deadline ─► ETIMEDOUT
 *       ─► ERR_MISSING / ERR_AGAIN ─► parked ─► (block came, room, wake) ─► run
 *       ─► other error ─► answered with it
 *
 * Deadlines (MOUNT (1)): timeout_metadata from the beginning, or for requests that read content timeout_read from the last
 * block that came. Neither runs while what is waited for is known to be coming (want.heard): a slow line is no reason to fail.
 * Waits for our own disk and memory have none: they end by themselves and must not fail (back-pressure). Where the kernel ends
 * a mount over one slow request (fs.fuse.max_request_timeout), each ends before that.
 * What a request needs must be here all at once, and the store cannot take blocks while the disk is full. So one of those that
 * wait for blocks, the first, keeps those that it was given: else several, or one that reads across two big blocks, would lose
 * them to each other for ever.
 * A quiet program's request, or any while we are offline, is not parked for blocks: it gets its error at once.
 *
 * One thread.
 */
#ifndef FS_FUSE_PENDING_H
#define FS_FUSE_PENDING_H

#include "fs/fuse/request.h"
#include "fs/fuse/wants.h"
#include "store/block/source.h"
#include "store/base/budget.h"
#include "store/base/mono.h"

struct pending;
struct pending_table;

struct pending_options {
    struct wants *wants;
    struct block_source *source;
    struct budget *budget; /* BUDGET_TABLE: requests that are kept, with the bytes that writes brought; NULL: not counted */
    void *owner;
    int (*run)(void *owner, struct request *r);        /* 0: answered (or given away); else ERR_* */
    void (*parked)(void *owner, struct request *kept); /* a kernel's request was kept: watch for its interruption */
    void (*keep)(void *owner, bool on);                /* what the source gives from now on stays until let_go; NULL: neither */
    void (*let_go)(void *owner);
    void (*describe)(void *owner, const struct request *r, struct buf *out); /* appends the path */
    mono_ns timeout_metadata, timeout_read;
    mono_ns timeout_most; /* of any request of the kernel, whatever it waits for; 0: none */
    const char *const *quiet;
    unsigned quiet_count;
};

struct pending_table *pending_table_new(const struct pending_options *o);
struct pending_table *pending_table_free(struct pending_table *t); /* must be empty; NULL accepted */

/* Runs a request for the first time, and parks or answers it. `r` may be on the stack. */
void pending_run(struct pending_table *t, struct request *r);
/* The waiter of wants.h belongs to a parked request: its block came, or could not be had. */
void pending_settled(struct pending_table *t, struct waiter *w, int result);
/* Runs again those that wait on this. NULL: those that wait for room or for a moment to pass. */
void pending_wake(struct pending_table *t, const void *wait_on);
void pending_note_interrupt(struct request *kept); /* only notes it */
void pending_interrupts(struct pending_table *t);  /* answers those noted */
/* Answers requests that `match` says, with that error. */
void pending_cancel(struct pending_table *t, bool (*match)(const struct request *r, void *arg), void *arg, int err);
void pending_set_online(struct pending_table *t, bool online); /* going offline answers all that wait for blocks */

mono_ns pending_deadline(const struct pending_table *t); /* MONO_NEVER: none */
void pending_expire(struct pending_table *t, mono_ns now);
/* The process stood still until now (it was stopped, or frozen with its container): nothing could come meanwhile. */
void pending_stood_still(struct pending_table *t, mono_ns now);
unsigned pending_count(const struct pending_table *t);
/* Text of .p2p/waiting */
void pending_list(struct pending_table *t, struct buf *out, mono_ns now);

#endif
