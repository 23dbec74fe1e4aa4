/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"

#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_text.h"
#include "store/repo/repo.h"

#include <stdio.h>

#define LINE_MAX_BYTES (UINT32_C(16) << 20)

int api_socket_path(const char *name, char *path, struct why *why)
{
    struct repo_paths paths;
    int r = repo_paths(&paths, why);
    if (r < 0)
        return r;
    if (snprintf(path, PATH_MAX, "%s/%s", paths.run, name) >= PATH_MAX)
        return why_set(why, ERR_NAME_LONG, "the path of the control socket is too long");
    return 0;
}

int api_no_node(struct cli *c, int err, const char *path)
{
    if (err == ERR_NOT_RUNNING)
        return cli_fail(c, err, "p2p up", "the node is not running (no answer at %s)", path);
    if (err == ERR_DENIED)
        return cli_fail(c, err, "p2p doctor", "%s is another user's: nothing was sent to it", path);
    return cli_fail(c, err, "p2p doctor", "cannot reach the node at %s: %s", path, err_text(err));
}

int api_open(struct api *a, struct cli *c)
{
    char path[PATH_MAX];
    struct why why = {""};
    *a = (struct api){.c = c};
    int r = api_socket_path("control", path, &why);
    if (r < 0)
        return cli_fail(c, r, NULL, "%s", why.text);
    r = http_client_open(&a->http, path);
    return r < 0 ? api_no_node(c, r, path) : 0;
}

void api_close(struct api *a)
{
    a->http = http_client_close(a->http);
}

void api_target(struct buf *out, const char *path, const struct api_param *params, unsigned count)
{
    buf_add_str(out, path);
    char sep = '?';
    for (unsigned i = 0; i < count; i++) {
        if (!params[i].value)
            continue;
        buf_printf(out, "%c%s=", sep, params[i].name);
        cli_text_url(out, params[i].value);
        sep = '&';
    }
    (void)buf_cstr(out);
}

