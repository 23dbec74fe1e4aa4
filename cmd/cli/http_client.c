/* SPDX-License-Identifier: MIT */
#include "cmd/cli/http_client.h"

#include "cmd/cli/cli.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_SIZE      65536
#define POLL_MS        100
#define CHUNK_LINE_MAX 64

enum framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE };

struct http_client {
    int fd; /* -1: closed */
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    struct http_tick tick;
    struct buf in;   /* read, not consumed */
    struct buf head; /* header lines, each NUL-terminated */
    enum framing framing;
    uint64_t left; /* of the body, or of the chunk */
    bool first_chunk, keep;
};

/* The folder of sockets may lie in /tmp, where anybody can have made it before us: what we send is only for a node of our own
 * or of root. Root may also ask another user's node, if it names it: P2P_HOME. */
static bool is_ours(int fd)
{
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return false;
    return who.uid == geteuid() || who.uid == 0 || (geteuid() == 0 && getenv("P2P_HOME"));
}

int http_connect(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path)
        return ERR_NAME_LONG;
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_from_errno(errno);
    int number = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0 ? 0 : errno;
    if (number == 0 && is_ours(fd))
        return fd;
    close(fd);
    if (number == 0)
        return ERR_DENIED;
    return number == ENOENT || number == ECONNREFUSED || number == ENOTDIR ? ERR_NOT_RUNNING : err_from_errno(number);
}

int http_client_open(struct http_client **ret, const char *socket_path)
{
    if (strlen(socket_path) >= sizeof((struct http_client *)NULL)->path)
        return ERR_NAME_LONG;
    int fd = http_connect(socket_path);
    if (fd < 0)
        return fd;
    struct http_client *h = MEM_NEW(struct http_client);
    h->fd = fd;
    snprintf(h->path, sizeof h->path, "%s", socket_path);
    h->keep = true;
    *ret = h;
    return 0;
}

