/* SPDX-License-Identifier: MIT
 *
 * Files for big blocks, beside LMDB's. LMDB copies a value twice on its way to the disk and keeps its pages in the page cache;
 * what is a megabyte long gains from neither. A segment is a file of up to 1 GiB that is only ever appended to, past the page
 * cache where the file system can (O_DIRECT); where a block lies is LMDB's to know (store_extent.c). Given up, its pages are
 * punched out of the file; a segment nobody needs is removed as a whole. Nothing is written twice in the same place that
 * anybody was told about.
 *
 * Writing, punching and removing are one thread's (the committer's). segments_get is any thread's and takes no lock: segments
 * are mapped when they are first read, and the map stays until the segment is removed. It is watched (mapfault.h).
 */
#ifndef STORE_BLOCK_SEGMENT_H
#define STORE_BLOCK_SEGMENT_H

#include "store/base/err.h"
#include "store/base/span.h"

#include <stdbool.h>
#include <stdint.h>

#define SEGMENT_UNIT  UINT32_C(4096) /* blocks begin at multiples of it */
#define SEGMENT_UNITS (UINT32_C(1) << 18)
#define SEGMENTS_MAX  (UINT32_C(1) << 16) /* numbers are below */

struct extent {
    uint32_t segment, unit, len; /* `unit`: where it begins, in units; `len` in bytes, > 0 */
};

static inline uint32_t extent_units(uint32_t len)
{
    return len / SEGMENT_UNIT + (len % SEGMENT_UNIT != 0);
}

struct segments;

/* `dir` exists. Nothing is opened yet. */
struct segments *segments_new(const char *dir);
struct segments *segments_free(struct segments *s); /* NULL accepted; nobody reads any more */

/* Bytes go to their place, in the segment that is written to; another number begins or continues that one, and what is behind
 * `e->unit` there is forgotten. They are gathered, so that the disk gets much at once: `data` has to live until segments_flush,
 * which segments_sync includes, or segments_forget. Not durable before segments_sync. 0, or the disk's error (ERR_NO_SPACE,
 * ERR_IO …), perhaps for what was gathered before: then none of it is there. */
int segments_write(struct segments *s, const struct extent *e, struct span data);
int segments_flush(struct segments *s);
void segments_forget(struct segments *s); /* what was gathered is not wanted any more */
/* What was written is on disk. 0 when nothing was. */
int segments_sync(struct segments *s);
/* The bytes, in the map. 0, ERR_CORRUPT: the file is not there or too short; ERR_IO, ERR_NO_FILES, ERR_NO_MEMORY: it cannot be
 * mapped. */
int segments_get(struct segments *s, const struct extent *e, struct span *ret);
/* The same, read from the disk past the page cache: `into` is aligned as `data` of a struct block is, with room for e->len. 0;
 * ERR_UNSUPPORTED: segments_get will do, they are in the page cache already, or the file system reads no other way; or an
 * error. Any thread. */
int segments_read(struct segments *s, const struct extent *e, uint8_t *into);
/* What is behind `unit`, where no commit tells of anything, is no more. */
void segments_cut(struct segments *s, uint32_t segment, uint32_t unit);
/* Gives the room back; where the file system cannot, it comes back with the segment. An error: not now. */
int segments_punch(struct segments *s, const struct extent *e);
void segments_remove(struct segments *s, uint32_t segment);

/* Numbers of the files that are there, in no order: *ret is the caller's to free. The count, or an error. */
bool segments_exist(const struct segments *s, uint32_t segment);
int segments_list(struct segments *s, uint32_t **ret);
uint64_t segments_disk_bytes(struct segments *s);

#endif
