/* SPDX-License-Identifier: MIT
 *
 * Operations that change a tree. Each first reads all it needs and refuses what must be refused; from its first step on it
 * cannot fail. Records are read again between steps, because a step may have changed them: that they can be read is known. */
#include "store/tree/tree_state.h"

#include "store/unixfs/directory.h"

#include <assert.h>

#define DEPTH_MAX 4096 /* directories above each other; more is damage (a circle) */

/* ---- steps ---- */

void edit_put_node(struct change *c, uint64_t id, const struct tree_record *r)
{
    struct buf *value = &c->tree->value;
    struct tree_key key = tree_key_id(c->tree_id, RECORD_NODE, id);
    buf_clear(value);
    tree_record_encode(r, value);
    change_set(c, &key, buf_span(value));
}

static void get_again(struct change *c, uint64_t id, struct tree_record *ret)
{
    int r = view_node(c->tree, id, ret);
    assert(r == 0);
    (void)r;
}

static void put_name(struct change *c, struct tree_place at, uint64_t id, enum tree_type type)
{
    struct tree_key entry = tree_key_entry(c->tree_id, at.parent, at.name);
    struct tree_key listed = tree_key_listed(c->tree_id, at.parent, id);
    struct buf *value = &c->tree->value;
    buf_clear(value);
    tree_put_u64(value, id);
    change_set(c, &entry, buf_span(value));
    buf_clear(value);
    buf_add_u8(value, (uint8_t)type);
    buf_add_span(value, at.name);
    change_set(c, &listed, buf_span(value));
}

static void del_listed(struct change *c, uint64_t parent, uint64_t id)
{
    struct tree_key listed = tree_key_listed(c->tree_id, parent, id);
    change_del(c, &listed);
}

static void del_name(struct change *c, struct tree_place at, uint64_t id)
{
    struct tree_key entry = tree_key_entry(c->tree_id, at.parent, at.name);
    change_del(c, &entry);
    del_listed(c, at.parent, id);
}

/* The store's reference of a directory or symlink ends. */
static void drop_reference(struct change *c, struct tree_record *rec)
{
    if (rec->flags & RECORD_REFERS)
        change_unref(c, &rec->content.cid);
    rec->flags &= (uint8_t)~RECORD_REFERS;
}

/* The published DAG of this directory and of all above it is out of date. Where one is dirty, those above it are. */
static void mark_dirty(struct change *c, uint64_t dir)
{
    while (dir != 0) {
        struct tree_record rec;
        publishing_touched(c->tree, dir);
        get_again(c, dir, &rec);
        if (rec.flags & RECORD_DIRTY)
            return;
        drop_reference(c, &rec);
        rec.content = (struct unixfs_root){.size = 0};
        rec.flags |= RECORD_DIRTY;
        edit_put_node(c, dir, &rec);
        dir = rec.parent;
    }
}

/* Can mark_dirty read everything that it is going to? */
static int check_up(struct tree *t, uint64_t dir)
{
    for (unsigned depth = 0; dir != 0; depth++) {
        struct tree_record rec;
        int r = depth == DEPTH_MAX ? ERR_CORRUPT : view_node(t, dir, &rec);
        if (r < 0)
            return r;
        if (rec.flags & RECORD_DIRTY)
            return 0;
        dir = rec.parent;
    }
    return 0;
}

/* The names in a directory changed. */
static void touch_dir(struct change *c, uint64_t dir, wall_ns now)
{
    struct tree_record rec;
    mark_dirty(c, dir);
    get_again(c, dir, &rec);
    rec.mtime = rec.ctime = now;
    edit_put_node(c, dir, &rec);
}

static void symlink_lets_go(struct change *c, uint64_t id, struct tree_record *rec)
{
    struct tree_key kept = tree_key_id(c->tree_id, RECORD_KEPT, id);
    struct tree *t = c->tree;
    if (!(rec->flags & RECORD_REFERS))
        return;
    drop_reference(c, rec);
    change_del(c, &kept);
    if (t->hooks.kept)
        t->hooks.kept(t->hooks.arg, &rec->content.cid, false);
}

/* The node has no name any more. Its bytes live on until nobody uses it; what a symlink or directory keeps does not. */
static void orphan(struct change *c, uint64_t id, wall_ns now)
{
    struct tree_key key = tree_key_id(c->tree_id, RECORD_ORPHAN, id);
    struct tree_record rec;
    get_again(c, id, &rec);
    rec.parent = 0;
    rec.name_len = 0;
    rec.ctime = now;
    if (rec.type == TREE_SYMLINK)
        symlink_lets_go(c, id, &rec);
    if (rec.type == TREE_DIR) {
        publishing_touched(c->tree, id);
        drop_reference(c, &rec);
        rec.content = (struct unixfs_root){.size = 0};
        rec.flags |= RECORD_DIRTY;
    }
    edit_put_node(c, id, &rec);
    change_set(c, &key, span_str("\1"));
}

