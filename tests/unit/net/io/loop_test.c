/* SPDX-License-Identifier: MIT */
#include "net/io/loop.h"

#include <criterion/criterion.h>
#include <unistd.h>

struct world {
    struct loop *loop;
    unsigned turns, told;
    mono_ns next;
};

static void told(void *arg, unsigned what)
{
    struct world *w = arg;
    (void)what; /* nothing is taken: it stays ready */
    w->told++;
    if (w->told == 1000)
        loop_stop(w->loop);
}

static mono_ns always_due(void *arg)
{
    struct world *w = arg;
    if (++w->turns == 100)
        loop_stop(w->loop);
    return 0;
}

/* A descriptor that is always ready does not keep the turn from being called */
Test(loop, turns_go_on_beside_what_is_ready, .timeout = 10)
{
    struct world w = {.turns = 0};
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(write(fds[1], "x", 1), 1);
    cr_assert_eq(loop_new(&w.loop), 0);
    struct loop_fd *f = loop_fd_new(w.loop, fds[0], told, &w);
    loop_fd_watch(f, LOOP_READ);
    loop_set_turn(w.loop, always_due, &w);
    cr_assert_eq(loop_run(w.loop), 0);
    cr_assert_eq(w.turns, 100);
    cr_assert_geq(w.told, 99, "and is looked at between two turns");
    loop_fd_free(f);
    loop_free(w.loop);
    close(fds[0]);
    close(fds[1]);
}

static mono_ns thrice(void *arg)
{
    struct world *w = arg;
    mono_ns now = mono_now();
    cr_assert_geq(now, w->next, "never early");
    if (++w->turns == 4)
        loop_stop(w->loop);
    return w->next = now + (w->turns == 2 ? 300 * MONO_US : 5 * MONO_MS); /* sooner, then later than it stood at */
}

/* They are kept when nothing else happens, to less than a millisecond */
Test(loop, deadlines, .timeout = 10)
{
    struct world w = {.turns = 0};
    mono_ns begin = mono_now();
    cr_assert_eq(loop_new(&w.loop), 0);
    loop_set_turn(w.loop, thrice, &w);
    cr_assert_eq(loop_run(w.loop), 0);
    cr_assert_eq(w.turns, 4);
    cr_assert_geq(mono_now() - begin, 2 * 5 * MONO_MS + 300 * MONO_US);
    loop_free(w.loop);
}
