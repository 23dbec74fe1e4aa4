/* SPDX-License-Identifier: MIT
 *
 * /v1/cat, /v1/ls, /v1/stat, /v1/cid: what a path holds. Steps of tasks: they run again when blocks came. */
#include "cmd/daemon/api.h"

#include "store/base/mapfault.h"
#include "store/block/pin.h"
#include "store/unixfs/reader.h"
#include "store/unixfs/unixfs_node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CAT_PIECE   (UINT32_C(1) << 20) /* one write to the client; the next when it has left */
#define CAT_AHEAD   (UINT64_C(16) << 20)
#define CAT_SPANS   64
#define LS_PAGE     1000
#define LS_PAGE_MAX 10000
#define LS_BYTES    (UINT32_C(64) << 10) /* a piece of a page; the next when it has left */

/* ---- cat ---- */

struct cat {
    struct task task;
    struct target target;
    struct unixfs_file *file; /* NULL until the path is resolved */
    uint64_t offset, end;     /* end: UINT64_MAX until the size is known */
    bool sized;
};

static void cat_done(struct task *t)
{
    struct cat *c = (struct cat *)t;
    target_done(&c->target);
    unixfs_file_free(c->file);
    free(c);
}

static int cat_open(struct cat *c)
{
    struct cid cid;
    uint64_t size;
    char text[CID_TEXT_SIZE];
    int r = 0;
    if (!c->file) {
        r = target_resolve(&c->target, &cid, NULL);
        if (r != 0)
            return r;
        c->task.root = cid;
        c->file = unixfs_file_new(&cid);
    }
    r = unixfs_file_size(c->file, task_source(&c->task), &size);
    if (r == ERR_IS_DIR)
        return why_set(&c->task.why, r, "%s is a directory", c->task.q->what);
    if (r == ERR_INVALID)
        return why_set(&c->task.why, ERR_UNSUPPORTED, "%s is not a file; p2p stat tells what it is", c->task.q->what);
    if (r < 0)
        return r;
    c->sized = true;
    if (c->offset > size)
        c->offset = size;
    if (c->end > size)
        c->end = size;
    snprintf(text, sizeof text, "%" PRIu64, size);
    ctl_header(c->task.q, "X-P2P-Size", text);
    ctl_header(c->task.q, "X-P2P-Cid", cid_text(unixfs_file_root(c->file), text));
    return 0;
}

static void cat_ahead(struct cat *c)
{
    struct cid cids[TASK_AHEAD_MAX];
    struct read_range range = {c->offset, c->end - c->offset > CAT_AHEAD ? c->offset + CAT_AHEAD : c->end};
    int n = unixfs_read_ahead(c->file, task_source(&c->task), range, cids, TASK_AHEAD_MAX);
    if (n > 0)
        task_want_ahead(&c->task, cids, (unsigned)n);
}

static int cat_step(struct task *t)
{
    struct cat *c = (struct cat *)t;
    int r = c->sized ? 0 : cat_open(c);
    if (r != 0)
        return r;
    if (c->offset >= c->end) {
        ctl_begin(t->q, "application/octet-stream");
        ctl_end(t->q);
        return TASK_ANSWERED;
    }
    struct span spans[CAT_SPANS];
    struct read_spans out = {.spans = spans, .max = CAT_SPANS};
    uint64_t left = c->end - c->offset;
    size_t piece = ctl_piece(t->q, CAT_PIECE);
    r = unixfs_read(c->file, task_source(t), c->offset, left < piece ? (size_t)left : piece, &out);
    if (r == 0 || r == ERR_MISSING)
        cat_ahead(c);
    if (r < 0 && !(r == ERR_MISSING && out.bytes))
        return r;
    if (out.bytes == 0)
        return why_set(&t->why, ERR_CORRUPT, "%s ends before its size", t->q->what);
    ctl_begin(t->q, "application/octet-stream");
    unsigned wrote = 0;
    bool here = true;
    for (; wrote < out.count && (here = mapfault_look(spans[wrote])) && ctl_write(t->q, spans[wrote]); wrote++)
        c->offset += spans[wrote].len;
    if (!here)
        return ERR_IO;
    if (wrote == 0)
        return ERR_NO_MEMORY; /* nothing is on its way, whose leaving would wake us */
    t->progress = mono_now();
    return TASK_WAIT;
}

