/* SPDX-License-Identifier: MIT */
#include "net/transport/local_end.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 body;
};

static void put(const struct sockaddr_storage *ss, uint32_t ip[4], uint16_t *port)
{
    if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)ss;
        memcpy(ip, &in6->sin6_addr, 16);
        *port = in6->sin6_port;
    } else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)ss;
        memcpy(ip, &in->sin_addr, 4);
        *port = in->sin_port;
    }
}

/* The socket whose own address is `theirs` and whose peer's is ours. False: fd is no connected TCP socket */
static bool ask_about(int fd, struct question *q)
{
    struct sockaddr_storage ours = {0}, theirs = {0};
    socklen_t len = sizeof ours, their_len = sizeof theirs;
    if (getsockname(fd, (struct sockaddr *)&ours, &len) != 0 || getpeername(fd, (struct sockaddr *)&theirs, &their_len) != 0)
        return false;
    if (ours.ss_family != AF_INET && ours.ss_family != AF_INET6)
        return false;
    *q = (struct question){
        .head = {.nlmsg_len = sizeof *q, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = (uint8_t)ours.ss_family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = ~0u,
                 .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
    };
    put(&theirs, q->body.id.idiag_src, &q->body.id.idiag_sport);
    put(&ours, q->body.id.idiag_dst, &q->body.id.idiag_dport);
    return true;
}

/* The kernel answers before send returns */
static bool no_program_has_it(const struct question *q)
{
    union {
        struct nlmsghdr head;
        char space[1024];
    } answer;
    int diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (diag < 0)
        return false;
    ssize_t n = send(diag, q, sizeof *q, 0) < 0 ? -1 : recv(diag, &answer, sizeof answer, MSG_DONTWAIT);
    close(diag);
    if (n < (ssize_t)sizeof answer.head)
        return false;
    if (answer.head.nlmsg_type == SOCK_DIAG_BY_FAMILY && n >= (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
        return ((const struct inet_diag_msg *)NLMSG_DATA(&answer.head))->idiag_inode == 0;
    return answer.head.nlmsg_type == NLMSG_ERROR && n >= (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) &&
           ((const struct nlmsgerr *)NLMSG_DATA(&answer.head))->error == -ENOENT;
}

/* Only of an address of this machine is the other end a socket of this machine: of others there is none either */
static bool is_here(const struct question *q)
{
    struct sockaddr_storage ss = {.ss_family = q->body.sdiag_family};
    socklen_t len = sizeof(struct sockaddr_in);
    if (ss.ss_family == AF_INET6) {
        memcpy(&((struct sockaddr_in6 *)(void *)&ss)->sin6_addr, q->body.id.idiag_src, 16);
        len = sizeof(struct sockaddr_in6);
    } else {
        memcpy(&((struct sockaddr_in *)(void *)&ss)->sin_addr, q->body.id.idiag_src, 4);
    }
    int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool can_be_bound = bind(fd, (const struct sockaddr *)&ss, len) == 0;
    close(fd);
    return can_be_bound;
}

bool local_end_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    struct question q;
    if (poll(&p, 1, 0) != 1)
        return false;
    if (p.revents & (POLLHUP | POLLERR | POLLNVAL))
        return true;
    return ask_about(fd, &q) && is_here(&q) && no_program_has_it(&q);
}
