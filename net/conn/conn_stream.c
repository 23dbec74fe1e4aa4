/* SPDX-License-Identifier: MIT
 *
 * Streams of a connection: the negotiation of each, and the verbs of the application. */
#include "net/conn/conn.h"

#include "net/conn/conn_impl.h"

#include <assert.h>
#include <stdlib.h>

static struct conn_stream *stream_of(const struct conn *c, uint32_t id)
{
    return c->yamux ? yamux_user(c->yamux, id) : NULL;
}

static struct conn_stream *stream_make(struct conn *c, uint32_t id, bool inbound)
{
    struct conn_stream *s = MEM_NEW(struct conn_stream);
    s->id = id;
    s->inbound = inbound;
    s->negotiating = true;
    s->deadline = mono_after(c->now, c->cfg.limits.negotiation);
    TAILQ_INSERT_TAIL(&c->negotiating, s, link);
    c->negotiating_in += inbound;
    c->stream_count++;
    (void)yamux_set_user(c->yamux, id, s); /* it was opened just now */
    return s;
}

static void negotiation_end(struct conn *c, struct conn_stream *s)
{
    if (!s->negotiating)
        return;
    s->negotiating = false;
    c->negotiating_in -= s->inbound;
    TAILQ_REMOVE(&c->negotiating, s, link);
    multistream_done(&s->ms);
    free(s->proposals);
    s->proposals = NULL;
}

/* Our record only; the Yamux stream is gone, or is reset by the caller. */
static void stream_drop(struct conn *c, struct conn_stream *s)
{
    negotiation_end(c, s);
    if (c->left_stream == s->id)
        c->left = SPAN_NONE;
    c->stream_count--;
    free(s);
}

void conn_streams_drop(struct conn *c)
{
    uint32_t id;
    void *user;
    while (c->yamux && yamux_any(c->yamux, &id, &user)) {
        (void)yamux_reset(c->yamux, id); /* it lives */
        if (user)
            stream_drop(c, user);
    }
}

/* ---- events ---- */

static int tell(struct conn_event *ret, enum conn_event_type type, const struct conn_stream *s)
{
    *ret = (struct conn_event){.type = type, .stream = s->id, .user = s->user};
    return 1;
}

/* Ends a stream whose negotiation failed. The application knows of those it opened itself. */
static int negotiation_fail(struct conn *c, struct conn_stream *s, int err, struct conn_event *ret)
{
    bool known = !s->inbound;
    (void)tell(ret, err == ERR_UNSUPPORTED ? CONN_REFUSED : CONN_RESET, s);
    ret->err = err;
    (void)yamux_reset(c->yamux, s->id); /* gone already when the peer reset it */
    stream_drop(c, s);
    return known;
}

static void negotiation_flush(struct conn *c, struct conn_stream *s)
{
    struct buf out = BUF_INIT;
    if (multistream_output(&s->ms, &out) > 0)
        (void)yamux_write_over(c->yamux, s->id, buf_span(&out)); /* a peer that wants no answer gets none */
    buf_done(&out);
}

/* Agreed: from now on the bytes are the application's; `left` came along already. */
static int negotiation_done(struct conn *c, struct conn_stream *s, struct span left, struct conn_event *ret)
{
    buf_clear(&c->id);
    buf_add_span(&c->id, multistream_id(&s->ms));
    (void)tell(ret, s->inbound ? CONN_STREAM : CONN_STREAM_READY, s);
    ret->protocol = multistream_index(&s->ms);
    ret->data = buf_span(&c->id);
    negotiation_end(c, s);
    s->write_held = false;
    if (s->fin_held)
        (void)yamux_close_write(c->yamux, s->id); /* it lives */
    c->left_stream = s->id;
    c->left = left;
    return 1;
}

static int on_negotiation(struct conn *c, struct conn_stream *s, struct span data, struct conn_event *ret)
{
    size_t before = data.len;
    int r = multistream_input(&s->ms, &data);
    negotiation_flush(c, s);
    (void)yamux_consume(c->yamux, s->id, before - data.len); /* it lives */
    if (r < 0)
        return negotiation_fail(c, s, r, ret);
    return r == 0 ? 0 : negotiation_done(c, s, data, ret);
}

