/* SPDX-License-Identifier: MIT
 *
 * Records that were changed and are not on disk yet: an ordered map from key to value, or to "deleted". Each entry carries the
 * number of the operation that changed it last; when that operation has committed, the entry goes, because the disk says the
 * same now.
 *
 * A skip list, with its own deterministic dice. Single owner.
 */
#ifndef STORE_TREE_OVERLAY_H
#define STORE_TREE_OVERLAY_H

#include "store/base/span.h"

struct overlay;

struct overlay_entry {
    struct span key;
    struct span value;
    bool deleted;
    uint64_t seq;
};

struct overlay *overlay_new(void);
struct overlay *overlay_free(struct overlay *o); /* NULL accepted */

/* Spans of entries live until that key is set or dropped. */
const struct overlay_entry *overlay_find(const struct overlay *o, struct span key); /* NULL: none */
const struct overlay_entry *overlay_from(const struct overlay *o, struct span key); /* the first one ≥ key; NULL: none */
const struct overlay_entry *overlay_next(const struct overlay_entry *e);            /* in order of keys; NULL: the last */

void overlay_set(struct overlay *o, struct span key, struct span value, uint64_t seq); /* copies */
void overlay_delete(struct overlay *o, struct span key, uint64_t seq);                 /* remembers that it is gone */
void overlay_drop(struct overlay *o, struct span key, uint64_t seq); /* forgets it, if seq is still its last */

size_t overlay_count(const struct overlay *o);

#endif
