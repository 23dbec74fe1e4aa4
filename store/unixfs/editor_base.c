/* SPDX-License-Identifier: MIT
 *
 * What of the base DAG can be reused. A base in our own layout (recognised by its upper nodes, which we would encode to the
 * same bytes) gives each group the link to its parent, and a group that is loaded the digests of its leaves. Of any other
 * base only the bytes are used. */
#include "store/unixfs/editor_state.h"

#include "store/unixfs/unixfs_node.h"

#include <assert.h>
#include <stdlib.h>

struct unixfs_file *editor_base_file(struct editor *e)
{
    if (!e->base_file)
        e->base_file = unixfs_file_new(&e->base.cid);
    return e->base_file;
}

static bool plain_cid(const struct cid *c, uint64_t codec)
{
    return cid_version(c) == 1 && cid_codec(c) == codec && cid_hash_code(c) == HASH_SHA2_256 &&
           cid_digest(c).len == SHA256_SIZE;
}

struct links {
    struct unixfs_child *child;
    size_t count;
};

/* The children of `node` when it is exactly what we would write above children of `span` bytes each (the last: the rest).
 * 1: in `ret` (the caller frees); 0: it is not; <0: an error of the source. */
static int our_children(struct block_source *s, const struct unixfs_child *node, uint64_t span, struct links *ret)
{
    struct span block;
    struct unixfs_node n;
    int r = source_get(s, &node->cid, &block);
    if (r < 0)
        return r;
    if (unixfs_parse(&node->cid, block, &n) < 0 || n.type != UNIXFS_FILE || n.file_size != node->size || n.pb.link_count == 0 ||
        n.pb.link_count > GROUP_CHUNKS)
        return 0;
    struct links l = {.child = mem_big(n.pb.link_count, sizeof *l.child)}; /* up to 170 KiB */
    if (!l.child)
        return ERR_NO_MEMORY;
    struct unixfs_children it;
    unixfs_children(&n, &it);
    while (l.count < n.pb.link_count && unixfs_children_next(&it, &l.child[l.count]))
        l.count++;
    bool ours = node->size > (l.count - 1) * span && node->size <= l.count * span;
    uint64_t codec = span == EDITOR_CHUNK ? CODEC_RAW : CODEC_DAG_PB;
    for (size_t i = 0; i < l.count && ours; i++) {
        uint64_t rest = node->size - i * span;
        ours = plain_cid(&l.child[i].cid, codec) && l.child[i].size == (rest < span ? rest : span);
    }
    struct buf again = BUF_INIT;
    r = ours ? unixfs_add_file(&again, l.child, l.count, NULL) : 0;
    ours = ours && r == 0 && span_eq(buf_span(&again), block);
    buf_done(&again);
    if (ours)
        *ret = l;
    else
        free(l.child);
    return r < 0 ? r : ours;
}

static void group_set_parent(struct group *g, const struct cid *cid, uint64_t size, uint64_t tsize)
{
    memcpy(g->parent_digest, cid_digest(cid).data, SHA256_SIZE);
    g->parent_size = size;
    g->parent_tsize = tsize;
    g->parent_known = g->parent_emitted = true;
}

/* Takes those of `part`. 0, ERR_NO_MEMORY. */
static int append(struct links *l, struct links *part)
{
    struct unixfs_child *child = mem_big_grow(l->child, l->count + part->count, sizeof *child);
    if (child) {
        memcpy(child + l->count, part->child, part->count * sizeof *child);
        l->child = child;
        l->count += part->count;
    }
    free(part->child);
    return child ? 0 : ERR_NO_MEMORY;
}

/* The nodes one level further down, in order. 1, 0: not our layout, <0. */
static int expand(struct block_source *s, struct links *l, uint64_t span)
{
    struct links next = {NULL, 0};
    int r = 1;
    for (size_t i = 0; i < l->count && r == 1; i++) {
        struct links part;
        r = our_children(s, &l->child[i], span, &part);
        if (r == 1 && append(&next, &part) < 0)
            r = ERR_NO_MEMORY;
    }
    if (r != 1) {
        free(next.child);
        return r;
    }
    free(l->child);
    *l = next;
    return 1;
}

