/* SPDX-License-Identifier: MIT
 *
 * The upgrade of a raw connection, its bytes and its time. conn_stream.c has the streams. */
#include "net/conn/conn.h"

#include "net/conn/conn_impl.h"

#include <assert.h>
#include <stdlib.h>

/* A read takes what came; the room for it follows the traffic between these. Two Noise frames are enough to keep the
 * cipher busy, and beyond that the caches lose. */
#define READ_MIN     4096
#define READ_MAX     ((size_t)2 * NOISE_FRAME_MAX)
#define READ_IDLE    (5 * MONO_S)        /* without bytes: the room is given back at the next tick */
#define FRAME_SLIVER ((size_t)16 * 1024) /* less room than this is not worth a Noise frame of its own */
#define NOISE_MEMORY 4096                /* of the two cipher contexts and keys, about */

static_assert(CONN_FRAME_DATA == YAMUX_DATA_MAX && CONN_FRAME_WIRE == NOISE_FRAME_MAX, "the header's numbers");

static const char *const security_ids[] = {"/noise"};
static const char *const muxer_ids[] = {"/yamux/1.0.0"};
static const struct multistream_table security_table = {security_ids, 1};
static const struct multistream_table muxer_table = {muxer_ids, 1};

static const struct conn_limits default_limits = {
    .streams_in = 256,
    .streams_out = 256,
    .send_queue = 4 * CONN_FRAME_DATA, /* so that what fills it goes out in full frames */
    .send_total = (size_t)4 * 1024 * 1024,
    .hold_max = (size_t)1024 * 1024,
    .window_max = 16u * 1024 * 1024,
    .window_total = (size_t)32 * 1024 * 1024,
    .handshake = 15 * MONO_S,
    .negotiation = 10 * MONO_S,
    .keepalive = 30 * MONO_S,
    .pong = 10 * MONO_S,
};

static void limits_fill(struct conn_limits *l)
{
    const struct conn_limits *d = &default_limits;
#define FILL(field) (l->field = l->field ? l->field : d->field)
    FILL(streams_in);
    FILL(streams_out);
    FILL(send_queue);
    FILL(send_total);
    FILL(hold_max);
    FILL(window_max);
    FILL(window_total);
    FILL(handshake);
    FILL(negotiation);
    FILL(keepalive);
    FILL(pong);
#undef FILL
}

/* Every legal edge is in the header's drawing. */
static void enter(struct conn *c, enum conn_state to)
{
    assert(to > c->state);
    assert(to == CONN_STATE_DEAD || to == c->state + 1 || (c->state == CONN_STATE_NOISE && to == CONN_STATE_OPEN));
    c->state = to;
}

/* The end. What is under way goes out with a last word to the peer, if it is in a state to hear one. */
static void die(struct conn *c, int err)
{
    if (c->state == CONN_STATE_DEAD)
        return;
    if (c->yamux && err)
        yamux_goodbye(c->yamux, err == ERR_PROTOCOL ? YAMUX_GOAWAY_PROTOCOL : YAMUX_GOAWAY_INTERNAL);
    enter(c, CONN_STATE_DEAD);
    c->err = err;
    c->closed_due = true;
    c->left = SPAN_NONE;
    buf_done(&c->recv);
    c->reserved = 0;
}

/* ---- the upgrade ---- */

static void select_start(struct conn *c, struct multistream_table table)
{
    if (c->cfg.role == CONN_DIALER)
        multistream_init_dialer(&c->ms, table);
    else
        multistream_init_listener(&c->ms, table);
    c->ms_used = true;
}

static void select_end(struct conn *c)
{
    if (c->ms_used)
        multistream_done(&c->ms);
    c->ms_used = false;
}

/* Sends what the muxer's negotiation says, in a Noise frame of its own. */
static void muxer_flush(struct conn *c)
{
    struct buf plain = BUF_INIT;
    if (multistream_output(&c->ms, &plain) > 0) {
        struct span part = buf_span(&plain);
        noise_encrypt(c->noise, &part, 1, &c->out);
    }
    buf_done(&plain);
}

