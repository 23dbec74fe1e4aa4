/* SPDX-License-Identifier: MIT
 *
 * The ring is the one datum here that several threads write: it has a mutex of its own, held for a memcpy. */
#include "store/base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024

static atomic_int max_level = LOG_LEVEL_INFO;
static atomic_bool to_stderr = true;
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static char ring[LOG_RING_BYTES];
static size_t ring_written; /* bytes ever written; position is modulo LOG_RING_BYTES */

void log_set_level(enum log_level level)
{
    atomic_store(&max_level, (int)level);
}

void log_set_stderr(bool on)
{
    atomic_store(&to_stderr, on);
}

static void ring_add(const char *line, size_t len)
{
    pthread_mutex_lock(&ring_lock);
    for (size_t i = 0; i < len; i++)
        ring[(ring_written + i) % LOG_RING_BYTES] = line[i];
    ring_written += len;
    pthread_mutex_unlock(&ring_lock);
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if ((int)level > atomic_load(&max_level))
        return;
    char line[LOG_LINE_MAX];
    char when[WALL_TEXT_SIZE];
    int n = snprintf(line, sizeof line, "%s %s %s ", wall_text(wall_now(), when), names[level], event);
    if (n < 0)
        return;
    va_list args;
    va_start(args, fmt);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, args);
    va_end(args);
    size_t len = (size_t)n + (m > 0 ? (size_t)m : 0);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    for (size_t i = 0; i < len; i++) /* one line an event: what a peer sent cannot forge another */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    ring_add(line, len);
    if (atomic_load(&to_stderr)) {
        ssize_t wrote = write(STDERR_FILENO, line, len);
        (void)wrote; /* nowhere left to tell it */
    }
}

void log_ring_read(struct buf *out)
{
    uint8_t *at = buf_try_reserve(out, LOG_RING_BYTES);
    if (!at)
        return;
    pthread_mutex_lock(&ring_lock);
    size_t len = ring_written < LOG_RING_BYTES ? ring_written : LOG_RING_BYTES;
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)ring[(ring_written - len + i) % LOG_RING_BYTES];
    bool cut = ring_written > LOG_RING_BYTES;
    pthread_mutex_unlock(&ring_lock);
    size_t skip = 0;
    if (cut) { /* the oldest line has lost its beginning */
        uint8_t *newline = memchr(at, '\n', len);
        skip = newline ? (size_t)(newline - at) + 1 : len;
        memmove(at, at + skip, len - skip);
    }
    buf_commit(out, len - skip);
}

bool log_limit_pass(struct log_limit *limit, mono_ns now)
{
    if (now < limit->next) {
        limit->left_out++;
        return false;
    }
    limit->next = now + MONO_S;
    if (limit->left_out)
        log_line(LOG_LEVEL_WARN, "log.limited", "left_out=%u", limit->left_out);
    limit->left_out = 0;
    return true;
}
