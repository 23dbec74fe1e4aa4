/* SPDX-License-Identifier: MIT */
#include "store/base/log.h"

#include <criterion/criterion.h>

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

Test(mono, after_does_not_wrap)
{
    cr_assert_eq(mono_after(5, 7), 12);
    cr_assert_eq(mono_after(5, MONO_NEVER), MONO_NEVER);
    cr_assert_eq(mono_after(MONO_NEVER, 1), MONO_NEVER);
    char text[WALL_TEXT_SIZE];
    cr_assert_str_eq(wall_text(INT64_C(1767323045) * (wall_ns)MONO_S, text), "2026-01-02T03:04:05Z");
    cr_assert(mono_now() <= mono_now());
}
