/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_api.h"
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_service.h"
#include "cmd/subs.h"

static const struct cli_option options[] = {
    {"by-address", 'a', NULL, "what each IP address had, since the start"},
    {"hangup", 0, "STREAM…", "end a stream, by its number"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"stream", "stream", CLI_COUNT},  {"dir", "direction", CLI_TEXT},
    {"peer", "peer_text", CLI_TEXT},  {"service", "service", CLI_TEXT},
    {"state", "state", CLI_TEXT},     {"received", "bytes_in", CLI_BYTES},
    {"sent", "bytes_out", CLI_BYTES}, {"dropped", "dropped", CLI_COUNT},
    {"age", "seconds", CLI_SECONDS},  {"local", "local", CLI_TEXT},
    {NULL, NULL, CLI_TEXT},
};

static const struct cli_column address_columns[] = {
    {"address", "address", CLI_TEXT},    {"open", "open", CLI_COUNT},      {"total", "total", CLI_COUNT},
    {"received", "bytes_in", CLI_BYTES}, {"sent", "bytes_out", CLI_BYTES}, {"dropped", "dropped", CLI_COUNT},
    {"time", "seconds", CLI_SECONDS},    {NULL, NULL, CLI_TEXT},
};

static int run(struct cli *c)
{
    const char *values = cli_value(c, "hangup");
    if (cli_has(c, "by-address"))
        return service_list(c, "/v1/streams/addresses", address_columns);
    if (!values)
        return service_list(c, "/v1/streams", columns);
    struct api a;
    int r = api_open(&a, c);
    if (r < 0)
        return r;
    while (*values && r == 0) {
        size_t n = strcspn(values, "\n");
        struct buf line = BUF_INIT;
        buf_add_str(&line, "hangup");
        service_add_word(&line, span_of(values, n));
        r = service_send(&a, &line);
        values += n + (values[n] == '\n');
    }
    api_close(&a);
    return r;
}

const struct cli_command sub_streams = {
    .name = "streams",
    .operands = "",
    .summary = "list the streams of services, or end one",
    .options = options,
    .run = run,
};
