/* SPDX-License-Identifier: MIT
 *
 * See engine_bridge.h. A descriptor is watched for reading only while the stream has room, and for writing only while it takes
 * no more: so each side's slowness reaches the other, and nothing turns in the loop. Ends go through as they come: end of
 * file is the stream's FIN, the stream's FIN is shutdown(2), and what breaks one side breaks the other.
 */
#include "net/engine/engine_bridge.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_MOST ((size_t)256 << 10) /* of one descriptor in one go */
#define LINGER    (30 * MONO_S)       /* for the peer to finish, after a program has closed its socket altogether */

static mono_ns now_of(void)
{
    return mono_now();
}

/* ---- life ---- */

struct bridge *bridge_new(struct engine *e, enum bridge_state state)
{
    struct bridge *b = MEM_NEW(struct bridge);
    b->e = e;
    b->state = state;
    b->ends = &bridge_fd;
    b->fd = b->other_fd = -1;
    b->number = ++e->bridge_number;
    b->opened_at = now_of();
    b->deadline = MONO_NEVER;
    b->prev = e->bridges_last;
    *(b->prev ? &b->prev->next : &e->bridges) = b;
    e->bridges_last = b;
    e->bridge_count++;
    return b;
}

static struct service_count *count_of(struct bridge *b)
{
    return b->offer ? &b->offer->count : b->forward ? &b->forward->count : NULL;
}

void bridge_count(struct bridge *b)
{
    struct service_count *c = count_of(b);
    c->open++;
    c->streams++;
}

static void uncount(struct bridge *b)
{
    struct service_count *c = count_of(b);
    if (!c)
        return;
    c->open--;
    c->time += now_of() - b->opened_at;
}

static void came(struct bridge *b, size_t n)
{
    struct service_count *c = count_of(b);
    b->bytes_in += n;
    if (c)
        c->bytes_in += n;
}

static void went(struct bridge *b, size_t n)
{
    struct service_count *c = count_of(b);
    b->bytes_out += n;
    if (c)
        c->bytes_out += n;
}

static void unlink_bridge(struct bridge *b)
{
    struct engine *e = b->e;
    *(b->prev ? &b->prev->next : &e->bridges) = b->next;
    *(b->next ? &b->next->prev : &e->bridges_last) = b->prev;
    e->bridge_count--;
}

static void close_fd(struct bridge *b, bool broken)
{
    b->watch = loop_fd_free(b->watch);
    if (b->fd >= 0 && broken) {
        struct linger hard = {.l_onoff = 1};
        (void)setsockopt(b->fd, SOL_SOCKET, SO_LINGER, &hard,
                         sizeof hard); /* TCP: a reset, so that nobody takes it for an end */
    }
    if (b->fd >= 0)
        close(b->fd);
    if (b->other_fd >= 0)
        close(b->other_fd);
    b->fd = b->other_fd = -1;
}

void bridge_end(struct bridge *b, int err)
{
    struct engine *e = b->e;
    unlink_bridge(b);
    uncount(b);
    service_undial(b, err < 0 ? err : ERR_CLOSED);
    if (b->ends->done)
        b->ends->done(b);
    if (b->raw)
        host_raw_reset(e->host, b->raw, now_of());
    close_fd(b, err < 0);
    if (b->ended)
        b->ended(b->arg, b->number, err);
    free(b->place);
    free(b);
    e->service_changes++;
}

void bridges_end_all(struct engine *e, int err)
{
    while (e->bridges)
        bridge_end(e->bridges, err);
}

/* ---- a descriptor ---- */

static void fd_ready(void *arg, unsigned what)
{
    struct bridge *b = arg;
    if (b->state == BRIDGE_TARGET) {
        target_connected(b);
        return;
    }
    if (what & LOOP_WRITE)
        b->full = false;
    b->ends->pump(b);
}