struct conn *conn_new(const struct conn_config *cfg, mono_ns now)
{
    struct conn *c = MEM_NEW(struct conn);
    c->cfg = *cfg;
    limits_fill(&c->cfg.limits);
    c->now = c->heard = now;
    c->upgrade_by = mono_after(now, c->cfg.limits.handshake);
    c->read_size = READ_MIN;
    TAILQ_INIT(&c->negotiating);
    struct noise_config noise = {
        .initiator = cfg->role == CONN_DIALER,
        .identity = cfg->identity,
        .expected = cfg->expected,
        .muxers = muxer_ids,
        .muxer_count = cfg->no_early_muxer ? 0 : 1,
        .rng = cfg->rng,
    };
    c->noise = noise_new(&noise);
    select_start(c, security_table);
    (void)multistream_output(&c->ms, &c->out);
    if (cfg->role == CONN_DIALER) {
        /* /noise is all that we propose, so its first message goes along and saves a round trip. */
        struct buf nothing = BUF_INIT;
        int r = noise_handshake(c->noise, &nothing, &c->out);
        assert(r == 0);
        (void)r;
        buf_done(&nothing);
    }
    enter(c, CONN_STATE_SECURITY);
    return c;
}

struct conn *conn_free(struct conn *c)
{
    if (!c)
        return NULL;
    conn_streams_drop(c);
    select_end(c);
    c->noise = noise_free(c->noise);
    c->yamux = yamux_free(c->yamux);
    buf_done(&c->recv);
    buf_done(&c->out);
    buf_done(&c->id);
    free(c);
    return NULL;
}

static void open_muxer(struct conn *c, struct span plain)
{
    const struct conn_limits *l = &c->cfg.limits;
    struct yamux_config cfg = {
        .dialer = c->cfg.role == CONN_DIALER,
        .streams_in = l->streams_in,
        .streams_out = l->streams_out,
        .send_queue = l->send_queue,
        .send_total = l->send_total,
        .window_max = l->window_max,
        .window_total = l->window_total,
        .keepalive = l->keepalive,
        .pong = l->pong,
        .budget = c->cfg.budget,
        .seed = rng_u64(c->cfg.rng),
    };
    c->yamux = yamux_new(&cfg, c->now);
    if (plain.len)
        yamux_input(c->yamux, plain, c->now);
    enter(c, CONN_STATE_OPEN);
    c->ready_due = true;
}

/* These take what they can of recv. 1: something was done; 0: more input is needed; or an error. */

static int step_security(struct conn *c)
{
    struct span in = buf_span(&c->recv);
    size_t before = in.len;
    int r = multistream_input(&c->ms, &in);
    buf_consume(&c->recv, before - in.len);
    (void)multistream_output(&c->ms, &c->out);
    if (r <= 0)
        return r;
    select_end(c);
    enter(c, CONN_STATE_NOISE);
    return 1;
}

static int step_noise(struct conn *c)
{
    int r = noise_handshake(c->noise, &c->recv, &c->out);
    if (r <= 0)
        return r;
    c->secured_due = true;
    if (noise_muxer(c->noise) >= 0) {
        open_muxer(c, SPAN_NONE);
        return 1;
    }
    enter(c, CONN_STATE_MUXER);
    select_start(c, muxer_table);
    muxer_flush(c);
    return 1;
}

static int step_muxer(struct conn *c)
{
    struct span plain;
    int r = noise_decrypt(c->noise, &c->recv, &plain);
    if (r <= 0)
        return r;
    r = multistream_input(&c->ms, &plain);
    muxer_flush(c);
    if (r < 0)
        return r;
    if (r > 0) {
        select_end(c);
        open_muxer(c, plain); /* what is left came behind the agreement, in the same frame */
    }
    return 1;
}

/* Gives the muxer the next frame. Only called when it has used up the one before. */
static int step_open(struct conn *c)
{
    struct span plain;
    int r = noise_decrypt(c->noise, &c->recv, &plain);
    if (r > 0)
        yamux_input(c->yamux, plain, c->now);
    return r;
}

static int step(struct conn *c)
{
    switch (c->state) {
    case CONN_STATE_SECURITY:
        return step_security(c);
    case CONN_STATE_NOISE:
        return step_noise(c);
    case CONN_STATE_MUXER:
        return step_muxer(c);
    case CONN_STATE_OPEN:
        return step_open(c);
    default:
        return 0;
    }
}

