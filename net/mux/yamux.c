/* SPDX-License-Identifier: MIT
 *
 * The session: input and its events, ping, go-away, time. */
#include "net/mux/yamux.h"

#include "net/mux/yamux_impl.h"
#include "store/base/budget.h"

#include <assert.h>
#include <stdlib.h>

const struct yamux_config yamux_defaults = {
    .streams_in = 256,
    .streams_out = 256,
    .send_queue = 256 * 1024,
    .send_total = 4 * 1024 * 1024,
    .window_max = 16 * 1024 * 1024,
    .window_total = 32 * 1024 * 1024,
    .keepalive = 30 * MONO_S,
    .pong = 10 * MONO_S,
};

struct yamux *yamux_new(const struct yamux_config *cfg, mono_ns now)
{
    struct yamux *y = MEM_NEW(struct yamux);
    y->cfg = *cfg;
    if (y->cfg.window_max < YAMUX_WINDOW)
        y->cfg.window_max = YAMUX_WINDOW;
    y->now = y->heard = now;
    y->next_id = cfg->dialer ? 1 : 2;
    y->mix = (cfg->seed ^ UINT64_C(0x9e3779b97f4a7c15)) | 1;
    TAILQ_INIT(&y->control);
    TAILQ_INIT(&y->common.sending);
    TAILQ_INIT(&y->turns);
    TAILQ_INIT(&y->groups);
    TAILQ_INIT(&y->blocked);
    TAILQ_INIT(&y->events);
    y->ping_at = now;
    if (cfg->keepalive != MONO_NEVER)
        (void)yamux_ping(y, cfg->pong, now); /* the round trip, which windows grow by; nothing can be under way */
    return y;
}

struct yamux *yamux_free(struct yamux *y)
{
    if (!y)
        return NULL;
    uint32_t id;
    void *user;
    while (yamux_any(y, &id, &user))
        stream_free(y, stream_find(y, id));
    chunks_trim(y);
    free(y->resets);
    free(y);
    return NULL;
}

int yamux_fail(struct yamux *y, int err, enum yamux_goaway code)
{
    if (y->err)
        return y->err;
    y->err = err;
    y->going = y->goaway_due = true;
    y->going_code = code;
    y->pong_count = 0;
    y->ping_due = false;
    return err;
}

static int protocol_error(struct yamux *y)
{
    return yamux_fail(y, ERR_PROTOCOL, YAMUX_GOAWAY_PROTOCOL);
}

/* ---- frames ---- */

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int on_ping(struct yamux *y, unsigned flags, uint32_t value)
{
    if (flags & FLAG_SYN) {
        if (y->pong_count == YAMUX_PONGS_MAX)
            return yamux_fail(y, ERR_LIMIT, YAMUX_GOAWAY_PROTOCOL);
        y->pongs[y->pong_count++] = value;
    } else if ((flags & FLAG_ACK) && y->ping_waits && value == y->ping_value) {
        mono_ns took = y->now > y->ping_at ? y->now - y->ping_at : 1; /* 0 stands for unknown */
        y->rtt = y->rtt ? (7 * y->rtt + took) / 8 : took;
        y->ping_waits = false;
        y->pong_event = true;
    }
    return 0;
}

static int on_goaway(struct yamux *y, uint32_t code)
{
    y->peer_going = y->goaway_event = true;
    y->goaway_code = code;
    return 0;
}

/* The stream that a SYN opens, in *ret; untouched when it is refused. */
static int on_syn(struct yamux *y, uint32_t id, struct stream **ret)
{
    bool theirs = (id % 2 == 1) != y->cfg.dialer;
    if (!theirs || stream_find(y, id))
        return protocol_error(y);
    if (!y->going && y->count_in >= y->cfg.streams_in && ++y->vain > YAMUX_VAIN_MAX)
        return yamux_fail(y, ERR_LIMIT, YAMUX_GOAWAY_PROTOCOL);
    if (y->going || y->count_in >= y->cfg.streams_in)
        stream_refuse(y, id);
    else
        *ret = stream_new(y, id, true, NULL);
    return y->err;
}

