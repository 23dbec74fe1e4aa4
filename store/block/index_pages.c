/* SPDX-License-Identifier: MIT */
#include "store/block/index_pages.h"

#include "store/base/err.h"

#include <stdlib.h>
#include <string.h>

#define META_MAGIC UINT32_C(0xBEEFC0DE)
#define META_SIZE  136 /* behind the header of its page */
#define PSIZE_MIN  512u
#define PSIZE_MAX  32768u
#define HEADER     16u
#define NODE       8u
#define DEPTH_MAX  32u
#define KEY_MAX    511u
#define NAME_MAX   63u
#define NO_PAGE    UINT64_MAX
#define TREE_SIZE  48u

enum { P_BRANCH = 1, P_LEAF = 2, P_OVERFLOW = 4, P_META = 8, P_KINDS = 0x6f };
enum { N_BIG = 1, N_TREE = 2 };
enum which { FREE_LIST, TREES, NAMED };

struct tree {
    enum which which;
    uint16_t flags, depth;
    uint64_t branches, leaves, overflows, entries, root;
    uint8_t name[NAME_MAX], name_len;
    bool damaged;
    struct tree *next;
};

struct level {
    uint8_t *page;
    uint64_t number;
    unsigned count, at;    /* nodes; the next child */
    struct span low, high; /* keys are not below, and below; no data: no bound */
};

/* A page whose keys do not lie where a search looks for them: taken when nobody else has it */
struct doubt {
    struct tree *tree;
    uint64_t page;
    unsigned depth;
    struct doubt *next;
};

