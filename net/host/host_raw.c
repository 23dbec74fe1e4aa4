/* SPDX-License-Identifier: MIT
 *
 * A raw stream is two records: the host_stream, which goes with its connection, and the host_raw that its owner has, which
 * stays until HOST_STREAM_END is handed out or the owner resets it.
 */
#include "net/host/host_raw.h"

#include "net/host/host_state.h"

#include <assert.h>
#include <stdlib.h>

#define STUCK_AFTER          (1 * MONO_S)       /* without so many bytes consumed: */
#define STUCK_TOOK           4096               /* less is too little on any line, and holds the others up as nothing does */
#define STUCK_LEAST          ((size_t)64 << 10) /* held: less frees nothing */
#define MUCH                 (HOST_RAW_HOLD_MAX / 2)
#define STOOD_STILL          (3 * MONO_S) /* without a look: the process was stopped, or frozen */
#define SPARE_MAX            ((size_t)1 << 20)
#define NEGOTIATING_MAX      64  /* streams of a peer; more than it has any use for */
#define NEGOTIATING_SERVICES 512 /* the same when it may open some of services: twice what a peer opens at once */

struct host_raw {
    struct link ready; /* host->raw_ready */
    struct host *host;
    struct host_stream *s;  /* NULL: gone from its connection */
    struct host_call *call; /* that waits for it to be agreed on */
    void *owner;
    bool owned, fin_came, kept, ending, dropped; /* kept: `rest` counts in host->raw_kept */
    bool came;                                   /* the peer opened it */
    struct peer_id peer;
    struct multiaddr remote;
    bool lan;
    int err;
    struct buf rest;
    size_t charged;   /* of `rest`, once the connection that was charged for it has nothing to do with it */
    mono_ns taken_at; /* when its owner had consumed STUCK_TOOK more, or had nothing to consume */
    size_t took;      /* since */
};

/* ---- life ---- */

static struct host_raw *raw_new(struct host_stream *s)
{
    struct host_raw *r = MEM_NEW(struct host_raw);
    struct host_conn *c = s->conn;
    r->host = c->host;
    r->s = s;
    r->peer = c->peer->id;
    r->remote = c->remote;
    r->lan = peer_is_lan(c->peer);
    r->taken_at = r->host->now;
    s->u.raw = r;
    c->peer->raws++;
    return r;
}

/* Its host_stream is about to go, or was told to */
static void detach(struct host_raw *r)
{
    struct host_conn *c = r->s->conn;
    c->raw_held -= buf_len(&r->rest);
    if (c->peer)
        c->peer->raws--;
    r->s->u.raw = NULL;
    r->s = NULL;
}

void raw_free(struct host_raw *r)
{
    if (r->charged)
        budget_give(r->host->config.budget, BUDGET_NET, r->charged);
    if (r->kept)
        r->host->raw_kept -= buf_len(&r->rest);
    r->host->raw_came -= r->came;
    chain_remove(&r->host->raw_ready, &r->ready);
    buf_done(&r->rest);
    free(r);
}

static void tell_ready(struct host_raw *r)
{
    if (r->owned && !r->ending)
        chain_add(&r->host->raw_ready, &r->ready);
}

static void tell_end(struct host_raw *r)
{
    if (r->ending)
        return;
    r->ending = true;
    chain_remove(&r->host->raw_ready, &r->ready);
    host_queue(r->host, HOST_STREAM_END)->raw = r;
}

/* HOST_STREAM_END is handed out: false when nobody wants to hear it */
bool raw_take_end(struct host_action *a)
{
    struct host_raw *r = a->raw;
    bool wanted = !r->dropped;
    a->owner = r->owner;
    a->result = r->err;
    a->whole = host_raw_finished(r);
    a->raw = NULL;
    raw_free(r);
    return wanted;
}

