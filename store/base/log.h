/* SPDX-License-Identifier: MIT
 *
 * The log: one line an event, `time level event key=value …`, no secrets. Any thread may call it. Libraries return errors;
 * the caller that knows the user's words logs once. Pure machines do not log.
 *
 * Lines go to stderr and to a ring in memory, which `.p2p/log` shows. What a peer can cause goes through log_limited.
 */
#ifndef STORE_BASE_LOG_H
#define STORE_BASE_LOG_H

#include "store/base/mono.h"
#include "store/base/span.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level); /* default LOG_LEVEL_INFO */
void log_set_stderr(bool on);             /* default on */
void log_line(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void log_ring_read(
    struct buf *out); /* appends the newest lines, oldest first; at most LOG_RING_BYTES; nothing without memory */

#define LOG_RING_BYTES 65536

/* A thread of its own writes the lines to stderr from now on: who logs never waits for a terminal that is stopped, a pipe that
 * nobody reads, a disk that stalls. What left the ring before it could be written is told by its bytes (log.left_out). Without
 * it each caller writes. Stopping gives what is not written yet one second; a writer that is stuck then stays so. ERR_… */
int log_writer_start(void);
void log_writer_stop(void);
/* stderr goes to the end of this file. One longer than LOG_KEEP bytes becomes `path`.old, now and whenever the writer finds it
 * so: the log takes little more than twice that. ERR_… with stderr as it was. */
int log_to_file(const char *path);

#define LOG_KEEP (1 << 20)

#define log_error(event, ...) log_line(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  log_line(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) log_line(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

/* At most one line a second for each place that says it; the next line tells how many were left out. */
struct log_limit {
    mono_ns next;
    unsigned left_out;
};
bool log_limit_pass(struct log_limit *limit, mono_ns now);
#define log_limited(limit, event, ...)                                                                                         \
    do {                                                                                                                       \
        if (log_limit_pass((limit), mono_now()))                                                                               \
            log_line(LOG_LEVEL_WARN, event, __VA_ARGS__);                                                                      \
    } while (0)

#endif
