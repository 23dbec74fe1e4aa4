/* SPDX-License-Identifier: MIT
 *
 * Files of which only some blocks are stored. */
#ifndef TESTS_UNIT_STORE_TREE_FORMERBED_H
#define TESTS_UNIT_STORE_TREE_FORMERBED_H

#include "store/block/blockstore_txn.h"
#include "tests/unit/store/tree/treebed.h"

#define LEAVES 2

static inline struct cid leaf_of(unsigned n, uint8_t i, struct bed *put)
{
    uint8_t bytes[100] = {(uint8_t)n, i, (uint8_t)(n >> 8)};
    struct cid cid;
    cid_of(&cid, CODEC_RAW, span_of(bytes, sizeof bytes));
    if (put)
        blockstore_put(put->bs, block_from(NULL, BUDGET_STORE, &cid, span_of(bytes, sizeof bytes)), NULL, NULL, NULL);
    return cid;
}

/* The n-th file of two leaves: its root; `stored` of its three blocks are put, the root last. */
static inline struct unixfs_root file_of(struct bed *b, unsigned n, unsigned stored)
{
    struct buf node = BUF_INIT;
    struct unixfs_root root = {.size = LEAVES * 100};
    for (uint8_t i = 0; i < LEAVES; i++) {
        struct cid cid = leaf_of(n, i, i < stored ? b : NULL);
        dagpb_add_link(&node, &cid, SPAN_NONE, 100);
    }
    cid_of(&root.cid, CODEC_DAG_PB, buf_span(&node));
    root.tsize = LEAVES * 100 + buf_len(&node);
    if (stored > LEAVES)
        blockstore_put(b->bs, block_from(NULL, BUDGET_STORE, &root.cid, buf_span(&node)), NULL, NULL, NULL);
    buf_done(&node);
    return root;
}

/* A folder's block is not stored. */
static inline int sink_refuse(struct block_sink *self, struct block *take_b)
{
    (void)self;
    block_unref(take_b);
    return 0;
}

#endif
