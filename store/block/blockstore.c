/* SPDX-License-Identifier: MIT
 *
 * The committer. One turn of its loop: take what came, form a group, apply it, commit, answer; then a step of the store's own
 * work (cascades, eviction) if there is any. While a commit waits for the disk the next group gathers in the inbox, so the
 * group grows with the load and an idle store commits at once; there is no timer that makes small groups wait.
 *
 * A group is applied without nested transactions, which LMDB makes dear. An operation that fails before it wrote anything is
 * simply skipped. One that fails after it wrote makes the group start again in careful mode, each operation in a nested
 * transaction. When the commit fails, the group goes back to the queue and is tried again in eighths, down to single
 * operations, whose errors are then their own: a full disk refuses the big put and lets the small unpin through. */
#include "store/block/store_internal.h"

#include "store/base/log.h"
#include "store/base/thread.h"
#include "store/block/fault.h"
#include "store/block/store_queue.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GROUP_BYTES_MOST  (UINT32_C(32) << 20)
#define GROUP_BYTES_LEAST (UINT32_C(1) << 20)
#define GROUP_OP_BYTES    4096 /* of LMDB's dirty pages per operation, which it keeps: its small change comes in thousands */
#define GROUP_LINKS       512  /* cascades that ride along with a group's commit, beside one for each operation */
#define GROUP_PARTS       8    /* of its pages: one is left to them */
#define STEP_TIME         (10 * MONO_MS) /* of the store's own work between two groups */
#define STEP_BLOCKS       128
#define IDLE_SYNC         (MONO_S)
#define REFRESH           (5 * MONO_S)
#define RETRY             (MONO_S)
#define DEAD_MANY         128                 /* big blocks dropped: then their room is given back though the store is busy */
#define DEAD_WAIT         (20 * MONO_MS)      /* for readers of an older snapshot */
#define BALLAST_AT        (UINT64_C(4) << 20) /* free bytes at which the ballast (1 MiB) is made again */

/* ---- internal operations: their answers differ, so they are known by their apply ---- */

struct hold_op {
    struct store_op op;
    struct cid cid;
    int delta;
};

struct sync_op {
    struct store_op op;
    void (*done)(void *arg, int result);
    void *arg;
};

struct collect_op {
    struct store_op op;
    struct collect_op *next;
    struct collect_result result;
    void (*done)(void *arg, const struct collect_result *r);
    void *arg;
};

#define APPLY_NOTHING(name)                                                                                                    \
    static int name(struct store_op *op, struct store_txn *txn)                                                                \
    {                                                                                                                          \
        (void)op;                                                                                                              \
        (void)txn;                                                                                                             \
        return 0;                                                                                                              \
    }
APPLY_NOTHING(apply_hold)
APPLY_NOTHING(apply_sync)
APPLY_NOTHING(apply_collect)
APPLY_NOTHING(apply_stop)
APPLY_NOTHING(apply_poke)
APPLY_NOTHING(apply_quota)

/* ---- figures ---- */

static void publish(struct blockstore *bs)
{
    atomic_store(&bs->stats.blocks, bs->t.blocks);
    atomic_store(&bs->stats.bytes, bs->t.bytes);
    atomic_store(&bs->stats.live_blocks, bs->t.live_blocks);
    atomic_store(&bs->stats.live_bytes, bs->t.live_bytes);
    atomic_store(&bs->stats.wanted, bs->t.wanted);
    atomic_store(&bs->stats.pins, bs->t.pins);
    atomic_store(&bs->stats.pins_incomplete, bs->t.pins_incomplete);
    atomic_store(&bs->stats.collecting, bs->collecting != NULL);
    /* Last, and read first: who sees none pending sees what came of them. The held lane waits until something is evicted. */
    atomic_store(&bs->stats.pending, bs->t.pending[LANE_LIVE]);
}

static void refresh_disk(struct blockstore *bs, mono_ns now)
{
    uint64_t free_bytes = store_env_free_bytes(&bs->env, 0);
    atomic_store(&bs->stats.disk_bytes, store_env_file_bytes(&bs->env) + segments_disk_bytes(bs->segments));
    atomic_store(&bs->stats.disk_free, free_bytes);
    if (free_bytes > BALLAST_AT)
        store_ballast_make(&bs->env);
    block_pool_trim();
    bs->refresh_at = mono_after(now, REFRESH);
}

