/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/subs.h"

static const struct cli_column leases[] = {
    {"name", "name", CLI_TEXT},    {"address", "address", CLI_TEXT}, {"connections", "connections", CLI_COUNT},
    {"idle", "idle", CLI_SECONDS}, {"ports", "ports", CLI_PROSE},    {"udp ports", "udp_ports", CLI_PROSE},
    {NULL, NULL, CLI_TEXT},
};

static const struct cli_column one[] = {
    {"name", "name", CLI_TEXT},
    {"address", "address", CLI_TEXT},
    {"peer", "peer", CLI_TEXT},
    {"service", "service", CLI_TEXT},
    {"ports", "ports", CLI_PROSE},
    {"taken by others", "taken", CLI_PROSE},
    {"denied by the system", "denied", CLI_PROSE},
    {"udp ports", "udp_ports", CLI_PROSE},
    {"udp taken by others", "udp_taken", CLI_PROSE},
    {"udp denied by the system", "udp_denied", CLI_PROSE},
    {NULL, NULL, CLI_TEXT},
};

static int run(struct cli *c)
{
    struct buf target = BUF_INIT;
    if (!c->count)
        return api_print_list(c, "/v1/dns", leases);
    api_target(&target, "/v1/dns", &(struct api_param){"name", c->operands[0]}, 1);
    int r = api_print_record(c, "GET", buf_cstr(&target), one);
    buf_done(&target);
    return r;
}

const struct cli_command sub_dns = {
    .name = "dns",
    .operands = "[NAME]",
    .summary = "the addresses of peers below .overlay, or what a name stands for",
    .details = "With a name: its address, on which ports it is listened on, and which could not be had.\n"
               "How to make the system ask the node for names: man 7 p2p-dns.",
    .most = 1,
    .run = run,
};
