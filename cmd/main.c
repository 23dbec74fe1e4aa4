/* SPDX-License-Identifier: MIT
 *
 * The program: a table of subcommands. */
#include "cmd/subs.h"

#include <stddef.h>

const struct cli_command *const sub_table[] = {
#define X(name) &sub_##name,
    SUBCOMMANDS(X)
#undef X
        NULL};

int main(int argc, char **argv)
{
    return cli_main(sub_table, argc, argv);
}
