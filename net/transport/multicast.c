/* SPDX-License-Identifier: MIT
 *
 * See multicast.h. RFC 6762 section 11 wants TTL 255. IP_MULTICAST_ALL is off: without it the kernel hands us every group that
 * anybody on the machine joined.
 */
#include "net/transport/multicast.h"

#include "store/base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define GROUP_PORT  5353
#define GROUP_V4    UINT32_C(0xe00000fb) /* 224.0.0.251 */
#define INPUT_BATCH 32
#define JOINED_MAX  64

struct multicast {
    int fd;
    bool v6;
    struct loop_fd *watch;
    void (*input)(void *arg, const struct multicast_from *from, struct span datagram);
    void *arg;
    unsigned joined[JOINED_MAX];
    unsigned joined_count;
};

static const struct in6_addr group_v6 = {{{0xff, 0x02, [15] = 0xfb}}};

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof value); /* what matters shows in the bind or the join */
}

static bool read_info(struct msghdr *msg, const struct sockaddr_storage *ss, struct multicast_from *ret)
{
    *ret = (struct multicast_from){.v6 = ss->ss_family == AF_INET6};
    if (ret->v6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
        memcpy(ret->ip, &in6->sin6_addr, 16);
        ret->port = ntohs(in6->sin6_port);
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
        memcpy(ret->ip, &in->sin_addr, 4);
        ret->port = ntohs(in->sin_port);
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ret->iface = (unsigned)info.ipi_ifindex;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ret->iface = info.ipi6_ifindex;
        }
    }
    return ret->iface != 0;
}

static void ready(void *arg, unsigned what)
{
    (void)what;
    struct multicast *m = arg;
    static _Thread_local uint8_t datagram[MULTICAST_INPUT_MAX];
    for (unsigned i = 0; i < INPUT_BATCH; i++) {
        struct sockaddr_storage ss = {0};
        struct iovec iov = {datagram, sizeof datagram};
        _Alignas(struct cmsghdr) uint8_t control[256];
        struct msghdr msg = {.msg_name = &ss,
                             .msg_namelen = sizeof ss,
                             .msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
        ssize_t n = recvmsg(m->fd, &msg, MSG_DONTWAIT);
        if (n < 0)
            return; /* EAGAIN, or an ICMP error of something sent: nothing to do about it */
        struct multicast_from from;
        if (!(msg.msg_flags & MSG_TRUNC) && read_info(&msg, &ss, &from))
            m->input(m->arg, &from, span_of(datagram, (size_t)n));
    }
}

static int bind_port(int fd, bool v6)
{
    if (v6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(GROUP_PORT)};
        return bind(fd, (struct sockaddr *)&in6, sizeof in6);
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(GROUP_PORT)};
    return bind(fd, (struct sockaddr *)&in, sizeof in);
}

static void set_options(int fd, bool v6)
{
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (v6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
        set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
        set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255);
        set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255);
        set_option(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
        return;
    }
    set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    set_option(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
    set_option(fd, IPPROTO_IP, IP_MULTICAST_TTL, 255);
    set_option(fd, IPPROTO_IP, IP_TTL, 255);
    set_option(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
}

int multicast_new(struct multicast **ret, struct loop *loop, bool v6,
                  void (*input)(void *arg, const struct multicast_from *from, struct span datagram), void *arg)
{
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? ERR_UNSUPPORTED : err_from_errno(errno);
    set_options(fd, v6);
    if (bind_port(fd, v6) != 0) {
        int err = errno == EADDRINUSE ? ERR_BUSY : err_from_errno(errno);
        close(fd);
        return err;
    }
    struct multicast *m = MEM_NEW(struct multicast);
    m->fd = fd;
    m->v6 = v6;
    m->input = input;
    m->arg = arg;
    m->watch = loop_fd_new(loop, fd, ready, m);
    loop_fd_watch(m->watch, LOOP_READ);
    *ret = m;
    return 0;
}

struct multicast *multicast_free(struct multicast *m)
{
    if (!m)
        return NULL;
    loop_fd_free(m->watch);
    close(m->fd);
    free(m);
    return NULL;
}

static int membership(struct multicast *m, unsigned iface, bool join)
{
    if (m->v6) {
        struct ipv6_mreq r = {.ipv6mr_multiaddr = group_v6, .ipv6mr_interface = iface};
        return setsockopt(m->fd, IPPROTO_IPV6, join ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &r, sizeof r);
    }
    struct ip_mreqn r = {.imr_multiaddr.s_addr = htonl(GROUP_V4), .imr_ifindex = (int)iface};
    return setsockopt(m->fd, IPPROTO_IP, join ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &r, sizeof r);
}

static unsigned find_joined(const struct multicast *m, unsigned iface)
{
    unsigned i = 0;
    while (i < m->joined_count && m->joined[i] != iface)
        i++;
    return i;
}

int multicast_join(struct multicast *m, unsigned iface)
{
    if (find_joined(m, iface) < m->joined_count)
        return 0;
    if (m->joined_count == JOINED_MAX)
        return ERR_LIMIT;
    if (membership(m, iface, true) != 0 && errno != EADDRINUSE)
        return err_from_errno(errno);
    m->joined[m->joined_count++] = iface;
    return 0;
}

void multicast_leave(struct multicast *m, unsigned iface)
{
    unsigned i = find_joined(m, iface);
    if (i == m->joined_count)
        return;
    m->joined[i] = m->joined[--m->joined_count];
    (void)membership(m, iface, false); /* the interface may be gone, and the membership with it */
}

static socklen_t fill_target(const struct multicast *m, unsigned iface, const struct multicast_from *to,
                             struct sockaddr_storage *ret)
{
    *ret = (struct sockaddr_storage){0};
    uint16_t port = htons(to ? to->port : GROUP_PORT);
    if (m->v6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = group_v6, .sin6_scope_id = iface};
        if (to)
            memcpy(&in6->sin6_addr, to->ip, 16);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(GROUP_V4)};
    if (to)
        memcpy(&in->sin_addr, to->ip, 4);
    return sizeof *in;
}

static void fill_info(const struct multicast *m, unsigned iface, struct msghdr *msg)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    if (m->v6) {
        struct in6_pktinfo info = {.ipi6_ifindex = iface};
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO};
        memcpy(CMSG_DATA(c), &info, sizeof info);
        msg->msg_controllen = CMSG_SPACE(sizeof info);
        return;
    }
    struct in_pktinfo info = {.ipi_ifindex = (int)iface};
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof info), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
    memcpy(CMSG_DATA(c), &info, sizeof info);
    msg->msg_controllen = CMSG_SPACE(sizeof info);
}

int multicast_send(struct multicast *m, unsigned iface, const struct multicast_from *to, struct span datagram)
{
    struct sockaddr_storage ss;
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {0};
    struct iovec iov = {(void *)(uintptr_t)datagram.data, datagram.len};
    struct msghdr msg = {
        .msg_name = &ss, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    msg.msg_namelen = fill_target(m, iface, to, &ss);
    fill_info(m, iface, &msg);
    return sendmsg(m->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? err_from_errno(errno) : 0;
}