struct pages {
    const struct index_source *s;
    struct index_damage damage; /* the first one */
    uint32_t psize;
    uint64_t last;
    uint8_t *used, *unused; /* a bit for each page: met in a tree, met in the list of free pages */
    struct level levels[DEPTH_MAX];
    struct tree freed, trees, *named;
    struct tree before;        /* the names of the snapshot before: none of them goes away */
    bool recalling, forgotten; /* they are read; there is one that the newest does not have */
    struct tree sum;           /* of the one that is walked */
    uint8_t key[KEY_MAX];
    unsigned key_len; /* of the last one of this tree; 0: none */
    bool saving;      /* go on after damage */
    struct doubt *doubts;
    index_entry_fn *each; /* NULL: nobody is told */
    void *arg;
    struct index_saved saved;
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

static int damaged(struct pages *c, uint64_t page, const char *what)
{
    if (!c->damage.what)
        c->damage = (struct index_damage){page, what, false};
    return ERR_CORRUPT;
}

/* ---- which pages are used ---- */

static bool has_bit(const uint8_t *bits, uint64_t page)
{
    return bits[page / 8] >> page % 8 & 1;
}

static int use(struct pages *c, uint8_t *bits, uint64_t page, uint64_t count)
{
    if (page < 2 || page > c->last || count == 0 || count > c->last - page + 1)
        return damaged(c, page, "is outside the file");
    for (uint64_t p = page; p < page + count; p++)
        if (has_bit(bits, p) || (!c->saving && (has_bit(c->used, p) || has_bit(c->unused, p))))
            return damaged(c, p, "is used twice");
    for (uint64_t p = page; p < page + count; p++)
        bits[p / 8] |= (uint8_t)(1u << p % 8);
    return 0;
}

static int read_at(struct pages *c, uint64_t page, uint64_t offset, void *out, size_t len)
{
    uint64_t at = page * c->psize + offset;
    if (at > c->s->size || len > c->s->size - at) {
        bool first = !c->damage.what;
        int r = damaged(c, page, "is behind the end of the file");
        c->damage.cut |= first;
        return r;
    }
    return c->s->read(c->s->arg, at, out, len) == 0 ? 0 : damaged(c, page, "cannot be read");
}

/* ---- pages ---- */

/* As it lies in its page, rounded up; 0: it does not fit. */
static unsigned node_size(const struct pages *c, const struct level *l, unsigned i, uint16_t kind)
{
    unsigned at = u16(l->page + HEADER + 2 * i);
    if (at < HEADER + 2 * (i + 1) || at % 2 || at > c->psize - NODE)
        return 0;
    const uint8_t *n = l->page + at;
    uint64_t size = NODE + (uint64_t)u16(n + 6);
    if (kind == P_LEAF)
        size += u16(n + 4) & N_BIG ? 8 : u32(n);
    size += size % 2;
    return size <= c->psize - at ? (unsigned)size : 0;
}

/* How many nodes there are: as many as the header says; when saving, as many as fill it. 0: none that make sense. */
static unsigned count_nodes(const struct pages *c, const struct level *l, uint16_t kind)
{
    unsigned lower = u16(l->page + 12), upper = u16(l->page + 14), most = (c->psize - HEADER) / 2, total = 0, fills = 0, size;
    unsigned told = lower >= HEADER && lower % 2 == 0 && lower <= c->psize ? (lower - HEADER) / 2 : 0;
    for (unsigned i = 0; i < most && (size = node_size(c, l, i, kind)); i++) {
        total += size;
        if (u16(l->page + HEADER + 2 * i) < upper || total > c->psize)
            break;
        if (total + upper == c->psize)
            fills = i + 1;
        if (fills && fills == told && lower <= upper)
            return told;
    }
    return c->saving ? (fills ? fills : told) : 0;
}

static int fetch(struct pages *c, struct level *l, uint64_t number, uint16_t kind)
{
    if (number < 2 || number > c->last)
        return damaged(c, number, "is outside the file");
    int r = read_at(c, number, 0, l->page, c->psize);
    if (r)
        return r;
    bool place = u64(l->page) == number, right = (u16(l->page + 10) & P_KINDS) == kind;
    if (c->saving ? !place && !right : !place || !right)
        return damaged(c, number, "is another page than it should be");
    *l = (struct level){.page = l->page, .number = number, .count = count_nodes(c, l, kind)};
    if (l->count < (kind == P_BRANCH && !c->saving ? 2 : 1))
        return damaged(c, number, "has nodes that do not fill it");
    return 0;
}

static const uint8_t *node_of(const struct level *l, unsigned i)
{
    return l->page + u16(l->page + HEADER + 2 * i);
}

static struct span key_of(const struct level *l, unsigned i)
{
    const uint8_t *n = node_of(l, i);
    return span_of(n + NODE, u16(n + 6));
}

static int cmp(const struct tree *t, struct span a, struct span b)
{
    if (t->which != FREE_LIST)
        return span_cmp(a, b);
    uint64_t x = u64(a.data), y = u64(b.data); /* key_fine has looked */
    return x < y ? -1 : x > y;
}

static bool key_fine(const struct tree *t, struct span key)
{
    return key.len > 0 && key.len <= KEY_MAX && (t->which != FREE_LIST || key.len == 8);
}

/* The first and the last key of a page: where a search looks for them? That of the first node of a branch is empty. */
static bool in_place(const struct pages *c, const struct tree *t, const struct level *l, uint16_t kind)
{
    unsigned first = kind == P_BRANCH, last = l->count - 1;
    if (l->count <= first || !node_size(c, l, first, kind) || !node_size(c, l, last, kind) || !key_fine(t, key_of(l, first)) ||
        !key_fine(t, key_of(l, last)))
        return false;
    return (!l->low.data || cmp(t, l->low, key_of(l, first)) <= 0) && (!l->high.data || cmp(t, key_of(l, last), l->high) < 0);
}

static void bounds(const struct pages *c, const struct tree *t, const struct level *parent, unsigned i, struct level *child)
{
    child->low = parent->low;
    child->high = parent->high;
    if (i > 0 && key_fine(t, key_of(parent, i)))
        child->low = key_of(parent, i);
    if (i + 1 < parent->count && node_size(c, parent, i + 1, P_BRANCH) && key_fine(t, key_of(parent, i + 1)))
        child->high = key_of(parent, i + 1);
}

/* ---- leaves ---- */

/* Pages of a value that does not fit in a page */
static int big_value(struct pages *c, uint64_t number, uint32_t size)
{
    uint8_t head[HEADER];
    uint64_t count = ((uint64_t)HEADER + size + c->psize - 1) / c->psize;
    int r =
        number < 2 || number > c->last ? damaged(c, number, "is outside the file") : read_at(c, number, 0, head, sizeof head);
    if (r)
        return r;
    bool place = u64(head) == number, right = (u16(head + 10) & P_KINDS) == P_OVERFLOW && u32(head + 12) >= count;
    if (c->saving ? !place && !right : !place || !right)
        return damaged(c, number, "is another page than it should be");
    if (right && !c->saving) /* more than it needs: it had a longer one before */
        count = u32(head + 12);
    c->sum.overflows += count;
    return use(c, c->used, number, count);
}

static int with_value(struct pages *c, const uint8_t *value, uint32_t size, bool big, uint8_t **ret)
{
    *ret = mem_big(size + (size_t)1, 1);
    if (!*ret)
        return ERR_NO_MEMORY;
    if (big)
        return read_at(c, u64(value), HEADER, *ret, size);
    memcpy(*ret, value, size);
    return 0;
}

/* The numbers of free pages that a transaction left: how many, then each, from the last to the first. */
static int free_list(struct pages *c, const struct level *l, struct span value)
{
    uint64_t count = value.len / 8, first, before = UINT64_MAX;
    if (value.len < 8 || value.len % 8 || (first = u64(value.data)) > count - 1)
        return damaged(c, l->number, "has an impossible list of free pages");
    int r = 0;
    for (uint64_t i = 1; r == 0 && i <= first; i++) {
        uint64_t page = u64(value.data + 8 * i);
        if (page >= before)
            return damaged(c, l->number, "has a list of free pages that is out of order");
        r = use(c, c->unused, before = page, 1);
    }
    return r;
}

static void parse_tree(const uint8_t *p, enum which which, struct tree *ret)
{
    *ret = (struct tree){.which = which,
                         .flags = u16(p + 4),
                         .depth = u16(p + 6),
                         .branches = u64(p + 8),
                         .leaves = u64(p + 16),
                         .overflows = u64(p + 24),
                         .entries = u64(p + 32),
                         .root = u64(p + 40)};
}

static void add_named(struct pages *c, struct span name, const uint8_t *value)
{
    for (struct tree *t = c->named; t; t = t->next)
        if (span_eq(name, span_of(t->name, t->name_len)))
            return;
    if (c->recalling && !c->saving) {
        c->forgotten = true;
        return;
    }
    struct tree *t = MEM_NEW(struct tree);
    parse_tree(value, NAMED, t);
    t->name_len = (uint8_t)(name.len < NAME_MAX ? name.len : NAME_MAX);
    memcpy(t->name, name.data, t->name_len);
    t->next = c->named;
    c->named = t;
}

static bool in_order(struct pages *c, const struct tree *t, struct span key)
{
    bool fine = c->key_len == 0 || cmp(t, span_of(c->key, c->key_len), key) < 0;
    memcpy(c->key, key.data, key.len);
    c->key_len = (unsigned)key.len;
    return fine;
}

static int tell(struct pages *c, const struct tree *t, const struct level *l, struct span key, struct span value)
{
    if (t->which == FREE_LIST)
        return free_list(c, l, value);
    c->saved.entries++;
    return c->each(c->arg, span_of(t->name, t->name_len), key, value);
}

static int leaf_node(struct pages *c, const struct level *l, const struct tree *t, unsigned i)
{
    if (!node_size(c, l, i, P_LEAF))
        return damaged(c, l->number, "has a node outside of it");
    const uint8_t *n = node_of(l, i), *value = n + NODE + u16(n + 6);
    struct span key = key_of(l, i);
    uint32_t size = u32(n);
    uint16_t flags = u16(n + 4);
    if (!key_fine(t, key) || (flags == N_TREE) != (t->which == TREES) || flags > N_TREE ||
        (flags == N_TREE && size != TREE_SIZE))
        return damaged(c, l->number, "has an impossible node");
    if (!in_order(c, t, key) && !c->saving)
        return damaged(c, l->number, "has keys out of order");
    c->sum.entries++;
    int r = flags == N_BIG ? big_value(c, u64(value), size) : 0;
    if (r == 0 && flags == N_TREE)
        add_named(c, key, value);
    else if (r == 0 && (t->which == FREE_LIST || c->each)) {
        uint8_t *copy;
        r = with_value(c, value, size, flags == N_BIG, &copy);
        if (r == 0)
            r = tell(c, t, l, key, span_of(copy, size));
        free(copy);
    }
    return r;
}

static int leaf(struct pages *c, const struct level *l, struct tree *t)
{
    int r = 0;
    c->sum.leaves++;
    for (unsigned i = 0; i < l->count && r == 0; i++) {
        r = leaf_node(c, l, t, i);
        if (r == ERR_CORRUPT && c->saving) {
            t->damaged = true;
            c->saved.skipped++;
            r = 0;
        }
    }
    return r;
}

/* ---- trees ---- */

static int child(struct pages *c, struct tree *t, unsigned depth)
{
    struct level *parent = &c->levels[depth - 1], *l = &c->levels[depth];
    unsigned i = parent->at++;
    uint16_t kind = depth == t->depth - 1u ? P_LEAF : P_BRANCH;
    if (!node_size(c, parent, i, P_BRANCH))
        return damaged(c, parent->number, "has a node outside of it");
    const uint8_t *n = node_of(parent, i);
    uint64_t number = u32(n) | (uint64_t)u16(n + 4) << 32;
    int r = fetch(c, l, number, kind);
    if (r)
        return r;
    if (c->saving && t->damaged && has_bit(c->unused, number)) /* an old copy, perhaps of the one that is meant */
        return damaged(c, number, "is free");
    bounds(c, t, parent, i, l);
    if (in_place(c, t, l, kind))
        return use(c, c->used, number, 1);
    r = damaged(c, number, "has keys where no search looks for them");
    if (c->saving) {
        struct doubt *d = MEM_NEW(struct doubt);
        *d = (struct doubt){t, number, depth, c->doubts};
        c->doubts = d;
    }
    return r;
}

/* From the page in levels[top] on. What is damaged is left out when saving. */
static int walk_from(struct pages *c, struct tree *t, unsigned top)
{
    int r = 0;
    unsigned depth = top, deepest = t->depth - 1u;
    while (r == 0) {
        struct level *l = &c->levels[depth];
        if (depth == deepest && (r = leaf(c, l, t)))
            return r;
        if (depth == deepest || l->at == l->count) {
            c->sum.branches += depth != deepest;
            if (depth-- == top)
                break;
            continue;
        }
        r = child(c, t, depth + 1);
        if (r == 0) {
            depth++;
        } else if (r == ERR_CORRUPT && c->saving) {
            t->damaged = true;
            c->saved.skipped++;
            r = 0;
        }
    }
    return r;
}

static int walk(struct pages *c, struct tree *t)
{
    c->sum = (struct tree){0};
    c->key_len = 0;
    if (t->root == NO_PAGE)
        return t->depth || t->entries ? damaged(c, 0, "tells of a tree without a root") : 0;
    if (t->which != FREE_LIST && t->flags != 0 && !c->saving)
        return damaged(c, t->root, "is the root of a tree of another kind");
    if (t->depth == 0 || t->depth > DEPTH_MAX)
        return damaged(c, t->root, "is the root of a tree of impossible height");
    int r = fetch(c, &c->levels[0], t->root, t->depth > 1 ? P_BRANCH : P_LEAF);
    if (r == 0)
        r = use(c, c->used, t->root, 1);
    if (r == 0)
        r = walk_from(c, t, 0);
    if (r == 0 && (c->sum.branches != t->branches || c->sum.leaves != t->leaves || c->sum.overflows != t->overflows ||
                   c->sum.entries != t->entries))
        return damaged(c, t->root, "is the root of a tree that has other sums than are told");
    return r;
}

/* ---- the file ---- */

static int metas(struct pages *c, uint8_t ret[2][HEADER + META_SIZE])
{
    c->psize = PSIZE_MIN; /* until it is known */
    int r = read_at(c, 0, 0, ret[0], HEADER + META_SIZE);
    if (r)
        return r;
    uint32_t psize = u32(ret[0] + HEADER + 24);
    if (psize < PSIZE_MIN || psize > PSIZE_MAX || (psize & (psize - 1)))
        return damaged(c, 0, "has an impossible page size");
    c->psize = psize;
    if ((r = read_at(c, 1, 0, ret[1], HEADER + META_SIZE)))
        return r;
    for (unsigned i = 0; i < 2; i++)
        if (u32(ret[i] + HEADER) != META_MAGIC || u32(ret[i] + HEADER + 24) != psize || !(u16(ret[i] + 10) & P_META))
            return damaged(c, i, "is no first page of an index");
    return 0;
}

static int pages_open(struct pages *c, const struct index_source *s)
{
    uint8_t both[2][HEADER + META_SIZE];
    *c = (struct pages){.s = s};
    int r = metas(c, both);
    if (r)
        return r;
    unsigned newest = u64(both[1] + HEADER + 128) > u64(both[0] + HEADER + 128);
    const uint8_t *meta = both[newest] + HEADER;
    parse_tree(meta + 24, FREE_LIST, &c->freed);
    parse_tree(meta + 72, TREES, &c->trees);
    parse_tree(both[!newest] + HEADER + 72, TREES, &c->before);
    c->last = u64(meta + 120);
    if (c->last < 1 || c->last > s->size / c->psize + s->size / 8) /* those behind its end are free: a list in it names each */
        return damaged(c, 0, "tells of an impossible number of pages");
    c->used = mem_big(c->last / 8 + 1, 2);
    if (!c->used)
        return ERR_NO_MEMORY;
    memset(c->used, 0, 2 * (c->last / 8 + 1));
    c->unused = c->used + c->last / 8 + 1;
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        c->levels[i].page = mem_new(c->psize);
    return 0;
}

static void pages_close(struct pages *c)
{
    for (struct tree *t; (t = c->named); free(t))
        c->named = t->next;
    for (struct doubt *d; (d = c->doubts); free(d))
        c->doubts = d->next;
    for (unsigned i = 0; i < DEPTH_MAX; i++)
        free(c->levels[i].page);
    free(c->used);
}

/* LMDB writes two snapshots in turn, and uses no page of the one before the newest; after a power cut the newest may be what
 * was the one before. What is left of the other tells at least names. */
static int recall(struct pages *c)
{
    uint8_t *used = c->used, *unused = c->unused;
    struct index_saved saved = c->saved;
    size_t bytes = c->last / 8 + 1;
    c->used = mem_big(bytes, 2);
    if (!c->used) {
        c->used = used;
        return ERR_NO_MEMORY;
    }
    memset(c->used, 0, 2 * bytes);
    c->unused = c->used + bytes;
    c->recalling = true;
    int r = walk(c, &c->before);
    c->recalling = false;
    c->saved = saved;
    free(c->used);
    c->used = used;
    c->unused = unused;
    return r;
}

int index_pages_check(const struct index_source *s, struct index_damage *ret)
{
    struct pages *c = MEM_NEW(struct pages);
    int r = pages_open(c, s);
    if (r == 0)
        r = walk(c, &c->freed);
    if (r == 0)
        r = walk(c, &c->trees);
    for (struct tree *t = c->named; r == 0 && t; t = t->next)
        r = walk(c, t);
    if (r == 0 && (r = recall(c)) != ERR_NO_MEMORY) {
        c->damage = (struct index_damage){0};
        r = c->forgotten ? damaged(c, c->trees.root, "does not name all trees") : 0;
    }
    *ret = c->damage;
    pages_close(c);
    free(c);
    return r;
}

/* ---- saving ---- */

/* A tree by itself, whatever is said to be free: is it sound? */
static int try_tree(struct pages *c, struct tree *t, uint8_t *bits)
{
    uint8_t *used = c->used, *unused = c->unused;
    size_t bytes = c->last / 8 + 1;
    index_entry_fn *each = c->each;
    struct index_saved saved = c->saved;
    c->used = bits;
    c->unused = bits + bytes;
    c->each = NULL;
    memset(bits, 0, 2 * bytes);
    c->saving = false;
    int r = walk(c, t);
    c->saving = true;
    c->used = used;
    c->unused = unused;
    c->each = each;
    c->saved = saved;
    t->damaged = r != 0;
    return r == ERR_CORRUPT ? 0 : r;
}

static int save_doubts(struct pages *c)
{
    int r = 0;
    for (struct doubt *d; r == 0 && (d = c->doubts); free(d)) {
        c->doubts = d->next;
        struct level *l = &c->levels[d->depth];
        if (has_bit(c->used, d->page) || has_bit(c->unused, d->page))
            continue;
        r = fetch(c, l, d->page, d->depth == d->tree->depth - 1u ? P_LEAF : P_BRANCH);
        if (r == 0 && (r = use(c, c->used, d->page, 1)) == 0)
            r = walk_from(c, d->tree, d->depth);
        r = r == ERR_CORRUPT ? 0 : r;
    }
    return r;
}

static bool free_list_wrong(const struct pages *c)
{
    uint8_t both = 0;
    for (uint64_t i = 0; i <= c->last / 8; i++)
        both |= c->used[i] & c->unused[i];
    return c->freed.damaged || both;
}

/* Leaves that nobody points to and that are not free: of the one tree that lost some. */
static int save_lost(struct pages *c, struct tree *t)
{
    int r = 0;
    struct level *l = &c->levels[0];
    for (uint64_t p = 2; p <= c->last && r == 0; p++) {
        if (has_bit(c->unused, p) || read_at(c, p, 0, l->page, c->psize) != 0 || u64(l->page) != p)
            continue;
        uint16_t kind = u16(l->page + 10) & P_KINDS;
        uint64_t more = kind == P_OVERFLOW ? u32(l->page + 12) : 1; /* what a value says is no page */
        if (!has_bit(c->used, p) && kind == P_LEAF && fetch(c, l, p, P_LEAF) == 0 && use(c, c->used, p, 1) == 0)
            r = leaf(c, l, t);
        p += more > 0 && more <= c->last - p ? more - 1 : 0;
    }
    return r;
}

static int save_all(struct pages *c, uint8_t *bits)
{
    struct tree *losing = NULL;
    unsigned losers = 0;
    int r = 0;
    for (struct tree *t = c->named; t && r == 0; t = t->next)
        r = try_tree(c, t, bits);
    for (int damage = 0; damage < 2; damage++)
        for (struct tree *t = c->named; t && r == 0; t = t->next)
            if (t->damaged == damage && (r = walk(c, t)) == ERR_CORRUPT)
                r = 0;
    if (r == 0)
        r = save_doubts(c);
    for (struct tree *t = c->named; t; t = t->next) {
        losers += t->damaged;
        losing = t->damaged ? t : losing;
    }
    if (r == 0 && losers == 1 && !free_list_wrong(c))
        r = save_lost(c, losing);
    return r;
}

int index_pages_save(const struct index_source *s, index_entry_fn *each, void *arg, struct index_saved *ret)
{
    struct pages *c = MEM_NEW(struct pages);
    int r = pages_open(c, s);
    uint8_t *bits = r == 0 ? mem_big(c->last / 8 + 1, 2) : NULL;
    if (r == 0 && !bits)
        r = ERR_NO_MEMORY;
    if (r == 0) {
        c->saving = true;
        r = walk(c, &c->freed);
        c->freed.damaged |= r != 0;
        r = r == ERR_CORRUPT ? 0 : r;
    }
    if (r == 0 && ((r = walk(c, &c->trees)) == 0 || r == ERR_CORRUPT))
        r = recall(c);
    if (r == ERR_CORRUPT && c->named)
        r = 0;
    c->each = each;
    c->arg = arg;
    if (r == 0)
        r = save_all(c, bits);
    *ret = c->saved;
    free(bits);
    pages_close(c);
    free(c);
    return r;
}
