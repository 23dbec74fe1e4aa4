/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

#include <stdio.h>

static int run(struct cli *c)
{
    if (c->json)
        printf("{\"version\":\"%s\"}\n", P2P_VERSION);
    else
        printf("p2p %s\n", P2P_VERSION);
    return 0;
}

const struct cli_command sub_version = {
    .name = "version",
    .operands = "",
    .summary = "the version of this program",
    .details = "The node's own version, if another one runs, is in 'p2p status'.",
    .run = run,
};
