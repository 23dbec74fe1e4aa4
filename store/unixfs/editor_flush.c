/* SPDX-License-Identifier: MIT
 *
 * How an edited file leaves the editor: chunks as flights, then parents, then the root. */
#include "store/unixfs/editor.h"

#include "store/unixfs/editor_state.h"
#include "store/unixfs/unixfs_node.h"

#include <assert.h>
#include <stdlib.h>

#define PARENTS_MOST 100 /* made in one call: 10 ms */

/* ---- flights ---- */

static struct editor_flight *flight_new(struct editor *e, struct block *take_b, struct editor_buf *buf)
{
    struct editor_flight *fl = MEM_NEW(struct editor_flight);
    fl->block = take_b;
    fl->editor = e;
    fl->buf = buf;
    fl->prev = e->flights.prev;
    fl->next = &e->flights;
    fl->prev->next = fl->next->prev = fl;
    e->unhashed++;
    return fl;
}

static struct editor_flight *send_buf(struct editor *e, struct editor_buf *buf)
{
    assert(!buf->flight && !buf->shared && buf->len == buf->b->len);
    editor_dirty_del(e, buf);
    buf->b->cid = (struct cid){.len = 0};
    buf->shared = true;
    buf->flight = flight_new(e, block_ref(buf->b), buf);
    return buf->flight;
}

/* The buffer holds exactly `len` bytes in a block of its own. 0, ERR_AGAIN. */
static int square_buf(struct editor *e, struct editor_buf *buf, uint32_t len)
{
    struct editor_room want = {.index = buf->index, .keep = buf->len, .cap = len};
    int r = editor_own_buf(e, NULL, want, &buf); /* it has its bytes: no source is asked */
    if (r < 0)
        return r;
    assert(len >= buf->len);
    editor_dirty_del(e, buf);
    memset(buf->b->data + buf->len, 0, len - buf->len);
    buf->len = buf->b->len = len;
    editor_dirty_add(e, buf);
    return 0;
}

static int next_full(struct editor *e, struct editor_flight **ret)
{
    if (e->full == 0)
        return 0;
    struct editor_buf *buf = e->dirty.next;
    while (buf->written < EDITOR_CHUNK || buf->len < EDITOR_CHUNK)
        buf = buf->next;
    *ret = send_buf(e, buf);
    return 1;
}

/* One that would have to be copied first, for which there is no room now, is not in the way of the others. */
static int next_oldest(struct editor *e, struct editor_flight **ret)
{
    int r = 0;
    for (struct editor_buf *buf = e->dirty.next; buf != &e->dirty; buf = buf->next) {
        r = square_buf(e, buf, buf->len);
        if (r < 0)
            continue;
        *ret = send_buf(e, buf);
        return 1;
    }
    return r;
}

/* The chunk of zeros, which all full holes share. It is not anybody's buffer. */
static int send_zeros(struct editor *e, struct editor_flight **ret)
{
    struct block *b = block_new(e->budget, BUDGET_WRITE, EDITOR_CHUNK);
    if (!b)
        return ERR_AGAIN;
    memset(b->data, 0, EDITOR_CHUNK);
    b->len = EDITOR_CHUNK;
    editor_digest_cid(editor_zeros_digest, CODEC_RAW, &b->cid);
    *ret = flight_new(e, b, NULL);
    e->zero_out = true;
    return 1;
}

enum fate { FATE_DONE, FATE_ZEROS, FATE_SEND };

/* What keeps a chunk from being a leaf */
static enum fate chunk_fate(const struct editor *e, const struct chunk *c, uint64_t index)
{
    uint32_t len = editor_chunk_len(e, index);
    switch (c->state) {
    case CHUNK_HOLE:
        if (len == EDITOR_CHUNK)
            return e->zero_out ? FATE_DONE : FATE_ZEROS;
        return FATE_SEND;
    case CHUNK_CLEAN:
        return c->len == len ? FATE_DONE : FATE_SEND;
    case CHUNK_BUF:
        return c->buf->flight && c->buf->len == len ? FATE_DONE : FATE_SEND;
    default:
        return FATE_SEND;
    }
}

