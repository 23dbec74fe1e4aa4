/* SPDX-License-Identifier: MIT
 *
 * Directory DAGs. Directories are made one at a time, those below before those above, each from one state of the tree: when it,
 * or anything below it, changes before it is made, it is begun anew. A directory is made only when all below it are up to date,
 * so the root that comes out is the tree as it was at a moment, not a mix.
 *
 * A call does a little; the next one goes on there, whatever it was called for: two that ask for large directories would else
 * undo each other's work. */
#include "store/tree/tree_state.h"

#include "store/tree/tempname.h"
#include "store/unixfs/dir_builder.h"
#include "store/unixfs/emit.h"

#include <stdlib.h>

#define BUILDER_MEMORY (UINT32_C(8) << 20) /* at most, and no more than this part of the budget: */
#define BUILDER_PART   16
#define SYMLINK_MOST   (TREE_TARGET_MAX + 64) /* bytes of a symlink's block */
#define CALL_WORK      UINT64_C(2000)         /* after so much, let others have the thread: 3 ms */
#define SPOILT_MOST    11
#define STEP_ENTRIES   128 /* that the builder takes in a call */

/* A directory that is to be made when those below it are. */
struct frame {
    uint64_t dir;
    uint64_t looked; /* entries up to this one were looked at: directories among them are made */
    bool ready;      /* all were */
};

static size_t depth(const struct publishing *p)
{
    return buf_len(&p->stack) / sizeof(struct frame);
}

static struct frame *frame_at(const struct publishing *p, size_t i)
{
    return (struct frame *)(uintptr_t)buf_span(&p->stack).data + i;
}

static struct frame *top_of(const struct publishing *p)
{
    return frame_at(p, depth(p) - 1);
}

static void pop(struct publishing *p)
{
    buf_truncate(&p->stack, (depth(p) - 1) * sizeof(struct frame));
}

static int push(struct publishing *p, uint64_t dir)
{
    if (!buf_try_reserve(&p->stack, sizeof(struct frame)))
        return ERR_NO_MEMORY;
    buf_add(&p->stack, &(struct frame){.dir = dir}, sizeof(struct frame));
    return 0;
}

/* What was made of the directory that is begun */
static void drop_begun(struct publishing *p)
{
    unixfs_dir_builder_free(p->builder);
    *p = (struct publishing){.stack = p->stack, .sink = p->sink, .spoilt = p->spoilt};
}

void publishing_reset(struct publishing *p)
{
    drop_begun(p);
    buf_done(&p->stack);
    *p = (struct publishing){.dir = 0};
}

void publishing_touched(struct tree *t, uint64_t dir)
{
    struct publishing *p = &t->publishing;
    for (size_t i = 0; i < depth(p); i++) {
        struct frame *f = frame_at(p, i);
        if (f->dir != dir)
            continue;
        p->spoilt += f->looked > 0;
        *f = (struct frame){.dir = dir};
    }
    if (p->dir == dir)
        drop_begun(p);
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
    struct publishing *p;
    uint64_t work; /* done in this call */
    uint64_t most;
};

#define WORK_DIR   20
#define WORK_ENTRY 4 /* that is given to the builder, or taken by it; 1: looked at */

/* Calls `each` with every entry behind *from that is published, and sets *from, until enough was done in this call or `each`
 * gives something else than 0. 0: that was all; ERR_BUSY; what `each` gave. */
