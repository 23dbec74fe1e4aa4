/* SPDX-License-Identifier: MIT
 *
 * The frame of a subcommand that asks the node: opens the control socket, catches Ctrl-C, does the work, closes. What the work
 * returns is the exit status; it has said its failures.
 */
#ifndef CMD_CLI_CLI_WORK_H
#define CMD_CLI_CLI_WORK_H

#include "cmd/cli/cli_api.h"

int cli_work(struct cli *c, int (*work)(struct api *a));

/* With an operand that is a path (cli_path.h), resolved; `path` is borrowed for the call. */
int cli_work_path(struct cli *c, const char *operand, int (*work)(struct api *a, const char *path));

/* Once for each operand, going on after failures but not after Ctrl-C: ERR_PARTIAL when some failed and some did not. */
int cli_work_each(struct cli *c, int (*one)(struct api *a, const char *operand));

#endif
