/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

#include <stdio.h>

static const struct cli_option options[] = {
    {"follow", 'f', NULL, "go on with new ones until interrupted"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"time", "time", CLI_TEXT}, {"event", "kind", CLI_TEXT}, {"text", "text", CLI_PROSE}, {NULL, NULL, CLI_TEXT}};

static int print_now(void *arg, json_t *row)
{
    struct cli *c = arg;
    struct cli_table *t = cli_table_new(c, columns);
    bool quiet = c->quiet;
    c->quiet = true; /* no header for each row */
    cli_table_row(t, row);
    cli_table_end(t);
    c->quiet = quiet;
    fflush(stdout);
    return ferror(stdout) ? ERR_CLOSED : 0;
}

static int follow(struct api *a)
{
    return api_lines(a, "GET", "/v1/events?follow=1", print_now, a->c);
}

static int run(struct cli *c)
{
    if (!cli_has(c, "follow"))
        return api_print_list(c, "/v1/events", columns);
    int r = cli_work(c, follow);
    return r == ERR_CLOSED ? 0 : r;
}

const struct cli_command sub_events = {
    .name = "events",
    .operands = "",
    .summary = "what happened lately",
    .options = options,
    .run = run,
};
