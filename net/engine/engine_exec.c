/* SPDX-License-Identifier: MIT
 *
 * Programs as targets: one for each stream, without a shell, its standard input and output one end of a socket pair.
 *
 *   stream and program ─→ stream only ─→ gone        the program has ended; what it started may still use the stream
 *            └──────────→ program only ─→ gone       SIGHUP, and SIGKILL after GRACE, to its process group
 *
 * SIGHUP comes at once when the stream broke, and after GRACE when the program itself said that it was through. A program that
 * has ended is waited for only when its stream has, too: until then its number, and so its group's, is nobody else's.
 *
 * It is started on a thread of its own: what it is read from may not answer for a while, as when it lies on our own mount and
 * has to be fetched by the engine.
 *
 * Who dials and breaks off again and again would have a program for each time, for as long as they are let live: so these
 * count against the offer's limit, and where it has none a peer has OUTLIVE_MOST of them. So do those that are killed because
 * they could not be watched.
 */
#include "net/engine/engine_bridge.h"

#include "store/base/thread.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define GRACE        (5 * MONO_S)
#define ASK_AFTER    (10 * MONO_MS)
#define OUTLIVE_MOST 32
#define STARTS_MOST  16 /* at once; others wait */

struct start { /* of the thread until its answer comes */
    struct mail mail;
    struct child *child;
    pthread_t thread;
    struct mailbox *reply;
    struct buf text; /* what argv points into */
    char **argv, **env, peer[128], service[128];
    int ours, its; /* the ends of the socket pair */
    int number;    /* errno's; 0: it runs as: */
    pid_t pid;
};

struct child { /* until it has been waited for */
    struct child *prev, *next;
    struct engine *e;
    pid_t pid;             /* 0: it is being started */
    struct bridge *starts; /* waits for that; NULL: nobody does */
    int fd;                /* tells when it has ended; -1: there is none, so it is killed and asked after */
    struct loop_fd *watch;
    bool ended, left;                  /* the program has; its stream has */
    struct bridge *waits;              /* for it to end */
    const struct service_offer *offer; /* NULL: closed meanwhile */
    struct peer_id peer;
    int signal; /* the next one, at: */
    mono_ns signal_at;
};