void api_cat(struct ctl_request *q)
{
    uint64_t offset = 0, length = UINT64_MAX;
    struct target target;
    if (ctl_u64(q, "offset", &offset) < 0 || ctl_u64(q, "length", &length) < 0 || !target_begin(&target, q))
        return;
    struct cat *c = MEM_NEW(struct cat);
    c->target = target;
    c->offset = offset;
    c->end = length < UINT64_MAX - offset ? offset + length : UINT64_MAX;
    task_start(&c->task, q, cat_step, cat_done);
    target_ask(&c->target, &c->task);
}

/* ---- what a node is ---- */

static const char *type_text(const struct unixfs_node *n)
{
    return unixfs_is_dir(n) ? "directory" : n->type == UNIXFS_SYMLINK ? "symlink" : "file";
}

static void set_text(json_t *v, const char *key, struct span s)
{
    json_t *text = json_stringn((const char *)s.data, s.len);
    if (!text) { /* not UTF-8: JSON cannot carry it; percent-encoded under another key */
        struct buf out = BUF_INIT;
        for (size_t i = 0; i < s.len; i++)
            buf_printf(&out, "%%%02X", s.data[i]);
        char other[32];
        snprintf(other, sizeof other, "%s_encoded", key);
        json_object_set_new(v, other, json_string(buf_cstr(&out)));
        buf_done(&out);
        return;
    }
    json_object_set_new(v, key, text);
}

static void set_node(json_t *v, const struct unixfs_node *n)
{
    json_object_set_new(v, "type", json_string(type_text(n)));
    if (n->type == UNIXFS_SYMLINK)
        set_text(v, "target", n->data);
    if (!unixfs_is_dir(n))
        json_object_set_new(v, "size", json_integer((json_int_t)n->file_size));
    if (n->meta.has_mode) {
        char mode[16];
        snprintf(mode, sizeof mode, "%04o", n->meta.mode & 07777u);
        json_object_set_new(v, "mode", json_string(mode));
    }
    if (n->meta.has_mtime) {
        char when[WALL_TEXT_SIZE];
        int64_t s = n->meta.mtime_seconds;
        bool fits = s > -8000000000 && s < 8000000000; /* what 64 bits of nanoseconds hold */
        json_object_set_new(v, "mtime", json_string(fits ? wall_text(s * (wall_ns)MONO_S, when) : "-"));
    }
}

/* ---- ls ---- */

struct ls {
    struct task task;
    struct target target;
    struct cid dir;
    bool resolved, resolve;
    uint64_t cursor, limit;
    struct buf out;      /* a piece of the page */
    uint64_t rows, sent; /* of the page; without that piece */
    bool stopped;
    int row_error;
};

static void ls_done(struct task *t)
{
    struct ls *l = (struct ls *)t;
    target_done(&l->target);
    buf_done(&l->out);
    free(l);
}

static int ls_entry(void *arg, const struct unixfs_entry *e, uint64_t next)
{
    struct ls *l = arg;
    char cid[CID_TEXT_SIZE];
    struct unixfs_node node;
    struct span block;
    (void)next;
    if (l->rows >= l->limit || buf_len(&l->out) >= LS_BYTES)
        return 1;
    bool look = !e->known_file && (l->resolve || source_has(task_source(&l->task), &e->cid));
    int r = look ? source_get(task_source(&l->task), &e->cid, &block) : 0;
    if (r == ERR_MISSING) { /* go on, so that the others that are missing are noted too; but take no more */
        l->row_error = r;
        return 0;
    }
    if (r < 0 || l->row_error)
        return r;
    json_t *v = json_object();
    set_text(v, "name", e->name);
    json_object_set_new(v, "cid", json_string(cid_text(&e->cid, cid)));
    if (e->known_file) {
        json_object_set_new(v, "type", json_string("file"));
        json_object_set_new(v, "size", json_integer((json_int_t)e->tsize));
    } else if (look && unixfs_parse(&e->cid, block, &node) == 0) {
        set_node(v, &node);
    }
    json_object_set_new(v, "dag_size", json_integer((json_int_t)e->tsize));
    l->rows++;
    return ctl_page_add(&l->out, v);
}

