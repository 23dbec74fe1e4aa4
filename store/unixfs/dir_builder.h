/* SPDX-License-Identifier: MIT
 *
 * A whole directory from its entries: basic, with links sorted by name, or a HAMT when the basic block would be larger than
 * UNIXFS_SHARD_THRESHOLD bytes (strictly). CIDs are those of profile unixfs-v1-2025 and depend on the entries alone.
 *
 * Memory. Entries are held, up to about `memory_max` bytes. When there are more, those with the highest hashes are dropped, the
 * shards of the rest are written, and the caller is asked to add all entries once more (finish returns 1), as often as
 * it takes: a million entries need a few passes instead of 100 MB. Shards go to the sink in the order of hashes, children
 * before parents. Who must put blocks of the entries themselves is told when (`entry`), so that whoever holds what nothing
 * links to yet holds few.
 *
 * Who cannot say the entries twice gives memory_max 0: everything is held. A machine with one owner.
 */
#ifndef STORE_UNIXFS_DIR_BUILDER_H
#define STORE_UNIXFS_DIR_BUILDER_H

#include "store/block/source.h"
#include "store/unixfs/unixfs_node.h"

#define UNIXFS_SHARD_THRESHOLD 262144

struct unixfs_dir_builder;

struct unixfs_dir_options {
    struct block_sink *sink; /* borrowed; NULL: only the CID is wanted */
    struct unixfs_meta meta; /* {0}: none */
    size_t memory_max;       /* 0: no limit; else ≥ UNIXFS_DIR_MEMORY_MIN */
    size_t step;             /* entries that a call of finish writes at most; 0: no limit */
    /* From finish, once for each entry, in the order of the links and before the block that links to it: its own blocks may go
     * to the sink. 0; ERR_AGAIN: finish gives it, and calls again; an error, which finish gives. NULL: nothing to put. */
    int (*entry)(void *arg, struct span name, const struct cid *cid, uint64_t tsize);
    void *arg;
};

#define UNIXFS_DIR_MEMORY_MIN (UINT32_C(1) << 20)

struct unixfs_dir_builder *unixfs_dir_builder_new(const struct unixfs_dir_options *o);
struct unixfs_dir_builder *unixfs_dir_builder_free(struct unixfs_dir_builder *b); /* NULL accepted */

/* In any order. Copies. 0; ERR_INVALID, ERR_NAME_LONG: a name that is not allowed (directory.h), not taken;
 * ERR_NO_MEMORY: only free. */
int unixfs_dir_builder_add(struct unixfs_dir_builder *b, struct span name, const struct cid *cid, uint64_t tsize);

/* All entries were added. 0: done, the root; 1: add them all again, then call this again; UNIXFS_DIR_STEP: `step` entries were
 * written, call this again; ERR_AGAIN: the sink or its budget has no room now, call this again; ERR_EXISTS: one name twice;
 * ERR_LIMIT: names whose hashes are equal; a sink's error. After 0 and after errors but ERR_AGAIN only free. */
#define UNIXFS_DIR_STEP 2
int unixfs_dir_builder_finish(struct unixfs_dir_builder *b, struct cid *ret, uint64_t *ret_tsize);

#endif
