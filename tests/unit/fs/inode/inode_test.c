/* SPDX-License-Identifier: MIT */
#include "fs/inode/inode.h"

#include <criterion/criterion.h>

static unsigned freed;

static void on_free(void *owner, struct inode *i)
{
    (void)owner;
    (void)i;
    freed++;
}

static struct inode_key key(unsigned kind, const uint64_t *id)
{
    return (struct inode_key){kind, 0, span_of(id, sizeof *id)};
}

Test(inode, one_per_key_and_freed_with_the_last_reference)
{
    struct inode_table *t = inode_table_new(NULL, NULL, on_free);
    uint64_t a = 7, b = 8;
    struct inode_key ka = key(1, &a), kb = key(1, &b), kc = key(2, &a);
    struct inode *root = inode_make_root(t, &(struct inode_key){0, 0, SPAN_NONE});
    cr_assert_eq(root->number, 1);
    struct inode *ia = inode_get(t, &ka);
    cr_assert_eq(inode_get(t, &ka), ia);
    cr_assert_neq(inode_get(t, &kb), ia);
    cr_assert_neq(inode_get(t, &kc), ia); /* another kind, the same bytes */
    cr_assert_eq(inode_count(t), 4);
    ia->lookups = 3;
    inode_hold(ia);
    inode_forget(t, ia, 2);
    inode_forget(t, ia, 1);
    cr_assert_eq(inode_by_number(t, ia->number), ia); /* a handle is left */
    uint64_t number = ia->number;
    inode_unhold(t, ia);
    cr_assert_null(inode_by_number(t, number));
    cr_assert_null(inode_find(t, &ka));
    cr_assert_eq(freed, 1);
    ia = inode_get(t, &ka); /* the slot is used again, not the number */
    cr_assert_neq(ia->number, number);
    cr_assert_eq(inode_by_number(t, ia->number), ia);
    cr_assert_null(inode_by_number(t, number));
    cr_assert_null(inode_by_number(t, 0));
    inode_table_free(t);
    cr_assert_eq(freed, 5);
}

Test(inode, many_are_found_and_charged)
{
    struct budget *budget = budget_new(BUDGET_DEFAULT);
    struct inode_table *t = inode_table_new(budget, NULL, on_free);
    for (uint64_t id = 0; id < 20000; id++) {
        struct inode_key k = key(3, &id);
        inode_get(t, &k)->lookups = 1;
    }
    cr_assert_gt(budget_class_used(budget, BUDGET_TABLE), 20000 * sizeof(struct inode));
    for (uint64_t id = 0; id < 20000; id++) {
        struct inode_key k = key(3, &id);
        struct inode *i = inode_find(t, &k);
        cr_assert(i && inode_by_number(t, i->number) == i);
        if (id % 2)
            inode_forget(t, i, 5); /* more than it has: the kernel's count wins */
    }
    cr_assert_eq(inode_count(t), 10000);
    inode_table_free(t);
    cr_assert_eq(budget_class_used(budget, BUDGET_TABLE), 0);
    budget_free(budget);
}

Test(inode, st_ino_is_a_function_of_the_key)
{
    uint64_t a = 1, b = 2;
    struct inode_key ka = key(1, &a), kb = key(1, &b);
    cr_assert_eq(inode_st_ino(&ka), inode_st_ino(&ka));
    cr_assert_neq(inode_st_ino(&ka), inode_st_ino(&kb));
    cr_assert_neq(inode_st_ino(&ka), 0);
}

Test(inode, a_walk_meets_each_once)
{
    struct budget *budget = budget_new(BUDGET_DEFAULT);
    struct inode_table *t = inode_table_new(budget, NULL, on_free);
    struct inode *gone = NULL;
    for (uint64_t id = 0; id < 100; id++) {
        struct inode_key k = key(3, &id);
        struct inode *i = inode_get(t, &k);
        cr_assert(i->used);
        gone = i;
    }
    inode_settle(t, gone);
    cr_assert_eq(inode_made(t), 100);
    size_t at = 0;
    for (unsigned round = 0; round < 2; round++) {
        unsigned met = 0;
        for (struct inode *i; (i = inode_walk(t, &at)); met++) {
            cr_assert_eq(i->used, round == 0);
            i->used = false;
        }
        cr_assert_eq(met, 99);
    }
    inode_table_free(t);
    cr_assert_eq(budget_used(budget), 0);
    budget_free(budget);
}

Test(inode, the_last_place_is_kept)
{
    struct budget *budget = budget_new(BUDGET_DEFAULT);
    struct inode_table *t = inode_table_new(budget, NULL, on_free);
    uint64_t id = 4;
    struct inode_key k = key(3, &id);
    struct inode *i = inode_get(t, &k);
    uint64_t bare = inode_bytes(t);
    inode_set_place(t, i, 1, "a long name");
    cr_assert_gt(inode_bytes(t), bare + 11);
    inode_set_place(t, i, 9, "b");
    cr_assert_eq(i->place->dir, 9);
    cr_assert_str_eq(i->place->name, "b");
    cr_assert_eq(budget_class_used(budget, BUDGET_TABLE), inode_bytes(t));
    i->lookups = 1;
    inode_forget(t, i, 1);
    cr_assert_eq(inode_bytes(t), 0);
    cr_assert_eq(budget_used(budget), 0);
    inode_table_free(t);
    budget_free(budget);
}
