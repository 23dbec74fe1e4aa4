/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/target.h"

#include "cmd/daemon/ctl_parse.h"

#include <stdlib.h>

/* The answer of the mount finds its way by this, also when the task has gone meanwhile. */
struct target_wait {
    struct target *target; /* NULL: gone */
};

bool target_begin(struct target *t, struct ctl_request *q)
{
    const char *text = ctl_param(q, "path");
    struct ctl_path path;
    struct why why = {""};
    *t = (struct target){.rest = NULL};
    if (!text || !*text) {
        ctl_fail(q, ERR_INVALID, "p2p ls share", text ? "the path is empty" : "the parameter 'path' is missing");
        return false;
    }
    if (ctl_parse_path(text, &path, &why) < 0) {
        ctl_fail(q, ERR_INVALID, "p2p ls share", "%s", why.text);
        return false;
    }
    if (path.is_share && !q->d->mount) {
        ctl_fail(q, ERR_UNSUPPORTED, "a CID", "share/ is part of the mount, and the node runs without one");
        return false;
    }
    t->root = path.root;
    t->rest = mem_str(path.rest);
    t->is_share = t->pending = path.is_share;
    return true;
}

static void on_cid(void *arg, int result, const struct cid *cid)
{
    struct target_wait *w = arg;
    struct target *t = w->target;
    free(w);
    if (!t)
        return;
    t->wait = NULL;
    t->pending = false;
    t->result = result;
    if (result == 0)
        t->root = *cid;
    if (t->task)
        task_wake(t->task);
}

void target_ask(struct target *t, struct task *task)
{
    t->task = task;
    if (!t->pending)
        return;
    t->wait = MEM_NEW(struct target_wait);
    t->wait->target = t;
    mount_cid_of(task->d->mount, t->rest, task->d->mail, on_cid, t->wait);
}

int target_resolve(struct target *t, struct cid *ret, uint64_t *ret_tsize)
{
    if (t->pending)
        return TASK_WAIT;
    if (t->result < 0)
        return why_set(&t->task->why, t->result, "%s: %s", t->rest, err_text(t->result));
    if (t->is_share) {
        *ret = t->root;
        return 0;
    }
    struct unixfs_resolved found;
    int r = unixfs_resolve(task_source(t->task), &t->root, span_str(t->rest), &found);
    if (r == ERR_NOT_FOUND || r == ERR_NOT_DIR) {
        char cid[CID_TEXT_SIZE];
        return why_set(&t->task->why, r, "%s%s: %s", cid_text(&t->root, cid), t->rest,
                       r == ERR_NOT_FOUND ? "there is no such entry" : "a part of the path is not a directory");
    }
    if (r < 0)
        return r;
    *ret = found.entry.cid;
    if (ret_tsize)
        *ret_tsize = found.entry.tsize;
    return 0;
}

void target_done(struct target *t)
{
    if (t->wait)
        t->wait->target = NULL;
    free(t->rest);
}
