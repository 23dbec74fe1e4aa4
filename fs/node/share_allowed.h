/* SPDX-License-Identifier: MIT
 *
 * Modes of share/, checked: share_allowed.c. Private to share*.c.
 */
#ifndef FS_NODE_SHARE_ALLOWED_H
#define FS_NODE_SHARE_ALLOWED_H

#include "fs/node/mount_state.h"

/* 0, or ERR_DENIED, ERR_NOT_PERMITTED. Before every request; asking twice does no harm. */
int share_allowed(struct mount *m, const struct request *r, const struct inode *i);
/* May names in it be looked up? Then a listing may hand them out. */
bool share_may_search(struct mount *m, const struct request *r, const struct inode *dir);
/* Its owner may not search it any more, and that has been answered: the kernel forgets the names in it. */
void share_closed(struct mount *m, const struct inode *dir);

#endif
