/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_path.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

static int unpin(struct api *a, const char *operand)
{
    struct buf target = BUF_INIT;
    char *path = NULL;
    int r = cli_path(a, operand, &path);
    if (r == 0) {
        api_target(&target, "/v1/unpin", (struct api_param[]){{"path", path}}, 1);
        r = api_json(a, "POST", buf_cstr(&target), SPAN_NONE, NULL);
    }
    cli_path_free(path);
    buf_done(&target);
    return r;
}

static int run(struct cli *c)
{
    return cli_work_each(c, unpin);
}

const struct cli_command sub_unpin = {
    .name = "unpin",
    .operands = "PATH…",
    .summary = "no longer keep a DAG: it becomes cache",
    .least = 1,
    .most = CLI_ANY,
    .run = run,
};