/* The links to the parents of groups. 1: in `ret`; 0: not our layout; <0. */
static int our_groups(struct editor *e, struct block_source *s, struct links *ret)
{
    bool may_be = e->base.size > EDITOR_CHUNK && e->base.size <= EDITOR_SIZE_MAX; /* whoever made it claimed any size */
    if (!may_be || !plain_cid(&e->base.cid, CODEC_DAG_PB))
        return 0;
    uint64_t span = GROUP_BYTES; /* of the nodes in l */
    while (span < e->base.size)
        span *= GROUP_CHUNKS;
    struct links l = {.child = MEM_NEW(struct unixfs_child), .count = 1};
    l.child[0] = (struct unixfs_child){.cid = e->base.cid, .size = e->base.size, .tsize = e->base.tsize};
    int r = 1;
    if (span == GROUP_BYTES) { /* the root is the only group's parent: look at it now, it may be foreign */
        struct links leaves;
        r = our_children(s, &l.child[0], EDITOR_CHUNK, &leaves);
        if (r == 1)
            free(leaves.child);
    }
    while (r == 1 && span > GROUP_BYTES) {
        span /= GROUP_CHUNKS;
        r = expand(s, &l, span);
    }
    if (r == 1)
        *ret = l;
    else
        free(l.child);
    return r;
}

static uint32_t groups_of(uint64_t size)
{
    return (uint32_t)(size / GROUP_BYTES + (size % GROUP_BYTES != 0));
}

int editor_reserve_groups(struct editor *e, uint64_t size)
{
    uint32_t want = groups_of(size);
    if (want <= e->group_cap)
        return 0;
    uint32_t cap = want < 4 ? want : want + want / 4;
    struct group *group = mem_big_grow(e->group, cap, sizeof *group); /* 1.6 MiB of the longest */
    if (!group)
        return ERR_NO_MEMORY;
    e->group = group;
    e->group_cap = cap;
    return 0;
}

void editor_resize_groups(struct editor *e)
{
    uint32_t want = groups_of(e->size);
    assert(want <= e->group_cap);
    for (; e->group_count < want; e->group_count++)
        e->group[e->group_count] = (struct group){.kind = GROUP_HOLE};
    for (; e->group_count > want; e->group_count--)
        free(e->group[e->group_count - 1].chunk);
}

static void load_single(struct editor *e)
{
    struct group *g = &e->group[0];
    g->kind = GROUP_LOADED;
    struct chunk *c = editor_chunk_slot(e, 0);
    uint32_t size = (uint32_t)e->base.size;
    uint32_t len = size < e->base_limit ? size : (uint32_t)e->base_limit;
    c->len = len;
    c->state = len == size ? CHUNK_CLEAN : CHUNK_CUT;
    memcpy(c->digest, cid_digest(&e->base.cid).data, SHA256_SIZE);
}

int editor_ready(struct editor *e, struct block_source *s)
{
    if (e->ready)
        return 0;
    if (e->size > EDITOR_SIZE_MAX)
        return ERR_TOO_BIG;
    struct links l = {NULL, 0};
    bool single = false;
    int ours = editor_reserve_groups(e, e->size);
    if (ours < 0)
        return ours;
    if (e->base_limit > 0) {
        uint64_t size;
        int r = unixfs_file_size(editor_base_file(e), s, &size);
        if (r < 0)
            return r;
        if (size != e->base.size)
            return ERR_CORRUPT;
        single = size <= EDITOR_CHUNK && plain_cid(&e->base.cid, CODEC_RAW);
        ours = our_groups(e, s, &l);
        if (ours < 0)
            return ours;
    }
    e->ready = true;
    editor_resize_groups(e);
    for (uint32_t i = 0; i < e->group_count && i * GROUP_BYTES < e->base_limit; i++) {
        e->group[i].kind = ours ? GROUP_OURS : GROUP_FOREIGN;
        if (ours)
            group_set_parent(&e->group[i], &l.child[i].cid, l.child[i].size, l.child[i].tsize);
    }
    if (single && e->group_count > 0)
        load_single(e);
    free(l.child);
    return 0;
}