void bridge_set_fd(struct bridge *b, int fd)
{
    int domain = 0;
    socklen_t len = sizeof domain;
    b->fd = fd;
    b->watch = loop_fd_new(b->e->loop, fd, fd_ready, b);
    b->unix_end = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

void bridge_open(struct bridge *b, struct host_raw *raw)
{
    b->state = BRIDGE_OPEN;
    b->raw = raw;
    b->deadline = MONO_NEVER;
    b->e->service_changes++;
    host_raw_own(b->e->host, raw, b);
    if (b->watch)
        loop_fd_watch(b->watch, LOOP_READ);
}

static bool closed_altogether(const struct bridge *b)
{
    struct pollfd p = {.fd = b->fd};
    return b->unix_end && poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* stream → fd. false: the bridge is gone */
static bool pump_in(struct bridge *b)
{
    struct host *h = b->e->host;
    struct span in;
    while (!b->full && (in = host_raw_peek(b->raw)).len) {
        ssize_t n = b->shut ? (ssize_t)in.len : send(b->fd, in.data, in.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            b->full = true;
        } else if (n < 0) {
            bridge_end(b, ERR_RESET);
            return false;
        } else {
            came(b, (size_t)n);
            host_raw_consume(h, b->raw, (size_t)n, now_of());
        }
    }
    if (!b->shut && host_raw_finished(b->raw)) {
        b->shut = true;
        (void)shutdown(b->fd, SHUT_WR); /* its other end may be gone: then nobody minds */
    }
    return true;
}

static void end_of_file(struct bridge *b)
{
    b->eof = true;
    host_raw_finish(b->e->host, b->raw, now_of());
    if (!closed_altogether(b))
        return;
    b->shut = true; /* what still comes is for nobody: it is taken and dropped */
    b->full = false;
    bridge_deadline(b, mono_after(now_of(), LINGER));
}

/* fd → stream. false: the bridge is gone */
static bool pump_out(struct bridge *b)
{
    struct engine *e = b->e;
    size_t room = host_raw_room(b->raw);
    if (b->eof)
        return true;
    if (room == 0) {
        host_raw_want_room(b->raw);
        return true;
    }
    if (room > READ_MOST)
        room = READ_MOST;
    buf_clear(&e->bridge_scratch);
    ssize_t n = recv(b->fd, buf_reserve(&e->bridge_scratch, room), room, MSG_DONTWAIT);
    if (n == 0) {
        end_of_file(b);
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        bridge_end(b, ERR_RESET);
        return false;
    } else if (n > 0) {
        buf_commit(&e->bridge_scratch, (size_t)n);
        (void)host_raw_write(e->host, b->raw, buf_span(&e->bridge_scratch),
                             now_of()); /* there is room, or its end is told soon */
        went(b, (size_t)n);
    }
    return true;
}

static void fd_pump(struct bridge *b)
{
    if (!pump_in(b) || !pump_out(b))
        return;
    bool room = !b->eof && host_raw_room(b->raw) > 0;
    if (!b->eof && !room)
        host_raw_want_room(b->raw);
    loop_fd_watch(b->watch, (room ? LOOP_READ : 0u) | (b->full ? LOOP_WRITE : 0u));
}

const struct bridge_ends bridge_fd = {.pump = fd_pump};

/* ---- an echo ---- */

static void echo_pump(struct bridge *b)
{
    struct host *h = b->e->host;
    struct span in;
    while ((in = host_raw_peek(b->raw)).len) {
        int n = host_raw_write(h, b->raw, in, now_of());
        if (n <= 0)
            return; /* READY when there is room; or its end comes */
        came(b, (size_t)n);
        went(b, (size_t)n);
        host_raw_consume(h, b->raw, (size_t)n, now_of());
    }
    if (!b->eof && host_raw_finished(b->raw)) {
        b->eof = true;
        host_raw_finish(h, b->raw, now_of());
    }
}

const struct bridge_ends bridge_echo = {.pump = echo_pump};

/* ---- what the host tells ---- */

void bridges_stream_ready(struct bridge *b)
{
    if (b->state == BRIDGE_OPEN)
        b->ends->pump(b);
}

void bridges_stream_end(struct bridge *b, int err)
{
    b->raw = NULL; /* gone already */
    bridge_end(b, err);
}

void bridge_deadline(struct bridge *b, mono_ns at)
{
    b->deadline = at;
    b->e->bridges_at = engine_min(b->e->bridges_at, at);
}

mono_ns bridges_turn(struct engine *e, mono_ns now)
{
    if (now < e->bridges_at)
        return e->bridges_at;
    e->bridges_at = MONO_NEVER;
    for (struct bridge *b = e->bridges, *next; b; b = next) {
        next = b->next;
        if (b->deadline <= now)
            bridge_end(b, b->state == BRIDGE_TARGET ? ERR_TIMEOUT : ERR_CLOSED);
        else
            e->bridges_at = engine_min(e->bridges_at, b->deadline);
    }
    return e->bridges_at;
}