static int send_chunk(struct editor *e, struct block_source *s, uint64_t index, struct editor_flight **ret)
{
    struct editor_room want = {.index = index, .cap = editor_chunk_len(e, index)};
    struct chunk look = editor_chunk_look(e, index);
    want.keep = look.state == CHUNK_BUF ? look.buf->len : look.len;
    struct editor_buf *buf;
    int r = editor_own_buf(e, s, want, &buf);
    if (r == 0)
        r = square_buf(e, buf, want.cap);
    if (r < 0)
        return r;
    *ret = send_buf(e, buf);
    return 1;
}

static bool parent_valid(const struct editor *e, uint32_t g)
{
    const struct group *gr = &e->group[g];
    if (!gr->parent_known || gr->parent_size != editor_group_len(e, g))
        return false;
    /* Not loaded: it is the base's, and counts while the base does */
    return gr->kind == GROUP_LOADED || g * GROUP_BYTES + gr->parent_size <= e->base_limit;
}

/* Groups that are all hole need no chunks, unless the file ends in a part of one. */
static bool plain_hole(const struct editor *e, uint32_t g)
{
    return e->group[g].kind == GROUP_HOLE && editor_group_len(e, g) % EDITOR_CHUNK == 0;
}

static int next_in_group(struct editor *e, struct block_source *s, uint32_t g, struct editor_flight **ret)
{
    uint64_t len = editor_group_len(e, g);
    if (parent_valid(e, g) || e->group[g].sent_len == len)
        return 0;
    if (plain_hole(e, g))
        return e->zero_out ? 0 : send_zeros(e, ret);
    int r = editor_load_group(e, s, g);
    uint64_t first = (uint64_t)g * GROUP_CHUNKS, end = first + editor_chunk_count(len);
    uint64_t begin = e->next > first && e->next < end ? e->next : first, i = begin;
    for (uint64_t looked = first; looked < end && r == 0; looked++, i = i + 1 < end ? i + 1 : first) {
        struct chunk c = editor_chunk_look(e, i);
        enum fate fate = chunk_fate(e, &c, i);
        if (fate == FATE_ZEROS)
            r = send_zeros(e, ret);
        else if (fate == FATE_SEND)
            r = send_chunk(e, s, i, ret);
        e->next = i;
    }
    if (r == 0)
        e->group[g].sent_len = len;
    return r;
}

int editor_next(struct editor *e, struct block_source *s, enum editor_want want, struct editor_flight **ret)
{
    if (want == EDITOR_FULL || want == EDITOR_PRESSURE) {
        int r = next_full(e, ret);
        return r == 0 && want == EDITOR_PRESSURE ? next_oldest(e, ret) : r;
    }
    if (!e->changed)
        return 0;
    int r = editor_ready(e, s);
    uint32_t begin = (uint32_t)(e->next / GROUP_CHUNKS);
    for (uint32_t i = 0; i < e->group_count && r == 0; i++)
        r = next_in_group(e, s, (uint32_t)(((uint64_t)begin + i) % e->group_count), ret);
    return r;
}

void editor_hashed(struct editor_flight *fl)
{
    assert(!cid_is_none(&fl->block->cid) && !fl->hashed);
    fl->hashed = true;
    if (fl->editor)
        fl->editor->unhashed--;
}

/* The store did not take the chunk: it is dirty again, or, of the zeros, to be sent again. */
static void flight_failed(struct editor *e, struct editor_flight *fl)
{
    e->changed = e->touched = true;
    if (!fl->buf) {
        struct cid zeros;
        editor_digest_cid(editor_zeros_digest, CODEC_RAW, &zeros);
        if (cid_eq(&fl->block->cid, &zeros))
            e->zero_out = false;
        editor_forget_parents(e);
        return;
    }
    fl->buf->flight = NULL;
    fl->buf->written = 0;
    editor_dirty_add(e, fl->buf);
    editor_group_changed(e, fl->buf->index);
}

