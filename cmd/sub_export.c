/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_fetch.h"
#include "cmd/cli/cli_path.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct cli_option options[] = {
    {"output", 'o', "FILE", "where to write (stdout)"},
    {NULL, 0, NULL, NULL},
};

static int copy(struct api *a, int fd, struct progress *p)
{
    uint8_t *space = mem_new(262144);
    int r = 0;
    while (r == 0) {
        int n = http_read(a->http, space, 262144);
        if (n == 0)
            break;
        r = n < 0 ? api_broken(a, n) : cli_write_all(fd, space, (size_t)n);
        if (n > 0 && r < 0 && r != ERR_INTERRUPTED)
            (void)cli_fail(a->c, r, NULL, "cannot write: %s", strerror(errno));
        if (r == 0)
            progress_add(p, (uint64_t)n);
    }
    free(space);
    return r;
}

static int export_to(struct api *a, const char *path, int fd)
{
    struct buf target = BUF_INIT;
    struct progress p;
    api_target(&target, "/v1/export", (struct api_param[]){{"path", path}}, 1);
    progress_begin(&p, a->c, path, 0);
    cli_fetch_progress(a, &p);
    http_client_tick(a->http, (struct http_tick){progress_tick, &p});
    int r = api_begin(a, "GET", buf_cstr(&target), SPAN_NONE);
    if (r == 0)
        r = copy(a, fd, &p);
    progress_end(&p);
    buf_done(&target);
    return r;
}

static int to_stdout(struct api *a, const char *path)
{
    return export_to(a, path, STDOUT_FILENO);
}

/* `name`: FILE, or where it is made. Opened is for the caller's unlink. */
static int write_file(struct api *a, const char *path, const char *name, bool *ret_opened)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    *ret_opened = fd >= 0;
    int r = fd < 0 ? -1 : export_to(a, path, fd);
    if (fd < 0 || (close(fd) < 0 && r == 0))
        r = cli_fail(a->c, err_from_errno(errno), NULL, "cannot write '%s': %s", name, strerror(errno));
    return r;
}

static int to_file(struct api *a, const char *path)
{
    const char *file = cli_value(a->c, "output");
    struct buf part = BUF_INIT;
    bool opened;
    if (cli_path_is_special(file))
        return write_file(a, path, file, &opened);
    buf_printf(&part, "%s.part", file);
    int r = write_file(a, path, buf_cstr(&part), &opened);
    if (r == 0 && rename(buf_cstr(&part), file) < 0)
        r = cli_fail(a->c, err_from_errno(errno), NULL, "cannot write '%s': %s", file, strerror(errno));
    if (r < 0 && opened)
        unlink(buf_cstr(&part)); /* half a CAR is of no use */
    buf_done(&part);
    return r;
}

static int run(struct cli *c)
{
    const char *file = cli_value(c, "output");
    if (!file && c->out_tty)
        return cli_fail(c, ERR_USAGE, "p2p export PATH --output=FILE.car", "a CAR is not for a terminal");
    return cli_work_path(c, c->operands[0], file ? to_file : to_stdout);
}

const struct cli_command sub_export = {
    .name = "export",
    .operands = "PATH",
    .summary = "write a DAG as a CAR file",
    .options = options,
    .least = 1,
    .most = 1,
    .run = run,
};
