/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_fetch.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_SIZE 262144

int cli_write_all(int fd, const uint8_t *data, size_t len)
{
    while (len) {
        if (cli_interrupted()) /* also when a part was written before the signal came */
            return ERR_INTERRUPTED;
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EAGAIN) {
            (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000); /* EINTR is seen above */
            continue;
        }
        if (n < 0 && errno != EINTR)
            return err_from_errno(errno);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int copy_body(struct api *a, const struct cli_fetch *f, uint64_t *bytes)
{
    uint8_t *space = mem_new(READ_SIZE);
    int r = 0;
    while (r == 0) {
        int n = http_read(a->http, space, READ_SIZE);
        if (n == 0)
            break;
        r = n < 0 ? api_broken(a, n) : cli_write_all(f->fd, space, (size_t)n);
        if (n > 0 && r < 0 && r != ERR_CLOSED && r != ERR_INTERRUPTED)
            cli_fail(a->c, r, NULL, "cannot write: %s", err_text(r));
        if (r < 0)
            break;
        *bytes += (uint64_t)n;
        if (f->progress)
            progress_add(f->progress, (uint64_t)n);
    }
    free(space);
    return r;
}

int cli_fetch(struct api *a, const struct cli_fetch *f, uint64_t *ret_bytes)
{
    struct buf target = BUF_INIT;
    char offset[24], length[24];
    uint64_t bytes = 0;
    snprintf(offset, sizeof offset, "%" PRIu64, f->offset);
    snprintf(length, sizeof length, "%" PRIu64, f->length ? *f->length : 0);
    api_target(
        &target, "/v1/cat",
        (struct api_param[]){{"path", f->path}, {"offset", f->offset ? offset : NULL}, {"length", f->length ? length : NULL}},
        3);
    http_client_tick(a->http, (struct http_tick){f->progress ? progress_tick : NULL, f->progress});
    int r = api_begin(a, "GET", buf_cstr(&target), SPAN_NONE);
    if (r == 0)
        r = copy_body(a, f, &bytes);
    http_client_tick(a->http, (struct http_tick){NULL, NULL});
    buf_done(&target);
    if (ret_bytes)
        *ret_bytes = bytes;
    return r;
}

static int note_why(void *arg, json_t *row)
{
    char *note = arg;
    if (!note[0] && api_u64(row, "pid") == (uint64_t)getpid())
        snprintf(note, PROGRESS_TEXT, "%s", api_text(row, "why"));
    return 0;
}

static void ask(void *arg, bool stalled, char note[PROGRESS_TEXT])
{
    struct api *main_api = arg;
    char path[PROGRESS_TEXT * 32];
    struct http_client *h = NULL;
    if (api_socket_path("control", path, NULL) < 0 || http_client_open(&h, path) < 0)
        return;
    struct api a = {.c = main_api->c, .http = h};
    if (stalled)
        (void)api_lines(&a, "GET", "/v1/waiting", note_why, note); /* without an answer there is just no reason to show */
    json_t *status = NULL;
    if (!note[0] && api_json(&a, "GET", "/v1/status", SPAN_NONE, &status) == 0) {
        uint64_t n = api_u64(status, "peers_connected");
        snprintf(note, PROGRESS_TEXT, "%" PRIu64 " peer%s", n, n == 1 ? "" : "s");
    }
    json_decref(status);
    http_client_close(h);
}

void cli_fetch_progress(struct api *a, struct progress *p)
{
    p->ask = ask;
    p->arg = a;
}

void cli_wait_begin(struct api *a, struct progress *p, const char *name)
{
    progress_begin(p, a->c, name, 0);
    cli_fetch_progress(a, p);
    http_client_tick(a->http, (struct http_tick){progress_tick, p});
}

void cli_wait_end(struct api *a, struct progress *p)
{
    http_client_tick(a->http, (struct http_tick){NULL, NULL});
    progress_end(p);
}
