/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static const struct cli_option options[] = {
    {"count", 'c', "N", "so many pings, a second apart (3)"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"peer", "id", CLI_TEXT}, {"rtt", "rtt", CLI_SECONDS}, {"address", "remote", CLI_TEXT}, {NULL, NULL, CLI_TEXT}};

static int ping(struct api *a, const char *target, unsigned long count)
{
    struct cli_table *t = cli_table_new(a->c, columns);
    int r = 0;
    for (unsigned long i = 0; i < count && r == 0; i++) {
        if (i)
            poll(NULL, 0, 1000);
        if (cli_interrupted()) {
            r = ERR_INTERRUPTED;
            break;
        }
        json_t *row = NULL;
        r = api_json(a, "POST", target, SPAN_NONE, &row);
        if (r == 0) {
            cli_table_row(t, row);
            cli_table_flush(t);
        }
        json_decref(row);
    }
    cli_table_end(t);
    return r;
}

static int run(struct cli *c)
{
    char *end = NULL;
    unsigned long count = cli_has(c, "count") ? strtoul(cli_value(c, "count"), &end, 10) : 3;
    if ((end && (*end || end == cli_value(c, "count"))) || count == 0 || count > 1000000)
        return cli_fail(c, ERR_USAGE, NULL, "--count: '%s' is not a number from 1 to 1000000", cli_value(c, "count"));
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    struct buf target = BUF_INIT;
    api_target(&target, "/v1/ping", (struct api_param[]){{"peer", c->operands[0]}}, 1);
    cli_catch_interrupts();
    r = ping(&a, buf_cstr(&target), count);
    buf_done(&target);
    api_close(&a);
    return r;
}

const struct cli_command sub_ping = {
    .name = "ping",
    .operands = "PEER",
    .summary = "how far away a peer is: dials it if need be",
    .options = options,
    .least = 1,
    .most = 1,
    .run = run,
};
