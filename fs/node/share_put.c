/* SPDX-License-Identifier: MIT
 *
 * Blocks that we write, on their way to the disk: hashed (small ones here, big ones on a worker), held against collection,
 * readable from the cache, put into the store. When the store has answered, the cache lets go; when it could not store the
 * block, it is put again after a second: nothing that was written is given up while we live.
 *
 * Of one file some blocks may be stored while others fail, and the last answer is as likely good as bad. So failures are
 * counted: `unstored` says how many are still to come, `failures` how many answers were bad, which fsync compares with
 * what it was when it began. All directories count together. */
#include "fs/node/share_file.h"

#include "store/base/log.h"
#include "store/content/hasher.h"
#include "store/unixfs/hamt.h"
#include "store/unixfs/unixfs_node.h"

#include <assert.h>
#include <stdlib.h>

/* Hashing 64 KiB takes about 40 us, as much as handing it over and back */
#define HASH_HERE_MAX 65536

/* What a block on its way takes beside its own memory: operations that store it, hold it and let it go, its place in the cache,
 * and its CID for those who wait for it. A hundred thousand small blocks come to ten times their bytes. */
#define PUT_COST 1024

/* ---- holds ---- */

static void release(struct mount *m, struct holds *h)
{
    struct cid cid;
    while (holds_take(h, &cid))
        blockstore_unhold(m->o.store, &cid);
}

void share_holds_end(struct mount *m)
{
    if (m->dirs) {
        release(m, &m->dirs->holds);
        release(m, &m->dirs->finished);
    }
    release(m, &m->holds);
    release(m, &m->syncing);
}

/* The newest that this block of a directory links to: those below come before it, in the order of its links. When it is stored,
 * it keeps them. */
static void take_below(struct holds *from, const struct block *b, struct holds *ret)
{
    struct dagpb_link links[HAMT_FANOUT];
    size_t count = 0;
    struct unixfs_node node;
    struct cid cid;
    if (unixfs_parse(&b->cid, block_span(b), &node) < 0)
        return;
    struct dagpb_iter it = dagpb_iter(&node.pb);
    while (count < HAMT_FANOUT && dagpb_next(&it, &links[count]))
        count++;
    while (count-- > 0 && from->count > 0) {
        dagpb_link_cid(&links[count], &cid);
        if (holds_is_newest(from, &cid) && holds_take(from, &cid))
            holds_add(ret, &cid);
    }
}

static void on_synced(void *arg, int result)
{
    struct mount *m = arg;
    m->sync_running = false;
    if (result < 0) {
        holds_move(&m->holds, &m->syncing); /* the records are in memory still: so are the holds */
        return;
    }
    m->synced = m->syncs;
    release(m, &m->syncing);
    share_put_retry(m);
}

/* When the directory that they are for is finished, or given up */
static void look_at_dirs(struct mount *m)
{
    uint64_t number = tree_publishing(m->share);
    if (!m->dirs || m->dirs->publishing == number)
        return;
    holds_move(&m->dirs->finished, &m->dirs->holds);
    m->dirs->publishing = number;
}

/* A record may be on the disk without its blocks (tree.h). Those below one that is refused are kept by nothing else. */
void share_holds_told(struct share_file *f)
{
    if (f->puts.away == 0)
        holds_move(&f->m->holds, &f->holds);
}

void share_holds_sync(struct mount *m)
{
    look_at_dirs(m);
    if (m->dirs && m->dirs->puts.away == 0)
        holds_move(&m->holds, &m->dirs->finished);
    if (m->sync_running || m->holds.count == 0)
        return;
    holds_move(&m->syncing, &m->holds);
    m->sync_running = true;
    m->syncs++;
    tree_let_through(m->share);
    tree_sync(m->share, on_synced, m);
}

/* ---- putting ---- */

struct put {
    struct job job; /* first */
    struct mount *m;
    struct share_file *f;     /* NULL: a directory's block */
    struct editor_flight *fl; /* NULL: a parent */
    struct block *block;      /* a reference */
    struct holds below;       /* of a directory's block, or one that folds holds: what need not be held when it is stored */
    bool failed;              /* counted as unstored */
    uint64_t told;            /* of the file, when it was made */
    unsigned era;             /* of the guard that it was submitted with */
    struct put *next;         /* mount.puts_failed */
};

static struct share_puts *counted_in(const struct put *p)
{
    return p->f ? &p->f->puts : &p->m->dirs->puts;
}

/* A record may be waiting for it: it is tried again until the end. */
static void put_later(struct put *p)
{
    p->next = p->m->puts_failed;
    p->m->puts_failed = p;
    counted_in(p)->unstored += !p->failed;
    p->failed = true;
}

