/* SPDX-License-Identifier: MIT */
#include "fs/node/near.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

static cpu_set_t before;

static bool as_before(void)
{
    cpu_set_t now;
    cr_assert_eq(sched_getaffinity(0, sizeof now, &now), 0);
    return CPU_EQUAL(&now, &before);
}

static void ask(struct near *n, unsigned times, int who, size_t bytes, mono_ns *now)
{
    for (unsigned i = 0; i < times; i++)
        near_asked(n, who, bytes, *now += MONO_US);
}

/* Bound to where this thread runs: it asks itself. */
static void bind(struct near *n, mono_ns *now)
{
    ask(n, NEAR_RUN + 1, gettid(), 4096, now);
    cr_assert(n->bound);
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    cr_assert_eq(CPU_COUNT(&set), 1);
    cr_assert(CPU_ISSET(n->at, &set));
    cr_assert_eq(sched_getcpu(), n->at);
}

Test(near, goes_where_it_is_asked_from_and_is_free_again)
{
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    struct near n = {0};
    mono_ns now = 1000 * MONO_S;
    ask(&n, NEAR_RUN, gettid(), 4096, &now);
    cr_assert_not(n.bound); /* not before there were so many */
    cr_assert_eq(near_deadline(&n), MONO_NEVER);

    bind(&n, &now);
    near_asked(&n, 0, 0, now); /* nobody waits for this one: a RELEASE */
    ask(&n, 10 * NEAR_RUN, gettid(), NEAR_SMALL, &now);
    near_tick(&n, now);
    cr_assert(n.bound);
    near_asked(&n, gettid() + 1, 0, now); /* somebody else */
    cr_assert_not(n.bound);
    cr_assert(as_before());

    bind(&n, &now);
    near_asked(&n, gettid(), NEAR_SMALL + 1, now);
    cr_assert_not(n.bound);
    cr_assert(as_before());

    bind(&n, &now);
    cr_assert_eq(near_deadline(&n), now + NEAR_GAP);
    near_tick(&n, now + NEAR_GAP);
    cr_assert_not(n.bound);
    cr_assert(as_before());

    bind(&n, &now);
    near_asked(&n, gettid(), 0, now + NEAR_GAP); /* after a while, the first of a new run */
    cr_assert_not(n.bound);
    cr_assert(as_before());
}

Test(near, two_who_ask_in_turn_are_served_anywhere)
{
    struct near n = {0};
    mono_ns now = 1000 * MONO_S;
    for (unsigned i = 0; i < 4 * NEAR_RUN; i++)
        near_asked(&n, i % 2 ? gettid() : gettid() + 1, 0, now += MONO_US);
    cr_assert_not(n.bound);
}

Test(near, who_cannot_be_seen_is_not_followed)
{
    struct near n = {0};
    mono_ns now = 1000 * MONO_S;
    ask(&n, 4 * NEAR_RUN, -1, 0, &now);
    cr_assert_not(n.bound);
}

Test(near, the_processor_is_the_39th_field)
{
#define TO_36 " S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 100 200 300 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0"
    cr_assert_eq(near_processor("7 (cp)" TO_36 " 17 3 0 0\n"), 3);
    cr_assert_eq(near_processor("7 (a) b (c)" TO_36 " 17 11 0 0\n"), 11);
    cr_assert_eq(near_processor("7 (cp)" TO_36 " 17 0"), 0);
    cr_assert_eq(near_processor("7 (cp)" TO_36 " 17 -1 0\n"), -1);
    cr_assert_eq(near_processor("7 (cp)" TO_36 " 17 99999 0\n"), -1); /* more than a set has */
    cr_assert_eq(near_processor("7 (cp)" TO_36 " 17 "), -1);
    cr_assert_eq(near_processor("7 (cp)" TO_36 " 17"), -1);
    cr_assert_eq(near_processor("7 (cp) S 1"), -1);
    cr_assert_eq(near_processor("7"), -1);
    cr_assert_eq(near_processor(""), -1);
}
