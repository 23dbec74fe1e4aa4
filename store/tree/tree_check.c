/* SPDX-License-Identifier: MIT
 *
 * Is a tree sound? Every record is read once, and each must agree with those that it leads to. Damage is told with the first
 * record that shows it. */
#include "store/tree/tree_state.h"

#define DEPTH_MAX 4096

struct checking {
    struct tree *tree;
    struct tree_count count;
    uint64_t named; /* nodes with a name */
    struct why *why;
};

static int bad(struct checking *k, const char *what, uint64_t id)
{
    return why_set(k->why, ERR_CORRUPT, "tree %u, node %llu: %s", (unsigned)k->tree->id, (unsigned long long)id, what);
}

/* The names that lead to a node are those that it says it has. */
static int check_named(struct checking *k, uint64_t id, const struct tree_record *rec)
{
    struct tree_place at = {rec->parent, record_name(rec)};
    struct tree_key listed = tree_key_listed(k->tree->id, rec->parent, id);
    struct tree_record dir;
    struct span value, name;
    enum tree_type type;
    uint64_t found;
    if (view_dir(k->tree, at, &dir) < 0)
        return bad(k, "its directory does not exist", id);
    if (view_entry(k->tree, at, &found) < 0 || found != id)
        return bad(k, "its name does not lead to it", id);
    if (view_get(k->tree, &listed, &value) < 0 || listed_parse(value, &type, &name) < 0 || type != rec->type ||
        !span_eq(name, at.name))
        return bad(k, "it is not listed in its directory as it is", id);
    if (rec->type == TREE_DIR && (rec->flags & RECORD_DIRTY) && !(dir.flags & RECORD_DIRTY))
        return bad(k, "it is dirty and the directory above is not", id);
    k->named++;
    return 0;
}

static int check_reaches_root(struct checking *k, uint64_t id)
{
    uint64_t at = id;
    for (unsigned depth = 0; at != TREE_ROOT; depth++) {
        struct tree_record rec;
        if (depth == DEPTH_MAX || view_node(k->tree, at, &rec) < 0 || rec.parent == 0)
            return bad(k, "it does not lead to the root", id);
        at = rec.parent;
    }
    return 0;
}

static int check_symlink(struct checking *k, uint64_t id, const struct tree_record *rec)
{
    struct tree_key key = tree_key_id(k->tree->id, RECORD_KEPT, id);
    struct span value;
    int r = view_get(k->tree, &key, &value);
    bool keeps = (rec->flags & RECORD_REFERS) != 0;
    if (r < 0 && r != ERR_NOT_FOUND)
        return r;
    if (keeps != (r == 0) || (keeps && !span_eq(value, cid_span(&rec->content.cid))))
        return bad(k, "what it keeps is recorded differently", id);
    return 0;
}

static int check_node(struct checking *k, struct span key, struct span value)
{
    uint64_t id = tree_key_tail(key);
    struct tree_key orphan = tree_key_id(k->tree->id, RECORD_ORPHAN, id);
    struct tree_record rec;
    struct span mark;
    if (tree_record_parse(value, &rec) < 0)
        return bad(k, "its record is malformed", id);
    if (id >= k->tree->next_id)
        return bad(k, "its number was not given out yet", id);
    bool lost = view_get(k->tree, &orphan, &mark) == 0;
    if (lost != (rec.parent == 0 && id != TREE_ROOT))
        return bad(k, "it has no name and is not known as such", id);
    k->count.files += rec.type == TREE_FILE;
    k->count.dirs += rec.type == TREE_DIR;
    k->count.symlinks += rec.type == TREE_SYMLINK;
    k->count.orphans += lost;
    int r = rec.type == TREE_SYMLINK ? check_symlink(k, id, &rec) : 0;
    if (r == 0 && rec.parent != 0)
        r = check_named(k, id, &rec);
    if (r == 0 && rec.parent != 0 && rec.type == TREE_DIR)
        r = check_reaches_root(k, id);
    return r;
}

/* What it had before is of a node that exists. */
static int check_former(struct checking *k, struct span key, struct span value)
{
    struct tree_record rec;
    struct tree_former f;
    uint64_t id = tree_key_tail(key);
    if (tree_former_parse(value, &f) < 0)
        return bad(k, "the record of what it had before is malformed", id);
    return view_node(k->tree, id, &rec) < 0 ? bad(k, "what it had before is kept, but it is gone", id) : 0;
}

static int for_all(struct checking *k, enum record_kind kind,
                   int (*each)(struct checking *k, struct span key, struct span value), uint64_t *ret_count)
{
    struct tree_key prefix = tree_key(k->tree->id, kind);
    struct scan s;
    struct span key, value;
    int r = scan_begin(&s, k->tree, &prefix, &prefix);
    *ret_count = 0;
    while (r == 0 && (r = scan_next(&s, &key, &value)) == 1) {
        ++*ret_count;
        r = each ? each(k, key, value) : 0;
    }
    scan_end(&s);
    return r < 0 ? r : 0;
}

/* Nodes were checked to have their records: when there are as many records as that takes, there are no others. */
static int check_all(struct checking *k)
{
    struct tree_record root;
    uint64_t nodes, entries, listed, orphans, formers;
    if (view_node(k->tree, TREE_ROOT, &root) < 0 || root.type != TREE_DIR || root.parent != 0)
        return bad(k, "there is no root directory", TREE_ROOT);
    int r = for_all(k, RECORD_NODE, check_node, &nodes);
    if (r == 0)
        r = for_all(k, RECORD_ENTRY, NULL, &entries);
    if (r == 0)
        r = for_all(k, RECORD_LISTED, NULL, &listed);
    if (r == 0)
        r = for_all(k, RECORD_ORPHAN, NULL, &orphans);
    if (r == 0)
        r = for_all(k, RECORD_FORMER, check_former, &formers);
    if (r < 0)
        return r;
    if (entries != k->named || listed != k->named)
        return bad(k, "there are names that lead nowhere", TREE_ROOT);
    return orphans == k->count.orphans ? 0 : bad(k, "there are lost nodes without a record", TREE_ROOT);
}

int tree_check(struct tree *t, struct tree_count *ret, struct why *why)
{
    struct checking k = {.tree = t, .why = why};
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = check_all(&k);
    store_read_end(t->reader);
    if (r == 0)
        *ret = k.count;
    return r;
}