/* ---- new nodes ---- */

struct making {
    struct tree_place at;
    struct tree_record rec; /* without parent and name */
    struct tree_node *ret;
};

static int make(struct tree *t, struct making *m)
{
    struct tree_record dir;
    uint64_t there;
    int r = view_dir(t, m->at, &dir);
    if (r < 0)
        return r;
    r = view_entry(t, m->at, &there);
    if (r != ERR_NOT_FOUND)
        return r == 0 ? ERR_EXISTS : r;
    r = check_up(t, m->at.parent);
    struct change *c;
    if (r == 0)
        r = change_begin(t, CHANGE_BYTES + m->rec.target.len, CHANGE_ADDS, &c);
    if (r < 0)
        return r;
    uint64_t id = t->next_id++;
    m->rec.parent = m->at.parent;
    m->rec.name_len = (uint8_t)m->at.name.len;
    memcpy(m->rec.name, m->at.name.data, m->at.name.len);
    edit_put_node(c, id, &m->rec);
    put_name(c, m->at, id, m->rec.type);
    if (m->rec.flags & RECORD_REFERS) {
        struct tree_key kept = tree_key_id(c->tree_id, RECORD_KEPT, id);
        change_ref(c, &m->rec.content.cid);
        change_set(c, &kept, cid_span(&m->rec.content.cid));
    }
    touch_dir(c, m->at.parent, m->rec.mtime);
    change_submit(c);
    view_fill(id, &m->rec, m->ret);
    if ((m->rec.flags & RECORD_REFERS) && t->hooks.kept)
        t->hooks.kept(t->hooks.arg, &m->rec.content.cid, true);
    return 0;
}

static int make_in_read(struct tree *t, struct making *m)
{
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = make(t, m);
    store_read_end(t->reader);
    return r;
}

int tree_create(struct tree *t, struct tree_place at, unsigned mode, wall_ns now, struct tree_node *ret)
{
    struct making m = {.at = at, .ret = ret};
    m.rec = (struct tree_record){.type = TREE_FILE, .mode = mode & 07777, .mtime = now, .ctime = now};
    return make_in_read(t, &m);
}

int tree_mkdir(struct tree *t, struct tree_place at, unsigned mode, wall_ns now, struct tree_node *ret)
{
    struct making m = {.at = at, .ret = ret};
    m.rec = (struct tree_record){.type = TREE_DIR, .flags = RECORD_DIRTY, .mode = mode & 07777, .mtime = now, .ctime = now};
    return make_in_read(t, &m);
}

int tree_symlink(struct tree *t, struct tree_place at, struct span target, wall_ns now, struct tree_node *ret)
{
    if (target.len == 0)
        return ERR_NOT_FOUND; /* as symlink(2) */
    if (target.len > TREE_TARGET_MAX)
        return ERR_NAME_LONG;
    if (memchr(target.data, 0, target.len))
        return ERR_INVALID;
    struct making m = {.at = at, .ret = ret};
    m.rec = (struct tree_record){.type = TREE_SYMLINK, .mode = 0777, .mtime = now, .ctime = now, .target = target};
    m.rec.content.size = target.len;
    if (tree_target_cid(target, &m.rec.content.cid))
        m.rec.flags = RECORD_REFERS;
    return make_in_read(t, &m);
}

/* ---- removing ---- */

static int remove_name(struct tree *t, struct tree_place at, bool dir, wall_ns now)
{
    struct tree_record rec;
    uint64_t id;
    struct change *c;
    int r = view_dir(t, at, &rec);
    if (r == 0)
        r = view_entry(t, at, &id);
    if (r == 0)
        r = view_node(t, id, &rec);
    if (r < 0)
        return r;
    if (dir != (rec.type == TREE_DIR))
        return dir ? ERR_NOT_DIR : ERR_IS_DIR;
    r = dir ? view_dir_empty(t, id) : 1;
    if (r <= 0)
        return r < 0 ? r : ERR_NOT_EMPTY;
    r = check_up(t, at.parent);
    if (r == 0)
        r = change_begin(t, CHANGE_BYTES, CHANGE_REMOVES, &c);
    if (r < 0)
        return r;
    del_name(c, at, id);
    orphan(c, id, now);
    touch_dir(c, at.parent, now);
    change_submit(c);
    return 0;
}

static int remove_in_read(struct tree *t, struct tree_place at, bool dir, wall_ns now)
{
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = remove_name(t, at, dir, now);
    store_read_end(t->reader);
    return r;
}

