/* SPDX-License-Identifier: MIT */
#include "store/block/carfile.h"

#include "store/block/dagwalk.h"
#include "store/codec/car.h"
#include "store/content/hasher.h"
#include "tests/unit/store/block/store_fixture.h"
#include "tests/unit/store/unixfs/memblocks.h"

#include <criterion/criterion.h>

#define MOST (UINT64_C(64) << 20)

/* root → a, b, a; a → leaf 1, leaf 2; b → leaf 2, leaf 3 */
static struct cid add(struct mem_blocks *m, struct block *take_b)
{
    struct cid cid = take_b->cid;
    mem_add(m, take_b);
    return cid;
}

static struct cid small_dag(struct mem_blocks *m)
{
    struct cid leaf[3], inner[3];
    for (unsigned i = 0; i < 3; i++)
        leaf[i] = add(m, raw_block(i, 100 + i));
    inner[0] = inner[2] = add(m, node_block(leaf, 2, 1));
    inner[1] = add(m, node_block(leaf + 1, 2, 2));
    return add(m, node_block(inner, 3, 3));
}

Test(dagwalk, depth_first_each_once)
{
    struct mem_blocks *m = mem_blocks_new();
    struct cid root = small_dag(m), cid;
    struct span block;
    struct dagwalk *w = dagwalk_new(&root, NULL, MOST);
    size_t sizes[8];
    unsigned n = 0;
    while (dagwalk_next(w, &m->source, &cid, &block) == 1)
        sizes[n++] = block.len;
    cr_assert_eq(n, 6);
    cr_assert(sizes[2] == 100 && sizes[3] == 101 && sizes[5] == 102, "leaf 1 and 2 below a, then b with leaf 3 only");
    cr_assert(dagwalk_done(w) && dagwalk_ahead(w, 0) == NULL);
    dagwalk_free(w);
    mem_blocks_free(m);
}

Test(dagwalk, notes_what_is_missing_and_goes_on)
{
    struct mem_blocks *m = mem_blocks_new();
    struct cid leaf[3] = {add(m, raw_block(1, 10)), add(m, raw_block(2, 20)), add(m, raw_block(3, 30))};
    struct cid root = add(m, node_block(leaf, 3, 1)), cid;
    struct span block;
    mem_hide(m, &leaf[0], true);
    mem_hide(m, &leaf[2], true);
    struct dagwalk *w = dagwalk_new(&root, NULL, MOST);
    cr_assert_eq(dagwalk_next(w, &m->source, &cid, &block), 1);
    cr_assert_eq(dagwalk_next(w, &m->source, &cid, &block), ERR_MISSING);
    cr_assert_eq(m->source.missing_count, 2, "and the sibling that will be needed");
    mem_hide(m, &leaf[0], false);
    mem_hide(m, &leaf[2], false);
    unsigned n = 0;
    while (dagwalk_next(w, &m->source, &cid, &block) == 1)
        n++;
    cr_assert_eq(n, 3);
    dagwalk_free(w);
    mem_blocks_free(m);
}

Test(dagwalk, bounded_and_charged)
{
    struct mem_blocks *m = mem_blocks_new();
    struct budget *b = budget_new(BUDGET_MIN);
    struct cid leaf[4000], cid;
    struct span block;
    for (unsigned i = 0; i < 4000; i++)
        leaf[i] = add(m, raw_block(i, 10));
    struct cid root = add(m, node_block(leaf, 4000, 1));
    struct dagwalk *w = dagwalk_new(&root, b, 100000);
    cr_assert_eq(dagwalk_next(w, &m->source, &cid, &block), ERR_TOO_BIG);
    cr_assert_eq(dagwalk_next(w, &m->source, &cid, &block), ERR_TOO_BIG, "and again");
    cr_assert_leq(budget_class_used(b, BUDGET_TABLE), 100000);
    dagwalk_free(w);
    cr_assert_eq(budget_used(b), 0);
    w = dagwalk_new(&root, b, MOST);
    size_t all = 0;
    while (budget_take(b, BUDGET_TABLE, 65536)) /* somebody else has everything */
        all += 65536;
    cr_assert_eq(dagwalk_next(w, &m->source, &cid, &block), ERR_AGAIN);
    budget_give(b, BUDGET_TABLE, all);
    unsigned n = 0;
    while (dagwalk_next(w, &m->source, &cid, &block) == 1)
        n++;
    cr_assert_eq(n, 4001, "what was refused has lost nothing");
    dagwalk_free(w);
    cr_assert_eq(budget_used(b), 0);
    budget_free(b);
    mem_blocks_free(m);
}

