/* SPDX-License-Identifier: MIT
 *
 * Streams: one row of `kinds` for each protocol says what it does with its bytes and its end. A handler may reset or end its
 * own stream as the last thing it does; it never closes a connection (hconn_doom does, later).
 *
 * Bytes that came are given back to the window (conn_consume) when their reader took them; what it does not take now is kept
 * in `rest`, not given back, so that the peer's window shuts.
 */
#include "net/host/host_state.h"

#include <stdlib.h>

#define EXCHANGE_TIMEOUT (10 * MONO_S) /* identify and push: from opening to the end */

/* ---- protocols that peers may open with us ---- */

static const char *const protocol_ids[] = {IDENTIFY_PROTOCOL, IDENTIFY_PUSH_PROTOCOL, PING_PROTOCOL, EXCHANGE_PROTOCOL,
                                           EXCHANGE_PROTOCOL_1_1};
static const enum stream_kind protocol_kinds[] = {STREAM_IDENTIFY_IN, STREAM_PUSH_IN, STREAM_PING_IN, STREAM_BITSWAP_IN,
                                                  STREAM_BITSWAP_IN};
#define PROTOCOL_COUNT (sizeof protocol_ids / sizeof *protocol_ids)
_Static_assert(PROTOCOL_COUNT == sizeof protocol_kinds / sizeof *protocol_kinds, "one kind for each protocol");

const struct conn_protocols *stream_protocols(void)
{
    static const struct conn_protocols protocols = {protocol_ids, PROTOCOL_COUNT, 0};
    return &protocols;
}

/* ---- life ---- */

static struct host_stream *stream_new(struct host_conn *c, uint32_t number, enum stream_kind kind)
{
    struct host_stream *s = MEM_NEW(struct host_stream);
    s->conn = c;
    s->number = number;
    s->kind = kind;
    s->timer.kind = TIMER_STREAM;
    chain_add(&c->streams, &s->link);
    (void)conn_set_user(c->conn, number, s); /* the stream was made this moment: it is there */
    return s;
}

static void stream_timeout(struct host_stream *s, mono_ns at)
{
    timer_set(&s->conn->host->timers, &s->timer, at);
}

struct host_stream *stream_open(struct host_conn *c, enum stream_kind kind, const char *const *ids, unsigned count)
{
    uint32_t number;
    c->open_err = c->closing || c->doom ? ERR_CLOSED : conn_open(c->conn, ids, count, c->host->now, &number);
    if (c->open_err < 0)
        return NULL;
    hconn_touch(c);
    struct host_stream *s = stream_new(c, number, kind);
    if (kind == STREAM_IDENTIFY_OUT || kind == STREAM_PUSH_OUT)
        stream_timeout(s, mono_after(c->host->now, EXCHANGE_TIMEOUT));
    if (kind == STREAM_IDENTIFY_OUT)
        identify_reader_init(&s->u.reader);
    if (kind == STREAM_PING_OUT)
        pinger_init(&s->u.ping.pinger);
    return s;
}

bool stream_keep(struct host_stream *s, struct span in)
{
    if (!buf_try_add(&s->rest, in)) {
        stream_short(s);
        return false;
    }
    s->conn->rest_held += in.len;
    s->conn->host->rest_held += in.len;
    return true;
}

void stream_took(struct host_stream *s, size_t n)
{
    buf_consume(&s->rest, n);
    s->conn->rest_held -= n;
    s->conn->host->rest_held -= n;
    if (!buf_len(&s->rest))
        buf_done(&s->rest);
}

static void stream_free(struct host_stream *s)
{
    stream_took(s, buf_len(&s->rest));
    chain_remove(&s->conn->streams, &s->link);
    timer_clear(&s->conn->host->timers, &s->timer);
    (void)conn_set_user(s->conn->conn, s->number, NULL); /* gone already: nothing to unset */
    buf_done(&s->out);
    free(s);
}

/* ---- writing ---- */

bool stream_pump(struct host_stream *s)
{
    if (buf_len(&s->out)) {
        int n = conn_write(s->conn->conn, s->number, buf_span(&s->out));
        if (n > 0)
            buf_consume(&s->out, (size_t)n);
        hconn_touch(s->conn);
    }
    if (buf_len(&s->out))
        return false;
    buf_done(&s->out);
    if (s->fin_after) {
        s->fin_after = false;
        (void)conn_close_write(s->conn->conn, s->number); /* dead already: its end is on its way */
        hconn_touch(s->conn);
    }
    return true;
}

void stream_send(struct host_stream *s, struct span bytes)
{
    buf_add_span(&s->out, bytes);
    (void)stream_pump(s); /* what is left goes when there is room */
}