int tree_unlink(struct tree *t, struct tree_place at, wall_ns now)
{
    return remove_in_read(t, at, false, now);
}

int tree_rmdir(struct tree *t, struct tree_place at, wall_ns now)
{
    return remove_in_read(t, at, true, now);
}

int edit_let_go(struct tree *t, uint64_t id)
{
    struct tree_key node = tree_key_id(t->id, RECORD_NODE, id);
    struct tree_key lost = tree_key_id(t->id, RECORD_ORPHAN, id);
    struct tree_record rec;
    struct change *c;
    int r = view_node(t, id, &rec);
    if (r < 0 || rec.parent != 0 || id == TREE_ROOT)
        return r == ERR_STALE ? 0 : r;
    r = change_begin(t, CHANGE_BYTES, CHANGE_LETS_GO, &c);
    if (r < 0)
        return r;
    if (rec.type == TREE_FILE && !cid_is_none(&rec.content.cid))
        change_unref(c, &rec.content.cid);
    change_forgets_former(c, id, 0);
    change_del(c, &node);
    change_del(c, &lost);
    change_submit(c);
    return 0;
}

int tree_forget(struct tree *t, uint64_t id)
{
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = edit_let_go(t, id);
    store_read_end(t->reader);
    return r;
}

/* ---- rename ---- */

struct renaming {
    struct tree_place from, to;
    unsigned flags;
    uint64_t id, there; /* there: 0 when there is nothing at `to` */
    struct tree_record rec, there_rec;
};

/* Is `dir` the node `id`, or below it? 1, 0, <0. */
static int is_below(struct tree *t, uint64_t dir, uint64_t id)
{
    for (unsigned depth = 0; dir != 0; depth++) {
        if (dir == id)
            return 1;
        struct tree_record rec;
        int r = depth == DEPTH_MAX ? ERR_CORRUPT : view_node(t, dir, &rec);
        if (r < 0)
            return r;
        dir = rec.parent;
    }
    return 0;
}

static int find_both(struct tree *t, struct renaming *n)
{
    struct tree_record dir;
    int r = view_dir(t, n->from, &dir);
    if (r == 0)
        r = view_dir(t, n->to, &dir);
    if (r == 0)
        r = view_entry(t, n->from, &n->id);
    if (r == 0)
        r = view_node(t, n->id, &n->rec);
    if (r < 0)
        return r;
    r = view_entry(t, n->to, &n->there);
    if (r == ERR_NOT_FOUND) {
        n->there = 0;
        return n->flags & TREE_EXCHANGE ? ERR_NOT_FOUND : 0;
    }
    return r < 0 ? r : view_node(t, n->there, &n->there_rec);
}

/* Neither may end up below itself. */
static int check_circles(struct tree *t, const struct renaming *n)
{
    int r = n->rec.type == TREE_DIR ? is_below(t, n->to.parent, n->id) : 0;
    if (r == 0 && (n->flags & TREE_EXCHANGE) && n->there_rec.type == TREE_DIR)
        r = is_below(t, n->from.parent, n->there);
    return r == 1 ? ERR_INVALID : r;
}

/* What rename(2) says about replacing */
static int check_replaced(struct tree *t, const struct renaming *n)
{
    if (n->there == 0 || (n->flags & TREE_EXCHANGE))
        return 0;
    if (n->flags & TREE_NOREPLACE)
        return ERR_EXISTS;
    bool dir = n->rec.type == TREE_DIR;
    if (dir != (n->there_rec.type == TREE_DIR))
        return dir ? ERR_NOT_DIR : ERR_IS_DIR;
    if (!dir)
        return 0;
    int r = view_dir_empty(t, n->there);
    return r < 0 ? r : r ? 0 : ERR_NOT_EMPTY;
}

static void give_place(struct change *c, struct tree_place to, uint64_t id, wall_ns now)
{
    struct tree_record rec;
    get_again(c, id, &rec);
    rec.parent = to.parent;
    rec.name_len = (uint8_t)to.name.len;
    memcpy(rec.name, to.name.data, to.name.len);
    rec.ctime = now;
    edit_put_node(c, id, &rec);
    put_name(c, to, id, rec.type);
}

static void move(struct change *c, const struct renaming *n, wall_ns now)
{
    del_name(c, n->from, n->id);
    if (n->there) {
        del_name(c, n->to, n->there);
        if (!(n->flags & TREE_EXCHANGE) && n->rec.type == TREE_FILE)
            change_replaces(c, n->id, n->there,
                            &(struct tree_former){.mtime = n->there_rec.mtime, .content = n->there_rec.content});
        if (!(n->flags & TREE_EXCHANGE))
            orphan(c, n->there, now);
        else
            give_place(c, n->from, n->there, now);
    }
    give_place(c, n->to, n->id, now);
    touch_dir(c, n->from.parent, now);
    if (n->to.parent != n->from.parent)
        touch_dir(c, n->to.parent, now);
}

