/* SPDX-License-Identifier: MIT
 *
 * The table of streams, their lists and verbs. */
#include "net/mux/yamux.h"

#include "net/mux/yamux_impl.h"
#include "store/base/budget.h"

#include <assert.h>
#include <stdlib.h>

#define GROUP_ROOM YAMUX_DATA_MAX /* that a group may queue in any case: a turn's worth */

static struct stream **bucket_of(const struct yamux *y, uint32_t id)
{
    return (struct stream **)(uintptr_t)&y->buckets[id * y->mix >> 59];
}
_Static_assert(YAMUX_BUCKETS == 32, "the top 5 bits choose a bucket");

struct stream *stream_find(const struct yamux *y, uint32_t id)
{
    struct stream *s = *bucket_of(y, id);
    while (s && s->id != id)
        s = s->chain;
    return s;
}

struct stream *stream_new(struct yamux *y, uint32_t id, bool inbound, void *user)
{
    struct stream *s = MEM_NEW(struct stream);
    s->id = id;
    s->inbound = inbound;
    s->user = user;
    s->group = &y->common;
    s->group->streams++;
    s->window = s->credit = YAMUX_WINDOW;
    s->send_window = YAMUX_WINDOW;
    s->granted = y->now;
    s->chain = *bucket_of(y, id);
    *bucket_of(y, id) = s;
    if (inbound) {
        y->count_in++;
        s->acked = s->ack_due = true;
    } else {
        y->count_out++;
        y->unacked++;
        s->syn_due = true;
    }
    stream_want_control(y, s);
    return s;
}

void stream_acked(struct yamux *y, struct stream *s)
{
    if (s->acked)
        return;
    s->acked = true;
    y->unacked--;
}

/* ---- turns ---- */

static void queue_up(struct yamux *y, struct stream *s)
{
    struct group *g = s->group;
    if (TAILQ_EMPTY(&g->sending))
        TAILQ_INSERT_TAIL(&y->turns, g, turns);
    TAILQ_INSERT_TAIL(&g->sending, s, sending);
    s->in_sending = true;
}

static void step_out(struct yamux *y, struct stream *s)
{
    struct group *g = s->group;
    TAILQ_REMOVE(&g->sending, s, sending);
    if (TAILQ_EMPTY(&g->sending))
        TAILQ_REMOVE(&y->turns, g, turns);
    s->in_sending = false;
}

/* To the end of its group, and that to the end of the round */
void stream_had_turn(struct yamux *y, struct stream *s)
{
    struct group *g = s->group;
    step_out(y, s);
    if (!TAILQ_EMPTY(&g->sending)) {
        TAILQ_REMOVE(&y->turns, g, turns);
        TAILQ_INSERT_TAIL(&y->turns, g, turns);
    }
    stream_update(y, s);
}

void stream_queued(struct yamux *y, struct stream *s, size_t n)
{
    s->queued += n;
    s->group->queued += n;
    y->queued += n;
}

void stream_sent(struct yamux *y, struct stream *s, size_t n)
{
    s->queued -= n;
    s->group->queued -= n;
    y->queued -= n;
}

static void enter_group(struct stream *s, struct group *g)
{
    s->group = g;
    g->queued += s->queued;
    g->streams++;
}

static void leave_group(struct yamux *y, struct stream *s)
{
    struct group *g = s->group;
    g->queued -= s->queued;
    g->streams--;
    if (g == &y->common || g->streams)
        return;
    TAILQ_REMOVE(&y->groups, g, all);
    free(g);
}

static struct group *group_of(struct yamux *y, const void *key)
{
    struct group *g;
    if (!key)
        return &y->common;
    TAILQ_FOREACH(g, &y->groups, all)
    if (g->key == key)
        return g;
    g = MEM_NEW(struct group);
    g->key = key;
    TAILQ_INIT(&g->sending);
    TAILQ_INSERT_TAIL(&y->groups, g, all);
    return g;
}

int yamux_set_group(struct yamux *y, uint32_t stream, const void *key)
{
    struct stream *s = stream_find(y, stream);
    if (!s)
        return ERR_NOT_FOUND;
    struct group *g = group_of(y, key);
    if (g == s->group)
        return 0;
    if (s->in_sending)
        step_out(y, s);
    leave_group(y, s);
    enter_group(s, g);
    stream_update(y, s);
    return 0;
}

static void leave_lists(struct yamux *y, struct stream *s)
{
    if (s->in_control)
        TAILQ_REMOVE(&y->control, s, control);
    if (s->in_sending)
        step_out(y, s);
    if (s->in_blocked)
        TAILQ_REMOVE(&y->blocked, s, blocked);
    if (s->in_events)
        TAILQ_REMOVE(&y->events, s, events);
}

