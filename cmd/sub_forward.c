/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_service.h"
#include "cmd/subs.h"

static const struct cli_option options[] = {
    {"listen", 'l', "IP", "listen on this address instead of 127.0.0.1"},
    {"remove", 'r', NULL, "no longer forward from there"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"from", "from", CLI_TEXT},       {"to", "peer_text", CLI_TEXT},     {"service", "service", CLI_TEXT},
    {"open", "open", CLI_COUNT},      {"total", "total", CLI_COUNT},     {"received", "bytes_in", CLI_BYTES},
    {"sent", "bytes_out", CLI_BYTES}, {"dropped", "dropped", CLI_COUNT}, {"state", "state_text", CLI_TEXT},
    {NULL, NULL, CLI_TEXT},
};

/* A bare port with --listen gets its address */
static void add_place(struct cli *c, struct buf *line)
{
    const char *place = c->operands[1], *ip = cli_value(c, "listen");
    struct buf whole = BUF_INIT;
    if (ip && !strchr(place, ':') && *place != '/')
        buf_printf(&whole, strchr(ip, ':') && *ip != '[' ? "[%s]:%s" : "%s:%s", ip, place);
    else
        buf_add_str(&whole, place);
    service_add_word(line, buf_span(&whole));
    buf_done(&whole);
}

static int run(struct cli *c)
{
    bool remove = cli_has(c, "remove");
    struct buf line = BUF_INIT;
    struct span peer, service;
    if (c->count == 0 && !remove)
        return service_list(c, "/v1/forwards", columns);
    if (remove ? c->count != 2 : c->count != 3)
        return cli_fail(c, ERR_USAGE, "p2p forward --help", "forward takes nothing, or KIND FROM PEER/SERVICE");
    buf_add_str(&line, remove ? "unforward" : "forward");
    service_add_word(&line, span_str(c->operands[0]));
    add_place(c, &line);
    if (!remove) {
        int r = service_split(c, c->operands[2], &peer, &service);
        if (r < 0) {
            buf_done(&line);
            return r;
        }
        service_add_word(&line, peer);
        service_add_word(&line, service);
    }
    struct api a;
    int r = api_open(&a, c);
    if (r == 0) {
        r = service_send(&a, &line);
        api_close(&a);
    }
    buf_done(&line);
    return r;
}

const struct cli_command sub_forward = {
    .name = "forward",
    .operands = "[KIND FROM [PEER/SERVICE]]",
    .summary = "lead a local port or socket to a peer's service; or list them",
    .details =
        "KIND and FROM: tcp [IP:]PORT, udp [IP:]PORT, unix PATH. Each connection dials the peer anew, so it may come and go.\n"
        "It stays until --remove, over restarts.",
    .options = options,
    .most = 3,
    .run = run,
};
