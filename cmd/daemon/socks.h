/* SPDX-License-Identifier: MIT
 *
 * Sockets that lead to a peer's service, made when somebody asks where `<service>.sock` is: the order `sock PEER SERVICE`
 * answers with a path in the run folder. Each connection to it is a stream of its own. They live as long as the node; of
 * many, those that were asked for longest ago give way. Control thread.
 *
 * Whether the socket is one of datagrams is what the peer says the service is. A peer that is not connected says nothing: the
 * order connects to it first, and hears.
 */
#ifndef CMD_DAEMON_SOCKS_H
#define CMD_DAEMON_SOCKS_H

#include "cmd/daemon/order.h"

#define SOCKS_MOST 128

struct socks *socks_new(struct daemon *d);
struct socks *socks_free(struct socks *s); /* closes and unlinks; NULL accepted */
void socks_tick(struct socks *s);          /* NULL accepted */

bool sock_order_is(const char *line);
void sock_order_run(struct order *o);           /* answer: the path; answered by order_finish */
void socks_seen(struct daemon *d, mono_ns now); /* a view came (`now` MONO_NEVER), or time passed */

#endif