void stream_free(struct yamux *y, struct stream *s)
{
    struct stream **at = bucket_of(y, s->id);
    while (*at != s)
        at = &(*at)->chain;
    *at = s->chain;
    leave_lists(y, s);
    stream_acked(y, s);
    if (s->inbound)
        y->count_in--;
    else
        y->count_out--;
    if (y->frame.stream == s) {
        y->frame.stream = NULL; /* the rest of its frame is thrown away */
        y->frame.opened = y->frame.fin = y->frame.rst = false;
    }
    y->unconsumed -= s->delivered;
    y->queued -= s->queued;
    leave_group(y, s);
    y->grown -= s->grown;
    if (y->cfg.budget)
        budget_give(y->cfg.budget, BUDGET_NET, s->grown);
    while (s->head) {
        struct chunk *c = s->head;
        s->head = c->next;
        chunk_drop(y, c);
    }
    free(s);
    streams_wake(y);
}

void stream_refuse(struct yamux *y, uint32_t id)
{
    if (y->err)
        return;
    if (y->reset_count == YAMUX_RESETS_MAX) {
        (void)yamux_fail(y, ERR_LIMIT, YAMUX_GOAWAY_INTERNAL); /* told by yamux_next */
        return;
    }
    if (y->reset_count == y->reset_cap) {
        y->reset_cap = y->reset_cap ? y->reset_cap * 2 : 16;
        y->resets = mem_grow(y->resets, y->reset_cap, sizeof *y->resets);
    }
    y->resets[y->reset_count++] = id;
}

void stream_want_control(struct yamux *y, struct stream *s)
{
    if (s->in_control)
        return;
    s->in_control = true;
    TAILQ_INSERT_TAIL(&y->control, s, control);
}

void stream_want_event(struct yamux *y, struct stream *s)
{
    if (s->in_events)
        return;
    s->in_events = true;
    TAILQ_INSERT_TAIL(&y->events, s, events);
}

bool stream_finished(const struct stream *s)
{
    return s->fin_sent && s->fin_received;
}

void stream_update(struct yamux *y, struct stream *s)
{
    bool fin = s->fin_wanted && !s->fin_sent && s->queued == 0;
    bool sends = fin || (s->queued > 0 && s->send_window > 0);
    if (sends && !s->in_sending)
        queue_up(y, s);
    else if (!sends && s->in_sending)
        step_out(y, s);
    if (stream_finished(s))
        stream_want_event(y, s);
}

/* What the peer's window lets go, and does not wait already. No more than that is taken: a reader that stands still would else
 * hold a part of what all streams may queue, and a dozen of them all of it. */
static size_t window_room(const struct stream *s)
{
    return s->send_window > s->queued ? (size_t)s->send_window - s->queued : 0;
}

static size_t room_of(const struct yamux *y, const struct stream *s, size_t total)
{
    size_t own = y->cfg.send_queue > s->queued ? y->cfg.send_queue - s->queued : 0;
    if (own > window_room(s))
        own = window_room(s);
    size_t all = total > y->queued ? total - y->queued : 0;
    size_t turn = s->group->queued < GROUP_ROOM ? GROUP_ROOM - s->group->queued : 0;
    if (all < turn)
        all = turn;
    return own < all ? own : all;
}

/* What a write takes */
static size_t write_room(const struct yamux *y, const struct stream *s)
{
    return room_of(y, s, y->cfg.send_total);
}

/* For all streams together, as who asks before he writes is told: while memory is short each group has its turn's worth and no
 * more. A write takes what there was room for when it was asked, whatever others take of the budget meanwhile. */
static size_t fair_total(const struct yamux *y)
{
    return y->cfg.budget && budget_class_tight(y->cfg.budget, BUDGET_NET) ? 0 : y->cfg.send_total;
}

static void wake_within(struct yamux *y, struct stream *s, size_t total)
{
    size_t room = room_of(y, s, total);
    if (room == 0)
        return;
    if (s->group->queued > 0 && room < y->cfg.send_queue / 2 && room < window_room(s))
        return; /* not worth it yet */
    TAILQ_REMOVE(&y->blocked, s, blocked);
    s->in_blocked = false;
    s->writable_due = true;
    stream_want_event(y, s);
}

void stream_wake(struct yamux *y, struct stream *s)
{
    if (s->in_blocked)
        wake_within(y, s, fair_total(y));
}

void streams_wake(struct yamux *y)
{
    size_t total = TAILQ_EMPTY(&y->blocked) ? 0 : fair_total(y);
    struct stream *s, *next;
    for (s = TAILQ_FIRST(&y->blocked); s; s = next) {
        next = TAILQ_NEXT(s, blocked);
        wake_within(y, s, total);
    }
}

/* ---- verbs ---- */

int yamux_open(struct yamux *y, void *user, uint32_t *ret_stream)
{
    if (y->err || y->going || y->peer_going)
        return ERR_CLOSED;
    if (y->count_out >= y->cfg.streams_out || y->unacked >= YAMUX_UNACKED_MAX || y->next_id > UINT32_MAX - 2)
        return ERR_LIMIT;
    struct stream *s = stream_new(y, y->next_id, false, user);
    y->next_id += 2;
    *ret_stream = s->id;
    return 0;
}

static void stream_block(struct yamux *y, struct stream *s)
{
    if (s->in_blocked)
        return;
    s->in_blocked = true;
    TAILQ_INSERT_TAIL(&y->blocked, s, blocked);
}

