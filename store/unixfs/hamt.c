/* SPDX-License-Identifier: MIT
 *
 * HAMT shards: the checks of hamt.h over one block, and the exact bytes of one. A bitfield is compared as a set of
 * buckets: the one in the block is right-aligned, its missing leading bytes are zero.
 */
#include "store/unixfs/hamt.h"

#include "store/unixfs/murmur3.h"

#include <assert.h>

static const char hex_digits[] = "0123456789ABCDEF";

/* ---- reading ---- */

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int bucket_of_name(struct span name, unsigned width)
{
    int bucket = 0;
    if (name.len < width)
        return ERR_INVALID;
    for (unsigned i = 0; i < width; i++) {
        int v = hex_value(name.data[i]);
        if (v < 0)
            return ERR_INVALID;
        bucket = bucket << 4 | v;
    }
    return bucket;
}

/* The shift that brings a bucket of this shard to its place in a hash. */
static unsigned bucket_shift(const struct hamt_shard *s)
{
    return 64 - s->place.bits_used - s->bits;
}

static void slot_read(const struct hamt_shard *s, const struct dagpb_link *link, unsigned bucket, struct hamt_slot *ret)
{
    ret->bucket = bucket;
    ret->link = *link;
    ret->is_shard = link->name.len == s->width;
    ret->name = span_from(link->name, s->width);
    ret->hash = s->place.prefix | (uint64_t)bucket << bucket_shift(s);
}

static int check_links(const struct hamt_shard *s, uint8_t *ret_bits)
{
    struct dagpb_iter it = dagpb_iter(&s->pb);
    struct dagpb_link link;
    int last = -1;
    while (dagpb_next(&it, &link)) {
        int bucket = bucket_of_name(link.name, s->width);
        if (bucket <= last || bucket >= 1 << s->bits)
            return ERR_INVALID;
        ret_bits[bucket / 8] |= (uint8_t)(1 << bucket % 8);
        last = bucket;
    }
    return 0;
}

static int check_bitfield(const struct hamt_shard *s, struct span field)
{
    uint8_t bits[HAMT_FANOUT_MAX / 8] = {0}; /* bucket 0 is the lowest bit of the first byte */
    size_t size = ((size_t)1 << s->bits) / 8;
    int err = check_links(s, bits);
    if (err || field.len > size)
        return ERR_INVALID;
    for (size_t i = 0; i < size; i++) {
        uint8_t said = i < field.len ? field.data[field.len - 1 - i] : 0;
        if (said != bits[i])
            return ERR_INVALID;
    }
    return 0;
}

int hamt_open_node(const struct unixfs_node *node, struct hamt_place place, struct hamt_shard *ret)
{
    if (node->type != UNIXFS_HAMT)
        return ERR_INVALID;
    if (node->hash_type != UNIXFS_HASH_MURMUR3)
        return ERR_UNSUPPORTED;
    uint64_t fanout = node->fanout;
    if (fanout < 1U << HAMT_BITS_MIN || fanout > HAMT_FANOUT_MAX || (fanout & (fanout - 1)) != 0)
        return ERR_INVALID;
    struct hamt_shard s = {.pb = node->pb, .place = place};
    while (1U << s.bits < fanout)
        s.bits++;
    s.width = (s.bits + 3) / 4;
    if (place.bits_used + s.bits > 64 || (place.bits_used > 0 && node->pb.link_count == 0))
        return ERR_INVALID;
    int err = check_bitfield(&s, node->data);
    if (!err)
        *ret = s;
    return err;
}

int hamt_open(const struct cid *cid, struct span block, struct hamt_place place, struct hamt_shard *ret)
{
    struct unixfs_node node;
    int err = unixfs_parse(cid, block, &node);
    return err ? err : hamt_open_node(&node, place, ret);
}

int hamt_next(const struct hamt_shard *s, struct dagpb_iter *it, struct hamt_slot *ret)
{
    struct dagpb_link link;
    if (!dagpb_next(it, &link))
        return 0;
    int bucket = bucket_of_name(link.name, s->width);
    assert(bucket >= 0); /* hamt_open checked it */
    slot_read(s, &link, (unsigned)bucket, ret);
    if (ret->is_shard)
        return 1;
    uint64_t hash = murmur3_x64_64(ret->name);
    if (hash >> bucket_shift(s) != ret->hash >> bucket_shift(s))
        return ERR_INVALID;
    ret->hash = hash;
    return 1;
}

bool hamt_find(const struct hamt_shard *s, unsigned bucket, struct hamt_slot *ret)
{
    struct dagpb_iter it = dagpb_iter(&s->pb);
    struct dagpb_link link;
    while (dagpb_next(&it, &link)) {
        int at = bucket_of_name(link.name, s->width);
        assert(at >= 0); /* hamt_open checked it */
        if ((unsigned)at < bucket)
            continue;
        if ((unsigned)at > bucket)
            return false;
        slot_read(s, &link, bucket, ret);
        return true;
    }
    return false;
}

struct hamt_place hamt_child(const struct hamt_shard *s, const struct hamt_slot *slot)
{
    assert(slot->is_shard);
    return (struct hamt_place){s->place.bits_used + s->bits, slot->hash};
}

unsigned hamt_bucket(const struct hamt_shard *s, uint64_t hash)
{
    return (unsigned)(hash >> bucket_shift(s)) & ((1U << s->bits) - 1);
}

uint64_t hamt_last(const struct hamt_shard *s, const struct hamt_slot *slot)
{
    return slot->is_shard ? slot->hash | ((UINT64_C(1) << bucket_shift(s)) - 1) : slot->hash;
}

/* ---- writing ---- */

_Static_assert(HAMT_FANOUT == 1 << HAMT_FANOUT_BITS, "fanout and its bits agree");
_Static_assert(HAMT_FANOUT_BITS == 8, "a bucket is written as two hex digits");

void hamt_writer_reset(struct hamt_writer *w)
{
    buf_clear(&w->links);
    w->tsize = 0;
    w->count = 0;
    memset(w->bits, 0, sizeof w->bits);
}

void hamt_writer_done(struct hamt_writer *w)
{
    buf_done(&w->links);
}

void hamt_writer_add(struct hamt_writer *w, unsigned bucket, struct span name, const struct cid *cid, uint64_t tsize)
{
    uint8_t text[2 + UINT8_MAX];
    uint8_t *byte = &w->bits[sizeof w->bits - 1 - bucket / 8];
    assert(bucket < HAMT_FANOUT && name.len <= UINT8_MAX && !(*byte & 1 << bucket % 8));
    text[0] = (uint8_t)hex_digits[bucket >> 4];
    text[1] = (uint8_t)hex_digits[bucket & 15];
    if (name.len)
        memcpy(text + 2, name.data, name.len);
    dagpb_add_link(&w->links, cid, span_of(text, 2 + name.len), tsize);
    *byte |= (uint8_t)(1 << bucket % 8);
    w->tsize = tsize > UINT64_MAX - w->tsize ? UINT64_MAX : w->tsize + tsize;
    w->count++;
}

void hamt_writer_block(const struct hamt_writer *w, const struct unixfs_meta *meta, struct buf *out)
{
    struct span field = span_of(w->bits, sizeof w->bits);
    while (field.len && field.data[0] == 0)
        field = span_from(field, 1);
    struct buf message = BUF_INIT;
    unixfs_add_hamt_message(&message, field, HAMT_FANOUT, meta);
    buf_add_span(out, buf_span(&w->links));
    dagpb_add_data(out, buf_span(&message));
    buf_done(&message);
}
