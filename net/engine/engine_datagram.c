/* SPDX-License-Identifier: MIT
 *
 * Bridges of datagrams (net/service/datagram.h): with a descriptor of their own (a connected UDP socket, a SEQPACKET pair), or
 * as flows: what one source sends to the socket of a UDP forward. Nothing waits for a datagram: what a descriptor does not take
 * at once is dropped, and what the stream does not take is dropped when it has grown old. All that is dropped here is counted,
 * also by the kernel, whose sockets have room for what comes while the node does something else.
 */
#include "net/engine/engine_addr.h"
#include "net/engine/engine_bridge.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uthash.h>

#define BEHIND     ((size_t)8 << 10) /* unsent bytes of the stream above which datagrams wait here and can be dropped */
#define BATCH      64                /* datagrams of one descriptor in one go */
#define BUFFER     (4 << 20)         /* bytes, asked of the kernel for each direction of a socket */
#define WAIT_MOST  ((size_t)8 << 20) /* in the queues of all of them, beyond what each may have in any case */
#define FLOWS_MOST 1024              /* of one forward */
#define FLOW_LEAST MONO_S            /* of quiet, before it gives way when there are so many */
#define QUIET      (2 * MONO_S)      /* without an answer of a UDP target, after the peer has finished: there is none to come */
#define LINGER     (10 * MONO_S)     /* for the peer to finish, after we have */

struct flow_key { /* compared as memory: what is not used is zero */
    const struct service_forward *forward;
    uint8_t ip[16];
    uint32_t scope;
    uint16_t family, port;
};

struct flow {
    UT_hash_handle hh; /* e->flows */
    struct flow_key key;
    struct bridge *b;
    struct sockaddr_storage source;
    socklen_t len;
    int fd; /* the forward's */
};

/* ---- sockets ---- */

static void buffer(int fd, int forced, int name)
{
    const int size = BUFFER;
    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0)
        (void)setsockopt(fd, SOL_SOCKET, name, &size, sizeof size); /* as much of it as everybody may have */
}

void datagram_buffers(int fd)
{
    buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
    buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
}

uint32_t datagram_missed(int fd)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof info;
    (void)getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len); /* older kernels do not tell */
    return info[SK_MEMINFO_DROPS];
}

/* ---- queue → stream ---- */

/* After each change of the queue: what it has is counted, and what it lost */
static void settle(struct bridge *b)
{
    struct datagram_queue *q = &b->u.d.queue;
    b->e->datagram_bytes += buf_len(&q->bytes) - b->u.d.waits;
    b->u.d.waits = buf_len(&q->bytes);
    if (q->dropped)
        bridge_dropped(b, q->dropped);
    q->dropped = 0;
}

static bool has_room(const struct bridge *b, size_t len)
{
    return host_raw_unsent(b->raw) < BEHIND && host_raw_room(b->raw) >= len;
}

/* Has the stream room, if need be after what it has was sent? Else READY comes with the next bytes that leave. */
static bool takes(struct bridge *b, size_t len)
{
    const struct engine_conn *c = host_raw_carrier(b->raw);
    if (!has_room(b, len) && c)
        tcp_conn_flush(c->tc);
    if (has_room(b, len))
        return true;
    host_raw_want_room(b->raw);
    return false;
}

static void hurry(const struct bridge *b, mono_ns now)
{
    const struct engine_conn *c = host_raw_carrier(b->raw);
    if (c)
        tcp_conn_hurry(c->tc, now);
}

static void send_waiting(struct bridge *b)
{
    struct datagram_queue *q = &b->u.d.queue;
    mono_ns now = mono_now();
    struct span front;
    while ((front = datagram_front(q, now)).len && bridge_allow(b, front.len)) {
        hurry(b, now);
        if (!takes(b, front.len) || host_raw_write(b->e->host, b->raw, front, now) < 0)
            break; /* no room, or its end is near */
        bridge_went(b, front.len - DATAGRAM_HEAD);
        datagram_pop(q);
    }
    settle(b);
}