bool raw_pull(struct host *h, struct host_action *ret)
{
    if (!h->raw_ready.first)
        return false;
    struct host_raw *r = LINK_OF(h->raw_ready.first, struct host_raw, ready);
    chain_remove(&h->raw_ready, &r->ready);
    *ret = (struct host_action){.type = HOST_STREAM_READY, .owner = r->owner, .raw = r};
    return true;
}

/* ---- opening ---- */

static void wait_for_room(struct host *h, struct host_call *call)
{
    call->next = NULL;
    *h->opens_end = call;
    h->opens_end = &call->next;
    if (!timer_is_set(&h->opens_timer) || call->deadline < h->opens_at) {
        h->opens_at = call->deadline;
        timer_set(&h->timers, &h->opens_timer, h->opens_at);
    }
}

bool raw_start(struct host *h, struct host_call *call, struct host_peer *p)
{
    struct host_conn *c = peer_best_conn(p);
    const char *const ids[] = {call->protocol, call->other};
    struct host_stream *s = c ? stream_open(c, STREAM_RAW_OUT, ids, call->other[0] ? 2 : 1) : NULL;
    if (!s && c && c->open_err == ERR_LIMIT) { /* too many that the peer has not acknowledged, or too many altogether */
        wait_for_room(h, call);
        return true;
    }
    if (!s)
        return false; /* it is dying, or the peer is going away */
    struct host_raw *r = raw_new(s);
    r->call = call;
    call->raw = r;
    timer_set(&h->timers, &s->timer, call->deadline);
    return true;
}

static struct host_call *take_opens(struct host *h)
{
    struct host_call *all = h->opens;
    h->opens = NULL;
    h->opens_end = &h->opens;
    timer_clear(&h->timers, &h->opens_timer);
    return all;
}

void raw_opens_cancel(struct host *h)
{
    for (struct host_call *all = take_opens(h), *next; all; all = next) {
        next = all->next;
        call_answer(h, all, ERR_CANCELLED);
    }
}

/* Those that waited for room try again, or have waited long enough */
void raw_opens_again(struct host *h)
{
    for (struct host_call *call = take_opens(h), *next; call; call = next) {
        next = call->next;
        struct host_peer *p = peer_find(h, &call->peer);
        if (call->deadline <= h->now)
            call_answer(h, call, why_set(&call->why, ERR_LIMIT, "too many streams with this peer"));
        else if (!p || !raw_start(h, call, p))
            call_answer(h, call, ERR_CLOSED);
    }
}

static void opened(struct host_raw *r)
{
    struct host *h = r->host;
    struct host_call *call = r->call;
    r->call = NULL;
    timer_clear(&h->timers, &r->s->timer);
    call->peer = r->peer;
    call_answer(h, call, 0);
    if (h->opens)
        raw_opens_again(h);
}

/* The peer lists what it offers us, so a name of the other kind is known for what it is. */
static int refused(struct host *h, struct host_call *call)
{
    const char *name;
    bool datagrams;
    char other[SERVICE_ID_SIZE];
    const struct host_peer *p = peer_find(h, &call->peer);
    if (!p || !service_id_parse(call->protocol, &name, &datagrams) || !peer_speaks(p, service_id(name, !datagrams, other)))
        return why_set(&call->why, ERR_DENIED, "the peer has no such service, or does not allow it to us");
    return why_set(&call->why, ERR_DENIED, "'%s' is a service of %s: a forward of it is of kind %s", name,
                   datagrams ? "streams, not of datagrams" : "datagrams, not of streams", datagrams ? "tcp or unix" : "udp");
}

/* It failed before it was agreed on. A connection that turned out to be dead is no reason to give up: the peer may be there
 * again. */
static void open_failed(struct host_raw *r, bool conn_died, int err)
{
    struct host *h = r->host;
    struct host_call *call = r->call;
    call->raw = NULL;
    raw_free(r);
    if (conn_died && !call->again && !h->stopped && call->deadline > h->now) {
        call->again = true;
        raw_open(h, call);
    } else if (err == ERR_UNSUPPORTED) {
        call_answer(h, call, refused(h, call));
    } else {
        call_answer(h, call, h->now >= call->deadline ? ERR_TIMEOUT : err < 0 ? err : ERR_CLOSED);
    }
    if (h->opens && !h->stopped)
        raw_opens_again(h);
}

