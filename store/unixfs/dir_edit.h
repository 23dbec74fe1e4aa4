/* SPDX-License-Identifier: MIT
 *
 * Some entries of an existing directory change: the CID of the result is what dir_builder.h would give for all its entries,
 * whatever the history. In a HAMT only the shards on the paths of the changes are written; shards that are left with one
 * entry collapse into their parent; a directory at or under the threshold becomes basic again, one that passes it a HAMT.
 *
 * How: the old DAG is read in the order of hashes, with subtrees that no change touches passed on whole, merged with the
 * changes, and fed to the same writer that builds new directories (hamt_stream.h). To know whether the result is still
 * above the threshold its entries are counted until they pass it: some hundred shards, however large the directory is.
 *
 *   MEASURE ──► MERGE ──► CLOSE          a HAMT that stays one
 *      └──────► GATHER ⇄ BUILD           all others: through dir_builder.h
 *
 * A machine with one owner, who calls unixfs_dir_edit_run until it is done; it keeps no spans of the source between calls.
 * Entries with names that are not allowed (directory.h) are lost when a foreign directory is edited.
 */
#ifndef STORE_UNIXFS_DIR_EDIT_H
#define STORE_UNIXFS_DIR_EDIT_H

#include "store/unixfs/dir_builder.h"

struct unixfs_dir_edit;

/* `o` as for a new directory; its meta is that of the result, memory_max only matters for rebuilding. */
struct unixfs_dir_edit *unixfs_dir_edit_new(const struct unixfs_dir_options *o, const struct cid *dir);
struct unixfs_dir_edit *unixfs_dir_edit_free(struct unixfs_dir_edit *e); /* NULL accepted */

/* The entry becomes this, whether it was there or not; `cid` NULL: it goes away, if it was there. Copies. Each name at
 * most once, before the first run. 0; ERR_INVALID, ERR_NAME_LONG: a name that is not allowed; ERR_NO_MEMORY: only free. */
int unixfs_dir_edit_set(struct unixfs_dir_edit *e, struct span name, const struct cid *cid, uint64_t tsize);

/* 0 and the root: done. ERR_MISSING (as many of the needed shards as fit are noted) and ERR_AGAIN (the sink has no room
 * now): call again, it goes on where it was. ERR_NOT_DIR; ERR_INVALID, ERR_UNSUPPORTED: `dir` is damaged; ERR_EXISTS:
 * one name was set twice; ERR_LIMIT: names whose hashes are equal; errors of source and sink. */
int unixfs_dir_edit_run(struct unixfs_dir_edit *e, struct block_source *src, struct cid *ret, uint64_t *ret_tsize);

#endif
