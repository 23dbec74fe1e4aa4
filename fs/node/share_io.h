/* SPDX-License-Identifier: MIT
 *
 * What share.c's table needs of share_io.c.
 */
#ifndef FS_NODE_SHARE_IO_H
#define FS_NODE_SHARE_IO_H

#include "fs/node/share_file.h"

node_op share_open, share_release, share_read, share_write, share_fallocate, share_flush, share_fsync, share_fsyncdir,
    share_lseek, share_copy;
int share_truncate(struct mount *m, struct share_file *f, uint64_t size);
/* Counts it in the file. `n`: what the tree has at `i` */
struct handle *share_handle(struct mount *m, struct inode *i, const struct tree_node *n, unsigned flags);
unsigned share_open_flags(struct mount *m, const struct handle *h); /* OPEN_*, for the reply */

#endif
