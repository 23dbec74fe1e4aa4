/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_service.h"
#include "cmd/cli/cli_stream.h"
#include "cmd/subs.h"

static const struct cli_option options[] = {
    {"datagrams", 'u', NULL, "only a service of datagrams, not one of streams by that name"},
    {NULL, 0, NULL, NULL},
};

static int run(struct cli *c)
{
    struct span peer, service;
    struct buf line = BUF_INIT;
    int control, r = 0;
    if (c->count == 1)
        r = service_split(c, c->operands[0], &peer, &service);
    else
        peer = span_str(c->operands[0]), service = span_str(c->operands[1]);
    if (r < 0)
        return r;
    buf_add_str(&line, "dial ");
    buf_add_span(&line, peer);
    buf_add_u8(&line, ' ');
    buf_add_span(&line, service);
    if (cli_has(c, "datagrams"))
        buf_add_str(&line, " datagrams");
    cli_catch_interrupts();
    r = stream_ask(c, &line, &control);
    return r < 0 ? r : stream_splice(c, control, r);
}

const struct cli_command sub_dial = {
    .name = "dial",
    .operands = "PEER/SERVICE | PEER SERVICE",
    .summary = "open a peer's service on standard input and output",
    .details = "For ssh: ssh -o ProxyCommand='p2p dial bob/ssh' bob",
    .options = options,
    .least = 1,
    .most = 2,
    .run = run,
};
