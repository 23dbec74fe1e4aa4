/* SPDX-License-Identifier: MIT
 *
 * Files go to the node in pieces, in a session (p2p-control(7)): neither side ever holds more than a piece. */
#include "cmd/cli/cli_output.h"
#include "cmd/cli/cli_progress.h"
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"

#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (UINT32_C(1) << 20)

static const struct cli_option options[] = {
    {"no-pin", 0, NULL, "do not keep it: the blocks are cache"},
    {"name", 'n', "TEXT", "a name for the list of pins (the file's)"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {
    {"cid", "cid", CLI_TEXT}, {"size", "size", CLI_BYTES}, {"name", "name", CLI_TEXT}, {NULL, NULL, CLI_TEXT}};

struct adding {
    struct api *a;
    struct progress progress;
    char session[32];
    uint8_t *space;
};

static int fail_file(struct adding *s, const char *file, int number)
{
    return cli_fail(s->a->c, err_from_errno(number), NULL, "cannot read '%s': %s", file, strerror(number));
}

/* One operation of the session. Names may be any bytes: they are percent-encoded. */
static int post(struct adding *s, const char *op, const struct api_param *params, unsigned count, struct span body)
{
    struct buf path = BUF_INIT, target = BUF_INIT;
    buf_printf(&path, "/v1/add/%s/%s", s->session, op);
    api_target(&target, buf_cstr(&path), params, count);
    int r = api_json(s->a, "POST", buf_cstr(&target), body, NULL);
    buf_done(&path);
    buf_done(&target);
    return r;
}

static ssize_t read_piece(int fd, uint8_t *space)
{
    size_t have = 0;
    while (have < PIECE) {
        ssize_t n = read(fd, space + have, PIECE - have);
        if (n < 0 && errno == EINTR && !cli_interrupted())
            continue;
        if (n < 0)
            return n;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

static int add_fd(struct adding *s, int fd, const char *name, const char *file)
{
    const char *op = "file";
    for (;;) {
        ssize_t n = read_piece(fd, s->space);
        if (cli_interrupted())
            return ERR_INTERRUPTED;
        if (n < 0)
            return fail_file(s, file, errno);
        bool last = (size_t)n < PIECE;
        struct api_param p[] = {{"name", name}, {"end", last ? "1" : NULL}};
        int r = post(s, op, p, 2, span_of(s->space, (size_t)n));
        if (r < 0)
            return r;
        progress_add(&s->progress, (uint64_t)n);
        if (last)
            return 0;
        op = "data";
    }
}

static int add_file(struct adding *s, const FTSENT *e)
{
    int below = e->fts_level > FTS_ROOTLEVEL ? O_NOFOLLOW : 0; /* a symlink that is named itself is followed, as by cp */
    int fd = open(e->fts_accpath, O_RDONLY | O_CLOEXEC | below);
    if (fd < 0)
        return fail_file(s, e->fts_path, errno);
    int r = add_fd(s, fd, e->fts_name, e->fts_path);
    close(fd);
    return r;
}

static int add_link(struct adding *s, const FTSENT *e)
{
    char target[PATH_MAX];
    ssize_t n = readlink(e->fts_accpath, target, sizeof target - 1);
    if (n < 0)
        return fail_file(s, e->fts_path, errno);
    target[n] = 0;
    return post(s, "link", (struct api_param[]){{"name", e->fts_name}, {"target", target}}, 2, SPAN_NONE);
}

static int add_entry(struct adding *s, const FTSENT *e)
{
    switch (e->fts_info) {
    case FTS_D:
        return post(s, "dir", (struct api_param[]){{"name", e->fts_name}}, 1, SPAN_NONE);
    case FTS_DP:
        return post(s, "up", NULL, 0, SPAN_NONE);
    case FTS_F:
        progress_name(&s->progress, e->fts_path);
        return add_file(s, e);
    case FTS_SL:
    case FTS_SLNONE:
        return add_link(s, e);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return fail_file(s, e->fts_path, e->fts_errno);
    default:
        return cli_fail(s->a->c, ERR_UNSUPPORTED, NULL, "'%s' is neither a file nor a folder nor a symlink", e->fts_path);
    }
}

static int walk(struct adding *s, const char *path)
{
    char *const roots[] = {(char *)(uintptr_t)path, NULL}; /* fts_open does not write to it */
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    if (!fts)
        return fail_file(s, path, errno);
    int r = 0;
    FTSENT *e;
    errno = 0;
    while (r == 0 && (e = fts_read(fts)))
        r = cli_interrupted() ? ERR_INTERRUPTED : add_entry(s, e);
    if (r == 0 && errno)
        r = fail_file(s, path, errno);
    fts_close(fts);
    return r;
}

static int finish(struct adding *s, const char *name)
{
    struct buf path = BUF_INIT, target = BUF_INIT;
    json_t *v = NULL;
    const char *given = cli_value(s->a->c, "name");
    buf_printf(&path, "/v1/add/%s/finish", s->session);
    api_target(&target, buf_cstr(&path),
               (struct api_param[]){{"pin", cli_has(s->a->c, "no-pin") ? NULL : "1"}, {"name", given ? given : name}}, 2);
    int r = api_json(s->a, "POST", buf_cstr(&target), SPAN_NONE, &v);
    if (r == 0) {
        struct cli_table *t = cli_table_new(s->a->c, columns);
        json_object_set_new(v, "name", json_string(name));
        cli_table_row(t, v);
        cli_table_end(t);
    }
    json_decref(v);
    buf_done(&path);
    buf_done(&target);
    return r;
}

static int add(struct api *a, const char *file)
{
    struct adding s = {.a = a};
    json_t *v = NULL;
    int r = api_json(a, "POST", "/v1/add", SPAN_NONE, &v);
    if (r < 0)
        return r;
    snprintf(s.session, sizeof s.session, "%s", api_text(v, "upload"));
    json_decref(v);
    s.space = mem_new(PIECE);
    struct stat st;
    bool regular = stat(file, &st) == 0 && S_ISREG(st.st_mode);
    progress_begin(&s.progress, a->c, file, regular ? (uint64_t)st.st_size : 0);
    r = strcmp(file, "-") == 0 ? add_fd(&s, STDIN_FILENO, "stdin", "stdin") : walk(&s, file);
    progress_end(&s.progress);
    if (r == 0)
        r = finish(&s, file);
    if (r < 0 && r != ERR_INTERRUPTED) { /* a node that is gone has forgotten it anyway */
        struct buf target = BUF_INIT;
        buf_printf(&target, "/v1/add/%s", s.session);
        (void)http_request(a->http, "DELETE", buf_cstr(&target), SPAN_NONE);
        buf_done(&target);
    }
    if (r == ERR_INTERRUPTED)
        cli_note(a->c, "Nothing was added; blocks that are there already make the next try faster.");
    free(s.space);
    return r;
}

static int run(struct cli *c)
{
    return cli_work_each(c, add);
}

const struct cli_command sub_add = {
    .name = "add",
    .operands = "FILE…",
    .summary = "put files and folders into the store and keep them, by CID",
    .details = "The answer comes when everything is on disk. FILE - is stdin. To share under a name, copy into share/ instead.",
    .options = options,
    .least = 1,
    .most = CLI_ANY,
    .run = run,
};
