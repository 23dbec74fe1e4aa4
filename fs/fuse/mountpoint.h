/* SPDX-License-Identifier: MIT
 *
 * The place where we mount: makes the directory, finds out what is mounted there, and clears a mount of ours whose node is
 * gone (killed): such a mount answers ENOTCONN to everything, also to a new mount.
 */
#ifndef FS_FUSE_MOUNTPOINT_H
#define FS_FUSE_MOUNTPOINT_H

#include "store/base/err.h"

#include <limits.h>
#include <stdbool.h>

#define MOUNT_TYPE "fuse.p2p"

/* `dir` is an empty directory with nothing of ours on it (made when missing, cleared when a dead mount was there). *ret_path:
 * its place as mountinfo has it, for mounting: libfuse asks a mount whose name ends in "/." before anybody answers. Returns a
 * descriptor, to be closed when it is mounted: nobody else mounts there until then.
 * ERR_BUSY: a live mount; ERR_NOT_EMPTY; ERR_NOT_DIR; ERR_DENIED; ERR_IO, with a sentence. */
int mountpoint_prepare(const char *dir, char ret_path[PATH_MAX], struct why *why);
/* Is a mount of ours on this place, as /proc/self/mountinfo has it? Sets its device number when `ret_major` is not NULL.
 * Touches no mount. */
bool mountpoint_mounted(const char *place, unsigned *ret_major, unsigned *ret_minor);
/* Takes the mount away, also when it is in use. 0, or ERR_BUSY with a sentence. */
int mountpoint_detach(const char *path, struct why *why);
/* Lets the kernel read ahead further than its default of 128 KiB in this mount: needs root, else nothing happens. */
void mountpoint_read_ahead(unsigned major, unsigned minor, unsigned kib);

#endif
