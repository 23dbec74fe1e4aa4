/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

static int disconnect(struct api *a)
{
    struct buf target = BUF_INIT;
    api_target(&target, "/v1/disconnect", (struct api_param[]){{"peer", a->c->operands[0]}}, 1);
    int r = api_json(a, "POST", buf_cstr(&target), SPAN_NONE, NULL);
    buf_done(&target);
    return r;
}

static int run(struct cli *c)
{
    return cli_work(c, disconnect);
}

const struct cli_command sub_disconnect = {
    .name = "disconnect",
    .operands = "PEER",
    .summary = "close every connection to a peer",
    .least = 1,
    .most = 1,
    .run = run,
};
