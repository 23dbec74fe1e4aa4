/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/service_order.h"

#include "cmd/daemon/petnames.h"
#include "net/engine/engine_service.h"
#include "net/service/service_line.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "services"
#define FILE_MOST (UINT32_C(16) << 20)

bool service_order_is(const char *line)
{
    struct buf help = BUF_INIT;
    size_t at = strspn(line, " \t"), len = strcspn(line + at, " \t\n");
    bool found = false;
    service_line_help(&help);
    for (const char *row = buf_cstr(&help); len && row && *row && !found; row = strchr(row, '\n'), row += row ? 1 : 0)
        found = strncmp(row, line + at, len) == 0 && row[len] == '\t';
    buf_done(&help);
    return found;
}

static bool find_name(void *arg, const char *name, struct peer_id *ret)
{
    return petname_find(((struct daemon *)arg)->petnames, name, ret);
}

struct service_change {
    struct engine_change change;
    struct order *order;
};

struct order_look {
    struct engine_call call; /* first */
    struct order *order;
};

static int save(struct daemon *d, struct span text, struct why *why)
{
    char path[PATH_MAX];
    return repo_write_file(repo_file(d->repo, FILE_NAME, path), text.data, text.len, 0600, why);
}

static void on_look(struct mail *mail, void *owner)
{
    struct order_look *l = (struct order_look *)mail;
    struct order *o = l->order;
    (void)owner;
    free(l);
    order_finish(o, 0);
}

/* Answered when the mount and the views show it: who asked looks next. */
static void finish_seen(struct order *o)
{
    struct order_look *l = MEM_NEW(struct order_look);
    l->call = (struct engine_call){.mail.run = on_look, .reply = o->d->mail, .verb = ENGINE_LOOK};
    l->order = o;
    engine_command(o->d->engine, &l->call);
}

static void on_changed(struct mail *mail, void *owner)
{
    struct service_change *c = (struct service_change *)mail;
    struct order *o = c->order;
    int r = c->change.result;
    (void)owner;
    o->why = c->change.why;
    if (r == 0)
        r = save(o->d, buf_span(&c->change.saved), &o->why);
    buf_done(&c->change.saved);
    free(c->change.line);
    free(c);
    if (r == 0 && !o->d->stopping)
        finish_seen(o);
    else
        order_finish(o, r);
}

/* What a program's name means, as posix_spawnp(3) has it: with a slash a path, else a file of PATH */
static bool in_path(const char *name, char file[PATH_MAX])
{
    const char *path = getenv("PATH");
    for (const char *at = path ? path : "/bin:/usr/bin", *end; *at; at = *end ? end + 1 : end) {
        end = at + strcspn(at, ":");
        int n = snprintf(file, PATH_MAX, "%.*s/%s", (int)(end - at), end == at ? "." : at, name);
        struct stat st;
        if (n < PATH_MAX && stat(file, &st) == 0 && !S_ISDIR(st.st_mode) && access(file, X_OK) == 0)
            return true;
    }
    return false;
}

/* A port, a socket or a file may come later, and then it works. A program that is not there is a slip of the pen. */
static int check_program(const char *name, struct why *why)
{
    char file[PATH_MAX];
    struct stat st;
    int n = strchr(name, '/') ? snprintf(file, sizeof file, "%s", name) : 0;
    if (n >= (int)sizeof file || (n == 0 && !in_path(name, file)))
        return why_set(why, ERR_NOT_FOUND, "there is no program '%.100s'", name);
    if (stat(file, &st) != 0)
        return why_set(why, ERR_NOT_FOUND, "'%.100s': %s", name, err_text(err_from_errno(errno)));
    if (S_ISDIR(st.st_mode))
        return why_set(why, ERR_INVALID, "'%.100s' is a folder, not a program", name);
    if (access(file, X_OK) != 0)
        return why_set(why, ERR_DENIED, "'%.100s' cannot be executed", name);
    return 0;
}

void service_order_run(struct order *o)
{
    struct service_line l;
    struct buf line = BUF_INIT;
    int r = service_line_parse(span_str(o->line), (struct service_names){find_name, o->d}, &l, &o->why);
    if (r < 0) {
        order_finish(o, r);
        return;
    }
    if (l.verb == SERVICE_OFFER && l.kind == SERVICE_EXEC)
        r = check_program((const char *)buf_span(&l.text).data, &o->why);
    service_line_print(&l, &line);
    service_line_done(&l);
    if (r < 0) {
        buf_done(&line);
        order_finish(o, r);
        return;
    }
    struct service_change *c = MEM_NEW(struct service_change);
    c->order = o;
    c->change.mail.run = on_changed;
    c->change.reply = o->d->mail;
    c->change.line = mem_str(buf_cstr(&line));
    buf_done(&line);
    engine_change_services(o->d->engine, &c->change);
}

int service_orders_saved(struct daemon *d, struct buf *ret, struct why *why)
{
    char path[PATH_MAX];
    int r = repo_read_file(repo_file(d->repo, FILE_NAME, path), FILE_MOST, ret, why);
    return r == ERR_NOT_FOUND ? 0 : r;
}
