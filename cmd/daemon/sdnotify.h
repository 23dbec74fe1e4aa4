/* SPDX-License-Identifier: MIT
 *
 * The service manager's notification protocol (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Nothing happens without it.
 */
#ifndef CMD_DAEMON_SDNOTIFY_H
#define CMD_DAEMON_SDNOTIFY_H

/* `state`: lines such as "READY=1". Best effort: 0, or ERR_* when there was a manager that could not be reached. */
int sdnotify(const char *state);

#endif
