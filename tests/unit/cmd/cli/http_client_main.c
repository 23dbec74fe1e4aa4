/* SPDX-License-Identifier: MIT
 *
 * The client against a server that says what the test wants, byte by byte: a thread, hence a plain main(). */
#include "cmd/cli/http_client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct served {
    int listener;
    const char *answer;
    size_t len;
};

static void *serve(void *arg)
{
    struct served *s = arg;
    char request[4096];
    int fd = accept(s->listener, NULL, NULL);
    ssize_t n = recv(fd, request, sizeof request, 0);
    for (size_t i = 0; n > 0 && i < s->len; i++) /* one byte each: no boundary is convenient */
        if (send(fd, s->answer + i, 1, MSG_NOSIGNAL) != 1)
            break;
    close(fd);
    return NULL;
}

static int failures;

static void check(int good, const char *what, const char *about)
{
    if (good)
        return;
    failures++;
    fprintf(stderr, "failed: %s (%s)\n", what, about);
}

struct expected {
    const char *name, *answer;
    int status;       /* of http_request */
    int result;       /* of reading the body */
    const char *body; /* NULL: not looked at */
};

static void run(int listener, const char *path, const struct expected *e)
{
    struct served s = {listener, e->answer, strlen(e->answer)};
    pthread_t thread;
    struct http_client *h = NULL;
    struct buf body = BUF_INIT;
    pthread_create(&thread, NULL, serve, &s);
    check(http_client_open(&h, path) == 0, "open", e->name);
    int status = http_request(h, "GET", "/", SPAN_NONE);
    check(status == e->status, "status", e->name);
    if (status > 0) {
        check(http_read_all(h, &body, 1 << 20) == e->result, "result", e->name);
        check(!e->body || strcmp(buf_cstr(&body), e->body) == 0, "body", e->name);
    }
    http_client_close(h);
    pthread_join(thread, NULL);
    buf_done(&body);
}

int main(void)
{
    static const struct expected rows[] = {
        {"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 0, "hello"},
        {"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n, world!!!\r\n0\r\n\r\n", 200, 0,
         "hello, world!!!"},
        {"until close", "HTTP/1.1 200 OK\r\n\r\nhello", 200, 0, "hello"},
        {"bare newlines", "HTTP/1.1 404 No\ncontent-length:2\n\nno", 404, 0, "no"},
        {"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, ""},
        {"length, cut", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", 200, ERR_TRUNCATED, "hello"},
        {"chunked, cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 200, ERR_TRUNCATED, "hel"},
        {"chunked, no end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 200, ERR_TRUNCATED, "hello"},
        {"chunked, bad length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 200, ERR_PROTOCOL, ""},
        {"no answer", "", ERR_RESET, 0, NULL},
        {"not http", "hello\r\n\r\n", ERR_PROTOCOL, 0, NULL},
        {"head cut", "HTTP/1.1 200 OK\r\nContent-Le", ERR_RESET, 0, NULL},
    };
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char dir[] = "/tmp/p2p-http-XXXXXX";
    if (!mkdtemp(dir))
        return 1;
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/s", dir);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(listener, 4) < 0)
        return 1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        run(listener, sa.sun_path, &rows[i]);
    close(listener);
    unlink(sa.sun_path);
    struct http_client *h = NULL;
    check(http_client_open(&h, sa.sun_path) == ERR_NOT_RUNNING, "nobody there", sa.sun_path);
    rmdir(dir);
    return failures != 0;
}
