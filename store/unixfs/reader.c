/* SPDX-License-Identifier: MIT
 *
 * A walk is the path from the root to the inner node that was used last. To find the piece at an offset it climbs until a
 * node covers the offset and descends from there; the pieces of a range come one after the other that way, without recursion.
 *
 * Inside a node, children can only be found by going through its links: MARKS evenly spread positions, and the one used last,
 * make that short. Positions are kept as offsets into the block, because the block lies elsewhere in the next read.
 *
 * Inner nodes with an identity CID have no block in the source: their bytes are inside their parent's. They are found again
 * through the nearest node above that is not inline (`anchor`), never through a copy, so that spans outlive the walk.
 */
#include "store/unixfs/reader.h"

#include "store/base/mapfault.h"
#include "store/unixfs/unixfs_node.h"

#include <assert.h>
#include <stdlib.h>

#define MARKS 32
/* Nodes and pieces that one call may visit after the first missing block, or when it only looks ahead */
#define VISITS_MAX 4096
#define AHEAD_MAX  1024
/* Links that one call may go through, beyond its first piece: a hostile file may have 40,000 above each byte */
#define WORK_MAX     32768
#define SIZE_UNKNOWN UINT64_MAX

/* Where an iterator over children stands: `struct unixfs_children` relative to the block. */
struct part {
    uint32_t at, len;
};
struct position {
    uint64_t begin; /* in the file: of the child that comes next */
    struct part links, fields, packed;
};

struct level {
    struct cid cid;
    uint64_t begin, size; /* the node's range of the file */
    struct part data;     /* its own bytes, in its block */
    uint32_t block_len;
    uint32_t mark_count;
    unsigned anchor;      /* the level whose block holds this one's bytes; itself unless inline */
    struct part inner;    /* where, when inline */
    struct position last; /* of the child used last */
    struct position mark[MARKS];
};

struct walk {
    struct level *level;
    unsigned count, cap;
    uint64_t work; /* links that this call went through */
};

struct unixfs_file {
    struct cid root;
    struct walk reading, ahead;
};

/* A part of the file that lies in one block, or is known to lie below a block that is not held. */
struct piece {
    uint64_t begin, end;
    struct span bytes;
    bool missing;
    unsigned depth;
    struct cid cid; /* the missing block */
};

struct unixfs_file *unixfs_file_new(const struct cid *root)
{
    struct unixfs_file *f = MEM_NEW(struct unixfs_file);
    f->root = *root;
    return f;
}

struct unixfs_file *unixfs_file_free(struct unixfs_file *f)
{
    if (!f)
        return NULL;
    free(f->reading.level);
    free(f->ahead.level);
    free(f);
    return NULL;
}

const struct cid *unixfs_file_root(const struct unixfs_file *f)
{
    return &f->root;
}

static struct part part_of(struct span block, struct span s)
{
    if (!s.data)
        return (struct part){0, 0};
    return (struct part){(uint32_t)(s.data - block.data), (uint32_t)s.len};
}

static struct position position_of(struct span block, const struct unixfs_children *it, uint64_t begin)
{
    return (struct position){
        .begin = begin,
        .links = part_of(block, it->links.rest),
        .fields = part_of(block, it->fields),
        .packed = part_of(block, it->packed),
    };
}

static struct unixfs_children children_from(struct span block, const struct position *p)
{
    return (struct unixfs_children){
        .links = {span_sub(block, p->links.at, p->links.len)},
        .fields = span_sub(block, p->fields.at, p->fields.len),
        .packed = span_sub(block, p->packed.at, p->packed.len),
    };
}

/* With `noting` a missing block is a wanted one. */
static int get_block(struct block_source *s, const struct cid *cid, bool noting, struct span *ret)
{
    if (!noting && !source_has(s, cid))
        return ERR_MISSING;
    int r = source_get(s, cid, ret);
    if (r == 0 && ret->len > BLOCK_MAX)
        return ERR_CORRUPT;
    return r;
}

