/* SPDX-License-Identifier: MIT
 *
 * Names below .overlay: the DNS server of cmd/dns, with our peers and their services behind it. Control thread.
 *
 * A query for a peer or a service gives it a lease and listens on the lease's usual ports before the answer leaves. A
 * connection there is handed to the engine, which opens the stream to the peer's service and carries the bytes; a socket of
 * datagrams is handed over when it is opened, with all that its port may mean. What the port of a connection
 * means is looked up when the connection comes (service_ports.h), so that services a peer has begun to offer meanwhile count.
 * Everybody on this machine who can connect to the loopback interface can use the names, as with any forwarded port.
 *
 * A port of the DNS server that is taken is told and tried again: the node works without it.
 */
#ifndef CMD_DAEMON_DNSD_H
#define CMD_DAEMON_DNSD_H

#include "cmd/daemon/control.h"

struct dnsd;

struct dnsd *dnsd_open(struct daemon *d);
struct dnsd *dnsd_close(struct dnsd *o); /* NULL accepted */
void dnsd_tick(struct dnsd *o, mono_ns now);
void dnsd_seen(struct dnsd *o); /* there is a new view; NULL accepted */
/* "127.0.0.1:5354", "off", or why it does not run */
void dnsd_state(const struct dnsd *o, char *out, size_t size);
/* The peer of a name `<peer>.overlay`; false: another name, a service's, or nobody has it. */
bool dnsd_find(struct dnsd *o, const char *name, struct peer_id *ret);

/* The leases, an object each; borrowed by each(). */
void dnsd_list(struct dnsd *o, void (*each)(void *arg, json_t *row), void *arg);
/* What `name` is (".overlay" may be left out), and where it is listened on, which this does. An object, or NULL with a
 * sentence: nobody has that name, or it is none. */
json_t *dnsd_resolve(struct dnsd *o, const char *name, struct why *why);

#endif
