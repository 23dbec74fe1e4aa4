/* SPDX-License-Identifier: MIT
 *
 * Records that tell of blocks which the store refused: they wait, but for a removal they are let through, and then a crash finds
 * the old or the new bytes. A tree that is opened again without being told more is what a crash leaves. */
#include "tests/unit/store/tree/formerbed.h"

#include "store/block/blockstore_txn.h"
#include "store/tree/tree_record.h"

#include <semaphore.h>
#include <string.h>

static bool has_content(struct bed *b, uint64_t id)
{
    struct tree_node n;
    CHECK_EQ(tree_get(b->t, id, &n), 0);
    return n.content.size > 0;
}

/* The store refused a block that a record tells of: the record waits, and all behind it; until the block is stored. */
static void test_refused_blocks_keep_back(void)
{
    struct bed b;
    uint64_t id;
    bed_new(&b);
    uint64_t f = make_file(&b, TREE_ROOT, "f");
    CHECK_EQ(bed_sync(&b), 0);
    for (int stored = 0; stored < 2; stored++) {
        struct store_guard *g = store_guard_new();
        store_guard_refuse(g, ERR_NO_SPACE);
        CHECK_EQ(tree_set_content(b.t, f, &(struct tree_content){.root = content(7), .guard = g}, 1), 0);
        CHECK_EQ(tree_rename(b.t, place(TREE_ROOT, "f"), place(TREE_ROOT, "new"), 0, 1), 0);
        CHECK_EQ(bed_sync(&b), ERR_NO_SPACE);
        CHECK(has_content(&b, f));
        if (stored) {
            store_guard_forgive(g, 1);
            CHECK_EQ(bed_sync(&b), 0);
        }
        g = store_guard_unref(g);
        reopen(&b); /* a crash would find the same */
        CHECK_EQ(lookup(&b, TREE_ROOT, stored ? "new" : "f", &id), 0);
        CHECK_EQ(has_content(&b, id), stored);
    }
    check_sound(&b, NULL);
    bed_free(&b);
}

/* ---- let through ---- */

/* A file that was there, another to remove, and a guard with one refusal. */
struct full {
    struct bed b;
    uint64_t f, behind;
    struct store_guard *g;
    struct unixfs_root old, new;
};

static void overwrite(struct full *s, uint64_t id, const struct unixfs_root *with)
{
    CHECK_EQ(tree_set_content(s->b.t, id, &(struct tree_content){.root = *with, .guard = s->g}, 2), 0);
}

static void full_new(struct full *s)
{
    *s = (struct full){.g = store_guard_new()};
    bed_new(&s->b);
    s->f = make_file(&s->b, TREE_ROOT, "f");
    s->behind = make_file(&s->b, TREE_ROOT, "behind");
    (void)make_file(&s->b, TREE_ROOT, "gone");
    s->old = file_of(&s->b, 1, LEAVES + 1);
    CHECK_EQ(tree_set_content(s->b.t, s->f, &(struct tree_content){.root = s->old}, 1), 0);
    CHECK_EQ(live(&s->b), LEAVES + 1);
    s->new = file_of(&s->b, 2, 0);
}

static void full_free(struct full *s)
{
    store_guard_unref(s->g);
    bed_free(&s->b);
}

static void remove_gone(struct full *s)
{
    uint64_t id;
    CHECK_EQ(tree_unlink(s->b.t, place(TREE_ROOT, "gone"), 2), 0);
    bed_settle(&s->b); /* refused with those before it */
    (void)bed_sync(&s->b);
    CHECK_EQ(lookup(&s->b, TREE_ROOT, "gone", &id), ERR_NOT_FOUND);
}

/* What the file has after a crash, and that only that is referred to. */
static void after_crash(struct full *s, const struct unixfs_root *want, uint64_t blocks)
{
    struct tree_node n;
    check_sound(&s->b, NULL);
    check_store(&s->b);
    for (unsigned times = 0; times < 2; times++) { /* the second start has nothing to decide */
        reopen(&s->b);
        CHECK_EQ(live(&s->b), blocks);
        check_sound(&s->b, NULL);
        check_store(&s->b);
        CHECK_EQ(tree_get(s->b.t, s->f, &n), 0);
        CHECK(cid_eq(&n.content.cid, &want->cid));
        CHECK_EQ(n.content.size, want->size);
        CHECK_EQ(n.content.tsize, want->tsize);
        CHECK_EQ(n.mtime, cid_eq(&want->cid, &s->old.cid) ? 1 : 2);
        CHECK_EQ(lookup(&s->b, TREE_ROOT, "gone", &n.id), ERR_NOT_FOUND);
    }
}

