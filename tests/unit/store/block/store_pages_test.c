/* SPDX-License-Identifier: MIT
 *
 * What LMDB keeps: it has a copy of each page that a transaction writes, and keeps the memory of the most that it ever had. */
#include "tests/unit/store/block/store_fixture.h"

#include "store/base/footprint.h"
#include "tests/unit/other_malloc.h"

#include <criterion/criterion.h>
#include <semaphore.h>

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
