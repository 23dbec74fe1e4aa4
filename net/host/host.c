/* SPDX-License-Identifier: MIT
 *
 * Life, time and the queue of actions. See host_state.h for the map.
 */
#include "net/host/host_sources.h"
#include "net/host/host_state.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK         (5 * MONO_S)
#define PEER_BUCKETS 512

/* ---- chains ---- */

void chain_add(struct chain *c, struct link *l)
{
    if (l->in)
        return;
    l->in = true;
    l->next = NULL;
    l->prev = c->last;
    *(c->last ? &c->last->next : &c->first) = l;
    c->last = l;
    c->count++;
}

void chain_remove(struct chain *c, struct link *l)
{
    if (!l->in)
        return;
    *(l->prev ? &l->prev->next : &c->first) = l->next;
    *(l->next ? &l->next->prev : &c->last) = l->prev;
    *l = (struct link){0};
    c->count--;
}

/* ---- life ---- */

struct host *host_new(const struct host_config *c, mono_ns now)
{
    struct host *h = MEM_NEW(struct host);
    h->config = *c;
    h->rng = c->rng;
    h->now = now;
    h->wall = c->wall;
    h->wall_at = now;
    if (!h->config.max_connections)
        h->config.max_connections = HOST_MAX_CONNECTIONS;
    if (!h->config.max_connections_per_ip)
        h->config.max_connections_per_ip = HOST_CONNECTIONS_PER_IP;
    if (!h->config.limits.streams_in)
        h->config.limits.streams_in = HOST_RAW_STREAMS;
    if (!h->config.limits.streams_out)
        h->config.limits.streams_out = HOST_RAW_STREAMS;
    if (!h->config.limits.hold_max)
        h->config.limits.hold_max = HOST_RAW_HOLD_MAX;
    h->last = &h->first;
    h->opens_end = &h->opens;
    h->peer_buckets = mem_array(PEER_BUCKETS, sizeof *h->peer_buckets);
    h->limit = connlimit_new(h->config.max_connections, h->config.max_connections_per_ip, rng_u64(&h->rng));
    h->store = peerstore_new();
    h->observed = observed_new();
    const struct exchange_config x = {
        .budget = c->budget, .seed = rng_u64(&h->rng), .upload_rate = c->upload_limit, .download_rate = c->download_limit};
    h->exchange = exchange_new(&x, now);
    h->sources = host_sources_new(x.seed);
    if (c->mdns) {
        char id[PEER_ID_TEXT_SIZE];
        h->mdns = mdns_new(&h->rng, peer_id_text(&c->identity->id, id));
    }
    h->tick.kind = TIMER_TICK;
    h->push.kind = TIMER_PUSH;
    h->starved.kind = TIMER_STARVED;
    h->opens_timer.kind = TIMER_OPENS;
    timer_set(&h->timers, &h->tick, mono_after(now, TICK));
    return h;
}

void host_stop(struct host *h, mono_ns now)
{
    h->now = now;
    h->stopped = true;
    while (h->dials.first)
        dial_end(LINK_OF(h->dials.first, struct host_dial, link), ERR_CANCELLED);
    for (struct link *l = h->conns.first, *next; l; l = next) {
        next = l->next;
        hconn_close(LINK_OF(l, struct host_conn, link), ERR_CANCELLED);
    }
    raw_opens_cancel(h);
    if (h->mdns)
        mdns_stop(h->mdns, now);
    exchange_stop(h->exchange);
}

static void queued_free(struct queued *q)
{
    if (!q)
        return;
    free(q->kind);
    free(q->text);
    free(q);
}

static void forget_queue(struct host *h)
{
    while (h->first) {
        struct queued *q = h->first;
        h->first = q->next;
        if (q->action.type == HOST_CLOSE)
            hconn_free(q->action.conn);
        if (q->action.type == HOST_STREAM_END)
            raw_free(q->action.raw);
        queued_free(q);
    }
    h->last = &h->first;
    queued_free(h->told);
    h->told = NULL;
}

struct host *host_free(struct host *h)
{
    if (!h)
        return NULL;
    if (!h->stopped)
        host_stop(h, h->now);
    while (hconn_settle_dirty(h))
        ; /* every connection gets its HOST_CLOSE into the queue, which frees it */
    forget_queue(h);
    struct host_action a;
    while (exchange_pull(h, &a))
        if (a.block)
            block_unref(a.block);
    while (h->peers.first)
        peer_free(LINK_OF(h->peers.first, struct host_peer, link));
    assert(!h->conns.first);
    exchange_free(h->exchange);
    host_sources_free(h->sources);
    mdns_free(h->mdns);
    peerstore_free(h->store);
    observed_free(h->observed);
    connlimit_free(h->limit);
    buf_done(&h->record_near);
    buf_done(&h->record_far);
    buf_done(&h->raw_spare);
    free(h->peer_buckets);
    free(h);
    return NULL;
}

