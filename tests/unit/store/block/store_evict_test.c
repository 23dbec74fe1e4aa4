/* SPDX-License-Identifier: MIT
 *
 * Holds that change while a pass takes several steps in one transaction: each is written down once. */
#include "tests/unit/store/block/store_fixture.h"

#include "store/base/log.h"
#include "store/block/store_internal.h"

#include <criterion/criterion.h>
#include <semaphore.h>

#define LINKS 3000 /* more than a step of the pass counts, so that it takes two */

/* A node that a step does not finish with; its children are nowhere. */
static struct block *wide_node(uint32_t salt)
{
    struct cid *links = mem_array(LINKS, sizeof *links);
    for (uint32_t i = 0; i < LINKS; i++) {
        uint32_t number[2] = {salt, i};
        cid_of(&links[i], CODEC_RAW, span_of(number, sizeof number));
    }
    struct block *node = node_block(links, LINKS, salt);
    free(links);
    return node;
}

static bool told_of_counts(void)
{
    struct buf lines = BUF_INIT;
    log_ring_read(&lines);
    buf_add_u8(&lines, 0);
    bool told = strstr((const char *)buf_span(&lines).data, "below zero") != NULL;
    buf_done(&lines);
    return told;
}

Test(store_evict, an_ended_hold_is_taken_back_once)
{
    struct folder f;
    folder_make(&f);
    struct blockstore *bs = store_open(f.path, 0);
    struct block *leaf = raw_block(1, 100), *parent = node_block(&leaf->cid, 1, 1), *wide = wide_node(2);
    cr_assert_eq(do_put(bs, leaf), 0);
    cr_assert_eq(do_put(bs, parent), 0);
    blockstore_hold(bs, &parent->cid);
    blockstore_hold(bs, &leaf->cid);
    cr_assert_eq(do_collect(bs).blocks, 0);

    blockstore_unhold(bs, &leaf->cid);
    blockstore_hold(bs, &wide->cid);
    cr_assert_eq(do_put(bs, wide), 0);
    cr_assert_eq(do_collect(bs).blocks, 0, "its parent is held");
    cr_assert(has(bs, &leaf->cid));

    blockstore_unhold(bs, &parent->cid);
    cr_assert_eq(do_collect(bs).blocks, 2);
    blockstore_unhold(bs, &wide->cid);
    cr_assert_eq(do_collect(bs).blocks, 1, "it was counted once");
    cr_assert_not(told_of_counts());
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    block_unref(leaf);
    block_unref(parent);
    block_unref(wide);
    folder_remove(&f);
}

struct write_op {
    struct store_op op;
    struct hold_table *holds;
    int all;
};

static int write_apply(struct store_op *op, struct store_txn *txn)
{
    struct write_op *w = (struct write_op *)op;
    w->all = hold_write_down(w->holds, txn);
    return w->all < 0 ? w->all : 0;
}

/* Of a file of terabytes there is one for each MiB. */
Test(store_evict, many_holds_are_written_down_in_several_transactions)
{
    struct folder f;
    struct why why = {""};
    struct blockstore *bs;
    struct budget *budget = budget_new(BUDGET_MIN);
    folder_make(&f);
    cr_assert_eq(blockstore_open(&bs, &(struct blockstore_options){.dir = f.path, .budget = budget}, &why), 0, "%s", why.text);
    struct hold_table *holds = hold_table_new();
    for (uint32_t i = 0; i < 20000; i++) {
        struct cid cid;
        cid_of(&cid, CODEC_RAW, span_of(&i, sizeof i));
        hold_change(holds, &cid, 1);
    }
    unsigned rounds = 0;
    struct write_op w = {.op.apply = write_apply, .holds = holds};
    while (w.all != 1 && rounds++ < 100) {
        cr_assert_eq(blockstore_do(bs, &w.op), 0);
        hold_written(holds);
    }
    cr_assert(rounds > 1 && rounds < 100, "%u", rounds);
    cr_assert_eq(blockstore_do(bs, &w.op), 0);
    cr_assert_eq(w.all, 1, "nothing changed since");
    blockstore_close(bs);
    hold_table_free(holds);
    budget_free(budget);
    folder_remove(&f);
}

static MDB_stat index_stat(struct blockstore *bs, enum store_db db)
{
    struct store_reader *r;
    MDB_stat stat;
    cr_assert(store_reader_new(bs, &r) == 0 && store_read_begin(r) == 0);
    cr_assert_eq(mdb_stat(store_reader_txn(r), bs->env.db[db], &stat), 0);
    store_read_end(r);
    store_reader_free(r);
    return stat;
}

