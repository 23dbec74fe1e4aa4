/* SPDX-License-Identifier: MIT
 *
 * See tcp.h. One scratch buffer is shared by all connections: output is pulled into it and sent at once; only when the kernel
 * takes less does the connection keep the buffer (it is swapped for the connection's own empty one), until that part is out.
 */
#include "net/transport/tcp.h"

#include "store/base/err.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG   256
#define ACCEPT_BATCH     32                  /* accepted in one go, so that others get their turn */
#define ACCEPT_PAUSE     (1 * MONO_S)        /* after descriptors ran out */
#define ACCEPT_REST      (5 * MONO_MS)       /* after some were refused: more come, and cost a turn together, not one each */
#define PULL_BYTES       ((size_t)4 * 65537) /* of output at once: full Noise frames */
#define PULL_SHORT       ((size_t)16 << 10)  /* the same when there is no memory for that */
#define FLUSH_BYTES      ((size_t)1 << 20)   /* sent for one connection in one go */
#define READ_BYTES       ((size_t)512 << 10) /* received for one connection in one go */
#define READ_LEAST       ((size_t)16 << 10)
#define READ_TIME        (MONO_MS / 2) /* the same, for those whose bytes are much work: the others have their turn */
#define NOTSENT_LOWAT    (256 << 10)
#define HURRY_BYTES      (8 << 10) /* of both of these, in a hurry: 64 ms at 1 Mbit/s */
#define HURRY_FOR        (10 * MONO_S)
#define SEND_BUFFER_MOST (16 << 20) /* asked for; see the header */
#define RTO_MOST         2000       /* ms until what got lost is sent again; else about as long as a cut was, or twice that */
#define SENT_FOR         60000      /* ms; else so many tries: half a minute. Pings decide before */
#define KEEPALIVE_IDLE   120        /* s; yamux pings find a dead peer sooner, this is for connections that never became one */

#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44 /* from Linux 6.15 on */
#endif

struct listener {
    int fd;
    struct loop_fd *watch;
    struct multiaddr bound;
    struct tcp *tcp;
};

struct tcp_conn {
    struct tcp *tcp;
    struct tcp_conn *prev, *next;
    int fd;
    struct loop_fd *watch;
    void *owner;
    struct buf out;   /* pulled, not taken by the kernel yet */
    size_t read_most; /* at once */
    bool dialing, paused, ended, blocked;
    bool in_call;        /* a callback for it is running: it may not be closed */
    mono_ns hurry_until; /* 0: it is in none */
};

struct tcp {
    struct loop *loop;
    struct budget *budget;
    struct tcp_callbacks cb;
    struct listener listeners[TCP_LISTEN_MAX];
    unsigned listener_count;
    mono_ns resume_at; /* accepting goes on; MONO_NEVER: it does not wait */
    int send_buffer;   /* for SO_SNDBUF; 0: the kernel's own tuning reaches further */
    struct buf scratch;
    struct tcp_conn *conns;
};

/* The last number of a file under /proc/sys/net; 0: there is none */
static long sysctl_number(const char *path)
{
    FILE *f = fopen(path, "re");
    long n[3] = {0};
    int count = f ? fscanf(f, "%ld %ld %ld", &n[0], &n[1], &n[2]) : 0;
    if (f)
        fclose(f);
    return count > 0 ? n[count - 1] : 0;
}

/* The kernel doubles what it is given, for its own overhead. */
static int send_buffer(void)
{
    long most = sysctl_number("/proc/sys/net/core/wmem_max"), tuned = sysctl_number("/proc/sys/net/ipv4/tcp_wmem");
    return most > tuned / 2 && tuned > 0 ? (int)(most < SEND_BUFFER_MOST ? most : SEND_BUFFER_MOST) : 0;
}

struct tcp *tcp_new(struct loop *loop, struct budget *budget, const struct tcp_callbacks *cb)
{
    struct tcp *t = MEM_NEW(struct tcp);
    t->loop = loop;
    t->budget = budget;
    t->cb = *cb;
    t->resume_at = MONO_NEVER;
    t->send_buffer = send_buffer();
    budget_take_always(budget, BUDGET_NET, PULL_BYTES);
    return t;
}

void tcp_unlisten(struct tcp *t)
{
    for (unsigned i = 0; i < t->listener_count; i++) {
        loop_fd_free(t->listeners[i].watch);
        close(t->listeners[i].fd);
    }
    t->listener_count = 0;
    t->resume_at = MONO_NEVER;
}

struct tcp *tcp_free(struct tcp *t)
{
    if (!t)
        return NULL;
    tcp_unlisten(t);
    while (t->conns)
        tcp_conn_close(t->conns);
    buf_done(&t->scratch);
    budget_give(t->budget, BUDGET_NET, PULL_BYTES);
    free(t);
    return NULL;
}

