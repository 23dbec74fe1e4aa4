/* SPDX-License-Identifier: MIT
 *
 * Between the block exchange and the streams that carry it. Inbound bytes go from a stream to exchange_stream_data; what it
 * does not take stays in the stream's `rest`. Outbound, one stream for each peer, on its best connection: exchange_output
 * is pulled while the stream takes bytes, at most one chunk waits in `out`.
 */
#include "net/host/host_sources.h"
#include "net/host/host_state.h"

#include <stdlib.h>

#define SILENT_PATIENCE (10 * MONO_S) /* as for a keepalive: its turn may be 30 s away, when readers have given up */
#define LEND_MIN        8192          /* smaller parts are copied: a loan costs as much as that */

/* ---- bytes in ---- */

/* How many bytes the exchange took, 0: EXCHANGE_RESUME comes. < 0: the stream is gone. */
static int give(struct host_stream *s, struct span in)
{
    struct host *h = s->conn->host;
    size_t given = 0;
    int n = 1;
    while (given < in.len && n > 0) {
        n = exchange_stream_data(h->exchange, s->u.xs, span_sub(in, given, EXCHANGE_CHUNK_MAX), h->now);
        given += n > 0 ? (size_t)n : 0;
    }
    if (n < 0) {
        stream_reset(s);
        return n;
    }
    (void)conn_consume(s->conn->conn, s->number, given); /* a stream that is gone owes nothing */
    hconn_touch(s->conn);
    return (int)given;
}

void bitswap_in_bytes(struct host_stream *s, struct span in)
{
    int n = buf_len(&s->rest) ? 0 : give(s, in); /* straight into their block: it is all that is copied of them */
    if (n >= 0)
        (void)stream_keep(s, span_from(in, (size_t)n)); /* or it is gone */
}

void bitswap_in_data(struct host_stream *s)
{
    if (buf_len(&s->rest)) {
        int n = give(s, buf_span(&s->rest));
        if (n < 0)
            return;
        stream_took(s, (size_t)n);
        if (buf_len(&s->rest))
            return;
    }
    if (s->fin_came)
        stream_finish(s); /* the end of the stream tells the exchange */
}

void bitswap_in_end(struct host_stream *s)
{
    struct host *h = s->conn->host;
    if (s->u.xs)
        exchange_stream_closed(h->exchange, s->u.xs, h->now);
    s->u.xs = NULL;
}

/* ---- bytes out ---- */

static void unref(void *arg)
{
    (void)block_unref(arg);
}

/* Parts of blocks go out from where they are */
static size_t write_out(struct host_stream *s, struct span bytes)
{
    struct block *b = bytes.len < LEND_MIN ? NULL : exchange_output_block(s->conn->peer->xp);
    int wrote;
    if (b) {
        struct loan loan = {bytes, unref, block_ref(b)};
        wrote = conn_lend(s->conn->conn, s->number, &loan);
        if (wrote <= 0)
            (void)block_unref(b);
    } else {
        wrote = conn_write(s->conn->conn, s->number, bytes);
    }
    return wrote > 0 ? (size_t)wrote : 0;
}

void bitswap_out_pump(struct host_stream *s)
{
    struct host *h = s->conn->host;
    struct host_peer *p = s->conn->peer;
    if (p->out != s)
        return; /* closed by the exchange: only its end is awaited */
    if (s->conn->doubted)
        return; /* what it is given may be lost, and with it the answers to what the peer asks by another */
    size_t chunk = budget_tight(h->config.budget) ? 16384 : EXCHANGE_CHUNK_MAX;
    while (stream_pump(s)) {
        struct span bytes;
        size_t room = conn_write_room(s->conn->conn, s->number);
        if (room == 0) {
            conn_want_room(s->conn->conn, s->number);
            return; /* CONN_WRITABLE comes */
        }
        size_t n = exchange_output(h->exchange, p->xp, chunk < room ? chunk : room, &bytes, h->now);
        if (n == 0)
            return;
        size_t done = write_out(s, bytes);
        hconn_touch(s->conn);
        if (!buf_try_add(&s->out, span_from(bytes, done))) {
            stream_short(s);
            return;
        }
        if (done < n)
            return; /* CONN_WRITABLE comes */
    }
}

void bitswap_out_end(struct host_stream *s, int err)
{
    struct host *h = s->conn->host;
    struct host_peer *p = s->conn->peer;
    if (!p || p->out != s)
        return;
    p->out = NULL;
    exchange_output_lost(h->exchange, p->xp, h->now);
    if (err == ERR_UNSUPPORTED) {
        p->no_bitswap = true;
        exchange_flags_changed(p);
    }
}

static int open_output(struct host_peer *p)
{
    static const char *const newest[] = {EXCHANGE_PROTOCOL};
    static const char *const older[] = {EXCHANGE_PROTOCOL_1_1};
    struct host_conn *c = peer_best_conn(p);
    if (!c)
        return ERR_CLOSED;
    if (p->no_bitswap)
        return ERR_UNSUPPORTED;
    bool old = !peer_speaks(p, EXCHANGE_PROTOCOL) && peer_speaks(p, EXCHANGE_PROTOCOL_1_1);
    p->out = stream_open(c, STREAM_BITSWAP_OUT, old ? older : newest, 1);
    if (!p->out && conn_is_left(c->conn))
        (void)dial_peer(p, false); /* no address of it is known: it may come to us */
    return p->out ? 0 : ERR_AGAIN;
}