static void child_forget(struct child *c)
{
    *(c->prev ? &c->prev->next : &c->e->children) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    loop_fd_free(c->watch);
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

/* Both have ended: what else is in its group has lost its terminal, so to say */
static void child_reap(struct child *c)
{
    (void)kill(-c->pid, SIGHUP); /* nobody left there: as hoped */
    (void)waitpid(c->pid, NULL, WNOHANG);
    child_forget(c);
}

static void child_ready(void *arg, unsigned what)
{
    struct child *c = arg;
    (void)what;
    c->ended = true;
    if (c->left) {
        child_reap(c);
        return;
    }
    loop_fd_watch(c->watch, 0);
    if (c->waits)
        bridge_wake(c->waits);
    c->waits = NULL;
}

int exec_fate(struct bridge *b)
{
    struct child *c = b->u.child;
    siginfo_t info = {.si_pid = 0};
    if (!c || waitid(P_PIDFD, (id_t)c->fd, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
        return 0;
    c->waits = info.si_pid ? NULL : b;
    return !info.si_pid ? ERR_AGAIN : info.si_code == CLD_EXITED ? 0 : ERR_RESET;
}

static void child_signal(struct child *c, mono_ns now)
{
    if (kill(-c->pid, c->signal) != 0)
        (void)kill(c->pid, c->signal); /* it has gone to another group. Ours in any case, not waited for yet */
    c->signal_at = c->signal == SIGHUP ? mono_after(now, GRACE) : c->fd < 0 ? mono_after(now, ASK_AFTER) : MONO_NEVER;
    c->signal = SIGKILL;
}

void exec_left(struct bridge *b)
{
    struct child *c = b->u.child;
    mono_ns now = mono_now();
    if (!c)
        return;
    c->left = true;
    c->waits = c->starts = NULL;
    c->signal = SIGHUP;
    if (!c->pid)
        return;
    if (c->ended) {
        child_reap(c);
        return;
    }
    c->signal_at = mono_after(now, GRACE);
    if (!b->eof)
        child_signal(c, now);
    b->e->exec_at = engine_min(b->e->exec_at, c->signal_at);
}

void exec_forget_offer(struct engine *e, const struct service_offer *o)
{
    for (struct child *c = e->children; c; c = c->next)
        if (c->offer == o)
            c->offer = NULL;
}

bool exec_full(const struct engine *e, const struct service_offer *o, const struct peer_id *peer)
{
    uint64_t of_offer = 0, of_peer = 0;
    for (const struct child *c = e->children; c; c = c->next) {
        of_offer += c->left && c->offer == o;
        of_peer += c->left && peer_id_eq(&c->peer, peer);
    }
    return o->kind == SERVICE_EXEC &&
           (of_peer >= OUTLIVE_MOST || (o->connections_max && o->count.open + of_offer >= o->connections_max));
}

mono_ns exec_turn(struct engine *e, mono_ns now)
{
    if (now < e->exec_at)
        return e->exec_at;
    e->exec_at = MONO_NEVER;
    for (struct child *c = e->children, *next; c; c = next) {
        next = c->next;
        if (!c->pid)
            continue;
        if (c->fd < 0 && waitpid(c->pid, NULL, WNOHANG) != 0) {
            child_forget(c);
            continue;
        }
        if (c->left && c->signal_at <= now)
            child_signal(c, now);
        if (c->left)
            e->exec_at = engine_min(e->exec_at, c->signal_at);
    }
    return e->exec_at;
}

void exec_stop_all(struct engine *e)
{
    for (struct child *c = e->children, *next; c; c = next) {
        next = c->next;
        if (!c->pid)
            continue;                 /* its answer comes */
        (void)kill(-c->pid, SIGTERM); /* it ends by itself, and is nobody's then */
        (void)waitpid(c->pid, NULL, WNOHANG);
        child_forget(c);
    }
}

/* The environment with who dialed, and what: two strings, the array; one allocation each */
static char **environment(const struct bridge *b, char peer[128], char service[128])
{
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **env = mem_array(count + 3, sizeof *env);
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "P2P_PEER=", 9) != 0 && strncmp(environ[i], "P2P_SERVICE=", 12) != 0)
            env[kept++] = environ[i];
    char id[PEER_ID_TEXT_SIZE];
    (void)snprintf(peer, 128, "P2P_PEER=%s", peer_id_text(&b->peer, id));
    (void)snprintf(service, 128, "P2P_SERVICE=%s", b->service);
    env[kept++] = peer;
    env[kept++] = service;
    return env;
}

static char **arguments(const struct buf *text)
{
    struct span rest = buf_span(text);
    char **argv = mem_array(SERVICE_WORDS_MAX + 1, sizeof *argv);
    for (int i = 0; rest.len; i++) {
        argv[i] = (char *)(uintptr_t)rest.data;
        rest = span_from(rest, strlen(argv[i]) + 1);
    }
    return argv;
}

static void *start_main(void *arg)
{
    struct start *s = arg;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigfillset(&defaults); /* our thread blocks all signals and the node ignores some: it begins as from a shell */
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, s->its, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, s->its, STDOUT_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    s->number = posix_spawnp(&s->pid, s->argv[0], &files, &attr, s->argv, s->env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    mailbox_reply(s->reply, &s->mail);
    return NULL;
}

static void start_free(struct start *s)
{
    if (s->ours >= 0)
        close(s->ours);
    close(s->its);
    buf_done(&s->text);
    free(s->argv);
    free(s->env);
    free(s);
}

/* It runs. 0, or errno's number: it cannot be watched */
static int child_runs(struct child *c, pid_t pid)
{
    struct engine *e = c->e;
    c->pid = pid;
    c->fd = pidfd_open(pid, 0);
    if (c->fd < 0) { /* descriptors ran out */
        c->left = true;
        c->signal = SIGKILL;
        c->signal_at = e->exec_at = 0;
        return EMFILE;
    }
    c->watch = loop_fd_new(e->loop, c->fd, child_ready, c);
    loop_fd_watch(c->watch, LOOP_READ);
    if (c->left) {
        child_signal(c, mono_now());
        e->exec_at = engine_min(e->exec_at, c->signal_at);
    }
    return 0;
}

static void start_others(struct engine *e)
{
    for (struct bridge *b = e->bridges, *next; b && e->exec_starts < STARTS_MOST; b = next) {
        next = b->next;
        if (b->state == BRIDGE_TARGET && b->ends == &bridge_program && !b->u.child)
            exec_start(b);
    }
}

static void started(struct mail *m, void *owner)
{
    struct start *s = (struct start *)m;
    struct engine *e = owner;
    struct child *c = s->child;
    struct bridge *b = c->starts;
    (void)pthread_join(s->thread, NULL); /* it does no more than end */
    e->jobs--;
    e->exec_starts--;
    c->starts = NULL;
    int number = s->number ? s->number : child_runs(c, s->pid), fd = s->ours;
    if (b && number)
        b->u.child = NULL;
    else if (b)
        s->ours = -1;
    if (s->number)
        child_forget(c);
    start_free(s);
    if (b)
        target_started(b, fd, number);
    if (e->stopping)
        exec_stop_all(e);
    else
        start_others(e);
}

static struct child *child_new(struct bridge *b)
{
    struct engine *e = b->e;
    struct child *c = MEM_NEW(struct child);
    c->e = e;
    c->offer = b->offer;
    c->peer = b->peer;
    c->signal_at = MONO_NEVER;
    c->fd = -1;
    c->starts = b;
    c->next = e->children;
    if (c->next)
        c->next->prev = c;
    e->children = c;
    return b->u.child = c;
}

void exec_start(struct bridge *b)
{
    struct engine *e = b->e;
    int pair[2];
    if (e->exec_starts >= STARTS_MOST)
        return; /* start_others comes to it */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        target_started(b, -1, errno);
        return;
    }
    struct start *s = MEM_NEW(struct start);
    s->mail.run = started;
    s->reply = e->answers;
    s->ours = pair[0];
    s->its = pair[1];
    buf_add_span(&s->text, buf_span(&b->offer->text));
    s->argv = arguments(&s->text);
    s->env = environment(b, s->peer, s->service);
    s->child = child_new(b);
    if (thread_start(&s->thread, "p2p-exec", start_main, s) == 0) {
        e->jobs++;
        e->exec_starts++;
        return;
    }
    child_forget(s->child);
    b->u.child = NULL;
    start_free(s);
    target_started(b, -1, EAGAIN);
}
