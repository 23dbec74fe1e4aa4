/* SPDX-License-Identifier: MIT
 *
 * Bridges without a descriptor on this machine's side: an echo, a file, the ring of a live service and what feeds it.
 */
#include "net/engine/engine_bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Bytes taken, ≥ 0; of less than all it is woken when there is room. Or its end comes. */
static int write_some(struct bridge *b, struct span in)
{
    size_t room = host_raw_room(b->raw);
    int n = room ? host_raw_write(b->e->host, b->raw, span_sub(in, 0, room), mono_now()) : 0;
    if (room < in.len)
        host_raw_want_room(b->raw);
    return n;
}

/* ---- an echo ---- */

static void echo_pump(struct bridge *b)
{
    struct host *h = b->e->host;
    struct span in;
    size_t left = BRIDGE_QUANTUM, most;
    while (left && (in = span_sub(host_raw_peek(b->raw), 0, left)).len && (most = bridge_allow(b, in.len))) {
        int n = write_some(b, span_sub(in, 0, most));
        if (n <= 0)
            return; /* woken when there is room; or its end comes */
        bridge_came(b, (size_t)n);
        bridge_went(b, (size_t)n);
        host_raw_consume(h, b->raw, (size_t)n, mono_now());
        left -= (size_t)n;
    }
    if (!left)
        bridge_wake(b);
    if (!b->eof && host_raw_finished(b->raw)) {
        b->eof = true;
        host_raw_finish(h, b->raw, mono_now());
    }
}

const struct bridge_ends bridge_echo = {.pump = echo_pump};

/* What the peer says is of no interest */
static void drop_input(struct bridge *b)
{
    size_t n = host_raw_peek(b->raw).len;
    bridge_came(b, n);
    if (n)
        host_raw_consume(b->e->host, b->raw, n, mono_now());
}

/* ---- a file: read on workers, a piece at a time ---- */

/* What is read has memory of its own until it is with the stream, and others may have filled the connection meanwhile: all of
 * it is taken then in any case. So few are read at a time. */
#define FILE_READS 4

struct file_read {
    struct job job;
    struct bridge *b; /* NULL: it ended meanwhile */
    char *path;
    int fd; /* -1: not open yet */
    bool busy, waits;
    size_t want;
    ssize_t got; /* < 0: -errno */
    struct buf piece;
    uint8_t *bytes; /* of the piece; without one of its own */
};

static void file_work(struct job *job)
{
    struct file_read *f = (struct file_read *)job;
    if (!f->piece.base)
        f->bytes = mem_big(f->want, 1);
    if (f->fd < 0)
        f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO without a writer does not hold the worker */
    f->got = f->fd < 0 ? -errno : !f->bytes ? -ENOMEM : read(f->fd, f->bytes, f->want);
    if (f->fd >= 0 && f->bytes && f->got < 0)
        f->got = -errno;
}

static void file_free(struct file_read *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->path);
    free(f);
}

static void wake_waiting(struct engine *e)
{
    for (struct bridge *b = e->bridges; b; b = b->next)
        if (b->ends == &bridge_file && b->u.file && b->u.file->waits) {
            b->u.file->waits = false;
            bridge_wake(b);
        }
}

static void file_came(struct bridge *b, struct file_read *f)
{
    struct engine *e = b->e;
    if (f->got < 0) {
        engine_event(e, "stream.target", err_text(err_from_errno((int)-f->got)));
        b->offer->count.refused++;
        bridge_end(b, ERR_IO);
        return;
    }
    if (f->got == 0) {
        b->eof = true;
        host_raw_finish(e->host, b->raw, mono_now());
        return;
    }
    if (host_raw_write_over(e->host, b->raw, span_of(f->bytes, (size_t)f->got), mono_now()) == 0)
        bridge_went(b, (size_t)f->got);
    bridge_wake(b); /* if it is gone its end comes */
}

static void file_answer(struct mail *m, void *owner)
{
    struct file_read *f = (struct file_read *)m;
    struct engine *e = owner;
    struct buf piece = f->piece;
    uint8_t *own = piece.base ? NULL : f->bytes;
    f->piece = BUF_INIT;
    e->jobs--;
    e->file_reads--;
    f->busy = false;
    if (f->b)
        file_came(f->b, f);
    else
        file_free(f);
    free(own);
    bridge_piece_back(e, &piece);
    wake_waiting(e);
}

static struct file_read *file_new(struct bridge *b)
{
    struct file_read *f = MEM_NEW(struct file_read);
    f->b = b;
    f->fd = -1;
    f->path = mem_str((const char *)buf_span(&b->offer->text).data);
    return f;
}

