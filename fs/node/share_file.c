/* SPDX-License-Identifier: MIT */
#include "fs/node/share_file.h"

#include "store/base/log.h"
#include "store/unixfs/emit.h"

#include <stdlib.h>

#define RETRY_AFTER MONO_S
#define IDLE_SETTLE (5 * MONO_S) /* a file that stays open is settled when nobody has written for so long */
#define HOLDS_EVERY MONO_S
#define PUMP_MOST   (50 * MONO_MS) /* then others have their turn */
#define PRESS_AFTER (5 * MONO_MS)  /* when no file had anything to send off: all that wait would look at all files */

struct share_file *share_file_of(const struct inode *i)
{
    return i->data;
}

struct share_file *share_file_get(struct mount *m, struct inode *i)
{
    struct tree_node n;
    if (i->data)
        return i->data;
    return tree_get(m->share, share_id(i), &n) < 0 ? NULL : share_file_make(m, i, &n);
}

struct share_file *share_file_make(struct mount *m, struct inode *i, const struct tree_node *n)
{
    struct share_file *f = i->data;
    if (f)
        return f;
    f = MEM_NEW(struct share_file);
    f->m = m;
    f->inode = i;
    f->id = n->id;
    f->content = n->content;
    f->mtime = f->changed = n->mtime;
    f->temporary = n->temporary;
    f->retry = MONO_NEVER;
    f->puts.guard = store_guard_new();
    inode_hold(i);
    i->data = f;
    f->next = m->files;
    if (m->files)
        m->files->prev = f;
    m->files = f;
    m->file_count++;
    return f;
}

bool share_file_dirty(const struct share_file *f)
{
    return f->unset || (f->editor && editor_changed(f->editor));
}

uint64_t share_file_size(const struct share_file *f)
{
    return f->editor ? editor_size(f->editor) : f->content.size;
}

static void count(struct share_file *f)
{
    uint64_t now = f->editor ? editor_dirty_bytes(f->editor) : 0;
    f->m->unfinished += now - f->counted;
    f->counted = now;
}

static void drop_editor(struct share_file *f)
{
    f->editor = editor_free(f->editor);
    f->trimmed = 0;
    count(f);
}

bool share_file_is_gone(const struct share_file *f)
{
    struct tree_node n;
    int rc = tree_get(f->m->share, f->id, &n);
    return rc == ERR_STALE || (rc == 0 && n.parent == 0); /* another error says nothing about it */
}

void share_file_let_go(struct share_file *f)
{
    struct mount *m = f->m;
    if (f->handles > 0 || f->finishing || f->puts.away > 0)
        return;
    /* Without a name, and unknown to the kernel: nobody will see its bytes again. While it knows it, an O_PATH descriptor may
     * open it again by way of /proc. */
    bool forgotten = f->inode->lookups == 0 && share_file_is_gone(f);
    if (!forgotten && (share_file_dirty(f) || f->retry != MONO_NEVER))
        return;
    drop_editor(f);
    holds_move(&m->holds, &f->holds);
    if (f->prev)
        f->prev->next = f->next;
    else
        m->files = f->next;
    if (f->next)
        f->next->prev = f->prev;
    m->file_count--;
    struct inode *i = f->inode;
    i->data = NULL;
    store_guard_unref(f->puts.guard);
    free(f);
    inode_unhold(m->inodes, i);
}

struct editor *share_file_edit(struct share_file *f)
{
    if (!f->editor)
        f->editor = editor_new(cid_is_none(&f->content.cid) ? NULL : &f->content, f->m->o.budget);
    return f->editor;
}

int share_file_pump(struct share_file *f, enum editor_want want)
{
    struct editor_flight *fl;
    int rc = 0;
    mono_ns begun = mono_now();
    while (f->editor && (rc = editor_next(f->editor, want == EDITOR_ALL ? f->m->source : NULL, want, &fl)) == 1) {
        share_put_leaf(f, fl);
        if (want == EDITOR_PRESSURE)
            break; /* one is a start: its memory comes back */
        if (want == EDITOR_ALL && mono_now() - begun > PUMP_MOST) {
            rc = ERR_BUSY;
            break;
        }
    }
    count(f);
    return rc;
}

