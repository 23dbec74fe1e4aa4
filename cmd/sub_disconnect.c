/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/subs.h"

static int run(struct cli *c)
{
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    struct buf target = BUF_INIT;
    api_target(&target, "/v1/disconnect", (struct api_param[]){{"peer", c->operands[0]}}, 1);
    r = api_json(&a, "POST", buf_cstr(&target), SPAN_NONE, NULL);
    buf_done(&target);
    api_close(&a);
    return r;
}

const struct cli_command sub_disconnect = {
    .name = "disconnect",
    .operands = "PEER",
    .summary = "close every connection to a peer",
    .least = 1,
    .most = 1,
    .run = run,
};
