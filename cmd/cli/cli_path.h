/* SPDX-License-Identifier: MIT
 *
 * What a person gives as a path, as the control socket understands it: a CID, /ipfs/<cid>/…, share/…; and a file name inside
 * the mount, which becomes one of those.
 */
#ifndef CMD_CLI_CLI_PATH_H
#define CMD_CLI_CLI_PATH_H

#include "cmd/cli/cli_api.h"

/* Whether it is one of those by itself, wherever one stands: share, share/…, /ipfs/…, or begins with a CID. */
bool cli_path_is_name(const char *s);

/* *ret is the caller's, for cli_path_free. Only names (nothing is looked up, so nothing can hang). Errors were said. */
int cli_path(struct api *a, const char *operand, char **ret);
void cli_path_free(char *path);

/* Says that the file of the mount is not of those that have a CID. */
int cli_path_no_cid(struct cli *c, const char *operand);

/* The part of the absolute or relative file name below the folder `mount` ("share/x"; "" for the mount itself), in `out`;
 * false: not in there. Lexical: "." and ".." are taken away, symlinks are not followed. */
bool cli_path_below(const char *mount, const char *cwd, const char *name, struct buf *out);

/* A device, a pipe, a socket, also by a symlink: what is written goes into it, it is not replaced by a file. */
bool cli_path_is_special(const char *file);

#endif
