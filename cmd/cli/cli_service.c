/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_service.h"

#include "cmd/cli/cli_output.h"
#include "store/base/units.h"

#include <stdio.h>

void service_add_word(struct buf *line, struct span word)
{
    buf_add_str(line, " \"");
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] == '"' || word.data[i] == '\\')
            buf_add_u8(line, '\\');
        buf_add_u8(line, word.data[i]);
    }
    buf_add_u8(line, '"');
}

int service_send(struct api *a, struct buf *take_line)
{
    int r = api_json(a, "POST", "/v1/services", buf_span(take_line), NULL);
    buf_done(take_line);
    return r;
}

int service_split(struct cli *c, const char *text, struct span *ret_peer, struct span *ret_service)
{
    const char *slash = strchr(text, '/');
    if (!slash || slash == text || !slash[1])
        return cli_fail(c, ERR_USAGE, "p2p peers", "'%s' is not PEER/SERVICE", text);
    *ret_peer = span_of(text, (size_t)(slash - text));
    *ret_service = span_str(slash + 1);
    return 0;
}

int service_size(struct cli *c, const char *text, uint64_t *ret)
{
    if (size_parse(span_str(text), ret) == 0)
        return 0;
    return cli_fail(c, ERR_USAGE, NULL, "'%s' is not a size", text);
}

/* ---- lists ---- */

static void put_allowed(json_t *row)
{
    json_t *list = json_object_get(row, "allowed"), *one;
    struct buf text = BUF_INIT;
    size_t i;
    if (!list)
        return;
    json_array_foreach(list, i, one) buf_printf(&text, "%s%s", i ? "," : "", json_string_value(one));
    json_object_set_new(row, "allowed_text", json_string(buf_len(&text) ? buf_cstr(&text) : "nobody"));
    buf_done(&text);
}

static void put_texts(json_t *row)
{
    const char *name = api_text(row, "petname"), *fault = api_text(row, "fault");
    put_allowed(row);
    json_object_set_new(row, "peer_text", json_string(*name ? name : api_text(row, "peer")));
    json_object_set_new(row, "state_text", json_string(*fault ? fault : "listening"));
}

struct listing {
    struct cli *c;
    struct cli_table *table;
};

static int print_row(void *arg, json_t *row)
{
    struct listing *l = arg;
    if (!l->c->json)
        put_texts(row);
    cli_table_row(l->table, row);
    return ferror(stdout) ? ERR_CLOSED : 0;
}

int service_list(struct cli *c, const char *target, const struct cli_column *columns)
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    struct listing l = {c, cli_table_new(c, columns)};
    r = api_lines(&a, "GET", target, print_row, &l);
    if (r == 0)
        cli_table_flush(l.table);
    cli_table_end(l.table);
    api_close(&a);
    return r == ERR_CLOSED ? 0 : r;
}