void stream_finish(struct host_stream *s)
{
    s->fin_after = true;
    (void)stream_pump(s);
}

static void give_back(struct host_stream *s, size_t n)
{
    (void)conn_consume(s->conn->conn, s->number, n); /* the stream may be gone: then nothing is owed */
    hconn_touch(s->conn);
}

/* ---- identify, push ---- */

static void reader_data(struct host_stream *s, struct span in)
{
    int err = identify_input(&s->u.reader, in);
    give_back(s, in.len);
    if (err < 0)
        stream_reset(s);
}

static void identify_opened(struct host_stream *s)
{
    if (s->conn->identifies_in > IDENTIFY_INBOUND_MAX)
        stream_reset(s); /* it keeps answers without reading them, or streams without ending them */
    else
        identify_answer(s);
}

static void identify_in_end(struct host_stream *s, int err)
{
    (void)err;
    s->conn->identifies_in--;
}

static void identify_fin(struct host_stream *s)
{
    identify_came(s, false);
    stream_finish(s);
}

static void push_fin(struct host_stream *s)
{
    identify_came(s, true);
    stream_finish(s);
}

static void reader_end(struct host_stream *s, int err)
{
    identify_reader_done(&s->u.reader);
    if (s->kind == STREAM_IDENTIFY_OUT && err < 0 && err != ERR_UNSUPPORTED && !s->fin_came)
        identify_failed(s->conn); /* else what came was used at FIN */
}

static void push_opened(struct host_stream *s)
{
    struct host_conn *c = s->conn;
    mono_ns now = c->host->now;
    identify_reader_init(&s->u.reader);
    stream_timeout(s, mono_after(now, EXCHANGE_TIMEOUT));
    c->push_debt = (c->push_debt > now ? c->push_debt : now) + MONO_S;
    if (c->push_debt > now + 10 * MONO_S || c->pushes_in > IDENTIFY_PUSHES_MAX)
        stream_reset(s); /* more than ten at once, one a second, or none of them ends: somebody plays */
}

static void push_end(struct host_stream *s, int err)
{
    s->conn->pushes_in--;
    reader_end(s, err);
}

/* Protocols on which the peer has nothing to say to us: bytes are dropped */
static void ignore_data(struct host_stream *s, struct span in)
{
    give_back(s, in.len);
}

/* ---- ping ---- */

static void ping_opened(struct host_stream *s)
{
    if (s->conn->pings_in > PING_INBOUND_MAX) {
        stream_reset(s);
        return;
    }
    ping_responder_init(&s->u.responder, s->conn->host->now);
}

/* Answers what is in `rest`, as fast as the responder allows, as long as our own echoes go out */
static void ping_answer(struct host_stream *s)
{
    struct host *h = s->conn->host;
    if (buf_len(&s->out))
        return; /* CONN_WRITABLE comes */
    if (buf_len(&s->rest)) {
        size_t n = ping_responder_input(&s->u.responder, buf_span(&s->rest), &s->out, h->now);
        stream_took(s, n);
        give_back(s, n);
        (void)stream_pump(s);
    }
    if (buf_len(&s->rest))
        stream_timeout(s, ping_responder_deadline(&s->u.responder));
    else if (s->fin_came)
        stream_finish(s);
}

static void ping_data(struct host_stream *s, struct span in)
{
    if (stream_keep(s, in))
        ping_answer(s);
}

static void ping_fin(struct host_stream *s)
{
    ping_answer(s);
}

static void ping_end(struct host_stream *s, int err)
{
    (void)err;
    s->conn->pings_in--;
}

static void pong_data(struct host_stream *s, struct span in)
{
    give_back(s, in.len);
    call_ping_came(s, in);
}

/* ---- bitswap ---- */

static void bitswap_opened(struct host_stream *s)
{
    struct host_conn *c = s->conn;
    s->u.xs = c->peer && c->peer->xp ? exchange_stream_opened(c->host->exchange, c->peer->xp, s) : NULL;
    if (!s->u.xs)
        stream_reset(s);
}

/* js and go finish their side of our stream at once: nothing ever comes back on it. What we send goes on. */
static void bitswap_out_fin(struct host_stream *s)
{
    (void)s;
}

static void bitswap_in_ended(struct host_stream *s, int err)
{
    (void)err;
    bitswap_in_end(s);
}

/* ---- the table ---- */

