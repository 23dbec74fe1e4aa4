/* SPDX-License-Identifier: MIT
 *
 * Lines, and the connections over them. */
#include "tests/sim/hostsim_state.h"

#include <assert.h>
#include <stdlib.h>

#define WINDOW  ((size_t)1 << 20) /* bytes of a connection that were sent and not taken, each way */
#define BACKLOG (5 * MONO_MS)     /* a line that is busy for longer takes nothing more */
#define CHUNK   32768

/* ---- pairs ---- */

static void end_drop_arrived(struct end *e)
{
    struct arrival *a;
    while ((a = STAILQ_FIRST(&e->arrived))) {
        STAILQ_REMOVE_HEAD(&e->arrived, link);
        buf_done(&a->bytes);
        free(a);
    }
}

static void turn_leave(struct hostsim *s, struct end *e)
{
    if (e->in_turn)
        TAILQ_REMOVE(&s->nodes[e->node]->turns, e, turn);
    e->in_turn = false;
}

void pair_free(struct hostsim *s, struct pair *p)
{
    for (int i = 0; i < 2; i++) {
        turn_leave(s, &p->ends[i]);
        end_drop_arrived(&p->ends[i]);
    }
    TAILQ_REMOVE(&s->pairs, p, link);
    free(p);
}

void pair_release(struct hostsim *s, struct pair *p)
{
    if (!p->refs && !p->ends[0].open && !p->ends[1].open)
        pair_free(s, p);
}

static struct event *post_end(struct hostsim *s, mono_ns at, enum event_type type, struct end *to)
{
    struct event *e = hostsim_post(s, at, type, to->node);
    e->end = to;
    to->pair->refs++;
    return e;
}

static mono_ns path_delay(const struct hostsim *s, int a, int b)
{
    return s->nodes[a]->line.delay + s->nodes[b]->line.delay;
}

static bool reachable(const struct hostsim *s, int a, int b)
{
    return s->nodes[a]->group == s->nodes[b]->group;
}

/* ---- bytes ---- */

/* The times at which `len` bytes that are given to the line now have passed both ends of it. */
static mono_ns carry(struct hostsim *s, struct end *e, size_t len)
{
    struct node *from = s->nodes[e->node], *to = s->nodes[e->other->node];
    mono_ns at = from->up_free > s->now ? from->up_free : s->now;
    if (from->line.up)
        at += len * MONO_S / from->line.up;
    from->up_free = at;
    at += path_delay(s, e->node, e->other->node);
    if (to->line.down) {
        mono_ns start = to->down_free > at ? to->down_free : at;
        at = to->down_free = start + len * MONO_S / to->line.down;
    }
    return at;
}

static void line_later(struct hostsim *s, int node, mono_ns at)
{
    struct node *d = s->nodes[node];
    if (!d->line_event)
        (void)hostsim_post(s, at, EV_LINE, node);
    d->line_event = true;
}

/* Sends one chunk of the end; false: it has nothing or may not now, and has left the turn. */
static bool send_chunk(struct hostsim *s, struct end *e)
{
    struct buf out = BUF_INIT;
    if (!e->open || e->in_flight >= WINDOW || !host_output(s->nodes[e->node]->host, e->hc, &out, CHUNK, s->now)) {
        buf_done(&out);
        return false;
    }
    size_t len = buf_len(&out);
    e->in_flight += len;
    struct event *v = post_end(s, carry(s, e, len), EV_BYTES, e->other);
    v->bytes = out;
    v->size = len;
    return true;
}

/* A chunk of each in turn */
void line_run(struct hostsim *s, int node)
{
    struct node *d = s->nodes[node];
    struct end *e;
    while ((e = TAILQ_FIRST(&d->turns))) {
        if (d->up_free > s->now + BACKLOG) {
            line_later(s, node, d->up_free - BACKLOG);
            return;
        }
        turn_leave(s, e);
        if (!send_chunk(s, e))
            continue;
        TAILQ_INSERT_TAIL(&d->turns, e, turn);
        e->in_turn = true;
    }
}

void end_wants_line(struct hostsim *s, struct end *e)
{
    if (!e->open || e->in_turn)
        return;
    e->in_turn = true;
    TAILQ_INSERT_TAIL(&s->nodes[e->node]->turns, e, turn);
    line_later(s, e->node, s->now);
}

void end_deliver(struct hostsim *s, struct end *e)
{
    struct arrival *a;
    while (!e->hold && reachable(s, e->node, e->other->node) && (a = STAILQ_FIRST(&e->arrived))) {
        STAILQ_REMOVE_HEAD(&e->arrived, link);
        struct host *h = s->nodes[e->node]->host;
        size_t len = buf_len(&a->bytes);
        if (e->open && !e->cut && !a->is_end)
            e->hold = !host_input(h, e->hc, buf_span(&a->bytes), s->now);
        else if (e->open && a->is_end && !e->told_end) {
            e->told_end = true;
            host_input_end(h, e->hc, 0, s->now);
        }
        buf_done(&a->bytes);
        free(a);
        e->other->in_flight -= len;
        if (len)
            end_wants_line(s, e->other);
    }
}

void end_came(struct hostsim *s, struct event *v)
{
    struct end *e = v->end;
    struct arrival *a = MEM_NEW(struct arrival);
    a->bytes = v->bytes;
    v->bytes = BUF_INIT;
    a->is_end = v->type == EV_END;
    STAILQ_INSERT_TAIL(&e->arrived, a, link);
    end_deliver(s, e);
}

