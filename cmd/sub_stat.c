/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_fetch.h"
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

static const struct cli_column columns[] = {
    {"path", "path", CLI_TEXT},          {"cid", "cid", CLI_TEXT},       {"type", "type", CLI_TEXT},
    {"size", "size", CLI_BYTES},         {"links", "links", CLI_COUNT},  {"block size", "block_size", CLI_BYTES},
    {"DAG size", "dag_size", CLI_BYTES}, {"target", "target", CLI_TEXT}, {"mode", "mode", CLI_TEXT},
    {"modified", "mtime", CLI_TEXT},     {"pinned", "pinned", CLI_YES},  {NULL, NULL, CLI_TEXT},
};

static int show(struct api *a, const char *path)
{
    struct buf target = BUF_INIT;
    struct progress p;
    json_t *v = NULL;
    cli_wait_begin(a, &p, path);
    api_target(&target, "/v1/stat", (struct api_param[]){{"path", path}}, 1);
    int r = api_json(a, "GET", buf_cstr(&target), SPAN_NONE, &v);
    cli_wait_end(a, &p);
    if (r == 0)
        cli_record(a->c, columns, v);
    json_decref(v);
    buf_done(&target);
    return r;
}

static int run(struct cli *c)
{
    return cli_work_path(c, c->operands[0], show);
}

const struct cli_command sub_stat = {
    .name = "stat",
    .operands = "PATH",
    .summary = "what a CID or path is: kind, size, links, pinned or not",
    .details = "'DAG size' is what the links claim: all blocks below, counted each time they occur.",
    .least = 1,
    .most = 1,
    .run = run,
};