/* ---- commits ---- */

static void tell_fault(struct blockstore *bs, int err)
{
    static struct log_limit limit;
    if (atomic_exchange(&bs->stats.fault, err) != err)
        log_limited(&limit, "store.fault", "error=\"%s\"", err_text(err));
}

static void note_fault(struct blockstore *bs, int err)
{
    bs->refused = true;
    tell_fault(bs, err);
}

static void note_recovery(struct blockstore *bs)
{
    static struct log_limit limit;
    if (atomic_exchange(&bs->stats.fault, 0) != 0)
        log_limited(&limit, "store.recovered", "free=%llu", (unsigned long long)atomic_load(&bs->stats.disk_free));
}

static int commit(struct blockstore *bs, struct store_txn *txn)
{
    int r = store_txn_commit(txn);
    if (r)
        return r;
    cascade_committed(bs);
    atomic_fetch_add(&bs->cascade.counted, txn->counted);
    bs->unsynced = true;
    bs->sync_at = mono_after(mono_now(), IDLE_SYNC);
    bs->refused = false;
    note_recovery(bs);
    atomic_fetch_add(&bs->stats.commits, 1);
    publish(bs);
    atomic_fetch_add(&bs->stats.damaged, txn->damaged); /* after what came of it: who sees it looks at that */
    return 0;
}

static int commit_nothing(struct blockstore *bs)
{
    struct store_txn txn;
    int r = store_txn_begin(bs, &txn);
    return r ? r : commit(bs, &txn);
}

static int sync_now(struct blockstore *bs)
{
    if (!bs->unsynced)
        return 0;
    int r = bs->sync_failed ? commit_nothing(bs) : 0; /* its meta page stands for those that may be lost */
    if (r == 0)
        r = store_error(fault_point());
    if (r == 0)
        r = bs->env.mdb ? store_error(mdb_env_sync(bs->env.mdb, 1)) : ERR_IO;
    if (r) {
        bs->sync_failed = true;
        tell_fault(bs, r);
        bs->sync_at = mono_after(mono_now(), IDLE_SYNC);
        return r;
    }
    bs->unsynced = false;
    if (!bs->refused) /* a full disk syncs what it has */
        note_recovery(bs);
    return 0;
}

/* ---- taking operations ---- */

/* Returns the bytes of the group. */
static size_t form_group(struct blockstore *bs)
{
    size_t bytes = 0;
    bs->group_count = 0;
    while (bs->pending && bs->group_count < bs->group_most) {
        struct store_op *op = (struct store_op *)bs->pending;
        if (bs->group_count > 0 && bytes + op->cost + GROUP_OP_BYTES > bs->group_bytes_most)
            break;
        bytes += op->cost + GROUP_OP_BYTES;
        bs->group[bs->group_count++] = opqueue_pop(bs);
        /* A hold protects from here on; an unhold only gives up after its group: nothing is evicted in between. */
        if (op->apply == apply_hold && ((struct hold_op *)op)->delta > 0) {
            hold_change(bs->holds, &((struct hold_op *)op)->cid, 1);
            ((struct hold_op *)op)->delta = 0; /* once, also when the group is put back */
        }
    }
    return bytes;
}

/* ---- answering ---- */

static void answer(struct store_op *op)
{
    if (op->reply)
        mailbox_reply(op->reply, &op->mail);
    else
        op->mail.run(&op->mail, NULL);
}

static void answer_internal(struct blockstore *bs, struct store_op *op)
{
    if (op->apply == apply_hold && ((struct hold_op *)op)->delta < 0)
        hold_change(bs->holds, &((struct hold_op *)op)->cid, -1);
    else if (op->apply == apply_sync)
        op->result = sync_now(bs);
    else if (op->apply == apply_stop)
        bs->stop = true;
    else if (op->apply == apply_quota)
        bs->check_quota = true;
}

