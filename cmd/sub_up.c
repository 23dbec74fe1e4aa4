/* SPDX-License-Identifier: MIT
 *
 * In the background the node is a child; the parent waits for its one message on a pipe: ready, or the error and its
 * sentence. The log is opened when the node is ready: a state folder that was refused is not touched. */
#include "cmd/cli/cli_output.h"
#include "cmd/daemon/daemon.h"
#include "cmd/subs.h"
#include "store/base/log.h"
#include "store/repo/repo.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct cli_option options[] = {
    {"foreground", 'f', NULL, "stay in the foreground: for service managers and containers"},
    {"no-mount", 0, NULL, "run without a mount: only the control socket"},
    {"option", 'o', "KEY=VALUE…", "another value than the config file's, for this run; may be repeated"},
    {NULL, 0, NULL, NULL},
};

static const struct cli_column columns[] = {{"id", "id", CLI_TEXT}, {"mount", "mount", CLI_TEXT}, {NULL, NULL, CLI_TEXT}};

/* What the child says: fixed size, so one write is one read. */
struct message {
    int result;
    char id[96];
    char mount[PATH_MAX];
    struct why why;
};

static void tour(const char *id, const char *mount)
{
    printf("The node %s is up.\n", id);
    if (!*mount) {
        printf("There is no mount. 'p2p add FILE' shares a file, 'p2p down' stops the node.\n");
        return;
    }
    static const struct {
        const char *before, *after, *meaning;
    } lines[] = {
        {"cp FILE ", "/share/", "share a file"},
        {"p2p cid ", "/share/FILE", "the CID under which everybody can get it"},
        {"cat ", "/ipfs/CID", "get what somebody shares"},
        {"ls ", "/peers", "who is here"},
        {"cat ", "/README", "a page about the rest"},
    };
    int width = (int)(strlen(mount) + strlen("p2p cid /share/FILE"));
    printf("It is mounted at %s:\n\n", mount);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        int n = printf("  %s%s%s", lines[i].before, mount, lines[i].after);
        printf("%*s  %s\n", n < width + 2 ? width + 2 - n : 0, "", lines[i].meaning);
    }
    printf("  %-*s  stop the node\n", width, "p2p down");
}

static void report(struct cli *c, const char *id, const char *mount)
{
    if (c->quiet)
        return;
    if (c->json) {
        json_t *v = json_pack("{ss ss}", "id", id, "mount", mount);
        cli_record(c, columns, v);
        json_decref(v);
    } else {
        tour(id, mount);
    }
    if (cli_flush(c) < 0) /* it said so; the node works all the same */
        clearerr(stdout);
}

static const char *hint_for(int err)
{
    static const struct {
        int err;
        const char *hint;
    } hints[] = {
        {ERR_LOCKED, "p2p status, or another P2P_HOME"},
        {ERR_DENIED, "p2p doctor"},
        {ERR_VERSION, "the newer p2p"},
        {ERR_NOT_EMPTY, "an empty folder"},
        {ERR_BUSY, "p2p doctor"},
        {ERR_USAGE, "p2p config"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (hints[i].err == err)
            return hints[i].hint;
    return NULL;
}

static int fail(struct cli *c, int err, const struct why *why)
{
    return cli_fail(c, err, hint_for(err), "cannot start the node: %s", why->text[0] ? why->text : err_text(err));
}

/* ---- foreground ---- */

static void ready_foreground(void *arg, const struct daemon_ready *r)
{
    report(arg, r->id, r->mount);
}

static int run_foreground(struct cli *c, struct daemon_options *o)
{
    struct why why = {""};
    o->ready = ready_foreground;
    o->arg = c;
    int r = daemon_run(o, &why);
    return r < 0 ? fail(c, r, &why) : 0;
}

/* ---- background ---- */

static void send_message(int fd, const struct message *m)
{
    ssize_t n = write(fd, m, sizeof *m);
    (void)n; /* a parent that has gone needs no answer */
    close(fd);
}

/* stderr goes to <state>/log from now on. */
static void open_log(void)
{
    struct repo_paths paths;
    char path[PATH_MAX + 8];
    if (repo_paths(&paths, NULL) < 0)
        return;
    snprintf(path, sizeof path, "%s/log", paths.state);
    (void)log_to_file(path); /* the ring in memory still has the newest lines */
}

static void ready_background(void *arg, const struct daemon_ready *r)
{
    int *fd = arg;
    struct message m = {.result = 0};
    snprintf(m.id, sizeof m.id, "%s", r->id);
    snprintf(m.mount, sizeof m.mount, "%s", r->mount);
    open_log();
    send_message(*fd, &m);
    *fd = -1;
}

static void detach(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    close(null);
    setsid();
}

static void child(struct daemon_options *o, int fd)
{
    struct message m = {.result = 0};
    detach();
    o->ready = ready_background;
    o->arg = &fd;
    m.result = daemon_run(o, &m.why);
    if (fd >= 0)
        send_message(fd, &m);
    exit(err_exit(m.result));
}

static int run_background(struct cli *c, struct daemon_options *o)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return cli_fail(c, ERR_FAILED, NULL, "cannot make a pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        return cli_fail(c, ERR_FAILED, NULL, "cannot start a process: %s", strerror(errno));
    if (pid == 0) {
        close(fds[0]);
        child(o, fds[1]);
    }
    close(fds[1]);
    struct message m;
    ssize_t n;
    do
        n = read(fds[0], &m, sizeof m);
    while (n < 0 && errno == EINTR);
    close(fds[0]);
    if (n != (ssize_t)sizeof m)
        return cli_fail(c, ERR_FAILED, "p2p up --foreground", "the node ended before it was ready");
    if (m.result < 0) {
        (void)waitpid(pid, NULL, 0); /* only to leave no zombie */
        return fail(c, m.result, &m.why);
    }
    report(c, m.id, m.mount);
    return 0;
}

static int run(struct cli *c)
{
    struct daemon_options o = {
        .dir = c->count ? c->operands[0] : NULL,
        .overrides = cli_value(c, "option"),
        .no_mount = cli_has(c, "no-mount"),
        .verbose = c->verbose,
    };
    char full[PATH_MAX];
    if (o.dir && !*o.dir) /* of a variable that is not set; not the folder where one stands */
        return cli_fail(c, ERR_USAGE, "p2p up --help", "the name of the folder is empty");
    if (o.dir && *o.dir != '/') { /* the daemon leaves this folder */
        if (!getcwd(full, sizeof full) || strlen(full) + strlen(o.dir) + 2 > sizeof full)
            return cli_fail(c, ERR_NAME_LONG, NULL, "the path of '%s' is too long", o.dir);
        size_t len = strlen(full);
        full[len] = '/';
        memcpy(full + len + 1, o.dir, strlen(o.dir) + 1);
        o.dir = full;
    }
    log_set_level(LOG_LEVEL_INFO); /* until the config was read */
    return cli_has(c, "foreground") ? run_foreground(c, &o) : run_background(c, &o);
}

const struct cli_command sub_up = {
    .name = "up",
    .operands = "[DIR]",
    .summary = "start the node and mount it (at ~/p2p, or DIR)",
    .details = "Returns when the node works. Its log goes to 'log' in the state folder (what is older than a MiB of it to "
               "'log.old'), with "
               "--foreground to stderr.",
    .options = options,
    .most = 1,
    .run = run,
};