static int rename_node(struct tree *t, struct renaming *n, wall_ns now)
{
    int r = find_both(t, n);
    if (r < 0)
        return r;
    if (n->id == n->there)
        return n->flags & TREE_NOREPLACE ? ERR_EXISTS : 0;
    r = check_circles(t, n);
    if (r == 0)
        r = check_replaced(t, n);
    if (r == 0)
        r = check_up(t, n->from.parent);
    if (r == 0)
        r = check_up(t, n->to.parent);
    struct change *c;
    if (r == 0)
        r = change_begin(t, CHANGE_BYTES + n->rec.target.len, CHANGE_ADDS, &c);
    if (r < 0)
        return r;
    move(c, n, now);
    change_submit(c);
    return 0;
}

int tree_rename(struct tree *t, struct tree_place from, struct tree_place to, unsigned flags, wall_ns now)
{
    if ((flags & ~(TREE_NOREPLACE | TREE_EXCHANGE)) || flags == (TREE_NOREPLACE | TREE_EXCHANGE))
        return ERR_INVALID;
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    struct renaming n = {.from = from, .to = to, .flags = flags};
    r = rename_node(t, &n, now);
    store_read_end(t->reader);
    return r;
}

/* ---- attributes and content ---- */

static int set_attr(struct tree *t, uint64_t id, const struct tree_attr *a, wall_ns now)
{
    struct tree_record rec;
    struct change *c;
    int r = view_node(t, id, &rec);
    if (r == 0)
        r = change_begin(t, CHANGE_BYTES + rec.target.len, CHANGE_ADDS, &c);
    if (r < 0)
        return r;
    if (a->set_mode)
        rec.mode = a->mode & 07777;
    if (a->set_mtime)
        rec.mtime = a->mtime;
    rec.ctime = now;
    edit_put_node(c, id, &rec);
    change_submit(c);
    return 0;
}

int tree_setattr(struct tree *t, uint64_t id, const struct tree_attr *a, wall_ns now)
{
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = set_attr(t, id, a, now);
    store_read_end(t->reader);
    return r;
}

static int set_content(struct tree *t, uint64_t id, const struct tree_content *to, wall_ns now)
{
    struct tree_record rec;
    struct change *c;
    int r = view_node(t, id, &rec);
    if (r < 0)
        return r;
    if (rec.type != TREE_FILE)
        return rec.type == TREE_DIR ? ERR_IS_DIR : ERR_INVALID;
    r = check_up(t, rec.parent);
    if (r == 0)
        r = change_begin(t, CHANGE_BYTES, to->root.size > 0 ? CHANGE_ADDS : CHANGE_REMOVES, &c);
    if (r < 0)
        return r;
    struct tree_former old = {.mtime = rec.mtime, .content = rec.content};
    rec.content = to->root.size > 0 ? to->root : (struct unixfs_root){.size = 0}; /* the empty file needs no block */
    c->guard = to->root.size > 0 || to->gives_up ? store_guard_ref(to->guard) : NULL;
    rec.mtime = to->mtime ? *to->mtime : now;
    rec.ctime = now;
    if (!cid_eq(&old.content.cid, &rec.content.cid)) {
        if (rec.content.cid.len > 0) /* first: what both have in common is never without reference */
            change_ref(c, &rec.content.cid);
        change_parts(c, id, &old);
        mark_dirty(c, rec.parent);
    }
    edit_put_node(c, id, &rec);
    change_submit(c);
    return 0;
}

int edit_take_back(struct tree *t, uint64_t id, const struct tree_former *f)
{
    struct tree_key key = tree_key_id(t->id, RECORD_FORMER, id);
    struct tree_record rec;
    struct change *c;
    int r = view_node(t, id, &rec);
    if (r == 0)
        r = check_up(t, rec.type == TREE_DIR ? id : rec.parent);
    if (r == 0)
        r = change_begin(t, CHANGE_BYTES, CHANGE_LETS_GO, &c);
    if (r < 0)
        return r;
    mark_dirty(c, rec.type == TREE_DIR ? id : rec.parent);
    if (rec.type == TREE_FILE) { /* it has the reference that the former one had */
        if (!cid_is_none(&rec.content.cid))
            change_unref(c, &rec.content.cid);
        rec.content = f->content;
        rec.mtime = f->mtime;
        edit_put_node(c, id, &rec);
    }
    change_del(c, &key);
    change_submit(c);
    return 0;
}

int tree_set_content(struct tree *t, uint64_t id, const struct tree_content *to, wall_ns now)
{
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = set_content(t, id, to, now);
    store_read_end(t->reader);
    return r;
}
