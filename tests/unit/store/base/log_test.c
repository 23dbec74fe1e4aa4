/* SPDX-License-Identifier: MIT */
#include "store/base/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

Test(log, ring_keeps_the_newest_whole_lines)
{
    log_set_stderr(false);
    for (int i = 0; i < 5000; i++)
        log_info("test.event", "n=%d", i);
    struct buf b = BUF_INIT;
    log_ring_read(&b);
    cr_assert(buf_len(&b) <= LOG_RING_BYTES && buf_len(&b) > LOG_RING_BYTES / 2);
    const char *text = buf_cstr(&b);
    cr_assert(strstr(text, "n=4999\n"));
    cr_assert(strncmp(text, "20", 2) == 0, "begins with the time of a line: %.40s", text);
    cr_assert_null(strstr(text, " n=1\n"));
    buf_done(&b);
}

Test(log, a_peer_cannot_forge_a_line)
{
    log_set_stderr(false);
    log_info("test.event", "agent=%s", "evil\n2026-01-01T00:00:00Z error fake x=1");
    struct buf b = BUF_INIT;
    log_ring_read(&b);
    cr_assert_null(strstr(buf_cstr(&b), "\n2026-01-01T00:00:00Z error fake"));
    buf_done(&b);
}

Test(log, level_and_limit)
{
    log_set_stderr(false);
    log_debug("test.hidden", "x=%d", 1);
    struct log_limit limit = {0};
    cr_assert(log_limit_pass(&limit, 5 * MONO_S));
    cr_assert_not(log_limit_pass(&limit, 5 * MONO_S + 1));
    cr_assert_not(log_limit_pass(&limit, 6 * MONO_S - 1));
    cr_assert(log_limit_pass(&limit, 6 * MONO_S));
    struct buf b = BUF_INIT;
    log_ring_read(&b);
    cr_assert_null(strstr(buf_cstr(&b), "test.hidden"));
    cr_assert_not_null(strstr(buf_cstr(&b), "left_out=2"));
    buf_done(&b);
}

/* stderr is a pipe that nobody reads for now. Returns its reading end. */
static int full_pipe(size_t *ret_filled)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    int size = fcntl(fds[1], F_SETPIPE_SZ, 4096);
    char *fill = calloc(1, (size_t)size);
    cr_assert_eq(write(fds[1], fill, (size_t)size), size);
    free(fill);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    *ret_filled = (size_t)size;
    return fds[0];
}

Test(log, who_logs_does_not_wait_for_stderr, .timeout = 60)
{
    size_t filled;
    int own = dup(STDERR_FILENO), fd = full_pipe(&filled);
    cr_assert_eq(log_writer_start(), 0);
    for (int i = 0; i < 5000; i++)
        log_info("test.event", "n=%d of a line that is as long as most are", i);
    struct buf b = BUF_INIT;
    while (!buf_len(&b) || !strstr(buf_cstr(&b), "n=4999 ")) {
        uint8_t *at = buf_reserve(&b, 4096);
        ssize_t n = read(fd, at, 4096);
        cr_assert(n > 0);
        size_t skip = filled < (size_t)n ? filled : (size_t)n; /* zeros */
        filled -= skip;
        memmove(at, at + skip, (size_t)n - skip);
        buf_commit(&b, (size_t)n - skip);
    }
    log_writer_stop();
    dup2(own, STDERR_FILENO);
    cr_assert(strstr(buf_cstr(&b), " n=0 ") || strstr(buf_cstr(&b), "log.left_out bytes="));
    cr_assert_not_null(strstr(buf_cstr(&b), "warn log.left_out bytes="));
    char *save = NULL;
    for (char *line = strtok_r((char *)(uintptr_t)buf_cstr(&b), "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        cr_assert(strncmp(line, "20", 2) == 0 && (strstr(line, "most are") || strstr(line, "log.left_out")), "whole: %s", line);
    buf_done(&b);
}

Test(log, a_writer_that_is_stuck_does_not_hold_the_end, .timeout = 60)
{
    size_t filled;
    int fd = full_pipe(&filled);
    cr_assert_eq(log_writer_start(), 0);
    log_info("test.event", "n=%d", 1);
    log_writer_stop();
    log_info("test.event", "n=%d", 2); /* nor does who logs after it */
    log_set_stderr(false);
    close(fd); /* EPIPE would end it: the test's own end is near */
}

Test(log, a_file_is_begun_anew)
{
    char dir[] = "/tmp/p2p-log-XXXXXX", path[64], old[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/log", dir);
    snprintf(old, sizeof old, "%s/log.old", dir);
    int own = dup(STDERR_FILENO);
    cr_assert_eq(log_writer_start(), 0);
    cr_assert_eq(log_to_file(path), 0);
    struct stat st, st_old = {0};
    for (int i = 0; stat(old, &st_old) != 0; i++) /* until it was too long for once */
        log_info("test.event", "n=%d of a line that is as long as most are", i);
    log_info("test.last", "n=%d", 1);
    log_writer_stop();
    dup2(own, STDERR_FILENO);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert(st.st_size > 0 && st.st_size <= LOG_KEEP + 4096, "%zu bytes", (size_t)st.st_size);
    cr_assert(st_old.st_size > LOG_KEEP && st_old.st_size <= LOG_KEEP + 4096, "%zu bytes", (size_t)st_old.st_size);
    unlink(path);
    unlink(old);
    rmdir(dir);
}

Test(mono, after_does_not_wrap)
{
    cr_assert_eq(mono_after(5, 7), 12);
    cr_assert_eq(mono_after(5, MONO_NEVER), MONO_NEVER);
    cr_assert_eq(mono_after(MONO_NEVER, 1), MONO_NEVER);
    char text[WALL_TEXT_SIZE];
    cr_assert_str_eq(wall_text(INT64_C(1767323045) * (wall_ns)MONO_S, text), "2026-01-02T03:04:05Z");
    cr_assert(mono_now() <= mono_now());
}
