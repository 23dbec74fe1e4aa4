/* SPDX-License-Identifier: MIT
 *
 * LMDB trusts its file: a bit that rots in a page of its trees sends it outside the map, or into an assertion, and with it the
 * node. This looks at all pages of the newest snapshot without LMDB: that each is where it is said to be and is met once, that its
 * nodes lie within it and in order, that the sums of each tree are right, that nothing free is used. What a value says is not
 * looked at: rows and records are checked by those who read them, blocks by their hashes.
 *
 * The layout is that of LMDB 0.9 on 64-bit machines, in their own byte order (lmdb's mdb.c, "Page Headers", MDB_db, MDB_meta).
 * Bytes of a hostile or broken disk; memory: a bit for each page, and a page for each level of a tree. Pure.
 */
#ifndef STORE_BLOCK_INDEX_PAGES_H
#define STORE_BLOCK_INDEX_PAGES_H

#include "store/base/err.h"

#include <stdint.h>
#include <stddef.h>

struct index_source {
    void *arg;
    int (*read)(void *arg, uint64_t at, void *out, size_t len); /* all of it: 0; ERR_CORRUPT: the file ends before; ERR_IO … */
};

struct index_damage {
    uint64_t page;
    const char *what;
};

/* 0; ERR_CORRUPT and *ret; ERR_NO_MEMORY, or an error of the source. */
int index_pages_check(const struct index_source *s, struct index_damage *ret);

#endif