int yamux_write(struct yamux *y, uint32_t stream, struct span data)
{
    struct stream *s = stream_find(y, stream);
    if (!s)
        return ERR_NOT_FOUND;
    if (s->fin_wanted || y->err)
        return ERR_CLOSED;
    struct span taken = span_sub(data, 0, write_room(y, s));
    queue_add(y, s, taken);
    if (taken.len < data.len)
        stream_block(y, s);
    stream_update(y, s);
    return (int)taken.len;
}

int yamux_lend(struct yamux *y, uint32_t stream, const struct loan *l)
{
    struct stream *s = stream_find(y, stream);
    if (!s)
        return ERR_NOT_FOUND;
    if (s->fin_wanted || y->err)
        return ERR_CLOSED;
    struct loan taken = *l;
    taken.data = span_sub(l->data, 0, write_room(y, s));
    if (taken.data.len)
        queue_lend(y, s, &taken);
    if (taken.data.len < l->data.len)
        stream_block(y, s);
    stream_update(y, s);
    return (int)taken.data.len;
}

int yamux_write_over(struct yamux *y, uint32_t stream, struct span data)
{
    struct stream *s = stream_find(y, stream);
    if (!s)
        return ERR_NOT_FOUND;
    if (s->fin_wanted || y->err)
        return ERR_CLOSED;
    queue_add(y, s, data);
    stream_update(y, s);
    return 0;
}

size_t yamux_write_room(const struct yamux *y, uint32_t stream)
{
    const struct stream *s = stream_find(y, stream);
    return s && !s->fin_wanted && !y->err ? room_of(y, s, fair_total(y)) : 0;
}

void yamux_want_room(struct yamux *y, uint32_t stream)
{
    struct stream *s = stream_find(y, stream);
    if (s && !s->fin_wanted && !y->err)
        stream_block(y, s);
}

size_t yamux_unsent(const struct yamux *y, uint32_t stream)
{
    const struct stream *s = stream_find(y, stream);
    return s ? s->queued : 0;
}

/* Doubles the window if it was used up faster than the round trip allows for. */
static void window_grow(struct yamux *y, struct stream *s)
{
    mono_ns rtt = y->rtt > YAMUX_RTT_MIN ? y->rtt : YAMUX_RTT_MIN;
    size_t more = s->window;
    if (y->rtt == 0 || y->now - s->granted >= YAMUX_RTT_ROUNDS * rtt)
        return;
    if (more > y->cfg.window_max - s->window || more > y->cfg.window_total - y->grown)
        return;
    if (y->cfg.budget && (budget_class_tight(y->cfg.budget, BUDGET_NET) || !budget_take(y->cfg.budget, BUDGET_NET, more)))
        return;
    s->window += (uint32_t)more;
    s->grown += more;
    y->grown += more;
}

int yamux_consume(struct yamux *y, uint32_t stream, size_t n)
{
    struct stream *s = stream_find(y, stream);
    if (!s)
        return ERR_NOT_FOUND;
    assert(n <= s->delivered);
    s->delivered -= n;
    s->unconsumed -= n;
    y->unconsumed -= n;
    if (s->fin_received || s->in_control || s->window - s->credit - s->unconsumed < s->window / 2)
        return 0;
    window_grow(y, s);
    s->granted = y->now;
    stream_want_control(y, s);
    return 0;
}

int yamux_close_write(struct yamux *y, uint32_t stream)
{
    struct stream *s = stream_find(y, stream);
    if (!s)
        return ERR_NOT_FOUND;
    s->fin_wanted = true;
    if (s->in_blocked) {
        s->in_blocked = false;
        TAILQ_REMOVE(&y->blocked, s, blocked);
    }
    s->writable_due = false;
    stream_update(y, s);
    return 0;
}

int yamux_reset(struct yamux *y, uint32_t stream)
{
    struct stream *s = stream_find(y, stream);
    if (!s)
        return ERR_NOT_FOUND;
    if (!s->syn_due && !stream_finished(s)) /* else the peer has never heard of it, or has forgotten it */
        stream_refuse(y, stream);
    stream_free(y, s);
    return 0;
}

int yamux_refuse(struct yamux *y, uint32_t stream)
{
    if (++y->vain > YAMUX_VAIN_MAX)
        return yamux_fail(y, ERR_LIMIT, YAMUX_GOAWAY_PROTOCOL); /* told by yamux_next */
    return yamux_reset(y, stream);
}

int yamux_set_user(struct yamux *y, uint32_t stream, void *user)
{
    struct stream *s = stream_find(y, stream);
    if (!s)
        return ERR_NOT_FOUND;
    s->user = user;
    return 0;
}

void *yamux_user(const struct yamux *y, uint32_t stream)
{
    const struct stream *s = stream_find(y, stream);
    return s ? s->user : NULL;
}

bool yamux_any(const struct yamux *y, uint32_t *ret_stream, void **ret_user)
{
    for (unsigned i = 0; i < YAMUX_BUCKETS; i++)
        if (y->buckets[i]) {
            *ret_stream = y->buckets[i]->id;
            *ret_user = y->buckets[i]->user;
            return true;
        }
    return false;
}
