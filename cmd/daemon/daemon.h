/* SPDX-License-Identifier: MIT
 *
 * The running node: opens the state folder, starts every thread, serves the control socket until it is told to stop, and takes
 * everything down in the opposite order.
 *
 * The thread that calls daemon_run is the control thread. It owns signals (TERM, INT: stop; HUP: read the config again), the
 * control socket, the petnames, the commands that the mount sends, the list of what is being kept, and a block reader of its
 * own. It never waits: requests that need the network are parked and run again (task.h).
 */
#ifndef CMD_DAEMON_DAEMON_H
#define CMD_DAEMON_DAEMON_H

#include "store/base/err.h"

#include <stdbool.h>

struct daemon_ready {
    const char *id;    /* our peer id */
    const char *mount; /* "" without a mount */
};

struct daemon_options {
    const char *dir;       /* mount point; NULL: the config's */
    const char *overrides; /* `key=value` lines over the config file's; NULL: none */
    bool no_mount;
    bool verbose;                                           /* log-level debug, whatever the config says */
    void (*ready)(void *arg, const struct daemon_ready *r); /* everything works; called once */
    void *arg;
};

/* Runs until stopped: 0. Otherwise an error with a sentence: ERR_LOCKED (another node has the state folder), ERR_VERSION,
 * ERR_INVALID (config, address), ERR_DENIED (no /dev/fuse), ERR_BUSY (mount point in use), … Call it before any other thread
 * exists. */
int daemon_run(const struct daemon_options *o, struct why *why);

#endif
