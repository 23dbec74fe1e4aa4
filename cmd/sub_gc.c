/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

static const struct cli_column columns[] = {
    {"blocks freed", "blocks", CLI_COUNT}, {"bytes freed", "bytes", CLI_BYTES}, {NULL, NULL, CLI_TEXT}};

static int run(struct cli *c)
{
    cli_catch_interrupts();
    return api_print_record(c, "POST", "/v1/gc", columns);
}

const struct cli_command sub_gc = {
    .name = "gc",
    .operands = "",
    .summary = "drop every block that nothing refers to",
    .details = "Pins, share/ and what is open or being written stay. The node works on meanwhile.",
    .run = run,
};
