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
    struct bridge b = {.e = e, .offer = &offer, .service = "x"};
    e->exec_at = MONO_NEVER;
    static const char line[] = "sleep\0001000";
    buf_add(&offer.text, line, sizeof line);
    cr_assert_eq(exec_start(e, &b), -1);
    cr_assert_eq(errno, EMFILE);
    cr_assert_null(b.u.child);
    cr_assert(exec_full(e, &offer, &b.peer), "it counts until it has ended");
    while (e->children) {
        cr_assert_neq(e->exec_at, MONO_NEVER);
        (void)exec_turn(e, mono_now());
    }
    cr_assert(waitpid(-1, NULL, 0) < 0 && errno == ECHILD, "it was waited for");
    cr_assert_not(exec_full(e, &offer, &b.peer));
    buf_done(&offer.text);
    free(e);
}
