/* SPDX-License-Identifier: MIT
 *
 * Each descriptor has two libevent events (read, write), so that turning writing on and off leaves reading alone. libevent
 * may call an event of a batch after another callback of the same batch deleted it? No: event_del takes it off the active
 * queue. So freeing any loop_fd inside a callback is safe, and ready() is the last thing a callback does.
 *
 * The timer is a descriptor of our own: libevent would set its own anew before each wait, we only when the deadline changes.
 */
#include "net/io/loop.h"

#include "store/base/err.h"
#include "store/base/span.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct loop_mailbox {
    struct mailbox *mb;
    size_t most;
    struct event *ev;
};

struct loop {
    struct event_base *base;
    int timer_fd;
    struct event *timer; /* it fired */
    mono_ns armed;       /* what the timer stands at; MONO_NEVER: off */
    mono_ns (*turn)(void *arg);
    void *turn_arg;
    bool stop;
    struct loop_mailbox boxes[LOOP_MAILBOX_MAX];
    unsigned box_count;
};

struct loop_fd {
    struct event *read, *write;
    unsigned watched;
    void (*ready)(void *arg, unsigned what);
    void *arg;
};

static void timer_fired(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct loop *l = arg;
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got;             /* it was set anew meanwhile: harmless */
    l->armed = MONO_NEVER; /* the turn after this batch does the work */
}

int loop_new(struct loop **ret)
{
    struct event_config *cfg = event_config_new();
    if (!cfg)
        abort();
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    struct event_base *base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    int timer_fd = base ? timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC) : -1;
    if (timer_fd < 0) {
        if (base)
            event_base_free(base);
        return ERR_IO;
    }
    struct loop *l = MEM_NEW(struct loop);
    l->base = base;
    l->armed = MONO_NEVER;
    l->timer_fd = timer_fd;
    l->timer = event_new(base, timer_fd, EV_READ | EV_PERSIST, timer_fired, l);
    if (!l->timer || event_add(l->timer, NULL) != 0)
        abort();
    *ret = l;
    return 0;
}

struct loop *loop_free(struct loop *l)
{
    if (!l)
        return NULL;
    for (unsigned i = 0; i < l->box_count; i++)
        event_free(l->boxes[i].ev);
    event_free(l->timer);
    event_base_free(l->base);
    close(l->timer_fd);
    free(l);
    return NULL;
}

void loop_set_turn(struct loop *l, mono_ns (*turn)(void *arg), void *arg)
{
    l->turn = turn;
    l->turn_arg = arg;
}

static void arm(struct loop *l, mono_ns deadline)
{
    if (deadline == l->armed)
        return;
    struct itimerspec at = {0}; /* off */
    if (deadline != MONO_NEVER)
        at.it_value = (struct timespec){.tv_sec = (time_t)(deadline / MONO_S), .tv_nsec = (long)(deadline % MONO_S)};
    if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) != 0)
        abort(); /* our mistake */
    l->armed = deadline;
}

int loop_run(struct loop *l)
{
    l->stop = false;
    for (;;) {
        mono_ns deadline = l->turn ? l->turn(l->turn_arg) : MONO_NEVER;
        if (l->stop)
            return 0;
        int flags = EVLOOP_ONCE;
        if (deadline > mono_now())
            arm(l, deadline);
        else
            flags |= EVLOOP_NONBLOCK; /* looks once between turns that are due; without ONCE it stays while anything is ready */
        if (event_base_loop(l->base, flags | EVLOOP_NO_EXIT_ON_EMPTY) < 0)
            return ERR_IO;
    }
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}

static void fd_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct loop_fd *f = arg;
    unsigned ready = (what & EV_READ ? LOOP_READ : 0u) | (what & EV_WRITE ? LOOP_WRITE : 0u);
    if (ready & f->watched)
        f->ready(f->arg, ready & f->watched);
}

struct loop_fd *loop_fd_new(struct loop *l, int fd, void (*ready)(void *arg, unsigned what), void *arg)
{
    struct loop_fd *f = MEM_NEW(struct loop_fd);
    f->read = event_new(l->base, fd, EV_READ | EV_PERSIST, fd_ready, f);
    f->write = event_new(l->base, fd, EV_WRITE | EV_PERSIST, fd_ready, f);
    if (!f->read || !f->write)
        abort();
    f->ready = ready;
    f->arg = arg;
    return f;
}

static void set_watched(struct event *ev, bool before, bool after)
{
    if (before == after)
        return;
    int err = after ? event_add(ev, NULL) : event_del(ev);
    if (err != 0)
        abort(); /* the descriptor is not pollable, or there is no memory: our mistake */
}

void loop_fd_watch(struct loop_fd *f, unsigned what)
{
    set_watched(f->read, f->watched & LOOP_READ, what & LOOP_READ);
    set_watched(f->write, f->watched & LOOP_WRITE, what & LOOP_WRITE);
    f->watched = what;
}

struct loop_fd *loop_fd_free(struct loop_fd *f)
{
    if (!f)
        return NULL;
    event_free(f->read); /* deletes it, also from the batch that is running */
    event_free(f->write);
    free(f);
    return NULL;
}

static void mailbox_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop_mailbox *box = arg;
    (void)mailbox_run(box->mb, box->most); /* what is left keeps the descriptor readable */
}

void loop_add_mailbox(struct loop *l, struct mailbox *mb, size_t most)
{
    assert(l->box_count < LOOP_MAILBOX_MAX);
    struct loop_mailbox *box = &l->boxes[l->box_count++];
    box->mb = mb;
    box->most = most;
    box->ev = event_new(l->base, mailbox_fd(mb), EV_READ | EV_PERSIST, mailbox_ready, box);
    if (!box->ev || event_add(box->ev, NULL) != 0)
        abort();
}
