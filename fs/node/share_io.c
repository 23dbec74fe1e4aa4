/* SPDX-License-Identifier: MIT
 *
 * Contents of files in share/: open, read, write, close, truncate, fsync, copy. */
#include "fs/node/share_io.h"

#include "fs/node/gather.h"

#include <fcntl.h>
#include <linux/falloc.h>

static bool writes(unsigned flags)
{
    return (flags & O_ACCMODE) != O_RDONLY;
}

/* May `bytes` more be written? While the disk fails one write a second goes through to find out whether it is over. */
static int room_for(struct mount *m, uint64_t bytes)
{
    struct blockstore_stats s;
    blockstore_stats(m->o.store, &s);
    int fault = s.fault ? s.fault : tree_fault(m->share);
    if (fault < 0) {
        mono_ns now = mono_now();
        if (now < m->next_probe)
            return fault;
        m->next_probe = mono_after(now, MONO_S);
        return 0;
    }
    if (s.quota_bytes && s.live_bytes + m->unfinished + bytes > s.quota_bytes)
        return ERR_QUOTA;
    return 0;
}

struct handle *share_handle(struct mount *m, struct inode *i, const struct tree_node *n, unsigned flags)
{
    struct share_file *f = share_file_make(m, i, n);
    /* What is only written gains nothing from the page cache but a copy. While somebody writes past it everybody reads past it,
     * so that no page keeps what was there before. */
    bool direct = f->direct > 0 || (f->handles == 0 && (flags & O_ACCMODE) == O_WRONLY);
    f->handles++;
    f->writers += writes(flags);
    struct handle *h = handle_new(m, i, flags);
    h->direct = direct;
    f->direct += direct && writes(flags);
    return h;
}

/* Closing what is only written is not asked (OPEN_NO_FLUSH: a request less for each small file): write(2) has said already
 * what there was to say, and what the disk says afterwards is fsync's. Reads are cancelled by FLUSH (dag_cancel_left). While
 * the disk fails, close(2) is one more place to hear of it. */
unsigned share_open_flags(struct mount *m, const struct handle *h)
{
    struct blockstore_stats s;
    bool reads = (h->flags & O_ACCMODE) == O_RDWR;
    blockstore_stats(m->o.store, &s);
    bool silent = !reads && (!writes(h->flags) || (h->direct && s.fault == 0));
    return (h->direct ? OPEN_DIRECT : OPEN_KEEP) | (silent ? OPEN_NO_FLUSH : 0);
}

static void drop_handle(struct mount *m, struct handle *h)
{
    struct share_file *f = share_file_of(h->inode);
    bool last = writes(h->flags) && --f->writers == 0;
    f->handles--;
    f->direct -= h->direct && writes(h->flags);
    if (last && (f->handles == 0 || !share_file_is_gone(f))) /* run_finish looks whether one that nobody has open is gone */
        share_file_finish(f);
    handle_free(m, h);
}

int share_open(struct mount *m, struct request *r, struct inode *i)
{
    struct tree_node n;
    int rc = tree_get(m->share, share_id(i), &n);
    if (rc < 0)
        return rc;
    if (n.type != TREE_FILE)
        return n.type == TREE_DIR ? ERR_IS_DIR : ERR_LOOP;
    struct handle *h = share_handle(m, i, &n, r->flags);
    struct share_file *f = share_file_of(i);
    if ((r->flags & O_TRUNC) && share_file_size(f) > 0) {
        rc = editor_truncate(share_file_edit(f), 0);
        share_file_touched(f);
    } else if (r->flags & O_TRUNC) {
        rc = share_file_touch_time(f);
    }
    if ((r->flags & O_TRUNC) && f->writers == 0)
        share_file_finish(f); /* O_RDONLY | O_TRUNC empties too, and no writer will come to close it */
    if (rc < 0) {
        share_release_handle(m, h);
        return rc;
    }
    if (!request_open(r, (uint64_t)(uintptr_t)h, share_open_flags(m, h)))
        share_release_handle(m, h);
    return 0;
}

void share_release_handle(struct mount *m, struct handle *h)
{
    struct share_file *f = share_file_of(h->inode);
    struct inode *i = h->inode;
    inode_hold(i);
    drop_handle(m, h);
    f = share_file_of(i);
    if (f)
        share_file_let_go(f);
    inode_unhold(m->inodes, i);
}

int share_release(struct mount *m, struct request *r, struct inode *i)
{
    (void)i;
    struct handle *h = handle_of(r);
    request_error(r, 0);
    share_release_handle(m, h);
    return 0;
}

