/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/ctl_bodies.h"

#include "store/base/span.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_EVERY (20 * MONO_MS) /* while somebody waits: bytes come back from many places */
#define LOOK_CALM  MONO_S         /* else: for those that have gone */
#define SILENCE    (10 * MONO_S)
#define ASKS_SOON  MONO_S /* who is beyond */

#define BUDGET_PART 8

/* A connection; with `charged`, a request under way on it. Those whose request began first are first. */
struct body {
    TAILQ_ENTRY(body) link;
    struct ctl_bodies *all;
    struct bufferevent *bev; /* a reference */
    size_t charged;
    mono_ns made_at, came_at; /* the connection; its last bytes */
    bool paused;
    bool beyond; /* it came when there were too many */
};
TAILQ_HEAD(body_list, body);

struct ctl_bodies {
    struct budget *budget;
    size_t most;
    struct body_list list;
    unsigned count, paused;
    struct event *look;
    struct evconnlistener *listener;
    int spares[CTL_SPARES]; /* -1: given to who came when there was none */
};

static unsigned connections_max(const struct ctl_bodies *b)
{
    uint64_t n = budget_limit(b->budget) / BUDGET_PART / CTL_BODY_FREE;
    return n < CTL_CONNECTIONS_MAX ? (unsigned)n : CTL_CONNECTIONS_MAX;
}

static void look_at(struct ctl_bodies *b)
{
    mono_ns after = b->paused ? LOOK_EVERY : LOOK_CALM;
    struct timeval tv = {(time_t)(after / MONO_S), (suseconds_t)(after % MONO_S / 1000)};
    if (!TAILQ_EMPTY(&b->list))
        event_add(b->look, &tv);
}

static struct body *eldest(const struct ctl_bodies *b)
{
    struct body *body = TAILQ_FIRST(&b->list);
    while (body && !body->charged)
        body = TAILQ_NEXT(body, link);
    return body;
}

static void whole(struct body *body)
{
    budget_give(body->all->budget, BUDGET_READ, body->charged);
    body->charged = 0;
    body->all->paused -= body->paused;
    body->paused = false;
}

static void take_spares(struct ctl_bodies *b)
{
    for (unsigned i = 0; i < CTL_SPARES; i++)
        if (b->spares[i] < 0)
            b->spares[i] = eventfd(0, EFD_CLOEXEC);
}

static bool give_spare(struct ctl_bodies *b)
{
    for (unsigned i = 0; i < CTL_SPARES; i++) {
        if (b->spares[i] < 0)
            continue;
        close(b->spares[i]);
        b->spares[i] = -1;
        return true;
    }
    return false;
}

static void listen_again(struct ctl_bodies *b)
{
    if (b->listener && b->count < connections_max(b) + CTL_BEYOND_MAX)
        (void)evconnlistener_enable(b->listener);
}

void ctl_bodies_tick(struct ctl_bodies *b)
{
    take_spares(b);
    listen_again(b);
}

static void drop(struct body *body)
{
    struct ctl_bodies *b = body->all;
    whole(body);
    TAILQ_REMOVE(&b->list, body, link);
    b->count--;
    listen_again(b);
    bufferevent_decref(body->bev);
    free(body);
}

static bool gone(const struct body *body)
{
    bufferevent_event_cb told = NULL;
    bufferevent_getcb(body->bev, NULL, NULL, &told, NULL);
    return !told;
}

static void drop_gone(struct ctl_bodies *b)
{
    for (struct body *body = TAILQ_FIRST(&b->list), *next; body; body = next) {
        next = TAILQ_NEXT(body, link);
        if (gone(body))
            drop(body);
    }
}

/* evhttp hears the end. */
static void cut(struct body *body)
{
    (void)shutdown(bufferevent_getfd(body->bev), SHUT_RDWR);
}

/* ---- bytes ---- */

/* They are here already: what is bounded is how it goes on. */
static void charge(struct ctl_bodies *b, struct body *body, size_t n)
{
    if (body->charged == 0) {
        TAILQ_REMOVE(&b->list, body, link);
        TAILQ_INSERT_TAIL(&b->list, body, link);
    }
    size_t room = b->most - body->charged;
    n = n < room ? n : room; /* evhttp throws away what is beyond */
    body->charged += n;
    if (budget_take(b->budget, BUDGET_READ, n))
        return;
    budget_take_always(b->budget, BUDGET_READ, n);
    if (body->charged <= CTL_BODY_FREE || body->paused || body == eldest(b))
        return;
    body->paused = true;
    b->paused++;
    bufferevent_disable(body->bev, EV_READ);
    look_at(b);
}