static void answer_group(struct blockstore *bs)
{
    struct mail_chain answers = {.count = 0};
    for (unsigned i = 0; i < bs->group_count; i++) {
        struct store_op *op = bs->group[i];
        bs->room_made_for = op == bs->room_made_for ? NULL : bs->room_made_for;
        bs->counted_for = op == bs->counted_for ? NULL : bs->counted_for;
        if (op->apply == apply_collect) { /* answered when its pass is over */
            ((struct collect_op *)op)->next = bs->collects;
            bs->collects = (struct collect_op *)op;
            continue;
        }
        if (op->guard && op->result < 0)
            store_guard_refuse(op->guard, op->result);
        answer_internal(bs, op);
        if (op->reply)
            mail_chain_add(&answers, op->reply, &op->mail);
        else
            op->mail.run(&op->mail, NULL);
    }
    mail_chain_send(&answers);
    bs->group_count = 0;
}

/* ---- groups ---- */

static int apply_nested(struct store_op *op, struct store_txn *txn)
{
    struct totals before = txn->t;
    MDB_txn *outer = txn->mdb;
    int flushed = segments_flush(txn->bs->segments); /* the big blocks of those before it, whose loss would pass for its own */
    if (flushed)
        return txn->hard = flushed;
    int rc = fault_point();
    if (rc == 0)
        rc = mdb_txn_begin(txn->bs->env.mdb, outer, 0, &txn->mdb);
    if (rc) {
        txn->mdb = outer;
        return store_error(rc);
    }
    int r = op->apply(op, txn);
    if (r == 0 && txn->hard)
        r = txn->hard;
    if (r < 0) {
        segments_forget(txn->bs->segments);
        mdb_txn_abort(txn->mdb);
        txn->t = before;
        txn->hard = 0; /* the parent is sound: only the child failed */
        txn->mdb = outer;
        return r;
    }
    rc = mdb_txn_commit(txn->mdb);
    txn->mdb = outer;
    if (rc)
        txn->hard = store_error(rc);
    return txn->hard;
}

/* ERR_QUOTA for want of room that an eviction may make: not tried yet, and there is something to evict, or may be when all is
 * counted. One that is under way for something else is waited for only until this has its room. */
static bool make_room(struct blockstore *bs, struct store_op *op, const struct store_txn *txn)
{
    bool is_some = txn->need <= txn->t.bytes - txn->t.live_bytes;
    struct store_op **tried = is_some ? &bs->room_made_for : &bs->counted_for;
    if (txn->need == 0 || op == bs->room_made_for || op == *tried || (!is_some && txn->t.pending[LANE_LIVE] == 0))
        return false;
    bs->room_wanted = true;
    bs->room_below = bs->evict.active && is_some ? txn->t.bytes - txn->need : 0;
    if (!bs->evict.active) {
        evict_begin(bs, is_some ? evict_quota_target(bs, txn->t.bytes - txn->need) : UINT64_MAX); /* the latter only counts */
        *tried = op;
    }
    return true;
}

/* 0; ERR_AGAIN: start again (careful is set, or the group was cut); a hard error. The transaction is the caller's. */
static int apply_group(struct blockstore *bs, struct store_txn *txn)
{
    for (unsigned i = 0; i < bs->group_count; i++) {
        struct store_op *op = bs->group[i];
        if (i > 0 && store_txn_bytes(txn) >= bs->group_bytes_most / GROUP_PARTS * (GROUP_PARTS - 1)) {
            opqueue_put_back(bs, i);
            return 0;
        }
        bool wrote_before = txn->wrote;
        txn->wrote = false;
        txn->need = 0;
        int r = bs->careful ? apply_nested(op, txn) : op->apply(op, txn);
        if (txn->hard)
            return txn->hard;
        bool undone = r >= 0 || bs->careful || !txn->wrote;
        txn->wrote = wrote_before || (txn->wrote && !(r < 0 && bs->careful));
        op->result = r < 0 ? r : 0;
        if (r == ERR_QUOTA && make_room(bs, op, txn)) {
            opqueue_put_back(bs, i);
            return undone ? 0 : ERR_AGAIN;
        }
        if (!undone) {
            bs->careful = true;
            return ERR_AGAIN;
        }
        if (r < 0 && op->guard) /* those behind it come when it has been counted */
            opqueue_put_back(bs, i + 1);
    }
    return 0;
}

