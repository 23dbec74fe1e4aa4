/* SPDX-License-Identifier: MIT */
#include "store/unixfs/path.h"

/* The next component from *at on, which moves past it: empty at the end. */
static struct span next_component(struct span path, size_t *at)
{
    size_t from = *at;
    while (from < path.len && path.data[from] == '/')
        from++;
    size_t to = from;
    while (to < path.len && path.data[to] != '/')
        to++;
    *at = to;
    return span_sub(path, from, to - from);
}

int unixfs_resolve(struct block_source *src, const struct cid *root, struct span path, struct unixfs_resolved *ret)
{
    *ret = (struct unixfs_resolved){.entry = {.cid = *root, .known_file = cid_codec(root) == CODEC_RAW}};
    if (path.len > UNIXFS_PATH_MAX)
        return ERR_NAME_LONG;
    size_t at = 0;
    for (unsigned depth = 0;; depth++) {
        struct span name = next_component(path, &at);
        if (!name.len)
            return 0;
        if (depth == UNIXFS_PATH_DEPTH)
            return ERR_LOOP;
        if (name.len > UNIXFS_NAME_MAX)
            return ERR_NAME_LONG;
        struct unixfs_entry found;
        int err = unixfs_dir_lookup(src, &ret->entry.cid, name, &found);
        if (err)
            return err;
        ret->entry = found;
        ret->used = at;
    }
}
