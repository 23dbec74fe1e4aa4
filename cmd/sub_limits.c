/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

static const struct cli_column columns[] = {
    {"limit", "name", CLI_TEXT}, {"value", "value", CLI_TEXT}, {"used", "used", CLI_TEXT}, {NULL, NULL, CLI_TEXT}};

static int change(struct cli *c)
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    struct buf target = BUF_INIT;
    api_target(&target, "/v1/limits", (struct api_param[]){{"name", c->operands[0]}, {"value", c->operands[1]}}, 2);
    r = api_json(&a, "POST", buf_cstr(&target), SPAN_NONE, NULL);
    buf_done(&target);
    api_close(&a);
    return r;
}

static int run(struct cli *c)
{
    if (c->count == 1)
        return cli_fail(c, ERR_USAGE, "p2p limits", "limits takes nothing, or a name and a value");
    return c->count == 2 ? change(c) : api_print_list(c, "/v1/limits", columns);
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
