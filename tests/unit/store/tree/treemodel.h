/* SPDX-License-Identifier: MIT
 *
 * Random operations on a tree beside a plain model of it. What comes next depends on the model and the dice alone, so a
 * sequence can be replayed from its seed. */
#ifndef TESTS_UNIT_STORE_TREE_TREEMODEL_H
#define TESTS_UNIT_STORE_TREE_TREEMODEL_H

#include "tests/unit/store/tree/treebed.h"

#define MODEL_NODES 4000
struct model_node {
    bool used, dir;
    uint64_t id;
    int parent; /* index; -1: no name */
    unsigned name;
    uint64_t content;
};

struct model {
    struct model_node n[MODEL_NODES];
    int count;
};

static inline int model_find(const struct model *m, int parent, unsigned name)
{
    for (int i = 0; i < m->count; i++)
        if (m->n[i].used && m->n[i].parent == parent && m->n[i].name == name && i > 0)
            return i;
    return -1;
}

static inline bool model_empty(const struct model *m, int dir)
{
    for (int i = 1; i < m->count; i++)
        if (m->n[i].used && m->n[i].parent == dir)
            return false;
    return true;
}

static inline bool model_below(const struct model *m, int at, int node)
{
    for (; at >= 0; at = at == 0 ? -1 : m->n[at].parent)
        if (at == node)
            return true;
    return false;
}

static inline int random_node(const struct model *m, struct rng *rng, bool dir)
{
    for (unsigned tries = 0; tries < 50; tries++) {
        int i = (int)rng_below(rng, (uint64_t)m->count);
        if (m->n[i].used && m->n[i].dir == dir && (i == 0 || m->n[i].parent >= 0))
            return i;
    }
    return dir ? 0 : -1;
}

static inline struct tree_place model_place(const struct model *m, int dir, unsigned name, char text[16])
{
    snprintf(text, 16, "n%u", name);
    return place(m->n[dir].id, text);
}

static inline int model_remove(struct model *m, int i)
{
    m->n[i].parent = -1;
    m->n[i].used = false;
    return 0;
}

static inline void step_make(struct bed *b, struct model *m, struct rng *rng)
{
    char text[16];
    int dir = random_node(m, rng, true);
    unsigned name = (unsigned)rng_below(rng, 12);
    bool make_a_dir = rng_below(rng, 3) == 0;
    struct tree_node n;
    struct tree_place at = model_place(m, dir, name, text);
    int r = make_a_dir ? tree_mkdir(b->t, at, 0755, 1, &n) : tree_create(b->t, at, 0644, 1, &n);
    if (model_find(m, dir, name) >= 0) {
        CHECK_EQ(r, ERR_EXISTS);
        return;
    }
    CHECK_EQ(r, 0);
    CHECK(m->count < MODEL_NODES);
    m->n[m->count++] = (struct model_node){.used = true, .dir = make_a_dir, .id = n.id, .parent = dir, .name = name};
}

static inline void step_remove(struct bed *b, struct model *m, struct rng *rng)
{
    char text[16];
    int dir = random_node(m, rng, true);
    unsigned name = (unsigned)rng_below(rng, 12);
    bool as_dir = rng_below(rng, 2);
    int i = model_find(m, dir, name);
    struct tree_place at = model_place(m, dir, name, text);
    int r = as_dir ? tree_rmdir(b->t, at, 1) : tree_unlink(b->t, at, 1);
    int want = i < 0                          ? ERR_NOT_FOUND
               : m->n[i].dir != as_dir        ? (as_dir ? ERR_NOT_DIR : ERR_IS_DIR)
               : as_dir && !model_empty(m, i) ? ERR_NOT_EMPTY
                                              : 0;
    CHECK_EQ(r, want);
    if (r == 0) {
        tree_forget(b->t, m->n[i].id);
        model_remove(m, i);
    }
}

static inline int model_rename(const struct model *m, int a, int c, int to_dir, int from_dir, unsigned flags)
{
    bool exchange = flags & TREE_EXCHANGE;
    if (a < 0 || (exchange && c < 0))
        return ERR_NOT_FOUND;
    if (a == c)
        return flags & TREE_NOREPLACE ? ERR_EXISTS : 0;
    if (m->n[a].dir && model_below(m, to_dir, a))
        return ERR_INVALID;
    if (exchange && m->n[c].dir && model_below(m, from_dir, c))
        return ERR_INVALID;
    if (c < 0 || exchange)
        return 0;
    if (flags & TREE_NOREPLACE)
        return ERR_EXISTS;
    if (m->n[a].dir != m->n[c].dir)
        return m->n[a].dir ? ERR_NOT_DIR : ERR_IS_DIR;
    return m->n[a].dir && !model_empty(m, c) ? ERR_NOT_EMPTY : 0;
}

static inline void step_rename(struct bed *b, struct model *m, struct rng *rng)
{
    char text[2][16];
    int from = random_node(m, rng, true), to = random_node(m, rng, true);
    unsigned name[2] = {(unsigned)rng_below(rng, 12), (unsigned)rng_below(rng, 12)};
    static const unsigned choices[] = {0, 0, TREE_NOREPLACE, TREE_EXCHANGE};
    unsigned flags = choices[rng_below(rng, 4)];
    int a = model_find(m, from, name[0]), c = model_find(m, to, name[1]);
    int r = tree_rename(b->t, model_place(m, from, name[0], text[0]), model_place(m, to, name[1], text[1]), flags, 1);
    CHECK_EQ(r, model_rename(m, a, c, to, from, flags));
    if (r < 0 || a == c)
        return;
    m->n[a].parent = to;
    m->n[a].name = name[1];
    if (c < 0)
        return;
    if (flags & TREE_EXCHANGE) {
        m->n[c].parent = from;
        m->n[c].name = name[0];
    } else {
        tree_forget(b->t, m->n[c].id);
        model_remove(m, c);
    }
}

static inline void step_write(struct bed *b, struct model *m, struct rng *rng)
{
    int i = random_node(m, rng, false);
    if (i < 0)
        return;
    m->n[i].content = rng_below(rng, 50);
    struct unixfs_root c = content(m->n[i].content);
    CHECK_EQ(tree_set_content(b->t, m->n[i].id, &(struct tree_content){.root = c}, 1), 0);
}

static inline void model_init(struct model *m)
{
    m->n[m->count++] = (struct model_node){.used = true, .dir = true, .id = TREE_ROOT, .parent = -1};
}

static inline void step_any(struct bed *b, struct model *m, struct rng *rng)
{
    struct unixfs_root root;
    switch (rng_below(rng, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        if (m->count < MODEL_NODES)
            step_make(b, m, rng);
        break;
    case 5:
    case 6:
    case 7:
        step_remove(b, m, rng);
        break;
    case 8:
    case 9:
    case 10:
        step_rename(b, m, rng);
        break;
    case 11:
    case 12:
        step_write(b, m, rng);
        break;
    case 13:
        bed_pump(b);
        break;
    case 14:
        if (rng_below(rng, 10) == 0)
            publish(b, m->n[random_node(m, rng, true)].id, NULL, &root);
        break;
    default:
        if (rng_below(rng, 50) == 0)
            CHECK_EQ(bed_sync(b), 0);
    }
}

#endif
