/* SPDX-License-Identifier: MIT
 *
 * Editing a directory. `from` is how far the merge has come, as a hash: a run that was interrupted walks down to it again. An
 * item is behind `from` only when the stream has taken it.
 */
#include "store/unixfs/dir_edit.h"

#include "store/unixfs/directory.h"
#include "store/unixfs/entryset.h"
#include "store/unixfs/hamt_stream.h"
#include "store/unixfs/hamt_walk.h"
#include "store/unixfs/murmur3.h"

#include <assert.h>
#include <stdlib.h>

enum phase { EDIT_START, EDIT_MEASURE, EDIT_MERGE, EDIT_CLOSE, EDIT_GATHER, EDIT_BUILD };

struct unixfs_dir_edit {
    struct unixfs_dir_options o;
    struct cid dir;
    enum phase phase;
    struct entryset changes; /* by hash, once running */

    /* MERGE, CLOSE */
    struct hamt_stream *stream;
    uint64_t from;
    bool walk_over; /* nothing of the old directory is left at or after `from` */
    size_t next_change;

    /* GATHER, BUILD */
    struct unixfs_dir_builder *builder;
    uint64_t cursor;
};

struct unixfs_dir_edit *unixfs_dir_edit_new(const struct unixfs_dir_options *o, const struct cid *dir)
{
    struct unixfs_dir_edit *e = MEM_NEW(struct unixfs_dir_edit);
    e->o = *o;
    e->dir = *dir;
    return e;
}

struct unixfs_dir_edit *unixfs_dir_edit_free(struct unixfs_dir_edit *e)
{
    if (e) {
        entryset_done(&e->changes);
        hamt_stream_free(e->stream);
        unixfs_dir_builder_free(e->builder);
        free(e);
    }
    return NULL;
}

int unixfs_dir_edit_set(struct unixfs_dir_edit *e, struct span name, const struct cid *cid, uint64_t tsize)
{
    assert(e->phase == EDIT_START);
    int err = unixfs_name_check(name);
    return err ? err : entryset_add(&e->changes, name, cid, tsize, murmur3_x64_64(name));
}

static bool changed(const struct unixfs_dir_edit *e, uint64_t hash, struct span name)
{
    return entryset_find(&e->changes, hash, name) < e->changes.count;
}

/* ---- MEASURE: is the result larger than a basic directory may be? ---- */

static uint64_t size_of_changes(const struct unixfs_dir_edit *e)
{
    struct buf message = BUF_INIT;
    unixfs_add_directory_message(&message, &e->o.meta);
    uint64_t size = dagpb_data_size(buf_len(&message));
    buf_done(&message);
    for (size_t i = 0; i < e->changes.count; i++) {
        struct entryset_item c;
        entryset_get(&e->changes, i, &c);
        if (!cid_is_none(&c.cid))
            size += dagpb_link_size(c.cid.len, c.name.len, c.tsize);
    }
    return size;
}

static int measure(const struct unixfs_dir_edit *e, struct block_source *src, const struct unixfs_node *root, bool *ret_large)
{
    struct hamt_walk w;
    struct hamt_slot slot;
    uint64_t size = size_of_changes(e);
    int err = hamt_walk_begin(&w, src, root, 0);
    while (!err && size <= UNIXFS_SHARD_THRESHOLD) {
        int n = hamt_walk_next(&w, &slot);
        if (n <= 0) {
            err = n;
            break;
        }
        if (slot.is_shard)
            err = hamt_walk_enter(&w, &slot);
        else if (!changed(e, slot.hash, slot.name))
            size += dagpb_link_size(slot.link.hash.len, slot.name.len, slot.link.tsize);
    }
    if (err == ERR_MISSING)
        hamt_note_missing(src, root, 0);
    if (!err)
        *ret_large = size > UNIXFS_SHARD_THRESHOLD;
    return err;
}

/* ---- MERGE ---- */

/* Everything up to `last`, old entries and changes, has been taken. */
static void pass(struct unixfs_dir_edit *e, uint64_t last)
{
    e->walk_over = last == UINT64_MAX;
    e->from = e->walk_over ? last : last + 1;
}

/* The next change. Old entries up to and with its hash have been taken before. */
static int feed_change(struct unixfs_dir_edit *e)
{
    struct entryset_item c;
    entryset_get(&e->changes, e->next_change, &c);
    struct hamt_item item = {.hash = c.hash, .name = c.name, .cid = c.cid, .tsize = c.tsize};
    int err = cid_is_none(&c.cid) ? 0 : hamt_stream_add(e->stream, &item);
    if (err)
        return err;
    e->next_change++;
    pass(e, c.hash);
    return 0;
}

static int feed_slot(struct unixfs_dir_edit *e, const struct hamt_shard *s, const struct hamt_slot *slot)
{
    struct hamt_item item = {.hash = slot->hash, .name = slot->name, .tsize = slot->link.tsize};
    if (slot->is_shard)
        item.shard_bits = s->place.bits_used + s->bits;
    else if (changed(e, slot->hash, slot->name))
        goto passed; /* the change comes, or has come, in its place */
    else if (slot->name.len > UNIXFS_NAME_MAX)
        goto passed;
    dagpb_link_cid(&slot->link, &item.cid);
    int err = hamt_stream_add(e->stream, &item);
    if (err)
        return err;
passed:
    pass(e, hamt_last(s, slot));
    return 0;
}

