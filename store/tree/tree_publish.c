/* SPDX-License-Identifier: MIT
 *
 * Directory DAGs. Directories are made one at a time, those below before those above, each within one call and so from one
 * state of the tree; a directory is made only when all below it are up to date at that moment, so the root that comes out is
 * the tree as it is then, not a mix. A change in between makes its directories dirty again, and they are made again.
 *
 * When the sink has no room in the middle of a directory, the next call goes on there, whatever it was called for: two that
 * ask for large directories would else undo each other's work. Those below it are up to date as long as it was not touched. */
#include "store/tree/tree_state.h"

#include "store/tree/tempname.h"
#include "store/unixfs/dir_builder.h"
#include "store/unixfs/emit.h"

#include <stdlib.h>

#define BUILDER_MEMORY (UINT32_C(8) << 20) /* at most, and no more than this part of the budget: */
#define BUILDER_PART   16
#define SYMLINK_MOST   (TREE_TARGET_MAX + 64) /* bytes of a symlink's block */
#define CALL_ENTRIES   50000                  /* after so many, let others have the thread */

void publishing_reset(struct publishing *p)
{
    unixfs_dir_builder_free(p->builder);
    *p = (struct publishing){.dir = 0};
}

void publishing_touched(struct tree *t, uint64_t dir)
{
    if (t->publishing.dir == dir)
        publishing_reset(&t->publishing);
}

/* ---- blocks that entries need ---- */

/* The DAG of a file or symlink; made blocks go to the sink (NULL: none are wanted). */
static int leaf_root(const struct tree_record *rec, struct block_sink *sink, struct unixfs_root *ret)
{
    if (rec->type == TREE_FILE && !cid_is_none(&rec->content.cid)) {
        *ret = rec->content;
        return 0;
    }
    struct buf bytes = BUF_INIT;
    struct unixfs_root made = {.size = rec->content.size};
    if (rec->type == TREE_SYMLINK)
        unixfs_add_symlink(&bytes, rec->target, NULL);
    made.tsize = buf_len(&bytes);
    cid_of(&made.cid, rec->type == TREE_SYMLINK ? CODEC_DAG_PB : CODEC_RAW, buf_span(&bytes));
    int r = emit_known(sink, BUDGET_STORE, &made.cid, buf_span(&bytes));
    buf_done(&bytes);
    if (r == 0)
        *ret = made;
    return r;
}

/* ---- one directory ---- */

struct publish {
    struct tree *tree;
    struct block_sink *sink;
    uint64_t dir;
    uint64_t seen; /* entries looked at in this call */
    struct publishing *p;
};

/* Calls `each` with every entry that is published. 0 or what `each` gave. */
static int each_entry(struct publish *m, int (*each)(struct publish *m, uint64_t id, struct span name))
{
    struct tree_key prefix = tree_key_id(m->tree->id, RECORD_LISTED, m->dir);
    struct scan s;
    struct span key, value, name;
    enum tree_type type;
    int r = scan_begin(&s, m->tree, &prefix, &prefix);
    while (r == 0 && (r = scan_next(&s, &key, &value)) == 1) {
        r = listed_parse(value, &type, &name);
        if (r == 0 && !tempname(name))
            r = each(m, tree_key_tail(key), name);
    }
    scan_end(&s);
    return r < 0 ? r : 0;
}

/* Of an entry that has no blocks yet: a symlink, or an empty file (once is enough). It is looked for by its name when it may
 * be one: files of dag-pb are larger. */
static int emit_made(void *arg, struct span name, const struct cid *cid, uint64_t tsize)
{
    struct tree *t = arg;
    struct publishing *p = &t->publishing;
    struct tree_record rec;
    struct unixfs_root ignored;
    uint64_t id;
    bool empty = cid_codec(cid) == CODEC_RAW && tsize == 0;
    if (empty ? p->empty_file : cid_codec(cid) != CODEC_DAG_PB || tsize > SYMLINK_MOST)
        return 0;
    int r = view_entry(t, (struct tree_place){p->dir, name}, &id);
    if (r == 0)
        r = view_node(t, id, &rec);
    if (r == 0 && (empty || rec.type == TREE_SYMLINK))
        r = leaf_root(&rec, p->sink, &ignored);
    if (r == 0)
        p->empty_file |= empty;
    return r;
}

static int add_entry(struct publish *m, uint64_t id, struct span name)
{
    struct tree_record rec;
    struct unixfs_root root;
    int r = view_node(m->tree, id, &rec);
    if (r < 0)
        return r;
    if (rec.type == TREE_DIR)
        root = rec.content;
    else
        r = leaf_root(&rec, NULL, &root);
    return r < 0 ? r : unixfs_dir_builder_add(m->p->builder, name, &root.cid, root.tsize);
}

/* Of a folder that needs more the entries are said several times. */
static size_t builder_memory(const struct tree *t)
{
    uint64_t part = t->budget ? budget_limit(t->budget) / BUILDER_PART : BUILDER_MEMORY;
    return part < UNIXFS_DIR_MEMORY_MIN ? UNIXFS_DIR_MEMORY_MIN : part < BUILDER_MEMORY ? (size_t)part : BUILDER_MEMORY;
}

static bool is_begun(const struct publish *m)
{
    return m->p->dir == m->dir && m->p->sink == m->sink;
}

