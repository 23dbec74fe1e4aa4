/* SPDX-License-Identifier: MIT */
#include "cmd/dns/dns_server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define UDP_BATCH   64   /* queries before the loop does something else */
#define UDP_QUERY   4096 /* longer ones are cut, and then malformed */
#define TCP_BACKLOG 16
#define TCP_UNSENT  (64u << 10) /* answers that nobody takes */
#define PORT_TRIES  16          /* for a port that is free for both, when any will do */

struct dns_conn {
    struct dns_server *server;
    struct bufferevent *bev;
    TAILQ_ENTRY(dns_conn) link;
};

struct dns_server {
    struct dns_server_options o;
    uint16_t port;
    int udp;
    struct event *readable;
    struct evconnlistener *listener;
    TAILQ_HEAD(, dns_conn) conns; /* who was answered last, or came since, is last */
    unsigned conn_count;
    struct buf out;
};

/* ---- UDP ---- */

static void on_datagram(evutil_socket_t fd, short what, void *arg)
{
    struct dns_server *s = arg;
    uint8_t query[UDP_QUERY];
    (void)what;
    for (unsigned i = 0; i < UDP_BATCH; i++) {
        struct sockaddr_in from;
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(fd, query, sizeof query, 0, (struct sockaddr *)&from, &from_len);
        if (n < 0)
            return;
        buf_clear(&s->out);
        s->o.answer(s->o.arg, span_of(query, (size_t)n), false, &s->out);
        struct span answer = buf_span(&s->out);
        if (answer.len)
            (void)sendto(fd, answer.data, answer.len, 0, (struct sockaddr *)&from, from_len); /* lost: it is asked again */
    }
}

/* ---- TCP: length : 16, message ---- */

static void conn_free(struct dns_conn *c)
{
    struct dns_server *s = c->server;
    TAILQ_REMOVE(&s->conns, c, link);
    s->conn_count--;
    bufferevent_free(c->bev);
    free(c);
}

/* One whole message from the front of `in`, answered: false when there is none. */
static bool answer_next(struct dns_conn *c, struct evbuffer *in)
{
    struct dns_server *s = c->server;
    size_t have = evbuffer_get_length(in);
    const uint8_t *head = have >= 2 ? evbuffer_pullup(in, 2) : NULL;
    size_t len = head ? (size_t)head[0] << 8 | head[1] : 0;
    if (!head || have < 2 + len)
        return false;
    const uint8_t *whole = evbuffer_pullup(in, (ev_ssize_t)(2 + len));
    buf_clear(&s->out);
    s->o.answer(s->o.arg, span_of(whole + 2, len), true, &s->out);
    struct span answer = buf_span(&s->out);
    uint8_t length[2] = {(uint8_t)(answer.len >> 8), (uint8_t)answer.len};
    if (answer.len) {
        bufferevent_write(c->bev, length, sizeof length);
        bufferevent_write(c->bev, answer.data, answer.len);
    }
    evbuffer_drain(in, 2 + len);
    TAILQ_REMOVE(&s->conns, c, link);
    TAILQ_INSERT_TAIL(&s->conns, c, link);
    return true;
}

static void on_bytes(struct bufferevent *bev, void *arg)
{
    struct evbuffer *out = bufferevent_get_output(bev);
    while (evbuffer_get_length(out) < TCP_UNSENT && answer_next(arg, bufferevent_get_input(bev)))
        ;
    if (evbuffer_get_length(out) >= TCP_UNSENT)
        bufferevent_disable(bev, EV_READ);
}

static void on_sent(struct bufferevent *bev, void *arg)
{
    bufferevent_enable(bev, EV_READ);
    on_bytes(bev, arg);
}

static void on_end(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    (void)what;
    conn_free(arg); /* a query that is answered is answered at once: nothing is lost but what was not taken */
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
    struct dns_server *s = arg;
    (void)l;
    (void)from;
    (void)len;
    if (s->conn_count == DNS_CONNS_MAX)
        conn_free(TAILQ_FIRST(&s->conns));
    struct bufferevent *bev = bufferevent_socket_new(s->o.base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!bev) {
        close(fd);
        return;
    }
    struct dns_conn *c = MEM_NEW(struct dns_conn);
    *c = (struct dns_conn){.server = s, .bev = bev};
    TAILQ_INSERT_TAIL(&s->conns, c, link);
    s->conn_count++;
    const struct timeval idle = {DNS_CONN_IDLE_S, 0};
    bufferevent_setcb(bev, on_bytes, on_sent, on_end, c);
    bufferevent_set_timeouts(bev, &idle, &idle);
    bufferevent_setwatermark(bev, EV_READ, 0, 2 + 65535);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
}

/* Out of descriptors, mostly: looked at again with the next tick, instead of at once and for ever. */
static void on_fault(struct evconnlistener *l, void *arg)
{
    (void)arg;
    (void)evconnlistener_disable(l);
}

void dns_server_tick(struct dns_server *s)
{
    (void)evconnlistener_enable(s->listener);
}

/* ---- life ---- */

/* Binds both; the errno. */
static int bind_both(struct dns_server *s, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t len = sizeof a;
    inet_pton(AF_INET, DNS_ADDRESS, &a.sin_addr);
    s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->udp < 0 || bind(s->udp, (struct sockaddr *)&a, sizeof a) < 0 || getsockname(s->udp, (struct sockaddr *)&a, &len) < 0)
        return errno;
    s->port = ntohs(a.sin_port);
    s->listener =
        evconnlistener_new_bind(s->o.base, on_accept, s, LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
                                TCP_BACKLOG, (struct sockaddr *)&a, sizeof a);
    if (!s->listener)
        return errno;
    evconnlistener_set_error_cb(s->listener, on_fault);
    return 0;
}

static void close_sockets(struct dns_server *s)
{
    if (s->readable)
        event_free(s->readable);
    if (s->listener)
        evconnlistener_free(s->listener);
    if (s->udp >= 0)
        close(s->udp);
    s->readable = NULL;
    s->listener = NULL;
    s->udp = -1;
}

int dns_server_open(struct dns_server **ret, const struct dns_server_options *o, struct why *why)
{
    struct dns_server *s = MEM_NEW(struct dns_server);
    *s = (struct dns_server){.o = *o, .udp = -1, .out = BUF_INIT};
    TAILQ_INIT(&s->conns);
    int number = bind_both(s, o->port);
    for (unsigned i = 1; number == EADDRINUSE && !o->port && i < PORT_TRIES; i++) {
        close_sockets(s);
        number = bind_both(s, 0);
    }
    if (number) {
        dns_server_close(s);
        int err = number == EADDRINUSE ? ERR_BUSY : err_from_errno(number);
        return why_set(why, err, "%s port %u: %s", DNS_ADDRESS, o->port, strerror(number));
    }
    s->readable = event_new(o->base, s->udp, EV_READ | EV_PERSIST, on_datagram, s);
    event_add(s->readable, NULL);
    *ret = s;
    return 0;
}

struct dns_server *dns_server_close(struct dns_server *s)
{
    if (!s)
        return NULL;
    while (!TAILQ_EMPTY(&s->conns))
        conn_free(TAILQ_FIRST(&s->conns));
    close_sockets(s);
    buf_done(&s->out);
    free(s);
    return NULL;
}

uint16_t dns_server_port(const struct dns_server *s)
{
    return s->port;
}