static int each_entry(struct publish *m, uint64_t dir, uint64_t *from,
                      int (*each)(struct publish *m, uint64_t id, enum tree_type type, struct span name))
{
    struct tree_key prefix = tree_key_id(m->tree->id, RECORD_LISTED, dir);
    struct tree_key begin = tree_key_listed(m->tree->id, dir, *from + 1);
    struct scan s;
    struct span key, value, name;
    enum tree_type type;
    int r = scan_begin(&s, m->tree, &prefix, &begin);
    while (r == 0 && (r = scan_next(&s, &key, &value)) == 1) {
        r = m->work < m->most ? listed_parse(value, &type, &name) : ERR_BUSY;
        if (r < 0)
            break;
        m->work++;
        if (!tempname(name))
            r = each(m, tree_key_tail(key), type, name);
        if (r >= 0)
            *from = tree_key_tail(key);
        if (r != 0)
            break;
    }
    scan_end(&s);
    return r;
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

static int add_entry(struct publish *m, uint64_t id, enum tree_type type, struct span name)
{
    struct tree_record rec;
    struct unixfs_root root;
    int r = view_node(m->tree, id, &rec);
    if (r < 0)
        return r;
    m->work += WORK_ENTRY;
    if (type == TREE_DIR)
        root = rec.content;
    else
        r = leaf_root(&rec, NULL, &root);
    if (r == 0 && cid_is_none(&root.cid))
        r = ERR_CORRUPT;
    return r < 0 ? r : unixfs_dir_builder_add(m->p->builder, name, &root.cid, root.tsize);
}

/* Of a folder that needs more the entries are said several times. */
static size_t builder_memory(const struct tree *t)
{
    uint64_t part = t->budget ? budget_limit(t->budget) / BUILDER_PART : BUILDER_MEMORY;
    return part < UNIXFS_DIR_MEMORY_MIN ? UNIXFS_DIR_MEMORY_MIN : part < BUILDER_MEMORY ? (size_t)part : BUILDER_MEMORY;
}

static void begin(struct publish *m, uint64_t dir)
{
    struct publishing *p = m->p;
    drop_begun(p);
    p->dir = dir;
    p->number = ++m->tree->publish_count;
    p->builder = unixfs_dir_builder_new(&(struct unixfs_dir_options){.sink = p->sink,
                                                                     .memory_max = builder_memory(m->tree),
                                                                     .step = p->sink ? STEP_ENTRIES : 0,
                                                                     .entry = p->sink ? emit_made : NULL,
                                                                     .arg = m->tree});
}

/* 0: it is made. */
static int build(struct publish *m)
{
    struct publishing *p = m->p;
    int r = 0;
    while (r == 0 && !p->is_made) {
        if (!p->all_added)
            r = each_entry(m, p->dir, &p->added, add_entry);
        p->all_added |= r == 0;
        if (r < 0)
            break;
        do {
            m->work += STEP_ENTRIES * WORK_ENTRY;
            r = unixfs_dir_builder_finish(p->builder, &p->made.cid, &p->made.tsize);
        } while (r == UNIXFS_DIR_STEP && m->work < m->most);
        r = r == UNIXFS_DIR_STEP ? ERR_BUSY : r;
        p->is_made = r == 0;
        if (r == 1) { /* it is larger than the builder's memory: all once more */
            p->added = 0;
            p->all_added = false;
            r = 0;
        }
    }
    return r;
}

/* The directory's record says what it is now. With a sink its blocks exist, and are referred to. */
static int settle(struct publish *m, struct tree_record *rec)
{
    struct change *c;
    struct publishing *p = m->p;
    int r = change_begin(m->tree, CHANGE_BYTES, CHANGE_ADDS, &c);
    if (r < 0)
        return r;
    rec->content = p->made;
    rec->flags = p->sink ? RECORD_REFERS : 0;
    if (p->sink) {
        change_ref(c, &rec->content.cid);
        change_parts(c, p->dir, &(struct tree_former){.mtime = rec->mtime});
        c->guard = store_guard_ref(m->tree->published);
        c->passes = true; /* nobody asked for it: an operation of somebody else should not wait */
    }
    edit_put_node(c, p->dir, rec);
    change_submit(c);
    drop_begun(p);
    return 0;
}

/* ---- all that are needed ---- */

static bool usable(const struct tree_record *rec, const struct block_sink *sink)
{
    return !(rec->flags & RECORD_DIRTY) && (!sink || (rec->flags & RECORD_REFERS));
}

/* 1: it is a directory that must be made before */
static int must_be_made(struct publish *m, uint64_t id, enum tree_type type, struct span name)
{
    struct tree_record rec;
    (void)name;
    int r = type == TREE_DIR ? view_node(m->tree, id, &rec) : 0;
    if (r < 0 || type != TREE_DIR || usable(&rec, m->p->sink))
        return r;
    r = push(m->p, id);
    return r < 0 ? r : 1;
}

/* What is begun is kept for the next call. */
static bool goes_on(int err)
{
    return err == ERR_AGAIN || err == ERR_BUSY;
}

/* The directory on top of the stack comes closer to being made. 0, or why it does not. */
static int step(struct publish *m)
{
    struct publishing *p = m->p;
    struct frame *f = top_of(p);
    struct tree_record rec;
    uint64_t dir = f->dir, looked = f->looked;
    int r = view_node(m->tree, dir, &rec);
    m->work += WORK_DIR;
    if (r == ERR_STALE || (r == 0 && usable(&rec, p->sink))) {
        if (p->dir == dir)
            drop_begun(p);
        pop(p);
        p->spoilt = depth(p) > 0 ? p->spoilt : 0;
        return 0;
    }
    if (r == 0 && !f->ready) {
        size_t i = depth(p) - 1;
        r = each_entry(m, dir, &looked, must_be_made);
        f = frame_at(p, i); /* one was pushed, perhaps */
        f->looked = looked;
        f->ready = r == 0;
        if (r != 0)
            return r < 0 ? r : 0;
    }
    if (r == 0 && p->dir != dir)
        begin(m, dir);
    if (r == 0)
        r = build(m);
    if (r == 0)
        r = settle(m, &rec);
    if (r < 0 && !goes_on(r))
        drop_begun(p);
    return r;
}

/* In steps, each a few milliseconds. One that is changed all the time gets longer ones, until it is made in one. */
static uint64_t work_most(const struct publishing *p)
{
    return p->spoilt < SPOILT_MOST ? CALL_WORK << p->spoilt : UINT64_MAX;
}

static int publish_dir(struct tree *t, uint64_t id, struct block_sink *sink, struct unixfs_root *ret)
{
    struct publish m = {.tree = t, .p = &t->publishing};
    if (m.p->sink != sink)
        publishing_reset(m.p);
    m.p->sink = sink;
    m.most = work_most(m.p);
    for (;;) {
        struct tree_record rec;
        int r = view_node(t, id, &rec);
        if (r == 0 && usable(&rec, sink))
            *ret = rec.content;
        if (r < 0 || usable(&rec, sink))
            return r;
        if (depth(m.p) == 0) /* else what somebody asked for before is made first */
            r = push(m.p, id);
        if (r == 0)
            r = m.work < m.most ? step(&m) : ERR_BUSY;
        if (r < 0) {
            if (!goes_on(r))
                publishing_reset(m.p);
            return r;
        }
    }
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