/* The node must be (a part of) a file. `size`: what its parent said. */
static int parse_file(const struct cid *cid, struct span block, uint64_t size, struct unixfs_node *ret)
{
    int r = unixfs_parse(cid, block, ret);
    if (r < 0)
        return r == ERR_INVALID ? ERR_CORRUPT : r;
    bool inner = size != SIZE_UNKNOWN;
    if (unixfs_is_dir(ret))
        return inner ? ERR_CORRUPT : ERR_IS_DIR;
    if (ret->type != UNIXFS_FILE)
        return inner ? ERR_CORRUPT : ERR_INVALID;
    return inner && ret->file_size != size ? ERR_CORRUPT : 0;
}

static void level_fill(struct level *l, struct span block, const struct unixfs_node *node, uint64_t begin)
{
    l->begin = begin;
    l->size = node->file_size;
    l->data = part_of(block, node->data);
    l->block_len = (uint32_t)block.len;
    l->mark_count = 0;
    uint32_t stride = node->pb.link_count / MARKS + 1;
    struct unixfs_children it;
    struct unixfs_child child;
    unixfs_children(node, &it);
    uint64_t at = begin + node->data.len;
    for (uint32_t i = 0; i < node->pb.link_count; i++) {
        if (i % stride == 0)
            l->mark[l->mark_count++] = position_of(block, &it, at);
        if (!unixfs_children_next(&it, &child))
            break;
        at += child.size;
    }
    if (l->mark_count > 0)
        l->last = l->mark[0];
}

static struct level *walk_push(struct walk *w)
{
    if (w->count == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 2;
        w->level = mem_grow(w->level, w->cap, sizeof *w->level);
    }
    return &w->level[w->count++];
}

static int enter_root(struct unixfs_file *f, struct walk *w, struct block_source *s, bool noting)
{
    struct span block;
    struct unixfs_node node;
    int r = get_block(s, &f->root, noting, &block);
    if (r < 0)
        return r;
    r = parse_file(&f->root, block, SIZE_UNKNOWN, &node);
    if (r < 0)
        return r;
    struct level *l = walk_push(w);
    l->cid = f->root; /* not an initialiser: the marks are most of a level, and are filled below */
    l->anchor = 0;
    level_fill(l, block, &node, 0);
    return 0;
}

/* The bytes of a node on the path. The root's own CID lives in the file, so that inline bytes of it do too. */
static int level_block(struct unixfs_file *f, struct walk *w, struct block_source *s, struct span *ret)
{
    const struct level *l = &w->level[w->count - 1];
    const struct level *anchor = &w->level[l->anchor];
    struct span block;
    int r = source_get(s, l->anchor == 0 ? &f->root : &anchor->cid, &block);
    if (r < 0)
        return r;
    if (block.len != anchor->block_len)
        return ERR_CORRUPT;
    *ret = anchor == l ? block : span_sub(block, l->inner.at, l->inner.len);
    return 0;
}

struct found {
    struct unixfs_child child;
    uint64_t begin;
    struct span inner; /* the child's bytes when its CID is an identity */
};

/* The child of the deepest node that holds byte `at`. False: the links end before (the block is not what it was). */
static bool find_child(struct level *l, struct span block, uint64_t at, struct found *ret)
{
    if (l->mark_count == 0)
        return false;
    uint32_t m = l->mark_count - 1;
    while (m > 0 && l->mark[m].begin > at)
        m--;
    const struct position *from = &l->mark[m];
    if (l->last.begin <= at && l->last.begin > from->begin)
        from = &l->last;
    struct unixfs_children it = children_from(block, from);
    uint64_t begin = from->begin;
    struct unixfs_children before = it;
    while (unixfs_children_next(&it, &ret->child)) {
        if (at - begin < ret->child.size) {
            ret->begin = begin;
            l->last = position_of(block, &before, begin);
            struct dagpb_link link;
            struct dagpb_iter again = before.links;
            if (cid_hash_code(&ret->child.cid) == HASH_IDENTITY && dagpb_next(&again, &link))
                ret->inner = span_from(link.hash, link.hash.len - cid_digest(&ret->child.cid).len);
            return true;
        }
        begin += ret->child.size;
        before = it;
    }
    return false;
}