static int on_credit(struct yamux *y, struct stream *s, uint32_t delta)
{
    if (delta > UINT32_MAX - s->send_window)
        return protocol_error(y); /* nobody promises 4 GiB */
    s->send_window += delta;
    stream_update(y, s);
    stream_wake(y, s);
    return 0;
}

static int on_body(struct yamux *y, struct stream *s, uint32_t len)
{
    y->frame.left = len;
    if (!s)
        return 0;
    if (s->fin_received) {
        y->frame.stream = NULL; /* after its FIN: thrown away */
        return 0;
    }
    if (len > s->credit)
        return protocol_error(y);
    s->credit -= len;
    s->unconsumed += len;
    return 0;
}

/* A data or window frame. Flags ride on both, and a body or credit comes together with any of them. */
static int on_stream_frame(struct yamux *y, enum yamux_frame_type type, unsigned flags, uint32_t id, uint32_t length)
{
    struct stream *s = NULL;
    int r = 0;
    if (id == 0)
        return protocol_error(y);
    if (flags & FLAG_SYN)
        r = on_syn(y, id, &s);
    else
        s = stream_find(y, id); /* one we have forgotten: what comes for it is ignored */
    if (r < 0)
        return r;
    y->frame = (struct frame_now){.stream = s, .opened = s && (flags & FLAG_SYN)};
    if (s && (flags & FLAG_ACK))
        stream_acked(y, s);
    r = type == FRAME_DATA ? on_body(y, s, length) : s ? on_credit(y, s, (flags & FLAG_RST) ? 0 : length) : 0;
    if (r < 0 || !y->frame.stream)
        return r;
    y->frame.rst = flags & FLAG_RST;
    y->frame.fin = (flags & FLAG_FIN) && !s->fin_received;
    return 0;
}

static int on_header(struct yamux *y)
{
    const uint8_t *h = y->head;
    unsigned flags = (unsigned)h[2] << 8 | h[3];
    uint32_t id = get_u32(h + 4), length = get_u32(h + 8);
    if (h[0] != 0 || h[1] >= FRAME_TYPES)
        return protocol_error(y);
    switch ((enum yamux_frame_type)h[1]) {
    case FRAME_PING:
        return on_ping(y, flags, length);
    case FRAME_GOAWAY:
        return on_goaway(y, length);
    default:
        return on_stream_frame(y, (enum yamux_frame_type)h[1], flags, id, length);
    }
}

/* ---- events ---- */

static int tell(struct yamux_event *ev, enum yamux_event_type type, const struct stream *s)
{
    *ev = (struct yamux_event){.type = type, .stream = s ? s->id : 0, .user = s ? s->user : NULL};
    return 1;
}

/* What waits: the session's events, then those of streams. */
static int next_waiting(struct yamux *y, struct yamux_event *ev)
{
    if (y->pong_event) {
        y->pong_event = false;
        (void)tell(ev, YAMUX_PONG, NULL);
        ev->rtt = y->rtt;
        return 1;
    }
    if (y->goaway_event) {
        y->goaway_event = false;
        (void)tell(ev, YAMUX_GOAWAY, NULL);
        ev->code = y->goaway_code;
        return 1;
    }
    struct stream *s;
    while ((s = TAILQ_FIRST(&y->events))) {
        TAILQ_REMOVE(&y->events, s, events);
        s->in_events = false;
        bool writable = s->writable_due;
        s->writable_due = false;
        if (stream_finished(s)) {
            (void)tell(ev, YAMUX_CLOSED, s);
            stream_free(y, s);
            return 1;
        }
        if (writable)
            return tell(ev, YAMUX_WRITABLE, s);
    }
    return 0;
}