/* One slot of the old directory, and the changes before it. */
static int merge_slot(struct unixfs_dir_edit *e, struct hamt_walk *w, const struct hamt_slot *slot)
{
    const struct hamt_shard *s = &w->levels[w->depth - 1].shard;
    const struct entryset *c = &e->changes;
    while (e->next_change < c->count && c->index[e->next_change].hash < slot->hash) {
        int err = feed_change(e);
        if (err)
            return err;
    }
    bool touched = e->next_change < c->count && c->index[e->next_change].hash <= hamt_last(s, slot);
    bool begun = slot->hash < e->from; /* before an interruption */
    return slot->is_shard && (touched || begun) ? hamt_walk_enter(w, slot) : feed_slot(e, s, slot);
}

static void note_changes(const struct unixfs_dir_edit *e, struct block_source *src, const struct unixfs_node *root)
{
    for (size_t i = e->next_change; i < e->changes.count && src->missing_count < MISSING_MAX; i++)
        hamt_note_path(src, root, e->changes.index[i].hash);
}

static int merge(struct unixfs_dir_edit *e, struct block_source *src, const struct unixfs_node *root)
{
    struct hamt_walk w;
    struct hamt_slot slot;
    int err = hamt_walk_begin(&w, src, root, e->from);
    while (!err && !e->walk_over) {
        int n = hamt_walk_next(&w, &slot);
        if (n < 0)
            return n;
        if (n == 0)
            e->walk_over = true;
        else
            err = merge_slot(e, &w, &slot);
    }
    while (!err && e->next_change < e->changes.count)
        err = feed_change(e);
    if (err == ERR_MISSING)
        note_changes(e, src, root);
    return err;
}

/* ---- GATHER ---- */

static int gather_entry(void *arg, const struct unixfs_entry *entry, uint64_t next)
{
    struct unixfs_dir_edit *e = arg;
    (void)next; /* the listing keeps the place */
    if (changed(e, murmur3_x64_64(entry->name), entry->name))
        return 0;
    return unixfs_dir_builder_add(e->builder, entry->name, &entry->cid, entry->tsize);
}

static int gather(struct unixfs_dir_edit *e, struct block_source *src)
{
    int err = unixfs_dir_list(src, &e->dir, &e->cursor, gather_entry, e);
    for (size_t i = 0; !err && i < e->changes.count; i++) {
        struct entryset_item c;
        entryset_get(&e->changes, i, &c);
        if (!cid_is_none(&c.cid))
            err = unixfs_dir_builder_add(e->builder, c.name, &c.cid, c.tsize);
    }
    return err;
}

/* ---- the phases: each 0 when the next may begin ---- */

static int root_open(const struct unixfs_dir_edit *e, struct block_source *src, struct unixfs_node *ret)
{
    struct span block;
    int err = source_get(src, &e->dir, &block);
    if (!err)
        err = unixfs_parse(&e->dir, block, ret);
    if (!err && !unixfs_is_dir(ret))
        return ERR_NOT_DIR;
    return err;
}

static int check_changes(struct unixfs_dir_edit *e)
{
    entryset_sort_hash(&e->changes);
    for (size_t i = 1; i < e->changes.count; i++) {
        bool same = e->changes.index[i].hash == e->changes.index[i - 1].hash;
        if (same && span_eq(entryset_name(&e->changes, i), entryset_name(&e->changes, i - 1)))
            return ERR_EXISTS;
    }
    return 0;
}

static int choose(struct unixfs_dir_edit *e, struct block_source *src, const struct unixfs_node *root)
{
    bool large = false;
    /* Another fanout is not ours to keep: the result's CID would depend on where it came from. */
    if (root->type == UNIXFS_HAMT && root->fanout == HAMT_FANOUT) {
        int err = measure(e, src, root, &large);
        if (err)
            return err;
    }
    if (large) {
        e->stream = hamt_stream_new(e->o.sink, &e->o.meta);
        e->phase = EDIT_MERGE;
    } else {
        e->builder = unixfs_dir_builder_new(&e->o);
        e->phase = EDIT_GATHER;
    }
    return 0;
}

static int run_phase(struct unixfs_dir_edit *e, struct block_source *src, struct cid *ret, uint64_t *ret_tsize)
{
    struct unixfs_node root;
    int err = 0;
    if (e->phase != EDIT_CLOSE && e->phase != EDIT_BUILD) /* they read no more */
        err = root_open(e, src, &root);
    if (err)
        return err;
    switch (e->phase) {
    case EDIT_START:
        err = check_changes(e);
        e->phase = EDIT_MEASURE;
        return err ? err : 1;
    case EDIT_MEASURE:
        err = choose(e, src, &root);
        return err ? err : 1;
    case EDIT_MERGE:
        err = merge(e, src, &root);
        if (!err)
            e->phase = EDIT_CLOSE;
        return err ? err : 1;
    case EDIT_CLOSE:
        return hamt_stream_finish(e->stream, ret, ret_tsize);
    case EDIT_GATHER:
        err = gather(e, src);
        if (!err)
            e->phase = EDIT_BUILD;
        return err ? err : 1;
    case EDIT_BUILD:
        err = unixfs_dir_builder_finish(e->builder, ret, ret_tsize);
        if (err == 1) { /* it wants all entries once more */
            e->cursor = 0;
            e->phase = EDIT_GATHER;
        }
        return err;
    }
    return ERR_FAILED; /* not reached: all phases are above */
}

int unixfs_dir_edit_run(struct unixfs_dir_edit *e, struct block_source *src, struct cid *ret, uint64_t *ret_tsize)
{
    int n;
    do
        n = run_phase(e, src, ret, ret_tsize);
    while (n == 1);
    return n;
}