const char *api_text(json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

static int hex_digit(char c)
{
    const char *digits = "0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

const char *api_bytes(json_t *object, const char *key, struct buf *space)
{
    char other[64];
    const char *text = json_string_value(json_object_get(object, key));
    buf_clear(space);
    if (text) {
        buf_add_str(space, text);
        return buf_cstr(space);
    }
    snprintf(other, sizeof other, "%s_encoded", key);
    for (text = api_text(object, other); *text; text++) {
        int high = *text == '%' ? hex_digit(text[1]) : -1, low = high >= 0 ? hex_digit(text[2]) : -1;
        buf_add_u8(space, low >= 0 ? (uint8_t)(high << 4 | low) : (uint8_t)*text);
        text += low >= 0 ? 2 : 0;
    }
    return buf_cstr(space);
}

uint64_t api_u64(json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

int api_code(const char *name)
{
    for (int rank = 1; rank < ERR_RANK_END; rank++)
        if (strcmp(err_name(-rank), name) == 0)
            return -rank;
    return ERR_FAILED;
}

/* An error object {"error", "message", "try"} in the node's words; its code. */
int api_say(const struct api *a, json_t *error)
{
    int code = api_code(api_text(error, "error"));
    const char *message = api_text(error, "message"), *about = a->about ? a->about : "";
    return cli_fail(a->c, code, api_text(error, "try"), "%s%s%s", about, *about ? ": " : "",
                    *message ? message : err_text(code));
}

static int say_transport(struct api *a, int err)
{
    if (err == ERR_INTERRUPTED)
        return err; /* who pressed Ctrl-C knows */
    if (err == ERR_NOT_RUNNING)
        return cli_fail(a->c, err, "p2p up", "the node is not running");
    return cli_fail(a->c, err == ERR_RESET || err == ERR_TRUNCATED ? ERR_NOT_RUNNING : err, "p2p status",
                    "the node broke off its answer: %s", err_text(err));
}

static int say_body(struct api *a, int status)
{
    struct buf body = BUF_INIT;
    int r = http_read_all(a->http, &body, API_ANSWER_MAX);
    json_error_t je;
    json_t *error = r == 0 ? json_loadb(buf_cstr(&body), buf_len(&body), 0, &je) : NULL;
    if (json_is_object(error))
        r = api_say(a, error);
    else
        r = cli_fail(a->c, status == 404 ? ERR_UNSUPPORTED : ERR_FAILED, "p2p version", "the node answered with status %d",
                     status);
    json_decref(error);
    buf_done(&body);
    return r;
}

int api_begin(struct api *a, const char *method, const char *target, struct span body)
{
    int status = http_request(a->http, method, target, body);
    if (status < 0)
        return say_transport(a, status);
    return status >= 200 && status < 300 ? 0 : say_body(a, status);
}

int api_json(struct api *a, const char *method, const char *target, struct span body, json_t **ret)
{
    int r = api_begin(a, method, target, body);
    if (r < 0)
        return r;
    struct buf text = BUF_INIT;
    json_t *v = NULL;
    json_error_t je;
    r = http_read_all(a->http, &text, API_ANSWER_MAX);
    if (r < 0)
        r = say_transport(a, r);
    else if (!(v = json_loadb(buf_cstr(&text), buf_len(&text), JSON_DECODE_ANY, &je)))
        r = cli_fail(a->c, ERR_PROTOCOL, NULL, "the node's answer is not JSON: %s", je.text);
    buf_done(&text);
    if (r == 0 && ret)
        *ret = v;
    else
        json_decref(v);
    return r;
}

int api_broken(struct api *a, int err)
{
    if (err == ERR_INTERRUPTED)
        return err;
    const char *id = http_header(a->http, "X-P2P-Request");
    char target[96];
    if (!id || err != ERR_TRUNCATED)
        return say_transport(a, err);
    snprintf(target, sizeof target, "/v1/failures/%.20s", id);
    int status = http_request(a->http, "GET", target, SPAN_NONE);
    return status == 200 ? say_body(a, status) : say_transport(a, err);
}

static int one_line(struct api *a, struct span line, int (*each)(void *, json_t *), void *arg)
{
    json_error_t je;
    json_t *row = json_loadb((const char *)line.data, line.len, 0, &je);
    if (!row)
        return cli_fail(a->c, ERR_PROTOCOL, NULL, "the node's answer is not JSON: %s", je.text);
    int r = json_object_get(row, "error") && json_object_get(row, "message") ? api_say(a, row) : each(arg, row);
    json_decref(row);
    return r;
}

static int lines_in(struct api *a, struct buf *in, int (*each)(void *, json_t *), void *arg)
{
    for (;;) {
        struct span s = buf_span(in);
        const uint8_t *nl = s.len ? memchr(s.data, '\n', s.len) : NULL;
        if (!nl)
            return s.len > LINE_MAX_BYTES ? cli_fail(a->c, ERR_PROTOCOL, NULL, "the node sent a line without an end") : 0;
        size_t len = (size_t)(nl - s.data);
        int r = len ? one_line(a, span_sub(s, 0, len), each, arg) : 0;
        buf_consume(in, len + 1);
        if (r < 0)
            return r;
    }
}

int api_lines(struct api *a, const char *method, const char *target, int (*each)(void *arg, json_t *row), void *arg)
{
    int r = api_begin(a, method, target, SPAN_NONE);
    struct buf in = BUF_INIT;
    while (r == 0) {
        uint8_t *at = buf_reserve(&in, 65536);
        int n = http_read(a->http, at, 65536);
        if (n < 0)
            r = api_broken(a, n);
        if (n <= 0)
            break;
        buf_commit(&in, (size_t)n);
        r = lines_in(a, &in, each, arg);
    }
    buf_done(&in);
    return r;
}

static int print_row(void *arg, json_t *row)
{
    cli_table_row(arg, row);
    return ferror(stdout) ? ERR_CLOSED : 0; /* `p2p ls | head` */
}

int api_print_list(struct cli *c, const char *target, const struct cli_column *columns)
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    struct cli_table *t = cli_table_new(c, columns);
    r = api_lines(&a, "GET", target, print_row, t);
    if (r == 0)
        cli_table_flush(t);
    cli_table_end(t);
    api_close(&a);
    return r == ERR_CLOSED ? 0 : r;
}

int api_print_record(struct cli *c, const char *method, const char *target, const struct cli_column *columns)
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    json_t *v = NULL;
    r = api_json(&a, method, target, SPAN_NONE, &v);
    if (r == 0)
        cli_record(c, columns, v);
    json_decref(v);
    api_close(&a);
    return r;
}