/* What is removed may make the room that lacks: nothing before it keeps it back, but what comes behind it waits. A disk that
 * fails for another reason gains nothing. */
static void test_removals_pass(void)
{
    static const int errors[] = {ERR_NO_SPACE, ERR_QUOTA, ERR_IO};
    for (unsigned i = 0; i < 3; i++) {
        struct full s;
        uint64_t id;
        full_new(&s);
        store_guard_refuse(s.g, errors[i]);
        overwrite(&s, s.f, &s.new);
        CHECK_EQ(tree_unlink(s.b.t, place(TREE_ROOT, "gone"), 2), 0);
        overwrite(&s, s.behind, &s.new);
        bed_settle(&s.b);
        CHECK_EQ(bed_sync(&s.b), errors[i]);
        reopen(&s.b);
        CHECK_EQ(lookup(&s.b, TREE_ROOT, "gone", &id), errors[i] == ERR_IO ? 0 : ERR_NOT_FOUND);
        CHECK(!has_content(&s.b, s.behind));
        CHECK_EQ(live(&s.b), LEAVES + 1);
        full_free(&s);
    }
}

/* A crash with some of the blocks of the new bytes stored: only all of them are a file. */
static void test_some_are_stored(void)
{
    for (unsigned stored = 0; stored <= LEAVES + 1; stored++) {
        struct full s;
        full_new(&s);
        store_guard_refuse(s.g, ERR_NO_SPACE);
        overwrite(&s, s.f, &s.new);
        remove_gone(&s);
        (void)file_of(&s.b, 2, stored);
        CHECK_EQ(bed_sync(&s.b), 0);
        after_crash(&s, stored > LEAVES ? &s.new : &s.old, LEAVES + 1);
        full_free(&s);
    }
}

/* Whoever put them says that they are stored: the old bytes are not kept longer. */
static void test_all_are_stored(void)
{
    struct full s;
    full_new(&s);
    store_guard_refuse(s.g, ERR_QUOTA);
    overwrite(&s, s.f, &s.new);
    remove_gone(&s);
    CHECK_EQ(live(&s.b), LEAVES + 2); /* the old, and of the new the root is wanted */
    (void)file_of(&s.b, 2, LEAVES + 1);
    CHECK_EQ(live(&s.b), 2 * (LEAVES + 1));
    store_guard_forgive(s.g, 1);
    CHECK_EQ(live(&s.b), LEAVES + 1); /* in the sync itself */
    after_crash(&s, &s.new, LEAVES + 1);
    full_free(&s);
}

/* Stops the committer until sem_post(&go); then perhaps a block is refused. */
struct gate {
    struct store_op op;
    sem_t entered, go, left;
    struct store_guard *refuse; /* NULL */
};

static int gate_apply(struct store_op *op, struct store_txn *txn)
{
    struct gate *g = (struct gate *)op;
    (void)txn;
    sem_post(&g->entered);
    while (sem_wait(&g->go) < 0)
        ;
    if (g->refuse)
        store_guard_refuse(g->refuse, ERR_NO_SPACE);
    return 0;
}

static void gate_left(struct mail *m, void *owner)
{
    (void)owner;
    sem_post(&((struct gate *)m)->left);
}

static void gate_shut(struct gate *g, struct blockstore *bs, struct store_guard *refuse)
{
    *g = (struct gate){.op = {.mail.run = gate_left, .apply = gate_apply}, .refuse = refuse};
    sem_init(&g->entered, 0, 0);
    sem_init(&g->go, 0, 0);
    sem_init(&g->left, 0, 0);
    blockstore_submit(bs, &g->op);
    while (sem_wait(&g->entered) < 0)
        ;
}

static void gate_open(struct gate *g)
{
    sem_post(&g->go);
    while (sem_wait(&g->left) < 0)
        ;
}