static int socket_err(int number)
{
    switch (number) {
    case ECONNREFUSED:
        return ERR_REFUSED;
    case ECONNRESET:
    case EPIPE:
        return ERR_RESET;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ENETUNREACH:
    case ENETDOWN:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
    case EINVAL: /* a link-local address without its zone */
    case EACCES: /* a broadcast address, or a firewall of ours */
    case EPERM:
        return ERR_UNREACHABLE;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return ERR_LIMIT;
    case EAFNOSUPPORT:
        return ERR_UNSUPPORTED;
    case EADDRINUSE:
        return ERR_BUSY;
    default:
        return err_from_errno(number);
    }
}

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* each is an improvement, none a condition */
}

static void tune(const struct tcp *t, int fd)
{
    if (t->send_buffer)
        set_option(fd, SOL_SOCKET, SO_SNDBUF, t->send_buffer);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT);
    set_option(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, RTO_MOST);
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, SENT_FOR);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE);
}

static bool name_of(int fd, bool remote, struct multiaddr *ret)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;
    struct sockaddr *sa = (struct sockaddr *)&ss;
    int err = remote ? getpeername(fd, sa, &len) : getsockname(fd, sa, &len);
    return err == 0 && multiaddr_from_sockaddr(sa, MA_TCP, ret) == 0;
}

/* ---- reading and writing ---- */

static void watch(struct tcp_conn *c)
{
    unsigned what = 0;
    if (!c->paused && !c->ended && !c->dialing)
        what |= LOOP_READ;
    if (c->blocked || c->dialing)
        what |= LOOP_WRITE;
    loop_fd_watch(c->watch, what);
}

static void end_input(struct tcp_conn *c, int err)
{
    c->ended = true;
    watch(c);
    c->tcp->cb.ended(c->tcp->cb.arg, c->owner, err);
}

/* How much is read at once, so that the next piece of that size is not more work than a turn allows */
static void learn_work(struct tcp_conn *c, size_t n, mono_ns took)
{
    if (took > READ_TIME && c->read_most > READ_LEAST)
        c->read_most /= 2;
    else if (n == c->read_most && took < READ_TIME / 2 && c->read_most < READ_BYTES)
        c->read_most *= 2;
}

static void read_some(struct tcp_conn *c)
{
    const struct tcp_callbacks *cb = &c->tcp->cb;
    mono_ns now = mono_now(), until = mono_after(now, READ_TIME);
    for (size_t total = 0; total < READ_BYTES && !c->paused && now < until;) {
        size_t room = 0;
        uint8_t *at = cb->reserve(cb->arg, c->owner, &room);
        if (!at) {
            end_input(c, ERR_NO_MEMORY);
            return;
        }
        room = room < c->read_most ? room : c->read_most;
        ssize_t n = recv(c->fd, at, room, MSG_DONTWAIT);
        if (n < 0) {
            bool go_on = cb->commit(cb->arg, c->owner, 0);
            (void)go_on; /* nothing came: nothing changed */
            if (errno != EAGAIN && errno != EINTR)
                end_input(c, socket_err(errno));
            return;
        }
        bool go_on = cb->commit(cb->arg, c->owner, (size_t)n);
        if (n == 0) {
            end_input(c, 0);
            return;
        }
        if (!go_on)
            tcp_conn_pause(c, true);
        total += (size_t)n;
        mono_ns before = now;
        now = mono_now();
        learn_work(c, (size_t)n, now - before);
        if ((size_t)n < room)
            return; /* the socket is empty: spare the call that says so */
    }
}

/* Sends what is in `b`; false: the kernel takes no more now, or the connection is broken */
static bool send_buf(struct tcp_conn *c, struct buf *b)
{
    while (buf_len(b)) {
        struct span s = buf_span(b);
        ssize_t n = send(c->fd, s.data, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            buf_consume(b, (size_t)n);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            buf_clear(b);
            if (!c->ended)
                end_input(c, socket_err(errno));
            return false;
        }
        c->blocked = true;
        return false;
    }
    return true;
}

static void swap_bufs(struct buf *a, struct buf *b)
{
    struct buf tmp = *a;
    *a = *b;
    *b = tmp;
}

void tcp_conn_hurry(struct tcp_conn *c, mono_ns now)
{
    if (!c->hurry_until)
        set_option(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, HURRY_BYTES);
    c->hurry_until = mono_after(now, HURRY_FOR);
}

static size_t pull_bytes(struct tcp_conn *c)
{
    if (c->hurry_until && c->hurry_until < mono_now()) {
        c->hurry_until = 0;
        set_option(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT);
    }
    return c->hurry_until ? HURRY_BYTES : PULL_BYTES;
}

/* What the connection kept is out: its memory is the scratch buffer again, when there is no other. A busy connection would
 * else map and unmap it every other time. */