/* ---- reading ---- */

static int read_changed(void *editor, struct block_source *s, uint64_t offset, size_t len, struct read_spans *out)
{
    return editor_read(editor, s, offset, len, out);
}

static int read_editor(struct mount *m, struct request *r, struct share_file *f)
{
    struct span spans[REQUEST_SPANS_MAX];
    struct read_spans out = {.spans = spans, .max = REQUEST_SPANS_MAX};
    int rc = editor_read(f->editor, m->source, r->offset, r->size, &out);
    if (rc < 0)
        return rc;
    if (!out.more) {
        request_iov(r, spans, out.count);
        return 0;
    }
    return gather(m, r, &(struct gather_from){read_changed, f->editor});
}

int share_read(struct mount *m, struct request *r, struct inode *i)
{
    struct handle *h = handle_of(r);
    struct share_file *f = share_file_of(i);
    r->reads_content = true;
    r->root = &f->content.cid;
    if (f->editor)
        return read_editor(m, r, f);
    if (cid_is_none(&f->content.cid)) {
        request_data(r, SPAN_NONE);
        return 0;
    }
    if (!h->file || !cid_eq(unixfs_file_root(h->file), &f->content.cid)) { /* another handle wrote meanwhile */
        unixfs_file_free(h->file);
        h->file = unixfs_file_new(&f->content.cid);
    }
    uint64_t offset = r->offset;
    size_t size = r->size;
    int rc = dag_reply_spans(m, r, h);
    if (rc == ERR_MISSING || h->ahead.window > 0) /* a copy of content that is not all held */
        ahead_read(m, h, &f->content.cid, offset, rc == 0 ? size : 0);
    return rc;
}

/* ---- writing ---- */

/* How much of the data is taken already is r->phase: the function runs again when there was no room for all of it. */
int share_write(struct mount *m, struct request *r, struct inode *i)
{
    struct share_file *f = share_file_of(i);
    if (r->phase == 0) {
        int rc = room_for(m, r->data.len);
        if (rc < 0)
            return rc;
    }
    struct editor *e = share_file_edit(f);
    r->reads_content = true;
    r->root = &f->content.cid;
    r->why = "waits for memory: the disk is slower than the writer";
    while (r->phase < r->data.len) {
        int n = editor_write(e, m->source, r->offset + r->phase, span_from(r->data, r->phase));
        n = share_not_again(m, n);
        if (n == ERR_AGAIN)
            share_file_press(f);
        if (n == ERR_BUSY)
            r->why = "reads what was there before";
        if (n < 0)
            return n == ERR_BUSY ? ERR_AGAIN : n;
        r->phase += (unsigned)n;
        share_file_touched(f);
    }
    request_written(r, r->phase);
    return 0;
}

int share_truncate(struct mount *m, struct share_file *f, uint64_t size)
{
    if (size == share_file_size(f))
        return 0;
    if (size > share_file_size(f)) {
        int rc = room_for(m, 0);
        if (rc < 0)
            return rc;
    }
    int rc = editor_truncate(share_file_edit(f), size);
    if (rc < 0)
        return rc;
    share_file_touched(f);
    return 0;
}

/* Only lengthening: a hole costs nothing and cannot be reserved, and zeroing a range is the caller's fallback. */
int share_fallocate(struct mount *m, struct request *r, struct inode *i)
{
    struct share_file *f = share_file_of(i);
    uint64_t end = r->offset + r->size;
    if (r->flags & ~(unsigned)FALLOC_FL_KEEP_SIZE)
        return ERR_UNSUPPORTED;
    int rc = room_for(m, r->size);
    if (rc == 0 && !(r->flags & FALLOC_FL_KEEP_SIZE) && end > share_file_size(f))
        rc = share_truncate(m, f, end);
    else if (rc == 0)
        rc = share_file_touch_time(f); /* as other file systems do */
    if (rc == 0)
        request_error(r, 0);
    return rc;
}

/* close(2): says what the disk has said so far. The file is settled when the last writer has gone. */
int share_flush(struct mount *m, struct request *r, struct inode *i)
{
    struct share_file *f = share_file_of(i);
    dag_cancel_left(m, r);
    if (f && f->failing)
        return f->error;
    request_error(r, 0);
    return 0;
}

static void on_durable(void *arg, int result)
{
    ticket_done(arg, result);
}

#define HOLDS_MANY 16 /* blocks, of up to 1 MiB: fewer wait for the tick, since a sync costs something */

