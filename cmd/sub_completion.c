/* SPDX-License-Identifier: MIT */
#include "cmd/cli/completion.h"
#include "cmd/subs.h"

#include <stdio.h>

static int run(struct cli *c)
{
    struct buf out = BUF_INIT;
    int r = completion_script(sub_table, c->operands[0], &out);
    if (r == 0)
        fwrite(buf_cstr(&out), 1, buf_len(&out), stdout);
    else
        cli_fail(c, r, "p2p completion bash", "there is no completion for '%s'; there is one for bash, zsh and fish",
                 c->operands[0]);
    buf_done(&out);
    return r;
}

const struct cli_command sub_completion = {
    .name = "completion",
    .operands = "bash|zsh|fish|tables",
    .summary = "a completion script for your shell",
    .details = "For bash and zsh: source <(p2p completion bash). For fish: p2p completion fish | source.\n"
               "'tables' prints commands and options for programs: command, option and argument, tab-separated.",
    .least = 1,
    .most = 1,
    .run = run,
};