static bool cancel_waiting(struct host *h, struct host_call *call)
{
    bool found = false;
    for (struct host_call *c = take_opens(h), *next; c; c = next) {
        next = c->next;
        found |= c == call;
        if (c != call)
            wait_for_room(h, c);
    }
    if (found)
        call_answer(h, call, ERR_CANCELLED);
    return found;
}

bool raw_call_cancel(struct host *h, struct host_call *call)
{
    struct host_raw *r = call->raw;
    if (!r)
        return cancel_waiting(h, call);
    if (r->call != call)
        return true; /* the answer is on its way */
    struct host_stream *s = r->s;
    detach(r);
    raw_free(r);
    call->raw = NULL;
    stream_reset(s);
    call_answer(h, call, ERR_CANCELLED);
    return true;
}

void raw_expire(struct host_stream *s)
{
    stream_reset(s); /* its end tells the call, which is late */
}

/* ---- what the stream tells ---- */

/* Who may use a service could have thousands of them by each connection, every one with memory and descriptors of ours. */
static bool too_many(const struct host_peer *p)
{
    const struct host_config *c = &p->host->config;
    uint64_t most = budget_limit(c->budget) / HOST_STREAM_BESIDE;
    if (c->descriptors && c->descriptors < most)
        most = c->descriptors;
    return p->raws >= HOST_RAW_ANYWAY && p->host->raw_came >= most / HOST_RAW_PART;
}

void raw_opened(struct host_stream *s, const char *id)
{
    if (too_many(s->conn->peer)) {
        s->u.raw = NULL;
        stream_short(s);
        return;
    }
    struct host_raw *r = raw_new(s);
    r->came = true;
    r->host->raw_came++;
    struct host_action *a = host_queue_text(r->host, HOST_STREAM_CAME, id);
    a->raw = r;
    a->peer = r->peer;
}

void raw_data(struct host_stream *s, struct span in)
{
    struct host_raw *r = s->u.raw;
    struct host *h = r->host;
    if (buf_len(&r->rest) == 0) {
        r->taken_at = h->now;
        r->took = 0;
        if (!r->rest.base) {
            r->rest = h->raw_spare;
            h->raw_spare = BUF_INIT;
        }
    }
    if (!buf_try_add(&r->rest, in)) { /* bounded by the stream's window */
        stream_short(s);
        return;
    }
    s->conn->raw_held += in.len;
    tell_ready(r);
}

void raw_fin(struct host_stream *s)
{
    s->u.raw->fin_came = true;
    tell_ready(s->u.raw);
}

void raw_agreed(struct host_stream *s, unsigned proposal)
{
    struct host_call *call = s->u.raw->call;
    if (call && proposal)
        memcpy(call->protocol, call->other, sizeof call->protocol);
}

void raw_writable(struct host_stream *s)
{
    struct host_raw *r = s->u.raw;
    if (r->call)
        opened(r);
    tell_ready(r);
}

/* A peer could open streams, fill and reset them as fast as it likes */
static bool may_keep(struct host_raw *r)
{
    size_t all = r->host->raw_kept + buf_len(&r->rest);
    if (!r->fin_came || !buf_len(&r->rest) || all > HOST_RAW_KEPT_MAX)
        return false;
    r->host->raw_kept = all;
    return r->kept = true;
}

static void keep_rest(struct host_raw *r)
{
    r->charged = buf_len(&r->rest);
    budget_take_always(r->host->config.budget, BUDGET_NET, r->charged); /* its connection was charged just now */
    tell_ready(r);
}

