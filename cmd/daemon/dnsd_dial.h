/* SPDX-License-Identifier: MIT
 *
 * A connection that came to a leased address gets a stream to the peer: the services that are chosen are asked for in turn
 * until the peer has one of them. The engine carries the bytes; when it cannot, the connection is reset, so that the program
 * does not take it for an empty answer. Control thread.
 *
 *   ─► ASKING ─┬─► joined: the engine's alone
 *        ▲     ├─► not offered, another service is left ─┐
 *        └─────┼─────────────────────────────────────────┘
 *              └─► failed, or none is left: reset
 */
#ifndef CMD_DAEMON_DNSD_DIAL_H
#define CMD_DAEMON_DNSD_DIAL_H

#include "cmd/daemon/daemon_state.h"
#include "cmd/dns/service_ports.h"

#define DNSD_DIALS_MAX 256 /* that are being asked for; further connections are reset */

struct dnsd_choice {
    struct peer_id peer;
    unsigned count; /* of services; 0: reset at once */
    char services[SERVICE_CHOICES_MAX][SERVICE_CHOICE_SIZE];
};

/* `take_fd`: a connected TCP socket. */
void dnsd_dial(struct daemon *d, const struct dnsd_choice *choice, int take_fd);

#endif
