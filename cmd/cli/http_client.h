/* SPDX-License-Identifier: MIT
 *
 * A small blocking HTTP/1.1 client for the control socket (RFC 9112): one request at a time on one kept-open connection; bodies
 * are streamed in both directions, so memory is one buffer whatever their size. libevent's client cannot connect to a unix
 * socket before 2.2, and libcurl costs a start-up of its own; the daemon's side is evhttp.
 *
 * Waiting is interruptible: a signal that cli.h caught ends it with ERR_INTERRUPTED, and `tick` is called about ten times a
 * second.
 */
#ifndef CMD_CLI_HTTP_CLIENT_H
#define CMD_CLI_HTTP_CLIENT_H

#include "store/base/err.h"
#include "store/base/span.h"

struct http_client;

struct http_tick {
    void (*run)(void *arg); /* may be NULL */
    void *arg;
};

#define HTTP_HEAD_MAX 65536 /* response head */

/* A connected socket, the caller's, of our own node or root's; the errors of http_client_open. */
int http_connect(const char *socket_path);
/* ERR_NOT_RUNNING: nobody listens there; ERR_DENIED: we may not, or who listens is neither we nor root; ERR_IO.
 * Connects once; requests reconnect when the server closed. */
int http_client_open(struct http_client **ret, const char *socket_path);
struct http_client *http_client_close(struct http_client *h); /* NULL accepted */
/* A descriptor of the process that serves (pidfd_open(2)), readable when it has ended; the caller's. -1: it cannot be seen. */
int http_client_process(const struct http_client *h);
void http_client_tick(struct http_client *h, struct http_tick tick);

/* Sends a whole request and reads the head of the answer: its status (200 …), or ERR_RESET, ERR_PROTOCOL, ERR_INTERRUPTED,
 * ERR_NOT_RUNNING. What is left of an earlier answer is thrown away first. */
int http_request(struct http_client *h, const char *method, const char *target, struct span body);
/* A header of the answer, without white space around it; NULL: not there. Valid until the next request. */
const char *http_header(struct http_client *h, const char *name);
/* The body: bytes (1 … size), 0 at its end, ERR_TRUNCATED: broken off in the middle, ERR_INTERRUPTED, ERR_PROTOCOL. */
int http_read(struct http_client *h, void *out, size_t size);
/* The rest of the body, at most `most` bytes, appended: 0 or an error (ERR_TOO_BIG). */
int http_read_all(struct http_client *h, struct buf *out, size_t most);

#endif
