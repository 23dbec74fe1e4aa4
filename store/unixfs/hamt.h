/* SPDX-License-Identifier: MIT
 *
 * HAMT shards (specs.ipfs.tech/unixfs): one block of a large directory, read and written.
 *
 * A name's murmur3 hash is consumed from its top, log2(fanout) bits per level; those bits are the bucket. A link's name is the
 * bucket in upper-case hex of fixed width (fanout 256: two digits), then nothing for a child shard, or the entry's name.
 *
 *        hash  3f a0 …                bitfield: bucket 0 is the lowest bit of the last byte; leading zero bytes trimmed
 *   root ──3F──► shard ──A0readme──► entry
 *
 * What is refused (ERR_INVALID), so that a hostile shard can cost no more than its bytes: a fanout that is not a power of
 * two from 8 to 1024; buckets not in ascending order, beyond the fanout or twice; a bitfield that disagrees with the
 * links; more levels than 64 bits of hash pay for; an entry whose name's hash does not lead to its place; a shard below
 * the root with no links. The last two together mean that a walk meets an entry, or the damage, within HAMT_DEPTH_MAX
 * shards: shards repeated as a bomb are found at once.
 *
 * Pure, any thread.
 */
#ifndef STORE_UNIXFS_HAMT_H
#define STORE_UNIXFS_HAMT_H

#include "store/unixfs/unixfs_node.h"

#define HAMT_FANOUT       256 /* what we write; others are read */
#define HAMT_FANOUT_BITS  8
#define HAMT_FANOUT_MAX   1024
#define HAMT_BITS_MIN     3  /* of fanout 8 */
#define HAMT_DEPTH_MAX    22 /* ceil(64 / HAMT_BITS_MIN) */
#define HAMT_WRITE_LEVELS (64 / HAMT_FANOUT_BITS)

/* Where a shard is: how many levels above it, and the bits of the hash that lead there (top-aligned, rest zero). */
struct hamt_place {
    unsigned bits_used;
    uint64_t prefix;
};

#define HAMT_ROOT ((struct hamt_place){0, 0})

struct hamt_shard {
    struct dagpb pb;
    struct hamt_place place;
    unsigned bits;  /* consumed by this shard */
    unsigned width; /* hex digits of a bucket */
};

struct hamt_slot {
    unsigned bucket;
    bool is_shard;
    struct span name; /* of an entry */
    uint64_t hash;    /* of an entry's name; of a shard: the first hash that leads into it */
    struct dagpb_link link;
};

/* Checks the whole block: 0, ERR_INVALID (also: not a HAMT shard), ERR_UNSUPPORTED (another hash function). `ret` borrows
 * it. */
int hamt_open(const struct cid *cid, struct span block, struct hamt_place place, struct hamt_shard *ret);
/* The same for a block that was parsed already. */
int hamt_open_node(const struct unixfs_node *node, struct hamt_place place, struct hamt_shard *ret);

/* Slots in order of their buckets, which is the order of hashes, from dagpb_iter(&s->pb): 1; 0: no more; ERR_INVALID: an
 * entry that does not belong here. */
int hamt_next(const struct hamt_shard *s, struct dagpb_iter *it, struct hamt_slot *ret);
/* The slot of a bucket, without a look at the hash of an entry's name: false when empty. */
bool hamt_find(const struct hamt_shard *s, unsigned bucket, struct hamt_slot *ret);
/* The place of a child shard. */
struct hamt_place hamt_child(const struct hamt_shard *s, const struct hamt_slot *slot);
/* The highest hash that a slot can hold. */
uint64_t hamt_last(const struct hamt_shard *s, const struct hamt_slot *slot);
/* The bucket that a hash has in this shard. */
unsigned hamt_bucket(const struct hamt_shard *s, uint64_t hash);

/* ---- writing, with fanout 256 ---- */

/* One open shard. Slots are added in ascending order. */
struct hamt_writer {
    struct buf links;
    uint64_t tsize; /* Σ of the links' */
    unsigned count;
    uint8_t bits[HAMT_FANOUT / 8]; /* as in the bitfield, not trimmed */
};

void hamt_writer_reset(struct hamt_writer *w); /* zeroed memory is a writer too */
void hamt_writer_done(struct hamt_writer *w);
/* `name` empty: a child shard. */
void hamt_writer_add(struct hamt_writer *w, unsigned bucket, struct span name, const struct cid *cid, uint64_t tsize);
/* Appends the block. */
void hamt_writer_block(const struct hamt_writer *w, const struct unixfs_meta *meta, struct buf *out);

#endif
