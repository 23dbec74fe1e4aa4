/* SPDX-License-Identifier: MIT
 *
 * Records as they are after every operation so far: the overlay over the last commit. */
#include "store/tree/tree_state.h"

#include "store/tree/tempname.h"
#include "store/unixfs/directory.h"

static int lmdb_error(int rc)
{
    return rc == MDB_NOTFOUND ? ERR_NOT_FOUND : rc == EIO ? ERR_IO : ERR_CORRUPT;
}

static struct span of_val(MDB_val v)
{
    return span_of(v.mv_data, v.mv_size);
}

int view_get(struct tree *t, const struct tree_key *key, struct span *ret)
{
    const struct overlay_entry *e = overlay_find(t->overlay, tree_key_span(key));
    if (e) {
        *ret = e->value;
        return e->deleted ? ERR_NOT_FOUND : 0;
    }
    struct tree_key copy = *key; /* LMDB's type for keys is not const */
    MDB_val k = {copy.len, copy.bytes}, v;
    int rc = index_get(store_reader_txn(t->reader), t->db, &k, &v);
    if (rc)
        return lmdb_error(rc);
    *ret = of_val(v);
    return 0;
}

int view_node(struct tree *t, uint64_t id, struct tree_record *ret)
{
    struct tree_key key = tree_key_id(t->id, RECORD_NODE, id);
    struct span value;
    int r = view_get(t, &key, &value);
    if (r < 0)
        return r == ERR_NOT_FOUND ? ERR_STALE : r;
    return tree_record_parse(value, ret);
}

int view_entry(struct tree *t, struct tree_place at, uint64_t *ret_id)
{
    struct tree_key key = tree_key_entry(t->id, at.parent, at.name);
    struct span value;
    int r = view_get(t, &key, &value);
    return r < 0 ? r : tree_id_parse(value, ret_id);
}

int view_dir(struct tree *t, struct tree_place at, struct tree_record *ret)
{
    int r = unixfs_name_check(at.name);
    if (r == 0)
        r = view_node(t, at.parent, ret);
    if (r < 0)
        return r;
    if (ret->type != TREE_DIR)
        return ERR_NOT_DIR;
    return ret->parent == 0 && at.parent != TREE_ROOT ? ERR_NOT_FOUND : 0;
}

/* ---- scans ---- */

/* Never back: in a page that is damaged keys may be out of order, and who lists on from one of them would never end. */
static int disk_move(struct scan *s, MDB_cursor_op op, struct span from)
{
    struct span before = op == MDB_NEXT ? s->disk_key : from;
    int least = op == MDB_NEXT; /* behind it, or it itself */
    struct tree_key copy;
    MDB_val k = {0, NULL}, v;
    if (from.len) {
        memcpy(copy.bytes, from.data, from.len);
        k = (MDB_val){from.len, copy.bytes};
    }
    int rc = index_move(s->cursor, &k, &v, op);
    while (rc == 0 && span_cmp(of_val(k), before) < least)
        rc = index_move(s->cursor, &k, &v, MDB_NEXT);
    s->disk = rc == 0 && k.mv_size >= s->prefix.len && memcmp(k.mv_data, s->prefix.data, s->prefix.len) == 0;
    s->disk_key = of_val(k);
    s->disk_value = of_val(v);
    return rc == 0 || rc == MDB_NOTFOUND ? 0 : lmdb_error(rc);
}

int scan_begin(struct scan *s, struct tree *t, const struct tree_key *prefix, const struct tree_key *from)
{
    *s = (struct scan){.tree = t, .prefix = tree_key_span(prefix)};
    int rc = mdb_cursor_open(store_reader_txn(t->reader), t->db, &s->cursor);
    if (rc) {
        s->cursor = NULL;
        return lmdb_error(rc);
    }
    s->over = overlay_from(t->overlay, tree_key_span(from));
    return disk_move(s, MDB_SET_RANGE, tree_key_span(from));
}

static const struct overlay_entry *over_in_range(const struct scan *s)
{
    if (!s->over || s->over->key.len < s->prefix.len || memcmp(s->over->key.data, s->prefix.data, s->prefix.len) != 0)
        return NULL;
    return s->over;
}

int scan_next(struct scan *s, struct span *ret_key, struct span *ret_value)
{
    for (;;) {
        const struct overlay_entry *over = over_in_range(s);
        if (!over && !s->disk)
            return 0;
        int order = !over ? -1 : !s->disk ? 1 : span_cmp(s->disk_key, over->key);
        *ret_key = order < 0 ? s->disk_key : over->key;
        *ret_value = order < 0 ? s->disk_value : over->value;
        bool deleted = order >= 0 && over->deleted;
        if (order >= 0)
            s->over = overlay_next(over);
        if (order <= 0) {
            int r = disk_move(s, MDB_NEXT, SPAN_NONE);
            if (r < 0)
                return r;
        }
        if (!deleted)
            return 1;
    }
}

void scan_end(struct scan *s)
{
    if (s->cursor)
        mdb_cursor_close(s->cursor);
    s->cursor = NULL;
}

int listed_parse(struct span value, enum tree_type *ret_type, struct span *ret_name)
{
    if (value.len < 2 || value.len > 1 + TREE_NAME_MAX || value.data[0] < TREE_FILE || value.data[0] > TREE_SYMLINK)
        return ERR_CORRUPT;
    *ret_type = (enum tree_type)value.data[0];
    *ret_name = span_from(value, 1);
    return 0;
}

int view_dir_empty(struct tree *t, uint64_t dir)
{
    struct tree_key prefix = tree_key_id(t->id, RECORD_LISTED, dir);
    struct scan s;
    struct span key, value;
    int r = scan_begin(&s, t, &prefix, &prefix);
    if (r == 0)
        r = scan_next(&s, &key, &value);
    scan_end(&s);
    return r < 0 ? r : r == 0;
}

void view_fill(uint64_t id, const struct tree_record *r, struct tree_node *ret)
{
    *ret = (struct tree_node){
        .id = id,
        .parent = r->parent,
        .type = r->type,
        .mode = r->mode,
        .temporary = tempname(record_name(r)),
        .dirty = (r->flags & RECORD_DIRTY) != 0,
        .mtime = r->mtime,
        .ctime = r->ctime,
        .content = r->content,
    };
}
