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

/* ---- what nobody charges ---- */

static _Atomic uint64_t private_now;

static _Atomic unsigned looks;

static uint64_t gauge(void)
{
    looks++;
    return private_now;
}

static struct budget *gauged(uint64_t limit, uint64_t private)
{
    struct budget *b = budget_new(limit);
    private_now = private;
    budget_set_gauge(b, gauge);
    return b;
}

static size_t take_all(struct budget *b, size_t piece)
{
    size_t taken = 0;
    for (enum budget_class c = 0; c < BUDGET_CLASSES; c++)
        while (budget_take(b, c, piece)) {
            taken += piece;
            private_now += piece;
        }
    return taken;
}

static void give_all(struct budget *b)
{
    for (enum budget_class c = 0; c < BUDGET_CLASSES; c++) {
        private_now -= budget_class_used(b, c);
        budget_give(b, c, budget_class_used(b, c));
    }
}

Test(budget, grants_what_lies_beside_the_rest)
{
    struct budget *b = gauged(64 * MIB, 10 * MIB);
    cr_assert_eq(budget_beside(b), 10 * MIB);
    take_all(b, MIB / 4);
    cr_assert(private_now <= 64 * MIB, "%zu", (size_t)private_now);
    cr_assert(private_now >= 50 * MIB, "and most of it can be used: %zu", (size_t)private_now);
    give_all(b);
    budget_free(b);
}

Test(budget, sees_what_grows_while_it_grants)
{
    struct budget *b = gauged(64 * MIB, 2 * MIB);
    for (size_t i = 0; i < 200; i++) { /* each charge brings as much that nobody charges: no tick in between */
        if (!budget_take(b, BUDGET_NET, MIB / 4))
            break;
        private_now += MIB / 2;
    }
    cr_assert(private_now > 16 * MIB && private_now <= 64 * MIB, "%zu", (size_t)private_now);
    take_all(b, MIB / 4);
    cr_assert(private_now <= 64 * MIB, "%zu", (size_t)private_now);
    give_all(b);
    budget_free(b);
}

Test(budget, each_class_can_move_a_block_whatever_lies_beside)
{
    struct budget *b = gauged(32 * MIB, 100 * MIB);
    cr_assert_eq(budget_room(b), 16 * MIB, "never less than half");
    while (budget_take(b, BUDGET_NET, MIB / 4))
        ;
    cr_assert_geq(budget_used(b), 4 * MIB, "nobody else has anything");
    for (enum budget_class c = 0; c < BUDGET_TABLE; c++)
        if (c != BUDGET_NET)
            cr_assert(budget_take(b, c, MIB + 4096), "%s", budget_class_name(c));
    while (budget_take(b, BUDGET_READ, MIB / 4))
        ;
    cr_assert(budget_tight(b));
    private_now += budget_used(b);
    give_all(b);
    budget_free(b);
}

Test(budget, forgets_the_most_it_saw_little_by_little)
{
    struct budget *b = gauged(64 * MIB, 30 * MIB);
    mono_ns t = mono_now() + MONO_S;
    budget_look(b, t);
    private_now = 10 * MIB;
    budget_look(b, t + MONO_S);
    uint64_t then = budget_beside(b);
    cr_assert(then > 20 * MIB && then < 30 * MIB, "%zu", (size_t)then);
    budget_look(b, t + 60 * MONO_S);
    cr_assert_eq(budget_beside(b), 10 * MIB);
    private_now = 20 * MIB; /* more is believed at once */
    budget_look(b, t + 60 * MONO_S);
    cr_assert_eq(budget_beside(b), 20 * MIB);
    budget_look(b, t + 59 * MONO_S); /* a thread whose clock was read before */
    cr_assert_eq(budget_beside(b), 20 * MIB);
    budget_free(b);
}

Test(budget, wakes_who_was_refused_when_there_is_more_room)
{
    struct budget *b = gauged(32 * MIB, 28 * MIB);
    int fd = eventfd(0, EFD_NONBLOCK);
    budget_watch(b, fd);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    cr_assert_not(budget_take(b, BUDGET_WRITE, 10 * MIB));
    private_now = 2 * MIB;
    budget_look(b, mono_now() + 60 * MONO_S);
    cr_assert_eq(poll(&p, 1, 0), 1);
    cr_assert(budget_take(b, BUDGET_WRITE, 10 * MIB));
    give_all(b);
    close(fd);
    budget_free(b);
}

Test(budget, who_asks_again_and_again_does_not_look_each_time)
{
    enum { TIMES = 100000 };
    struct budget *b = gauged(16 * MIB, 10 * MIB);
    mono_ns begun = mono_now();
    looks = 0;
    for (unsigned i = 0; i < TIMES; i++)
        cr_assert(!budget_take(b, BUDGET_WRITE, 16 * MIB));
    cr_assert_leq(looks, 2 + (unsigned)((mono_now() - begun) / MONO_MS), "%u", looks);
    looks = 0;
    budget_take_always(b, BUDGET_TABLE, MIB);
    budget_give(b, BUDGET_TABLE, MIB); /* nobody waits any more */
    budget_take_always(b, BUDGET_TABLE, MIB);
    budget_take_always(b, BUDGET_TABLE, MIB);
    cr_assert_geq(looks, 2, "as before");
    budget_give(b, BUDGET_TABLE, 2 * MIB);
    budget_free(b);
}