static int enter_child(struct walk *w, struct span block, struct span parent, const struct found *c,
                       const struct unixfs_node *node)
{
    if (w->count == READER_DEPTH_MAX)
        return ERR_CORRUPT;
    unsigned above = w->count - 1;
    struct level *l = walk_push(w);
    const struct level *up = &w->level[above];
    l->cid = c->child.cid;
    l->anchor = above + 1;
    if (c->inner.data) {
        l->anchor = up->anchor;
        l->inner = part_of(parent, c->inner);
        l->inner.at += up->anchor == above ? 0 : up->inner.at;
    }
    level_fill(l, block, node, c->begin);
    return 0;
}

/* One step down: 1: `ret` is the piece; 0: the child is an inner node, entered; <0. */
static int descend(struct walk *w, struct block_source *s, struct span parent, const struct found *c, struct piece *ret)
{
    const struct cid *cid = &c->child.cid;
    *ret = (struct piece){.begin = c->begin, .end = c->begin + c->child.size, .depth = w->count};
    struct span block = c->inner;
    int r = 0;
    if (!block.data)
        r = source_get(s, cid, &block);
    if (r == ERR_MISSING) {
        ret->missing = true;
        ret->cid = *cid;
        return 1;
    }
    if (r < 0)
        return r;
    struct unixfs_node node;
    r = block.len > BLOCK_MAX ? ERR_CORRUPT : parse_file(cid, block, c->child.size, &node);
    if (r < 0)
        return r;
    w->work += node.pb.link_count;
    if (node.pb.link_count > 0)
        return enter_child(w, block, parent, c, &node);
    ret->bytes = node.data;
    return 1;
}

/* What descend does, for looking ahead: nothing is noted, and leaves that can be told by their codec are not touched. */
static int peek(struct walk *w, struct block_source *s, struct span parent, const struct found *c, struct piece *ret)
{
    const struct cid *cid = &c->child.cid;
    if (!c->inner.data && (cid_codec(cid) == CODEC_RAW || !source_has(s, cid))) {
        *ret = (struct piece){.begin = c->begin, .end = c->begin + c->child.size, .depth = w->count, .cid = *cid};
        ret->missing = !source_has(s, cid);
        return 1;
    }
    return descend(w, s, parent, c, ret);
}

/* The piece that holds byte `at`, which is inside the file. */
static int piece_at(struct unixfs_file *f, struct walk *w, struct block_source *s, uint64_t at, struct piece *ret)
{
    while (w->count > 1 && at - w->level[w->count - 1].begin >= w->level[w->count - 1].size)
        w->count--;
    for (;;) {
        struct level *l = &w->level[w->count - 1];
        struct span block;
        w->work++;
        int r = level_block(f, w, s, &block);
        if (r == ERR_MISSING) { /* it was here, and was evicted: `anchor` is the one noted */
            *ret = (struct piece){.begin = l->begin, .end = l->begin + l->size, .missing = true, .depth = w->count - 1};
            ret->cid = w->level[l->anchor].cid;
            return 0;
        }
        if (r < 0)
            return r;
        if (at - l->begin < l->data.len) {
            *ret = (struct piece){.begin = l->begin, .end = l->begin + l->data.len, .depth = w->count};
            ret->bytes = span_sub(block, l->data.at, l->data.len);
            return 0;
        }
        struct found c = {.inner = SPAN_NONE};
        if (!find_child(l, block, at, &c))
            return ERR_CORRUPT;
        r = w == &f->ahead ? peek(w, s, block, &c, ret) : descend(w, s, block, &c, ret);
        if (r != 0)
            return r < 0 ? r : 0;
    }
}

static int open_walk(struct unixfs_file *f, struct walk *w, struct block_source *s, bool noting)
{
    return w->count > 0 ? 0 : enter_root(f, w, s, noting);
}

int unixfs_file_size(struct unixfs_file *f, struct block_source *s, uint64_t *ret)
{
    int r = open_walk(f, &f->reading, s, true);
    if (r == 0)
        *ret = f->reading.level[0].size;
    return r;
}

