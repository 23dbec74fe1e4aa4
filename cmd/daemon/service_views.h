/* SPDX-License-Identifier: MIT
 *
 * What the node shows of services and their streams: to the control socket as JSON, to the mount as the table of streams/.
 * Control thread.
 */
#ifndef CMD_DAEMON_SERVICE_VIEWS_H
#define CMD_DAEMON_SERVICE_VIEWS_H

#include "cmd/daemon/daemon_state.h"

json_t *view_offer(const struct daemon *d, const struct engine_offer *o);
json_t *view_forward(const struct daemon *d, const struct engine_forward *f);
void view_count(json_t *v, const struct engine_count *c); /* adds its figures to an object */
json_t *view_stream(const struct daemon *d, const struct engine_stream *s);

/* What streams/ shows, from the newest view. */
struct service_table *view_service_table(struct daemon *d); /* NULL: no memory */
/* What `p` offers us: pairs of a file's name and the service, each with its NUL. Appends. A '/' in a service's name is %2F in
 * the file's, '%' is %25; a service of datagrams has its plain name there, and is "udp/NAME". */
void view_services_of(const struct engine_peer *p, struct buf *out);

#endif
