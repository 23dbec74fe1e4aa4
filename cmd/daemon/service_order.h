/* SPDX-License-Identifier: MIT
 *
 * Orders about services: lines of net/service/service_line.h, from wherever orders come (order.h). Petnames become peer ids
 * here, the engine applies the line, and what it has then is in the state folder's file `services` before the order is
 * answered. Control thread.
 */
#ifndef CMD_DAEMON_SERVICE_ORDER_H
#define CMD_DAEMON_SERVICE_ORDER_H

#include "cmd/daemon/order.h"

bool service_order_is(const char *line); /* does it begin like one? */
void service_order_run(struct order *o); /* o->line, uncut; answered by order_finish */
/* What was saved, for the engine's start; nothing when there is none. ERR_* with a sentence: it cannot be read. */
int service_orders_saved(struct daemon *d, struct buf *ret, struct why *why);

#endif
