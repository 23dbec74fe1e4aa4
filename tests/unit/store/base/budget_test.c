/* SPDX-License-Identifier: MIT */
#include "store/base/budget.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

Test(budget, never_exceeds_and_never_starves)
{
    struct budget *b = budget_new(64 * MIB);
    size_t net = 0;
    while (budget_take(b, BUDGET_NET, MIB))
        net++;
    cr_assert(net >= 10 && net < 64, "one class gets its share and the common rest: %zu", net);
    for (enum budget_class c = 0; c < BUDGET_CLASSES; c++) /* everybody else still has the guaranteed share */
        if (c != BUDGET_NET)
            cr_assert(budget_take(b, c, 3 * MIB), "%s", budget_class_name(c));
    cr_assert(budget_used(b) <= budget_limit(b));
    for (enum budget_class c = 0; c < BUDGET_CLASSES; c++) {
        while (budget_take(b, c, MIB / 2))
            ;
        cr_assert(budget_used(b) <= budget_limit(b));
    }
    cr_assert(budget_peak(b) <= budget_limit(b));
    cr_assert(budget_tight(b));
    for (enum budget_class c = 0; c < BUDGET_CLASSES; c++)
        budget_give(b, c, budget_class_used(b, c));
    cr_assert_eq(budget_used(b), 0);
    cr_assert_not(budget_tight(b));
    budget_free(b);
}

Test(budget, wakes_who_was_refused)
{
    struct budget *b = budget_new(BUDGET_MIN);
    int fd = eventfd(0, EFD_NONBLOCK);
    budget_watch(b, fd);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    cr_assert(budget_take(b, BUDGET_READ, MIB));
    budget_give(b, BUDGET_READ, MIB);
    cr_assert_eq(poll(&p, 1, 0), 0, "nobody waited");
    cr_assert(budget_take(b, BUDGET_READ, MIB));
    cr_assert_not(budget_take(b, BUDGET_READ, BUDGET_MIN));
    budget_give(b, BUDGET_READ, MIB);
    cr_assert_eq(poll(&p, 1, 0), 1);
    close(fd);
    budget_free(b);
}

Test(budget, a_lower_limit_takes_effect)
{
    struct budget *b = budget_new(64 * MIB);
    cr_assert(budget_take(b, BUDGET_WRITE, 20 * MIB));
    budget_set_limit(b, 16 * MIB);
    cr_assert_not(budget_take(b, BUDGET_WRITE, 1));
    budget_give(b, BUDGET_WRITE, 20 * MIB);
    cr_assert(budget_take(b, BUDGET_WRITE, 2 * MIB));
    budget_give(b, BUDGET_WRITE, 2 * MIB);
    budget_free(b);
}
