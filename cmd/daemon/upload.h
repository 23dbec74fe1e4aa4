/* SPDX-License-Identifier: MIT
 *
 * Uploads to the control socket, in several requests, so that no body is ever large. An upload ends when it is
 * finished, deleted, or nobody has used it for UPLOAD_IDLE. One request at a time works on an upload.
 *
 * What an upload has put into the store is held (blockstore_hold) until something refers to it or the upload ends.
 * Embed struct upload first. Control thread.
 */
#ifndef CMD_DAEMON_UPLOAD_H
#define CMD_DAEMON_UPLOAD_H

#include "cmd/daemon/control.h"
#include "store/block/source.h"

#define UPLOADS_MAX 64
#define UPLOAD_IDLE (60 * MONO_S)

struct upload {
    struct daemon *d;
    uint64_t id;
    const void *kind; /* which handler made it */
    mono_ns used;
    bool busy; /* a request works on it */
    void (*free)(struct upload *s);
    struct block_sink sink;   /* puts into the store */
    unsigned putting;         /* puts that were not answered */
    int failure;              /* of a put */
    bool ended;               /* freed when the last put is answered */
    struct task *task;        /* woken by answers */
    struct upload_held *held; /* leaves and roots nothing refers to yet, the newest on top */
    size_t held_count;
    struct upload *prev, *next;
};

/* A new one: its id is answered to `q`. False: too many, answered. */
bool upload_start(struct upload *s, struct ctl_request *q, const void *kind, void (*free)(struct upload *s));
/* The upload in q->rest ("17/data" → 17, *ret_op "data"); NULL: none such or busy, which was answered. */
struct upload *upload_find(struct ctl_request *q, const void *kind, const char **ret_op);
void upload_end(struct upload *s);
void uploads_tick(struct daemon *d, mono_ns now);
void uploads_end_all(struct daemon *d);

void upload_hold(struct upload *s, const struct cid *cid);
void upload_unhold_to(struct upload *s, size_t count); /* lets go of the newest, down to so many */

#endif
