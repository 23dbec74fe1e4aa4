/* SPDX-License-Identifier: MIT */
#include "net/engine/engine_addr.h"

#include <netinet/in.h>
#include <sys/un.h>

socklen_t addr_to_sockaddr(const struct service_addr *a, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof *ret);
    if (a->v6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)(void *)ret;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons(a->port);
        memcpy(&in->sin6_addr, a->ip, 16);
        return sizeof *in;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)ret;
    in->sin_family = AF_INET;
    in->sin_port = htons(a->port);
    memcpy(&in->sin_addr, a->ip, 4);
    return sizeof *in;
}

socklen_t path_to_sockaddr(const char *path, struct sockaddr_storage *ret)
{
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)ret;
    memset(ret, 0, sizeof *ret);
    un->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof un->sun_path)
        return 0;
    memcpy(un->sun_path, path, strlen(path) + 1);
    return sizeof *un;
}

bool addr_from_sockaddr(const struct sockaddr_storage *ss, struct service_addr *ret)
{
    *ret = (struct service_addr){.v6 = ss->ss_family == AF_INET6};
    if (ret->v6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)ss;
        memcpy(ret->ip, &in->sin6_addr, 16);
        ret->port = ntohs(in->sin6_port);
        return true;
    }
    if (ss->ss_family != AF_INET)
        return false;
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)ss;
    memcpy(ret->ip, &in->sin_addr, 4);
    ret->port = ntohs(in->sin_port);
    return true;
}

void sockaddr_set_port(struct sockaddr *sa, uint16_t port)
{
    if (sa->sa_family == AF_INET)
        ((struct sockaddr_in *)(void *)sa)->sin_port = htons(port);
    else if (sa->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons(port);
}
