/* SPDX-License-Identifier: MIT
 *
 * The mount's stream port (fs/node/mount.h): the engine dials, and its answer goes straight to the mount. The functions may be
 * called from the mount's thread.
 */
#ifndef CMD_DAEMON_MOUNT_STREAMS_H
#define CMD_DAEMON_MOUNT_STREAMS_H

#include "cmd/daemon/daemon_state.h"

struct stream_port mount_stream_port(struct daemon *d);

#endif
