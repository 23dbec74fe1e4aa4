/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

#include <stdio.h>

static const struct cli_column columns[] = {
    {"id", "id", CLI_TEXT},
    {"version", "version", CLI_TEXT},
    {"uptime", "uptime", CLI_SECONDS},
    {"online", "online", CLI_YES},
    {"mount", "mount", CLI_TEXT},
    {"peers connected", "peers_connected", CLI_COUNT},
    {"peers known", "peers_known", CLI_COUNT},
    {"address", "address", CLI_TEXT},
    {"store used", "store_used", CLI_BYTES},
    {"store limit", "store_limit", CLI_BYTES},
    {"store blocks", "store_blocks", CLI_COUNT},
    {"disk free", "disk_free", CLI_BYTES},
    {"memory used", "memory_used", CLI_BYTES},
    {"memory limit", "memory_limit", CLI_BYTES},
    {"received", "bytes_in", CLI_BYTES},
    {"sent", "bytes_out", CLI_BYTES},
    {"receiving/s", "rate_in", CLI_BYTES},
    {"sending/s", "rate_out", CLI_BYTES},
    {"waiting", "waiting", CLI_COUNT},
    {"dns", "dns", CLI_TEXT},
    {"state", "state", CLI_TEXT},
    {NULL, NULL, CLI_TEXT},
};

static int run(struct cli *c)
{
    return api_print_record(c, "GET", "/v1/status", columns);
}

const struct cli_command sub_status = {
    .name = "status",
    .operands = "",
    .summary = "is the node working, and if not, what to do",
    .details = "The last line is a sentence: \"working\", or what is wrong and what to do about it.",
    .run = run,
};