/* A burst is sent while it is read, not dropped because there is more of it than may wait */
static void keep(struct bridge *b, struct span datagram)
{
    mono_ns now = mono_now();
    b->u.d.used_at = now;
    datagram_push(&b->u.d.queue, datagram, b->e->datagram_bytes < WAIT_MOST ? DATAGRAM_QUEUE_MAX : DATAGRAM_QUEUE_LEAST, now);
    if (b->state == BRIDGE_OPEN && !b->held && buf_len(&b->u.d.queue.bytes) > DATAGRAM_QUEUE_LEAST / 2)
        send_waiting(b);
    else
        settle(b);
}

/* ---- stream → descriptor ---- */

static void deliver(struct bridge *b, struct span datagram)
{
    const struct flow *f = b->u.d.flow;
    ssize_t n =
        f ? sendto(f->fd, datagram.data, datagram.len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&f->source, f->len)
          : send(b->fd, datagram.data, datagram.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0)
        bridge_dropped(b, 1); /* nobody there, or no room: as datagrams are */
}

static void deliver_some(struct bridge *b)
{
    struct span datagram;
    size_t n;
    int left = BATCH; /* each is a call of the system, however short it is */
    while (left-- && (n = datagram_next(host_raw_peek(b->raw), &datagram)) && bridge_allow(b, n)) {
        deliver(b, datagram);
        bridge_came(b, datagram.len);
        b->u.d.used_at = mono_now();
        host_raw_consume(b->e->host, b->raw, n, b->u.d.used_at);
    }
    if (left < 0)
        bridge_wake(b); /* there may be more */
}

static void finish(struct bridge *b)
{
    if (b->u.d.finished)
        return;
    b->u.d.finished = true;
    host_raw_finish(b->e->host, b->raw, mono_now());
}

/* A flow has no halves, a pair has, and a UDP target gets a moment to answer */
static void peer_finished(struct bridge *b)
{
    b->shut = true;
    if (b->u.d.flow)
        finish(b);
    else if (b->unix_end)
        (void)shutdown(b->fd, SHUT_WR); /* its other end may be gone: then nobody minds */
    else
        bridge_deadline(b, mono_now() + QUIET);
}

static void pump_stream(struct bridge *b)
{
    deliver_some(b);
    if (b->held)
        return;
    if (!b->shut && host_raw_finished(b->raw))
        peer_finished(b);
    send_waiting(b);
    if (b->eof && !datagram_front(&b->u.d.queue, mono_now()).len)
        finish(b);
}

void datagrams_expire(struct bridge *b, mono_ns now)
{
    mono_ns idle = b->shut && !b->unix_end ? QUIET : DATAGRAM_IDLE;
    if (b->u.d.finished)
        bridge_end(b, ERR_CLOSED); /* it had time enough */
    else if (b->u.d.used_at + idle > now)
        bridge_deadline(b, b->u.d.used_at + idle); /* it was used meanwhile */
    else {
        finish(b);
        bridge_deadline(b, now + LINGER);
    }
}

/* ---- with a descriptor ---- */

static void count_missed(struct bridge *b)
{
    uint32_t missed = b->unix_end ? 0 : datagram_missed(b->fd);
    if (missed != b->u.d.missed)
        bridge_dropped(b, missed - b->u.d.missed);
    b->u.d.missed = missed;
}

/* A pair reads 0 bytes for an empty datagram, and for its end */
static bool pair_ended(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    int left = 0; /* behind the empty one */
    return poll(&p, 1, 0) == 1 && (ioctl(fd, SIOCINQ, &left) != 0 || left == 0);
}

/* false: the bridge is gone */
static bool receive(struct bridge *b)
{
    struct buf *scratch = &b->e->bridge_scratch;
    for (int i = 0; i < BATCH; i++) {
        buf_clear(scratch);
        ssize_t n = recv(b->fd, buf_reserve(scratch, DATAGRAM_MAX), DATAGRAM_MAX, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED)) {
            count_missed(b);
            return true; /* a UDP target that is not there yet may come */
        }
        if (n < 0) {
            bridge_end(b, ERR_RESET);
            return false;
        }
        if (n == 0 && b->unix_end && pair_ended(b->fd)) {
            b->eof = true;
            return true;
        }
        buf_commit(scratch, (size_t)n);
        keep(b, buf_span(scratch));
    }
    bridge_wake(b); /* there may be more */
    return true;
}

