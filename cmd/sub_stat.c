/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_path.h"
#include "cmd/subs.h"

static const struct cli_column columns[] = {
    {"path", "path", CLI_TEXT},          {"cid", "cid", CLI_TEXT},       {"type", "type", CLI_TEXT},
    {"size", "size", CLI_BYTES},         {"links", "links", CLI_COUNT},  {"block size", "block_size", CLI_BYTES},
    {"DAG size", "dag_size", CLI_BYTES}, {"target", "target", CLI_TEXT}, {"mode", "mode", CLI_TEXT},
    {"modified", "mtime", CLI_TEXT},     {"pinned", "pinned", CLI_YES},  {NULL, NULL, CLI_TEXT},
};

static int run(struct cli *c)
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    cli_catch_interrupts();
    struct buf target = BUF_INIT;
    char *path = NULL;
    json_t *v = NULL;
    r = cli_path(&a, c->operands[0], &path);
    if (r == 0) {
        api_target(&target, "/v1/stat", (struct api_param[]){{"path", path}}, 1);
        r = api_json(&a, "GET", buf_cstr(&target), SPAN_NONE, &v);
    }
    if (r == 0)
        cli_record(c, columns, v);
    json_decref(v);
    cli_path_free(path);
    buf_done(&target);
    api_close(&a);
    return r;
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
