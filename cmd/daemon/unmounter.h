/* SPDX-License-Identifier: MIT
 *
 * The mount may wait for answers of the main thread (commands) while it ends: so it ends on a thread of its own while main
 * answers. That thread is there from the start: a node that may start no more threads is to stop, too.
 */
#ifndef CMD_DAEMON_UNMOUNTER_H
#define CMD_DAEMON_UNMOUNTER_H

#include "fs/node/mount.h"

struct unmounter;

int unmounter_new(struct unmounter **ret); /* 0 or ERR_LIMIT */
/* mount_stop; *done becomes true by a message to `reply`. Once. */
void unmounter_stop(struct unmounter *u, struct mount *m, struct mailbox *reply, bool *done);
struct unmounter *unmounter_free(struct unmounter *u); /* not between a stop and its message; NULL accepted */

#endif