/* Where it is, or belongs. Files are mostly without holes, and written in order. */
static unsigned place_of(const struct group *g, uint16_t at)
{
    if (at < g->count && g->chunk[at].at == at)
        return at;
    if (g->count == 0 || g->chunk[g->count - 1].at < at)
        return g->count;
    unsigned low = 0, high = g->count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        if (g->chunk[mid].at < at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct chunk *editor_chunk_slot(struct editor *e, uint64_t index)
{
    struct group *g = &e->group[index / GROUP_CHUNKS];
    uint16_t at = index % GROUP_CHUNKS;
    assert(g->kind == GROUP_LOADED);
    unsigned i = place_of(g, at);
    if (i < g->count && g->chunk[i].at == at)
        return &g->chunk[i];
    if (g->count == g->cap) {
        g->cap = g->cap ? (uint16_t)(2 * g->cap) : 1;
        g->chunk = mem_grow(g->chunk, g->cap, sizeof *g->chunk);
    }
    memmove(&g->chunk[i + 1], &g->chunk[i], (g->count - i) * sizeof *g->chunk);
    g->count++;
    g->chunk[i] = (struct chunk){.at = at, .state = CHUNK_HOLE};
    return &g->chunk[i];
}

struct chunk editor_chunk_look(const struct editor *e, uint64_t index)
{
    const struct group *g = &e->group[index / GROUP_CHUNKS];
    uint16_t at = index % GROUP_CHUNKS;
    assert(g->kind == GROUP_LOADED);
    unsigned i = place_of(g, at);
    return i < g->count && g->chunk[i].at == at ? g->chunk[i] : (struct chunk){.at = at, .state = CHUNK_HOLE};
}

/* How many bytes of a chunk the base gives */
static uint32_t base_chunk_len(const struct editor *e, uint64_t index)
{
    uint64_t begin = index * EDITOR_CHUNK;
    if (begin >= e->base_limit)
        return 0;
    return e->base_limit - begin < EDITOR_CHUNK ? (uint32_t)(e->base_limit - begin) : EDITOR_CHUNK;
}

static bool is_zeros(const struct cid *cid)
{
    return memcmp(cid_digest(cid).data, editor_zeros_digest, SHA256_SIZE) == 0;
}

int editor_load_group(struct editor *e, struct block_source *s, uint32_t at)
{
    struct group *g = &e->group[at];
    struct links l = {NULL, 0};
    int ours = 0;
    if (g->kind == GROUP_LOADED)
        return 0;
    if (g->kind == GROUP_OURS) {
        struct unixfs_child node = {.size = g->parent_size, .tsize = g->parent_tsize};
        editor_digest_cid(g->parent_digest, CODEC_DAG_PB, &node.cid);
        ours = our_children(s, &node, EDITOR_CHUNK, &l);
        if (ours < 0)
            return ours;
        g->parent_known &= ours && at * GROUP_BYTES + g->parent_size <= e->base_limit;
    }
    bool hole = g->kind == GROUP_HOLE;
    g->kind = GROUP_LOADED;
    uint64_t first = (uint64_t)at * GROUP_CHUNKS;
    for (uint32_t i = 0; i < GROUP_CHUNKS && !hole; i++) {
        uint32_t len = base_chunk_len(e, first + i);
        if (len == 0 || editor_chunk_len(e, first + i) == 0)
            break;
        if (ours && len == EDITOR_CHUNK && is_zeros(&l.child[i].cid))
            continue; /* a hole as well */
        struct chunk *c = editor_chunk_slot(e, first + i);
        c->len = len;
        c->state = CHUNK_BASE;
        if (ours) {
            c->state = len == l.child[i].size ? CHUNK_CLEAN : CHUNK_CUT;
            memcpy(c->digest, cid_digest(&l.child[i].cid).data, SHA256_SIZE);
        }
    }
    free(l.child);
    return 0;
}