void raw_end(struct host_stream *s, int err)
{
    struct host_raw *r = s->u.raw;
    if (!r)
        return; /* its owner reset it */
    bool died = s->conn->closing || conn_is_dead(s->conn->conn);
    detach(r);
    r->err = err;
    if (r->call)
        open_failed(r, died, err);
    else if ((err == 0 && buf_len(&r->rest)) || (err < 0 && may_keep(r)))
        keep_rest(r); /* its end is told when that was taken */
    else
        tell_end(r);
}

/* ---- slow readers ---- */

/* A raw stream, or NULL */
static struct host_raw *raw_of(struct link *l)
{
    struct host_stream *s = LINK_OF(l, struct host_stream, link);
    return s->kind == STREAM_RAW_IN || s->kind == STREAM_RAW_OUT ? s->u.raw : NULL;
}

static void look_at_all(struct host_conn *c)
{
    mono_ns now = c->host->now, before = c->raw_looked;
    c->raw_looked = c->raw_held >= MUCH ? now : 0;
    if (!before || now - before <= STOOD_STILL)
        return;
    struct host_raw *r;
    for (struct link *l = c->streams.first; l; l = l->next)
        if ((r = raw_of(l)))
            r->taken_at = now;
}

bool raw_unstick(struct host_conn *c, bool needed)
{
    struct host_raw *worst = NULL;
    look_at_all(c);
    if (!needed || !c->raw_looked)
        return false;
    for (struct link *l = c->streams.first; l; l = l->next) {
        struct host_raw *r = raw_of(l);
        if (!r || buf_len(&r->rest) < STUCK_LEAST || c->host->now - r->taken_at < STUCK_AFTER)
            continue;
        if (!worst || r->taken_at < worst->taken_at)
            worst = r;
    }
    if (!worst)
        return false;
    char id[PEER_ID_TEXT_SIZE];
    host_event(c->host, "stream.stuck", "%s: a reader took next to nothing for %llu s while others waited",
               peer_id_text(&worst->peer, id), (unsigned long long)((c->host->now - worst->taken_at) / MONO_S));
    stream_reset(worst->s);
    return true;
}

/* ---- the owner's verbs ---- */

void host_raw_own(struct host *h, struct host_raw *r, void *owner)
{
    (void)h;
    r->owner = owner;
    r->owned = true;
    tell_ready(r);
}

void host_raw_group(struct host_raw *r, const void *key)
{
    if (r->s)
        (void)conn_set_group(r->s->conn->conn, r->s->number, key); /* gone already: it has no turn */
}

struct span host_raw_peek(const struct host_raw *r)
{
    return buf_span(&r->rest);
}

void host_raw_consume(struct host *h, struct host_raw *r, size_t n, mono_ns now)
{
    h->now = now;
    r->took += n;
    if (r->took >= STUCK_TOOK) {
        r->took = 0;
        r->taken_at = now;
    }
    buf_consume(&r->rest, n);
    if (r->kept)
        h->raw_kept -= n;
    if (r->charged) {
        r->charged -= n;
        budget_give(h->config.budget, BUDGET_NET, n);
    }
    if (r->s) {
        r->s->conn->raw_held -= n;
        (void)conn_consume(r->s->conn->conn, r->s->number, n); /* dead already: nothing is owed */
        hconn_touch(r->s->conn);
    }
    if (buf_len(&r->rest))
        return;
    if (r->rest.cap > h->raw_spare.cap && r->rest.cap <= SPARE_MAX) {
        buf_done(&h->raw_spare);
        h->raw_spare = r->rest;
        buf_clear(&h->raw_spare);
        r->rest = BUF_INIT;
    }
    buf_done(&r->rest); /* idle streams hold no buffers */
    if (!r->s)
        tell_end(r);
}

bool host_raw_finished(const struct host_raw *r)
{
    return r->fin_came && buf_len(&r->rest) == 0;
}

bool host_raw_is_over(const struct host_raw *r)
{
    return !r->s;
}

