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
    unsigned rows;
};

/* Without NAME each; else the limit of that name, and its parts: memory.read of memory */
static bool is_asked(const struct cli *c, const char *name)
{
    size_t n = c->count ? strlen(c->operands[0]) : 0;
    return c->count == 0 || (strncmp(name, c->operands[0], n) == 0 && (name[n] == 0 || name[n] == '.'));
}

/* Bytes, bytes a second, and in one row connections: a terminal is told which. */
static int print_row(void *arg, json_t *row)
{
    struct listing *l = arg;
    char size[UNITS_TEXT_SIZE];
    if (!is_asked(l->c, api_text(row, "name")))
        return 0;
    l->rows++;
    if (l->c->out_tty && !l->c->json && strcmp(api_text(row, "name"), "connections") != 0)
        json_object_set_new(row, "used", json_string(size_text(api_u64(row, "used"), size)));
    cli_table_row(l->t, row);
    return 0;
}

static int list(struct api *a)
{
    struct listing l = {a->c, cli_table_new(a->c, columns), 0};
    int r = api_lines(a, "GET", "/v1/limits", print_row, &l);
    cli_table_end(l.t);
    return r == 0 && l.rows == 0 ? cli_fail(a->c, ERR_INVALID, "p2p limits", "there is no limit '%s'", a->c->operands[0]) : r;
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
    return cli_work(c, c->count == 2 ? change : list);
}

const struct cli_command sub_limits = {
    .name = "limits",
    .operands = "[NAME [VALUE]]",
    .summary = "show or change limits of the running node",
    .details =
        "NAME is memory, quota, upload, download or connections. VALUE is a size such as 512M or 10G, a number, or none.\n"
        "A change takes effect at once and is written into the config file.",
    .most = 2,
    .run = run,
};
