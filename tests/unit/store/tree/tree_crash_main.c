/* SPDX-License-Identifier: MIT
 *
 * A child works on a tree and dies in the middle: killed from outside, or in a write of the store. Afterwards the tree must be
 * sound, and exactly as it was after one of its operations, not an earlier one than the last sync that was answered.
 * Operations come from a seed, so the parent does them again in another store and compares root CIDs.
 * Usage: tree_crash_main [rounds [seed]] */
#include "store/block/fault.h"
#include "tests/unit/store/tree/treemodel.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#define OPERATIONS 1500u

/* ---- the child ---- */

static void report(int fd, uint32_t done)
{
    ssize_t n = write(fd, &done, sizeof done);
    if (n != (ssize_t)sizeof done)
        _exit(1);
}

struct waiting {
    int fd;
    uint32_t done;
};

static void tell_synced(void *arg, int result)
{
    struct waiting *w = arg;
    CHECK_EQ(result, 0);
    report(w->fd, w->done);
    free(w);
}

static void child(struct bed *b, uint64_t seed, unsigned long die_at, int fd)
{
    struct rng rng, when;
    struct model *m = MEM_NEW(struct model);
    rng_init_seed(&rng, seed);
    rng_init_seed(&when, seed + 1);
    bed_open(b);
    model_init(m);
    fault_arm(die_at, FAULT_EXIT);
    for (uint32_t i = 1; i <= OPERATIONS; i++) {
        step_any(b, m, &rng);
        if (tree_pending(b->t) > 300)
            bed_settle(b);
        if (rng_below(&when, 20) == 0) { /* not waited for: the answer may come any time */
            struct waiting *w = MEM_NEW(struct waiting);
            *w = (struct waiting){fd, i};
            tree_sync(b->t, tell_synced, w);
        }
        if (rng_below(&when, 10) == 0)
            bed_pump(b);
    }
    bed_settle(b);
    report(fd, OPERATIONS);
    _exit(0);
}

/* ---- the parent ---- */

static struct cid root_cid(struct bed *b)
{
    struct unixfs_root root;
    int r;
    PATIENT(b, r, tree_publish(b->t, TREE_ROOT, NULL, &root));
    CHECK_EQ(r, 0);
    return root.cid;
}

/* Does some state from `synced` on look like that? */
static bool replay(uint64_t seed, uint32_t synced, const struct cid *want)
{
    struct bed b;
    struct rng rng;
    struct model *m = MEM_NEW(struct model);
    bool found = false;
    rng_init_seed(&rng, seed);
    bed_new(&b);
    model_init(m);
    for (uint32_t i = 0; i <= OPERATIONS && !found; i++) {
        if (i > 0)
            step_any(&b, m, &rng);
        if (tree_pending(b.t) > 300)
            bed_settle(&b);
        if (i < synced)
            continue;
        struct cid now = root_cid(&b);
        found = cid_eq(&now, want);
    }
    free(m);
    bed_free(&b);
    return found;
}

static uint32_t watch(pid_t pid, int fd, unsigned reports_until_kill)
{
    uint32_t synced = 0, got;
    for (unsigned n = 0; read(fd, &got, sizeof got) == (ssize_t)sizeof got; n++) {
        CHECK(got >= synced);
        synced = got;
        if (n == reports_until_kill)
            kill(pid, SIGKILL);
    }
    return synced;
}

static void round_of(uint64_t seed)
{
    struct bed b = {.budget = budget_new(BUDGET_MIN)};
    struct rng rng;
    int fds[2], status;
    rng_init_seed(&rng, seed ^ 0x5eed);
    unsigned long die_at = seed % 2 ? 1 + rng_below(&rng, 9000) : 0;
    unsigned kill_at = seed % 2 ? UINT32_MAX : (unsigned)rng_below(&rng, 50);
    snprintf(b.dir, sizeof b.dir, "/tmp/treebed.XXXXXX");
    CHECK(mkdtemp(b.dir));
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        child(&b, seed, die_at, fds[1]);
    close(fds[1]);
    uint32_t synced = watch(pid, fds[0], kill_at);
    close(fds[0]);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    bool ended = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == FAULT_EXIT_STATUS);
    CHECK(ended || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));

    struct why why = {""};
    struct tree_count count;
    bed_open(&b);
    if (tree_check(b.t, &count, &why) < 0)
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, why.text);
    CHECK_EQ(why.text[0], 0);
    bed_settle(&b); /* orphans are let go of */
    CHECK_EQ(tree_check(b.t, &count, &why), 0);
    CHECK_EQ(count.orphans, 0);
    struct cid after = root_cid(&b);
    printf("seed %llu: %s after %u synced operations, %llu files\n", (unsigned long long)seed,
           WIFSIGNALED(status)   ? "killed"
           : WEXITSTATUS(status) ? "died in a write"
                                 : "ended",
           synced, (unsigned long long)count.files);
    fflush(stdout);
    CHECK(replay(seed, synced, &after));
    bed_free(&b);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    for (unsigned i = 0; i < rounds; i++)
        round_of(seed + i);
    return 0;
}
