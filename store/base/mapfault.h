/* SPDX-License-Identifier: MIT
 *
 * Files that are read through a map. A page that the disk does not give (a bad sector, a file that was cut off) is a SIGBUS for
 * whoever looks there, and the end of the process. In a map that is watched a page of zeros takes its place, and that is
 * counted: who is about to use what was read looks whether it was there. The page is asked for again when the map is mended, so
 * that nobody sees zeros for ever, or in the place of what was written there later.
 *
 * Any thread; no lock: the handler of the signal only reads and writes atomic words.
 */
#ifndef STORE_BASE_MAPFAULT_H
#define STORE_BASE_MAPFAULT_H

#include "store/base/span.h"

#include <stdbool.h>
#include <stddef.h>

struct mapfault;

/* Of a file from its beginning. NULL: there are too many, and this one is not watched. */
struct mapfault *mapfault_watch(const void *at, size_t len);
void mapfault_unwatch(struct mapfault *w);   /* before it is unmapped; NULL accepted */
bool mapfault_any(const struct mapfault *w); /* pages of zeros are in it; NULL: no */
void mapfault_mend(struct mapfault *w, int fd);

unsigned long mapfault_count(void); /* of this thread, since its start */
unsigned long mapfault_epoch(void); /* changes with each one of any thread, and each mending */
/* This thread ends the process rather than go on with zeros, until it is told otherwise. */
void mapfault_deadly(bool on);
/* Copies what may lie in a map; false: not all of it was there. */
bool mapfault_copy(void *to, struct span from);
/* Whether all of it is there */
bool mapfault_look(struct span s);

#endif
