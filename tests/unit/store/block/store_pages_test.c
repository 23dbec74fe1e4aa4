/* SPDX-License-Identifier: MIT
 *
 * What LMDB keeps: it has a copy of each page that a transaction writes, and keeps the memory of the most that it ever had. */
#include "tests/unit/store/block/store_fixture.h"

#include "store/base/footprint.h"
#include "tests/unit/other_malloc.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sys/stat.h>

#define MIB   ((size_t)1 << 20)
#define COUNT 24000 /* their rows and blocks are 2,400 pages */
#define BURST 4000

static struct blockstore *open_small(const char *dir, struct budget *b)
{
    struct blockstore *bs = NULL;
    struct why why = {""};
    cr_assert_eq(blockstore_open(&bs, &(struct blockstore_options){.dir = dir, .budget = b}, &why), 0, "%s", why.text);
    return bs;
}

static void was_put(void *arg, struct block *b, int result)
{
    (void)b;
    cr_assert_eq(result, 0);
    sem_post(arg);
}

static void put_many(struct blockstore *bs, uint64_t from, unsigned count)
{
    sem_t done;
    sem_init(&done, 0, 0);
    for (unsigned i = 0; i < count; i++) {
        blockstore_put(bs, raw_block(from + i, 200), NULL, was_put, &done);
    }
    for (unsigned i = 0; i < count; i++)
        while (sem_wait(&done) != 0)
            ;
    sem_destroy(&done);
}

Test(store_pages, a_transaction_is_cut_when_it_has_many, .disabled = OTHER_MALLOC)
{
    struct folder f;
    folder_make(&f);
    struct budget *budget = budget_new(32 * MIB);
    struct blockstore *bs = open_small(f.path, budget);
    footprint_tame();
    uint64_t before = footprint_private();
    for (unsigned i = 0; i < COUNT; i += BURST)
        put_many(bs, i, BURST);
    struct collect_result r = do_collect(bs);
    cr_assert_eq(r.blocks, COUNT);
    footprint_trim();
    uint64_t after = footprint_private();
    cr_assert_lt(after, before + 6 * MIB, "an eighth of the budget, and what else there is: %zu then %zu", (size_t)before,
                 (size_t)after);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    cr_assert_eq(budget_used(budget), 0);
    budget_free(budget);
    folder_remove(&f);
}

struct record_op {
    struct store_op op;
    MDB_dbi db;
    bool del;
};

static int record_apply(struct store_op *op, struct store_txn *txn)
{
    const struct record_op *r = (const struct record_op *)op;
    struct span key = span_str("key");
    return r->del ? store_txn_del(txn, r->db, key) : store_txn_set(txn, r->db, key, span_str("value"));
}

/* A disk that does not give a page of the index, here by another's truncation */
Test(store_pages, what_is_gone_is_refused_and_comes_back)
{
    struct folder f;
    char path[128];
    struct stat st;
    folder_make(&f);
    struct blockstore *bs = open_small(f.path, NULL);
    struct record_op set = {.op.apply = record_apply}, del = {.op.apply = record_apply, .del = true};
    cr_assert_eq(blockstore_record_db(bs, "test.names", 0, &set.db), 0);
    del.db = set.db;
    put_many(bs, 0, 100);
    cr_assert_eq(blockstore_do(bs, &set.op), 0);
    snprintf(path, sizeof path, "%s/data.mdb", f.path);
    int fd = open(path, O_RDWR);
    cr_assert_eq(fstat(fd, &st), 0);
    uint8_t *was = malloc((size_t)st.st_size);
    cr_assert_eq(pread(fd, was, (size_t)st.st_size, 0), st.st_size);
    cr_assert_eq(ftruncate(fd, 8192), 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(blockstore_do(bs, &del.op), ERR_IO);
        cr_assert_eq(blockstore_do(bs, &set.op), ERR_IO);
    }
    cr_assert_eq(pwrite(fd, was, (size_t)st.st_size, 0), st.st_size);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(blockstore_do(bs, &del.op), 0);
    cr_assert_eq(blockstore_do(bs, &set.op), 0);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    bs = open_small(f.path, NULL);
    cr_assert_eq(verify_all(bs, false, NULL), 0);
    blockstore_close(bs);
    free(was);
    folder_remove(&f);
}
