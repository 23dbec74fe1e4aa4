/* SPDX-License-Identifier: MIT
 *
 * What the node shows of itself: from the engine's newest view, the store's figures and the budget, to the mount's texts and
 * tables and to the JSON of the control socket. Control thread.
 */
#ifndef CMD_DAEMON_VIEWS_H
#define CMD_DAEMON_VIEWS_H

#include "cmd/daemon/daemon_state.h"

/* Tells the mount peers, status, limits, online. */
void views_publish(struct daemon *d);
void views_publish_texts(struct daemon *d); /* only status and limits: figures that change by themselves */

/* An object as text: a line for each key, arrays a line each. Appends. */
void views_text(json_t *object, struct buf *out);

json_t *view_status(struct daemon *d);
json_t *view_peer(struct daemon *d, const struct engine_peer *p);
/* A row {"name", "value", "used"} for each limit. */
json_t *view_limits(struct daemon *d);

#endif