/* They are stored while a sync is on its way: its answer is for the file as it is. */
static void test_stored_in_a_sync(void)
{
    struct full s;
    struct gate gate;
    int result = 1;
    full_new(&s);
    store_guard_refuse(s.g, ERR_NO_SPACE);
    overwrite(&s, s.f, &s.new);
    remove_gone(&s);
    tree_sync(s.b.t, bed_synced, &result);
    committer_idle(&s.b); /* the sync is answered */
    gate_shut(&gate, s.b.bs, NULL);
    store_guard_forgive(s.g, 1);
    tree_retry(s.b.t);
    while (mailbox_run(s.b.mb, 1000) > 0)
        ;
    CHECK_EQ(result, 1);
    gate_open(&gate);
    while (result == 1) {
        CHECK(mailbox_wait(s.b.mb, mono_now() + 60 * MONO_S));
        bed_pump(&s.b);
    }
    CHECK_EQ(result, 0);
    full_free(&s);
}

/* While the committer is told that all are stored, another is refused: that is none of them. */
static void test_refused_meanwhile(void)
{
    struct full s;
    struct gate gate;
    full_new(&s);
    store_guard_refuse(s.g, ERR_NO_SPACE);
    overwrite(&s, s.f, &s.new);
    remove_gone(&s);
    gate_shut(&gate, s.b.bs, s.g);
    store_guard_forgive(s.g, 1);
    tree_retry(s.b.t);
    gate_open(&gate);
    CHECK_EQ(live(&s.b), 1);
    check_store(&s.b);
    full_free(&s);
}

/* The node says so, but by then newer bytes are in the file, and a block of these is refused: the old bytes stay. */
static void test_refused_again(void)
{
    struct full s;
    full_new(&s);
    store_guard_refuse(s.g, ERR_NO_SPACE);
    overwrite(&s, s.f, &s.new);
    remove_gone(&s);
    store_guard_refuse(s.g, ERR_NO_SPACE);
    struct unixfs_root newer = file_of(&s.b, 3, 0);
    overwrite(&s, s.f, &newer);
    CHECK_EQ(bed_sync(&s.b), ERR_NO_SPACE);
    CHECK_EQ(tree_unlink(s.b.t, place(TREE_ROOT, "behind"), 2), 0);
    bed_settle(&s.b);
    (void)bed_sync(&s.b);
    store_guard_forgive(s.g, 1);
    CHECK_EQ(live(&s.b), LEAVES + 2);
    after_crash(&s, &s.old, LEAVES + 1);
    full_free(&s);
}

/* What was empty is empty again. */
static void test_from_nothing(void)
{
    struct full s;
    full_new(&s);
    store_guard_refuse(s.g, ERR_NO_SPACE);
    overwrite(&s, s.behind, &s.new);
    remove_gone(&s);
    reopen(&s.b);
    CHECK(!has_content(&s.b, s.behind));
    after_crash(&s, &s.old, LEAVES + 1);
    full_free(&s);
}

/* The file itself is removed: then neither is kept, whether a crash comes before it is forgotten or after. */
static void test_gone_with_it(void)
{
    for (int forgotten = 0; forgotten < 2; forgotten++) {
        struct full s;
        struct tree_node n;
        full_new(&s);
        store_guard_refuse(s.g, ERR_NO_SPACE);
        overwrite(&s, s.f, &s.new);
        CHECK_EQ(tree_unlink(s.b.t, place(TREE_ROOT, "f"), 2), 0);
        bed_settle(&s.b);
        (void)bed_sync(&s.b);
        CHECK_EQ(live(&s.b), LEAVES + 2);
        if (forgotten) {
            CHECK_EQ(tree_forget(s.b.t, s.f), 0);
            CHECK_EQ(live(&s.b), 0);
        }
        check_sound(&s.b, NULL);
        check_store(&s.b);
        reopen(&s.b);
        CHECK_EQ(live(&s.b), 0);
        check_sound(&s.b, NULL);
        check_store(&s.b);
        CHECK_EQ(tree_get(s.b.t, s.f, &n), ERR_STALE);
        full_free(&s);
    }
}