static int on_opened(struct conn *c, uint32_t id)
{
    const struct conn_protocols *p = c->cfg.protocols;
    if (p && p->negotiating_max && c->negotiating_in >= p->negotiating_max) {
        (void)yamux_refuse(c->yamux, id); /* if that ends the session, it is told next */
        return 0;
    }
    struct conn_stream *s = stream_make(c, id, true);
    struct multistream_table table = {p ? p->ids : NULL, p ? p->count : 0};
    multistream_init_listener(&s->ms, table);
    negotiation_flush(c, s); /* our header waits for nobody */
    return 0;
}

static int on_data(struct conn *c, struct conn_stream *s, struct span data, struct conn_event *ret)
{
    if (s->negotiating) {
        /* The table may have changed since the stream was opened. */
        const struct conn_protocols *p = c->cfg.protocols;
        if (s->inbound && p)
            s->ms.table = (struct multistream_table){p->ids, p->count};
        return on_negotiation(c, s, data, ret);
    }
    (void)tell(ret, CONN_DATA, s);
    ret->data = data;
    return 1;
}

/* The peer ended a stream, by RST or after both FINs. */
static int on_gone(struct conn *c, struct conn_stream *s, enum conn_event_type type, struct conn_event *ret)
{
    bool known = !s->inbound || !s->negotiating;
    (void)tell(ret, type, s);
    ret->err = type == CONN_RESET ? ERR_RESET : 0;
    stream_drop(c, s);
    return known;
}

int conn_on_yamux(struct conn *c, const struct yamux_event *yev, struct conn_event *ret)
{
    struct conn_stream *s = yev->user;
    switch (yev->type) {
    case YAMUX_OPENED:
        return on_opened(c, yev->stream);
    case YAMUX_DATA:
        return on_data(c, s, yev->data, ret);
    case YAMUX_FIN:
        if (s->negotiating) /* without having agreed on anything */
            return negotiation_fail(c, s, ERR_RESET, ret);
        return tell(ret, CONN_FIN, s);
    case YAMUX_WRITABLE:
        return tell(ret, CONN_WRITABLE, s);
    case YAMUX_RESET:
        return on_gone(c, s, CONN_RESET, ret);
    case YAMUX_CLOSED:
        return on_gone(c, s, CONN_STREAM_CLOSED, ret);
    case YAMUX_PONG:
        *ret = (struct conn_event){.type = CONN_PONG, .rtt = yev->rtt};
        return 1;
    default:
        return 0;
    }
}

int conn_next_left(struct conn *c, struct conn_event *ret)
{
    if (c->left.len == 0)
        return 0;
    struct conn_stream *s = stream_of(c, c->left_stream);
    assert(s); /* stream_drop clears it */
    (void)tell(ret, CONN_DATA, s);
    ret->data = c->left;
    c->left = SPAN_NONE;
    return 1;
}

mono_ns conn_negotiation_deadline(const struct conn *c)
{
    const struct conn_stream *s = TAILQ_FIRST(&c->negotiating);
    return s ? s->deadline : MONO_NEVER;
}

int conn_next_overdue(struct conn *c, struct conn_event *ret)
{
    struct conn_stream *s;
    while ((s = TAILQ_FIRST(&c->negotiating)) && s->deadline <= c->now)
        if (negotiation_fail(c, s, ERR_TIMEOUT, ret))
            return 1;
    return 0;
}

int conn_next_orphan(struct conn *c, struct conn_event *ret)
{
    uint32_t id;
    void *user;
    while (c->yamux && yamux_any(c->yamux, &id, &user)) {
        (void)yamux_reset(c->yamux, id); /* it lives */
        struct conn_stream *s = user;
        if (!s)
            continue; /* was opened, and not told yet */
        int known = on_gone(c, s, CONN_RESET, ret);
        ret->err = c->err ? c->err : ERR_CLOSED;
        if (known)
            return 1;
    }
    return 0;
}

/* ---- verbs ---- */