void editor_stored(struct editor_flight *take_fl, int result)
{
    struct editor_flight *fl = take_fl;
    struct editor *e = fl->editor;
    if (e) {
        e->unhashed -= !fl->hashed;
        fl->prev->next = fl->next;
        fl->next->prev = fl->prev;
        if (result < 0) {
            flight_failed(e, fl);
        } else if (fl->buf) {
            assert(fl->hashed);
            struct editor_buf *buf = fl->buf;
            struct chunk *c = editor_chunk_slot(e, buf->index);
            memcpy(c->digest, cid_digest(&fl->block->cid).data, SHA256_SIZE);
            c->state = CHUNK_CLEAN;
            c->len = buf->len;
            editor_buf_drop(e, buf);
        } else {
            e->replaced++;
        }
    }
    block_unref(fl->block);
    free(fl);
}

unsigned editor_unhashed(const struct editor *e)
{
    return e->unhashed;
}

uint64_t editor_replaced(const struct editor *e)
{
    return e->replaced;
}

void editor_each_leaf(const struct editor *e, void (*each)(void *arg, const struct cid *leaf), void *arg)
{
    struct cid cid;
    for (uint32_t g = 0; g < e->group_count; g++)
        for (uint32_t i = 0; i < e->group[g].count; i++) {
            const struct chunk *c = &e->group[g].chunk[i];
            if (c->state != CHUNK_CLEAN && c->state != CHUNK_CUT)
                continue;
            editor_digest_cid(c->digest, CODEC_RAW, &cid);
            each(arg, &cid);
        }
    for (const struct editor_flight *fl = e->flights.next; fl != &e->flights; fl = fl->next)
        if (fl->buf && fl->hashed)
            each(arg, &fl->block->cid);
    editor_digest_cid(editor_zeros_digest, CODEC_RAW, &cid);
    if (e->zero_out)
        each(arg, &cid);
}

/* ---- the root ---- */

/* The leaf that a chunk is. 0, ERR_BUSY. */
static int leaf_of(const struct editor *e, uint64_t index, struct unixfs_child *ret)
{
    uint32_t len = editor_chunk_len(e, index);
    bool kept = e->group[index / GROUP_CHUNKS].kind == GROUP_LOADED;
    struct chunk c = kept ? editor_chunk_look(e, index) : (struct chunk){.state = CHUNK_HOLE};
    if (chunk_fate(e, &c, index) != FATE_DONE)
        return ERR_BUSY;
    *ret = (struct unixfs_child){.size = len, .tsize = len};
    if (c.state == CHUNK_BUF) {
        if (!c.buf->flight->hashed)
            return ERR_BUSY;
        ret->cid = c.buf->b->cid;
    } else {
        editor_digest_cid(c.state == CHUNK_HOLE ? editor_zeros_digest : c.digest, CODEC_RAW, &ret->cid);
    }
    return 0;
}

/* As the one that was made for another: they are all the same. */
static bool is_whole_hole(const struct editor *e, uint32_t g)
{
    return plain_hole(e, g) && editor_group_len(e, g) == GROUP_BYTES;
}

static void take_parent(struct group *gr, const struct group *from)
{
    memcpy(gr->parent_digest, from->parent_digest, SHA256_SIZE);
    gr->parent_size = from->parent_size;
    gr->parent_tsize = from->parent_tsize;
    gr->parent_known = true;
    gr->parent_emitted = from->parent_emitted;
    gr->kind = GROUP_LOADED; /* a hole: remembered as one that is loaded and has no chunks */
}

