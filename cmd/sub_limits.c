/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"
#include "store/base/units.h"

static const struct cli_column columns[] = {
    {"limit", "name", CLI_TEXT}, {"value", "value", CLI_TEXT}, {"used", "used", CLI_TEXT}, {NULL, NULL, CLI_TEXT}};

struct listing {
    struct cli *c;
    struct cli_table *t;
};

/* Bytes, bytes a second, and in one row connections: a terminal is told which. */
static int print_row(void *arg, json_t *row)
{
    struct listing *l = arg;
    char size[UNITS_TEXT_SIZE];
    if (l->c->out_tty && !l->c->json && strcmp(api_text(row, "name"), "connections") != 0)
        json_object_set_new(row, "used", json_string(size_text(api_u64(row, "used"), size)));
    cli_table_row(l->t, row);
    return 0;
}

static int list(struct api *a)
{
    struct listing l = {a->c, cli_table_new(a->c, columns)};
    int r = api_lines(a, "GET", "/v1/limits", print_row, &l);
    cli_table_end(l.t);
    return r;
}

static int change(struct api *a)
{
    struct buf target = BUF_INIT;
    api_target(&target, "/v1/limits", (struct api_param[]){{"name", a->c->operands[0]}, {"value", a->c->operands[1]}}, 2);
    int r = api_json(a, "POST", buf_cstr(&target), SPAN_NONE, NULL);
    buf_done(&target);
    return r;
}

static int run(struct cli *c)
{
    if (c->count == 1)
        return cli_fail(c, ERR_USAGE, "p2p limits", "limits takes nothing, or a name and a value");
    return cli_work(c, c->count == 2 ? change : list);
}

const struct cli_command sub_limits = {
    .name = "limits",
    .operands = "[NAME VALUE]",
    .summary = "show or change limits of the running node",
    .details =
        "NAME is memory, quota, upload, download or connections. VALUE is a size such as 512M or 10G, a number, or none.\n"
        "The change takes effect at once and is written into the config file.",
    .most = 2,
    .run = run,
};