/* One allocation: the array, then the strings. */
static struct multistream_table proposals_copy(struct conn_stream *s, const char *const *ids, unsigned count)
{
    size_t size = count * sizeof(char *);
    for (unsigned i = 0; i < count; i++)
        size += strlen(ids[i]) + 1;
    s->proposals = mem_new(size);
    const char **list = (const char **)(void *)s->proposals;
    char *at = s->proposals + count * sizeof(char *);
    for (unsigned i = 0; i < count; i++) {
        size_t len = strlen(ids[i]) + 1;
        memcpy(at, ids[i], len);
        list[i] = at;
        at += len;
    }
    return (struct multistream_table){list, count};
}

int conn_open(struct conn *c, const char *const *ids, unsigned count, mono_ns now, uint32_t *ret_stream)
{
    assert(count >= 1 && count <= CONN_PROPOSALS_MAX);
    if (c->state != CONN_STATE_OPEN)
        return c->state == CONN_STATE_DEAD ? ERR_CLOSED : ERR_AGAIN;
    for (unsigned i = 0; i < count; i++)
        if (strlen(ids[i]) >= MULTISTREAM_TOKEN_MAX)
            return ERR_INVALID;
    c->now = now;
    uint32_t id;
    int r = yamux_open(c->yamux, NULL, &id);
    if (r < 0)
        return r;
    struct conn_stream *s = stream_make(c, id, false);
    s->write_held = count > 1;
    multistream_init_dialer(&s->ms, proposals_copy(s, ids, count));
    negotiation_flush(c, s);
    *ret_stream = id;
    return 0;
}

int conn_write(struct conn *c, uint32_t stream, struct span data)
{
    const struct conn_stream *s = stream_of(c, stream);
    if (!s)
        return ERR_NOT_FOUND;
    if (s->fin_held)
        return ERR_CLOSED;
    return s->write_held ? 0 : yamux_write(c->yamux, stream, data);
}

int conn_write_over(struct conn *c, uint32_t stream, struct span data)
{
    const struct conn_stream *s = stream_of(c, stream);
    return s && !s->write_held ? yamux_write_over(c->yamux, stream, data) : ERR_NOT_FOUND;
}

int conn_lend(struct conn *c, uint32_t stream, const struct loan *l)
{
    const struct conn_stream *s = stream_of(c, stream);
    if (!s)
        return ERR_NOT_FOUND;
    if (s->fin_held)
        return ERR_CLOSED;
    return s->write_held ? 0 : yamux_lend(c->yamux, stream, l);
}

size_t conn_write_room(const struct conn *c, uint32_t stream)
{
    const struct conn_stream *s = stream_of(c, stream);
    return s && !s->write_held ? yamux_write_room(c->yamux, stream) : 0;
}

void conn_want_room(struct conn *c, uint32_t stream)
{
    if (c->yamux)
        yamux_want_room(c->yamux, stream);
}

size_t conn_unsent(const struct conn *c, uint32_t stream)
{
    return c->yamux ? yamux_unsent(c->yamux, stream) : 0;
}

int conn_consume(struct conn *c, uint32_t stream, size_t n)
{
    return c->yamux ? yamux_consume(c->yamux, stream, n) : ERR_NOT_FOUND;
}

int conn_close_write(struct conn *c, uint32_t stream)
{
    struct conn_stream *s = stream_of(c, stream);
    if (!s)
        return ERR_NOT_FOUND;
    if (s->write_held) {
        s->fin_held = true;
        return 0;
    }
    return yamux_close_write(c->yamux, stream);
}

int conn_reset(struct conn *c, uint32_t stream)
{
    struct conn_stream *s = stream_of(c, stream);
    if (!s)
        return ERR_NOT_FOUND;
    (void)yamux_reset(c->yamux, stream); /* it lives */
    stream_drop(c, s);
    return 0;
}

int conn_set_group(struct conn *c, uint32_t stream, const void *key)
{
    return c->yamux ? yamux_set_group(c->yamux, stream, key) : ERR_NOT_FOUND;
}

int conn_set_user(struct conn *c, uint32_t stream, void *user)
{
    struct conn_stream *s = stream_of(c, stream);
    if (!s)
        return ERR_NOT_FOUND;
    s->user = user;
    return 0;
}

void *conn_user(const struct conn *c, uint32_t stream)
{
    const struct conn_stream *s = stream_of(c, stream);
    return s ? s->user : NULL;
}
