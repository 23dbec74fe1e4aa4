/* SPDX-License-Identifier: MIT
 *
 * Orders: what somebody tells the node to do in one line of words. They come from .p2p/ctl, from ctl files and petnames of
 * peers/ (by the mount's command port), and from the control socket, and are carried out by one table here. Control thread.
 */
#ifndef CMD_DAEMON_ORDER_H
#define CMD_DAEMON_ORDER_H

#include "cmd/daemon/ctl_parse.h"
#include "cmd/daemon/daemon_state.h"

struct order {
    struct daemon *d;
    char *line; /* owned; words point into it */
    struct order_line words;
    struct buf answer; /* text, for the mount */
    json_t *info;      /* an object, for the control socket */
    int result;
    struct why why;
    void (*done)(struct order *o); /* called once; may look at everything above; not to free it */
    void *arg;
};

/* Carries it out; done() comes now or later. `line` is copied. */
void order_run(struct daemon *d, const char *line, void (*done)(struct order *o), void *arg);
void order_finish(struct order *o, int result); /* for those who carry out: done(), and it is gone */
/* A peer by petname or id, or by its name below .overlay. ERR_INVALID with a sentence. */
int order_peer(struct daemon *d, const char *text, struct peer_id *ret, struct why *why);

/* The mount's command port leads here. Any thread. */
int order_post(void *daemon, struct command *take_c);

#endif
