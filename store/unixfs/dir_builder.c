/* SPDX-License-Identifier: MIT
 *
 * Entries are held in an entryset.h. Finishing sorts it: by name for a basic directory, by hash for a HAMT, which is fed to
 * hamt_stream.h. With a memory limit a pass covers the hashes [lo, hi): when too much is held, the upper half is dropped
 * and hi lowered to it.
 */
#include "store/unixfs/dir_builder.h"

#include "store/unixfs/directory.h"
#include "store/unixfs/emit.h"
#include "store/unixfs/entryset.h"
#include "store/unixfs/hamt_stream.h"
#include "store/unixfs/murmur3.h"

#include <assert.h>
#include <stdlib.h>

enum phase { COLLECT, WRITE_BASIC, WRITE_HAMT, CLOSE_HAMT };

struct unixfs_dir_builder {
    struct unixfs_dir_options o;
    enum phase phase;
    struct entryset held;
    size_t fed;          /* entries that the block or the stream took, */
    size_t told;         /* and for which o.entry was called */
    uint64_t basic_size; /* bytes of the basic block of all entries */
    uint64_t basic_tsize;
    bool sized;      /* basic_size is complete: the first pass is over */
    uint64_t lo, hi; /* the hashes of this pass: lo ≤ hash < hi */
    bool bounded;    /* else there is no hi */
    struct hamt_stream *stream;
};

static size_t message_size(const struct unixfs_dir_options *o)
{
    struct buf message = BUF_INIT;
    unixfs_add_directory_message(&message, &o->meta);
    size_t len = buf_len(&message);
    buf_done(&message);
    return dagpb_data_size(len);
}

struct unixfs_dir_builder *unixfs_dir_builder_new(const struct unixfs_dir_options *o)
{
    struct unixfs_dir_builder *b = MEM_NEW(struct unixfs_dir_builder);
    assert(o->memory_max == 0 || o->memory_max >= UNIXFS_DIR_MEMORY_MIN);
    b->o = *o;
    b->basic_size = message_size(o);
    return b;
}

struct unixfs_dir_builder *unixfs_dir_builder_free(struct unixfs_dir_builder *b)
{
    if (b) {
        entryset_done(&b->held);
        hamt_stream_free(b->stream);
        free(b);
    }
    return NULL;
}

/* ---- entries ---- */

static uint64_t saturating_add(uint64_t a, uint64_t b)
{
    return b > UINT64_MAX - a ? UINT64_MAX : a + b;
}

/* Drops the upper half of what is held, so that the pass ends at its hash. Names with equal hashes stay together; if there is
 * nothing else, they stay: the stream will refuse them. */
static int halve(struct unixfs_dir_builder *b)
{
    const struct entryset *held = &b->held;
    entryset_sort_hash(&b->held);
    size_t keep = held->count / 2;
    while (keep < held->count && held->index[keep].hash == held->index[0].hash)
        keep++;
    if (keep == held->count)
        return 0;
    b->hi = held->index[keep].hash;
    b->bounded = true;
    return entryset_keep(&b->held, entryset_from(held, b->hi));
}

int unixfs_dir_builder_add(struct unixfs_dir_builder *b, struct span name, const struct cid *cid, uint64_t tsize)
{
    assert(b->phase == COLLECT && !cid_is_none(cid));
    int err = unixfs_name_check(name);
    if (err)
        return err;
    if (!b->sized) {
        b->basic_size += dagpb_link_size(cid->len, name.len, tsize);
        b->basic_tsize = saturating_add(b->basic_tsize, tsize);
    }
    uint64_t hash = murmur3_x64_64(name);
    if (hash < b->lo || (b->bounded && hash >= b->hi))
        return 0; /* of another pass */
    err = entryset_add(&b->held, name, cid, tsize, hash);
    if (err == 0 && b->o.memory_max && entryset_bytes(&b->held) > b->o.memory_max)
        err = halve(b);
    return err;
}

/* ---- writing ---- */

/* Of those that were fed: what is closed by the last of them, which comes before its own blocks, is at the sink now. */
static int tell(struct unixfs_dir_builder *b)
{
    int err = 0;
    for (; b->o.entry && err == 0 && b->told < b->fed; b->told += err == 0) {
        struct entryset_item e;
        entryset_get(&b->held, b->told, &e);
        err = b->o.entry(b->o.arg, e.name, &e.cid, e.tsize);
    }
    return err;
}

static int write_basic(struct unixfs_dir_builder *b, struct cid *ret, uint64_t *ret_tsize)
{
    b->fed = b->held.count;
    int err = tell(b);
    if (err)
        return err;
    struct buf block = BUF_INIT, message = BUF_INIT;
    if (!buf_try_reserve(&block, b->basic_size))
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < b->held.count; i++) {
        struct entryset_item item;
        entryset_get(&b->held, i, &item);
        if (i > 0 && span_eq(item.name, entryset_name(&b->held, i - 1)))
            err = ERR_EXISTS;
        dagpb_add_link(&block, &item.cid, item.name, item.tsize);
    }
    unixfs_add_directory_message(&message, &b->o.meta);
    dagpb_add_data(&block, buf_span(&message));
    if (!err)
        err = emit_block(b->o.sink, buf_span(&block), ret);
    if (!err)
        *ret_tsize = saturating_add(b->basic_tsize, buf_len(&block));
    buf_done(&message);
    buf_done(&block);
    return err;
}

static int feed_stream(struct unixfs_dir_builder *b)
{
    int err = tell(b);
    for (size_t end = b->fed + b->o.step; err == 0 && b->fed < b->held.count; err = tell(b)) {
        struct entryset_item e;
        if (b->o.step && b->fed == end)
            return UNIXFS_DIR_STEP;
        entryset_get(&b->held, b->fed, &e);
        struct hamt_item item = {.hash = e.hash, .name = e.name, .cid = e.cid, .tsize = e.tsize};
        err = hamt_stream_add(b->stream, &item);
        if (err)
            return err;
        b->fed++;
    }
    return err;
}

/* The pass is written. True: another one is needed, from its end on. */
static bool next_pass(struct unixfs_dir_builder *b)
{
    if (!b->bounded)
        return false;
    b->lo = b->hi;
    b->bounded = false;
    b->fed = b->told = 0;
    entryset_clear(&b->held);
    return true;
}

static void begin_writing(struct unixfs_dir_builder *b)
{
    if (!b->sized && b->basic_size <= UNIXFS_SHARD_THRESHOLD) {
        assert(!b->bounded); /* so little is never too much to hold */
        entryset_sort_name(&b->held);
        b->phase = WRITE_BASIC;
    } else {
        entryset_sort_hash(&b->held);
        b->phase = WRITE_HAMT;
        if (!b->stream)
            b->stream = hamt_stream_new(b->o.sink, &b->o.meta);
    }
    b->sized = true;
}

int unixfs_dir_builder_finish(struct unixfs_dir_builder *b, struct cid *ret, uint64_t *ret_tsize)
{
    if (b->phase == COLLECT)
        begin_writing(b);
    if (b->phase == WRITE_BASIC)
        return write_basic(b, ret, ret_tsize);
    if (b->phase == WRITE_HAMT) {
        int err = feed_stream(b);
        if (err)
            return err;
        b->phase = CLOSE_HAMT;
        if (next_pass(b)) {
            b->phase = COLLECT;
            return 1;
        }
    }
    return hamt_stream_finish(b->stream, ret, ret_tsize);
}
