/* SPDX-License-Identifier: MIT
 *
 * What a request's `path` means: a CID (`Qm…`, `bafy…`, any base), `[/]ipfs/<cid>[/a/b]`, or `share[/a/b]` in the mount's own
 * tree. Control thread.
 */
#ifndef CMD_DAEMON_TARGET_H
#define CMD_DAEMON_TARGET_H

#include "cmd/daemon/task.h"
#include "store/unixfs/path.h"

struct target {
    struct task *task;
    struct cid root; /* known unless pending */
    char *rest;      /* path below it */
    bool is_share;   /* `rest` is share/… */
    bool pending;    /* the mount was asked for the CID of share/… */
    int result;      /* of that */
    struct target_wait *wait;
};

/* Reads q's parameter `path`. False: it was missing or malformed, which was answered. */
bool target_begin(struct target *t, struct ctl_request *q);
/* After task_start: asks the mount when that is needed. */
void target_ask(struct target *t, struct task *task);
/* Inside a step. 0 and what the path leads to (*ret_tsize may be NULL; 0 when only the root was named); TASK_WAIT; ERR_*. */
int target_resolve(struct target *t, struct cid *ret, uint64_t *ret_tsize);
void target_done(struct target *t);

#endif
