/* SPDX-License-Identifier: MIT
 *
 * The node has ended when its process has. One that cannot be seen (in a container of its own): when the lock of its state
 * folder is free, a moment before. */
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

static int too_long(struct cli *c)
{
    return cli_fail(c, ERR_TIMEOUT, "p2p status", "the node was told to stop and has not ended after 60 s");
}

static int wait_for_lock(struct cli *c)
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
            return too_long(c);
        (void)poll(NULL, 0, 20); /* a lock cannot be waited for together with signals */
    }
    return 0;
}

static int wait_for_process(struct cli *c, int process)
{
    struct pollfd p = {.fd = process, .events = POLLIN};
    int n = poll(&p, 1, WAIT_MOST / MONO_MS);
    close(process);
    return n > 0 ? 0 : n == 0 ? too_long(c) : ERR_INTERRUPTED;
}

static int shut_down(struct api *a)
{
    int process = http_client_process(a->http);
    int r = api_json(a, "POST", "/v1/shutdown", SPAN_NONE, NULL);
    if (r == 0)
        return process < 0 ? wait_for_lock(a->c) : wait_for_process(a->c, process);
    if (process >= 0)
        close(process);
    return r;
}

static int run(struct cli *c)
{
    return cli_work(c, shut_down);
}

const struct cli_command sub_down = {
    .name = "down",
    .operands = "",
    .summary = "stop the node and unmount",
    .details = "Returns when everything is on disk and the node has ended.",
    .run = run,
};