static void note_failure(const struct put *p, int result)
{
    struct share_file *f = p->f;
    counted_in(p)->failures++;
    counted_in(p)->refused += p->era == counted_in(p)->era;
    if (!f)
        return;
    f->failing = true;
    f->error = result;
    f->failed_until = mono_after(mono_now(), MONO_S);
}

/* What nobody will look at again */
static void put_end(struct put *p, int result)
{
    if (p->fl)
        editor_stored(p->fl, result);
    blockcache_unpin(p->m->cache, &p->block->cid);
    block_unref(p->block);
    budget_give(p->m->o.budget, BUDGET_STORE, PUT_COST);
    if (result == 0)
        release(p->m, &p->below);
    else
        holds_move(&p->m->holds, &p->below);
    counted_in(p)->unstored -= p->failed;
    counted_in(p)->away--;
    free(p);
}

/* Nobody will read the file again, or the chunk has been written or cut since and no record tells of it, or only one that was
 * given up: trying would only take the room that this has made, or wait for room for ever. */
static bool is_vain(const struct put *p)
{
    const struct share_file *f = p->f;
    if (!f)
        return false;
    bool given_up = p->told < f->given_up;
    bool former = p->fl ? !p->fl->buf && (given_up || p->told == f->told) : given_up;
    return former || (f->handles == 0 && share_file_is_gone(f));
}

static bool lacks_room(const struct share_file *f)
{
    return (f->failing || f->puts.unstored > 0) && (f->error == ERR_NO_SPACE || f->error == ERR_QUOTA);
}

static void give_up_told(struct share_file *f);

static bool told_too_early(const struct put *p)
{
    const struct share_file *f = p->f;
    return f && p->told < f->told && p->told >= f->given_up && f->editor && share_file_dirty(f) && lacks_room(f);
}

static void put_settled(struct put *p, int result)
{
    struct mount *m = p->m;
    struct share_file *f = p->f;
    struct share_puts *puts = counted_in(p);
    struct cid cid = p->block->cid;
    put_end(p, result);
    if (result < 0 && !m->puts_failed) /* nothing is tried again that would tell when there is room */
        m->put_error = 0;
    if (result < 0 && share_file_is_gone(f)) /* else no record tells of it, so it is as good as stored */
        store_guard_give_up(puts->guard);
    blockcache_drop(m->cache, &cid); /* the store shows it from now on; its memory is the next writer's */
    if (puts->unstored == 0) {
        store_guard_forgive(puts->guard, puts->refused);
        tree_retry(m->share);
    }
    if (!f)
        return;
    if (!share_file_dirty(f))
        share_holds_told(f);
    if (puts->unstored == 0 && !share_file_dirty(f))
        f->failing = false;
    struct inode *i = f->inode;
    inode_hold(i);
    pending_wake(m->pending, f); /* may be the end of f */
    if (share_file_of(i))
        share_file_let_go(share_file_of(i));
    inode_unhold(m->inodes, i);
}

static void on_put(void *arg, struct block *b, int result)
{
    struct put *p = arg;
    struct mount *m = p->m;
    struct share_file *f = p->f;
    (void)b;
    m->flights--;
    m->put_error = result;
    if (result < 0)
        note_failure(p, result);
    if (result < 0 && !is_vain(p)) { /* also at the end: a record may not pass that tells of it */
        put_later(p);
        if (f)
            pending_wake(m->pending, f);
        return;
    }
    if (result == 0 && !(f && f->temporary))
        share_have(m, &p->block->cid);
    put_settled(p, result);
}

static void submit(struct put *p)
{
    p->era = counted_in(p)->era;
    blockstore_put_guarded(p->m->o.store, block_ref(p->block), counted_in(p)->guard, p->m->mailbox, on_put, p);
}

void share_put_retry(struct mount *m)
{
    struct put *p = m->puts_failed;
    for (; p; p = p->next)
        if (told_too_early(p))
            give_up_told(p->f);
    p = m->puts_failed;
    m->puts_failed = NULL;
    for (struct put *next; p; p = next) {
        next = p->next;
        if (is_vain(p)) {
            put_settled(p, p->f->error);
            continue;
        }
        m->flights++;
        submit(p);
    }
}

void share_put_give_up(struct mount *m)
{
    while (m->puts_failed) {
        struct put *p = m->puts_failed;
        m->puts_failed = p->next;
        log_error("share.lost", "a block could not be stored before the end");
        put_end(p, ERR_CANCELLED);
    }
}

/* PUT_COST was charged. */
static struct put *put_new(struct mount *m, struct share_file *f, struct block *take_b)
{
    struct put *p = MEM_NEW(struct put);
    p->m = m;
    p->f = f;
    p->block = take_b;
    m->flights++;
    counted_in(p)->away++;
    p->told = f ? f->told : 0;
    return p;
}

