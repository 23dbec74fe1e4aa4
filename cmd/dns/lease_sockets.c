/* SPDX-License-Identifier: MIT */
#include "cmd/dns/lease_sockets.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64

struct lease_socket {
    struct lease_sockets *all;
    struct lease *lease;
    struct evconnlistener *listener;
    uint16_t port;
    bool chosen, paused;
    struct lease_socket *next; /* of the same lease: the list begins at lease->owned */
};

struct lease_sockets {
    struct lease_sockets_options o;
    unsigned count;
    bool paused;
};

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
    struct lease_socket *k = arg;
    (void)l;
    (void)from;
    (void)len;
    k->all->o.accepted(k->all->o.arg, k->lease, k->port, fd);
}

/* Out of descriptors, mostly: looked at again with the next tick, instead of at once and for ever. */
static void on_fault(struct evconnlistener *l, void *arg)
{
    struct lease_socket *k = arg;
    evconnlistener_disable(l);
    k->paused = true;
    k->all->paused = true;
}

struct lease_sockets *lease_sockets_new(const struct lease_sockets_options *o)
{
    struct lease_sockets *s = MEM_NEW(struct lease_sockets);
    s->o = *o;
    return s;
}

struct lease_sockets *lease_sockets_free(struct lease_sockets *s)
{
    struct lease *lease;
    if (!s)
        return NULL;
    for (unsigned i = 0; (lease = leases_at(s->o.leases, i)); i++)
        lease_sockets_close(s, lease);
    free(s);
    return NULL;
}

void lease_sockets_close(struct lease_sockets *s, struct lease *lease)
{
    struct lease_socket *k = lease->owned;
    while (k) {
        struct lease_socket *next = k->next;
        evconnlistener_free(k->listener);
        free(k);
        s->count--;
        lease->held--;
        k = next;
    }
    lease->owned = NULL;
    lease->tried = 0;
}

/* Closes the sockets of the lease that was used least recently, but not of `except`. */
static bool close_oldest(struct lease_sockets *s, const struct lease *except)
{
    struct lease *lease, *oldest = NULL;
    for (unsigned i = 0; (lease = leases_at(s->o.leases, i)); i++)
        if (lease->owned && lease != except && (!oldest || lease->used < oldest->used))
            oldest = lease;
    if (oldest)
        lease_sockets_close(s, oldest);
    return oldest != NULL;
}

/* A bound socket, or ERR_* */
static int bound(uint32_t ip, uint16_t port, uint16_t *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
    socklen_t len = sizeof a;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ERR_LIMIT;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* connections of before may linger */
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0 &&
        listen(fd, BACKLOG) == 0) {
        *ret_port = ntohs(a.sin_port);
        return fd;
    }
    int err = errno == EADDRINUSE ? ERR_BUSY : err_from_errno(errno);
    close(fd);
    return err;
}

int lease_sockets_open(struct lease_sockets *s, struct lease *lease, uint16_t port)
{
    uint16_t got = 0;
    if (port ? lease_sockets_has(s, lease, port) : lease_sockets_chosen(s, lease) != 0)
        return 0;
    if (s->count == LEASE_SOCKETS_MAX && !close_oldest(s, lease))
        return ERR_LIMIT;
    int fd = bound(lease->ip, port, &got);
    if (fd < 0)
        return fd;
    struct lease_socket *k = MEM_NEW(struct lease_socket);
    *k = (struct lease_socket){.all = s, .lease = lease, .port = got, .chosen = port == 0, .next = lease->owned};
    k->listener = evconnlistener_new(s->o.base, on_accept, k, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!k->listener) {
        close(fd);
        free(k);
        return ERR_LIMIT;
    }
    evconnlistener_set_error_cb(k->listener, on_fault);
    lease->owned = k;
    lease->held++;
    s->count++;
    return 0;
}

bool lease_sockets_has(const struct lease_sockets *s, const struct lease *lease, uint16_t port)
{
    (void)s;
    for (const struct lease_socket *k = lease->owned; k; k = k->next)
        if (k->port == port)
            return true;
    return false;
}

uint16_t lease_sockets_chosen(const struct lease_sockets *s, const struct lease *lease)
{
    (void)s;
    for (const struct lease_socket *k = lease->owned; k; k = k->next)
        if (k->chosen)
            return k->port;
    return 0;
}

uint16_t lease_sockets_at(const struct lease_sockets *s, const struct lease *lease, unsigned i)
{
    const struct lease_socket *k = lease->owned;
    (void)s;
    while (k && i--)
        k = k->next;
    return k ? k->port : 0;
}

void lease_sockets_tick(struct lease_sockets *s, mono_ns now)
{
    struct lease *lease;
    for (unsigned i = 0; s->count && (lease = leases_at(s->o.leases, i)); i++) {
        for (struct lease_socket *k = lease->owned; k && s->paused; k = k->next)
            if (k->paused) {
                k->paused = false;
                evconnlistener_enable(k->listener);
            }
        if (lease->owned && now - lease->used >= LEASE_IDLE)
            lease_sockets_close(s, lease);
    }
    s->paused = false;
}
