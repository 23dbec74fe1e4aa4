/* SPDX-License-Identifier: MIT
 *
 * evhttp stops reading a connection while its request is being answered, so it does not see the client hang up; an event of our
 * own (EV_CLOSED) does. When evhttp itself gives a connection up (a failed write) it hands the request back to us
 * without a connection, and we free it. */
#include "cmd/daemon/control.h"

#include "cmd/daemon/ctl_bodies.h"
#include "cmd/daemon/ctl_parse.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FAILURES_KEPT 64
#define IDLE_SECONDS  3600 /* a client that keeps a connection; evhttp's own 50 s cut slow readers off */
#define BACKLOG       64
#define UNREAD_PART   16 /* of the budget, to clients that have big pieces */
#define UNREAD_LEAST  (UINT32_C(64) << 10)

struct failure {
    uint64_t id;
    json_t *error;
};

struct control {
    struct daemon *d;
    struct evhttp *http;
    struct ctl_bodies *bodies;
    uint64_t unread; /* of all requests */
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    uint64_t next_id;
    struct ctl_request *requests;
    struct failure failures[FAILURES_KEPT];
    unsigned failure_next;
};

/* ---- requests ---- */

static void unlink_request(struct ctl_request *q)
{
    struct control *c = q->d->control;
    if (q->prev)
        q->prev->next = q->next;
    else
        c->requests = q->next;
    if (q->next)
        q->next->prev = q->prev;
}

struct ctl_request *ctl_ref(struct ctl_request *q)
{
    q->refs++;
    return q;
}

void ctl_unref(struct ctl_request *q)
{
    if (--q->refs > 0)
        return;
    evhttp_clear_headers(&q->query);
    budget_give(q->d->budget, BUDGET_READ, q->charged);
    free(q);
}

static void on_idle_closed(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    ctl_bodies_closed(arg);
}

static void all_read(struct ctl_request *q)
{
    q->d->control->unread -= q->unread;
    q->unread = 0;
}

/* The request is no longer ours to answer. The list's reference goes. */
static void detach(struct ctl_request *q)
{
    all_read(q);
    if (q->hangup)
        event_free(q->hangup);
    q->hangup = NULL;
    struct evhttp_connection *conn = q->http ? evhttp_request_get_connection(q->http) : NULL;
    if (conn)
        evhttp_connection_set_closecb(conn, on_idle_closed, q->d->control->bodies);
    q->http = NULL;
    unlink_request(q);
    ctl_unref(q);
}

static void tell_gone(struct ctl_request *q)
{
    void (*gone)(struct ctl_request *, void *) = q->gone;
    q->gone = NULL;
    q->sent = NULL;
    if (gone)
        gone(q, q->arg);
}

/* evhttp gives the connection up. */
static void on_conn_closed(struct evhttp_connection *conn, void *arg)
{
    struct ctl_request *q = arg;
    struct evhttp_request *http = q->http;
    on_idle_closed(conn, q->d->control->bodies);
    if (!http)
        return;
    ctl_ref(q);
    bool ours = evhttp_request_get_connection(http) == NULL;
    detach(q);
    if (ours)
        evhttp_request_free(http);
    tell_gone(q);
    ctl_unref(q);
}

/* Drops the connection without an answer: the request goes with it. */
static void cut(struct ctl_request *q)
{
    struct evhttp_connection *conn = q->http ? evhttp_request_get_connection(q->http) : NULL;
    if (!q->http)
        return;
    detach(q);
    if (conn)
        evhttp_connection_free(conn);
}

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
    struct ctl_request *q = arg;
    (void)fd;
    (void)what;
    ctl_ref(q);
    cut(q);
    tell_gone(q);
    ctl_unref(q);
}

/* ---- answers ---- */

static int http_status(int err)
{
    static const struct {
        int err, status;
    } table[] = {
        {ERR_INVALID, 400},     {ERR_USAGE, 400},   {ERR_NAME_LONG, 400}, {ERR_NOT_FOUND, 404},   {ERR_EXISTS, 409},
        {ERR_BUSY, 409},        {ERR_DENIED, 403},  {ERR_READ_ONLY, 403}, {ERR_TOO_BIG, 413},     {ERR_TIMEOUT, 504},
        {ERR_OFFLINE, 503},     {ERR_AGAIN, 503},   {ERR_LIMIT, 503},     {ERR_NO_FILES, 503},    {ERR_NO_MEMORY, 503},
        {ERR_UNREACHABLE, 502}, {ERR_REFUSED, 502}, {ERR_RESET, 502},     {ERR_UNSUPPORTED, 501}, {ERR_NO_SPACE, 507},
        {ERR_QUOTA, 507},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].err == err)
            return table[i].status;
    return 500;
}