void host_set_wall(struct host *h, wall_ns wall, mono_ns now)
{
    h->wall = wall;
    h->wall_at = now;
}

wall_ns host_wall(const struct host *h)
{
    return h->wall + (wall_ns)(h->now - h->wall_at);
}

/* ---- actions ---- */

struct host_action *host_queue(struct host *h, enum host_action_type type)
{
    struct queued *q = MEM_NEW(struct queued);
    q->action.type = type;
    *h->last = q;
    h->last = &q->next;
    return &q->action;
}

static struct queued *queued_of(struct host_action *a)
{
    return (struct queued *)(void *)((char *)a - offsetof(struct queued, action));
}

struct host_action *host_queue_text(struct host *h, enum host_action_type type, const char *text)
{
    struct host_action *a = host_queue(h, type);
    a->text = queued_of(a)->text = mem_str(text);
    return a;
}

void host_event(struct host *h, const char *kind, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args); /* longer texts are cut */
    va_end(args);
    struct host_action *a = host_queue_text(h, HOST_EVENT, text);
    a->kind = queued_of(a)->kind = mem_str(kind);
}

static bool take_queued(struct host *h, struct host_action *ret)
{
    queued_free(h->told);
    struct queued *q = h->told = h->first;
    if (!q)
        return false;
    h->first = q->next;
    if (!h->first)
        h->last = &h->first;
    *ret = q->action;
    if (ret->type == HOST_CLOSE) {
        hconn_free(ret->conn);
        ret->conn = NULL;
    }
    return true;
}

bool host_next(struct host *h, struct host_action *ret, mono_ns now)
{
    h->now = now;
    *ret = (struct host_action){.type = HOST_NONE};
    for (;;) {
        if (take_queued(h, ret)) {
            if (ret->type == HOST_STREAM_END && !raw_take_end(ret))
                continue;
            return true;
        }
        if (exchange_pull(h, ret))
            return true;
        if (h->first)
            continue; /* what the exchange had for us made actions */
        if (lan_pull(h, ret) || raw_pull(h, ret))
            return true;
        if (!h->first && !hconn_settle_dirty(h))
            break;
    }
    peers_sweep(h);
    return false;
}

/* ---- time ---- */

mono_ns host_deadline(const struct host *h)
{
    mono_ns at = mono_min(timerheap_first(&h->timers), exchange_deadline(h->exchange));
    return h->mdns ? mono_min(at, mdns_deadline(h->mdns)) : at;
}

static void tick(struct host *h)
{
    timer_set(&h->timers, &h->tick, mono_after(h->now, TICK));
    peers_tidy(h);
    identify_ask_again(h);
    if (h->now < h->next_expire)
        return;
    h->next_expire = mono_after(h->now, 60 * MONO_S);
    peerstore_expire(h->store, h->now);
}

static void timer_fired(struct host *h, struct timer *t)
{
    switch (t->kind) {
    case TIMER_CONN:
        hconn_expire(LINK_OF(t, struct host_conn, timer));
        break;
    case TIMER_STREAM:
        stream_expire(LINK_OF(t, struct host_stream, timer));
        break;
    case TIMER_DIAL:
        dial_step(LINK_OF(t, struct host_dial, timer));
        break;
    case TIMER_PEER:
        peer_timer_fired(LINK_OF(t, struct host_peer, timer));
        break;
    case TIMER_TICK:
        tick(h);
        break;
    case TIMER_PUSH:
        identify_push_all(h);
        break;
    case TIMER_OPENS:
        raw_opens_again(h);
        break;
    case TIMER_STARVED:
        hconn_starved_again(h);
        break;
    default:
        assert(!"a timer of no known kind");
    }
}

void host_expire(struct host *h, mono_ns now)
{
    h->now = now;
    struct timer *t;
    while ((t = timerheap_due(&h->timers, now)))
        timer_fired(h, t);
    if (exchange_deadline(h->exchange) <= now)
        exchange_expire(h->exchange, now);
    if (h->mdns && mdns_deadline(h->mdns) <= now)
        mdns_expire(h->mdns, now);
}

/* ---- the peerstore on disk ---- */

int host_load_peers(struct host *h, struct span saved, mono_ns now)
{
    h->now = now;
    int err = peerstore_load(h->store, saved, now, host_wall(h));
    for (struct peer_entry *e = peerstore_newest(h->store); e; e = e->older)
        if (e->is_friend) {
            peer_know_addresses(h, e);
            peer_dial_later(peer_get(h, &e->id), mono_after(now, rng_below(&h->rng, MONO_S)));
        }
    return err;
}

void host_save_peers(struct host *h, struct buf *out, mono_ns now)
{
    h->now = now;
    peerstore_save(h->store, out, now, host_wall(h));
}
