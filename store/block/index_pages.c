/* SPDX-License-Identifier: MIT */
#include "store/block/index_pages.h"

#include "store/base/span.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define META_MAGIC UINT32_C(0xBEEFC0DE)
#define META_SIZE  136 /* behind the header of its page */
#define PSIZE_MIN  512u
#define PSIZE_MAX  65536u
#define HEADER     16u
#define NODE       8u
#define DEPTH_MAX  32u
#define KEY_MAX    511u
#define NO_PAGE    UINT64_MAX
#define TREE_SIZE  48u

enum { P_BRANCH = 1, P_LEAF = 2, P_OVERFLOW = 4, P_META = 8, P_KINDS = 0x6f };
enum { N_BIG = 1, N_TREE = 2 };
enum { T_INTEGER_KEY = 8 };

struct tree {
    uint16_t flags, depth;
    uint64_t branches, leaves, overflows, entries, root;
};

struct level {
    uint8_t *page;
    uint64_t number;
    unsigned count, at; /* nodes; the next child */
};

struct sub {
    struct tree tree;
    struct sub *next;
};

struct check {
    const struct index_source *s;
    struct index_damage *damage;
    uint32_t psize;
    uint64_t last;
    uint8_t *used; /* a bit for each page */
    struct level levels[DEPTH_MAX];
    struct sub *subs; /* to be walked */
    uint8_t key[KEY_MAX + 1];
    unsigned key_len; /* of the last one of this tree; 0: none */
};

static uint16_t u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static int damaged(struct check *c, uint64_t page, const char *what)
{
    *c->damage = (struct index_damage){page, what};
    return ERR_CORRUPT;
}

static int use(struct check *c, uint64_t page, uint64_t count)
{
    if (page < 2 || page > c->last || count == 0 || count > c->last - page + 1)
        return damaged(c, page, "is outside the file");
    for (uint64_t p = page; p < page + count; p++) {
        if (c->used[p / 8] >> p % 8 & 1)
            return damaged(c, p, "is used twice");
        c->used[p / 8] |= (uint8_t)(1u << p % 8);
    }
    return 0;
}

static int read_at(struct check *c, uint64_t page, uint64_t offset, void *out, size_t len)
{
    int r = c->s->read(c->s->arg, page * c->psize + offset, out, len);
    return r == ERR_CORRUPT ? damaged(c, page, "is behind the end of the file") : r;
}

static void parse_tree(const uint8_t *p, struct tree *ret)
{
    *ret = (struct tree){u16(p + 4), u16(p + 6), u64(p + 8), u64(p + 16), u64(p + 24), u64(p + 32), u64(p + 40)};
}

/* ---- pages ---- */

/* A page of a tree: its nodes lie within it. */
static int load(struct check *c, struct level *l, uint64_t number, uint16_t kind)
{
    int r = use(c, number, 1);
    if (r == 0)
        r = read_at(c, number, 0, l->page, c->psize);
    if (r)
        return r;
    unsigned lower = u16(l->page + 12), upper = u16(l->page + 14);
    if (u64(l->page) != number || (u16(l->page + 10) & P_KINDS) != kind)
        return damaged(c, number, "is another page than it should be");
    if (c->psize == PSIZE_MAX && upper == 0)
        upper = PSIZE_MAX;
    if (lower < HEADER || lower % 2 || lower > upper || upper > c->psize)
        return damaged(c, number, "has impossible bounds");
    *l = (struct level){l->page, number, (lower - HEADER) / 2, 0};
    for (unsigned i = 0; i < l->count; i++) {
        unsigned at = u16(l->page + HEADER + 2 * i);
        if (at < upper || at % 2 || at > c->psize - NODE || u16(l->page + at + 6) > c->psize - NODE - at)
            return damaged(c, number, "has a node outside of it");
    }
    return 0;
}

static const uint8_t *node_of(const struct level *l, unsigned i)
{
    return l->page + u16(l->page + HEADER + 2 * i);
}

