/* SPDX-License-Identifier: MIT
 *
 * A request of the control socket that reads blocks: a step that is run again. The step is a plain function over the source;
 * when it says ERR_MISSING, what is missing is wanted and the step runs again when it came. A task ends when its step has
 * answered, when it fails, when no block has come for the read timeout, or when the client hangs up.
 *
 *   READY ─► step ─┬─ TASK_ANSWERED ─► ended
 *     ▲            ├─ ERR_MISSING ─► PARKED on blocks ─┐
 *     │            ├─ TASK_WAIT ─► PARKED till woken ──┤ (TASK_TURN: the same, behind other requests)
 *     │            ├─ ERR_AGAIN ─► PARKED a moment ────┤
 *     │            ├─ ERR_NO_MEMORY ─► the same, for no longer than the read timeout; with `why` it is a failure
 *     └────────────┼───────────────────────────────────┘
 *                  └─ other error ─► failure answered, ended
 *
 * Embed struct task as the first member. Control thread only.
 */
#ifndef CMD_DAEMON_TASK_H
#define CMD_DAEMON_TASK_H

#include "cmd/daemon/control.h"

enum { TASK_ANSWERED = 0, TASK_WAIT = 1, TASK_TURN = 2 };

struct task {
    struct waiter waiter; /* what the step cannot go on without */
    struct waiter ahead;  /* what it will need soon */
    struct daemon *d;
    struct ctl_request *q; /* a reference */
    int (*step)(struct task *t);
    void (*done)(struct task *t);   /* frees the whole */
    struct cid root;                /* what is being read, for grouping; none: each block for itself */
    struct cid waits_for;           /* the first of the missing */
    bool damaged;                   /* one of the missing was here and had to be dropped */
    struct why why;                 /* a step may set it before it fails */
    int failure;                    /* a want that ended badly; 0: none */
    mono_ns began, progress, again; /* `again`: run at that time */
    mono_ns short_since;            /* since when there is no memory for the step; 0: there is */
    bool is_ready;
    struct task *prev, *next, *next_ready;
};

#define TASK_AHEAD_MAX 48

/* Takes a reference of q; the first step runs soon, not now. */
void task_start(struct task *t, struct ctl_request *q, int (*step)(struct task *t), void (*done)(struct task *t));
void task_wake(struct task *t);
/* Wants what will be needed soon; too many are passed over. Call inside a step. */
void task_want_ahead(struct task *t, const struct cid *cids, unsigned count);
struct block_source *task_source(struct task *t);

/* For the daemon's loop */
void tasks_run(struct daemon *d);                               /* all that are ready */
void tasks_tick(struct daemon *d, mono_ns now);                 /* deadlines */
void tasks_settled(void *daemon, struct waiter *w, int result); /* wants_options.settled */
void tasks_arrived(void *daemon, struct block *b);              /* wants_options.arrived */

#endif
