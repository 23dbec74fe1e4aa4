/* SPDX-License-Identifier: MIT */
#include "store/unixfs/hamt_walk.h"

#include <assert.h>
#include <stdlib.h>

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

/* Held shards that one call looks into, and shards that wait for that: enough to find MISSING_MAX holes in any sane
 * directory. */
#define NOTE_LOOKS_MAX 1024
#define NOTE_LOOKS_FEW 256 /* when memory is short */

struct queue {
    struct waiting {
        struct cid cid;
        struct hamt_place place;
    } * items;
    size_t count, most;
};

static void queue_children(struct queue *q, const struct hamt_shard *s, uint64_t from)
{
    struct dagpb_iter it = dagpb_iter(&s->pb);
    struct hamt_slot slot;
    while (q->count < q->most && hamt_next(s, &it, &slot) == 1) {
        if (!slot.is_shard || hamt_last(s, &slot) < from)
            continue;
        struct waiting *w = &q->items[q->count++];
        dagpb_link_cid(&slot.link, &w->cid);
        w->place = hamt_child(s, &slot);
    }
}

void hamt_note_missing(struct block_source *src, const struct unixfs_node *root, uint64_t from)
{
    struct hamt_shard s;
    if (hamt_open_node(root, HAMT_ROOT, &s) != 0)
        return;
    struct queue q = {.items = mem_big(NOTE_LOOKS_MAX, sizeof *q.items), .most = NOTE_LOOKS_MAX};
    if (!q.items)
        q = (struct queue){.items = mem_array(NOTE_LOOKS_FEW, sizeof *q.items), .most = NOTE_LOOKS_FEW};
    queue_children(&q, &s, from);
    for (size_t i = 0; i < q.count && src->missing_count < MISSING_MAX; i++) {
        struct span block;
        if (source_get(src, &q.items[i].cid, &block) == 0 && hamt_open(&q.items[i].cid, block, q.items[i].place, &s) == 0)
            queue_children(&q, &s, from);
    }
    free(q.items);
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
