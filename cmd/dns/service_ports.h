/* SPDX-License-Identifier: MIT
 *
 * Which service of a peer a port means, and on which ports a lease's address is listened on: a socket can be listened on only
 * before somebody connects, so there is a table of usual ports and their services' names (those of /etc/services and those
 * people use). The option `dns-ports` adds ports to it.
 *
 * A port leads to the first of these services that the peer offers: the names of its row, the number itself ("8080"),
 * "tcp-8080". Pure but for service_ports_add, which asks the system for names (getservbyport: the file /etc/services).
 */
#ifndef CMD_DNS_SERVICE_PORTS_H
#define CMD_DNS_SERVICE_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVICE_PORTS_MAX 64
#define SERVICE_NAMES_MAX 6
#define SERVICE_NAME_SIZE 32

struct service_port {
    uint16_t port;
    unsigned name_count;
    char names[SERVICE_NAMES_MAX][SERVICE_NAME_SIZE];
};

struct service_ports {
    unsigned count;
    struct service_port rows[SERVICE_PORTS_MAX];
};

void service_ports_init(struct service_ports *t); /* the usual ones */
/* One more, with the system's names for it. False: SERVICE_PORTS_MAX are there. */
bool service_ports_add(struct service_ports *t, uint16_t port);
const struct service_port *service_port_find(const struct service_ports *t, uint16_t port);
/* Is `service` one that this port means? */
bool service_port_means(const struct service_port *p, const char *service);

#endif
