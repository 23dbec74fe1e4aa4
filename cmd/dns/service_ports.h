/* SPDX-License-Identifier: MIT
 *
 * Which service of a peer a port means, and on which ports a lease's address is listened on: a socket can be listened on only
 * before somebody connects, so there are two tables, for TCP and for UDP, of usual ports and their services' names (those of
 * /etc/services and those people use). The option `dns-ports` adds ports to both.
 *
 * A port leads to the first of these services that the peer offers: the names of its row, the number itself ("8080"),
 * "tcp-8080" or "udp-8080". Below `<service>.<peer>.overlay` every port leads to that service; the DNS has no case, so of the
 * services that the peer offers the one that differs in case alone is meant.
 *
 * Pure but for service_ports_add, which asks the system for names (getservbyport: the file /etc/services).
 */
#ifndef CMD_DNS_SERVICE_PORTS_H
#define CMD_DNS_SERVICE_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum service_way { SERVICE_WAY_TCP, SERVICE_WAY_UDP, SERVICE_WAYS };

#define SERVICE_PORTS_MAX   64
#define SERVICE_NAMES_MAX   6
#define SERVICE_NAME_SPACE  32
#define SERVICE_CHOICES_MAX SERVICE_NAMES_MAX
#define SERVICE_CHOICE_SIZE 64 /* one label of a name */

struct service_port {
    uint16_t port;
    unsigned name_count;
    char names[SERVICE_NAMES_MAX][SERVICE_NAME_SPACE];
};

struct service_ports {
    enum service_way way;
    unsigned count;
    struct service_port rows[SERVICE_PORTS_MAX];
};

void service_ports_init(struct service_ports *t, enum service_way way); /* the usual ones */
/* One more, with the system's names for it. False: SERVICE_PORTS_MAX are there. */
bool service_ports_add(struct service_ports *t, uint16_t port);
const struct service_port *service_port_find(const struct service_ports *t, uint16_t port);
/* Is `service` one that this port means? */
bool service_port_means(const struct service_port *p, const char *service);
/* `service` as the peer writes it; NULL: it is not in `offered`, a list that ends with NULL */
const char *service_as_offered(const char *service, const char *const *offered);
/* Does it mean one of `offered`? */
bool service_port_offered(const struct service_port *p, const char *const *offered);
/* What to ask the peer for, in this order, when somebody connects to `port` of the lease of `service` ("": the peer's own).
 * `offered`: what the peer is known to offer to us, ending with NULL, comes first; then the others, because that may have
 * changed. How many; never 0 for ports of the table. */
unsigned service_choose(const struct service_ports *t, const char *service, uint16_t port, const char *const *offered,
                        char ret[SERVICE_CHOICES_MAX][SERVICE_CHOICE_SIZE]);

#endif