void share_file_press(struct share_file *f)
{
    struct mount *m = f->m;
    mono_ns now = mono_now();
    if (share_file_pump(f, EDITOR_PRESSURE) == 1 || now < m->next_press)
        return;
    for (struct share_file *g = m->files; g; g = g->next)
        if (g != f && share_file_pump(g, EDITOR_PRESSURE) == 1)
            return;
    m->next_press = mono_after(now, PRESS_AFTER);
}

int share_not_again(const struct mount *m, int rc)
{
    return rc == ERR_AGAIN && m->put_error < 0 ? m->put_error : rc;
}

int share_not_full(const struct mount *m, int rc)
{
    return budget_class_tight(m->o.budget, BUDGET_STORE) ? share_not_again(m, rc) : rc;
}

void share_file_touched(struct share_file *f)
{
    f->mtime = f->changed = wall_now();
    f->mtime_set = false;
    f->last_write = mono_now();
    f->dirty_since = f->dirty_since ? f->dirty_since : f->last_write;
    (void)share_file_pump(f, EDITOR_FULL); /* 0: nothing is full */
}

int share_file_touch_time(struct share_file *f)
{
    f->mtime = f->changed = wall_now();
    f->mtime_set = false;
    if (share_file_dirty(f))
        return 0; /* with the content */
    struct tree_attr a = {.set_mtime = true, .mtime = f->mtime};
    return tree_setattr(f->m->share, f->id, &a, f->mtime);
}

int share_file_replace(struct share_file *f, const struct unixfs_root *root)
{
    drop_editor(f);
    f->content = *root;
    f->unset = true;
    f->dirty_since = f->dirty_since ? f->dirty_since : mono_now();
    f->mtime = f->changed = wall_now();
    f->mtime_set = false;
    return 0;
}

/* The record: content, and the time that utimens gave after the last write */
static int tell_tree(struct share_file *f)
{
    struct mount *m = f->m;
    struct tree_content to = {.root = f->content, .guard = f->puts.guard, .mtime = f->mtime_set ? &f->mtime : NULL};
    int rc = tree_set_content(m->share, f->id, &to, f->changed);
    if (rc < 0)
        return rc;
    f->told++;
    f->told_after = m->syncs;
    f->dirty_since = 0;
    f->unset = f->failing = f->mtime_set = false;
    share_holds_told(f);
    return 0;
}

/* While the disk fails, the record waits for the answers of the blocks. 0, ERR_AGAIN, the error of one. */
static int wait_blocks(struct mount *m, struct request *r, struct share_file *f)
{
    struct blockstore_stats s;
    if (f->puts.away == 0)
        return 0;
    if (f->puts.unstored > 0)
        return f->error;
    blockstore_stats(m->o.store, &s);
    if (s.fault == 0 && !f->failing)
        return 0;
    r->wait_on = f;
    r->why = "waits for the disk";
    return ERR_AGAIN;
}

/* What has to be read again to be finished, and the nodes above, need the room that other chunks have. */
static int press(struct share_file *f, struct request *r, int err)
{
    if (err != ERR_AGAIN)
        return err == ERR_BUSY ? ERR_AGAIN : err; /* a step was done, or memory is missing of which nobody tells: in a moment */
    r->why = "waits for memory: the disk is slower than the writer";
    share_file_press(f);
    return share_not_again(f->m, err);
}

int share_settle(struct mount *m, struct request *r, struct share_file *f)
{
    if (!share_file_dirty(f))
        return 0;
    if (f->failing && mono_now() < f->failed_until)
        return f->error;
    if (!f->unset || (f->editor && editor_changed(f->editor))) {
        struct share_sink sink;
        r->root = &f->content.cid;
        int rc = share_file_pump(f, EDITOR_ALL);
        if (rc < 0)
            return press(f, r, rc);
        r->why = "hashes what was written";
        if (editor_unhashed(f->editor) > 0) {
            r->wait_on = f;
            return ERR_AGAIN;
        }
        share_sink_init(&sink, m, f);
        rc = editor_finish(f->editor, m->source, &sink.sink, &f->content);
        if (rc < 0)
            return press(f, r, rc);
        f->unset = true;
    }
    int rc = wait_blocks(m, r, f);
    if (rc < 0)
        return rc;
    r->wait_on = NULL;
    r->why = "waits for the disk";
    return share_not_again(m, tell_tree(f));
}

