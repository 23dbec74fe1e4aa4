/* SPDX-License-Identifier: MIT
 *
 * What a check repairs (verify.h), as operations of the committer. They look at what is there when their turn comes, and take a
 * difference, not a value: both stay right while others write.
 */
#ifndef STORE_BLOCK_VERIFY_REPAIR_H
#define STORE_BLOCK_VERIFY_REPAIR_H

#include "store/block/store_internal.h"

#define STORE_KEY_MAX 511 /* bytes; LMDB's */

struct repair_op {
    struct store_op op;
    atomic_uint *under_way; /* one less when it is done */
    struct cid cid;
    int64_t delta;
    struct totals totals;
    /* of repair_root: what refers to `cid` */
    MDB_dbi db;
    record_refers_fn *refers; /* NULL: a pin */
    unsigned key_len;
    uint8_t key[STORE_KEY_MAX];
};

typedef int repair_fn(struct store_op *op, struct store_txn *txn);

/* To be submitted by who counts it in `under_way`, which outlives it. */
struct repair_op *repair_new(atomic_uint *under_way, const struct cid *cid, repair_fn *apply); /* cid NULL: none */

repair_fn repair_count;  /* by `delta` */
repair_fn repair_root;   /* a pin or a record that its block does not know of */
repair_fn repair_drop;   /* a block that is (still) damaged; a sound one that its row does not know of is held again, … */
repair_fn repair_stray;  /* … or, without a row, goes by this */
repair_fn repair_key;    /* what is under a key that is no multihash: its bytes are those of `cid` */
repair_fn repair_index;  /* the indexes of one row, as the row says */
repair_fn repair_totals; /* by `totals` */

int check_bytes(const struct cid *cid, struct span data); /* 0, ERR_CORRUPT, ERR_UNSUPPORTED: a hash we cannot compute */

#endif
