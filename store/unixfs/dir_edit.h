/* SPDX-License-Identifier: MIT
 *
 * Some entries of an existing directory change: the CID of the result is what dir_builder.h would give for all its entries,
 * whatever the history. In a HAMT only the shards on the paths of the changes are written; shards that are left with one
 * entry collapse into their parent; a directory at or under the threshold becomes basic again, one that passes it a HAMT.
 *
 * How: the old DAG is read in the order of hashes, with subtrees that no change touches passed on whole, merged with the
 * changes, and fed to the same writer that builds new directories (hamt_stream.h). To know whether the result is still above the
 * threshold its entries are counted until they pass it: at most some hundred shards, however large the directory is.
 *
 * One call does all. It can be run again from the start after ERR_MISSING and ERR_AGAIN; blocks put already are put again. The source's
 * thread.
 */
#ifndef STORE_UNIXFS_DIR_EDIT_H
#define STORE_UNIXFS_DIR_EDIT_H

#include "store/block/source.h"
#include "store/unixfs/unixfs_node.h"

struct unixfs_dir_change {
    struct span name;
    struct cid cid; /* none: the entry goes away; it need not be there */
    uint64_t tsize;
};

struct unixfs_dir_edit {
    struct block_source *src;
    struct block_sink *sink;                 /* NULL: only the CID is wanted */
    const struct unixfs_dir_change *changes; /* each name once; any order */
    size_t count;
    struct unixfs_meta meta; /* of the result; {0}: none */
};

/* 0 and the root. ERR_MISSING (as many of the needed shards as fit are noted), ERR_AGAIN; ERR_NOT_DIR; ERR_INVALID,
 * ERR_UNSUPPORTED: `dir` is damaged; ERR_INVALID, ERR_NAME_LONG: a name is not allowed; ERR_EXISTS: a name twice in
 * `changes`; ERR_LIMIT: names whose hashes are equal; errors of source and sink. */
int unixfs_dir_edit(const struct unixfs_dir_edit *e, const struct cid *dir, struct cid *ret, uint64_t *ret_tsize);

#endif