/* ---- events ---- */

static int next_flag(struct conn *c, struct conn_event *ret)
{
    if (c->secured_due) {
        c->secured_due = false;
        *ret = (struct conn_event){.type = CONN_SECURED, .peer = noise_peer_key(c->noise)};
        return 1;
    }
    if (c->ready_due) {
        c->ready_due = false;
        *ret = (struct conn_event){.type = CONN_READY};
        return 1;
    }
    return 0;
}

static int next_dead(struct conn *c, struct conn_event *ret)
{
    if (conn_next_orphan(c, ret))
        return 1;
    if (!c->closed_due)
        return 0;
    c->closed_due = false;
    *ret = (struct conn_event){.type = CONN_CLOSED, .err = c->err};
    return 1;
}

/* 1: told; 0: the muxer has nothing at all; ERR_AGAIN: it had something that is ours alone; another error: it died. */
static int next_muxed(struct conn *c, struct conn_event *ret)
{
    if (conn_next_left(c, ret) || conn_next_overdue(c, ret))
        return 1;
    struct yamux_event yev;
    int r = yamux_next(c->yamux, &yev);
    if (r <= 0)
        return r;
    if (yev.type == YAMUX_GOAWAY) {
        c->peer_going = true;
        return yev.code == YAMUX_GOAWAY_NORMAL ? ERR_AGAIN : ERR_RESET;
    }
    return conn_on_yamux(c, &yev, ret) ? 1 : ERR_AGAIN;
}

/* The peer takes no more streams and has none: only the end of the socket is missing, and may never come */
static bool left_by_peer(const struct conn *c)
{
    return c->peer_going && c->state == CONN_STATE_OPEN && !yamux_streams(c->yamux);
}

static int end_error(const struct conn *c)
{
    if (c->end_err)
        return c->end_err;
    return c->peer_going || c->going ? 0 : ERR_CLOSED;
}

static int next_event(struct conn *c, struct conn_event *ret)
{
    for (;;) {
        if (next_flag(c, ret))
            return 1;
        if (c->state == CONN_STATE_DEAD)
            return next_dead(c, ret);
        int r = 0;
        if (c->state == CONN_STATE_OPEN)
            r = next_muxed(c, ret);
        if (r == 1)
            return 1;
        if (r == 0)
            r = step(c);
        if (r == 0 && !c->ended && !left_by_peer(c))
            return 0;
        if (r == 0)
            die(c, end_error(c));
        else if (r < 0 && r != ERR_AGAIN)
            die(c, r);
    }
}

int conn_next(struct conn *c, struct conn_event *ret)
{
    int r = next_event(c, ret);
    c->telling = r == 1;
    return r;
}

/* ---- bytes ---- */

/* Under load a read ends where a frame does, if those that come are full: what would be begun had to be moved for the next. */
static size_t read_room(const struct conn *c)
{
    size_t missing = noise_missing(&c->recv);
    return c->read_size < READ_MAX || !missing ? c->read_size : missing + NOISE_FRAME_MAX;
}

uint8_t *conn_input_reserve(struct conn *c, size_t *ret_room)
{
    assert(!c->telling);
    c->reserved = read_room(c);
    uint8_t *at = buf_try_reserve(&c->recv, c->reserved);
    if (!at)
        at = buf_try_reserve(&c->recv, c->reserved = c->read_size = READ_MIN);
    if (!at)
        c->reserved = 0;
    *ret_room = c->reserved;
    return at;
}

void conn_input_commit(struct conn *c, size_t n, mono_ns now)
{
    assert(n <= c->reserved);
    c->now = now;
    if (n == c->reserved && c->read_size < READ_MAX)
        c->read_size = c->read_size * 2 < READ_MAX ? c->read_size * 2 : READ_MAX; /* there was more */
    c->reserved = 0;
    if (c->state == CONN_STATE_DEAD || n == 0)
        return;
    c->heard = now;
    buf_commit(&c->recv, n);
}

void conn_input(struct conn *c, struct span in, mono_ns now)
{
    assert(!c->telling);
    c->now = now;
    if (c->state == CONN_STATE_DEAD || in.len == 0)
        return;
    c->heard = now;
    buf_add_span(&c->recv, in);
}

