/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

static const struct cli_column columns[] = {{"peer", "id", CLI_TEXT}, {"rtt", "rtt", CLI_SECONDS}, {NULL, NULL, CLI_TEXT}};

static int run(struct cli *c)
{
    struct buf target = BUF_INIT;
    api_target(&target, "/v1/connect", (struct api_param[]){{"peer", c->operands[0]}}, 1);
    cli_catch_interrupts();
    int r = api_print_record(c, "POST", buf_cstr(&target), columns);
    buf_done(&target);
    return r;
}

const struct cli_command sub_connect = {
    .name = "connect",
    .operands = "ADDRESS|PEER",
    .summary = "connect to a peer by address, id or petname",
    .details = "ADDRESS is a multiaddr such as /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW….",
    .least = 1,
    .most = 1,
    .run = run,
};