/* Everything submitted so far is on disk: 0, ERR_AGAIN until then. */
static int wait_durable(struct mount *m, struct request *r)
{
    struct ticket *t = r->state;
    if (!t) {
        t = ticket_new(m, r);
        if (m->holds.count >= HOLDS_MANY) /* what is synced again and again must not fill a disk with what it was before */
            share_holds_sync(m);
        tree_sync(m->share, on_durable, t);
    }
    r->wait_on = t;
    r->why = "waits for the disk";
    return t->done ? t->result : ERR_AGAIN;
}

/* The answer of the sync says that everything before it was tried; whether the store took this file's blocks, the failures
 * since say. */
int share_fsync(struct mount *m, struct request *r, struct inode *i)
{
    struct share_file *f = share_file_of(i);
    if (r->phase == 0) {
        int rc = share_settle(m, r, f);
        if (rc < 0)
            return rc;
        if (f->puts.unstored > 0 && mono_now() < f->failed_until)
            return f->error;
        if (f->puts.unstored > 0)
            share_put_retry(m);
        r->phase = 1;
    }
    bool begins = !r->state;
    int rc = wait_durable(m, r);
    struct ticket *t = r->state;
    if (begins)
        t->mark = f->puts.failures;
    if (rc < 0)
        return rc;
    if (f->puts.failures != t->mark)
        return f->error;
    request_error(r, 0);
    return 0;
}

int share_fsyncdir(struct mount *m, struct request *r, struct inode *i)
{
    (void)i;
    int rc = wait_durable(m, r);
    if (rc == 0)
        request_error(r, 0);
    return rc;
}

int share_lseek(struct mount *m, struct request *r, struct inode *i)
{
    (void)m;
    struct share_file *f = share_file_of(i);
    return node_lseek_dense(r, share_file_size(f));
}

/* ---- copying whole files is one record ---- */

static int source_root(struct mount *m, struct request *r, struct unixfs_root *ret)
{
    struct inode *from = inode_by_number(m->inodes, r->node);
    struct cid cid;
    if (!from || (from->kind != NODE_DAG && from->kind != NODE_SHARE))
        return ERR_UNSUPPORTED;
    if (from->kind == NODE_DAG) {
        dag_key_cid(from, &cid);
        return dag_root(m, &cid, ret);
    }
    int rc = share_root(m, r, share_id(from), ret);
    struct share_file *f = share_file_of(from);
    if (rc < 0 || !f || f->puts.away == 0)
        return rc;
    if (f->puts.unstored > 0) /* only its own record waits for these */
        return ERR_UNSUPPORTED;
    r->wait_on = f;
    r->why = "waits for the disk";
    return ERR_AGAIN;
}

/* The reply has 32 bits: longer files come in several requests. The first takes the whole file over, the others see it. */
#define COPY_MOST (UINT64_C(0xffffffff) & ~UINT64_C(0xfff))

int share_copy(struct mount *m, struct request *r, struct inode *i)
{
    struct share_file *f = share_file_of(i);
    struct unixfs_root root;
    if (r->offset != r->offset2 || !f)
        return ERR_UNSUPPORTED; /* the kernel copies by reading and writing then */
    int rc = source_root(m, r, &root);
    if (rc == ERR_AGAIN || (rc == ERR_MISSING && m->source->missing_count > 0))
        return rc;
    if (rc < 0)
        return ERR_UNSUPPORTED;
    if (root.size > EDITOR_SIZE_MAX) /* who made it may claim any size; work on a file takes time by its size */
        return ERR_TOO_BIG;
    uint64_t left = root.size > r->offset ? root.size - r->offset : 0;
    uint64_t len = r->size < left ? r->size : left;
    bool whole = r->offset == 0 && (r->size >= root.size || r->size >= COPY_MOST);
    bool done = !share_file_dirty(f) && cid_eq(&f->content.cid, &root.cid);
    if (!whole && !(done && r->offset > 0))
        return ERR_UNSUPPORTED;
    if (!done && share_file_size(f) > root.size)
        return ERR_UNSUPPORTED; /* the end of the old bytes has to stay */
    if (len > COPY_MOST)
        len = COPY_MOST;
    if (!done && root.size > 0) {
        share_file_replace(f, &root);
        rc = share_settle(m, r, f);
        if (rc < 0 && rc != ERR_AGAIN)
            return rc;
        if (rc == ERR_AGAIN)
            share_file_finish(f);
    } else if (len > 0 && (rc = share_file_touch_time(f)) < 0) { /* the same bytes once more */
        return rc;
    }
    request_written(r, len);
    return 0;
}