/* A published folder whose blocks were refused is to be published again. */
static void test_folder(void)
{
    for (int stored = 0; stored < 2; stored++) {
        struct full s;
        struct block_sink sink = {.put = sink_refuse};
        struct unixfs_root root;
        struct tree_node n;
        full_new(&s);
        store_guard_refuse(tree_publish_guard(s.b.t), ERR_NO_SPACE);
        publish(&s.b, TREE_ROOT, &sink, &root);
        CHECK_EQ(bed_sync(&s.b), 0); /* nothing waits for it */
        if (stored)
            store_guard_forgive(tree_publish_guard(s.b.t), 1);
        CHECK_EQ(live(&s.b), LEAVES + 2);
        reopen(&s.b);
        CHECK_EQ(tree_get(s.b.t, TREE_ROOT, &n), 0);
        CHECK_EQ(n.dirty, !stored);
        store_guard_refuse(tree_publish_guard(s.b.t), ERR_NO_SPACE);
        uint64_t d = make_dir(&s.b, TREE_ROOT, "d");
        publish(&s.b, d, &sink, &root);
        remove_gone(&s);
        check_sound(&s.b, NULL);
        check_store(&s.b);
        reopen(&s.b);
        CHECK_EQ(tree_get(s.b.t, d, &n), 0);
        CHECK(n.dirty);
        after_crash(&s, &s.old, LEAVES + 1);
        full_free(&s);
    }
}

/* Another file takes its place, and nothing says so yet: the name has the bytes of before or those of now. */
static void test_renamed_over(void)
{
    struct full s;
    struct tree_node n;
    full_new(&s);
    uint64_t tmp = make_file(&s.b, TREE_ROOT, "tmp");
    CHECK_EQ(bed_sync(&s.b), 0);
    store_guard_refuse(s.g, ERR_NO_SPACE);
    overwrite(&s, tmp, &s.new);
    CHECK_EQ(tree_rename(s.b.t, place(TREE_ROOT, "tmp"), place(TREE_ROOT, "f"), 0, 3), 0);
    CHECK_EQ(tree_forget(s.b.t, s.f), 0);
    remove_gone(&s);
    reopen(&s.b);
    CHECK_EQ(tree_lookup(s.b.t, place(TREE_ROOT, "f"), &n), 0);
    CHECK(cid_eq(&n.content.cid, &s.old.cid));
    CHECK_EQ(live(&s.b), LEAVES + 1);
    full_free(&s);
}

/* All blocks are stored and a sync says so: what is written then and refused does not take it back. */
static void test_refused_after_a_sync(void)
{
    struct full s;
    struct tree_node n;
    int result = 1;
    full_new(&s);
    CHECK_EQ(bed_sync(&s.b), 0);
    store_guard_refuse(s.g, ERR_NO_SPACE);
    overwrite(&s, s.f, &s.new);
    CHECK_EQ(tree_unlink(s.b.t, place(TREE_ROOT, "gone"), 2), 0);
    bed_settle(&s.b);
    (void)file_of(&s.b, 2, LEAVES + 1);
    tree_sync(s.b.t, bed_synced, &result);
    committer_idle(&s.b);
    store_guard_forgive(s.g, 1);
    tree_retry(s.b.t);
    while (result == 1) {
        CHECK(mailbox_wait(s.b.mb, mono_now() + 60 * MONO_S));
        bed_pump(&s.b);
    }
    CHECK_EQ(result, 0);
    store_guard_refuse(s.g, ERR_NO_SPACE);
    struct unixfs_root newer = file_of(&s.b, 3, 0);
    overwrite(&s, s.f, &newer);
    CHECK_EQ(tree_unlink(s.b.t, place(TREE_ROOT, "behind"), 2), 0);
    bed_settle(&s.b);
    (void)bed_sync(&s.b);
    reopen(&s.b);
    CHECK_EQ(tree_get(s.b.t, s.f, &n), 0);
    CHECK(cid_eq(&n.content.cid, &s.new.cid));
    full_free(&s);
}