/* Whether what `dir` is published as tells of it: below it, without a temporary name on the way. What cannot be read counts. */
static bool is_published_in(struct mount *m, uint64_t id, uint64_t dir)
{
    struct tree_node n;
    while (id != dir) {
        int rc = tree_get(m->share, id, &n);
        if (rc < 0)
            return rc != ERR_STALE;
        if (n.temporary || n.parent == 0)
            return false;
        id = n.parent;
    }
    return true;
}

/* The files below a directory, all at once, as they were when that was asked or later: those who write may do so for ever. */
static int settle_below(struct mount *m, struct request *r, uint64_t dir)
{
    int all = 0;
    const void *wait_on = NULL;
    if (r->began == 0)
        r->began = mono_now();
    for (struct share_file *f = m->files; f; f = f->next) {
        if (f->dirty_since > r->began || !share_file_dirty(f) || !is_published_in(m, f->id, dir))
            continue;
        r->wait_on = NULL;
        int rc = share_settle(m, r, f);
        if (rc < 0 && rc != ERR_AGAIN)
            return rc;
        if (rc == 0)
            continue;
        wait_on = all == 0 || (wait_on && !r->wait_on) ? r->wait_on : wait_on; /* one that asks for a moment goes before */
        all = rc;
    }
    r->wait_on = wait_on;
    return all;
}

/* ---- settling without anybody waiting ---- */

static int run_finish(void *owner, struct request *r)
{
    struct share_file *f = r->state;
    if (f->handles == 0 && share_file_is_gone(f))
        return 0; /* removed before it was settled */
    r->background = true;
    r->reads_content = true;
    return share_settle(owner, r, f);
}

static void finish_done(struct request *r, int result)
{
    struct share_file *f = r->state;
    r->state = NULL;
    f->finishing = false;
    if (result < 0) { /* the bytes stay in the editor, the next second tries again */
        if (!f->failing || f->error != result)
            log_warn("share.settle", "id=%llu error=\"%s\"", (unsigned long long)f->id, err_text(result));
        f->error = result;
        f->failing = true;
        f->retry = mono_after(mono_now(), RETRY_AFTER);
    }
    share_file_let_go(f);
}

void share_file_finish(struct share_file *f)
{
    if (f->finishing || !share_file_dirty(f))
        return;
    f->finishing = true;
    f->retry = MONO_NEVER;
    struct request r = {.op = OP_OWN, .run = run_finish, .own_done = finish_done, .state = f};
    pending_run(f->m->pending, &r);
}

#define HAVES_MOST 128 /* told at a time */

/* Those of a turn at once: each telling may wake a thread, which then is in the way of the next. */
static void tell_haves(struct mount *m)
{
    size_t count = buf_len(&m->haves) / sizeof(struct cid);
    if (count > 0 && m->o.have)
        m->o.have(m->o.arg, (const struct cid *)buf_span(&m->haves).data, (unsigned)count);
    buf_clear(&m->haves);
}

void share_have(struct mount *m, const struct cid *cid)
{
    buf_add(&m->haves, cid, sizeof *cid);
    if (buf_len(&m->haves) >= HAVES_MOST * sizeof *cid)
        tell_haves(m);
}

void share_tick(struct mount *m, mono_ns now)
{
    tell_haves(m);
    if (now < m->next_tick)
        return;
    m->next_tick = mono_after(now, HOLDS_EVERY);
    int fault = tree_fault(m->share);
    for (struct share_file *f = m->files, *next; f; f = next) {
        next = f->next; /* finishing frees at most f itself */
        fault = f->failing ? f->error : fault;
        share_holds_trim(f);
        bool idle = f->writers > 0 && now - f->last_write >= IDLE_SETTLE;
        if (now >= f->retry || (idle && share_file_dirty(f))) {
            f->retry = MONO_NEVER;
            if (share_file_dirty(f))
                share_file_finish(f);
            else
                share_file_let_go(f);
        }
    }
    m->stat_fault = fault;
    tree_retry(m->share);
    share_forget_again(m);
    share_put_retry(m);
    share_holds_sync(m);
}

