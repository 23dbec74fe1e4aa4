/* SPDX-License-Identifier: MIT
 *
 * What a configuration means beyond its syntax (store/repo/config.h): addresses that can be listened on, a place for the mount.
 * Looked at before anything is opened or written, by the daemon and by `p2p config`. Pure.
 */
#ifndef CMD_DAEMON_SETTINGS_H
#define CMD_DAEMON_SETTINGS_H

#include "net/addr/multiaddr.h"
#include "store/repo/config.h"

#include <limits.h>

/* 0, or ERR_INVALID with a sentence that names the key. */
int settings_check(const struct config *c, struct why *why);
/* The addresses to listen on, the caller's to free. Errors as above. */
int settings_listen(const struct config *c, struct multiaddr **ret, unsigned *ret_count, struct why *why);
/* The mount's folder: `dir` when given, otherwise the configuration's; ~ is $HOME. Always absolute. */
int settings_mount(const struct config *c, const char *dir, char out[PATH_MAX], struct why *why);
/* The i-th of dns-ports. Errors as above. */
int settings_dns_port(const struct config *c, unsigned i, uint16_t *ret, struct why *why);

#endif