static int ls_step(struct task *t)
{
    struct ls *l = (struct ls *)t;
    int r = l->resolved ? 0 : target_resolve(&l->target, &l->dir, NULL);
    if (r != 0)
        return r;
    l->resolved = true;
    t->root = l->dir;
    uint64_t cursor = l->cursor;
    buf_clear(&l->out); /* a piece is made in one run, from its beginning: what came is held now */
    l->rows = l->sent;
    l->row_error = 0;
    r = unixfs_dir_list(task_source(t), &l->dir, &cursor, ls_entry, l);
    if (r >= 0 && l->row_error)
        r = l->row_error;
    if (r == ERR_NOT_DIR)
        return why_set(&t->why, r, "%.200s is not a directory", ctl_param(t->q, "path"));
    bool more = r == 1 && l->rows < l->limit;
    if (r == 1 && !more)
        r = ctl_page_add(&l->out, json_pack("{sI}", "next", (json_int_t)cursor));
    if (r < 0)
        return r;
    ctl_begin(t->q, "application/x-ndjson");
    if (!ctl_write(t->q, buf_span(&l->out)))
        return ERR_NO_MEMORY;
    l->cursor = cursor;
    l->sent = l->rows;
    t->progress = mono_now();
    if (more)
        return TASK_WAIT;
    ctl_end(t->q);
    return TASK_ANSWERED;
}

void api_ls(struct ctl_request *q)
{
    uint64_t cursor = 0, limit = LS_PAGE;
    struct target target;
    if (ctl_u64(q, "cursor", &cursor) < 0 || ctl_u64(q, "limit", &limit) < 0)
        return;
    if (limit == 0 || limit > LS_PAGE_MAX || cursor > UNIXFS_CURSOR_MAX) {
        ctl_fail(q, ERR_INVALID, NULL, "limit is 1 to %d, cursor what the page before said", LS_PAGE_MAX);
        return;
    }
    if (!target_begin(&target, q))
        return;
    struct ls *l = MEM_NEW(struct ls);
    l->target = target;
    l->cursor = cursor;
    l->limit = ctl_flag(q, "resolve") && limit > 256 ? 256 : limit;
    l->resolve = ctl_flag(q, "resolve");
    task_start(&l->task, q, ls_step, ls_done);
    target_ask(&l->target, &l->task);
}

/* ---- stat, cid ---- */

struct stat_task {
    struct task task;
    struct target target;
    bool cid_only;
};

static void stat_done(struct task *t)
{
    struct stat_task *s = (struct stat_task *)t;
    target_done(&s->target);
    free(s);
}

static void set_block(json_t *v, const struct cid *cid, struct span block)
{
    struct unixfs_node n;
    json_object_set_new(v, "block_size", json_integer((json_int_t)block.len));
    if (unixfs_parse(cid, block, &n) < 0) {
        json_object_set_new(v, "type", json_string("block"));
        json_object_set_new(v, "size", json_integer((json_int_t)block.len));
        json_object_set_new(v, "dag_size", json_integer((json_int_t)block.len));
        return;
    }
    set_node(v, &n);
    uint64_t total = block.len, links = 0;
    struct dagpb_iter it = dagpb_iter(&n.pb); /* empty for raw blocks */
    struct dagpb_link link;
    for (; dagpb_next(&it, &link); links++)
        total = link.tsize > UINT64_MAX - total ? UINT64_MAX : total + link.tsize;
    json_object_set_new(v, "links", json_integer((json_int_t)links));
    json_object_set_new(v, "dag_size", json_integer((json_int_t)total));
}

static int stat_step(struct task *t)
{
    struct stat_task *s = (struct stat_task *)t;
    struct cid cid;
    struct span block;
    char text[CID_TEXT_SIZE];
    int r = target_resolve(&s->target, &cid, NULL);
    if (r != 0)
        return r;
    json_t *v = json_pack("{ss}", "cid", cid_text(&cid, text));
    if (!s->cid_only) {
        r = source_get(task_source(t), &cid, &block);
        if (r < 0) {
            json_decref(v);
            return r;
        }
        struct pin pin;
        set_text(v, "path", span_str(ctl_param(t->q, "path")));
        set_block(v, &cid, block);
        json_object_set_new(v, "pinned", json_boolean(store_pin_get(t->d->reader, &cid, &pin) == 0));
    }
    ctl_json(t->q, v);
    return TASK_ANSWERED;
}

static void start_stat(struct ctl_request *q, bool cid_only)
{
    struct target target;
    if (!target_begin(&target, q))
        return;
    struct stat_task *s = MEM_NEW(struct stat_task);
    s->target = target;
    s->cid_only = cid_only;
    task_start(&s->task, q, stat_step, stat_done);
    target_ask(&s->target, &s->task);
}

void api_stat(struct ctl_request *q)
{
    start_stat(q, false);
}

void api_cid(struct ctl_request *q)
{
    start_stat(q, true);
}