int unixfs_read(struct unixfs_file *f, struct block_source *s, uint64_t offset, size_t len, struct read_spans *out)
{
    out->count = 0;
    out->bytes = 0;
    out->more = false;
    f->reading.work = 0;
    uint64_t size = 0;
    int r = unixfs_file_size(f, s, &size);
    if (r < 0)
        return r;
    if (offset >= size)
        return 0;
    uint64_t end = len < size - offset ? offset + len : size;
    unsigned visits = 0;
    bool missing = false;
    struct piece p;
    uint64_t at = offset;
    for (; at < end; at = p.end) {
        if (missing ? visits++ == VISITS_MAX : out->count == out->max)
            break;
        if (f->reading.work > WORK_MAX && at > offset)
            break;
        r = piece_at(f, &f->reading, s, at, &p);
        if (r < 0)
            return missing ? ERR_MISSING : r;
        missing |= p.missing;
        if (missing)
            continue;
        struct span bytes = span_sub(p.bytes, at - p.begin, end - at);
        out->spans[out->count++] = bytes;
        out->bytes += bytes.len;
    }
    out->more = !missing && at < end;
    return missing ? ERR_MISSING : 0;
}

int unixfs_read_copy(struct unixfs_file *f, struct block_source *s, uint64_t offset, void *out, size_t len)
{
    struct span spans[64];
    size_t done = 0;
    uint64_t work = 0;
    assert(len <= INT32_MAX);
    for (unsigned pieces = 0; done < len && pieces < UNIXFS_COPY_PIECES && work <= WORK_MAX; pieces += 64) {
        struct read_spans rs = {.spans = spans, .max = 64};
        int r = unixfs_read(f, s, offset + done, len - done, &rs);
        if (r < 0)
            return r;
        if (rs.bytes == 0)
            break;
        work += f->reading.work;
        for (unsigned i = 0; i < rs.count; i++) {
            if (!mapfault_copy((uint8_t *)out + done, spans[i]))
                return ERR_IO;
            done += spans[i].len;
        }
    }
    return (int)done;
}

/* Keeps the list in order of depth, and within a depth in order of the file; the deepest fall off its end. */
struct ahead_list {
    struct cid *cids;
    uint8_t depth[AHEAD_MAX];
    unsigned count, max;
};

static void ahead_add(struct ahead_list *a, const struct piece *p)
{
    unsigned at = a->count;
    while (at > 0 && a->depth[at - 1] > p->depth)
        at--;
    if (at == a->max || (at > 0 && cid_eq(&a->cids[at - 1], &p->cid)))
        return;
    unsigned tail = a->count < a->max ? a->count - at : a->count - at - 1;
    memmove(&a->cids[at + 1], &a->cids[at], tail * sizeof *a->cids);
    memmove(&a->depth[at + 1], &a->depth[at], tail);
    a->cids[at] = p->cid;
    a->depth[at] = (uint8_t)p->depth;
    if (a->count < a->max)
        a->count++;
}

int unixfs_read_ahead(struct unixfs_file *f, struct block_source *s, struct read_range range, struct cid *cids, unsigned max)
{
    struct ahead_list list = {.cids = cids, .max = max < AHEAD_MAX ? max : AHEAD_MAX};
    int r = open_walk(f, &f->ahead, s, false);
    if (r == ERR_MISSING) {
        if (max > 0)
            cids[0] = f->root;
        return max > 0;
    }
    if (r < 0)
        return r;
    uint64_t size = f->ahead.level[0].size;
    uint64_t end = range.to < size ? range.to : size;
    struct piece p;
    unsigned visits = 0;
    f->ahead.work = 0;
    for (uint64_t at = range.from; at < end && visits < VISITS_MAX && f->ahead.work <= WORK_MAX; at = p.end, visits++) {
        unsigned noted = s->missing_count;
        r = piece_at(f, &f->ahead, s, at, &p);
        s->missing_count = noted;
        if (r < 0)
            return list.count > 0 ? (int)list.count : r;
        if (p.missing)
            ahead_add(&list, &p);
    }
    return (int)list.count;
}