/* What the frame under way has to tell with the bytes at hand. 0: nothing, or nothing yet. */
static int next_of_frame(struct yamux *y, struct yamux_event *ev)
{
    struct frame_now *f = &y->frame;
    struct stream *s = f->stream;
    if (f->opened) {
        f->opened = false;
        return tell(ev, YAMUX_OPENED, s);
    }
    if (f->left) {
        struct span part = span_sub(y->in, 0, f->left);
        y->in = span_from(y->in, part.len);
        f->left -= (uint32_t)part.len;
        if (!s || f->rst || part.len == 0)
            return 0;
        s->delivered += part.len;
        y->unconsumed += part.len;
        (void)tell(ev, YAMUX_DATA, s);
        ev->data = part;
        return 1;
    }
    if (f->rst) {
        (void)tell(ev, YAMUX_RESET, s);
        if (s->ack_due && ++y->vain > YAMUX_VAIN_MAX)
            (void)yamux_fail(y, ERR_LIMIT, YAMUX_GOAWAY_PROTOCOL); /* told after this event */
        stream_free(y, s);
        return 1;
    }
    if (f->fin) {
        f->fin = false;
        s->fin_received = true;
        (void)tell(ev, YAMUX_FIN, s);
        stream_update(y, s);
        return 1;
    }
    f->stream = NULL;
    return 0;
}

static bool frame_over(const struct yamux *y)
{
    const struct frame_now *f = &y->frame;
    return !f->left && !f->opened && !f->fin && !f->rst;
}

static bool take_header(struct yamux *y)
{
    struct span part = span_sub(y->in, 0, YAMUX_HEADER - y->head_len);
    if (part.len)
        memcpy(y->head + y->head_len, part.data, part.len);
    y->head_len += (unsigned)part.len;
    y->in = span_from(y->in, part.len);
    if (y->head_len < YAMUX_HEADER)
        return false;
    y->head_len = 0;
    return true;
}

void yamux_input(struct yamux *y, struct span in, mono_ns now)
{
    assert(y->in.len == 0 || y->err);
    y->in = in;
    y->now = now;
    if (in.len)
        y->heard = now;
}

int yamux_next(struct yamux *y, struct yamux_event *ret)
{
    while (!y->err) {
        int r = next_waiting(y, ret);
        if (r == 0)
            r = next_of_frame(y, ret);
        if (r > 0)
            return r;
        if (!frame_over(y) && y->in.len == 0)
            return 0;
        if (!frame_over(y))
            continue;
        if (!take_header(y))
            return 0;
        (void)on_header(y); /* its failure is y->err */
    }
    return y->err;
}

/* ---- time ---- */

int yamux_ping(struct yamux *y, mono_ns patience, mono_ns now)
{
    if (y->ping_waits && mono_after(now, patience) >= yamux_deadline(y))
        return ERR_AGAIN;
    y->silent_since = now;
    y->patience = patience;
    if (y->ping_waits)
        return ERR_AGAIN;
    y->now = y->ping_at = now;
    y->ping_value++;
    y->ping_due = y->ping_waits = true;
    return 0;
}

mono_ns yamux_deadline(const struct yamux *y)
{
    if (y->err)
        return MONO_NEVER;
    if (y->ping_waits)
        return mono_after(y->heard > y->silent_since ? y->heard : y->silent_since, y->patience);
    return mono_after(y->ping_at, y->cfg.keepalive);
}

void yamux_expire(struct yamux *y, mono_ns now)
{
    y->now = now;
    if (now < yamux_deadline(y) || y->err)
        return;
    if (y->ping_waits) {
        (void)yamux_fail(y, ERR_TIMEOUT, YAMUX_GOAWAY_INTERNAL); /* told by yamux_next */
        return;
    }
    if (y->queued == 0)
        chunks_trim(y);
    (void)yamux_ping(y, y->cfg.pong, now); /* none is under way */
}

void yamux_goodbye(struct yamux *y, enum yamux_goaway code)
{
    if (y->going)
        return;
    y->going = y->goaway_due = true;
    y->going_code = code;
}

/* ---- numbers ---- */

mono_ns yamux_rtt(const struct yamux *y)
{
    return y->rtt;
}

unsigned yamux_streams(const struct yamux *y)
{
    return y->count_in + y->count_out;
}

size_t yamux_unconsumed(const struct yamux *y)
{
    return y->unconsumed;
}

size_t yamux_grown(const struct yamux *y)
{
    return y->grown;
}

size_t yamux_memory(const struct yamux *y)
{
    return sizeof *y + yamux_streams(y) * sizeof(struct stream) + y->chunk_bytes + y->reset_cap * sizeof *y->resets;
}
