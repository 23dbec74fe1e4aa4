/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)256 << 10)

/* ---- asking ---- */

/* A line of the node, and the descriptor that came with it (or -1) */
static int read_line(int control, char line[2048], int *ret_fd)
{
    size_t len = 0;
    *ret_fd = -1;
    for (;;) {
        union {
            struct cmsghdr head;
            char space[CMSG_SPACE(sizeof(int))];
        } space;
        struct iovec part = {.iov_base = line + len, .iov_len = 1};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof space};
        struct pollfd p = {.fd = control, .events = POLLIN};
        if (cli_poll(&p, 1) < 0 && cli_interrupted())
            return ERR_INTERRUPTED;
        ssize_t n = recvmsg(control, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0 || len + 1 == 2048)
            return ERR_NOT_RUNNING;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
        if (line[len] == '\n')
            break;
        len++;
    }
    line[len] = 0;
    return 0;
}

int stream_ask(struct cli *c, struct buf *take_line, int *ret_control)
{
    char path[PATH_MAX], answer[2048];
    struct why why = {""};
    int fd = -1, r = api_socket_path("streams", path, &why);
    if (r < 0) {
        buf_done(take_line);
        return cli_fail(c, r, NULL, "%s", why.text);
    }
    int control = http_connect(path);
    if (control < 0) {
        buf_done(take_line);
        return api_no_node(c, control, path);
    }
    buf_add_u8(take_line, '\n');
    ssize_t n = send(control, buf_span(take_line).data, buf_len(take_line), MSG_NOSIGNAL);
    buf_done(take_line);
    r = n < 0 ? ERR_NOT_RUNNING : read_line(control, answer, &fd);
    if (r < 0) {
        close(control);
        return r == ERR_INTERRUPTED ? r : cli_fail(c, r, "p2p up", "the node broke off");
    }
    if (fd >= 0) {
        *ret_control = control;
        return fd;
    }
    json_t *v = json_loads(answer, 0, NULL);
    r = api_say(&(struct api){.c = c}, v);
    json_decref(v);
    close(control);
    return r;
}

/* ---- moving ---- */

struct flow {
    int from, to;
    bool to_stream;
    uint8_t *bytes;
    size_t have, done;
    bool eof, closed; /* `from` ended; `to` was told */
};

/* One step of what poll allows; 0, or the error */
static int step(struct flow *f, bool can_read, bool can_write)
{
    if (can_read && f->done == f->have && !f->eof) {
        ssize_t n = read(f->from, f->bytes, PIECE);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return err_from_errno(errno);
        f->eof = n == 0;
        f->have = n > 0 ? (size_t)n : 0;
        f->done = 0;
        can_write = f->have > 0; /* most often it can: the next poll is spared */
    }
    if (can_write && f->done < f->have) {
        const uint8_t *at = f->bytes + f->done;
        size_t left = f->have - f->done;
        /* a stream that broke is told, and is no signal */
        ssize_t n = f->to_stream ? send(f->to, at, left, MSG_NOSIGNAL) : write(f->to, at, left);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return errno == EPIPE ? ERR_CLOSED : err_from_errno(errno);
        f->done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static bool flow_over(const struct flow *f)
{
    return f->eof && f->done == f->have;
}

static void close_flow(struct flow *f)
{
    if (f->closed || !flow_over(f))
        return;
    f->closed = true;
    if (f->to_stream)
        (void)shutdown(f->to, SHUT_WR); /* the stream may have ended: its end says so */
    else
        close(f->to);
}

/* A person who types would not notice that the peer has finished: then that is the end */
static int move(struct flow *out, struct flow *in, bool person)
{
    while (!in->closed || (!out->closed && !person)) {
        bool read_in = !out->eof && out->done == out->have, read_stream = !in->eof && in->done == in->have;
        bool write_stream = out->done < out->have, write_out = in->done < in->have;
        struct pollfd p[3] = {
            {.fd = read_in ? out->from : -1, .events = POLLIN},
            {.fd = in->from, .events = (short)((read_stream ? POLLIN : 0) | (write_stream ? POLLOUT : 0))},
            {.fd = write_out ? in->to : -1, .events = POLLOUT},
        };
        if (!p[1].events && write_out)
            p[1].fd = -1; /* else it is asked whether both directions have ended: the stream may have broken */
        if (cli_poll(p, 3) < 0) {
            if (cli_interrupted())
                return ERR_INTERRUPTED;
            if (errno != EINTR)
                return err_from_errno(errno);
            continue; /* a signal that is none of ours; poll left nothing in p */
        }
        if (in->closed && p[1].revents & POLLHUP)
            return 0;
        short gone = POLLHUP | POLLERR;
        int r = step(out, p[0].revents & (POLLIN | gone), p[1].revents & (POLLOUT | gone));
        if (r == 0)
            r = step(in, p[1].revents & (POLLIN | gone), p[2].revents & (POLLOUT | gone));
        if (r < 0)
            return r;
        close_flow(out);
        close_flow(in);
    }
    return 0;
}

/* A pipe that is nearly full would hold a large write, and with it the other direction and Ctrl-C. O_NONBLOCK is not set on
 * what we were given, which others have too: this is a description of our own. */
static void own_output(void)
{
    struct stat st;
    int fd = -1;
    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
        fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;                    /* as it is, then */
    (void)dup2(fd, STDOUT_FILENO); /* it is open, so this is not refused */
    close(fd);
}

/* How the node says that it ended */
static int ended(struct cli *c, int control)
{
    char line[2048];
    int fd, r = read_line(control, line, &fd);
    if (r < 0)
        return r == ERR_INTERRUPTED ? r : cli_fail(c, ERR_RESET, NULL, "the node has gone");
    json_t *v = json_loads(line, 0, NULL);
    const char *name = api_text(v, "ended");
    r = strcmp(name, "ERR_OK") == 0 ? 0 : api_code(name);
    json_decref(v);
    return r < 0 ? cli_fail(c, r, NULL, "the stream broke: %s", err_text(r)) : 0;
}

int stream_splice(struct cli *c, int take_control, int take_fd)
{
    struct flow out = {.from = STDIN_FILENO, .to = take_fd, .to_stream = true, .bytes = mem_new(PIECE)};
    struct flow in = {.from = take_fd, .to = STDOUT_FILENO, .bytes = mem_new(PIECE)};
    bool person = isatty(STDIN_FILENO);
    own_output();
    int r = move(&out, &in, person);
    free(out.bytes);
    free(in.bytes);
    bool enough = r == ERR_CLOSED && !in.eof && in.done < in.have; /* whoever reads our output has enough */
    close(take_fd);
    if (r < 0 && r != ERR_CLOSED && r != ERR_RESET && r != ERR_INTERRUPTED)
        (void)cli_fail(c, r, NULL, "%s", err_text(r));
    else if (r != ERR_INTERRUPTED && !enough && !(person && !out.closed))
        r = ended(c, take_control);
    close(take_control);
    return enough || (person && r >= 0) ? 0 : r;
}
