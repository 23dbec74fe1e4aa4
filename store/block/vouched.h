/* SPDX-License-Identifier: MIT
 *
 * Which blocks on the disk are known to have their hash: those that were written or verified since the start. A block that is
 * not known here is looked at by whoever reads it first (store_vouch in store_internal.h): big blocks by the sum that was kept
 * when they were written (hasher.h), others, and those whose sum is not right, by their hash. So a bit that rotted on the
 * disk is told by an error and not handed out, and what is read again and again is looked at once.
 *
 * A table of fixed size, in buckets of one cache line, of 64 mixed bits of the multihash: a block that was pushed out is
 * hashed once more. 512 KiB, touched only as far as it is used; for blocks of 1 MiB that is 64 GiB. Two blocks with equal 64
 * bits vouch for each other: nobody gains by that, since nobody can make a disk rot.
 *
 * Another such table has blocks that were found damaged and are still there: they are dropped at once, but a disk may take no
 * write. Who asks whether one of these is held is told that it is not, so that peers are asked for it. One that was pushed out
 * is found again by the next reader.
 *
 * Any thread: entries are single atomic words, and an entry that two threads write at once is only forgotten.
 */
#ifndef STORE_BLOCK_VOUCHED_H
#define STORE_BLOCK_VOUCHED_H

#include "store/content/cid.h"

struct vouched;

struct vouched *vouched_new(void);
struct vouched *vouched_free(struct vouched *v); /* NULL accepted */
bool vouched_has(const struct vouched *v, const struct cid *cid);
void vouched_add(struct vouched *v, const struct cid *cid);
void vouched_drop(struct vouched *v, const struct cid *cid);

#endif