/* 0: it is made. */
static int build(struct publish *m)
{
    struct publishing *p = m->p;
    if (!is_begun(m)) {
        publishing_reset(p);
        p->dir = m->dir;
        p->number = ++m->tree->publish_count;
        p->sink = m->sink;
    }
    int r = 0;
    if (p->is_made)
        return 0;
    if (!p->builder) {
        p->builder = unixfs_dir_builder_new(&(struct unixfs_dir_options){
            .sink = m->sink, .memory_max = builder_memory(m->tree), .entry = m->sink ? emit_made : NULL, .arg = m->tree});
        r = each_entry(m, add_entry);
    }
    while (r == 0 && (r = unixfs_dir_builder_finish(p->builder, &p->made.cid, &p->made.tsize)) == 1)
        r = each_entry(m, add_entry); /* it is larger than the builder's memory */
    p->is_made = r == 0;
    if (r == 0)
        p->builder = unixfs_dir_builder_free(p->builder);
    else if (r != ERR_AGAIN)
        publishing_reset(p);
    return r;
}

/* The directory's record says what it is now. With a sink its blocks exist, and are referred to. */
static int settle(struct publish *m, struct tree_record *rec)
{
    struct change *c;
    int r = change_begin(m->tree, CHANGE_BYTES, CHANGE_ADDS, &c);
    if (r < 0)
        return r;
    rec->content = m->p->made;
    rec->flags = m->sink ? RECORD_REFERS : 0;
    if (m->sink) {
        change_ref(c, &rec->content.cid);
        change_parts(c, m->dir, &(struct tree_former){.mtime = rec->mtime});
        c->guard = store_guard_ref(m->tree->published);
    }
    edit_put_node(c, m->dir, rec);
    change_submit(c);
    publishing_reset(m->p);
    return 0;
}

/* ---- all that are needed ---- */

static bool usable(const struct tree_record *rec, const struct block_sink *sink)
{
    return !(rec->flags & RECORD_DIRTY) && (!sink || (rec->flags & RECORD_REFERS));
}

/* Directories right below `dir` that must be made before it go onto the stack. */
static int push_needed(struct publish *m, struct buf *stack)
{
    struct tree_key prefix = tree_key_id(m->tree->id, RECORD_LISTED, m->dir);
    struct scan s;
    struct span key, value, name;
    enum tree_type type;
    int r = scan_begin(&s, m->tree, &prefix, &prefix);
    while (r == 0 && (r = scan_next(&s, &key, &value)) == 1) {
        struct tree_record rec;
        uint64_t id = tree_key_tail(key);
        m->seen++;
        r = listed_parse(value, &type, &name);
        if (r < 0 || type != TREE_DIR || tempname(name))
            continue;
        r = view_node(m->tree, id, &rec);
        if (r == 0 && !usable(&rec, m->sink)) {
            if (buf_try_reserve(stack, sizeof id)) /* as many as it has */
                buf_add(stack, &id, sizeof id);
            else
                r = ERR_NO_MEMORY;
        }
    }
    scan_end(&s);
    return r < 0 ? r : 0;
}

/* Makes the directory on top of the stack, or puts those on top of it that it needs first. 1: made; 0: put; <0. */
static int work_top(struct publish *m, struct buf *stack)
{
    size_t len = buf_len(stack);
    memcpy(&m->dir, buf_span(stack).data + len - sizeof m->dir, sizeof m->dir);
    struct tree_record rec;
    int r = view_node(m->tree, m->dir, &rec);
    bool done = r == 0 && usable(&rec, m->sink);
    if (r == 0 && !done && !is_begun(m))
        r = push_needed(m, stack);
    if (r < 0 || buf_len(stack) > len)
        return r;
    if (!done)
        r = build(m);
    if (r == 0 && !done)
        r = settle(m, &rec);
    if (r < 0)
        return r;
    buf_truncate(stack, len - sizeof m->dir);
    return 1;
}

static int publish_dir(struct tree *t, uint64_t id, struct block_sink *sink, struct unixfs_root *ret)
{
    struct publish m = {.tree = t, .sink = sink, .p = &t->publishing};
    struct buf stack = BUF_INIT;
    struct tree_record rec;
    int r = 0;
    buf_add(&stack, &id, sizeof id);
    if (m.p->dir && m.p->dir != id && m.p->sink == sink)
        buf_add(&stack, &m.p->dir, sizeof m.p->dir);
    while (r >= 0 && buf_len(&stack) > 0) {
        r = work_top(&m, &stack);
        /* Only after one was made: a call that ends has brought the next one closer. */
        if (r == 1 && m.seen > CALL_ENTRIES && buf_len(&stack) > 0)
            r = ERR_AGAIN;
    }
    buf_done(&stack);
    if (r < 0 && r != ERR_AGAIN)
        publishing_reset(m.p);
    if (r >= 0)
        r = view_node(t, id, &rec);
    if (r == 0)
        *ret = rec.content;
    return r;
}

struct store_guard *tree_publish_guard(struct tree *t)
{
    return t->published;
}

uint64_t tree_publishing(const struct tree *t)
{
    return t->publishing.number;
}

int tree_publish(struct tree *t, uint64_t id, struct block_sink *sink, struct unixfs_root *ret)
{
    struct tree_record rec;
    int r = store_read_begin(t->reader);
    if (r < 0)
        return r;
    r = view_node(t, id, &rec);
    if (r == 0 && rec.type == TREE_DIR)
        r = publish_dir(t, id, sink, ret);
    else if (r == 0)
        r = leaf_root(&rec, sink, ret);
    store_read_end(t->reader);
    return r;
}
