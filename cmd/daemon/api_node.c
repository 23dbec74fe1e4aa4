/* SPDX-License-Identifier: MIT
 *
 * /v1/version, /v1/status, /v1/peers, /v1/waiting, /v1/events, /v1/limits, /v1/config, /v1/shutdown. */
#include "cmd/daemon/api.h"
#include "cmd/daemon/eventlog.h"
#include "cmd/daemon/order.h"
#include "cmd/daemon/views.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COLUMNS_MAX 16

void api_version(struct ctl_request *q)
{
    ctl_json(q, json_pack("{ss ss}", "version", P2P_VERSION, "api", "v1"));
}

void api_status(struct ctl_request *q)
{
    ctl_json(q, view_status(q->d));
}

void api_peers(struct ctl_request *q)
{
    const struct engine_view *v = q->d->view;
    ctl_begin(q, "application/x-ndjson");
    for (size_t i = 0; v && i < v->peer_count; i++)
        if (v->peers[i].connected || ctl_flag(q, "all"))
            ctl_line(q, view_peer(q->d, &v->peers[i]));
    ctl_end(q);
}

/* ---- waiting: the mount's text as rows, and our own requests ---- */

static void comm_of(pid_t pid, char out[32])
{
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    out[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, 31) : 0;
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n - (out[n - 1] == '\n') : 0] = 0;
}

static void own_rows(struct ctl_request *q)
{
    mono_ns now = mono_now();
    for (struct ctl_request *o = control_requests(q->d->control); o; o = o->next) {
        if (o == q || !o->waits_for)
            continue;
        char program[32];
        comm_of(o->pid, program);
        json_t *v = json_pack("{sI ss sf ss ss sI}", "pid", (json_int_t)o->pid, "program", program, "seconds",
                              (double)((now - o->since) / MONO_MS) / 1000, "why", o->waits_for, "path", o->what, "request",
                              (json_int_t)o->id);
        if (v)
            ctl_line(q, v);
    }
}

static json_t *cell(struct span s)
{
    char text[32], *end;
    if (s.len && s.len < sizeof text) {
        memcpy(text, s.data, s.len);
        text[s.len] = 0;
        double number = strtod(text, &end);
        if (*end == 0 && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')))
            return strpbrk(text, ".eE") ? json_real(number) : json_integer((json_int_t)number);
    }
    json_t *v = json_stringn((const char *)s.data, s.len);
    return v ? v : json_string("?");
}

static unsigned split(struct span line, struct span cells[COLUMNS_MAX])
{
    unsigned n = 0;
    for (;;) {
        const uint8_t *tab = n + 1 < COLUMNS_MAX && line.len ? memchr(line.data, '\t', line.len) : NULL;
        size_t len = tab ? (size_t)(tab - line.data) : line.len;
        cells[n++] = span_sub(line, 0, len);
        if (!tab)
            return n;
        line = span_from(line, len + 1);
    }
}

/* The first line, "# a TAB b", names the columns. */
static void rows_of_text(struct ctl_request *q, struct span text)
{
    struct span names[COLUMNS_MAX], cells[COLUMNS_MAX];
    unsigned columns = 0;
    while (text.len) {
        const uint8_t *nl = memchr(text.data, '\n', text.len);
        struct span line = span_sub(text, 0, nl ? (size_t)(nl - text.data) : text.len);
        text = span_from(text, line.len + 1);
        if (span_starts(line, "# ")) {
            columns = split(span_from(line, 2), names);
            continue;
        }
        unsigned n = line.len ? split(line, cells) : 0;
        json_t *v = json_object();
        for (unsigned i = 0; i < n && i < columns; i++)
            json_object_setn_new(v, (const char *)names[i].data, names[i].len, cell(cells[i]));
        if (n)
            ctl_line(q, v);
        else
            json_decref(v);
    }
}

static void on_waiting(void *arg, int result, struct buf *text)
{
    struct ctl_request *q = arg;
    ctl_begin(q, "application/x-ndjson");
    if (result >= 0)
        rows_of_text(q, buf_span(text));
    if (q->http)
        own_rows(q);
    ctl_end(q);
    ctl_unref(q);
}

void api_waiting(struct ctl_request *q)
{
    struct buf none = BUF_INIT;
    if (q->d->mount)
        mount_read_text(q->d->mount, ".p2p/waiting", q->d->mail, on_waiting, ctl_ref(q));
    else
        on_waiting(ctl_ref(q), 0, &none);
}

void api_events(struct ctl_request *q)
{
    event_log_answer(q->d->events, q, ctl_flag(q, "follow"));
}

/* ---- limits, config ---- */

static void order_answer(struct order *o)
{
    struct ctl_request *q = o->arg;
    if (o->result < 0)
        ctl_fail(q, o->result, NULL, "%s", o->why.text);
    else
        ctl_json(q, o->info ? json_incref(o->info) : json_object());
    ctl_unref(q);
}

void api_limits(struct ctl_request *q)
{
    const char *name = ctl_param(q, "name"), *value = ctl_param(q, "value");
    if (evhttp_request_get_command(q->http) == EVHTTP_REQ_GET) {
        json_t *rows = view_limits(q->d), *row;
        size_t i;
        ctl_begin(q, "application/x-ndjson");
        json_array_foreach(rows, i, row) ctl_line(q, json_incref(row));
        ctl_end(q);
        json_decref(rows);
        return;
    }
    if (!name || !value || strpbrk(name, " \t\n") || strpbrk(value, " \t\n")) {
        ctl_fail(q, ERR_INVALID, "p2p limits", "a limit needs a name and a value, one word each");
        return;
    }
    struct buf line = BUF_INIT;
    buf_printf(&line, "limits %s %s", name, value);
    order_run(q->d, buf_cstr(&line), order_answer, ctl_ref(q));
    buf_done(&line);
}

void api_config(struct ctl_request *q)
{
    struct buf value = BUF_INIT;
    ctl_begin(q, "application/x-ndjson");
    for (int i = 0; i < CONFIG_COUNT; i++) {
        buf_clear(&value);
        config_print(q->d->config, (enum config_id)i, &value);
        ctl_line(q, json_pack("{ss ss sb ss}", "key", config_options[i].name, "value", buf_cstr(&value), "set",
                              (int)config_is_set(q->d->config, (enum config_id)i), "help", config_options[i].help));
    }
    ctl_end(q);
    buf_done(&value);
}

void api_config_reload(struct ctl_request *q)
{
    order_run(q->d, "reload", order_answer, ctl_ref(q));
}

/* ---- shutdown ---- */

static void on_answered(struct evhttp_request *http, void *arg)
{
    (void)http;
    daemon_stop(arg);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    daemon_stop(arg);
}

/* Stops when the answer has left; or soon, if the asker does not take it. */
void api_shutdown(struct ctl_request *q)
{
    struct daemon *d = q->d;
    ctl_header(q, "Connection", "close");
    evhttp_request_set_on_complete_cb(q->http, on_answered, d);
    event_base_once(d->base, -1, EV_TIMEOUT, on_late, d, &(struct timeval){1, 0});
    ctl_json(q, json_pack("{si}", "pid", (int)getpid()));
}