static void reply(struct ctl_request *q, int status, json_t *take_v)
{
    struct evhttp_request *http = q->http;
    if (!http) {
        json_decref(take_v);
        return;
    }
    char *text = json_dumps(take_v, CTL_JSON | JSON_ENCODE_ANY);
    json_decref(take_v);
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "%s\n", text ? text : "{}");
    free(text);
    evhttp_add_header(evhttp_request_get_output_headers(http), "Content-Type", "application/json");
    ctl_ref(q);
    detach(q);
    evhttp_send_reply(http, status, NULL, body);
    evbuffer_free(body);
    ctl_unref(q);
}

void ctl_json(struct ctl_request *q, json_t *take_v)
{
    reply(q, 200, take_v);
}

json_t *ctl_sentence(const char *text)
{
    json_t *whole = json_string(text);
    struct buf out = BUF_INIT;
    while (!whole && *text) { /* one character, or one byte that is none, each turn */
        size_t n = 1, most = strnlen(text, 4);
        json_t *one = json_stringn(text, n);
        while (!one && n < most)
            one = json_stringn(text, ++n);
        if (one)
            buf_add(&out, text, n);
        else
            buf_add_u8(&out, '?');
        text += one ? n : 1;
        json_decref(one);
    }
    if (!whole)
        whole = json_string(buf_cstr(&out));
    buf_done(&out);
    return whole;
}

static json_t *error_object(int err, const char *hint, const char *message)
{
    json_t *v = json_pack("{ss so}", "error", err_name(err), "message", ctl_sentence(message));
    if (hint)
        json_object_set_new(v, "try", ctl_sentence(hint));
    return v;
}

static void keep_failure(struct control *c, uint64_t id, json_t *take_error)
{
    struct failure *f = &c->failures[c->failure_next++ % FAILURES_KEPT];
    json_decref(f->error);
    *f = (struct failure){id, take_error};
}

void ctl_fail(struct ctl_request *q, int err, const char *hint, const char *fmt, ...)
{
    char text[768];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args); /* a cut sentence is still a sentence */
    va_end(args);
    if (!q->http)
        return;
    json_t *v = error_object(err, hint, text);
    if (!q->began) {
        reply(q, http_status(err), v);
        return;
    }
    keep_failure(q->d->control, q->id, v);
    ctl_ref(q);
    cut(q);
    ctl_unref(q);
}

void ctl_header(struct ctl_request *q, const char *name, const char *value)
{
    if (q->http)
        evhttp_add_header(evhttp_request_get_output_headers(q->http), name, value);
}

void ctl_begin(struct ctl_request *q, const char *type)
{
    char id[24];
    if (!q->http || q->began)
        return;
    snprintf(id, sizeof id, "%llu", (unsigned long long)q->id);
    ctl_header(q, "Content-Type", type);
    ctl_header(q, "X-P2P-Request", id);
    q->began = true;
    evhttp_send_reply_start(q->http, 200, NULL);
}

static void on_sent(struct evhttp_connection *conn, void *arg)
{
    struct ctl_request *q = arg;
    (void)conn;
    all_read(q);
    if (q->http && q->sent)
        q->sent(q, q->arg);
}

bool ctl_write(struct ctl_request *q, struct span data)
{
    if (!q->http || data.len == 0)
        return true;
    struct evbuffer *b = evbuffer_new();
    bool good = b && evbuffer_add(b, data.data, data.len) == 0;
    if (good) {
        q->unread += data.len;
        q->d->control->unread += data.len;
        evhttp_send_reply_chunk_with_cb(q->http, b, on_sent, q);
    }
    if (b)
        evbuffer_free(b);
    return good;
}

size_t ctl_piece(const struct ctl_request *q, size_t most)
{
    bool much = q->d->control->unread >= budget_limit(q->d->budget) / UNREAD_PART;
    return much && most > UNREAD_LEAST ? UNREAD_LEAST : most;
}

void ctl_line(struct ctl_request *q, json_t *take_v)
{
    char *text = json_dumps(take_v, CTL_JSON);
    json_decref(take_v);
    if (!text)
        return;
    size_t len = strlen(text);
    text[len] = '\n'; /* instead of the NUL */
    (void)ctl_write(q, span_of(text, len + 1));
    free(text);
}

int ctl_page_add(struct buf *page, json_t *take_v)
{
    char *text = json_dumps(take_v, CTL_JSON);
    json_decref(take_v);
    int r = text && buf_try_reserve(page, strlen(text) + 1) ? 0 : ERR_NO_MEMORY;
    if (r == 0) {
        buf_add_str(page, text);
        buf_add_u8(page, '\n');
    }
    free(text);
    return r;
}

