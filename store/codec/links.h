/* SPDX-License-Identifier: MIT
 *
 * The CIDs that a block refers to, for any codec: what pins, collection, fetching and CAR export walk.
 *
 *   raw, libp2p-key           none
 *   dag-pb                    its links, in order
 *   dag-cbor                  every tag 42, at any depth, in order
 *   dag-json, others          none: such a block is kept and served as a leaf
 *
 * Identity CIDs carry their block themselves: they are not reported; the links inside them are, in their place. Nothing
 * recurses. Pure, any thread.
 */
#ifndef STORE_CODEC_LINKS_H
#define STORE_CODEC_LINKS_H

#include "store/content/cid.h"

/* 0; ERR_INVALID: the block is not what its codec says (links before the damage have been reported); what `each` returned,
 * when that was not 0: it stops the walk. `child` is borrowed for the call. */
int links_of(const struct cid *cid, struct span block, int (*each)(void *arg, const struct cid *child), void *arg);

/* May a block with this codec have links at all? (raw blocks need not be read to walk a DAG) */
bool links_possible(uint64_t codec);

#endif
