/* SPDX-License-Identifier: MIT
 *
 * LMDB trusts its file: a bit that rots in a page of its trees sends it outside the map, into an assertion or, quietly, past
 * what is there. This reads the newest snapshot without LMDB, to find that out before LMDB meets it, and to save what is
 * whole.
 *
 * Checked are all pages: that each is where it is said to be and is met once, that its nodes fill it and are in order, that its
 * keys lie where a search looks for them, that the sums of each tree are right, that nothing is used that is free. What a value
 * says is not looked at: rows and records are checked by those who read them, blocks by their hashes.
 *
 * The layout is that of LMDB 0.9 on 64-bit machines, in their own byte order (lmdb's mdb.c, "Page Headers", MDB_db, MDB_meta),
 * of environments without MDB_DUPSORT. Bytes of a broken disk, or worse; memory: a bit or three for each page, a page for each
 * level of a tree, and a value. Pure.
 */
#ifndef STORE_BLOCK_INDEX_PAGES_H
#define STORE_BLOCK_INDEX_PAGES_H

#include "store/base/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_source {
    void *arg;
    uint64_t size;                                              /* of the file, bytes */
    int (*read)(void *arg, uint64_t at, void *out, size_t len); /* within it, all of it: 0, or an error */
};

struct index_damage {
    uint64_t page;
    const char *what; /* "is …", "has …" */
    bool cut;         /* the file ends before it */
};

/* 0; ERR_CORRUPT and *ret, also when a page cannot be read; ERR_NO_MEMORY. */
int index_pages_check(const struct index_source *s, struct index_damage *ret);

/* Told are the entries of all named trees, the sound trees first; of a damaged one not in order, and a key twice perhaps: the
 * first one is the better one. What is given is valid in the call only. Not 0: the end, with that result. */
typedef int index_entry_fn(void *arg, struct span tree, struct span key, struct span value);

struct index_saved {
    uint64_t entries, skipped; /* told; nodes and pages that were passed over, some of them found another way */
};

/* Everything that can still be read, whatever is damaged: nodes that do not fit in their page are left out, leaves that
 * nobody points to any more are given to the tree that lost some. 0; ERR_CORRUPT: not even the names of the trees;
 * ERR_NO_MEMORY; an error of `each`. */
int index_pages_save(const struct index_source *s, index_entry_fn *each, void *arg, struct index_saved *ret);

#endif
