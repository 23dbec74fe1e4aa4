/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_service.h"
#include "cmd/cli/cli_stream.h"
#include "cmd/subs.h"

static const struct cli_option options[] = {
    {"allow", 'a', "PEER…", "this peer may dial it: a petname, a peer id, or any"},
    {"deny", 'd', "PEER…", "it may no longer"},
    {"connections", 'n', "NUMBER", "at most so many streams at once; 0: no limit"},
    {"rate", 0, "SIZE", "bytes a second, of all its streams together; 0: no limit"},
    {"feed", 'f', NULL, "of a live service: write standard input to it, until its end"},
    {"remove", 'r', NULL, "no longer offer it"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"service", "name", CLI_TEXT},    {"target", "target", CLI_TEXT},    {"allowed", "allowed_text", CLI_TEXT},
    {"open", "open", CLI_COUNT},      {"total", "total", CLI_COUNT},     {"received", "bytes_in", CLI_BYTES},
    {"sent", "bytes_out", CLI_BYTES}, {"dropped", "dropped", CLI_COUNT}, {NULL, NULL, CLI_TEXT},
};

/* One line for each value of an option that may be repeated */
static int each_value(struct api *a, const char *option, const char *verb, const char *tail)
{
    const char *values = cli_value(a->c, option);
    int r = 0;
    while (values && *values && r == 0) {
        size_t n = strcspn(values, "\n");
        struct buf line = BUF_INIT;
        buf_printf(&line, "%s %s%s", verb, a->c->operands[0], tail);
        service_add_word(&line, span_of(values, n));
        r = service_send(a, &line);
        values += n + (values[n] == '\n');
    }
    return r;
}

static int rate(struct api *a)
{
    const char *text = cli_value(a->c, "rate");
    struct buf line = BUF_INIT;
    uint64_t bytes;
    if (!text)
        return 0;
    int r = service_size(a->c, text, &bytes);
    if (r < 0)
        return r;
    buf_printf(&line, "limit %s rate %llu", a->c->operands[0], (unsigned long long)bytes);
    return service_send(a, &line);
}

static int change(struct api *a)
{
    struct cli *c = a->c;
    struct buf line = BUF_INIT;
    int r = 0;
    if (cli_has(c, "remove")) {
        buf_printf(&line, "unoffer %s", c->operands[0]);
        return service_send(a, &line);
    }
    if (c->count > 1) {
        buf_add_str(&line, "offer");
        for (unsigned i = 0; i < c->count; i++)
            service_add_word(&line, span_str(c->operands[i]));
        r = service_send(a, &line);
    }
    if (r == 0)
        r = each_value(a, "allow", "allow", "");
    if (r == 0)
        r = each_value(a, "deny", "deny", "");
    if (r == 0)
        r = each_value(a, "connections", "limit", " connections");
    return r < 0 ? r : rate(a);
}

static int feed(struct cli *c)
{
    struct buf line = BUF_INIT;
    int control;
    buf_printf(&line, "feed %s", c->operands[0]);
    cli_catch_interrupts();
    int r = stream_ask(c, &line, &control);
    return r < 0 ? r : stream_splice(c, control, r);
}

static int run(struct cli *c)
{
    bool changes = cli_has(c, "remove") || cli_has(c, "allow") || cli_has(c, "deny") || cli_has(c, "connections") ||
                   cli_has(c, "rate") || cli_has(c, "feed");
    if (c->count == 0 && !changes)
        return service_list(c, "/v1/offers", columns);
    if (c->count == 0 || (c->count == 1 && !changes) || (c->count > 1 && cli_has(c, "remove")))
        return cli_fail(c, ERR_USAGE, "p2p offer --help", "offer takes nothing, or NAME KIND TARGET, or NAME and a change");
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    r = change(&a);
    api_close(&a);
    return r == 0 && cli_has(c, "feed") ? feed(c) : r;
}

const struct cli_command sub_offer = {
    .name = "offer",
    .operands = "[NAME [KIND [TARGET…]]]",
    .summary = "offer a service to peers; without NAME: list what is offered",
    .details = "KIND and TARGET: tcp [IP:]PORT, udp [IP:]PORT, unix PATH, exec PROGRAM [ARGUMENT…], file PATH, echo, live.\n"
               "What follows exec is the program's, options too.\n"
               "Nobody may dial it until --allow says who. It stays until --remove, over restarts.",
    .options = options,
    .most = CLI_ANY,
    .run = run,
    .verbatim = "exec",
};
