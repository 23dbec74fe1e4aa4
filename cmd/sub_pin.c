/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_fetch.h"
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_path.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

#include <stdio.h>

static const struct cli_option options[] = {
    {"name", 'n', "TEXT", "a name for the list"},
    {"background", 'b', NULL, "do not wait until everything is here"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"cid", "cid", CLI_TEXT},   {"state", "state", CLI_TEXT}, {"since", "since", CLI_TEXT},
    {"name", "name", CLI_TEXT}, {NULL, NULL, CLI_TEXT},
};

struct pinning {
    struct progress progress;
    json_t *last;
};

static int on_row(void *arg, json_t *row)
{
    struct pinning *p = arg;
    uint64_t bytes = api_u64(row, "bytes");
    progress_add(&p->progress, bytes > p->progress.done ? bytes - p->progress.done : 0);
    json_decref(p->last);
    p->last = json_incref(row);
    return 0;
}

static int pin(struct api *a, const char *operand)
{
    struct buf target = BUF_INIT;
    struct pinning p = {.last = NULL};
    char *path = NULL;
    int r = cli_path(a, operand, &path);
    if (r < 0)
        return r;
    api_target(&target, "/v1/pin",
               (struct api_param[]){
                   {"path", path}, {"name", cli_value(a->c, "name")}, {"wait", cli_has(a->c, "background") ? NULL : "1"}},
               3);
    progress_begin(&p.progress, a->c, operand, 0);
    cli_fetch_progress(a, &p.progress);
    http_client_tick(a->http, (struct http_tick){progress_tick, &p.progress});
    r = api_lines(a, "POST", buf_cstr(&target), on_row, &p);
    progress_end(&p.progress);
    http_client_tick(a->http, (struct http_tick){NULL, NULL});
    if (r == ERR_INTERRUPTED && p.last)
        cli_note(a->c, "It stays pinned and the node goes on fetching it. To let it go: p2p unpin %s", api_text(p.last, "cid"));
    if (r == 0 && p.last)
        cli_record(a->c, columns, p.last);
    json_decref(p.last);
    cli_path_free(path);
    buf_done(&target);
    return r;
}

static int run(struct cli *c)
{
    if (c->count == 0)
        return api_print_list(c, "/v1/pins", columns);
    return cli_work_each(c, pin);
}

const struct cli_command sub_pin = {
    .name = "pin",
    .operands = "[PATH…]",
    .summary = "keep a DAG, fetching what is not here; without PATH: list pins",
    .details =
        "A pin keeps everything below PATH until 'p2p unpin'. It survives restarts, and what is missing is fetched when\n"
        "somebody has it.",
    .options = options,
    .most = CLI_ANY,
    .run = run,
};