/* Its writer gives the new bytes up, because the file is removed; the removal is not on the disk when the node ends. */
static void test_given_up(void)
{
    for (int removed = 0; removed < 2; removed++) {
        struct full s;
        struct tree_node n;
        full_new(&s);
        store_guard_refuse(s.g, ERR_IO);
        overwrite(&s, s.f, &s.new);
        CHECK_EQ(bed_sync(&s.b), ERR_IO);
        store_guard_give_up(s.g);
        store_guard_forgive(s.g, 1);
        CHECK_EQ(live(&s.b), LEAVES + 2);
        if (removed) {
            CHECK_EQ(tree_unlink(s.b.t, place(TREE_ROOT, "f"), 2), 0);
            CHECK_EQ(tree_forget(s.b.t, s.f), 0);
            CHECK_EQ(live(&s.b), 0);
        }
        reopen(&s.b);
        CHECK_EQ(live(&s.b), removed ? 0 : LEAVES + 1);
        CHECK_EQ(tree_get(s.b.t, s.f, &n), removed ? ERR_STALE : 0);
        CHECK(removed || cid_eq(&n.content.cid, &s.old.cid));
        check_sound(&s.b, NULL);
        check_store(&s.b);
        full_free(&s);
    }
}

/* What waits is given up for other bytes, which are on their way: it keeps no room that these need, whether it was stored in part
 * or in all. Before they are told a crash finds what was there before. */
static void test_given_up_for_others(void)
{
    for (int told = 0; told < 2; told++) {
        struct full s;
        struct tree_node n;
        full_new(&s);
        store_guard_refuse(s.g, ERR_QUOTA);
        overwrite(&s, s.f, &s.new);
        (void)file_of(&s.b, 2, told ? LEAVES : LEAVES + 1);
        (void)bed_sync(&s.b);
        CHECK_EQ(tree_set_content(s.b.t, s.f, &(struct tree_content){.guard = s.g, .gives_up = true}, 2), 0);
        store_guard_give_up(s.g);
        bed_settle(&s.b);
        CHECK_EQ(bed_sync(&s.b), 0);
        CHECK_EQ(live(&s.b), LEAVES + 1); /* the old ones */
        CHECK(!has_content(&s.b, s.f));
        struct unixfs_root third = file_of(&s.b, 3, LEAVES + 1);
        if (told) {
            CHECK_EQ(tree_set_content(s.b.t, s.f, &(struct tree_content){.root = third}, 2), 0);
            CHECK_EQ(live(&s.b), LEAVES + 1);
        }
        reopen(&s.b);
        CHECK_EQ(tree_get(s.b.t, s.f, &n), 0);
        CHECK(cid_eq(&n.content.cid, told ? &third.cid : &s.old.cid));
        CHECK_EQ(live(&s.b), LEAVES + 1);
        check_sound(&s.b, NULL);
        check_store(&s.b);
        full_free(&s);
    }
}

/* A file that was empty before it had what is given up. */
static void test_given_up_from_nothing(void)
{
    struct full s;
    struct tree_node n;
    full_new(&s);
    store_guard_refuse(s.g, ERR_QUOTA);
    overwrite(&s, s.behind, &s.new);
    CHECK_EQ(tree_set_content(s.b.t, s.behind, &(struct tree_content){.guard = s.g, .gives_up = true}, 2), 0);
    store_guard_give_up(s.g);
    bed_settle(&s.b);
    CHECK_EQ(bed_sync(&s.b), 0);
    reopen(&s.b);
    CHECK_EQ(tree_get(s.b.t, s.behind, &n), 0);
    CHECK_EQ(n.content.size, 0);
    CHECK_EQ(live(&s.b), LEAVES + 1);
    check_sound(&s.b, NULL);
    check_store(&s.b);
    full_free(&s);
}

/* What it waits for may be held until it is on the disk. */
static void test_let_through(void)
{
    static const int errors[] = {ERR_NO_SPACE, ERR_QUOTA, ERR_IO};
    for (unsigned i = 0; i < 3; i++) {
        struct full s;
        full_new(&s);
        store_guard_refuse(s.g, errors[i]);
        overwrite(&s, s.f, &s.new);
        CHECK_EQ(bed_sync(&s.b), errors[i]);
        tree_let_through(s.b.t);
        CHECK_EQ(bed_sync(&s.b), errors[i] == ERR_IO ? ERR_IO : 0);
        reopen(&s.b);
        CHECK_EQ(live(&s.b), LEAVES + 1);
        check_store(&s.b);
        full_free(&s);
    }
}