static void on_bytes(struct evbuffer *in, const struct evbuffer_cb_info *info, void *arg)
{
    struct body *body = arg;
    (void)in;
    if (info->n_added == 0)
        return;
    body->came_at = mono_now();
    charge(body->all, body, info->n_added);
}

static struct bufferevent *make(struct event_base *base, void *arg)
{
    struct ctl_bodies *b = arg;
    /* It listens until it is freed, which our reference puts off: the descriptor must not be another's by then */
    struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!bev)
        return NULL;
    struct body *body = MEM_NEW(struct body);
    body->all = b;
    body->bev = bev;
    bufferevent_incref(bev);
    evbuffer_add_cb(bufferevent_get_input(bev), on_bytes, body);
    body->made_at = mono_now();
    if (b->count >= connections_max(b))
        drop_gone(b);
    TAILQ_INSERT_TAIL(&b->list, body, link);
    body->beyond = ++b->count > connections_max(b);
    if (b->count >= connections_max(b) + CTL_BEYOND_MAX)
        (void)evconnlistener_disable(b->listener);
    if (!event_pending(b->look, EV_TIMEOUT, NULL))
        look_at(b);
    return bev;
}

/* ---- going on ---- */

static void go_on(struct ctl_bodies *b, mono_ns now)
{
    struct body *first = eldest(b);
    if (first && !first->paused && now - first->came_at > SILENCE)
        cut(first);
    for (struct body *body = first; body; body = TAILQ_NEXT(body, link)) {
        if (!body->paused || (body != first && budget_class_tight(b->budget, BUDGET_READ)))
            continue;
        body->paused = false;
        b->paused--;
        body->came_at = now;
        bufferevent_enable(body->bev, EV_READ);
    }
}

static void look(evutil_socket_t fd, short what, void *arg)
{
    struct ctl_bodies *b = arg;
    (void)fd;
    (void)what;
    mono_ns now = mono_now();
    drop_gone(b);
    for (struct body *body = TAILQ_FIRST(&b->list); body; body = TAILQ_NEXT(body, link)) {
        body->beyond = body->beyond && b->count > connections_max(b);
        if (body->beyond && now - body->made_at > ASKS_SOON)
            cut(body);
    }
    if (b->paused)
        go_on(b, now);
    look_at(b);
}

unsigned ctl_bodies_whole(struct ctl_bodies *b, struct bufferevent *bev)
{
    struct body *body = TAILQ_FIRST(&b->list);
    while (body && body->bev != bev)
        body = TAILQ_NEXT(body, link);
    if (body)
        whole(body);
    if (b->paused)
        event_active(b->look, EV_TIMEOUT, 0);
    return body && body->beyond && b->count > connections_max(b) ? b->count : 0;
}

void ctl_bodies_closed(struct ctl_bodies *b)
{
    event_active(b->look, EV_TIMEOUT, 0);
}

/* ---- life ---- */

struct ctl_bodies *ctl_bodies_new(struct event_base *base, struct evhttp *http, struct budget *budget, size_t most)
{
    struct ctl_bodies *b = MEM_NEW(struct ctl_bodies);
    b->budget = budget;
    b->most = most;
    memset(b->spares, -1, sizeof b->spares);
    take_spares(b);
    TAILQ_INIT(&b->list);
    b->look = event_new(base, -1, 0, look, b);
    evhttp_set_bevcb(http, make, b);
    return b;
}

/* libevent gives the callback the argument of evhttp; a process has one control socket. */
static struct ctl_bodies *listens;

/* Out of descriptors, mostly: who waits gets one of the spares; with none left it is looked at again with the next tick, not at
 * once and for ever. */
static void on_fault(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    if (!give_spare(listens))
        (void)evconnlistener_disable(listener);
}

void ctl_bodies_listen(struct ctl_bodies *b, struct evconnlistener *listener)
{
    b->listener = listener;
    listens = b;
    evconnlistener_set_error_cb(listener, on_fault);
}

struct ctl_bodies *ctl_bodies_free(struct ctl_bodies *b)
{
    b->listener = NULL; /* it went with evhttp */
    while (!TAILQ_EMPTY(&b->list))
        drop(TAILQ_FIRST(&b->list));
    while (give_spare(b))
        ;
    event_free(b->look);
    free(b);
    return NULL;
}
