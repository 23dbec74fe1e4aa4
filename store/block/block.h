/* SPDX-License-Identifier: MIT
 *
 * A block in memory: immutable once published, reference-counted (atomic), charged to the memory budget. It is what threads
 * hand to each other while a block is not in LMDB yet (just received, just written), so that nobody waits for a commit.
 */
#ifndef STORE_BLOCK_BLOCK_H
#define STORE_BLOCK_BLOCK_H

#include "store/base/budget.h"
#include "store/content/cid.h"

#include <stdatomic.h>

/* Blocks larger than this are not interoperable (bitswap's limit): refused from peers, CARs and codecs. */
#define BLOCK_MAX (UINT32_C(2) << 20)

/* Blocks of this size and more are not in LMDB but in segments (segment.h), with a sum of their bytes (hasher.h). */
#define BLOCK_BIG (UINT32_C(128) << 10)

struct block_sum {
    bool known;
    uint64_t value;
};

struct block {
    atomic_uint refs;
    uint32_t len;
    uint32_t cap;
    uint8_t budget_class;
    struct budget *budget;  /* NULL: not charged */
    struct chunkmem *chunk; /* where `data` is, or NULL */
    uint8_t *data;          /* of big blocks: at a page, for segment.h */
    struct cid cid;
    struct block_sum sum; /* known: so that the committer need not (block_add_sum) */
};

/* One reference, room for `cap` ≤ BLOCK_MAX bytes, len 0. NULL: the budget says not now. The maker fills data, len and cid
 * (and sum, where it hashes on a worker anyway) before it hands out a second reference, and never writes afterwards. `budget`
 * NULL: not charged, never NULL. */
struct block *block_new(struct budget *budget, enum budget_class c, uint32_t cap);
/* The same past the budget's refusal: for what is bounded elsewhere. NULL: the machine has no memory. */
struct block *block_new_always(struct budget *budget, enum budget_class c, uint32_t cap);
struct block *block_from(struct budget *budget, enum budget_class c, const struct cid *cid, struct span data);
struct block *block_ref(struct block *b);
struct block *block_unref(struct block *b); /* returns NULL; NULL accepted */

/* Whether nobody else has it any more: then it is as new, with its bytes, and its maker may write again. */
bool block_reclaim(struct block *b);

void block_add_sum(struct block *b); /* of a big one */
void block_pool_trim(void);          /* gives back memory that is kept for blocks to come; any thread, now and then */

static inline struct span block_span(const struct block *b)
{
    return (struct span){b->data, b->len};
}

#endif