/* 1: it was made, 0: it is there, <0 */
static int make_parent(struct editor *e, struct block_source *s, uint32_t g, struct block_sink *sink)
{
    struct group *gr = &e->group[g];
    if (parent_valid(e, g) && (gr->parent_emitted || !sink))
        return 0;
    bool whole = is_whole_hole(e, g);
    if (whole && e->hole.parent_known && (e->hole.parent_emitted || !sink)) {
        take_parent(gr, &e->hole);
        return 0;
    }
    int r = plain_hole(e, g) ? 0 : editor_load_group(e, s, g);
    if (r < 0)
        return r;
    uint64_t first = (uint64_t)g * GROUP_CHUNKS;
    uint64_t len = editor_group_len(e, g);
    size_t count = (size_t)editor_chunk_count(len);
    struct unixfs_child *child = mem_big(count ? count : 1, sizeof *child); /* up to 100 KiB */
    if (!child)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < count && r == 0; i++)
        r = leaf_of(e, first + i, &child[i]);
    struct unixfs_root made;
    if (r == 0)
        r = layout_parent(&layout_v1_2025, (struct layout_children){child, count}, sink, &made);
    free(child);
    if (r < 0)
        return r;
    struct group parent = {.parent_size = made.size, .parent_tsize = made.tsize, .parent_emitted = sink != NULL};
    memcpy(parent.parent_digest, cid_digest(&made.cid).data, SHA256_SIZE);
    take_parent(gr, &parent);
    if (whole)
        take_parent(&e->hole, &parent);
    return 1;
}

static void parent_root(const struct group *g, struct unixfs_root *ret)
{
    *ret = (struct unixfs_root){.size = g->parent_size, .tsize = g->parent_tsize};
    editor_digest_cid(g->parent_digest, CODEC_DAG_PB, &ret->cid);
}

/* Above the groups: the layout with parents as its leaves */
static int join_groups(struct editor *e, struct block_sink *sink, struct unixfs_root *ret)
{
    struct layout *l = layout_new(&layout_v1_2025, sink);
    int r = 0;
    for (uint32_t g = 0; g < e->group_count && r == 0; g++) {
        struct unixfs_root parent;
        parent_root(&e->group[g], &parent);
        r = layout_leaf(l, &parent);
    }
    if (r == 0)
        r = layout_finish(l, ret);
    layout_free(l);
    return r;
}

static int make_root(struct editor *e, struct block_source *s, struct block_sink *sink, struct unixfs_root *ret)
{
    if (e->size > 0 && e->size <= EDITOR_CHUNK) {
        struct unixfs_child leaf;
        int r = editor_load_group(e, s, 0);
        if (r == 0)
            r = leaf_of(e, 0, &leaf);
        if (r == 0)
            *ret = (struct unixfs_root){.cid = leaf.cid, .size = leaf.size, .tsize = leaf.tsize};
        return r;
    }
    unsigned made = 0;
    for (uint32_t g = 0; g < e->group_count; g++) {
        int r = made < PARENTS_MOST ? make_parent(e, s, g, sink) : ERR_BUSY;
        if (r < 0)
            return r;
        made += (unsigned)r;
    }
    return join_groups(e, sink, ret); /* no groups: the empty file */
}

int editor_finish(struct editor *e, struct block_source *s, struct block_sink *sink, struct unixfs_root *ret)
{
    if (e->changed) {
        struct unixfs_root root;
        int r = editor_ready(e, s);
        if (r == 0)
            r = make_root(e, s, sink, &root);
        if (r < 0)
            return r;
        e->last = root;
        e->changed = sink == NULL; /* nobody has the parents */
        if (sink)                  /* the next root that needs them may come when none has kept them for a while */
            e->zero_out = e->hole.parent_known = false;
    }
    *ret = e->last;
    return 0;
}

void editor_forget_parents(struct editor *e)
{
    for (uint32_t g = 0; g < e->group_count; g++)
        if (e->group[g].kind == GROUP_LOADED) {
            e->group[g].parent_known = false;
            e->group[g].sent_len = 0;
        }
    e->hole.parent_known = false;
    e->changed = true;
}