static int half_drop(struct store_op *op, struct store_txn *txn)
{
    (void)op;
    for (uint64_t i = 0; i < 20; i++) {
        struct block *b = raw_block(i, 100);
        struct row row;
        CHECK(row_load(txn, cid_hash(&b->cid), &row) == 0);
        row.stamp = 0;
        CHECK(row_drop_block(txn, cid_hash(&b->cid), &row) == 0);
        block_unref(b);
    }
    return 0;
}

/* It goes through the rows and then through the order; what died in between left entries there of blocks that are gone, and
 * some of these have come back. */
Test(store_evict, a_pass_that_was_cut_is_finished_by_the_next)
{
    struct folder f;
    folder_make(&f);
    for (unsigned few = 0; few < 2; few++) {
        struct blockstore *bs = store_open(f.path, 0);
        struct block *b[30], *live[1000];
        for (unsigned i = 0; i < 30; i++) {
            b[i] = raw_block(i, 100);
            cr_assert_eq(do_put(bs, b[i]), 0);
        }
        for (unsigned i = 0; i < 1000 * few; i++) { /* then it begins with the order */
            live[i] = raw_block(1000 + i, 100);
            cr_assert_eq(do_simple(bs, DO_PIN, &live[i]->cid), 0);
            cr_assert_eq(do_put(bs, live[i]), 0);
        }
        struct store_op cut = {.apply = half_drop};
        cr_assert_eq(blockstore_do(bs, &cut), 0);
        blockstore_close(bs);
        bs = store_open(f.path, 0);
        cr_assert_eq(index_stat(bs, DB_LRU).ms_entries, 30);
        cr_assert_eq(verify_all(bs, false, NULL), 0);
        for (unsigned i = 0; i < 10; i++)
            cr_assert_eq(do_put(bs, b[i]), 0);
        cr_assert_eq(verify_all(bs, false, NULL), 0);
        struct collect_result first = do_collect(bs), second = do_collect(bs);
        cr_assert_eq(first.blocks + second.blocks, 20);
        cr_assert_eq(index_stat(bs, DB_LRU).ms_entries, 0);
        cr_assert_eq(verify_all(bs, false, NULL), 0);
        for (unsigned i = 0; i < 1000 * few; i++) {
            cr_assert(has(bs, &live[i]->cid));
            block_unref(live[i]);
        }
        blockstore_close(bs);
        for (unsigned i = 0; i < 30; i++)
            block_unref(b[i]);
    }
    folder_remove(&f);
}

static unsigned long long bytes_written(void)
{
    char line[100];
    unsigned long long bytes = 0;
    FILE *io = fopen("/proc/self/io", "r");
    while (io && fgets(line, sizeof line, io) && sscanf(line, "wchar: %llu", &bytes) != 1)
        ;
    if (io)
        fclose(io);
    return bytes;
}

static void was_put(void *arg, struct block *b, int result)
{
    (void)b;
    cr_assert_eq(result, 0);
    sem_post(arg);
}

/* Blocks lie by their hashes: who takes them in the order in which they came writes pages for each. */
Test(store_evict, a_pass_writes_each_page_once)
{
    enum { COUNT = 20000 };
    struct folder f;
    struct why why = {""};
    struct blockstore *bs;
    struct budget *budget = budget_new(BUDGET_MIN);
    sem_t done;
    folder_make(&f);
    cr_assert_eq(blockstore_open(&bs, &(struct blockstore_options){.dir = f.path, .budget = budget}, &why), 0, "%s", why.text);
    sem_init(&done, 0, 0);
    for (unsigned i = 0; i < COUNT; i++)
        blockstore_put(bs, raw_block(i, 100), NULL, was_put, &done);
    for (unsigned i = 0; i < COUNT; i++)
        sem_wait(&done);
    sem_destroy(&done);
    unsigned long long before = bytes_written();
    size_t pages = index_stat(bs, DB_BLOCKS).ms_leaf_pages + index_stat(bs, DB_ROWS).ms_leaf_pages;
    cr_assert_eq(do_collect(bs).blocks, COUNT);
    unsigned long long bytes = bytes_written() - before;
    cr_assert_lt(bytes, 2 * pages * 4096ull, "%llu of %llu", bytes, pages * 4096ull);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    budget_free(budget);
    folder_remove(&f);
}
