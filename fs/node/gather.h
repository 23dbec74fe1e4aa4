/* SPDX-License-Identifier: MIT
 *
 * A read whose bytes lie in more pieces than a reply has room for: they are copied, so many at a time, since whoever made the
 * file may have cut it into single bytes. What was copied is kept with the request, which runs again in a moment. */
#ifndef FS_NODE_GATHER_H
#define FS_NODE_GATHER_H

#include "fs/node/mount_state.h"

struct gather_from {
    /* As unixfs_read (reader.h) */
    int (*read)(void *arg, struct block_source *s, uint64_t offset, size_t len, struct read_spans *out);
    void *arg;
};

/* Answers the read. 0; ERR_AGAIN, ERR_MISSING: again; else why not. */
int gather(struct mount *m, struct request *r, const struct gather_from *from);

#endif
