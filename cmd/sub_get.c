/* SPDX-License-Identifier: MIT
 *
 * A file or folder is written under a temporary name that holds the end of its CID, `.NAME.<cid>.part`, and renamed when it is
 * whole. An interrupted get leaves that; the next one goes on from there: same CID, same bytes. Folders are walked with a list
 * of what is still to do, not by recursion: their depth is the network's choice. */
#include "cmd/cli/cli_fetch.h"
#include "cmd/cli/cli_path.h"
#include "cmd/subs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct cli_option options[] = {
    {"output", 'o', "FILE", "where to put it (here, under its own name)"},
    {"force", 'f', NULL, "replace a file that is there"},
    {NULL, 0, NULL, NULL},
};

struct todo {
    char *cid, *file; /* a folder of the DAG, and where it goes */
};

struct get {
    struct cli *c;
    struct api api;
    struct progress progress;
    struct todo *todo;
    size_t count, cap;
    const char *dir; /* the folder that is being listed goes here */
    uint64_t next;   /* of the page */
    json_t *page;    /* its entries */
};

static int sys_fail(struct get *g, const char *what, const char *file)
{
    int err = err_from_errno(errno);
    return cli_fail(g->c, err, NULL, "cannot %s '%s': %s", what, file, strerror(errno));
}

static void push(struct get *g, const char *cid, const char *file)
{
    if (g->count == g->cap) {
        g->cap = g->cap ? 2 * g->cap : 32;
        g->todo = mem_grow(g->todo, g->cap, sizeof *g->todo);
    }
    g->todo[g->count++] = (struct todo){mem_str(cid), mem_str(file)};
}

#define NEW_FILE (O_CREAT | O_NOFOLLOW)

/* The bytes of `cid` go to the end of `file`. */
static int get_file(struct get *g, const char *cid, const char *file, int flags)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC | flags, 0666);
    if (fd < 0)
        return sys_fail(g, "write", file);
    off_t have = lseek(fd, 0, SEEK_END);
    g->progress.done += have > 0 ? (uint64_t)have : 0;
    struct cli_fetch f = {.path = cid, .offset = have > 0 ? (uint64_t)have : 0, .fd = fd, .progress = &g->progress};
    int r = cli_fetch(&g->api, &f, NULL);
    if (close(fd) < 0 && r == 0)
        r = sys_fail(g, "write", file);
    return r;
}