/* One try. 0, ERR_AGAIN, or a hard error with the transaction gone. */
static int try_group(struct blockstore *bs)
{
    struct store_txn txn;
    int r = store_txn_begin(bs, &txn);
    if (r)
        return r;
    bool poked = atomic_exchange(&bs->poked, false);
    r = apply_group(bs, &txn);
    if (r == 0 && (txn.wrote || poked))
        r = touch_apply(bs, &txn);
    if (r >= 0 && txn.wrote && bs->group_most > 1 && !bs->alone)
        r = (bs->alone = cascade_along(&txn, GROUP_LINKS + bs->group_count) < 0) ? ERR_AGAIN : r;
    r = store_txn_result(&txn, r);
    if (r < 0 || !txn.wrote) {
        store_txn_abort(&txn);
        return r < 0 ? r : 0;
    }
    return commit(bs, &txn);
}

/* ---- room of big blocks ---- */

/* One step. Returns whether there is more to do at once. */
static bool give_back(struct blockstore *bs)
{
    if (!bs->dead_pass) {
        bs->dead_below = bs->t.queue_next;
        bs->dead_epoch = atomic_fetch_add(&bs->read_epoch, 1) + 1;
        bs->dead_pass = true;
    }
    bs->dead_at = mono_after(mono_now(), DEAD_WAIT);
    if (!store_readers_since(bs, bs->dead_epoch))
        return false;
    struct store_txn txn;
    int r = store_txn_begin(bs, &txn);
    if (r == 0) {
        r = extents_give_back(&txn, bs->dead_below, STEP_BLOCKS);
        if (r > 0) {
            int committed = commit(bs, &txn);
            r = committed ? committed : r;
        } else {
            store_txn_abort(&txn);
        }
    }
    if (r > 0 && bs->t.dead > 0) {
        bs->dead_at = 0;
        return true;
    }
    bs->dead_pass = false;
    if (r >= 0) {
        extents_sweep(bs);
        return false;
    }
    note_fault(bs, r);
    bs->dead_at = mono_after(mono_now(), RETRY);
    return false;
}

static bool may_give_back(const struct blockstore *bs)
{
    return bs->t.dead > 0 && !bs->stop && (bs->dead_pass || !bs->unsynced || bs->t.dead >= DEAD_MANY);
}

/* Pages that commit N frees can be used from commit N + 2 on: two empty ones make the room real. */
static void settle_freed(struct blockstore *bs)
{
    if (commit_nothing(bs) != 0 || commit_nothing(bs) != 0 || bs->t.dead == 0 || sync_now(bs) != 0)
        return;
    for (int i = 0; i < 100 && bs->t.dead > 0; i++)
        if (!give_back(bs))
            usleep(2000); /* for readers */
}

/* The disk is full: what is given up before an operation is refused, once per operation. */
static bool free_disk(struct blockstore *bs, struct store_op *op)
{
    if (op == bs->room_made_for || mono_now() < bs->retry_at) /* or making room has just failed */
        return false;
    bs->room_made_for = op;
    (void)store_ballast_burn(&bs->env); /* room for the eviction's own commits */
    if (bs->t.bytes > bs->t.live_bytes && !bs->evict.active) {
        uint64_t room = 2 * (uint64_t)op->cost + GROUP_BYTES_LEAST;
        evict_begin(bs, bs->t.bytes > room ? bs->t.bytes - room : 0);
        bs->room_wanted = true;
        bs->room_below = 0;
    } else {
        settle_freed(bs);
    }
    return true;
}

static void group_failed(struct blockstore *bs, int err)
{
    if (bs->broken && mono_now() >= bs->reopen_at) { /* first reopen, then try again */
        note_fault(bs, err);
        opqueue_put_back(bs, 0);
        return;
    }
    extents_cut(bs); /* what it wrote would not be free */
    if (bs->group_count > 1) {
        bs->group_most = bs->group_count / 8 ? bs->group_count / 8 : 1;
        opqueue_put_back(bs, 0);
        return;
    }
    bs->group_most = 1;
    if (err == ERR_NO_SPACE && free_disk(bs, bs->group[0])) {
        opqueue_put_back(bs, 0);
        return;
    }
    note_fault(bs, err); /* not before: while this is tried again, others must not be refused because of it */
    bs->group[0]->result = err;
    answer_group(bs);
}

