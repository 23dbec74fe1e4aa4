/* SPDX-License-Identifier: MIT
 *
 * The ring is the one datum here that several threads write: it has a mutex of its own, held for a memcpy. The writer follows
 * it with a position of its own and holds the mutex for no write. */
#include "store/base/log.h"

#include "store/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX  1024
#define WRITE_MOST    4096 /* bytes a turn of the writer */
#define STOP_PATIENCE 1    /* seconds for what was not written at the end */

static atomic_int max_level = LOG_LEVEL_INFO;
static atomic_bool to_stderr = true;
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static char ring[LOG_RING_BYTES];
static size_t ring_written; /* bytes ever written; position is modulo LOG_RING_BYTES */

static pthread_cond_t ring_grew = PTHREAD_COND_INITIALIZER, writer_ended = PTHREAD_COND_INITIALIZER;
static pthread_t writer;
enum writer_state { NO_WRITER, WRITES, ENDS, ENDED };
static enum writer_state writer_state; /* this and the next two: under ring_lock */
static size_t writer_at;               /* of ring_written: what stderr has */
static char file[PATH_MAX];            /* what stderr is, when it is ours to begin anew */

void log_set_level(enum log_level level)
{
    atomic_store(&max_level, (int)level);
}

void log_set_stderr(bool on)
{
    atomic_store(&to_stderr, on);
}

/* Has stderr to be written by the caller? */
static bool ring_add(const char *line, size_t len)
{
    pthread_mutex_lock(&ring_lock);
    for (size_t i = 0; i < len; i++)
        ring[(ring_written + i) % LOG_RING_BYTES] = line[i];
    ring_written += len;
    bool direct = writer_state == NO_WRITER;
    pthread_cond_signal(&ring_grew);
    pthread_mutex_unlock(&ring_lock);
    return direct;
}

static void write_out(const char *text, size_t len)
{
    while (len > 0 && atomic_load(&to_stderr)) {
        ssize_t n = write(STDERR_FILENO, text, len);
        if (n <= 0 && errno != EINTR)
            return; /* nowhere left to tell it */
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
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
    if (ring_add(line, len))
        write_out(line, len);
}

/* ---- the writer ---- */

int log_to_file(const char *path)
{
    char old[PATH_MAX + 4];
    struct stat st;
    snprintf(old, sizeof old, "%s.old", path);
    if (stat(path, &st) == 0 && st.st_size > LOG_KEEP)
        (void)rename(path, old); /* else it goes on in the long one */
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_from_errno(errno);
    dup2(fd, STDERR_FILENO);
    close(fd);
    pthread_mutex_lock(&ring_lock);
    if (path != file)
        snprintf(file, sizeof file, "%s", path);
    pthread_mutex_unlock(&ring_lock);
    return 0;
}

static void begin_anew(void)
{
    struct stat st;
    pthread_mutex_lock(&ring_lock);
    bool ours = *file;
    pthread_mutex_unlock(&ring_lock);
    if (ours && fstat(STDERR_FILENO, &st) == 0 && st.st_size > LOG_KEEP)
        (void)log_to_file(file); /* else the same file grows */
}

/* With ring_lock. What the writer came too late for is told by its bytes; it goes on with a whole line. */
static size_t next_piece(char out[WRITE_MOST])
{
    size_t len = 0, lost = ring_written - writer_at;
    if (lost > LOG_RING_BYTES) {
        size_t at = ring_written - LOG_RING_BYTES;
        while (at < ring_written && ring[at++ % LOG_RING_BYTES] != '\n')
            ;
        lost = at - writer_at;
        writer_at = at;
        char when[WALL_TEXT_SIZE];
        len = (size_t)snprintf(out, WRITE_MOST, "%s warn log.left_out bytes=%zu\n", wall_text(wall_now(), when), lost);
    }
    while (writer_at < ring_written && len < WRITE_MOST)
        out[len++] = ring[writer_at++ % LOG_RING_BYTES];
    for (; len > 0 && out[len - 1] != '\n'; len--) /* whole lines, or a gap could begin in one */
        writer_at--;
    return len;
}

static void *writer_main(void *arg)
{
    char out[WRITE_MOST];
    pthread_mutex_lock(&ring_lock);
    for (;;) {
        while (writer_at == ring_written && writer_state == WRITES)
            pthread_cond_wait(&ring_grew, &ring_lock);
        size_t len = next_piece(out);
        if (len == 0)
            break;
        pthread_mutex_unlock(&ring_lock);
        write_out(out, len);
        begin_anew();
        pthread_mutex_lock(&ring_lock);
    }
    writer_state = ENDED;
    pthread_cond_signal(&writer_ended);
    pthread_mutex_unlock(&ring_lock);
    return arg;
}

int log_writer_start(void)
{
    pthread_mutex_lock(&ring_lock);
    int r = thread_start(&writer, "p2p-log", writer_main, NULL);
    if (r == 0)
        writer_state = WRITES;
    writer_at = ring_written; /* what was before is written */
    pthread_mutex_unlock(&ring_lock);
    return r;
}

void log_writer_stop(void)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += STOP_PATIENCE;
    pthread_mutex_lock(&ring_lock);
    bool runs = writer_state == WRITES;
    if (runs)
        writer_state = ENDS;
    pthread_cond_signal(&ring_grew);
    while (writer_state == ENDS && pthread_cond_clockwait(&writer_ended, &ring_lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    bool ended = writer_state == ENDED;
    if (ended)
        writer_state = NO_WRITER; /* else it stays: nobody else is to wait for stderr either */
    pthread_mutex_unlock(&ring_lock);
    if (ended)
        pthread_join(writer, NULL);
    else if (runs)
        pthread_detach(writer);
}

/* ---- */

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
