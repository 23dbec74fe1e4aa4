/* SPDX-License-Identifier: MIT
 *
 * Reading directories, basic or HAMT alike. Functions that can be run again: on ERR_MISSING the source has noted what is
 * missing (source.h), and the same call succeeds or gets further once that is held.
 *
 * Names. Bytes, 1 to 255 of them, no '/', no NUL, not "." or "..". Entries with other names exist in hostile or foreign
 * directories: they are passed over, as no file system could show them. Of several entries with one name the first
 * counts. Both hold for lookup and listing alike.
 *
 * Pure but for the source; the source's thread.
 */
#ifndef STORE_UNIXFS_DIRECTORY_H
#define STORE_UNIXFS_DIRECTORY_H

#include "store/block/source.h"
#include "store/unixfs/unixfs_node.h"

#define UNIXFS_NAME_MAX 255

struct unixfs_entry {
    struct span name; /* borrowed as long as the source's spans live; or, from a listing, until the callback returns */
    struct cid cid;
    uint64_t tsize;  /* what the link claims; advisory */
    uint64_t next;   /* the place behind it in a listing */
    bool known_file; /* a raw block: a file of tsize bytes. Else its block must be looked at to know */
};

/* 0; ERR_INVALID; ERR_NAME_LONG. */
int unixfs_name_check(struct span name);

/* 0; ERR_NOT_FOUND; ERR_NOT_DIR; ERR_MISSING; ERR_INVALID, ERR_UNSUPPORTED: the directory is damaged or of an unknown kind;
 * a source's error. `ret->name` borrows `name`. */
int unixfs_dir_lookup(struct block_source *src, const struct cid *dir, struct span name, struct unixfs_entry *ret);

/* A place in a listing is a number that stays good for the CID for ever, whatever was read before: 0 begins, the `next` of an
 * entry continues after it. Places are at most UNIXFS_CURSOR_MAX, so a mount has room for its own entries in an off_t.
 * (HAMT: the first 62 bits of the hash. Two names that agree in them are made on purpose; when a listing is interrupted exactly
 * between them, the second is passed over.) */
#define UNIXFS_CURSOR_MAX (UINT64_C(1) << 62)

/* 0: go on; > 0: stop before this entry (it was not taken); < 0: stop with that error. */
typedef int unixfs_entry_fn(void *arg, const struct unixfs_entry *e, uint64_t next);

/* Reports entries from *cursor on: by name order as stored (basic), by hash (HAMT). 0: the end; 1: `each` stopped it; an error.
 * *cursor is always where to go on, also with ERR_MISSING: then what came before the hole was reported, and as many missing
 * shards as fit are noted, the next levels breadth first, so that they are fetched together. */
int unixfs_dir_list(struct block_source *src, const struct cid *dir, uint64_t *cursor, unixfs_entry_fn *each, void *arg);

#endif
