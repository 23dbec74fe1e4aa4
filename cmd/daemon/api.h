/* SPDX-License-Identifier: MIT
 *
 * The handlers of the control socket, by the file they are in. Each takes a request that it answers now or keeps (control.h).
 */
#ifndef CMD_DAEMON_API_H
#define CMD_DAEMON_API_H

#include "cmd/daemon/target.h"

/* api_content.c */
void api_cat(struct ctl_request *q);
void api_ls(struct ctl_request *q);
void api_stat(struct ctl_request *q);
void api_cid(struct ctl_request *q);
/* api_export.c */
void api_export(struct ctl_request *q);
/* api_add.c, api_import.c: uploads */
void api_add_new(struct ctl_request *q);
void api_add(struct ctl_request *q);
void api_import_new(struct ctl_request *q);
void api_import(struct ctl_request *q);
/* api_store.c */
void api_pin(struct ctl_request *q);
void api_unpin(struct ctl_request *q);
void api_pins(struct ctl_request *q);
void api_gc(struct ctl_request *q);
void api_verify(struct ctl_request *q);
/* api_node.c */
void api_version(struct ctl_request *q);
void api_status(struct ctl_request *q);
void api_peers(struct ctl_request *q);
void api_waiting(struct ctl_request *q);
void api_events(struct ctl_request *q);
void api_limits(struct ctl_request *q);
void api_config(struct ctl_request *q);
void api_config_reload(struct ctl_request *q);
void api_shutdown(struct ctl_request *q);
/* api_peer.c */
void api_connect(struct ctl_request *q);
void api_disconnect(struct ctl_request *q);
void api_ping(struct ctl_request *q);
/* api_dns.c */
void api_dns(struct ctl_request *q);

/* api_service.c */
void api_services(struct ctl_request *q);
void api_offers(struct ctl_request *q);
void api_forwards(struct ctl_request *q);
void api_streams(struct ctl_request *q);
void api_stream_addresses(struct ctl_request *q);

void verify_by_itself(struct daemon *d); /* at the start: what nobody asks for; the log is told */
void verifies_end_all(struct daemon *d); /* those that wait; the loop has ended */

#endif