/* Pages of a value that does not fit in a page */
static int big_value(struct check *c, struct tree *sum, uint64_t number, uint32_t size)
{
    uint8_t head[HEADER];
    uint64_t pages = ((uint64_t)HEADER + size + c->psize - 1) / c->psize;
    int r = use(c, number, pages);
    if (r == 0)
        r = read_at(c, number, 0, head, sizeof head);
    if (r)
        return r;
    if (u64(head) != number || (u16(head + 10) & P_KINDS) != P_OVERFLOW || u32(head + 12) < pages)
        return damaged(c, number, "is another page than it should be");
    if (u32(head + 12) > pages && (r = use(c, number + pages, u32(head + 12) - pages))) /* it had a longer one before */
        return r;
    sum->overflows += u32(head + 12);
    return 0;
}

/* The numbers of free pages that a transaction left: how many, then each, from the last to the first. */
static int free_list(struct check *c, const struct level *l, struct span value, uint64_t big)
{
    uint64_t count = value.len / 8, first, before = UINT64_MAX;
    uint8_t *list = mem_big(value.len + 1, 1);
    if (!list)
        return ERR_NO_MEMORY;
    int r = 0;
    if (value.data)
        memcpy(list, value.data, value.len);
    else
        r = read_at(c, big, HEADER, list, value.len);
    if (r == 0 && (value.len < 8 || value.len % 8 || (first = u64(list)) > count - 1))
        r = damaged(c, l->number, "has an impossible list of free pages");
    for (uint64_t i = 1; r == 0 && i <= first; i++) {
        uint64_t page = u64(list + 8 * i);
        if (page >= before)
            r = damaged(c, l->number, "has a list of free pages that is out of order");
        else
            r = use(c, before = page, 1);
    }
    free(list);
    return r;
}

static bool in_order(struct check *c, const struct tree *t, struct span key)
{
    struct span before = span_of(c->key, c->key_len);
    bool fine = c->key_len == 0 || (t->flags & T_INTEGER_KEY ? u64(before.data) < u64(key.data) : span_cmp(before, key) < 0);
    memcpy(c->key, key.data, key.len);
    c->key_len = (unsigned)key.len;
    return fine;
}

/* `which`: 0 the list of free pages, 1 the tree of trees, 2 one of these */
static int leaf_node(struct check *c, const struct level *l, const struct tree *t, struct tree *sum, int which, unsigned i)
{
    const uint8_t *n = node_of(l, i);
    uint32_t size = u16(n) | (uint32_t)u16(n + 2) << 16, left = (uint32_t)(l->page + c->psize - n) - NODE;
    uint16_t flags = u16(n + 4), klen = u16(n + 6);
    uint32_t inside = flags == N_BIG ? 8 : size;
    const uint8_t *value = n + NODE + klen;
    if (klen == 0 || klen > KEY_MAX || ((t->flags & T_INTEGER_KEY) && klen != 8) || inside > left - klen ||
        (flags != 0 && flags != N_BIG && !(flags == N_TREE && which == 1 && size == TREE_SIZE)))
        return damaged(c, l->number, "has an impossible node");
    if (!in_order(c, t, span_of(n + NODE, klen)))
        return damaged(c, l->number, "has keys out of order");
    sum->entries++;
    int r = flags == N_BIG ? big_value(c, sum, u64(value), size) : 0;
    if (r == 0 && which == 0)
        r = free_list(c, l, span_of(flags == N_BIG ? NULL : value, size), flags == N_BIG ? u64(value) : 0);
    if (r == 0 && flags == N_TREE) {
        struct sub *sub = MEM_NEW(struct sub);
        parse_tree(value, &sub->tree);
        sub->next = c->subs;
        c->subs = sub;
    }
    return r;
}

static int leaf(struct check *c, const struct level *l, const struct tree *t, struct tree *sum, int which)
{
    int r = 0;
    sum->leaves++;
    for (unsigned i = 0; i < l->count && r == 0; i++)
        r = leaf_node(c, l, t, sum, which, i);
    return r;
}

