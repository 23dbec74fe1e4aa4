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
    struct evconnlistener *listener; /* of TCP */
    uint64_t number, flows;          /* of UDP: by what it is closed, and how many flows it had */
    enum service_way way;
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
        if (k->listener)
            evconnlistener_free(k->listener);
        else
            s->o.unbound(s->o.arg, k->number);
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
static int bound(uint32_t ip, enum service_way way, uint16_t port, uint16_t *ret_port)
{
    bool tcp = way == SERVICE_WAY_TCP;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)};
    socklen_t len = sizeof a;
    int on = 1, fd = socket(AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ERR_LIMIT;
    if (tcp)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* connections of before may linger */
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0 &&
        (!tcp || listen(fd, BACKLOG) == 0)) {
        *ret_port = ntohs(a.sin_port);
        return fd;
    }
    int err = errno == EADDRINUSE ? ERR_BUSY : err_from_errno(errno);
    close(fd);
    return err;
}

/* False: the descriptor is closed. */
static bool use(struct lease_socket *k, int take_fd)
{
    const struct lease_sockets_options *o = &k->all->o;
    if (k->way == SERVICE_WAY_UDP) {
        k->number = o->bound(o->arg, k->lease, k->port, take_fd);
        return k->number != 0;
    }
    k->listener = evconnlistener_new(o->base, on_accept, k, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, take_fd);
    if (k->listener)
        evconnlistener_set_error_cb(k->listener, on_fault);
    else
        close(take_fd);
    return k->listener != NULL;
}

int lease_sockets_open(struct lease_sockets *s, struct lease *lease, enum service_way way, uint16_t port)
{
    uint16_t got = 0;
    if (port ? lease_sockets_has(lease, way, port) : lease_sockets_chosen(lease, way) != 0)
        return 0;
    if (s->count == LEASE_SOCKETS_MAX && !close_oldest(s, lease))
        return ERR_LIMIT;
    int fd = bound(lease->ip, way, port, &got);
    if (fd < 0)
        return fd;
    struct lease_socket *k = MEM_NEW(struct lease_socket);
    *k = (struct lease_socket){.all = s, .lease = lease, .way = way, .port = got, .chosen = port == 0, .next = lease->owned};
    if (!use(k, fd)) {
        free(k);
        return ERR_LIMIT;
    }
    lease->owned = k;
    lease->held++;
    s->count++;
    return 0;
}

bool lease_sockets_has(const struct lease *lease, enum service_way way, uint16_t port)
{
    for (const struct lease_socket *k = lease->owned; k; k = k->next)
        if (k->way == way && k->port == port)
            return true;
    return false;
}

uint16_t lease_sockets_chosen(const struct lease *lease, enum service_way way)
{
    for (const struct lease_socket *k = lease->owned; k; k = k->next)
        if (k->way == way && k->chosen)
            return k->port;
    return 0;
}

static struct lease_socket *by_number(const struct lease_sockets *s, uint64_t number)
{
    struct lease *lease;
    for (unsigned i = 0; (lease = leases_at(s->o.leases, i)); i++)
        for (struct lease_socket *k = lease->owned; k; k = k->next)
            if (k->way == SERVICE_WAY_UDP && k->number == number)
                return k;
    return NULL;
}

void lease_sockets_flows(struct lease_sockets *s, uint64_t number, unsigned open, uint64_t total, mono_ns now)
{
    struct lease_socket *k = open || total ? by_number(s, number) : NULL;
    if (!k || (!open && total == k->flows))
        return;
    k->lease->accepted += total - k->flows;
    k->lease->used = now;
    k->flows = total;
}

void lease_sockets_tick(struct lease_sockets *s, mono_ns now)
{
    struct lease *lease;
    for (unsigned i = 0; s->count && (lease = leases_at(s->o.leases, i)); i++) {
        for (struct lease_socket *k = lease->owned; k && s->paused; k = k->next)
            if (k->paused) { /* of TCP */
                k->paused = false;
                evconnlistener_enable(k->listener);
            }
        if (lease->owned && now - lease->used >= LEASE_IDLE)
            lease_sockets_close(s, lease);
    }
    s->paused = false;
}