int host_raw_write(struct host *h, struct host_raw *r, struct span data, mono_ns now)
{
    h->now = now;
    if (!r->s)
        return ERR_CLOSED;
    int n = conn_write(r->s->conn->conn, r->s->number, data);
    if (n >= 0)
        hconn_touch(r->s->conn);
    return n == ERR_NOT_FOUND ? ERR_CLOSED : n;
}

int host_raw_write_over(struct host *h, struct host_raw *r, struct span data, mono_ns now)
{
    h->now = now;
    if (!r->s || conn_write_over(r->s->conn->conn, r->s->number, data) < 0)
        return ERR_CLOSED;
    hconn_touch(r->s->conn);
    return 0;
}

int host_raw_lend(struct host *h, struct host_raw *r, const struct loan *l, mono_ns now)
{
    h->now = now;
    if (!r->s)
        return ERR_CLOSED;
    int n = conn_lend(r->s->conn->conn, r->s->number, l);
    if (n > 0)
        hconn_touch(r->s->conn);
    return n == ERR_NOT_FOUND ? ERR_CLOSED : n;
}

size_t host_raw_room(const struct host_raw *r)
{
    return r->s ? conn_write_room(r->s->conn->conn, r->s->number) : 0;
}

void host_raw_want_room(struct host_raw *r)
{
    if (r->s)
        conn_want_room(r->s->conn->conn, r->s->number);
}

size_t host_raw_unsent(const struct host_raw *r)
{
    return r->s ? conn_unsent(r->s->conn->conn, r->s->number) : 0;
}

void host_raw_finish(struct host *h, struct host_raw *r, mono_ns now)
{
    h->now = now;
    if (!r->s)
        return;
    (void)conn_close_write(r->s->conn->conn, r->s->number); /* dead already: its end is on its way */
    hconn_touch(r->s->conn);
}

void host_raw_reset(struct host *h, struct host_raw *r, mono_ns now)
{
    h->now = now;
    struct host_stream *s = r->s;
    if (s) {
        detach(r);
        stream_reset(s);
    }
    if (r->ending)
        r->dropped = true; /* freed when the end is handed out, to nobody */
    else
        raw_free(r);
}

const struct peer_id *host_raw_peer(const struct host_raw *r)
{
    return &r->peer;
}

const struct multiaddr *host_raw_remote(const struct host_raw *r)
{
    return &r->remote;
}

bool host_raw_is_lan(const struct host_raw *r)
{
    return r->lan;
}

void *host_raw_carrier(const struct host_raw *r)
{
    return r->s ? r->s->conn->owner : NULL;
}

/* ---- what we offer ---- */

void raw_set_protocols(struct host_conn *c)
{
    const char *allowed[SERVICE_OFFERS_MAX];
    const struct conn_protocols *base = stream_protocols();
    const struct services *services = c->host->config.services;
    unsigned count = services && c->peer ? services_allowed(services, &c->peer->id, allowed) : 0;
    size_t list = (base->count + count) * sizeof(char *);
    char *memory = mem_new(list + count * SERVICE_ID_SIZE);
    const char **ids = (const char **)(void *)memory;
    memcpy(ids, base->ids, base->count * sizeof(char *));
    for (unsigned i = 0; i < count; i++) {
        char *copy = memory + list + i * SERVICE_ID_SIZE;
        memcpy(copy, allowed[i], strlen(allowed[i]) + 1);
        ids[base->count + i] = copy;
    }
    free(c->protocol_memory);
    c->protocol_memory = memory;
    c->protocols = (struct conn_protocols){ids, base->count + count, count ? NEGOTIATING_SERVICES : NEGOTIATING_MAX};
}

void host_services_changed(struct host *h, mono_ns now)
{
    h->now = now;
    for (struct link *l = h->conns.first; l; l = l->next) {
        struct host_conn *c = LINK_OF(l, struct host_conn, link);
        if (c->peer)
            raw_set_protocols(c);
    }
    identify_push_soon(h);
}