int http_client_process(const struct http_client *h)
{
    struct ucred who;
    socklen_t len = sizeof who;
    if (h->fd < 0 || getsockopt(h->fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 || who.pid <= 0)
        return -1;
    return pidfd_open(who.pid, 0);
}

struct http_client *http_client_close(struct http_client *h)
{
    if (!h)
        return NULL;
    if (h->fd >= 0)
        close(h->fd);
    buf_done(&h->in);
    buf_done(&h->head);
    free(h);
    return NULL;
}

void http_client_tick(struct http_client *h, struct http_tick tick)
{
    h->tick = tick;
}

static void drop(struct http_client *h)
{
    if (h->fd >= 0)
        close(h->fd);
    h->fd = -1;
    buf_clear(&h->in);
    h->framing = FRAMING_NONE;
}

/* 0: ready for `events` */
static int wait_for(struct http_client *h, short events)
{
    for (;;) {
        if (cli_interrupted())
            return ERR_INTERRUPTED;
        struct pollfd p = {.fd = h->fd, .events = events};
        int n = poll(&p, 1, POLL_MS);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_from_errno(errno);
        if (n == 0 && h->tick.run)
            h->tick.run(h->tick.arg);
    }
}

static int send_all(struct http_client *h, struct span s)
{
    while (s.len) {
        ssize_t n = send(h->fd, s.data, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return err_from_errno(errno);
        if (n > 0) {
            s = span_from(s, (size_t)n);
            continue;
        }
        int r = wait_for(h, POLLOUT);
        if (r < 0)
            return r;
    }
    return 0;
}

/* More bytes into `in`: > 0, 0 at the end of the stream */
static int fill(struct http_client *h)
{
    int r = wait_for(h, POLLIN);
    if (r < 0)
        return r;
    uint8_t *at = buf_reserve(&h->in, READ_SIZE);
    ssize_t n = recv(h->fd, at, READ_SIZE, 0);
    if (n < 0)
        return errno == EINTR ? 1 : err_from_errno(errno);
    buf_commit(&h->in, (size_t)n);
    return n > 0;
}

/* One line without its CRLF, consumed from `in` into `out` */
static int read_line(struct http_client *h, struct buf *out, size_t most)
{
    buf_clear(out);
    for (;;) {
        struct span in = buf_span(&h->in);
        const uint8_t *nl = in.len ? memchr(in.data, '\n', in.len) : NULL;
        if (nl) {
            size_t len = (size_t)(nl - in.data);
            buf_add(out, in.data, len && in.data[len - 1] == '\r' ? len - 1 : len);
            buf_consume(&h->in, len + 1);
            return 0;
        }
        if (in.len > most)
            return ERR_PROTOCOL;
        int r = fill(h);
        if (r <= 0)
            return r < 0 ? r : ERR_RESET;
    }
}

static int read_head(struct http_client *h)
{
    struct buf line = BUF_INIT;
    buf_clear(&h->head);
    int status = 0;
    int r = read_line(h, &line, HTTP_HEAD_MAX);
    if (r == 0 && sscanf(buf_cstr(&line), "HTTP/1.%*d %d", &status) != 1)
        r = ERR_PROTOCOL;
    while (r == 0) {
        r = read_line(h, &line, HTTP_HEAD_MAX);
        if (r < 0 || buf_len(&line) == 0)
            break;
        buf_add(&h->head, buf_cstr(&line), buf_len(&line) + 1);
        if (buf_len(&h->head) > HTTP_HEAD_MAX)
            r = ERR_PROTOCOL;
    }
    buf_done(&line);
    return r < 0 ? r : status;
}

const char *http_header(struct http_client *h, const char *name)
{
    size_t len = strlen(name);
    struct span s = buf_span(&h->head);
    while (s.len) {
        const char *line = (const char *)s.data;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " \t");
        s = span_from(s, strlen(line) + 1);
    }
    return NULL;
}

static void set_framing(struct http_client *h, int status)
{
    const char *encoding = http_header(h, "Transfer-Encoding");
    const char *length = http_header(h, "Content-Length");
    const char *connection = http_header(h, "Connection");
    h->keep = !(connection && strcasecmp(connection, "close") == 0);
    h->left = 0;
    h->first_chunk = true;
    if (status == 204 || status == 304)
        h->framing = FRAMING_NONE;
    else if (encoding && strcasecmp(encoding, "chunked") == 0)
        h->framing = FRAMING_CHUNKED;
    else if (length) {
        h->framing = FRAMING_LENGTH;
        h->left = strtoull(length, NULL, 10);
    } else
        h->framing = FRAMING_CLOSE;
}

static int prepare(struct http_client *h)
{
    uint8_t rest[4096];
    unsigned n = 0;
    while (h->fd >= 0 && h->framing != FRAMING_NONE && n++ < 16) { /* an unread end of an answer; long ones are not worth it */
        int r = http_read(h, rest, sizeof rest);
        if (r <= 0)
            break;
    }
    if (h->framing != FRAMING_NONE || !h->keep)
        drop(h);
    if (h->fd >= 0)
        return 0;
    h->keep = true;
    int fd = http_connect(h->path);
    if (fd < 0)
        return fd;
    h->fd = fd;
    return 0;
}

int http_request(struct http_client *h, const char *method, const char *target, struct span body)
{
    int r = prepare(h);
    if (r < 0)
        return r;
    struct buf head = BUF_INIT;
    buf_printf(&head, "%s %s HTTP/1.1\r\nHost: p2p\r\nContent-Length: %zu\r\n\r\n", method, target, body.len);
    if (body.len <= 16384) { /* one packet instead of two */
        buf_add_span(&head, body);
        body.len = 0;
    }
    r = send_all(h, buf_span(&head));
    buf_done(&head);
    if (r == 0)
        r = send_all(h, body);
    /* A server that refuses a body early closes: its answer is still there to read. */
    int status = r == 0 || r == ERR_CLOSED || r == ERR_RESET ? read_head(h) : r;
    if (status < 0) {
        drop(h);
        return status;
    }
    set_framing(h, status);
    return status;
}

static int next_chunk(struct http_client *h)
{
    struct buf line = BUF_INIT;
    int r = 0;
    if (!h->first_chunk)
        r = read_line(h, &line, CHUNK_LINE_MAX); /* the CRLF after the chunk before */
    h->first_chunk = false;
    if (r == 0)
        r = read_line(h, &line, CHUNK_LINE_MAX);
    if (r == 0) {
        char *end;
        const char *text = buf_cstr(&line);
        h->left = strtoull(text, &end, 16);
        r = end == text ? ERR_PROTOCOL : 0;
    }
    if (r == 0 && h->left == 0) {
        r = read_line(h, &line, CHUNK_LINE_MAX); /* no trailers are sent to us */
        h->framing = FRAMING_NONE;
    }
    buf_done(&line);
    return r == ERR_RESET ? ERR_TRUNCATED : r;
}

static int read_some(struct http_client *h, void *out, size_t size)
{
    size_t have = buf_len(&h->in);
    if (have == 0) {
        int r = fill(h);
        if (r < 0)
            return r;
        if (r == 0 && h->framing == FRAMING_CLOSE) {
            drop(h);
            return 0;
        }
        if (r == 0)
            return ERR_TRUNCATED;
        have = buf_len(&h->in);
    }
    size_t n = have < size ? have : size;
    if (h->framing != FRAMING_CLOSE && n > h->left)
        n = (size_t)h->left;
    memcpy(out, buf_span(&h->in).data, n);
    buf_consume(&h->in, n);
    if (h->framing != FRAMING_CLOSE)
        h->left -= n;
    if (h->framing == FRAMING_LENGTH && h->left == 0)
        h->framing = FRAMING_NONE;
    return (int)n;
}

int http_read(struct http_client *h, void *out, size_t size)
{
    if (h->framing == FRAMING_LENGTH && h->left == 0)
        h->framing = FRAMING_NONE;
    if (h->framing == FRAMING_NONE || h->fd < 0)
        return 0;
    int r = 0;
    if (h->framing == FRAMING_CHUNKED && h->left == 0)
        r = next_chunk(h);
    if (r == 0)
        r = h->framing == FRAMING_NONE ? 0 : read_some(h, out, size);
    if (r < 0)
        drop(h);
    return r == ERR_RESET ? ERR_TRUNCATED : r;
}

int http_read_all(struct http_client *h, struct buf *out, size_t most)
{
    size_t total = 0;
    for (;;) {
        uint8_t *at = buf_reserve(out, READ_SIZE);
        int n = http_read(h, at, READ_SIZE);
        if (n <= 0)
            return n;
        buf_commit(out, (size_t)n);
        total += (size_t)n;
        if (total > most)
            return ERR_TOO_BIG;
    }
}
