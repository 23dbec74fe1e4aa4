/* SPDX-License-Identifier: MIT */
#include "store/block/chunkmem.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>

#define MANY 40 /* more than are kept */

static bool is_mapped(const void *at)
{
    unsigned char pages[CHUNKMEM_SIZE / 4096];
    return mincore((void *)(uintptr_t)at, CHUNKMEM_SIZE, pages) == 0;
}

static unsigned resident(const void *at)
{
    unsigned char pages[CHUNKMEM_SIZE / 4096];
    unsigned count = 0;
    cr_assert_eq(mincore((void *)(uintptr_t)at, CHUNKMEM_SIZE, pages), 0);
    for (size_t i = 0; i < sizeof pages; i++)
        count += pages[i] & 1;
    return count;
}

Test(chunkmem, two_share_a_huge_page)
{
    struct chunkmem *a = chunkmem_take(), *b = chunkmem_take();
    cr_assert(a && b && a != b);
    cr_assert_eq((uintptr_t)a->data / (2 * CHUNKMEM_SIZE), (uintptr_t)b->data / (2 * CHUNKMEM_SIZE));
    cr_assert_eq((uintptr_t)a->data ^ (uintptr_t)b->data, CHUNKMEM_SIZE);
    memset(a->data, 1, CHUNKMEM_SIZE);
    memset(b->data, 2, CHUNKMEM_SIZE);
    chunkmem_give(a, 0);
    cr_assert_eq(resident(a->data), 0, "its memory goes before the other half does");
    cr_assert(b->data[0] == 2 && b->data[CHUNKMEM_SIZE - 1] == 2);
    uint8_t *at = b->data;
    chunkmem_give(b, 0);
    cr_assert_not(is_mapped(at));
}

Test(chunkmem, kept_ones_are_used_again_until_they_are_given_back)
{
    struct chunkmem *c[MANY];
    uint8_t *at[MANY];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            cr_assert((c[i] = chunkmem_take()));
            at[i] = c[i]->data;
            memset(at[i], i, CHUNKMEM_SIZE);
        }
        for (int i = 0; i < MANY; i++)
            cr_assert(at[i][0] == i && at[i][CHUNKMEM_SIZE - 1] == i, "nobody else's");
        for (int i = 0; i < MANY; i++)
            chunkmem_give(c[i], MANY);
    }
    struct chunkmem *again = chunkmem_take();
    bool known = false;
    for (int i = 0; i < MANY; i++)
        known = known || at[i] == again->data;
    cr_assert(known);
    chunkmem_give(again, 1);
    chunkmem_trim();
    for (int i = 0; i < MANY; i++)
        cr_assert_not(is_mapped(at[i]));
}
