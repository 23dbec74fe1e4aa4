/* SPDX-License-Identifier: MIT
 *
 * What comes by the control socket before evhttp has a whole request to hand out: 50 clients with bodies of 4 MiB would fill
 * the budget before one is answered. Every byte that arrives is charged to BUDGET_READ; the first CTL_BODY_FREE of each request
 * are always taken, so that a question of ordinary size never waits. Beyond, who is refused is not read any more until there
 * is room, except the eldest: it always goes on, so that there is an end. An eldest that sends nothing while others wait is
 * cut off.
 *
 * So that those first bytes are bounded, there are only so many connections that an eighth of the budget would hold them: who
 * comes beyond that is answered that it is too many, or cut off when it has not asked within a second or two; who comes when
 * CTL_BEYOND_MAX of those are there waits to be accepted.
 *
 * Some descriptors are kept for it: when the process has no other, it still hears `p2p status` and `p2p down`.
 *
 * It knows connections by their bufferevents, which evhttp lets us make. evhttp tells nobody when it gives one up, so each has
 * a reference, and one whose callbacks are gone is dropped, a second later at most. Main thread.
 */
#ifndef CMD_DAEMON_CTL_BODIES_H
#define CMD_DAEMON_CTL_BODIES_H

#include "store/base/budget.h"

#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>

#define CTL_BODY_FREE       (UINT32_C(64) << 10)
#define CTL_CONNECTIONS_MAX 256u /* however large the budget is */
#define CTL_BEYOND_MAX      16u
#define CTL_SPARES          4

struct ctl_bodies;

/* `most`: bytes of one request. Sets the bevcb of `http`, whose connections come from `listener`. */
struct ctl_bodies *ctl_bodies_new(struct event_base *base, struct evhttp *http, struct budget *budget, size_t most);
void ctl_bodies_listen(struct ctl_bodies *b, struct evconnlistener *listener);
void ctl_bodies_tick(struct ctl_bodies *b);               /* spares are taken anew; a listener that found none tries again */
struct ctl_bodies *ctl_bodies_free(struct ctl_bodies *b); /* after evhttp_free */
/* The request of this connection is whole: from now on it is charged by who has it. 0; the number of connections: too many. */
unsigned ctl_bodies_whole(struct ctl_bodies *b, struct bufferevent *bev);
/* evhttp gives a connection up: its descriptor is closed as soon as it has. Of one that never asked anything evhttp tells
 * nobody; it is found within a second. */
void ctl_bodies_closed(struct ctl_bodies *b);

#endif
