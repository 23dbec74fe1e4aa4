/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_path.h"
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
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    cli_catch_interrupts();
    unsigned failed = 0;
    for (unsigned i = 0; i < c->count && !cli_interrupted(); i++) {
        int one = unpin(&a, c->operands[i]);
        failed += one < 0;
        r = one < 0 ? one : r;
    }
    api_close(&a);
    return failed && failed < c->count ? ERR_PARTIAL : r;
}

const struct cli_command sub_unpin = {
    .name = "unpin",
    .operands = "PATH…",
    .summary = "no longer keep a DAG: it becomes cache",
    .least = 1,
    .most = CLI_ANY,
    .run = run,
};
