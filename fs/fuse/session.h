/* SPDX-License-Identifier: MIT
 *
 * The connection to the kernel: mounts, reads requests, decodes them into struct request and hands each to handle().
 * It has no loop of its own: the owner polls session_fd beside its mailbox and timers. One thread, but for
 * session_forget_name and session_prune.
 */
#ifndef FS_FUSE_SESSION_H
#define FS_FUSE_SESSION_H

#include "fs/fuse/request.h"
#include "store/base/mono.h"

struct session;

#define SESSION_ROOT   1                   /* node number of the root */
#define SESSION_IO_MAX (UINT32_C(1) << 20) /* largest read and write */

struct session_options {
    const char *dir; /* exists */
    void *owner;
    void (*handle)(void *owner, struct request *r); /* replies, or keeps a copy */
    /* A kept request (session_watch) was interrupted. Only note it: libfuse holds its locks. */
    void (*interrupted)(void *owner, struct request *r);
};

int session_new(struct session **ret, const struct session_options *o, struct why *why); /* ERR_DENIED, ERR_BUSY … */
/* After ERR_CLOSED, or mountpoint_detach; NULL accepted. Every request must have been answered. */
struct session *session_free(struct session *s);

/* How long the kernel lets a request wait before it ends the whole mount (sysctl fs.fuse.max_request_timeout and
 * default_request_timeout, since Linux 6.15); 0: for ever. It counts from when the mount was made. */
mono_ns session_request_limit(void);

int session_fd(const struct session *s);
/* Reads and handles one request. 1: done; 0: none there; ERR_CLOSED: the mount has ended. */
int session_input(struct session *s);
/* From now on interruptions of this kept request are told; at once when it has been interrupted already. */
void session_watch(struct session *s, struct request *kept);

/* The kernel looks this name up again when it is asked for. Waits for the directory's lock: never on the thread that answers
 * requests. Any other thread. */
void session_forget_name(struct session *s, uint64_t dir, const char *name);
/* The kernel forgets those of these nodes that nobody uses: OP_FORGETs come. Any other thread, as it may write back first. */
void session_prune(struct session *s, const uint64_t *nodes, unsigned count);
bool session_can_prune(const struct session *s); /* this kernel knows how (Linux 6.18) */

#endif
