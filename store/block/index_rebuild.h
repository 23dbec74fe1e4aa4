/* SPDX-License-Identifier: MIT
 *
 * Before LMDB maps the index (data.mdb in `dir`), its pages are looked at (index_pages.h): always when it is small, so that it
 * costs milliseconds; a larger one when it is suspected: the program died, LMDB complained, or a look while it was open found
 * something. A damaged one is written anew from what can be read, and takes its place in one step; the old one stays beside it
 * as data.mdb.damaged, until the next time. Needs room on the disk for another index; nobody has it open meanwhile.
 */
#ifndef STORE_BLOCK_INDEX_REBUILD_H
#define STORE_BLOCK_INDEX_REBUILD_H

#include "store/base/err.h"
#include "store/block/index_pages.h"

#include <stdbool.h>
#include <sys/types.h>

#define INDEX_SMALL   ((off_t)16 << 20) /* bytes: so much is always looked at first, 0.1 s when no page is in memory */
#define INDEX_LARGE   ((off_t)1 << 30)  /* from that on it is not looked at while it is open, unless somebody asks */
#define INDEX_SUSPECT "suspect"         /* a file in `dir`: look at all pages when it is opened next, whatever its size */

/* 0: sound, not looked at, or none; *ret_rebuilt: it was damaged. Cut off: 0, which who opens it finds as well. Otherwise
 * ERR_CORRUPT: nothing can be read; ERR_NO_SPACE, ERR_IO, ERR_NO_MEMORY …: damaged, and as it was. */
int index_examine(const char *dir, bool *ret_rebuilt, struct why *why);

/* Of one that is open, between begin and end of a reader: 0, ERR_CORRUPT and *ret, ERR_NO_MEMORY, ERR_IO. */
int index_look(const char *dir, struct index_damage *ret);

/* Makes that file: async-signal-safe with its path. */
void index_suspect(const char *path);

#endif