static void run_group(struct blockstore *bs)
{
    size_t bytes = form_group(bs);
    if (bs->budget)
        budget_take_always(bs->budget, BUDGET_STORE, bytes); /* LMDB's copy of it; bounded by group_bytes_most */
    bs->careful = bs->alone = false;
    int r;
    do
        r = try_group(bs);
    while (r == ERR_AGAIN && bs->group_count > 0);
    if (bs->budget)
        budget_give(bs->budget, BUDGET_STORE, bytes);
    if (r < 0 && bs->group_count > 0) {
        group_failed(bs, r);
        return;
    }
    if (bs->group_most < GROUP_OPS_MAX)
        bs->group_most *= 2;
    answer_group(bs);
}

/* ---- the store's own work ---- */

static void answer_collects(struct collect_op *c, const struct collect_result *result)
{
    for (struct collect_op *next; c; c = next) {
        next = c->next;
        c->op.result = result->result;
        c->result = *result;
        answer(&c->op);
    }
}

static void finish_evict(struct blockstore *bs, int err)
{
    struct collect_result result = {err, bs->evict.blocks, bs->evict.bytes};
    if (bs->evict.blocks > 0)
        log_debug("store.evicted", "blocks=%llu bytes=%llu", (unsigned long long)result.blocks,
                  (unsigned long long)result.bytes);
    bs->evict.active = false;
    bs->room_wanted = false;
    struct collect_op *c = bs->collecting;
    bs->collecting = NULL;
    publish(bs);
    answer_collects(c, &result);
    if (err < 0) { /* those that wait for their turn would wait behind who needs room again and again */
        c = bs->collects;
        bs->collects = NULL;
        answer_collects(c, &(struct collect_result){.result = err});
    }
}

/* LMDB refuses everything after a fatal error (store_epoch.c). */
static void reopen(struct blockstore *bs)
{
    int r = epoch_reopen(bs);
    if (r == ERR_AGAIN) /* a reader takes long: in a moment */
        return;
    if (r) {
        note_fault(bs, r);
        if (bs->collects || bs->evict.active)
            finish_evict(bs, r); /* who waits for room is told what is wrong */
        return;
    }
    hold_forget_written(bs->holds);
    bs->unsynced = true;
    log_info("store.reopened", "dir=%s", bs->env.dir);
}

static mono_ns work_at(const struct blockstore *bs)
{
    mono_ns at = bs->evict.active || bs->collects ? 0 : cascade_due(bs);
    return at > bs->retry_at ? at : bs->retry_at;
}

static int work_step(struct blockstore *bs, struct store_txn *txn)
{
    mono_ns until = mono_after(mono_now(), STEP_TIME);
    int r = touch_apply(bs, txn);
    if (r >= 0)
        r = cascade_work(txn, GROUP_LINKS, until);
    while (r >= 0 && bs->evict.active && !bs->evict.finished && mono_now() < until && !store_txn_full(txn))
        r = evict_step(bs, txn, STEP_BLOCKS);
    if (r >= 0 && txn->t.pins_incomplete > 0 && txn->t.wanted == 0 && txn->t.pending[LANE_LIVE] == 0)
        r = pins_all_complete(txn);
    return r < 0 ? r : 0;
}

static void work_failed(struct blockstore *bs, int err, const struct evict *before)
{
    note_fault(bs, err);
    cascade_refused(bs, err);
    hold_not_written(bs->holds);
    bs->evict = *before;
    if (err == ERR_NO_SPACE && store_ballast_burn(&bs->env))
        return; /* at once again, with that room */
    bs->retry_at = mono_after(mono_now(), RETRY);
    if (bs->evict.active)
        finish_evict(bs, err); /* who waits for room is told what is wrong */
}

