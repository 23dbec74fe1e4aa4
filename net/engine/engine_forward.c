/* SPDX-License-Identifier: MIT
 *
 * Forwards: listeners of this machine whose every connection becomes a stream to a peer's service, dialed when it comes. So a
 * peer that goes away and comes back needs nothing here.
 */
#include "net/engine/engine_addr.h"
#include "net/engine/engine_bridge.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG      256
#define ACCEPT_BATCH 32
#define DIAL_TIMEOUT (15 * MONO_S)

struct listener { /* the runtime of a forward */
    struct engine *e;
    struct service_forward *f;
    int fd;
    uint32_t missed; /* see datagram_missed */
    struct loop_fd *watch;
};

/* ---- connections ---- */

struct bridge *forward_bridge(struct engine *e, struct service_forward *f)
{
    struct bridge *b = bridge_new(e, BRIDGE_DIALING);
    struct buf place = BUF_INIT;
    service_forward_text(f, &place);
    b->place = mem_str(buf_cstr(&place));
    buf_done(&place);
    b->forward = f;
    b->peer = f->peer;
    bridge_count(b);
    return b;
}

static void take_connection(struct listener *l, int fd)
{
    int one = 1;
    struct bridge *b = forward_bridge(l->e, l->f);
    if (l->f->kind == SERVICE_TCP)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* an improvement, no condition */
    bridge_set_fd(b, fd);
    service_dial(b, l->f->name, DIAL_TIMEOUT);
}

static void socket_ready(void *arg, unsigned what)
{
    struct listener *l = arg;
    (void)what;
    flows_ready(l->e, l->f, l->fd);
    uint32_t missed = datagram_missed(l->fd);
    l->f->count.dropped += missed - l->missed;
    l->missed = missed;
}

static void listener_ready(void *arg, unsigned what)
{
    struct listener *l = arg;
    (void)what;
    for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_connection(l, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            loop_fd_watch(l->watch, 0); /* the queue stays ready: watching it would spin */
            l->e->forwards_at = engine_min(l->e->forwards_at, mono_after(mono_now(), MONO_S));
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

mono_ns forwards_turn(struct engine *e, mono_ns now)
{
    if (now < e->forwards_at)
        return e->forwards_at;
    e->forwards_at = MONO_NEVER;
    struct service_forward *f;
    for (unsigned i = 0; (f = services_forward(e->services, i)); i++) {
        struct listener *l = f->runtime;
        if (l)
            loop_fd_watch(l->watch, LOOP_READ);
        else
            (void)forward_listen(e, f, &f->fault); /* again later */
    }
    return e->forwards_at;
}

/* ---- listening ---- */

/* A socket that nobody listens on is left over from a node that was killed */
static void remove_stale(const struct sockaddr_storage *ss, socklen_t len)
{
    struct stat st;
    const char *path = ((const struct sockaddr_un *)(const void *)ss)->sun_path;
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)ss, len) != 0 && errno == ECONNREFUSED)
        (void)unlink(path); /* bind says what is wrong if it stays */
    close(fd);
}

static int bind_listener(const struct sockaddr_storage *ss, socklen_t len, int type)
{
    int one = 1;
    int fd = socket(ss->ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (ss->ss_family == AF_UNIX)
        remove_stale(ss, len);
    else if (type == SOCK_STREAM)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one); /* bind says what is wrong without it */
    if (bind(fd, (const struct sockaddr *)ss, len) == 0 && (type != SOCK_STREAM || listen(fd, BACKLOG) == 0))
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

void forward_adopt(struct engine *e, struct service_forward *f, int take_fd)
{
    struct listener *l = MEM_NEW(struct listener);
    l->e = e;
    l->f = f;
    l->fd = take_fd;
    if (f->kind == SERVICE_UDP)
        datagram_buffers(take_fd);
    l->watch = loop_fd_new(e->loop, take_fd, f->kind == SERVICE_UDP ? socket_ready : listener_ready, l);
    loop_fd_watch(l->watch, LOOP_READ);
    f->runtime = l;
    f->listening = true;
    f->fault.text[0] = 0;
}

#define LISTEN_AGAIN (10 * MONO_S)

int forward_listen(struct engine *e, struct service_forward *f, struct why *why)
{
    struct sockaddr_storage ss;
    socklen_t len = f->kind == SERVICE_UNIX ? path_to_sockaddr((const char *)buf_span(&f->text).data, &ss)
                                            : addr_to_sockaddr(&f->addr, &ss);
    errno = ENAMETOOLONG;
    int fd = len ? bind_listener(&ss, len, f->kind == SERVICE_UDP ? SOCK_DGRAM : SOCK_STREAM) : -1;
    if (fd < 0) {
        const char *other = errno == EADDRNOTAVAIL ? "this machine has no such address" : NULL;
        int err = errno == EADDRINUSE ? ERR_BUSY : err_from_errno(errno);
        struct buf place = BUF_INIT;
        service_forward_text(f, &place);
        (void)why_set(why, err, "cannot listen on %s: %s", buf_cstr(&place), other ? other : err_text(err));
        buf_done(&place);
        e->forwards_at = engine_min(e->forwards_at, mono_after(mono_now(), LISTEN_AGAIN));
        return err;
    }
    forward_adopt(e, f, fd);
    return 0;
}

void forward_close(struct engine *e, struct service_forward *f)
{
    struct listener *l = f->runtime;
    for (struct bridge *b = e->bridges, *next; b; b = next) {
        next = b->next;
        if (b->forward == f)
            bridge_end(b, ERR_CLOSED);
    }
    f->runtime = NULL;
    f->listening = false;
    if (!l)
        return;
    if (f->kind == SERVICE_UNIX)
        (void)unlink((const char *)buf_span(&f->text).data); /* somebody else has removed it: as wished */
    loop_fd_free(l->watch);
    close(l->fd);
    free(l);
}
