/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_progress.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

static const struct cli_option options[] = {
    {"repair", 0, NULL, "drop damaged blocks, fetch again what is kept, correct counts"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column problems[] = {
    {"problem", "problem", CLI_TEXT}, {"cid", "cid", CLI_TEXT}, {"repaired", "repaired", CLI_YES}, {NULL, NULL, CLI_TEXT}};
static const struct cli_column summary[] = {
    {"blocks checked", "blocks", CLI_COUNT}, {"bytes checked", "bytes", CLI_BYTES}, {"not checkable", "unchecked", CLI_COUNT},
    {"problems", "problems", CLI_COUNT},     {"repaired", "repaired", CLI_COUNT},   {NULL, NULL, CLI_TEXT},
};

struct verifying {
    struct progress progress;
    struct cli_table *table;
    json_t *last;
};

static int on_row(void *arg, json_t *row)
{
    struct verifying *v = arg;
    if (json_object_get(row, "problem")) {
        cli_table_row(v->table, row);
        return 0;
    }
    uint64_t bytes = api_u64(row, "bytes");
    v->progress.total = api_u64(row, "bytes_total");
    progress_add(&v->progress, bytes > v->progress.done ? bytes - v->progress.done : 0);
    json_decref(v->last);
    v->last = json_incref(row);
    return 0;
}

static int verify(struct api *a)
{
    struct cli *c = a->c;
    struct verifying v = {.table = cli_table_new(c, problems)};
    progress_begin(&v.progress, c, "verify", 0);
    http_client_tick(a->http, (struct http_tick){progress_tick, &v.progress});
    int r = api_lines(a, "POST", cli_has(c, "repair") ? "/v1/verify?repair=1" : "/v1/verify", on_row, &v);
    progress_end(&v.progress);
    cli_table_end(v.table);
    uint64_t bad = api_u64(v.last, "problems"), repaired = api_u64(v.last, "repaired");
    if (r == 0 && v.last)
        cli_record(c, summary, v.last);
    if (r == 0 && bad > repaired)
        r = cli_fail(c, ERR_VERIFY, "p2p verify --repair", "the store has %llu problems", (unsigned long long)(bad - repaired));
    json_decref(v.last);
    return r;
}

static int run(struct cli *c)
{
    return cli_work(c, verify);
}

const struct cli_command sub_verify = {
    .name = "verify",
    .operands = "",
    .summary = "check every block and every count of the store",
    .details = "The node works on meanwhile. Ends with status 7 when something is wrong.",
    .options = options,
    .run = run,
};