static void work(struct blockstore *bs)
{
    if (bs->collects && !bs->evict.active) {
        bs->collecting = bs->collects;
        bs->collects = NULL;
        evict_begin(bs, 0);
    }
    struct evict before = bs->evict;
    struct store_txn txn;
    int r = store_txn_begin(bs, &txn);
    if (r == 0) {
        r = store_txn_result(&txn, work_step(bs, &txn));
        if (r == 0 && txn.wrote)
            r = commit(bs, &txn);
        else
            store_txn_abort(&txn);
    }
    if (r) {
        work_failed(bs, r, &before);
        return;
    }
    hold_written(bs->holds);
    atomic_fetch_add(&bs->stats.evicted_blocks, bs->evict.blocks - before.blocks);
    atomic_fetch_add(&bs->stats.evicted_bytes, bs->evict.bytes - before.bytes);
    if (bs->t.bytes <= bs->room_below)
        bs->room_wanted = false;
    if (bs->evict.active && bs->evict.finished) {
        if (bs->stats.fault != 0 || bs->group_most == 1 || (bs->collecting && store_env_free_bytes(&bs->env, 0) < BALLAST_AT))
            settle_freed(bs); /* who asks for it wants room, perhaps not for us */
        finish_evict(bs, 0);
    }
}

/* The quota was lowered, or the store opened above it. */
static void check_quota(struct blockstore *bs)
{
    uint64_t quota = atomic_load(&bs->quota);
    bs->check_quota = false;
    if (quota > 0 && bs->t.bytes > quota && bs->t.bytes > bs->t.live_bytes && !bs->evict.active)
        evict_begin(bs, evict_quota_target(bs, quota));
}

/* ---- the loop ---- */

static mono_ns next_deadline(struct blockstore *bs, mono_ns now)
{
    mono_ns at = bs->refresh_at;
    if (bs->pending && !bs->room_wanted)
        at = mono_min(at, bs->due > now ? bs->due : now);
    if (bs->unsynced)
        at = mono_min(at, bs->sync_at);
    if (may_give_back(bs))
        at = mono_min(at, bs->dead_at);
    return mono_min(at, bs->broken ? bs->reopen_at : work_at(bs));
}

static void turn(struct blockstore *bs)
{
    if (!bs->pending)
        opqueue_take_lazy(bs);
    mono_ns now = mono_now(), deadline = next_deadline(bs, now);
    if (deadline > now)
        (void)mailbox_wait(bs->inbox, deadline);
    opqueue_take(bs);
    now = mono_now();
    if (bs->broken && now >= bs->reopen_at) {
        bs->reopen_at = mono_after(now, RETRY);
        reopen(bs);
    }
    if (bs->pending && !bs->room_wanted && now >= bs->due) {
        opqueue_take_lazy(bs);
        run_group(bs);
    }
    if (bs->check_quota)
        check_quota(bs);
    if (!bs->stop && mono_now() >= work_at(bs))
        work(bs);
    if (may_give_back(bs) && now >= bs->dead_at && (bs->dead_pass || sync_now(bs) == 0))
        (void)give_back(bs);
    if (bs->unsynced && !bs->pending && now >= bs->sync_at)
        (void)sync_now(bs); /* a failure is in the figures, and tried again */
    if (now >= bs->refresh_at) {
        refresh_disk(bs, now);
        if (bs->refused && !bs->broken)
            (void)commit_nothing(bs); /* Is it over? Nobody may write for long, and the status should tell */
    }
}

static void *committer_main(void *arg)
{
    struct blockstore *bs = arg;
    (void)pthread_setname_np(pthread_self(), "p2p-store"); /* for people who look */
    while (!bs->stop || bs->pending)
        turn(bs);
    (void)sync_now(bs); /* a failure has been logged; nobody is left to ask */
    if (bs->collecting || bs->collects)
        finish_evict(bs, ERR_CANCELLED);
    return NULL;
}

/* ---- opening and closing ---- */

static int start_thread(struct blockstore *bs, struct why *why)
{
    int r = thread_start(&bs->thread, "p2p-committer", committer_main, bs);
    return r < 0 ? why_set(why, r, "no thread could be started") : 0;
}

static void free_parts(struct blockstore *bs)
{
    mailbox_free(bs->inbox);
    hold_table_free(bs->holds);
    vouched_free(bs->vouched);
    vouched_free(bs->rotten);
    segments_free(bs->segments);
    store_env_close(&bs->env);
    free(bs);
}

