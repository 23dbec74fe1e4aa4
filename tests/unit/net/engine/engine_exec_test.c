/* SPDX-License-Identifier: MIT
 *
 * A program that cannot be watched is refused, and nothing is left of it. */
#include "net/engine/engine_bridge.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the place of the C library's */
int pidfd_open(pid_t pid, unsigned flags)
{
    (void)pid;
    (void)flags;
    errno = EMFILE;
    return -1;
}

Test(engine_exec, without_descriptors)
{
    struct engine *e = MEM_NEW(struct engine);
    struct service_offer offer = {.kind = SERVICE_EXEC, .name = "x", .text = BUF_INIT, .connections_max = 1};
    struct peer_id peer = {0};
    e->bridges_at = e->exec_at = MONO_NEVER;
    e->answers = mailbox_new(SIZE_MAX, e);
    e->turns = MEM_NEW(struct turns);
    turns_init(e->turns);
    static const char line[] = "sleep\0001000";
    buf_add(&offer.text, line, sizeof line);
    struct bridge *b = bridge_new(e, BRIDGE_TARGET);
    b->ends = &bridge_program;
    b->offer = &offer;
    exec_start(b);
    cr_assert_eq(e->bridges, b);
    while (e->jobs)
        if (mailbox_wait(e->answers, MONO_NEVER))
            (void)mailbox_run(e->answers, 1);
    cr_assert_null(e->bridges, "it was refused");
    cr_assert_eq(offer.count.refused, 1);
    cr_assert(exec_full(e, &offer, &peer), "it counts until it has ended");
    while (e->children) {
        cr_assert_neq(e->exec_at, MONO_NEVER);
        (void)exec_turn(e, mono_now());
    }
    cr_assert(waitpid(-1, NULL, 0) < 0 && errno == ECHILD, "it was waited for");
    cr_assert_not(exec_full(e, &offer, &peer));
    buf_done(&offer.text);
    turns_done(e->turns);
    free(e->turns);
    mailbox_free(e->answers);
    free(e);
}