static const struct {
    void (*opened)(struct host_stream *s);               /* by the peer */
    void (*data)(struct host_stream *s, struct span in); /* gives it back */
    void (*fin)(struct host_stream *s);                  /* NULL: our side is finished too */
    void (*writable)(struct host_stream *s);             /* after what waited was written; NULL: nothing more */
    void (*end)(struct host_stream *s, int err);         /* 0: well */
    void (*timer)(struct host_stream *s);                /* NULL: reset */
} kinds[STREAM_KINDS] = {
    [STREAM_IDENTIFY_IN] = {.opened = identify_opened, .data = ignore_data, .end = identify_in_end},
    [STREAM_IDENTIFY_OUT] = {.data = reader_data, .fin = identify_fin, .end = reader_end},
    [STREAM_PUSH_IN] = {.opened = push_opened, .data = reader_data, .fin = push_fin, .end = push_end},
    [STREAM_PUSH_OUT] = {.data = ignore_data},
    [STREAM_PING_IN] = {.opened = ping_opened,
                        .data = ping_data,
                        .fin = ping_fin,
                        .writable = ping_answer,
                        .end = ping_end,
                        .timer = ping_answer},
    [STREAM_PING_OUT] = {.data = pong_data, .end = call_ping_ended},
    [STREAM_BITSWAP_IN] = {.opened = bitswap_opened, .data = bitswap_in_bytes, .fin = bitswap_in_data, .end = bitswap_in_ended},
    [STREAM_BITSWAP_OUT] = {.data = ignore_data, .fin = bitswap_out_fin, .writable = bitswap_out_pump, .end = bitswap_out_end},
    [STREAM_RAW_IN] = {.data = raw_data, .fin = raw_fin, .writable = raw_writable, .end = raw_end},
    [STREAM_RAW_OUT] = {.data = raw_data, .fin = raw_fin, .writable = raw_writable, .end = raw_end, .timer = raw_expire},
};

void stream_opened_by_peer(struct host_conn *c, uint32_t number, unsigned protocol)
{
    if (protocol >= PROTOCOL_COUNT) {
        raw_opened(stream_new(c, number, STREAM_RAW_IN), c->protocols.ids[protocol]);
        return;
    }
    struct host_stream *s = stream_new(c, number, protocol_kinds[protocol]);
    c->pings_in += s->kind == STREAM_PING_IN;
    c->identifies_in += s->kind == STREAM_IDENTIFY_IN;
    c->pushes_in += s->kind == STREAM_PUSH_IN;
    kinds[s->kind].opened(s);
}

static void fin_came(struct host_stream *s)
{
    s->fin_came = true;
    if (kinds[s->kind].fin)
        kinds[s->kind].fin(s);
    else
        stream_finish(s);
}

static void writable(struct host_stream *s)
{
    if (stream_pump(s) && kinds[s->kind].writable)
        kinds[s->kind].writable(s);
}

void stream_event(struct host_stream *s, const struct conn_event *ev)
{
    switch (ev->type) {
    case CONN_DATA:
        kinds[s->kind].data(s, ev->data);
        return;
    case CONN_FIN:
        fin_came(s);
        return;
    case CONN_STREAM_READY:
        if (s->kind == STREAM_RAW_OUT)
            raw_agreed(s, ev->protocol);
        writable(s);
        return;
    case CONN_WRITABLE:
        writable(s);
        return;
    case CONN_REFUSED:
        stream_end(s, ERR_UNSUPPORTED);
        return;
    case CONN_RESET:
        stream_end(s, ev->err < 0 ? ev->err : ERR_RESET);
        return;
    case CONN_STREAM_CLOSED:
        stream_end(s, 0);
        return;
    default:
        return; /* about connections: handled there */
    }
}

void stream_end(struct host_stream *s, int err)
{
    if (kinds[s->kind].end)
        kinds[s->kind].end(s, err);
    stream_free(s);
}

static void reset(struct host_stream *s, int err)
{
    (void)conn_reset(s->conn->conn, s->number); /* gone already: as wished */
    hconn_touch(s->conn);
    stream_end(s, err);
}

void stream_reset(struct host_stream *s)
{
    reset(s, ERR_RESET);
}

void stream_short(struct host_stream *s)
{
    struct host *h = s->conn->host;
    char id[PEER_ID_TEXT_SIZE];
    if (s->conn->peer && h->now >= h->short_told_at) {
        h->short_told_at = mono_after(h->now, MONO_S);
        host_event(h, "stream.short", "%s: no memory for what came", peer_id_text(&s->conn->peer->id, id));
    }
    reset(s, ERR_NO_MEMORY);
}

void stream_expire(struct host_stream *s)
{
    if (kinds[s->kind].timer)
        kinds[s->kind].timer(s);
    else
        stream_reset(s);
}
