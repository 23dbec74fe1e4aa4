/* SPDX-License-Identifier: MIT
 *
 * The kernel keeps an inode for every name that it has ever seen here, until its own memory is short, and each costs us some
 * hundred bytes. When the table has more than its part of the budget, the kernel is asked to forget those that were not used
 * for a while: a clock hand goes round the table and spares what was used since the last round. What somebody has open or
 * stands in, stays. Kernels before 6.18 can only be told by name; then files are pruned and directories are not, because one
 * that is told by name loses its path for whoever stands in it.
 *
 * The kernel is asked on a worker, a batch at a time: it may have to wait for answers of the fs thread first.
 */
#ifndef FS_NODE_PRUNE_H
#define FS_NODE_PRUNE_H

#include "fs/inode/inode.h"

#include <sys/stat.h>

struct mount;

struct prune {
    bool running;
    size_t at;       /* of the round */
    unsigned rounds; /* since there was enough room */
    uint64_t resume; /* nobody could be found: again when so many have been made */
};

void prune_tick(struct mount *m);
/* The kernel was told of it under this name. */
void prune_note(struct mount *m, struct inode *i, const struct stat *attr, uint64_t dir, const char *name);

#endif
