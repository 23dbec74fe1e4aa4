/* SPDX-License-Identifier: MIT
 *
 * The control socket: HTTP/1.1 with JSON on a unix socket (p2p-control(7)), by evhttp. Only the user who runs the node and root
 * are answered: the folder is 0700, and each connection's credentials are looked at besides.
 *
 * A request is answered at once or kept; who keeps one holds a reference. The client may hang up at any time: then `gone` is
 * called, and every answer to it becomes a no-op. Whatever happens, exactly one answer leaves.
 *
 *   ─► handler ─┬─► ctl_json / ctl_fail                          one answer
 *               └─► ctl_begin ─► ctl_write … ─► ctl_end            a stream; each write says when it has left
 *                                          └─► ctl_fail            broken off; /v1/failures tells the reason
 */
#ifndef CMD_DAEMON_CONTROL_H
#define CMD_DAEMON_CONTROL_H

#include "cmd/daemon/daemon_state.h"

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <sys/types.h>

#define CTL_BODY_MAX  (UINT32_C(4) << 20)
#define CTL_HEAD_MAX  (UINT32_C(64) << 10)
#define CTL_WHAT_SIZE 256
#define CTL_JSON      (JSON_COMPACT | JSON_REAL_PRECISION(15)) /* 0.1, not 0.10000000000000001 */

struct ctl_request {
    struct evhttp_request *http; /* NULL: answered, or the client has gone */
    struct daemon *d;
    unsigned refs;
    uint64_t id;
    struct evkeyvalq query;
    struct span body;         /* borrowed until the handler returns; who keeps the request may have a copy */
    size_t charged;           /* for it, to BUDGET_READ */
    const char *rest;         /* of the path, behind the route's prefix */
    char what[CTL_WHAT_SIZE]; /* it is about, for people: a path, a peer, or its own name */
    pid_t pid;
    mono_ns since;
    bool began;
    size_t unread;         /* bytes written in pieces that the client has not taken */
    const char *waits_for; /* a static sentence while it is parked, or NULL */
    struct event *hangup;
    void (*gone)(struct ctl_request *q, void *arg); /* the client hung up, or the node stops */
    void (*sent)(struct ctl_request *q, void *arg); /* what was written has left */
    void *arg;
    struct ctl_request *prev, *next;
};

/* Binds the socket and serves. ERR_* with a sentence. */
int control_open(struct control **ret, struct daemon *d, struct why *why);
struct control *control_close(struct control *c); /* breaks off what is open; NULL accepted */
/* A listening socket `name` of `type` in the run folder, for the user alone; its path in `path`. The descriptor, or ERR_*. */
#define CTL_PATH_SIZE 108 /* sun_path */
int control_bind(const struct daemon *d, const char *name, int type, char path[CTL_PATH_SIZE], struct why *why);
void control_tick(struct control *c);
/* Takes a connection of the user who runs the node or of root. ERR_AGAIN: there is none, or a stranger's, which is closed;
 * ERR_NO_FILES: it waits for a descriptor, and `listening` is ready all the time: to be looked at again with the next tick. */
int control_accept(int listening);
struct ctl_request *control_requests(struct control *c); /* the first of the open ones */

struct ctl_request *ctl_ref(struct ctl_request *q);
void ctl_unref(struct ctl_request *q);

const char *ctl_param(const struct ctl_request *q, const char *name); /* NULL: not given */
bool ctl_flag(const struct ctl_request *q, const char *name);         /* given, and not "0" */
int ctl_u64(struct ctl_request *q, const char *name, uint64_t *ret);  /* left alone when not given; ERR_INVALID was answered */

void ctl_json(struct ctl_request *q, json_t *take_v);
/* {"error": code's name, "message": sentence, "try": hint}. In a stream: breaks it off; the same is kept for /v1/failures. */
void ctl_fail(struct ctl_request *q, int err, const char *hint, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
json_t *ctl_sentence(const char *text); /* JSON is UTF-8, and a sentence may quote what is not: such bytes are '?' */
void ctl_header(struct ctl_request *q, const char *name, const char *value); /* before anything is answered */
void ctl_begin(struct ctl_request *q, const char *type);
/* Copies. false: there is no memory for it now; nothing was written, and `sent` is not called for it. */
bool ctl_write(struct ctl_request *q, struct span data);
/* How much to write before `sent`, of `most`. Clients that do not read hold what is on its way to them: beyond a sixteenth of
 * the budget for all it is 64 KiB each. */
size_t ctl_piece(const struct ctl_request *q, size_t most);
void ctl_line(struct ctl_request *q, json_t *take_v); /* an object and a newline; a small one, which does not fail */
/* The same to the end of a page, which is written whole. ERR_NO_MEMORY: the page is as it was. */
int ctl_page_add(struct buf *page, json_t *take_v);
void ctl_end(struct ctl_request *q);
size_t ctl_pending(const struct ctl_request *q); /* bytes written that have not left */

/* Handlers, one a route (routes.c). The reference belongs to the caller. */
typedef void ctl_handler(struct ctl_request *q);
struct ctl_route {
    const char *path; /* ends in '/': a prefix */
    unsigned methods; /* EVHTTP_REQ_* */
    ctl_handler *run;
};
extern const struct ctl_route ctl_routes[]; /* ends with path NULL */

#endif