int blockstore_open(struct blockstore **ret, const struct blockstore_options *o, struct why *why)
{
    struct blockstore *bs = MEM_NEW(struct blockstore);
    bs->vouched = vouched_new();
    bs->rotten = vouched_new();
    bs->segments = segments_new(o->dir);
    int r = epoch_check(bs, o->dir, why);
    if (r == 0)
        r = store_env_open(&bs->env, o->dir, why);
    if (r == 0 && (r = epoch_begin(bs)))
        why_set(why, r, "cannot start the block store in %s: %s", o->dir, err_text(r));
    bs->budget = o->budget;
    bs->inbox = mailbox_new(SIZE_MAX, bs);
    bs->pending_end = &bs->pending;
    bs->group_most = GROUP_OPS_MAX;
    uint64_t share = o->budget ? budget_limit(o->budget) / 8 : GROUP_BYTES_MOST;
    bs->group_bytes_most = share < GROUP_BYTES_LEAST ? GROUP_BYTES_LEAST : share > GROUP_BYTES_MOST ? GROUP_BYTES_MOST : share;
    bs->lazy_most = bs->group_bytes_most / 2;
    bs->holds = hold_table_new();
    bs->unsynced = bs->check_quota = true;
    atomic_store(&bs->quota, o->quota_bytes);
    if (r == 0) {
        extents_sweep(bs);
        publish(bs);
        refresh_disk(bs, mono_now());
        r = start_thread(bs, why);
    }
    if (r) {
        free_parts(bs);
        return r;
    }
    *ret = bs;
    return 0;
}

static void op_free(struct mail *m, void *owner)
{
    (void)owner;
    free(m);
}

static void submit_internal(struct blockstore *bs, int (*apply)(struct store_op *op, struct store_txn *txn))
{
    struct store_op *op = MEM_NEW(struct store_op);
    op->mail.run = op_free;
    op->apply = apply;
    blockstore_submit(bs, op);
}

struct blockstore *blockstore_close(struct blockstore *bs)
{
    if (!bs)
        return NULL;
    submit_internal(bs, apply_stop);
    pthread_join(bs->thread, NULL);
    store_readers_close(bs);
    free_parts(bs);
    return NULL;
}

/* ---- submitting ---- */

static void sync_finish(struct mail *m, void *owner)
{
    (void)owner;
    struct sync_op *s = (struct sync_op *)m;
    if (s->done)
        s->done(s->arg, s->op.result);
    free(s);
}

void blockstore_sync(struct blockstore *bs, struct mailbox *reply, void (*done)(void *arg, int result), void *arg)
{
    struct sync_op *s = MEM_NEW(struct sync_op);
    s->op = (struct store_op){.mail.run = sync_finish, .apply = apply_sync, .reply = reply};
    s->done = done;
    s->arg = arg;
    blockstore_submit(bs, &s->op);
}

static void collect_finish(struct mail *m, void *owner)
{
    (void)owner;
    struct collect_op *c = (struct collect_op *)m;
    if (c->done)
        c->done(c->arg, &c->result);
    free(c);
}

void blockstore_collect(struct blockstore *bs, struct mailbox *reply, void (*done)(void *arg, const struct collect_result *r),
                        void *arg)
{
    struct collect_op *c = MEM_NEW(struct collect_op);
    c->op = (struct store_op){.mail.run = collect_finish, .apply = apply_collect, .reply = reply};
    c->done = done;
    c->arg = arg;
    blockstore_submit(bs, &c->op);
}

static void submit_hold(struct blockstore *bs, const struct cid *root, int delta)
{
    struct hold_op *h = MEM_NEW(struct hold_op);
    h->op = (struct store_op){.mail.run = op_free, .apply = apply_hold, .lazy = true};
    h->cid = *root;
    h->delta = delta;
    blockstore_submit(bs, &h->op);
}

void blockstore_hold(struct blockstore *bs, const struct cid *root)
{
    submit_hold(bs, root, 1);
}

void blockstore_unhold(struct blockstore *bs, const struct cid *root)
{
    submit_hold(bs, root, -1);
}

void store_reader_poke(struct blockstore *bs)
{
    if (!atomic_exchange(&bs->poked, true))
        submit_internal(bs, apply_poke);
}

void blockstore_set_quota(struct blockstore *bs, uint64_t quota_bytes)
{
    atomic_store(&bs->quota, quota_bytes);
    submit_internal(bs, apply_quota);
}
