/* SPDX-License-Identifier: MIT */
#include "store/unixfs/layout.h"

#include "store/content/hasher.h"
#include "store/unixfs/emit.h"

#include <assert.h>
#include <stdlib.h>

const struct layout_profile layout_v1_2025 = {
    .name = "unixfs-v1-2025", .chunk_size = 1u << 20, .max_links = 1024, .raw_leaves = true, .cid_version = 1};
const struct layout_profile layout_v0_2015 = {
    .name = "unixfs-v0-2015", .chunk_size = 256u << 10, .max_links = 174, .raw_leaves = false, .cid_version = 0};

static const struct layout_profile *const profiles[] = {&layout_v1_2025, &layout_v0_2015};

const struct layout_profile *layout_profile_find(struct span name)
{
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        if (span_eq_str(name, profiles[i]->name))
            return profiles[i];
    return NULL;
}

/* The children of a parent that is still open */
struct level {
    struct unixfs_child *child;
    uint32_t count, cap;
};

struct layout {
    const struct layout_profile *profile;
    struct block_sink *sink;
    struct level level[LAYOUT_DEPTH_MAX];
    unsigned top; /* highest level that has had a child */
};

struct layout *layout_new(const struct layout_profile *p, struct block_sink *sink)
{
    struct layout *l = MEM_NEW(struct layout);
    l->profile = p;
    l->sink = sink;
    return l;
}

struct layout *layout_free(struct layout *l)
{
    if (!l)
        return NULL;
    for (unsigned i = 0; i < LAYOUT_DEPTH_MAX; i++)
        free(l->level[i].child);
    free(l);
    return NULL;
}

static void cid_for(const struct layout_profile *p, uint64_t codec, struct span block, struct cid *ret)
{
    cid_of(ret, codec, block);
    if (p->cid_version == 0) {
        struct cid v0;
        int r = cid_from_hash(&v0, 0, CODEC_DAG_PB, cid_hash(ret));
        assert(r == 0);
        (void)r;
        *ret = v0;
    }
}

void layout_leaf_cid(const struct layout_profile *p, struct span block, struct cid *ret)
{
    cid_for(p, p->raw_leaves ? CODEC_RAW : CODEC_DAG_PB, block, ret);
}

void layout_encode_leaf(const struct layout_profile *p, struct span data, struct buf *out)
{
    if (p->raw_leaves)
        buf_add_span(out, data);
    else
        unixfs_add_leaf(out, data, NULL);
}

int layout_parent(const struct layout_profile *p, struct layout_children c, struct block_sink *sink, struct unixfs_root *ret)
{
    assert(c.count >= 1 && c.count <= p->max_links);
    struct buf bytes = BUF_INIT;
    int r = unixfs_add_file(&bytes, c.child, c.count, NULL);
    if (r < 0)
        return r;
    struct unixfs_root made = {.tsize = unixfs_tsize(buf_len(&bytes), c.child, c.count)};
    for (size_t i = 0; i < c.count; i++)
        made.size += c.child[i].size;
    cid_for(p, CODEC_DAG_PB, buf_span(&bytes), &made.cid);
    r = emit_known(sink, BUDGET_STORE, &made.cid, buf_span(&bytes));
    buf_done(&bytes);
    if (r == 0)
        *ret = made;
    return r;
}

/* Room for one more. 0, ERR_NO_MEMORY. */
static int level_room(struct layout *l, unsigned at)
{
    assert(at < LAYOUT_DEPTH_MAX);
    struct level *v = &l->level[at];
    if (v->count < v->cap)
        return 0;
    uint32_t cap = v->cap ? v->cap * 2 : 8;
    struct unixfs_child *child = mem_big_grow(v->child, cap, sizeof *child);
    if (!child)
        return ERR_NO_MEMORY;
    v->child = child;
    v->cap = cap;
    return 0;
}

/* There is room. */
static void level_add(struct layout *l, unsigned at, const struct unixfs_root *r)
{
    struct level *v = &l->level[at];
    assert(v->count < l->profile->max_links && v->count < v->cap);
    v->child[v->count++] = (struct unixfs_child){.cid = r->cid, .size = r->size, .tsize = r->tsize};
    if (at > l->top)
        l->top = at;
}

/* The open parent of a level becomes a child one level up. */
static int level_close(struct layout *l, unsigned at)
{
    struct level *v = &l->level[at];
    struct unixfs_root parent;
    int r = level_room(l, at + 1); /* before: a parent that the sink has is not taken back */
    if (r < 0)
        return r;
    r = layout_parent(l->profile, (struct layout_children){v->child, v->count}, l->sink, &parent);
    if (r < 0)
        return r;
    v->count = 0;
    level_add(l, at + 1, &parent);
    return 0;
}

/* Closes full parents, lowest first. Run before each leaf, so that always at most one more fits everywhere; when the sink
 * stops it half way, the next run goes on. */
static int settle(struct layout *l)
{
    for (unsigned i = 0; i <= l->top; i++) {
        if (l->level[i].count < l->profile->max_links)
            continue;
        int r = level_close(l, i);
        if (r < 0)
            return r;
    }
    return 0;
}

int layout_leaf(struct layout *l, const struct unixfs_root *leaf)
{
    int r = settle(l);
    if (r == 0)
        r = level_room(l, 0);
    if (r < 0)
        return r;
    level_add(l, 0, leaf);
    return 0;
}

static int finish_empty(struct layout *l, struct unixfs_root *ret)
{
    struct buf bytes = BUF_INIT;
    layout_encode_leaf(l->profile, SPAN_NONE, &bytes);
    struct unixfs_root made = {.tsize = buf_len(&bytes)};
    layout_leaf_cid(l->profile, buf_span(&bytes), &made.cid);
    int r = emit_known(l->sink, BUDGET_STORE, &made.cid, buf_span(&bytes));
    buf_done(&bytes);
    if (r == 0)
        *ret = made;
    return r;
}

int layout_finish(struct layout *l, struct unixfs_root *ret)
{
    if (l->top == 0 && l->level[0].count == 0)
        return finish_empty(l, ret);
    int r = settle(l);
    if (r < 0)
        return r;
    for (unsigned i = 0; i < l->top || l->level[i].count > 1; i++) {
        if (l->level[i].count == 0)
            continue;
        r = level_close(l, i);
        if (r < 0)
            return r;
    }
    const struct unixfs_child *root = &l->level[l->top].child[0];
    *ret = (struct unixfs_root){.cid = root->cid, .size = root->size, .tsize = root->tsize};
    return 0;
}
