/* SPDX-License-Identifier: MIT
 *
 * Decisions, each measured or argued:
 *   writeback cache  off: the kernel would own size and times of files being written, and the mount (fsync, CIDs, quota) has
 *                    to; write(2) of 1 MiB is one request anyway
 *   async read       on; max_background is raised far beyond the kernel's 12, because parked reads of absent content count
 *                    against it and 12 of them would stop everybody's
 *   splice           off: replies go from LMDB's map to the kernel with one writev; a pipe between would cost more calls
 *   readdirplus      always for small directories, else by the kernel's guess (AUTO)
 *   auto inval data  off, explicit on: nobody but this mount changes its files
 *   permissions      ours, not the kernel's (default_permissions): that would answer EACCES where a place is read-only for
 *                    everybody (EROFS), from modes that it has to ask for once more when they may have changed
 *   locks            the kernel's own: every process that can see the mount is on this machine
 */
#include "fs/fuse/session.h"

#include "fs/fuse/handshake.h"
#include "fs/fuse/libfuse.h"
#include "fs/fuse/decode.h"
#include "store/base/log.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct session {
    struct fuse_session *fuse;
    struct fuse_buf buf;
    struct session_options o;
    struct handshake handshake;
    bool init_seen;
};

#define BACKGROUND_MAX 65535 /* the field has 16 bits */
#define NOTIFY_PRUNE   9     /* newer than the header of Debian 12, and what follows too */
#define PRUNE_MINOR    45

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    conn->max_write = conn->max_read = SESSION_IO_MAX;
    conn->max_background = conn->congestion_threshold = BACKGROUND_MAX;
    conn->time_gran = 1;
    conn->want = conn->capable &
                 (FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                  FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_ASYNC_DIO);
}

/* userdata of the callbacks is the session */
void session_dispatch(void *session, struct request *r)
{
    struct session *s = session;
    s->o.handle(s->o.owner, r);
}

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
    (void)userdata;
    return read(fd, buf, len);
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    struct session *s = userdata;
    if (s->handshake.unique)
        handshake_reply(&s->handshake, iov, count);
    return writev(fd, iov, count);
}

static const struct fuse_custom_io io = {.read = io_read, .writev = io_writev};

static struct fuse_session *make(struct session *s)
{
    char options[128];
    snprintf(options, sizeof options, "fsname=p2p,subtype=p2p,max_read=%u", SESSION_IO_MAX);
    char *argv[] = {(char[]){"p2p"}, (char[]){"-o"}, options, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    struct fuse_lowlevel_ops ops;
    decode_ops(&ops);
    ops.init = on_init;
    struct fuse_session *fuse = fuse_session_new(&args, &ops, sizeof ops, s);
    fuse_opt_free_args(&args);
    return fuse;
}

static void no_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char text[256];
    vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\n")] = 0;
    log_line(level <= FUSE_LOG_ERR ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "fuse", "text=\"%s\"", text);
}

int session_new(struct session **ret, const struct session_options *o, struct why *why)
{
    if (access("/dev/fuse", R_OK | W_OK) != 0)
        return why_set(why, ERR_DENIED, "/dev/fuse cannot be opened (%s): %s", strerror(errno),
                       errno == EACCES ? "it must be readable and writable for you"
                                       : "load the fuse module, or give this container the device");
    fuse_set_log_func(no_log);
    struct session *s = MEM_NEW(struct session);
    s->o = *o;
    s->fuse = make(s);
    if (!s->fuse || fuse_session_mount(s->fuse, o->dir) != 0) {
        if (s->fuse)
            fuse_session_destroy(s->fuse);
        free(s);
        return why_set(why, ERR_DENIED,
                       "cannot mount at %s: is fusermount3 installed (apt install fuse3), and may you write there?", o->dir);
    }
    int fd = fuse_session_fd(s->fuse);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fuse_session_custom_io(s->fuse, &io, fd);
    *ret = s;
    return 0;
}

/* Ends the connection in a way that libfuse takes for the mount's end (POLLERR): it would take away whatever is mounted at that
 * place by now. */
static void sever(int fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    close(ends[0]);
    (void)dup3(ends[1], fd, O_CLOEXEC);
    close(ends[1]);
}

struct session *session_free(struct session *s)
{
    if (!s)
        return NULL;
    sever(fuse_session_fd(s->fuse));
    fuse_session_unmount(s->fuse); /* closes the descriptor and frees what libfuse knows of the mount */
    fuse_session_destroy(s->fuse);
    free(s->buf.mem);
    free(s);
    return NULL;
}

static mono_ns read_limit(const char *path)
{
    unsigned seconds = 0;
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%u", &seconds) != 1)
        seconds = 0;
    if (f)
        fclose(f);
    return seconds ? seconds * MONO_S : MONO_NEVER;
}

mono_ns session_request_limit(void)
{
    mono_ns least =
        mono_min(read_limit("/proc/sys/fs/fuse/max_request_timeout"), read_limit("/proc/sys/fs/fuse/default_request_timeout"));
    return least == MONO_NEVER ? 0 : least;
}

int session_fd(const struct session *s)
{
    return fuse_session_fd(s->fuse);
}

int session_input(struct session *s)
{
    int got = fuse_session_receive_buf(s->fuse, &s->buf);
    if (got == -EAGAIN || got == -EINTR)
        return 0;
    if (got <= 0)
        return ERR_CLOSED;
    if (!s->init_seen) {
        handshake_request(&s->handshake, span_of(s->buf.mem, s->buf.size));
        s->init_seen = s->handshake.unique != 0;
    }
    fuse_session_process_buf(s->fuse, &s->buf);
    return 1;
}

static void on_interrupt(fuse_req_t req, void *data)
{
    struct request *r = data;
    struct session *s = fuse_req_userdata(req);
    s->o.interrupted(s->o.owner, r);
}

void session_watch(struct session *s, struct request *kept)
{
    (void)s;
    fuse_req_interrupt_func(kept->kernel, on_interrupt, kept);
}

void session_forget_name(struct session *s, uint64_t dir, const char *name)
{
    (void)fuse_lowlevel_notify_inval_entry(s->fuse, dir, name, strlen(name)); /* it may have forgotten it already */
}

bool session_can_prune(const struct session *s)
{
    return s->handshake.minor >= PRUNE_MINOR;
}

void session_prune(struct session *s, const uint64_t *nodes, unsigned count)
{
    struct {
        uint32_t count, padding;
        uint64_t spare;
    } prune = {.count = count};
    struct fuse_out_header head = {.error = NOTIFY_PRUNE};
    struct iovec iov[] = {{&head, sizeof head}, {&prune, sizeof prune}, {(void *)(uintptr_t)nodes, count * sizeof *nodes}};
    head.len = (uint32_t)(iov[0].iov_len + iov[1].iov_len + iov[2].iov_len);
    (void)!writev(fuse_session_fd(s->fuse), iov, 3); /* those that it has forgotten are no error, nor is the mount's end */
}