/* ---- roots ---- */

static struct block_sink *dirs_sink(struct mount *m)
{
    if (!m->dirs) {
        m->dirs = MEM_NEW(struct share_sink);
        share_sink_init(m->dirs, m, NULL);
    }
    return &m->dirs->sink;
}

/* In steps: what others ask for comes between. */
static int publish(struct mount *m, struct request *r, uint64_t id, struct unixfs_root *ret)
{
    int rc = share_not_again(m, tree_publish(m->share, id, dirs_sink(m), ret));
    r->why = "makes the folder's blocks";
    r->wait_on = NULL;
    if (rc == ERR_BUSY) {
        r->wait_on = m->dirs;
        r->look_at = mono_after(mono_now(), MONO_MS);
        rc = ERR_AGAIN;
    }
    return rc;
}

/* The CID of no bytes; its block is stored so that the CID can be read. */
static int empty_root(struct mount *m, struct unixfs_root *ret)
{
    cid_of(&ret->cid, CODEC_RAW, SPAN_NONE);
    ret->size = ret->tsize = 0;
    if (source_has(m->source, &ret->cid))
        return 0;
    return share_not_again(m, emit_known(dirs_sink(m), BUDGET_WRITE, &ret->cid, SPAN_NONE));
}

int share_root(struct mount *m, struct request *r, uint64_t id, struct unixfs_root *ret)
{
    struct tree_node n;
    int rc = tree_get(m->share, id, &n);
    if (rc < 0)
        return rc;
    r->reads_content = true;
    if (n.type == TREE_DIR ||
        (n.type == TREE_SYMLINK && cid_is_none(&n.content.cid))) { /* a symlink that keeps is what it keeps */
        rc = n.type == TREE_DIR ? settle_below(m, r, id) : 0;
        return rc < 0 ? rc : publish(m, r, id, ret);
    }
    uint8_t key[8];
    memcpy(key, &id, sizeof key);
    struct inode *i = inode_find(m->inodes, &(struct inode_key){NODE_SHARE, 0, span_of(key, sizeof key)});
    struct share_file *f = i ? share_file_of(i) : NULL;
    if (f) {
        rc = share_settle(m, r, f);
        if (rc < 0)
            return rc;
        n.content = f->content;
    }
    if (n.type == TREE_FILE && cid_is_none(&n.content.cid))
        return empty_root(m, ret);
    *ret = n.content;
    return 0;
}

int share_resolve(struct mount *m, struct span path, struct tree_node *ret)
{
    int rc = tree_get(m->share, TREE_ROOT, ret);
    while (rc == 0 && path.len) {
        const uint8_t *slash = memchr(path.data, '/', path.len);
        size_t n = slash ? (size_t)(slash - path.data) : path.len;
        if (n > 0)
            rc = tree_lookup(m->share, (struct tree_place){ret->id, span_sub(path, 0, n)}, ret);
        path = span_from(path, n + 1);
    }
    return rc;
}

/* ---- the end ---- */

/* What it was made from is not what it claims to be. */
static bool is_hopeless(const struct share_file *f)
{
    return f->failing && !f->finishing && f->error == ERR_CORRUPT;
}

bool share_finish_all(struct mount *m)
{
    bool done = true;
    for (struct share_file *f = m->files, *next; f; f = next) {
        next = f->next;
        if (share_file_dirty(f))
            share_file_finish(f);
        else
            share_file_let_go(f);
    }
    for (const struct share_file *f = m->files; f && done; f = f->next)
        done = share_file_is_gone(f) || is_hopeless(f);
    return done;
}

void share_free(struct mount *m)
{
    share_put_give_up(m);
    while (m->files) { /* handles that the kernel did not release before the mount went */
        struct share_file *f = m->files;
        m->files = f->next;
        if (m->files)
            m->files->prev = NULL;
        if (share_file_dirty(f) && !share_file_is_gone(f))
            log_error("share.lost", "id=%llu: what was written could not be stored before the end", (unsigned long long)f->id);
        drop_editor(f);
        holds_move(&m->holds, &f->holds);
        f->inode->data = NULL;
        store_guard_unref(f->puts.guard);
        free(f);
    }
    share_holds_end(m);
    free(m->dirs);
}
