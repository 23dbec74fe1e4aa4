/* SPDX-License-Identifier: MIT
 *
 * A DAG as a CAR (version 1, one root, depth first, each block once) that can be read at any place: its size is true before
 * the first byte is read. An index says where each block's frame begins; it is made in steps, from the blocks themselves, and
 * holds about 52 bytes a block, no block. The bytes are those of `p2p export`.
 *
 * Charged to BUDGET_TABLE, bounded by `most_bytes`. One owner, the source's thread.
 */
#ifndef STORE_BLOCK_CARFILE_H
#define STORE_BLOCK_CARFILE_H

#include "store/block/source.h"

struct carfile;

struct carfile *carfile_new(const struct cid *root, struct budget *budget, uint64_t most_bytes); /* budget NULL: not charged */
struct carfile *carfile_free(struct carfile *f);                                                 /* NULL accepted */

/* Indexes up to `blocks` more. 0: more to do, or all is done (carfile_complete). ERR_MISSING, ERR_AGAIN, ERR_TOO_BIG, errors of
 * the source as dagwalk_next: call again. */
int carfile_index(struct carfile *f, struct block_source *s, unsigned blocks);
bool carfile_complete(const struct carfile *f);
uint64_t carfile_size(const struct carfile *f);   /* as far as it is indexed */
uint64_t carfile_memory(const struct carfile *f); /* what is charged */

/* Copies [offset, offset + len), less at the end of what is indexed: bytes, or ERR_MISSING and errors of the source. */
int carfile_read(const struct carfile *f, struct block_source *s, uint64_t offset, void *out, size_t len);

#endif
