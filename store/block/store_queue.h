/* SPDX-License-Identifier: MIT
 *
 * What waits for the committer: the inbox, and behind it, in order, what was taken from it. Operations that are lazy wait there
 * until the first of them has waited STORE_LAZY_MOST, until they are worth a commit, or until one comes that is not; then
 * all are due. The committer only, but for blockstore_submit (store_queue.c).
 */
#ifndef STORE_BLOCK_STORE_QUEUE_H
#define STORE_BLOCK_STORE_QUEUE_H

struct blockstore;
struct store_op;

void opqueue_take(struct blockstore *bs); /* from the inbox; sets bs->due */
/* The same, when what is pending goes to the disk now, or nothing is: from here on the next lazy operation is a first one. */
void opqueue_take_lazy(struct blockstore *bs);
struct store_op *opqueue_pop(struct blockstore *bs);
/* The group's operations from `from` on, back to the head of the queue in their order: due at once */
void opqueue_put_back(struct blockstore *bs, unsigned from);

#endif
