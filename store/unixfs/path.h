/* SPDX-License-Identifier: MIT
 *
 * A path below a root CID, through UnixFS directories basic and HAMT: "a/b/c". Leading, trailing and double '/' mean
 * nothing; "." and ".." are names that no directory has. Symlinks are not followed. The source's thread; can be run
 * again after ERR_MISSING.
 */
#ifndef STORE_UNIXFS_PATH_H
#define STORE_UNIXFS_PATH_H

#include "store/unixfs/directory.h"

#define UNIXFS_PATH_MAX   4096
#define UNIXFS_PATH_DEPTH 256 /* components */

struct unixfs_resolved {
    struct unixfs_entry entry; /* the last one found; for an empty path: the root, without name and tsize */
    size_t used;               /* bytes of the path that led there */
};

/* 0; as unixfs_dir_lookup for the component that fails; ERR_NAME_LONG also for a path over UNIXFS_PATH_MAX, ERR_LOOP for
 * one deeper than UNIXFS_PATH_DEPTH. `ret` is filled also on failure: how far it got, for a sentence. */
int unixfs_resolve(struct block_source *src, const struct cid *root, struct span path, struct unixfs_resolved *ret);

#endif