/* Inside a folder: a finished file has its own name, one that is under way has `.part` behind. */
static int get_member(struct get *g, const char *cid, const char *file, uint64_t size)
{
    struct stat st;
    if (lstat(file, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size) {
        progress_add(&g->progress, size);
        return 0;
    }
    struct buf part = BUF_INIT;
    buf_printf(&part, "%s.p2p-part", file);
    int r = get_file(g, cid, buf_cstr(&part), NEW_FILE);
    if (r == 0 && rename(buf_cstr(&part), file) < 0)
        r = sys_fail(g, "write", file);
    buf_done(&part);
    return r;
}

static int get_link(struct get *g, const char *target, const char *file)
{
    if (symlink(target, file) == 0 || errno == EEXIST)
        return 0;
    return sys_fail(g, "make the symlink", file);
}

static int get_dir(struct get *g, const char *cid, const char *file)
{
    if (mkdir(file, 0777) < 0 && errno != EEXIST)
        return sys_fail(g, "make the folder", file);
    push(g, cid, file);
    return 0;
}

static int get_entry(struct get *g, json_t *row)
{
    struct buf file = BUF_INIT, bytes = BUF_INIT;
    const char *name = api_bytes(row, "name", &bytes), *type = api_text(row, "type"), *cid = api_text(row, "cid");
    int r;
    buf_printf(&file, "%s/%s", g->dir, name);
    progress_name(&g->progress, name);
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        r = cli_fail(g->c, ERR_PROTOCOL, NULL, "the folder has an entry with the name '%s'", name);
    else if (strcmp(type, "directory") == 0)
        r = get_dir(g, cid, buf_cstr(&file));
    else if (strcmp(type, "symlink") == 0)
        r = get_link(g, api_bytes(row, "target", &bytes), buf_cstr(&file));
    else
        r = get_member(g, cid, buf_cstr(&file), api_u64(row, "size"));
    buf_done(&file);
    buf_done(&bytes);
    return r;
}

static int keep_row(void *arg, json_t *row)
{
    struct get *g = arg;
    if (json_object_get(row, "next"))
        g->next = api_u64(row, "next");
    else
        json_array_append(g->page, row);
    return 0;
}

static int get_page(struct get *g, const char *cid)
{
    char cursor[24];
    snprintf(cursor, sizeof cursor, "%" PRIu64, g->next);
    g->next = 0;
    g->page = json_array();
    struct buf target = BUF_INIT;
    api_target(&target, "/v1/ls", (struct api_param[]){{"path", cid}, {"cursor", cursor}, {"resolve", "1"}}, 3);
    http_client_tick(g->api.http, (struct http_tick){progress_tick, &g->progress});
    int r = api_lines(&g->api, "GET", buf_cstr(&target), keep_row, g);
    size_t i;
    json_t *row;
    json_array_foreach(g->page, i, row)
    {
        if (r == 0)
            r = get_entry(g, row);
    }
    json_decref(g->page);
    buf_done(&target);
    return r;
}

static int get_tree(struct get *g)
{
    int r = 0;
    while (g->count && r == 0) {
        struct todo t = g->todo[--g->count];
        g->dir = t.file;
        g->next = 0;
        do
            r = get_page(g, t.cid);
        while (r == 0 && g->next);
        free(t.cid);
        free(t.file);
    }
    while (g->count) {
        free(g->todo[--g->count].cid);
        free(g->todo[g->count].file);
    }
    free(g->todo);
    return r;
}

static int fetch_to(struct get *g, json_t *st, const char *part)
{
    const char *type = api_text(st, "type"), *cid = api_text(st, "cid");
    if (strcmp(type, "symlink") == 0) {
        struct buf target = BUF_INIT;
        int r = get_link(g, api_bytes(st, "target", &target), part);
        buf_done(&target);
        return r;
    }
    if (strcmp(type, "directory") != 0)
        return get_file(g, cid, part, NEW_FILE);
    int r = get_dir(g, cid, part);
    return r < 0 ? r : get_tree(g);
}

static int finish(struct get *g, const char *part, const char *file)
{
    if (rename(part, file) == 0) {
        cli_note(g->c, "%s", file);
        return 0;
    }
    return sys_fail(g, "write", file);
}

/* `DIR/.NAME.<last of cid>.part` beside `file` */
static void part_name(struct buf *out, const char *file, const char *cid)
{
    const char *slash = strrchr(file, '/');
    size_t dir = slash ? (size_t)(slash - file) + 1 : 0, len = strlen(cid);
    buf_add(out, file, dir);
    buf_printf(out, ".%.200s.%s.part", file + dir, len > 12 ? cid + len - 12 : cid);
}

/* Whether something may be put there: 0, or why not */
static int check_place(struct get *g, const char *file, bool special, bool is_file)
{
    struct stat st;
    if (special)
        return is_file ? 0 : cli_fail(g->c, ERR_INVALID, "another --output", "only a file's bytes can go into '%s'", file);
    if (lstat(file, &st) < 0 || (cli_has(g->c, "force") && !S_ISDIR(st.st_mode)))
        return 0;
    return cli_fail(g->c, ERR_EXISTS, S_ISDIR(st.st_mode) ? "another --output" : "--force or another --output",
                    "'%s' is there already", file);
}

static int get_to(struct get *g, json_t *st, const char *file)
{
    const char *cid = api_text(st, "cid"), *type = api_text(st, "type");
    bool special = cli_path_is_special(file);
    int r = check_place(g, file, special, strcmp(type, "file") == 0);
    if (r < 0)
        return r;
    struct buf part = BUF_INIT;
    part_name(&part, file, cid);
    progress_begin(&g->progress, g->c, file, api_u64(st, strcmp(type, "directory") == 0 ? "dag_size" : "size"));
    cli_fetch_progress(&g->api, &g->progress);
    r = special ? get_file(g, cid, file, 0) : fetch_to(g, st, buf_cstr(&part));
    progress_end(&g->progress);
    if (r == 0 && !special)
        r = finish(g, buf_cstr(&part), file);
    else if (!special &&
             (r == ERR_INTERRUPTED || r == ERR_TIMEOUT || r == ERR_NOT_RUNNING || r == ERR_UNREACHABLE || r == ERR_OFFLINE))
        cli_note(g->c, "What came is kept in %s; the same command goes on from there.", buf_cstr(&part));
    buf_done(&part);
    return r;
}

static int get(struct get *g, const char *path)
{
    struct buf target = BUF_INIT;
    json_t *st = NULL;
    api_target(&target, "/v1/stat", (struct api_param[]){{"path", path}}, 1);
    cli_wait_begin(&g->api, &g->progress, path);
    int r = api_json(&g->api, "GET", buf_cstr(&target), SPAN_NONE, &st);
    cli_wait_end(&g->api, &g->progress);
    if (r == 0) {
        const char *slash = strrchr(path, '/'), *output = cli_value(g->c, "output");
        const char *own = slash && slash[1] ? slash + 1 : *path == '/' ? api_text(st, "cid") : path;
        r = get_to(g, st, output ? output : own);
    }
    json_decref(st);
    buf_done(&target);
    return r;
}

static int run(struct cli *c)
{
    struct get g = {.c = c};
    int r = api_open(&g.api, c);
    if (r < 0)
        return r;
    cli_catch_interrupts();
    char *path = NULL;
    r = cli_path(&g.api, c->operands[0], &path);
    if (r == 0)
        r = get(&g, path);
    cli_path_free(path);
    api_close(&g.api);
    return r;
}

const struct cli_command sub_get = {
    .name = "get",
    .operands = "PATH",
    .summary = "fetch a file or folder into the current directory",
    .details = "What came is kept when it is interrupted, and the same command goes on from there.",
    .options = options,
    .least = 1,
    .most = 1,
    .run = run,
};
