/* SPDX-License-Identifier: MIT
 *
 * Sessions of the control socket: uploads in several requests, so that no body is ever large. A session ends when it is
 * finished, deleted, or nobody has used it for SESSION_IDLE. One request at a time works on a session.
 *
 * What a session has put into the store is held (blockstore_hold) until something refers to it or the session ends.
 * Embed struct session first. Control thread.
 */
#ifndef CMD_DAEMON_SESSION_H
#define CMD_DAEMON_SESSION_H

#include "cmd/daemon/control.h"
#include "store/block/source.h"

#define SESSIONS_MAX 64
#define SESSION_IDLE (60 * MONO_S)

struct session {
    struct daemon *d;
    uint64_t id;
    const void *kind; /* which handler made it */
    mono_ns used;
    bool busy; /* a request works on it */
    void (*free)(struct session *s);
    struct block_sink sink; /* puts into the store */
    unsigned putting;       /* puts that were not answered */
    int failure;            /* of a put */
    bool ended;             /* freed when the last put is answered */
    struct task *task;      /* woken by answers */
    struct cid *held;       /* leaves and roots nothing refers to yet */
    size_t held_count, held_cap;
    struct session *prev, *next;
};

/* A new one: its id is answered to `q`. False: too many, answered. */
bool session_start(struct session *s, struct ctl_request *q, const void *kind, void (*free)(struct session *s));
/* The session in q->rest ("17/data" → 17, *ret_op "data"); NULL: none such or busy, which was answered. */
struct session *session_find(struct ctl_request *q, const void *kind, const char **ret_op);
void session_end(struct session *s);
void sessions_tick(struct daemon *d, mono_ns now);
void sessions_end_all(struct daemon *d);

void session_hold(struct session *s, const struct cid *cid);
void session_unhold_to(struct session *s, size_t count); /* lets go of the newest, down to so many */

#endif
