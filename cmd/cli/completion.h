/* SPDX-License-Identifier: MIT
 *
 * Shell completion scripts, and the option tables as text, made from the tables of cli.h.
 */
#ifndef CMD_CLI_COMPLETION_H
#define CMD_CLI_COMPLETION_H

#include "cmd/cli/cli.h"

/* "bash", "zsh", "fish"; or "tables": a line `command TAB option TAB argument` for each option, for checks. Appends the
 * script; ERR_INVALID: no such shell. */
int completion_script(const struct cli_command *const *commands, const char *shell, struct buf *out);

#endif
