/* SPDX-License-Identifier: MIT */
#include "store/block/block.h"

#include <criterion/criterion.h>

Test(block, is_charged_and_given_back)
{
    static const uint32_t caps[] = {0, 1, (128 << 10) - 1, 128 << 10, 1 << 20, BLOCK_MAX};
    struct budget *budget = budget_new(BUDGET_DEFAULT);
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        struct block *b = block_new(budget, BUDGET_WRITE, caps[i]);
        cr_assert_geq(budget_used(budget), caps[i] + sizeof *b);
        memset(b->data, 0x5a, caps[i]);
        cr_assert(caps[i] < 128 << 10 || (uintptr_t)b->data % 4096 == 0, "big ones go to the disk from where they are");
        block_ref(b);
        block_unref(b);
        block_unref(b);
        cr_assert_eq(budget_used(budget), 0);
    }
    budget_free(budget);
}

Test(block, buffers_are_used_again_and_given_up)
{
    struct budget *budget = budget_new(BUDGET_DEFAULT);
    struct block *b[24];
    for (int round = 0; round < 3; round++) { /* more than are kept */
        for (int i = 0; i < 24; i++) {
            b[i] = block_new(budget, i % 2 ? BUDGET_WRITE : BUDGET_NET, 1 << 20);
            cr_assert(b[i] && b[i]->len == 0 && b[i]->cap == 1 << 20 && cid_is_none(&b[i]->cid), "nothing of the one before");
            memset(b[i]->data, i, 1 << 20);
            b[i]->len = 9;
        }
        for (int i = 0; i < 24; i++) {
            cr_assert_eq(b[i]->data[12345], i, "nobody else's");
            block_unref(b[i]);
        }
        if (round == 1)
            block_pool_trim();
    }
    cr_assert_eq(budget_used(budget), 0);
    block_pool_trim();
    budget_free(budget);
}
