/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_fetch.h"
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

#include <inttypes.h>
#include <stdio.h>

static const struct cli_option options[] = {
    {"resolve", 'r', NULL, "look at every entry that is not known to be a file, fetching its first block"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"type", "type", CLI_TEXT}, {"size", "size", CLI_BYTES}, {"cid", "cid", CLI_TEXT},
    {"name", "name", CLI_TEXT}, {NULL, NULL, CLI_TEXT},
};

/* Listings come in pages, so that the node keeps no state while we print. */
struct page {
    struct api *api;
    struct progress progress; /* until the first row */
    struct cli_table *table;
    uint64_t rows, next;
};

static int print_row(void *arg, json_t *row)
{
    struct page *p = arg;
    if (json_object_get(row, "next")) {
        p->next = api_u64(row, "next");
        return 0;
    }
    if (p->rows++ == 0)
        cli_wait_end(p->api, &p->progress);
    if (!json_object_get(row, "name") && json_object_get(row, "name_encoded")) /* not UTF-8 */
        json_object_set(row, "name", json_object_get(row, "name_encoded"));
    cli_table_row(p->table, row);
    return ferror(stdout) ? ERR_CLOSED : 0;
}

static int list(struct api *a, const char *path)
{
    struct page p = {.api = a, .table = cli_table_new(a->c, columns)};
    const char *resolve = cli_has(a->c, "resolve") ? "1" : NULL;
    struct buf target = BUF_INIT;
    int r;
    cli_wait_begin(a, &p.progress, path);
    do {
        char cursor[24];
        snprintf(cursor, sizeof cursor, "%" PRIu64, p.next);
        p.next = 0;
        buf_clear(&target);
        api_target(&target, "/v1/ls", (struct api_param[]){{"path", path}, {"cursor", cursor}, {"resolve", resolve}}, 3);
        r = api_lines(a, "GET", buf_cstr(&target), print_row, &p);
    } while (r == 0 && p.next);
    cli_wait_end(a, &p.progress);
    if (r == 0)
        cli_table_flush(p.table);
    cli_table_end(p.table);
    buf_done(&target);
    return r == ERR_CLOSED ? 0 : r;
}

static int run(struct cli *c)
{
    return cli_work_path(c, c->count ? c->operands[0] : "share", list);
}

const struct cli_command sub_ls = {
    .name = "ls",
    .operands = "[PATH]",
    .summary = "list a folder by CID or path; share/ without PATH",
    .details = "PATH is a CID, /ipfs/<cid>/…, share/… or a file name in the mount. Only the folder's own blocks are\n"
               "fetched: entries whose kind is not known from them have the type '-' unless --resolve is given.",
    .options = options,
    .most = 1,
    .run = run,
};
