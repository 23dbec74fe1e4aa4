/* SPDX-License-Identifier: MIT
 *
 * The socket `streams` in the run folder: who connects and sends a line gets a descriptor for it, so that the bytes of a stream
 * do not go through this process twice. Only the user who runs the node, and root. Control thread.
 *
 *   asker → node   dial PEER SERVICE [datagrams] \n, or: feed SERVICE \n (a live service of our own, to be written)
 *   node → asker   {"stream": N} \n with the descriptor (SCM_RIGHTS), or {"error": …, "message": …, "try": …} \n
 *   node → asker   {"ended": "ERR_OK"} \n when the stream has ended: "ERR_RESET" … for what a descriptor cannot tell
 *
 * Who hangs up before the answer cancels the dial.
 */
#ifndef CMD_DAEMON_HANDOVER_H
#define CMD_DAEMON_HANDOVER_H

#include "cmd/daemon/daemon_state.h"

struct handover;

#define HANDOVER_LINE_MAX 1024
#define HANDOVER_MOST     4096 /* askers at once */

int handover_open(struct handover **ret, struct daemon *d, struct why *why);
void handover_tick(struct handover *h);              /* NULL accepted */
struct handover *handover_close(struct handover *h); /* NULL accepted; before the engine stops */

#endif