static void give_out(struct tcp_conn *c)
{
    if (!c->tcp->scratch.cap)
        swap_bufs(&c->out, &c->tcp->scratch);
    buf_done(&c->out);
}

static void write_some(struct tcp_conn *c)
{
    struct tcp *t = c->tcp;
    size_t most = pull_bytes(c);
    c->blocked = false;
    if (!send_buf(c, &c->out))
        return;
    give_out(c);
    for (size_t total = 0; total < FLUSH_BYTES;) {
        buf_clear(&t->scratch);
        if (!buf_try_reserve(&t->scratch, most))
            most = PULL_SHORT;
        size_t n = t->cb.output(t->cb.arg, c->owner, &t->scratch, most);
        if (n == 0)
            return;
        total += n;
        if (!send_buf(c, &t->scratch)) {
            if (buf_len(&t->scratch))
                swap_bufs(&c->out, &t->scratch);
            return;
        }
    }
    c->blocked = true; /* there may be more: go on when the others had their turn */
}

void tcp_conn_flush(struct tcp_conn *c)
{
    if (c->dialing || c->blocked)
        return;
    write_some(c);
    watch(c);
}

void tcp_conn_pause(struct tcp_conn *c, bool paused)
{
    c->paused = paused;
    watch(c);
}

/* ---- connections ---- */

static void conn_ready(void *arg, unsigned what);

static struct tcp_conn *conn_add(struct tcp *t, int fd, bool dialing)
{
    struct tcp_conn *c = MEM_NEW(struct tcp_conn);
    c->tcp = t;
    c->fd = fd;
    c->dialing = dialing;
    c->read_most = READ_BYTES;
    c->watch = loop_fd_new(t->loop, fd, conn_ready, c);
    c->next = t->conns;
    if (c->next)
        c->next->prev = c;
    t->conns = c;
    return c;
}

void tcp_conn_close(struct tcp_conn *c)
{
    struct tcp *t = c->tcp;
    assert(!c->in_call);
    if (c->prev)
        c->prev->next = c->next;
    else
        t->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    loop_fd_free(c->watch);
    close(c->fd);
    buf_done(&c->out);
    free(c);
    if (t->resume_at != MONO_NEVER)
        t->resume_at = 0; /* a descriptor came free: accepting may go on at the next turn */
}

static void dial_ended(struct tcp_conn *c)
{
    struct tcp *t = c->tcp;
    int number = 0;
    socklen_t len = sizeof number;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &number, &len) != 0)
        number = errno;
    int err = number ? socket_err(number) : 0;
    struct multiaddr local = {0};
    if (err == 0 && !name_of(c->fd, false, &local))
        err = ERR_RESET;
    c->dialing = false;
    c->in_call = true;
    c->owner = t->cb.dialed(t->cb.arg, c->owner, c, err, &local);
    c->in_call = false;
    if (err < 0 || !c->owner)
        tcp_conn_close(c);
    else
        watch(c);
}

static void conn_ready(void *arg, unsigned what)
{
    struct tcp_conn *c = arg;
    if (c->dialing) {
        dial_ended(c);
        return;
    }
    c->in_call = true;
    if (what & LOOP_READ && !c->ended)
        read_some(c);
    if (what & LOOP_WRITE) {
        write_some(c);
        watch(c);
    }
    c->in_call = false;
}

/* ---- listening ---- */

static void rest(struct tcp *t, mono_ns time)
{
    t->resume_at = mono_after(mono_now(), time);
    for (unsigned i = 0; i < t->listener_count; i++)
        loop_fd_watch(t->listeners[i].watch, 0);
}

static void pause_accepting(struct tcp *t, int number)
{
    rest(t, ACCEPT_PAUSE);
    t->cb.event(t->cb.arg, "tcp.accept.paused", err_text(socket_err(number)));
}

/* What is refused has cost as little as can be: somebody may connect for nothing, as often as he can */
static bool take_accepted(struct tcp *t, int fd, const struct sockaddr *from)
{
    struct multiaddr remote, local;
    if (multiaddr_from_sockaddr(from, MA_TCP, &remote) < 0 || !name_of(fd, false, &local)) {
        close(fd); /* gone already */
        return false;
    }
    struct tcp_conn *c = conn_add(t, fd, false);
    c->in_call = true;
    c->owner = t->cb.accepted(t->cb.arg, c, &remote, &local);
    c->in_call = false;
    if (!c->owner) {
        tcp_conn_close(c);
        return false;
    }
    tune(t, fd);
    watch(c);
    return true;
}

