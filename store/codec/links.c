/* SPDX-License-Identifier: MIT
 *
 * Links of a block. Inline (identity) children are pushed on a stack of values and walked in their place: what is inside one is
 * shorter than it, so the stack is bounded by the block.
 */
#include "store/codec/links.h"

#include "store/codec/dagcbor.h"
#include "store/codec/dagpb.h"

#include <stdlib.h>

/* One block that is being walked. */
struct level {
    struct cid own; /* of an inline block: what `pb` or `cbor` borrow */
    uint64_t codec;
    struct dagpb_iter pb;
    struct dagcbor cbor;
};

struct walk {
    struct level **levels;
    size_t count, cap;
};

static int level_init(struct level *l, uint64_t codec, struct span block)
{
    l->codec = codec;
    if (codec == CODEC_DAG_CBOR)
        dagcbor_init(&l->cbor, block);
    if (codec != CODEC_DAG_PB)
        return 0;
    struct dagpb node;
    if (dagpb_parse(block, &node) != 0)
        return ERR_INVALID;
    l->pb = dagpb_iter(&node);
    return 0;
}

/* 1: a child, 0: none left, or ERR_INVALID. */
static int level_next(struct level *l, struct cid *ret)
{
    if (l->codec == CODEC_DAG_PB) {
        struct dagpb_link link;
        if (!dagpb_next(&l->pb, &link))
            return 0;
        dagpb_link_cid(&link, ret);
        return 1;
    }
    struct dagcbor_token t;
    int n;
    while ((n = dagcbor_next(&l->cbor, &t)) == 1) {
        if (t.type != DAGCBOR_CID)
            continue;
        *ret = t.cid;
        return 1;
    }
    return n < 0 ? ERR_INVALID : 0;
}

static int walk_push_inline(struct walk *w, const struct cid *cid)
{
    struct span block;
    if (!links_possible(cid_codec(cid)))
        return 0;
    if (w->count == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 4;
        w->levels = mem_grow(w->levels, w->cap, sizeof w->levels[0]);
    }
    struct level *l = w->levels[w->count++] = MEM_NEW(struct level);
    l->own = *cid;
    (void)cid_inline(&l->own, &block); /* the caller saw that it is */
    return level_init(l, cid_codec(cid), block);
}

static void walk_pop(struct walk *w)
{
    free(w->levels[--w->count]);
}

static int child_visit(struct walk *w, const struct cid *child, int (*each)(void *, const struct cid *), void *arg)
{
    struct span block;
    return cid_inline(child, &block) ? walk_push_inline(w, child) : each(arg, child);
}

bool links_possible(uint64_t codec)
{
    return codec == CODEC_DAG_PB || codec == CODEC_DAG_CBOR;
}

int links_of(const struct cid *cid, struct span block, int (*each)(void *arg, const struct cid *child), void *arg)
{
    if (!links_possible(cid_codec(cid)))
        return 0;
    struct level outer;
    int result = level_init(&outer, cid_codec(cid), block);
    struct walk w = {0};
    while (result == 0) {
        struct cid child;
        int n = level_next(w.count ? w.levels[w.count - 1] : &outer, &child);
        if (n < 0)
            result = n;
        else if (n == 1)
            result = child_visit(&w, &child, each, arg);
        else if (w.count)
            walk_pop(&w);
        else
            break;
    }
    while (w.count)
        walk_pop(&w);
    free(w.levels);
    return result;
}