static void file_pump(struct bridge *b)
{
    struct engine *e = b->e;
    if (!b->u.file)
        b->u.file = file_new(b);
    struct file_read *f = b->u.file;
    drop_input(b);
    if (f->busy || b->eof)
        return;
    size_t room = host_raw_room(b->raw);
    if (!room) {
        host_raw_want_room(b->raw);
        return;
    }
    f->waits = e->file_reads >= FILE_READS;
    if (f->waits)
        return;
    f->want = bridge_allow(b, room < BRIDGE_QUANTUM ? room : BRIDGE_QUANTUM);
    if (!f->want)
        return;
    bridge_pay(b, f->want);
    f->busy = true;
    f->piece = bridge_piece(e);
    f->bytes = f->piece.base ? buf_reserve(&f->piece, f->want) : NULL;
    f->job = (struct job){.mail.run = file_answer, .work = file_work, .reply = e->answers};
    e->jobs++;
    e->file_reads++;
    workers_submit_slow(e->o.workers, &f->job);
}

static void file_done(struct bridge *b)
{
    struct file_read *f = b->u.file;
    if (!f)
        return;
    f->b = NULL;
    if (!f->busy)
        file_free(f); /* else its answer does */
}

const struct bridge_ends bridge_file = {.pump = file_pump, .done = file_done};

/* ---- a live service ---- */

static void live_pump(struct bridge *b)
{
    struct offer_state *s = offer_state(b->e, b->offer);
    uint64_t skipped;
    mono_ns now = mono_now();
    drop_input(b);
    struct span in = live_read(&s->live, &b->u.place, now, &skipped);
    size_t most = in.len ? bridge_allow(b, in.len < BRIDGE_QUANTUM ? in.len : BRIDGE_QUANTUM) : 0;
    int n = most ? write_some(b, span_sub(in, 0, most)) : 0;
    if (n > 0) {
        b->u.place += (uint64_t)n;
        bridge_went(b, (size_t)n);
    }
    if (n > 0 && (size_t)n == most && (size_t)n < in.len)
        bridge_wake(b);
    if (b->u.place == live_end(&s->live) && !s->writer && s->was_fed && !b->eof) {
        b->eof = true;
        host_raw_finish(b->e->host, b->raw, now);
    }
}

static void live_opened(struct bridge *b)
{
    b->u.place = live_start(&offer_state(b->e, b->offer)->live, mono_now());
}

const struct bridge_ends bridge_live = {.pump = live_pump, .opened = live_opened};

static void wake_readers(struct engine *e, const struct service_offer *o)
{
    for (struct bridge *b = e->bridges; b; b = b->next)
        if (b->offer == o && b->ends == &bridge_live)
            bridge_wake(b);
}

/* What feeds it has no stream: it reads its descriptor into the ring, whoever listens */
static void feed_pump(struct bridge *b)
{
    struct engine *e = b->e;
    struct service_offer *o = b->offer;
    if (!bridge_take(b, BRIDGE_QUANTUM))
        return;
    live_write(&offer_state(e, o)->live, buf_span(&e->bridge_scratch), mono_now());
    wake_readers(e, o);
    if (b->eof)
        bridge_end(b, 0);
}

static void feed_done(struct bridge *b)
{
    struct offer_state *s = offer_state(b->e, b->offer);
    s->writer = NULL;
    s->was_fed = true;
    wake_readers(b->e, b->offer);
}

const struct bridge_ends bridge_feed = {.pump = feed_pump, .done = feed_done};

/* ---- the runtime of an offer ---- */

struct offer_state *offer_state(struct engine *e, struct service_offer *o)
{
    struct offer_state *s = o->runtime;
    mono_ns now = mono_now();
    (void)e;
    if (!s) {
        o->runtime = s = MEM_NEW(struct offer_state);
        tokens_init(&s->rate, o->rate_max, now);
        turns_init(&s->held);
        s->resume_at = MONO_NEVER;
    }
    if (s->rate.rate != o->rate_max)
        tokens_set_rate(&s->rate, o->rate_max, now);
    return s;
}

void offer_close(struct engine *e, struct service_offer *o)
{
    for (struct bridge *b = e->bridges, *next; b; b = next) {
        next = b->next;
        if (b->offer == o)
            bridge_end(b, ERR_CLOSED);
    }
    exec_forget_offer(e, o);
    struct offer_state *s = o->runtime;
    if (!s)
        return;
    live_done(&s->live);
    turns_done(&s->held);
    free(s);
    o->runtime = NULL;
}
