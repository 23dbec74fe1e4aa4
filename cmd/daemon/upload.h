/* SPDX-License-Identifier: MIT
 *
 * Uploads to the control socket, in several requests, so that no body is ever large. One request at a time works on an upload.
 *
 * An upload keeps memory between its requests (a part of a chunk, of a frame). So there are only as many at once as may have
 * a fifth of the budget, and one in any case; who comes later waits for a turn, in order. An upload ends when it is finished or
 * deleted. When nobody has used it for UPLOAD_IDLE it ends if the process that did is gone, or if others wait for a turn: a
 * program that reads a slow pipe, or was stopped, loses nothing as long as it is in nobody's way.
 *
 * What an upload has put into the store is held (blockstore_hold) until something refers to it or the upload ends.
 * Embed struct upload first. Control thread.
 */
#ifndef CMD_DAEMON_UPLOAD_H
#define CMD_DAEMON_UPLOAD_H

#include "cmd/daemon/control.h"
#include "store/block/source.h"

#define UPLOADS_MAX 64 /* with those that wait */
#define UPLOAD_IDLE (60 * MONO_S)

struct upload;
struct upload_kind {
    size_t memory; /* bytes that one keeps between requests, at most */
    void (*free)(struct upload *s);
};

struct upload {
    struct daemon *d;
    uint64_t id; /* 0: it waits for its turn */
    const struct upload_kind *kind;
    mono_ns used;
    pid_t pid;                 /* whose request was the last */
    int process;               /* pidfd_open(2) of it; -1: it cannot be seen */
    bool busy;                 /* a request works on it */
    struct block_sink sink;    /* puts into the store */
    unsigned putting;          /* puts that were not answered; and its finish */
    int failure;               /* of a put that was answered */
    struct store_guard *guard; /* counts those that were refused */
    bool ended;                /* freed when the last of them is answered */
    struct task *task;         /* woken by answers, or when its turn may have come */
    struct upload_held *held;  /* leaves and roots nothing refers to yet, the newest on top */
    size_t held_count;
    struct upload *prev, *next;
};

/* Takes a new one. When its turn has come its id is answered to `q`; too many: freed, which is answered. */
void upload_start(struct upload *take_s, struct ctl_request *q, const struct upload_kind *kind);
/* The upload in q->rest ("17/data" → 17, *ret_op "data"); NULL: none such or busy, which was answered. */
struct upload *upload_find(struct ctl_request *q, const struct upload_kind *kind, const char **ret_op);
void upload_end(struct upload *s);
/* It is kept until upload_finished, which ends it, even when the node stops meanwhile. `q` asked for its end. */
void upload_finishing(struct upload *s, struct ctl_request *q);
void upload_finished(struct upload *s);
void uploads_tick(struct daemon *d, mono_ns now);
void uploads_end_all(struct daemon *d);

void upload_hold(struct upload *s, const struct cid *cid);
void upload_unhold_to(struct upload *s, size_t count); /* lets go of the newest, down to so many */

#endif
