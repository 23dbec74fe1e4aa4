/* SPDX-License-Identifier: MIT */
#include "store/block/blockcache.h"

#include <criterion/criterion.h>

static struct block *numbered(struct budget *budget, unsigned n, uint32_t len)
{
    struct block *b = block_new(budget, BUDGET_READ, len);
    cr_assert(b);
    memset(b->data, 0, len);
    memcpy(b->data, &n, sizeof n);
    b->len = len;
    cid_of(&b->cid, CODEC_RAW, block_span(b));
    return b;
}

Test(block, references_and_budget)
{
    struct budget *budget = budget_new(BUDGET_MIN);
    struct block *b = block_new(budget, BUDGET_READ, 1000);
    cr_assert_eq(b->len, 0);
    cr_assert_geq(budget_class_used(budget, BUDGET_READ), 1000);
    cr_assert_eq(block_ref(b), b);
    cr_assert_null(block_unref(b));
    cr_assert_geq(budget_used(budget), 1000);
    cr_assert_null(block_unref(b));
    cr_assert_null(block_unref(NULL));
    cr_assert_eq(budget_used(budget), 0);
    struct block *many[64];
    unsigned n = 0;
    while (n < 64 && (many[n] = block_new(budget, BUDGET_READ, BLOCK_MAX)))
        n++;
    cr_assert(n > 0 && n < 8, "the budget says not now: %u", n);
    while (n)
        block_unref(many[--n]);
    cr_assert_eq(budget_used(budget), 0);
    budget_free(budget);
}

Test(block, copies)
{
    struct cid cid;
    cid_of(&cid, CODEC_RAW, span_str("hello"));
    struct block *b = block_from(NULL, BUDGET_NET, &cid, span_str("hello"));
    cr_assert(span_eq_str(block_span(b), "hello") && cid_eq(&b->cid, &cid));
    block_unref(b);
    b = block_from(NULL, BUDGET_NET, &cid, SPAN_NONE);
    cr_assert_eq(b->len, 0);
    block_unref(b);
}

Test(blockcache, gives_up_the_least_recently_used)
{
    struct blockcache *c = blockcache_new(NULL, 10 * 1000, NULL);
    struct block *b[20];
    for (unsigned i = 0; i < 10; i++) {
        b[i] = numbered(NULL, i, 1000);
        blockcache_add(c, b[i]);
    }
    cr_assert_eq(blockcache_bytes(c), 10000);
    cr_assert_eq(blockcache_get(c, &b[0]->cid), b[0]); /* used: 1 is the oldest now */
    for (unsigned i = 10; i < 13; i++) {
        b[i] = numbered(NULL, i, 1000);
        blockcache_add(c, b[i]);
    }
    cr_assert(blockcache_get(c, &b[0]->cid) && !blockcache_get(c, &b[1]->cid) && !blockcache_get(c, &b[3]->cid));
    cr_assert(blockcache_get(c, &b[4]->cid) && blockcache_get(c, &b[12]->cid));
    blockcache_drop(c, &b[4]->cid);
    blockcache_drop(c, &b[4]->cid);
    cr_assert_null(blockcache_get(c, &b[4]->cid));
    blockcache_trim(c, 2000);
    cr_assert_eq(blockcache_bytes(c), 2000);
    blockcache_trim(c, 0);
    cr_assert_eq(blockcache_bytes(c), 0);
    blockcache_free(c);
    for (unsigned i = 0; i < 13; i++)
        block_unref(b[i]);
    blockcache_free(NULL);
}

Test(blockcache, pinned_blocks_stay)
{
    struct blockcache *c = blockcache_new(NULL, 3000, NULL);
    struct block *kept = numbered(NULL, 1, 1000);
    blockcache_add(c, kept);
    blockcache_pin(c, kept);
    blockcache_pin(c, kept);
    cr_assert_eq(blockcache_bytes(c), 0);
    for (unsigned i = 10; i < 200; i++) {
        struct block *b = numbered(NULL, i, 1000);
        blockcache_add(c, b);
        block_unref(b);
    }
    blockcache_drop(c, &kept->cid);
    cr_assert_eq(blockcache_get(c, &kept->cid), kept);
    blockcache_add(c, kept); /* again while pinned */
    blockcache_unpin(c, &kept->cid);
    blockcache_trim(c, 0);
    cr_assert_eq(blockcache_get(c, &kept->cid), kept);
    blockcache_unpin(c, &kept->cid);
    cr_assert_eq(blockcache_bytes(c), 1000);
    blockcache_trim(c, 0);
    cr_assert_null(blockcache_get(c, &kept->cid));
    blockcache_free(c);
    block_unref(kept);
}

