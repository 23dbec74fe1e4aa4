/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_progress.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (UINT32_C(1) << 20)

static const struct cli_option options[] = {
    {"no-pin", 0, NULL, "do not keep the roots: the blocks are cache"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"cid", "cid", CLI_TEXT}, {"blocks", "blocks", CLI_COUNT}, {"bytes", "bytes", CLI_BYTES}, {NULL, NULL, CLI_TEXT}};

static int feed(struct api *a, int fd, const char *base, struct progress *p)
{
    uint8_t *space = mem_new(PIECE);
    int r = 0;
    while (r == 0) {
        ssize_t n = read(fd, space, PIECE);
        if (cli_interrupted())
            r = ERR_INTERRUPTED;
        else if (n < 0 && errno != EINTR)
            r = cli_fail(a->c, err_from_errno(errno), NULL, "cannot read '%s': %s", a->about, strerror(errno));
        else if (n == 0)
            break;
        else if (n > 0)
            r = api_json(a, "POST", base, span_of(space, (size_t)n), NULL);
        if (r == 0 && n > 0)
            progress_add(p, (uint64_t)n);
    }
    free(space);
    return r;
}

static int import_fd(struct api *a, int fd, const char *file, uint64_t size)
{
    json_t *session = NULL, *result = NULL;
    struct buf base = BUF_INIT, end = BUF_INIT;
    struct progress p;
    int r = api_json(a, "POST", "/v1/import", SPAN_NONE, &session);
    if (r < 0)
        return r;
    buf_printf(&base, "/v1/import/%s", api_text(session, "upload"));
    (void)buf_cstr(&base);
    progress_begin(&p, a->c, file, size);
    r = feed(a, fd, buf_cstr(&base), &p);
    progress_end(&p);
    buf_printf(&end, "%s/end%s", buf_cstr(&base), cli_has(a->c, "no-pin") ? "" : "?pin=1");
    if (r == 0)
        r = api_json(a, "POST", buf_cstr(&end), SPAN_NONE, &result);
    else if (r != ERR_INTERRUPTED) /* a node that is gone has forgotten it anyway */
        (void)http_request(a->http, "DELETE", buf_cstr(&base), SPAN_NONE);
    size_t i;
    json_t *row;
    struct cli_table *t = cli_table_new(a->c, columns);
    json_array_foreach(json_object_get(result, "roots"), i, row) cli_table_row(t, row);
    cli_table_end(t);
    json_decref(session);
    json_decref(result);
    buf_done(&base);
    buf_done(&end);
    return r;
}

static int import_file(struct api *a, const char *file)
{
    a->about = file;
    if (strcmp(file, "-") == 0)
        return import_fd(a, STDIN_FILENO, "stdin", 0);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cli_fail(a->c, err_from_errno(errno), NULL, "cannot read '%s': %s", file, strerror(errno));
    struct stat st;
    uint64_t size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    int r = import_fd(a, fd, file, size);
    close(fd);
    return r;
}

static int run(struct cli *c)
{
    return cli_work_each(c, import_file);
}

const struct cli_command sub_import = {
    .name = "import",
    .operands = "FILE…",
    .summary = "take in CAR files (version 1 or 2) and keep their roots",
    .details = "Every block is checked. FILE - is stdin. A damaged CAR changes nothing that is kept.",
    .options = options,
    .least = 1,
    .most = CLI_ANY,
    .run = run,
};