static void datagrams_pump(struct bridge *b)
{
    if (!b->eof && !receive(b))
        return;
    pump_stream(b);
    if (!b->held)
        loop_fd_watch(b->watch, b->eof ? 0 : LOOP_READ);
}

void datagrams_drain(struct bridge *b)
{
    if (!b->eof)
        (void)receive(b); /* it is looked at again when its turn comes */
}

static void datagrams_opened(struct bridge *b)
{
    mono_ns now = mono_now();
    if (b->fd >= 0 && !b->unix_end)
        datagram_buffers(b->fd); /* what waits in a pair grows old */
    b->u.d.used_at = now;
    datagram_freshen(&b->u.d.queue, now);
    bridge_deadline(b, now + DATAGRAM_IDLE);
}

static void datagrams_done(struct bridge *b)
{
    for (; buf_len(&b->u.d.queue.bytes); b->u.d.queue.dropped++)
        datagram_pop(&b->u.d.queue);
    settle(b);
    datagram_queue_done(&b->u.d.queue);
    if (b->u.d.flow)
        HASH_DEL(b->e->flows, b->u.d.flow);
    free(b->u.d.flow);
}

const struct bridge_ends bridge_datagrams = {.pump = datagrams_pump, .opened = datagrams_opened, .done = datagrams_done};

/* ---- flows ---- */

const struct bridge_ends bridge_flow = {.pump = pump_stream, .opened = datagrams_opened, .done = datagrams_done};

static struct flow_key key_of(const struct service_forward *f, const struct sockaddr_storage *ss)
{
    struct flow_key k;
    memset(&k, 0, sizeof k);
    k.forward = f;
    k.family = ss->ss_family;
    if (k.family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)ss;
        memcpy(k.ip, &in6->sin6_addr, sizeof k.ip);
        k.scope = in6->sin6_scope_id;
        k.port = in6->sin6_port;
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)ss;
        memcpy(k.ip, &in->sin_addr, sizeof in->sin_addr);
        k.port = in->sin_port;
    }
    return k;
}

static struct flow *find_flow(const struct engine *e, const struct flow_key *k)
{
    struct flow *w;
    HASH_FIND(hh, e->flows, k, sizeof *k, w);
    return w;
}

/* Whoever asks once from each port, as of a name server, would else use up all of them; who is there now keeps what he has. */
static bool make_way(struct engine *e, const struct service_forward *f, mono_ns now)
{
    struct bridge *oldest = NULL;
    for (struct flow *w = e->flows; w; w = w->hh.next)
        if (w->key.forward == f && (!oldest || w->b->u.d.used_at < oldest->u.d.used_at))
            oldest = w->b;
    if (!oldest || now < mono_after(oldest->u.d.used_at, FLOW_LEAST))
        return false;
    bridge_end(oldest, ERR_CLOSED);
    return true;
}

static struct bridge *new_flow(struct engine *e, struct service_forward *f, const struct flow *like)
{
    if (f->count.open >= FLOWS_MOST && !make_way(e, f, mono_now())) {
        f->count.refused++;
        return NULL;
    }
    struct bridge *b = forward_bridge(e, f);
    b->ends = &bridge_flow;
    b->datagrams = true;
    struct flow *w = b->u.d.flow = MEM_NEW(struct flow);
    *w = *like;
    w->b = b;
    HASH_ADD(hh, e->flows, key, sizeof w->key, w);
    return b;
}

void flows_ready(struct engine *e, struct service_forward *f, int fd)
{
    struct buf *scratch = &e->bridge_scratch;
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage ss = {0};
        socklen_t len = sizeof ss;
        buf_clear(scratch);
        ssize_t n = recvfrom(fd, buf_reserve(scratch, DATAGRAM_MAX), DATAGRAM_MAX, MSG_DONTWAIT, (struct sockaddr *)&ss, &len);
        if (n < 0)
            return;
        buf_commit(scratch, (size_t)n);
        struct flow like = {.key = key_of(f, &ss), .source = ss, .len = len, .fd = fd};
        const struct flow *known = find_flow(e, &like.key);
        struct bridge *b = known ? known->b : new_flow(e, f, &like);
        if (!b)
            continue;
        keep(b, buf_span(scratch));
        if (known)
            bridge_wake(b);
        else
            service_dial(b, f->name, 0);
    }
}