Test(blockcache, what_is_kept_stays_until_it_is_let_go_of)
{
    struct blockcache *c = blockcache_new(NULL, 4000, NULL);
    struct block *b[5];
    for (unsigned i = 0; i < 5; i++)
        b[i] = numbered(NULL, i, 1000);
    for (unsigned i = 0; i < 3; i++)
        blockcache_add(c, b[i]);
    blockcache_keep(c, true);
    for (unsigned again = 0; again < 2; again++)
        cr_assert(blockcache_get(c, &b[0]->cid) && blockcache_get(c, &b[1]->cid));
    blockcache_keep(c, false);
    cr_assert_eq(blockcache_get(c, &b[2]->cid), b[2]);
    blockcache_add(c, b[3]);
    blockcache_add(c, b[4]);
    cr_assert(blockcache_get(c, &b[4]->cid) && !blockcache_get(c, &b[2]->cid), "there is room for two beside them");
    blockcache_trim(c, 0);
    cr_assert(blockcache_get(c, &b[0]->cid) && blockcache_get(c, &b[1]->cid));
    blockcache_let_go(c);
    cr_assert_eq(blockcache_bytes(c), 2000);
    for (unsigned i = 2; i < 5; i++)
        blockcache_add(c, b[i]);
    cr_assert(blockcache_get(c, &b[4]->cid) && blockcache_bytes(c) == 4000);
    blockcache_keep(c, true);
    cr_assert(blockcache_get(c, &b[4]->cid));
    blockcache_free(c); /* also what is kept */
    for (unsigned i = 0; i < 5; i++)
        block_unref(b[i]);
}

/* As a walk that goes on from where it was: it would keep all that it has seen, and the memory for what it waits for. */
Test(blockcache, what_is_not_got_again_is_not_kept)
{
    struct blockcache *c = blockcache_new(NULL, 4000, NULL);
    struct block *b[3];
    for (unsigned i = 0; i < 3; i++) {
        b[i] = numbered(NULL, i, 1000);
        blockcache_add(c, b[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        blockcache_keep(c, true);
        cr_assert(blockcache_get(c, &b[i]->cid));
        blockcache_keep(c, false);
        cr_assert_eq(blockcache_bytes(c), 2000, "one is kept");
    }
    blockcache_trim(c, 0);
    cr_assert(blockcache_get(c, &b[2]->cid) && !blockcache_get(c, &b[0]->cid) && !blockcache_get(c, &b[1]->cid));
    blockcache_let_go(c);
    blockcache_trim(c, 0);
    cr_assert(!blockcache_get(c, &b[2]->cid));
    blockcache_free(c);
    for (unsigned i = 0; i < 3; i++)
        block_unref(b[i]);
}

Test(blockcache, gives_up_half_when_the_budget_is_tight)
{
    struct budget *budget = budget_new(BUDGET_MIN);
    struct blockcache *c = blockcache_new(budget, 100 * 1000, NULL);
    for (unsigned i = 0; i < 100; i++) {
        struct block *b = numbered(budget, i, 1000);
        blockcache_add(c, b);
        block_unref(b);
    }
    cr_assert_eq(blockcache_bytes(c), 100000);
    budget_take_always(budget, BUDGET_NET, BUDGET_MIN);
    struct block *b = numbered(NULL, 1000, 1000);
    blockcache_add(c, b);
    cr_assert_leq(blockcache_bytes(c), 50000);
    cr_assert_eq(blockcache_get(c, &b->cid), b);
    budget_give(budget, BUDGET_NET, BUDGET_MIN);
    blockcache_free(c);
    block_unref(b);
    cr_assert_eq(budget_used(budget), 0);
    budget_free(budget);
}

static int below_get(struct block_source *self, const struct cid *cid, struct span *ret)
{
    (void)self;
    static struct cid known;
    cid_of(&known, CODEC_RAW, span_str("below"));
    if (!cid_same_block(cid, &known))
        return ERR_MISSING;
    *ret = span_str("below");
    return 0;
}

Test(blockcache, as_a_source)
{
    struct block_source below = {.get = below_get};
    struct blockcache *c = blockcache_new(NULL, 10000, &below);
    struct block_source *s = blockcache_source(c);
    struct block *b = numbered(NULL, 1, 100), *absent = numbered(NULL, 2, 100);
    struct cid known, pb;
    struct span got;
    cid_of(&known, CODEC_RAW, span_str("below"));
    cid_recode(&pb, &b->cid, CODEC_DAG_PB);
    blockcache_add(c, b);
    cr_assert(source_get(s, &b->cid, &got) == 0 && span_eq(got, block_span(b)));
    cr_assert(source_get(s, &pb, &got) == 0, "by multihash, whatever the codec");
    cr_assert(source_get(s, &known, &got) == 0 && span_eq_str(got, "below"));
    cr_assert_eq(source_get(s, &absent->cid, &got), ERR_MISSING);
    cr_assert(s->missing_count == 1 && cid_eq(&s->missing[0], &absent->cid));
    for (unsigned i = 0; i < 100; i++) {
        struct block *more = numbered(NULL, 100 + i, 10);
        cr_assert_eq(source_get(s, &more->cid, &got), ERR_MISSING);
        block_unref(more);
    }
    cr_assert_eq(s->missing_count, MISSING_MAX);
    blockcache_free(c);
    block_unref(b);
    block_unref(absent);
}
