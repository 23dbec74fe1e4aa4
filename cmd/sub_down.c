/* SPDX-License-Identifier: MIT
 *
 * The node has ended when the lock of its state folder is free. */
#include "cmd/cli/cli_work.h"
#include "cmd/subs.h"
#include "store/base/mono.h"
#include "store/repo/repo.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define WAIT_MOST (60 * MONO_S)

static bool lock_is_free(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    bool is_free = flock(fd, LOCK_SH | LOCK_NB) == 0;
    close(fd);
    return is_free;
}

static int wait_for_end(struct cli *c)
{
    struct repo_paths paths;
    char lock[PATH_MAX + 8];
    if (repo_paths(&paths, NULL) < 0)
        return 0;
    snprintf(lock, sizeof lock, "%s/lock", paths.state);
    mono_ns end = mono_now() + WAIT_MOST;
    while (!lock_is_free(lock)) {
        if (cli_interrupted())
            return ERR_INTERRUPTED;
        if (mono_now() > end)
            return cli_fail(c, ERR_TIMEOUT, "p2p status", "the node was told to stop and has not ended after 60 s");
        (void)poll(NULL, 0, 20); /* a lock cannot be waited for together with signals */
    }
    return 0;
}

static int shut_down(struct api *a)
{
    return api_json(a, "POST", "/v1/shutdown", SPAN_NONE, NULL);
}

static int run(struct cli *c)
{
    int r = cli_work(c, shut_down);
    return r < 0 ? r : wait_for_end(c);
}

const struct cli_command sub_down = {
    .name = "down",
    .operands = "",
    .summary = "stop the node and unmount",
    .details = "Returns when everything is on disk and the node has ended.",
    .run = run,
};
