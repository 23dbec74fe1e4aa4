/* SPDX-License-Identifier: MIT
 *
 * Hands a finished block to a sink. Any thread that owns the sink.
 */
#ifndef STORE_UNIXFS_EMIT_H
#define STORE_UNIXFS_EMIT_H

#include "store/block/source.h"

/* Puts a copy of `bytes`, whose CID is known, charged to `class` of the sink's budget. `sink` NULL: nobody wants it, 0. 0;
 * ERR_AGAIN: the sink or its budget has no room now, nothing was put; a sink's error. */
int emit_known(struct block_sink *sink, enum budget_class class, const struct cid *cid, struct span bytes);

/* The same for a dag-pb block that is not hashed yet; *ret its CID (v1), with `sink` NULL, too. */
int emit_block(struct block_sink *sink, struct span bytes, struct cid *ret);

#endif