/* ---- its actions ---- */

static void drop_peer(struct host_peer *p, int err)
{
    while (p->conns.first)
        hconn_close(LINK_OF(p->conns.first, struct host_conn, of_peer), err);
}

static void look_at(struct host_peer *p)
{
    for (struct link *l = p->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, of_peer);
        if (!c->closing && conn_ping(c->conn, SILENT_PATIENCE, p->host->now) == 0)
            hconn_touch(c);
    }
}

static void close_output(struct host_peer *p)
{
    struct host_stream *s = p->out;
    p->out = NULL;
    if (s)
        stream_finish(s);
}

static void pass_on(struct host_action *ret, const struct exchange_action *a, enum host_action_type type)
{
    ret->type = type;
    ret->cid = a->cid;
    ret->tag = a->tag;
    ret->most = a->most;
    ret->block = a->block;
    ret->prefix = a->prefix;
    ret->want = a->want;
}

/* Without peers the exchange cannot know whether there is a network: we do */
static void settle_want(const struct host *h, struct want *w)
{
    if (w->result == ERR_OFFLINE && host_online(h))
        w->result = ERR_TIMEOUT;
}

static void work_on(struct host *h, const struct exchange_action *a)
{
    struct host_peer *p = a->owner;
    switch (a->type) {
    case EXCHANGE_DROP:
        drop_peer(p, a->result < 0 ? a->result : ERR_PROTOCOL);
        return;
    case EXCHANGE_RESUME:
        bitswap_in_data(a->owner);
        return;
    case EXCHANGE_OPEN:
        exchange_opened(h->exchange, a->peer, open_output(p), h->now);
        return;
    case EXCHANGE_READY:
        if (p->out)
            bitswap_out_pump(p->out);
        return;
    case EXCHANGE_CLOSE:
        close_output(p);
        return;
    case EXCHANGE_SILENT:
        look_at(p);
        return;
    default:
        return; /* EXCHANGE_SEEK: provider lookup is not there */
    }
}

bool exchange_pull(struct host *h, struct host_action *ret)
{
    struct exchange_action a;
    while (exchange_next(h->exchange, &a)) {
        switch (a.type) {
        case EXCHANGE_SETTLE:
            settle_want(h, a.want);
            pass_on(ret, &a, HOST_SETTLE);
            return true;
        case EXCHANGE_VERIFY:
            pass_on(ret, &a, HOST_VERIFY);
            return true;
        case EXCHANGE_STORE:
            pass_on(ret, &a, HOST_STORE);
            return true;
        case EXCHANGE_LOAD:
            pass_on(ret, &a, HOST_LOAD);
            return true;
        default:
            work_on(h, &a);
        }
    }
    return false;
}

void exchange_flags_changed(struct host_peer *p)
{
    bool speaks = peer_speaks(p, EXCHANGE_PROTOCOL) || peer_speaks(p, EXCHANGE_PROTOCOL_1_1);
    unsigned flags = peer_is_lan(p) ? EXCHANGE_LAN : 0;
    if (speaks && !p->no_bitswap)
        flags |= EXCHANGE_CAPABLE;
    if (peer_is_wanted(p))
        flags |= EXCHANGE_PREFERRED;
    if (p->xp)
        exchange_peer_flags(p->host->exchange, p->xp, flags, p->host->now);
}

/* ---- wants ---- */

int host_want(struct host *h, struct want *take_w, mono_ns now)
{
    h->now = now;
    return exchange_want(h->exchange, take_w, now);
}

void host_cancel(struct host *h, struct want *w, mono_ns now)
{
    h->now = now;
    exchange_cancel(h->exchange, w, now);
}

void host_raise(struct host *h, struct want *w, enum want_priority p, mono_ns now)
{
    h->now = now;
    exchange_raise(h->exchange, w, p, now);
}

void host_have(struct host *h, const struct cid *cid, mono_ns now)
{
    h->now = now;
    exchange_have_block(h->exchange, cid, now);
}

void host_loaded(struct host *h, uint64_t tag, int result, uint64_t size, struct block *take_b, mono_ns now)
{
    h->now = now;
    exchange_loaded(h->exchange, tag, result, size, take_b, now);
}

void host_verified(struct host *h, uint64_t tag, struct block *take_b, int result, mono_ns now)
{
    h->now = now;
    struct cid root;
    const struct host_peer *from = result == 0 ? exchange_sender(h->exchange, tag, &take_b->cid, &root) : NULL;
    if (from) {
        host_sources_note(h->sources, &root, &from->id, false);
        host_sources_note(h->sources, &take_b->cid, &from->id, true);
    }
    exchange_verified(h->exchange, tag, take_b, result, now);
}

const struct host_sources *host_sources_of(const struct host *h)
{
    return h->sources;
}

void host_stored(struct host *h, const struct cid *cid, int result, mono_ns now)
{
    h->now = now;
    exchange_stored(h->exchange, cid, result, now);
}