static void put(struct put *p)
{
    struct mount *m = p->m;
    blockcache_pin(m->cache, p->block);
    blockstore_hold(m->o.store, &p->block->cid);
    holds_add(p->f ? &p->f->holds : &m->dirs->holds, &p->block->cid);
    submit(p);
}

static void fold(struct share_file *f)
{
    struct buf node = BUF_INIT;
    struct holds below = {0};
    struct cid cid;
    struct block *b = NULL;
    if (holds_fold(&f->holds, &below, &node)) {
        cid_of(&cid, CODEC_DAG_PB, buf_span(&node));
        b = block_from(f->m->o.budget, BUDGET_STORE, &cid, buf_span(&node));
    }
    buf_done(&node);
    if (!b) { /* the next ones are folded perhaps */
        holds_move(&f->holds, &below);
        return;
    }
    budget_take_always(f->m->o.budget, BUDGET_STORE, PUT_COST); /* a thousandth of what was written, which is charged */
    struct put *p = put_new(f->m, f, b);
    p->below = below;
    put(p);
}

/* ---- what is let go of before it is told ---- */

static void hold_again(void *arg, const struct cid *leaf)
{
    struct share_file *f = arg;
    blockstore_hold(f->m->o.store, leaf);
    holds_add(&f->holds, leaf);
    fold(f);
}

/* What it has now is held anew, since the list does not tell which of it that is. */
static void hold_anew(struct share_file *f, struct holds *former)
{
    *former = f->holds;
    f->holds = (struct holds){0};
    f->trimmed = editor_replaced(f->editor);
    editor_forget_parents(f->editor);
    editor_each_leaf(f->editor, hold_again, f);
}

void share_holds_trim(struct share_file *f)
{
    struct holds former;
    if (!lacks_room(f) || !f->editor || !share_file_dirty(f) || editor_replaced(f->editor) == f->trimmed)
        return;
    hold_anew(f, &former);
    if (f->told == f->given_up || f->m->synced > f->told_after)
        release(f->m, &former);
    else
        holds_move(&f->m->holds, &former); /* a record that tells of them may not be on the disk yet */
}

/* A record waits for a block that is refused for want of room, and the file has other bytes by now: the room that what it tells
 * of has may be the room that these need. They are told when they are stored, and until then nothing is. */
static void give_up_told(struct share_file *f)
{
    struct mount *m = f->m;
    struct share_puts *puts = &f->puts;
    struct holds former;
    struct tree_content none = {.guard = puts->guard, .mtime = &f->mtime, .gives_up = true};
    if (tree_set_content(m->share, f->id, &none, f->changed) < 0)
        return; /* in a second */
    store_guard_give_up(puts->guard);
    store_guard_unref(puts->guard);
    puts->guard = store_guard_new();
    puts->refused = 0;
    puts->era++;
    f->given_up = f->told;
    hold_anew(f, &former);
    release(m, &former);
}

static void work(struct job *j)
{
    struct put *p = (struct put *)j;
    struct block *b = p->block;
    cid_of(&b->cid, CODEC_RAW, block_span(b));
    block_add_sum(b);
}

static void on_hashed(struct mail *take_m, void *owner)
{
    struct put *p = (struct put *)take_m;
    (void)owner;
    editor_hashed(p->fl);
    struct share_file *f = p->f;
    put(p);
    fold(f);
    pending_wake(f->m->pending, f);
}

int share_put_leaf(struct share_file *f, struct editor_flight *fl)
{
    budget_take_always(f->m->o.budget, BUDGET_STORE, PUT_COST); /* what was written is charged */
    struct put *p = put_new(f->m, f, block_ref(fl->block));
    p->fl = fl;
    if (!cid_is_none(&fl->block->cid) || fl->block->len <= HASH_HERE_MAX) {
        if (cid_is_none(&fl->block->cid))
            work(&p->job);
        editor_hashed(fl);
        put(p);
        fold(f);
        return 0;
    }
    p->job.mail.run = on_hashed;
    p->job.work = work;
    p->job.reply = f->m->mailbox;
    workers_submit(f->m->o.workers, &p->job);
    return 0;
}

static int sink_put(struct block_sink *self, struct block *take_b)
{
    struct share_sink *s = (struct share_sink *)self;
    if (!budget_take(s->m->o.budget, BUDGET_STORE, PUT_COST))
        return ERR_AGAIN;
    struct put *p = put_new(s->m, s->f, take_b);
    look_at_dirs(s->m);
    if (!s->f)
        take_below(&s->holds, take_b, &p->below);
    put(p);
    return 0;
}

void share_sink_init(struct share_sink *s, struct mount *m, struct share_file *f)
{
    *s = (struct share_sink){.sink = {.put = sink_put, .budget = m->o.budget}, .m = m, .f = f};
    s->puts.guard = tree_publish_guard(m->share);
}
