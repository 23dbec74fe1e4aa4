/* SPDX-License-Identifier: MIT */
#include "net/transport/ifaces.h"

#include "store/base/err.h"
#include "store/base/span.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct iface *find_or_add(struct iface *list, int *count, const struct ifaddrs *from)
{
    for (int i = 0; i < *count; i++)
        if (strcmp(list[i].name, from->ifa_name) == 0)
            return &list[i];
    unsigned index = if_nametoindex(from->ifa_name);
    if (*count == IFACES_MAX || index == 0) /* 0: an alias like eth0:1, or gone meanwhile */
        return NULL;
    int at = *count;
    while (at > 0 && list[at - 1].index > index)
        at--;
    memmove(&list[at + 1], &list[at], (size_t)(*count - at) * sizeof *list);
    ++*count;
    struct iface *i = &list[at];
    *i = (struct iface){.index = index,
                        .up = from->ifa_flags & IFF_UP && from->ifa_flags & IFF_RUNNING,
                        .loopback = from->ifa_flags & IFF_LOOPBACK,
                        .multicast = from->ifa_flags & IFF_MULTICAST,
                        .point_to_point = from->ifa_flags & IFF_POINTOPOINT};
    memcpy(i->name, from->ifa_name, strnlen(from->ifa_name, IFNAMSIZ - 1));
    return i;
}

static void add_addr(struct iface *i, const struct sockaddr *sa)
{
    if (!sa || i->addr_count == IFACE_ADDRS_MAX)
        return;
    struct iface_addr *a = &i->addrs[i->addr_count];
    if (sa->sa_family == AF_INET) {
        *a = (struct iface_addr){.v6 = false};
        memcpy(a->ip, &((const struct sockaddr_in *)sa)->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        *a = (struct iface_addr){.v6 = true};
        memcpy(a->ip, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
    } else {
        return; /* the link's own address */
    }
    i->addr_count++;
}

int ifaces_read(struct iface ret[IFACES_MAX])
{
    struct ifaddrs *all;
    if (getifaddrs(&all) != 0)
        return err_from_errno(errno);
    int count = 0;
    for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
        struct iface *i = find_or_add(ret, &count, a);
        if (i)
            add_addr(i, a->ifa_addr);
    }
    freeifaddrs(all);
    return count;
}

struct iface_watch {
    int fd;
    struct loop_fd *watch;
    void (*changed)(void *arg);
    void *arg;
};

static void ready(void *arg, unsigned what)
{
    (void)what;
    struct iface_watch *w = arg;
    uint8_t message[8192];
    bool any = false;
    for (;;) { /* what it says is read again as a whole: only that something came counts */
        ssize_t n = recv(w->fd, message, sizeof message, MSG_DONTWAIT);
        if (n < 0 && errno != ENOBUFS) /* ENOBUFS: messages were lost, so something changed */
            break;
        any = true;
    }
    if (any)
        w->changed(w->arg);
}

int iface_watch_new(struct iface_watch **ret, struct loop *loop, void (*changed)(void *arg), void *arg)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return err_from_errno(errno);
    struct sockaddr_nl nl = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (bind(fd, (struct sockaddr *)&nl, sizeof nl) != 0) {
        int err = err_from_errno(errno);
        close(fd);
        return err;
    }
    struct iface_watch *w = MEM_NEW(struct iface_watch);
    w->fd = fd;
    w->changed = changed;
    w->arg = arg;
    w->watch = loop_fd_new(loop, fd, ready, w);
    loop_fd_watch(w->watch, LOOP_READ);
    *ret = w;
    return 0;
}

struct iface_watch *iface_watch_free(struct iface_watch *w)
{
    if (!w)
        return NULL;
    loop_fd_free(w->watch);
    close(w->fd);
    free(w);
    return NULL;
}
