/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

#include <stdio.h>

static const struct cli_option options[] = {
    {"all", 'a', NULL, "also peers that are not connected"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"peer", "id", CLI_TEXT},
    {"name", "petname", CLI_TEXT},
    {"connected", "connected", CLI_YES},
    {"lan", "lan", CLI_YES},
    {"rtt", "rtt", CLI_SECONDS},
    {"received", "block_bytes_in", CLI_BYTES},
    {"sent", "block_bytes_out", CLI_BYTES},
    {"address", "remote", CLI_TEXT},
    {"agent", "agent", CLI_TEXT},
    {NULL, NULL, CLI_TEXT},
};

static int run(struct cli *c)
{
    return api_print_list(c, cli_has(c, "all") ? "/v1/peers?all=1" : "/v1/peers", columns);
}

const struct cli_command sub_peers = {
    .name = "peers",
    .operands = "",
    .summary = "peers that are connected, and what was exchanged with them",
    .options = options,
    .run = run,
};