void ctl_end(struct ctl_request *q)
{
    struct evhttp_request *http = q->http;
    if (!http)
        return;
    ctl_ref(q);
    detach(q);
    evhttp_send_reply_end(http);
    ctl_unref(q);
}

size_t ctl_pending(const struct ctl_request *q)
{
    struct evhttp_connection *conn = q->http ? evhttp_request_get_connection(q->http) : NULL;
    return conn ? evbuffer_get_length(bufferevent_get_output(evhttp_connection_get_bufferevent(conn))) : 0;
}

/* ---- parameters ---- */

const char *ctl_param(const struct ctl_request *q, const char *name)
{
    return evhttp_find_header(&q->query, name);
}

bool ctl_flag(const struct ctl_request *q, const char *name)
{
    const char *v = ctl_param(q, name);
    return v && strcmp(v, "0") != 0;
}

int ctl_u64(struct ctl_request *q, const char *name, uint64_t *ret)
{
    const char *v = ctl_param(q, name);
    if (!v || ctl_parse_u64(v, ret) == 0)
        return 0;
    ctl_fail(q, ERR_INVALID, NULL, "%s: '%.60s' is not a number", name, v);
    return ERR_INVALID;
}

/* ---- arrival ---- */

static bool may_ask(struct evhttp_connection *conn, pid_t *ret_pid)
{
    struct ucred who;
    socklen_t len = sizeof who;
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(conn));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return false;
    *ret_pid = who.pid;
    return who.uid == geteuid() || who.uid == 0;
}

static const struct ctl_route *route_for(const char *path)
{
    for (const struct ctl_route *r = ctl_routes; r->path; r++) {
        size_t n = strlen(r->path);
        if (r->path[n - 1] == '/' ? strncmp(path, r->path, n) == 0 : strcmp(path, r->path) == 0)
            return r;
    }
    return NULL;
}

static struct ctl_request *request_new(struct control *c, struct evhttp_request *http, pid_t pid)
{
    struct ctl_request *q = MEM_NEW(struct ctl_request);
    struct evhttp_connection *conn = evhttp_request_get_connection(http);
    *q = (struct ctl_request){.http = http, .d = c->d, .refs = 1, .id = ++c->next_id, .pid = pid, .since = mono_now()};
    TAILQ_INIT(&q->query);
    q->next = c->requests;
    if (q->next)
        q->next->prev = q;
    c->requests = q;
    evhttp_connection_set_closecb(conn, on_conn_closed, q);
    int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(conn));
    q->hangup = event_new(c->d->base, fd, EV_CLOSED | EV_PERSIST, on_hangup, q);
    event_add(q->hangup, NULL);
    return q;
}

static void describe(struct ctl_request *q, const char *path)
{
    const char *about = ctl_param(q, "path");
    if (!about)
        about = ctl_param(q, "peer");
    snprintf(q->what, sizeof q->what, "%s", about ? about : path);
}

static void failures(struct ctl_request *q)
{
    struct control *c = q->d->control;
    uint64_t id = strtoull(q->rest, NULL, 10);
    for (unsigned i = 0; i < FAILURES_KEPT; i++)
        if (c->failures[i].error && c->failures[i].id == id) {
            ctl_json(q, json_incref(c->failures[i].error));
            return;
        }
    ctl_fail(q, ERR_NOT_FOUND, NULL, "no failure of request %.40s is known", q->rest);
}

/* It is here already: others wait for it, and the request is never refused for it. false: no memory for it in one piece. */
static bool take_body(struct ctl_request *q, struct evbuffer *in)
{
    size_t len = evbuffer_get_length(in);
    const uint8_t *bytes = len ? evbuffer_pullup(in, -1) : NULL;
    if (len && !bytes)
        return false;
    q->body = span_of(bytes, len);
    q->charged = len;
    budget_take_always(q->d->budget, BUDGET_READ, len);
    return true;
}

/* Who needs it longer has a copy: one of them is enough. */
static void drop_body(struct ctl_request *q)
{
    struct evbuffer *in = q->http ? evhttp_request_get_input_buffer(q->http) : NULL;
    q->body = SPAN_NONE;
    if (in)
        evbuffer_drain(in, evbuffer_get_length(in));
}

