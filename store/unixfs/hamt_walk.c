/* SPDX-License-Identifier: MIT */
#include "store/unixfs/hamt_walk.h"

#include <assert.h>

int hamt_child_open(struct block_source *src, const struct hamt_shard *parent, const struct hamt_slot *slot,
                    struct cid *ret_cid, struct hamt_shard *ret)
{
    struct span block;
    dagpb_link_cid(&slot->link, ret_cid);
    int err = source_get(src, ret_cid, &block);
    if (err)
        return err;
    err = hamt_open(ret_cid, block, hamt_child(parent, slot), ret);
    if (err)
        return err == ERR_UNSUPPORTED ? ERR_INVALID : err; /* below a HAMT there is nothing else */
    return ret->bits == parent->bits ? 0 : ERR_INVALID;    /* one fanout for the whole directory */
}

int hamt_walk_begin(struct hamt_walk *w, struct block_source *src, const struct unixfs_node *root, uint64_t from)
{
    w->src = src;
    w->from = from;
    int err = hamt_open_node(root, HAMT_ROOT, &w->levels[0].shard);
    if (err)
        return err;
    w->levels[0].it = dagpb_iter(&w->levels[0].shard.pb);
    w->depth = 1;
    return 0;
}

int hamt_walk_next(struct hamt_walk *w, struct hamt_slot *ret)
{
    while (w->depth) {
        struct hamt_walk_level *l = &w->levels[w->depth - 1];
        int n = hamt_next(&l->shard, &l->it, ret);
        if (n < 0)
            return n;
        if (n == 0)
            w->depth--;
        else if (hamt_last(&l->shard, ret) >= w->from)
            return 1;
    }
    return 0;
}

int hamt_walk_enter(struct hamt_walk *w, const struct hamt_slot *slot)
{
    assert(w->depth > 0 && w->depth < HAMT_DEPTH_MAX); /* hamt_open refuses deeper ones before */
    struct hamt_walk_level *l = &w->levels[w->depth];
    int err = hamt_child_open(w->src, &w->levels[w->depth - 1].shard, slot, &l->cid, &l->shard);
    if (err)
        return err;
    l->it = dagpb_iter(&l->shard.pb);
    w->depth++;
    return 0;
}

/* ---- noting what is missing ---- */

/* Shards, held or not, that one call looks at: enough to find MISSING_MAX holes in any sane directory. */
#define NOTE_LOOKS_MAX 1024

void hamt_note_missing(struct block_source *src, const struct unixfs_node *root, uint64_t from)
{
    struct hamt_walk w;
    struct hamt_slot slot;
    if (hamt_walk_begin(&w, src, root, from) != 0)
        return;
    for (unsigned looks = 0; looks < NOTE_LOOKS_MAX && src->missing_count < MISSING_MAX && hamt_walk_next(&w, &slot) == 1;)
        if (slot.is_shard) {
            (void)hamt_walk_enter(&w, &slot); /* what is missing is noted, and passed over like what is wrong */
            looks++;
        }
}

void hamt_note_path(struct block_source *src, const struct unixfs_node *root, uint64_t hash)
{
    struct hamt_shard s, child;
    struct hamt_slot slot;
    struct cid cids[2]; /* the parent's may be inline: it is borrowed while the child is opened */
    int err = hamt_open_node(root, HAMT_ROOT, &s);
    for (unsigned i = 0; !err && hamt_find(&s, hamt_bucket(&s, hash), &slot) && slot.is_shard; i++) {
        err = hamt_child_open(src, &s, &slot, &cids[i % 2], &child);
        if (!err)
            s = child;
    }
}
