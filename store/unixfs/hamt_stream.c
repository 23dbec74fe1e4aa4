/* SPDX-License-Identifier: MIT
 *
 * The stack of open shards. Level n holds the shard whose place has n digits; `path` is the hash whose digits lead to all of
 * them. An item is placed when its successor is known; then shards that the successor does not belong to are closed, deepest
 * first: each close that succeeds is final, so a sink without room only interrupts.
 */
#include "store/unixfs/hamt_stream.h"

#include "store/unixfs/emit.h"

#include <assert.h>
#include <stdlib.h>

struct hamt_stream {
    struct block_sink *sink;
    struct unixfs_meta meta;
    struct hamt_writer levels[HAMT_WRITE_LEVELS];
    unsigned top; /* the deepest open level; the root is always open */
    uint64_t path;
    struct buf scratch;

    bool has_pending; /* the item that waits for its successor */
    struct hamt_item pending;
    uint8_t pending_name[UINT8_MAX];
    unsigned shared; /* digits that it shares with its predecessor */
};

struct hamt_stream *hamt_stream_new(struct block_sink *sink, const struct unixfs_meta *meta)
{
    struct hamt_stream *s = MEM_NEW(struct hamt_stream);
    s->sink = sink;
    if (meta)
        s->meta = *meta;
    return s;
}

struct hamt_stream *hamt_stream_free(struct hamt_stream *s)
{
    if (s) {
        for (unsigned i = 0; i < HAMT_WRITE_LEVELS; i++)
            hamt_writer_done(&s->levels[i]);
        buf_done(&s->scratch);
        free(s);
    }
    return NULL;
}

static unsigned digit(uint64_t hash, unsigned level)
{
    return (unsigned)(hash >> (64 - HAMT_FANOUT_BITS * (level + 1))) & (HAMT_FANOUT - 1);
}

/* How many digits two hashes share: 8 when they are equal. */
static unsigned shared_digits(uint64_t a, uint64_t b)
{
    return a == b ? HAMT_WRITE_LEVELS : (unsigned)__builtin_clzll(a ^ b) / HAMT_FANOUT_BITS;
}

static int write_shard(struct hamt_stream *s, unsigned level, struct cid *ret, uint64_t *ret_tsize)
{
    struct hamt_writer *w = &s->levels[level];
    buf_clear(&s->scratch);
    hamt_writer_block(w, level == 0 ? &s->meta : NULL, &s->scratch);
    int err = emit_block(s->sink, buf_span(&s->scratch), ret);
    size_t len = buf_len(&s->scratch);
    if (!err)
        *ret_tsize = w->tsize > UINT64_MAX - len ? UINT64_MAX : w->tsize + len;
    return err;
}

/* Closes shards until only levels ≤ keep are open. */
static int close_above(struct hamt_stream *s, unsigned keep)
{
    while (s->top > keep) {
        struct cid cid;
        uint64_t tsize;
        int err = write_shard(s, s->top, &cid, &tsize);
        if (err)
            return err;
        s->top--;
        hamt_writer_add(&s->levels[s->top], digit(s->path, s->top), SPAN_NONE, &cid, tsize);
    }
    return 0;
}

/* Places the pending item, which shares `next` digits with its successor: deeper shards are full now. */
static void place_pending(struct hamt_stream *s, unsigned next)
{
    const struct hamt_item *p = &s->pending;
    unsigned level = s->shared > next ? s->shared : next;
    if (p->shard_bits) {
        assert(level < p->shard_bits / HAMT_FANOUT_BITS); /* nothing is inside a subtree that came whole */
        level = p->shard_bits / HAMT_FANOUT_BITS - 1;
    }
    assert(level < HAMT_WRITE_LEVELS);
    while (s->top < level)
        hamt_writer_reset(&s->levels[++s->top]);
    s->path = p->hash;
    hamt_writer_add(&s->levels[level], digit(p->hash, level), p->name, &p->cid, p->tsize);
    s->shared = next;
    s->has_pending = false;
}

int hamt_stream_add(struct hamt_stream *s, const struct hamt_item *item)
{
    assert(item->name.len <= sizeof s->pending_name && item->shard_bits % HAMT_FANOUT_BITS == 0);
    if (s->has_pending) {
        assert(item->hash >= s->pending.hash);
        unsigned next = shared_digits(s->pending.hash, item->hash);
        if (next == HAMT_WRITE_LEVELS)
            return span_eq(item->name, s->pending.name) ? ERR_EXISTS : ERR_LIMIT;
        place_pending(s, next);
    }
    int err = close_above(s, s->shared);
    if (err)
        return err;
    s->pending = *item;
    s->pending.name = span_of(s->pending_name, item->name.len);
    if (item->name.len)
        memcpy(s->pending_name, item->name.data, item->name.len);
    s->has_pending = true;
    return 0;
}

int hamt_stream_finish(struct hamt_stream *s, struct cid *ret, uint64_t *ret_tsize)
{
    if (s->has_pending)
        place_pending(s, 0);
    int err = close_above(s, 0);
    return err ? err : write_shard(s, 0, ret, ret_tsize);
}
