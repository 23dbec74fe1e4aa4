/* SPDX-License-Identifier: MIT
 *
 * Opening a tree, and looking at it. */
#include "store/tree/tree.h"

#include "store/tree/tree_state.h"

#include <stdlib.h>

#define DB_NAME    "tree.records"
#define PATH_DEPTH 4096 /* a path with more parts than that is damage: names lead upwards in a circle */

/* ---- open ---- */

static int make_root(struct tree *t)
{
    struct change *c;
    t->next_id = TREE_FIRST_ID;
    int r = change_begin(t, CHANGE_BYTES, CHANGE_ADDS, &c);
    if (r < 0)
        return r;
    wall_ns now = wall_now();
    struct tree_record root = {.type = TREE_DIR, .mode = 0755, .flags = RECORD_DIRTY, .mtime = now, .ctime = now};
    edit_put_node(c, TREE_ROOT, &root);
    return change_apply_first(t, c);
}

static int load_meta(struct tree *t)
{
    struct tree_key key = tree_key(t->id, RECORD_META);
    struct span value;
    struct tree_meta meta;
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = view_get(t, &key, &value);
    if (r == 0)
        r = tree_meta_parse(value, &meta);
    store_read_end(t->reader);
    if (r == 0) {
        t->seq = meta.seq;
        t->next_id = meta.next_id;
    }
    return r;
}

/* Calls `each` with every node that has a record of this kind. They are listed first:
 * it changes what is being listed. */
static int each_marked(struct tree *t, enum record_kind kind, int (*each)(struct tree *t, uint64_t id))
{
    struct tree_key prefix = tree_key(t->id, kind);
    struct buf ids = BUF_INIT;
    struct scan s;
    struct span key, value;
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = scan_begin(&s, t, &prefix, &prefix);
    while (r == 0 && (r = scan_next(&s, &key, &value)) == 1) {
        uint64_t id = tree_key_tail(key);
        buf_add(&ids, &id, sizeof id);
        r = 0;
    }
    scan_end(&s);
    while (r == 0 && buf_len(&ids) > 0) {
        uint64_t id;
        memcpy(&id, buf_span(&ids).data, sizeof id);
        buf_consume(&ids, sizeof id);
        r = each(t, id);
    }
    buf_done(&ids);
    store_read_end(t->reader);
    return r;
}

int tree_open(struct tree **ret, const struct tree_options *o, struct why *why)
{
    struct tree *t = MEM_NEW(struct tree);
    *t =
        (struct tree){.bs = o->bs, .reader = o->reader, .reply = o->reply, .budget = o->budget, .id = o->id, .hooks = o->hooks};
    t->overlay = overlay_new();
    t->failed_end = &t->failed;
    t->published = store_guard_new();
    int r = blockstore_record_db(o->bs, DB_NAME, 0, &t->db);
    if (r == 0) {
        blockstore_record_refers(o->bs, t->db, tree_record_refers);
        r = load_meta(t);
    }
    if (r == ERR_NOT_FOUND)
        r = make_root(t);
    if (r == 0)
        r = each_marked(t, RECORD_FORMER, former_settle);
    if (r == 0) /* had lost their names when the last run ended: nobody has them open any more */
        r = each_marked(t, RECORD_ORPHAN, edit_let_go);
    if (r < 0) {
        tree_free(t);
        return why_set(why, r, "the records of tree %u cannot be read: %s", (unsigned)o->id, err_text(r));
    }
    *ret = t;
    return 0;
}

/* ---- look ---- */

int tree_get(struct tree *t, uint64_t id, struct tree_node *ret)
{
    struct tree_record rec;
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = view_node(t, id, &rec);
    store_read_end(t->reader);
    if (r == 0)
        view_fill(id, &rec, ret);
    return r;
}