void end_close(struct hostsim *s, struct end *e)
{
    e->open = false;
    turn_leave(s, e);
    (void)post_end(s, carry(s, e, 0), EV_END, e->other);
}

static void end_reset(struct hostsim *s, struct end *e)
{
    if (!e->open || e->cut)
        return;
    e->cut = e->told_end = true;
    host_input_end(s->nodes[e->node]->host, e->hc, ERR_RESET, s->now);
    hostsim_drive(s, e->node);
}

/* ---- dialing ---- */

static int node_at(const struct hostsim *s, const struct multiaddr *addr)
{
    for (int i = 0; i < s->count; i++) {
        struct multiaddr m = hostsim_address(i);
        if (multiaddr_eq(&m, addr))
            return i;
    }
    return -1;
}

static void end_init(struct pair *p, int i, int node)
{
    struct end *e = &p->ends[i];
    e->pair = p;
    e->other = &p->ends[!i];
    e->node = node;
    STAILQ_INIT(&e->arrived);
}

void line_dialed(struct hostsim *s, const struct event *v)
{
    struct host *from = s->nodes[v->node]->host;
    int to = node_at(s, &v->addr);
    if (to < 0 || !s->nodes[to]->host) {
        (void)host_dialed(from, v->dial, NULL, ERR_REFUSED, NULL, s->now);
        return;
    }
    if (!reachable(s, v->node, to))
        return; /* nothing answers; the host gives up by itself */
    struct pair *p = MEM_NEW(struct pair);
    end_init(p, 0, v->node);
    end_init(p, 1, to);
    TAILQ_INSERT_TAIL(&s->pairs, p, link);
    struct multiaddr mine = hostsim_address(v->node);
    p->ends[0].hc = host_dialed(from, v->dial, &p->ends[0], 0, &mine, s->now);
    p->ends[0].open = p->ends[0].hc != NULL;
    if (!p->ends[0].open) {
        pair_free(s, p);
        return;
    }
    p->ends[1].hc = host_accepted(s->nodes[to]->host, &p->ends[1], &mine, &v->addr, s->now);
    p->ends[1].open = p->ends[1].hc != NULL;
    if (!p->ends[1].open)
        end_close(s, &p->ends[1]);
    hostsim_drive(s, to);
}

/* ---- what happens to connections ---- */

static bool pair_open(const struct pair *p)
{
    return p->ends[0].open && p->ends[1].open && !p->ends[0].cut;
}

unsigned hostsim_links(const struct hostsim *s)
{
    unsigned n = 0;
    const struct pair *p;
    TAILQ_FOREACH(p, &s->pairs, link)
    n += pair_open(p);
    return n;
}

void hostsim_cut(struct hostsim *s, unsigned nth)
{
    struct pair *p;
    TAILQ_FOREACH(p, &s->pairs, link)
    if (pair_open(p) && nth-- == 0)
        break;
    assert(p);
    p->refs++; /* both ends are told, whatever the first one does */
    end_reset(s, &p->ends[0]);
    end_reset(s, &p->ends[1]);
    p->refs--;
    pair_release(s, p);
}

void hostsim_partition(struct hostsim *s, int node, int group)
{
    struct pair *p, *next;
    s->nodes[node]->group = group;
    for (p = TAILQ_FIRST(&s->pairs); p; p = next) {
        next = TAILQ_NEXT(p, link);
        if (p->ends[0].node != node && p->ends[1].node != node)
            continue;
        p->refs++;
        for (int i = 0; i < 2; i++) {
            end_deliver(s, &p->ends[i]);
            hostsim_drive(s, p->ends[i].node);
        }
        p->refs--;
        pair_release(s, p);
    }
}

void line_killed(struct hostsim *s, int node)
{
    struct pair *p, *next;
    for (p = TAILQ_FIRST(&s->pairs); p; p = next) {
        next = TAILQ_NEXT(p, link);
        for (int i = 0; i < 2; i++) {
            struct end *e = &p->ends[i];
            if (e->node != node)
                continue;
            e->open = false;
            turn_leave(s, e);
            end_drop_arrived(e);
            end_reset(s, e->other);
        }
        pair_release(s, p);
    }
}

bool hostsim_stranger(struct hostsim *s, int node, const struct multiaddr *remote, struct span bytes)
{
    struct pair *p = MEM_NEW(struct pair);
    struct end *e = &p->ends[1];
    struct multiaddr local = hostsim_address(node);
    end_init(p, 0, node);
    end_init(p, 1, node);
    TAILQ_INSERT_TAIL(&s->pairs, p, link);
    p->refs++;
    e->hc = host_accepted(s->nodes[node]->host, e, remote, &local, s->now);
    e->open = e->hc != NULL;
    struct event *v = post_end(s, s->now, EV_BYTES, e);
    buf_add_span(&v->bytes, bytes);
    v->size = bytes.len;
    p->ends[0].in_flight = bytes.len;
    hostsim_run(s, 20 * MONO_MS);
    end_reset(s, e); /* it waits for more: we hang up */
    hostsim_run(s, 20 * MONO_MS);
    bool closed = !e->open;
    p->refs--;
    pair_release(s, p);
    return closed;
}
