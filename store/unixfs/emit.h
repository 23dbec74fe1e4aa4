/* SPDX-License-Identifier: MIT
 *
 * Hands a finished dag-pb block to a sink. Any thread that owns the sink.
 */
#ifndef STORE_UNIXFS_EMIT_H
#define STORE_UNIXFS_EMIT_H

#include "store/block/source.h"

/* Hashes (dag-pb, v1) and puts. `sink` NULL: only the CID. 0; ERR_AGAIN: the sink or its budget has no room now, nothing was
 * put; a sink's error. */
int emit_block(struct block_sink *sink, struct span bytes, struct cid *ret);

#endif