void conn_input_end(struct conn *c, int err)
{
    if (c->ended)
        return;
    c->ended = true;
    c->end_err = err;
}

bool conn_wants_input(const struct conn *c)
{
    if (c->state == CONN_STATE_DEAD || c->ended)
        return false;
    return !c->yamux || yamux_unconsumed(c->yamux) <= c->cfg.limits.hold_max + yamux_grown(c->yamux);
}

static size_t output_frames(struct conn *c, struct buf *out, size_t most)
{
    struct yamux_batch batch;
    size_t total = 0;
    while (most - total > NOISE_OVERHEAD + YAMUX_HEADER) {
        size_t room = most - total - NOISE_OVERHEAD;
        if (room < FRAME_SLIVER && total > 0)
            break;
        if (yamux_gather(c->yamux, &batch, room < NOISE_PLAIN_MAX ? room : NOISE_PLAIN_MAX) == 0)
            break;
        noise_encrypt(c->noise, batch.parts, batch.count, out);
        total += batch.bytes + NOISE_OVERHEAD;
    }
    return total;
}

size_t conn_output(struct conn *c, struct buf *out, size_t most)
{
    struct span first = span_sub(buf_span(&c->out), 0, most);
    size_t total = first.len;
    if (first.len) {
        buf_add_span(out, first);
        buf_consume(&c->out, first.len);
        if (buf_len(&c->out) > 0)
            return total;
        buf_done(&c->out); /* only the upgrade writes there */
    }
    if (c->yamux)
        total += output_frames(c, out, most - total);
    return total;
}

bool conn_has_output(const struct conn *c)
{
    return buf_len(&c->out) > 0 || (c->yamux && yamux_has_output(c->yamux));
}

/* ---- time ---- */

mono_ns conn_deadline(const struct conn *c)
{
    if (c->state == CONN_STATE_DEAD)
        return MONO_NEVER;
    if (c->state != CONN_STATE_OPEN)
        return c->upgrade_by;
    return mono_min(yamux_deadline(c->yamux), conn_negotiation_deadline(c));
}

void conn_expire(struct conn *c, mono_ns now)
{
    c->now = now;
    if (c->state == CONN_STATE_DEAD)
        return;
    if (c->state != CONN_STATE_OPEN) {
        if (now >= c->upgrade_by)
            die(c, ERR_TIMEOUT);
        return;
    }
    yamux_expire(c->yamux, now);
    if (buf_len(&c->recv) == 0 && c->reserved == 0 && now - c->heard >= READ_IDLE) {
        buf_done(&c->recv);
        c->read_size = READ_MIN;
    }
}

/* ---- the connection ---- */

int conn_ping(struct conn *c, mono_ns patience, mono_ns now)
{
    if (c->state != CONN_STATE_OPEN)
        return c->state == CONN_STATE_DEAD ? ERR_CLOSED : ERR_AGAIN;
    c->now = now;
    return yamux_ping(c->yamux, patience, now);
}

void conn_goodbye(struct conn *c)
{
    c->going = true;
    if (c->yamux)
        yamux_goodbye(c->yamux, YAMUX_GOAWAY_NORMAL);
}

const struct peer_id *conn_peer(const struct conn *c)
{
    return noise_peer(c->noise);
}

bool conn_is_ready(const struct conn *c)
{
    return c->state == CONN_STATE_OPEN;
}

bool conn_is_dead(const struct conn *c)
{
    return c->state == CONN_STATE_DEAD;
}

bool conn_is_left(const struct conn *c)
{
    return c->peer_going || c->going;
}

mono_ns conn_rtt(const struct conn *c)
{
    return c->yamux ? yamux_rtt(c->yamux) : 0;
}

unsigned conn_streams(const struct conn *c)
{
    return c->yamux ? yamux_streams(c->yamux) : 0;
}

size_t conn_grown(const struct conn *c)
{
    return c->yamux ? yamux_grown(c->yamux) : 0;
}

size_t conn_memory(const struct conn *c)
{
    size_t streams = c->stream_count * sizeof(struct conn_stream);
    return sizeof *c + NOISE_MEMORY + c->recv.cap + c->out.cap + streams + (c->yamux ? yamux_memory(c->yamux) : 0);
}