static void listener_ready(void *arg, unsigned what)
{
    (void)what;
    struct listener *l = arg;
    bool refused = false;
    for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof from;
        int fd = accept4(l->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            refused |= !take_accepted(l->tcp, fd, (struct sockaddr *)&from);
            continue;
        }
        if (errno == EAGAIN && refused)
            rest(l->tcp, ACCEPT_REST);
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            pause_accepting(l->tcp, errno); /* the queue stays ready: watching it would spin */
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

mono_ns tcp_deadline(const struct tcp *t)
{
    return t->resume_at;
}

void tcp_expire(struct tcp *t, mono_ns now)
{
    if (now < t->resume_at)
        return;
    t->resume_at = MONO_NEVER;
    for (unsigned i = 0; i < t->listener_count; i++)
        loop_fd_watch(t->listeners[i].watch, LOOP_READ);
}

static int bound_socket(const struct sockaddr_storage *ss, socklen_t len, bool share)
{
    int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return socket_err(errno);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (share)
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (ss->ss_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(fd, (const struct sockaddr *)ss, len) == 0)
        return fd;
    int number = errno;
    close(fd);
    return number == EADDRNOTAVAIL ? ERR_INVALID : socket_err(number);
}

/* Dialing from the listen port needs SO_REUSEPORT on the listener, which would also let a second node of this user listen on
 * the
 * same port and get half of our connections. So a socket without it looks first whether the port is free. */
static int listen_socket(const struct sockaddr_storage *ss, socklen_t len)
{
    int probe = bound_socket(ss, len, false);
    if (probe < 0)
        return probe;
    close(probe);
    int fd = bound_socket(ss, len, true);
    if (fd < 0)
        return fd;
    if (listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    int err = socket_err(errno);
    close(fd);
    return err;
}

int tcp_listen(struct tcp *t, const struct multiaddr *addr, struct multiaddr *ret_bound)
{
    struct sockaddr_storage ss;
    socklen_t len;
    if (!multiaddr_is_tcp(addr))
        return ERR_UNSUPPORTED;
    int err = multiaddr_to_sockaddr(addr, &ss, &len);
    if (err < 0)
        return err;
    if (t->listener_count == TCP_LISTEN_MAX)
        return ERR_LIMIT;
    int fd = listen_socket(&ss, len);
    if (fd < 0)
        return fd;
    struct listener *l = &t->listeners[t->listener_count];
    *l = (struct listener){.fd = fd, .tcp = t};
    if (!name_of(fd, false, &l->bound)) {
        close(fd);
        return ERR_IO;
    }
    l->watch = loop_fd_new(t->loop, fd, listener_ready, l);
    loop_fd_watch(l->watch, LOOP_READ);
    t->listener_count++;
    *ret_bound = l->bound;
    return 0;
}

/* ---- dialing ---- */

/* The wildcard listener of that family: its port is what NATs map and peers observe */
static bool listen_source(const struct tcp *t, int family, struct sockaddr_storage *ret, socklen_t *ret_len)
{
    for (unsigned i = 0; i < t->listener_count; i++) {
        const struct multiaddr *bound = &t->listeners[i].bound;
        if (multiaddr_scope(bound) != MA_SCOPE_UNSPECIFIED)
            continue;
        if (multiaddr_to_sockaddr(bound, ret, ret_len) == 0 && ret->ss_family == family)
            return true;
    }
    return false;
}

static int dial_from(int fd, const struct sockaddr_storage *to, socklen_t len)
{
    if (connect(fd, (const struct sockaddr *)to, len) == 0 || errno == EINPROGRESS)
        return fd;
    int number = errno;
    close(fd);
    errno = number;
    return -1;
}

static int dial_socket(struct tcp *t, const struct multiaddr *addr)
{
    struct sockaddr_storage to, from;
    socklen_t to_len, from_len;
    int err = multiaddr_to_sockaddr(addr, &to, &to_len);
    if (err < 0)
        return err;
    if (multiaddr_scope(addr) == MA_SCOPE_PUBLIC && listen_source(t, to.ss_family, &from, &from_len)) {
        int fd = bound_socket(&from, from_len, true);
        if (fd >= 0)
            tune(t, fd);
        if (fd >= 0 && (fd = dial_from(fd, &to, to_len)) >= 0)
            return fd;
        /* the same four-tuple may still be in TIME_WAIT: any other port will do */
    }
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return socket_err(errno);
    tune(t, fd);
    fd = dial_from(fd, &to, to_len);
    return fd < 0 ? socket_err(errno) : fd;
}

int tcp_dial(struct tcp *t, const struct multiaddr *addr, void *owner, struct tcp_conn **ret)
{
    if (!multiaddr_is_tcp(addr))
        return ERR_UNSUPPORTED;
    int fd = dial_socket(t, addr);
    if (fd < 0)
        return fd;
    struct tcp_conn *c = conn_add(t, fd, true);
    c->owner = owner;
    watch(c);
    *ret = c;
    return 0;
}