static void dispatch(struct ctl_request *q)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(q->http);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
    if (!path || (query && evhttp_parse_query_str(query, &q->query) < 0)) {
        ctl_fail(q, ERR_INVALID, NULL, "the request's target is malformed");
        return;
    }
    describe(q, path);
    const struct ctl_route *r = route_for(path);
    if (!take_body(q, evhttp_request_get_input_buffer(q->http))) {
        ctl_fail(q, ERR_NO_MEMORY, NULL, "%s", err_text(ERR_NO_MEMORY));
    } else if (strncmp(path, "/v1/failures/", 13) == 0) {
        q->rest = path + 13;
        failures(q);
    } else if (!r) {
        ctl_fail(q, ERR_NOT_FOUND, "man 7 p2p-control", "there is nothing at %.200s", path);
    } else if (!(r->methods & evhttp_request_get_command(q->http))) {
        ctl_fail(q, ERR_USAGE, "man 7 p2p-control", "%.200s does not take this method", path);
    } else {
        q->rest = path + strlen(r->path);
        r->run(q);
    }
}

static void refuse(struct ctl_request *q, unsigned connections)
{
    ctl_header(q, "Connection", "close");
    ctl_fail(q, ERR_LIMIT, NULL, "%u connections are open, more than the memory budget has room for", connections - 1);
}

static void on_request(struct evhttp_request *http, void *arg)
{
    struct control *c = arg;
    pid_t pid = 0;
    struct evhttp_connection *conn = evhttp_request_get_connection(http);
    unsigned too_many = ctl_bodies_whole(c->bodies, evhttp_connection_get_bufferevent(conn));
    if (!may_ask(conn, &pid)) {
        evhttp_send_error(http, 403, NULL);
        return;
    }
    struct ctl_request *q = ctl_ref(request_new(c, http, pid));
    if (too_many > 0)
        refuse(q, too_many);
    else
        dispatch(q);
    drop_body(q);
    ctl_unref(q);
}

/* ---- life ---- */

static int bind_socket(const char *path, int type, struct why *why)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    (void)unlink(path); /* of a node that died: the state folder's lock is ours */
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return why_set(why, err_from_errno(errno), "cannot make the control socket: %s", strerror(errno));
    mode_t old = umask(0177);
    bool good = bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0 && listen(fd, BACKLOG) == 0;
    int number = errno;
    umask(old);
    if (good)
        return fd;
    close(fd);
    return why_set(why, err_from_errno(number), "cannot make the control socket %s: %s", path, strerror(number));
}

int control_bind(const struct daemon *d, const char *name, int type, char path[CTL_PATH_SIZE], struct why *why)
{
    if (strlen(d->paths.run) + 1 + strlen(name) >= CTL_PATH_SIZE)
        return why_set(why, ERR_NAME_LONG, "%s is too long for a unix socket (%zu bytes at most)", d->paths.run,
                       CTL_PATH_SIZE - strlen(name) - 2);
    snprintf(path, CTL_PATH_SIZE, "%.90s/%.16s", d->paths.run, name);
    return bind_socket(path, type, why);
}

int control_accept(int listening)
{
    struct ucred who;
    socklen_t len = sizeof who;
    int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM ? ERR_NO_FILES : ERR_AGAIN;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && (who.uid == geteuid() || who.uid == 0))
        return fd;
    close(fd);
    return ERR_AGAIN;
}

int control_open(struct control **ret, struct daemon *d, struct why *why)
{
    struct control *c = MEM_NEW(struct control);
    c->d = d;
    int r = control_bind(d, "control", SOCK_STREAM, c->path, why);
    if (r < 0) {
        free(c);
        return r;
    }
    c->http = evhttp_new(d->base);
    evhttp_set_max_body_size(c->http, CTL_BODY_MAX);
    evhttp_set_max_headers_size(c->http, CTL_HEAD_MAX);
    evhttp_set_timeout(c->http, IDLE_SECONDS);
    evhttp_set_allowed_methods(c->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_DELETE);
    evhttp_set_gencb(c->http, on_request, c);
    c->bodies = ctl_bodies_new(d->base, c->http, d->budget, CTL_BODY_MAX + CTL_HEAD_MAX);
    struct evhttp_bound_socket *bound = evhttp_accept_socket_with_handle(c->http, r);
    ctl_bodies_listen(c->bodies, evhttp_bound_socket_get_listener(bound));
    *ret = c;
    return 0;
}

struct control *control_close(struct control *c)
{
    if (!c)
        return NULL;
    while (c->requests) {
        struct ctl_request *q = ctl_ref(c->requests);
        cut(q);
        tell_gone(q);
        ctl_unref(q);
    }
    evhttp_free(c->http);
    ctl_bodies_free(c->bodies);
    (void)unlink(c->path); /* gone already if the run folder is */
    for (unsigned i = 0; i < FAILURES_KEPT; i++)
        json_decref(c->failures[i].error);
    free(c);
    return NULL;
}

void control_tick(struct control *c)
{
    ctl_bodies_tick(c->bodies);
}

struct ctl_request *control_requests(struct control *c)
{
    return c->requests;
}
