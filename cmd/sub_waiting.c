/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

#include <stdio.h>

static const struct cli_column columns[] = {
    {"pid", "pid", CLI_COUNT}, {"program", "program", CLI_TEXT}, {"seconds", "seconds", CLI_SECONDS},
    {"why", "why", CLI_TEXT},  {"path", "path", CLI_TEXT},       {NULL, NULL, CLI_TEXT},
};

static int run(struct cli *c)
{
    return api_print_list(c, "/v1/waiting", columns);
}

const struct cli_command sub_waiting = {
    .name = "waiting",
    .operands = "",
    .summary = "what waits for the network at this moment, and why",
    .details = "Requests of the mount and of the control socket. The same as .p2p/waiting, with our own requests added.",
    .run = run,
};
