/* SPDX-License-Identifier: MIT
 *
 * Addresses and paths of services as the kernel wants them.
 */
#ifndef NET_ENGINE_ENGINE_ADDR_H
#define NET_ENGINE_ENGINE_ADDR_H

#include "net/service/service_line.h"

#include <sys/socket.h>

socklen_t addr_to_sockaddr(const struct service_addr *a, struct sockaddr_storage *ret);
socklen_t path_to_sockaddr(const char *path, struct sockaddr_storage *ret);           /* 0: too long for a unix socket */
bool addr_from_sockaddr(const struct sockaddr_storage *ss, struct service_addr *ret); /* false: neither IPv4 nor IPv6 */
void sockaddr_set_port(struct sockaddr *sa, uint16_t port);                           /* the same kinds */

#endif