/* A file that is emptied makes room as one that is removed. */
static void test_emptying_passes(void)
{
    struct full s;
    full_new(&s);
    store_guard_refuse(s.g, ERR_QUOTA);
    overwrite(&s, s.behind, &s.new);
    CHECK_EQ(bed_sync(&s.b), ERR_QUOTA);
    CHECK_EQ(tree_set_content(s.b.t, s.f, &(struct tree_content){.guard = NULL}, 2), 0);
    bed_settle(&s.b);
    CHECK_EQ(bed_sync(&s.b), 0);
    CHECK_EQ(live(&s.b), 1); /* the root of the new one is wanted */
    reopen(&s.b);
    CHECK(!has_content(&s.b, s.f));
    check_sound(&s.b, NULL);
    check_store(&s.b);
    full_free(&s);
}

/* What makes room is that it is let go of: nothing keeps that back either. */
static void test_forget_passes(void)
{
    struct full s;
    uint64_t gone;
    full_new(&s);
    CHECK_EQ(lookup(&s.b, TREE_ROOT, "gone", &gone), 0);
    struct unixfs_root big = file_of(&s.b, 4, LEAVES + 1);
    CHECK_EQ(tree_set_content(s.b.t, gone, &(struct tree_content){.root = big}, 1), 0);
    CHECK_EQ(live(&s.b), 2 * (LEAVES + 1));
    store_guard_refuse(s.g, ERR_NO_SPACE);
    remove_gone(&s);
    overwrite(&s, s.f, &s.new);
    bed_settle(&s.b);
    CHECK_EQ(bed_sync(&s.b), ERR_NO_SPACE);
    CHECK_EQ(tree_forget(s.b.t, gone), 0);
    bed_settle(&s.b);
    (void)bed_sync(&s.b);
    CHECK_EQ(live(&s.b), LEAVES + 2);
    full_free(&s);
}

/* A program of before this knew nothing of such records, and removed the file. */
struct stray {
    struct store_op op;
    MDB_dbi db;
};

static int stray_apply(struct store_op *op, struct store_txn *txn)
{
    struct tree_key key = tree_key_id(TREE_SHARE_ID, RECORD_FORMER, 777);
    struct buf value = BUF_INIT;
    struct tree_former f = {.mtime = 1, .content = content(9)};
    tree_former_encode(&f, &value);
    int r = store_txn_ref(txn, &f.content.cid);
    if (r == 0)
        r = store_txn_set(txn, ((struct stray *)op)->db, tree_key_span(&key), buf_span(&value));
    buf_done(&value);
    return r;
}

static void test_older_program(void)
{
    struct full s;
    full_new(&s);
    struct stray stray = {.op = {.apply = stray_apply}};
    CHECK_EQ(blockstore_record_db(s.b.bs, "tree.records", 0, &stray.db), 0);
    CHECK_EQ(blockstore_do(s.b.bs, &stray.op), 0);
    CHECK_EQ(live(&s.b), LEAVES + 2);
    reopen(&s.b);
    CHECK_EQ(live(&s.b), LEAVES + 1);
    check_sound(&s.b, NULL);
    full_free(&s);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        {"refused blocks keep back", test_refused_blocks_keep_back},
        {"removals pass", test_removals_pass},
        {"some are stored", test_some_are_stored},
        {"all are stored", test_all_are_stored},
        {"stored in a sync", test_stored_in_a_sync},
        {"refused meanwhile", test_refused_meanwhile},
        {"refused again", test_refused_again},
        {"from nothing", test_from_nothing},
        {"gone with it", test_gone_with_it},
        {"folder", test_folder},
        {"renamed over", test_renamed_over},
        {"refused after a sync", test_refused_after_a_sync},
        {"forget passes", test_forget_passes},
        {"older program", test_older_program},
        {"given up", test_given_up},
        {"given up for others", test_given_up_for_others},
        {"given up from nothing", test_given_up_from_nothing},
        {"emptying passes", test_emptying_passes},
        {"let through", test_let_through},
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        printf("%s\n", tests[i].name);
        fflush(stdout);
        tests[i].run();
    }
    return 0;
}