static int walk(struct check *c, const struct tree *t, int which)
{
    struct tree sum = {0};
    if (t->root == NO_PAGE)
        return t->depth || t->entries ? damaged(c, 0, "tells of a tree without a root") : 0;
    if (t->depth == 0 || t->depth > DEPTH_MAX)
        return damaged(c, t->root, "is the root of a tree of impossible height");
    unsigned depth = 0, deepest = t->depth - 1u;
    c->key_len = 0;
    int r = load(c, &c->levels[0], t->root, deepest ? P_BRANCH : P_LEAF);
    while (r == 0) {
        struct level *l = &c->levels[depth];
        if (depth == deepest && (r = leaf(c, l, t, &sum, which)))
            return r;
        if (depth == deepest || l->at == l->count) {
            sum.branches += depth != deepest;
            if (depth-- == 0)
                break;
            continue;
        }
        if (l->count < 2)
            return damaged(c, l->number, "has too few children");
        const uint8_t *n = node_of(l, l->at++);
        uint64_t child = u16(n) | (uint64_t)u16(n + 2) << 16 | (uint64_t)u16(n + 4) << 32;
        depth++;
        r = load(c, &c->levels[depth], child, depth == deepest ? P_LEAF : P_BRANCH);
    }
    if (r == 0 && (sum.branches != t->branches || sum.leaves != t->leaves || sum.overflows != t->overflows || sum.entries != t->entries))
        return damaged(c, t->root, "is the root of a tree that has other sums than are told");
    return r;
}

/* ---- */

static int newest_meta(struct check *c, uint8_t meta[META_SIZE])
{
    uint8_t metas[2][HEADER + META_SIZE];
    bool sane[2];
    c->psize = PSIZE_MIN; /* until it is known */
    int r = read_at(c, 0, 0, metas[0], sizeof metas[0]);
    if (r)
        return r;
    uint32_t psize = u32(metas[0] + HEADER + 24);
    if (psize < PSIZE_MIN || psize > PSIZE_MAX || (psize & (psize - 1)))
        return damaged(c, 0, "has an impossible page size");
    c->psize = psize;
    if ((r = read_at(c, 1, 0, metas[1], sizeof metas[1])))
        return r;
    for (int i = 0; i < 2; i++)
        sane[i] = u32(metas[i] + HEADER) == META_MAGIC && u32(metas[i] + HEADER + 24) == psize && (u16(metas[i] + 10) & P_META);
    if (!sane[0] || !sane[1])
        return damaged(c, sane[0], "is no first page of an index");
    int newest = u64(metas[1] + HEADER + 128) > u64(metas[0] + HEADER + 128);
    memcpy(meta, metas[newest] + HEADER, META_SIZE);
    return 0;
}

static int check_all(struct check *c, const uint8_t meta[META_SIZE])
{
    struct tree freed, trees;
    parse_tree(meta + 24, &freed);
    parse_tree(meta + 72, &trees);
    c->last = u64(meta + 120);
    if (c->last < 1 || c->last > UINT64_MAX / PSIZE_MAX - 1)
        return damaged(c, 0, "tells of an impossible number of pages");
    c->used = mem_big(c->last / 8 + 1, 1);
    if (!c->used)
        return ERR_NO_MEMORY;
    memset(c->used, 0, c->last / 8 + 1);
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        c->levels[i].page = mem_new(c->psize);
    int r = walk(c, &trees, 1);
    while (r == 0 && c->subs) {
        struct sub *sub = c->subs;
        c->subs = sub->next;
        r = walk(c, &sub->tree, 2);
        free(sub);
    }
    return r ? r : walk(c, &freed, 0);
}

int index_pages_check(const struct index_source *s, struct index_damage *ret)
{
    struct check *c = MEM_NEW(struct check);
    uint8_t meta[META_SIZE] = {0};
    c->s = s;
    c->damage = ret;
    int r = newest_meta(c, meta);
    if (r == 0)
        r = check_all(c, meta);
    for (struct sub *sub; (sub = c->subs); free(sub))
        c->subs = sub->next;
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        free(c->levels[i].page);
    free(c->used);
    free(c);
    return r;
}
