/* SPDX-License-Identifier: MIT
 *
 * The CID of a file or folder of this machine, computed here without a node: the importer without a sink. A symlink that is
 * named itself is followed, those below a folder become UnixFS symlinks. "-" is standard input. What is neither file, folder
 * nor symlink is refused: its CID would not be that of the folder.
 */
#ifndef CMD_CLI_CID_LOCAL_H
#define CMD_CLI_CID_LOCAL_H

#include "cmd/cli/cli_progress.h"
#include "store/unixfs/layout.h"

/* 0; ERR_INTERRUPTED; ERR_UNSUPPORTED; a file's error with a sentence. `p` may be NULL. */
int cid_local(const char *path, const struct layout_profile *profile, struct progress *p, struct unixfs_root *ret,
              struct why *why);

#endif