static int lookup(struct tree *t, struct tree_place at, struct tree_node *ret)
{
    struct tree_record rec;
    uint64_t id;
    int r = view_dir(t, at, &rec);
    if (r == 0)
        r = view_entry(t, at, &id);
    if (r < 0)
        return r;
    r = view_node(t, id, &rec);
    if (r == 0)
        view_fill(id, &rec, ret);
    return r == ERR_STALE ? ERR_CORRUPT : r;
}

int tree_lookup(struct tree *t, struct tree_place at, struct tree_node *ret)
{
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = lookup(t, at, ret);
    store_read_end(t->reader);
    return r;
}

int tree_readlink(struct tree *t, uint64_t id, struct buf *out)
{
    struct tree_record rec;
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = view_node(t, id, &rec);
    if (r == 0 && rec.type != TREE_SYMLINK)
        r = ERR_INVALID;
    if (r == 0)
        buf_add_span(out, rec.target);
    store_read_end(t->reader);
    return r;
}

/* Parts are found from the end to the beginning: they are put in front of each other. */
static int path_parts(struct tree *t, uint64_t id, struct buf *ret)
{
    struct buf path = BUF_INIT;
    int r = 0;
    for (unsigned depth = 0; id != TREE_ROOT && r == 0; depth++) {
        struct tree_record rec;
        r = depth == PATH_DEPTH ? ERR_CORRUPT : view_node(t, id, &rec);
        if (r == 0 && rec.parent == 0)
            r = ERR_STALE;
        if (r < 0)
            break;
        struct buf longer = BUF_INIT;
        buf_add_span(&longer, record_name(&rec));
        if (buf_len(&path) > 0)
            buf_add_u8(&longer, '/');
        buf_add_span(&longer, buf_span(&path));
        buf_done(&path);
        path = longer;
        id = rec.parent;
    }
    if (r == 0)
        buf_add_span(ret, buf_span(&path));
    buf_done(&path);
    return r;
}

int tree_path(struct tree *t, uint64_t id, struct buf *out)
{
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = path_parts(t, id, out);
    store_read_end(t->reader);
    return r;
}

struct listing {
    bool (*emit)(void *arg, const struct tree_entry *e);
    void *arg;
};

static int list(struct tree *t, uint64_t dir, uint64_t cookie, const struct listing *l)
{
    struct tree_record rec;
    int r = view_node(t, dir, &rec);
    if (r < 0)
        return r;
    if (rec.type != TREE_DIR)
        return ERR_NOT_DIR;
    struct tree_key prefix = tree_key_id(t->id, RECORD_LISTED, dir);
    struct tree_key from = tree_key_listed(t->id, dir, cookie + 1);
    struct scan s;
    struct span key, value;
    bool more = cookie < UINT64_MAX;
    r = scan_begin(&s, t, &prefix, &from);
    while (r == 0 && more && (r = scan_next(&s, &key, &value)) == 1) {
        struct tree_entry e = {.id = tree_key_tail(key), .cookie = tree_key_tail(key)};
        r = listed_parse(value, &e.type, &e.name);
        if (r == 0)
            more = l->emit(l->arg, &e);
    }
    scan_end(&s);
    return r < 0 ? r : 0;
}

int tree_readdir(struct tree *t, uint64_t dir, uint64_t cookie, bool (*emit)(void *arg, const struct tree_entry *e), void *arg)
{
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = list(t, dir, cookie, &(struct listing){emit, arg});
    store_read_end(t->reader);
    return r;
}

int tree_each_kept(struct tree *t, void (*each)(void *arg, const struct cid *cid), void *arg)
{
    struct tree_key prefix = tree_key(t->id, RECORD_KEPT);
    struct scan s;
    struct span key, value;
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = scan_begin(&s, t, &prefix, &prefix);
    while (r == 0 && (r = scan_next(&s, &key, &value)) == 1) {
        struct cid cid;
        r = cid_parse(value, &cid) < 0 ? ERR_CORRUPT : 0;
        if (r == 0)
            each(arg, &cid);
    }
    scan_end(&s);
    store_read_end(t->reader);
    return r < 0 ? r : 0;
}