/* What the CAR reader says to it */
static unsigned blocks_in(struct span car, const struct cid *root)
{
    struct car_reader *r = car_reader_new();
    struct car_event ev;
    unsigned n = 0;
    cr_assert_eq(car_reader_input(r, car), 0);
    car_reader_eof(r);
    while (car_reader_next(r, &ev) == 1) {
        if (ev.type == CAR_HEADER)
            cr_assert(ev.root_count == 1 && cid_eq(&ev.roots[0], root));
        if (ev.type == CAR_BLOCK) {
            cr_assert_eq(hash_verify(&ev.cid, ev.data), 0);
            n++;
        }
    }
    car_reader_free(r);
    return n;
}

Test(carfile, any_part_of_it)
{
    struct mem_blocks *m = mem_blocks_new();
    struct cid root = small_dag(m);
    struct carfile *f = carfile_new(&root, NULL, MOST);
    unsigned steps = 0;
    while (!carfile_complete(f)) {
        cr_assert_eq(carfile_index(f, &m->source, 1), 0);
        steps++;
    }
    cr_assert_eq(steps, 7);
    size_t size = (size_t)carfile_size(f);
    uint8_t *all = mem_new(size + 1), *part = mem_new(size);
    cr_assert_eq(carfile_read(f, &m->source, 0, all, size + 1), (int)size);
    cr_assert_eq(blocks_in(span_of(all, size), &root), 6);
    for (size_t at = 0; at < size; at++)
        for (size_t len = 1; len <= 64 && at + len <= size; len += 7) {
            cr_assert_eq(carfile_read(f, &m->source, at, part, len), (int)len);
            cr_assert_arr_eq(part, all + at, len);
        }
    cr_assert_eq(carfile_read(f, &m->source, size, part, 1), 0);
    cr_assert_eq(carfile_read(f, &m->source, UINT64_MAX, part, 1), 0);
    free(all);
    free(part);
    carfile_free(f);
    mem_blocks_free(m);
}

Test(carfile, a_block_gone_after_indexing_is_missing)
{
    struct mem_blocks *m = mem_blocks_new();
    struct cid root = small_dag(m);
    struct carfile *f = carfile_new(&root, NULL, MOST);
    uint8_t byte[64];
    while (!carfile_complete(f))
        (void)carfile_index(f, &m->source, 100);
    mem_hide(m, &root, true);
    cr_assert_eq(carfile_read(f, &m->source, 70, byte, 64), ERR_MISSING);
    cr_assert_eq(m->source.missing_count, 1);
    carfile_free(f);
    mem_blocks_free(m);
}

Test(carfile, identity_root)
{
    struct mem_blocks *m = mem_blocks_new();
    struct cid root;
    cr_assert_eq(cid_from_text(span_str("bafkqaddimvwgy3zao5xxe3debi"), &root, NULL), 0);
    struct carfile *f = carfile_new(&root, NULL, MOST);
    cr_assert_eq(carfile_index(f, &m->source, 10), 0);
    uint8_t all[256];
    int n = carfile_read(f, &m->source, 0, all, sizeof all);
    cr_assert(carfile_complete(f) && n == (int)carfile_size(f));
    cr_assert_eq(blocks_in(span_of(all, (size_t)n), &root), 0, "a header alone");
    carfile_free(f);
    mem_blocks_free(m);
}

Test(carfile, too_big_is_said_and_given_back)
{
    struct mem_blocks *m = mem_blocks_new();
    struct budget *b = budget_new(BUDGET_MIN);
    struct cid leaf[4000];
    for (unsigned i = 0; i < 4000; i++)
        leaf[i] = add(m, raw_block(i, 10));
    struct cid root = add(m, node_block(leaf, 4000, 1));
    struct carfile *f = carfile_new(&root, b, 200000);
    int r = 0;
    while (r == 0 && !carfile_complete(f))
        r = carfile_index(f, &m->source, 64);
    cr_assert_eq(r, ERR_TOO_BIG);
    cr_assert_leq(carfile_memory(f), 200000);
    carfile_free(f);
    cr_assert_eq(budget_used(b), 0);
    budget_free(b);
    mem_blocks_free(m);
}
