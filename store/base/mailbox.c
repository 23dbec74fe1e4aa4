/* SPDX-License-Identifier: MIT */
#include "store/base/mailbox.h"

#include "store/base/err.h"
#include "store/base/span.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct mailbox {
    pthread_mutex_t lock;
    struct mail *first, **last;
    size_t count, limit;
    bool awake; /* the descriptor is readable */
    int fd;
    void *owner;
};

struct mailbox *mailbox_new(size_t limit, void *owner)
{
    struct mailbox *mb = MEM_NEW(struct mailbox);
    pthread_mutex_init(&mb->lock, NULL);
    mb->last = &mb->first;
    mb->limit = limit;
    mb->owner = owner;
    mb->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mb->fd < 0)
        abort(); /* made at start, when descriptors cannot have run out */
    return mb;
}

struct mailbox *mailbox_free(struct mailbox *mb)
{
    if (!mb)
        return NULL;
    mb->owner = NULL;
    while (mailbox_run(mb, 64))
        ;
    close(mb->fd);
    pthread_mutex_destroy(&mb->lock);
    free(mb);
    return NULL;
}

/* These three with the lock held */

static void wake(struct mailbox *mb)
{
    if (mb->awake) /* the owner empties the queue before it sleeps: one wake-up is enough */
        return;
    uint64_t one = 1;
    ssize_t wrote = write(mb->fd, &one, sizeof one);
    (void)wrote; /* a full counter is readable already */
    mb->awake = true;
}

static void sleep_again(struct mailbox *mb)
{
    uint64_t counter;
    if (!mb->awake)
        return;
    ssize_t got = read(mb->fd, &counter, sizeof counter);
    (void)got; /* it was written: cannot fail */
    mb->awake = false;
}

static void append(struct mailbox *mb, struct mail *first, struct mail *last, size_t count)
{
    last->next = NULL;
    *mb->last = first;
    mb->last = &last->next;
    mb->count += count;
}

int mailbox_post(struct mailbox *mb, struct mail *take_m)
{
    pthread_mutex_lock(&mb->lock);
    bool room = mb->count < mb->limit;
    if (room) {
        append(mb, take_m, take_m, 1);
        wake(mb);
    }
    pthread_mutex_unlock(&mb->lock);
    return room ? 0 : ERR_AGAIN;
}

void mailbox_reply(struct mailbox *mb, struct mail *take_m)
{
    pthread_mutex_lock(&mb->lock);
    append(mb, take_m, take_m, 1);
    wake(mb);
    pthread_mutex_unlock(&mb->lock);
}

void mailbox_leave(struct mailbox *mb, struct mail *take_m)
{
    pthread_mutex_lock(&mb->lock);
    append(mb, take_m, take_m, 1);
    pthread_mutex_unlock(&mb->lock);
}

void mailbox_wake(struct mailbox *mb)
{
    pthread_mutex_lock(&mb->lock);
    wake(mb);
    pthread_mutex_unlock(&mb->lock);
}

void mail_chain_add(struct mail_chain *c, struct mailbox *mb, struct mail *take_m)
{
    if (mb != c->mb)
        mail_chain_send(c);
    c->mb = mb;
    if (c->count++ == 0)
        c->first = take_m;
    else
        c->last->next = take_m;
    c->last = take_m;
}

void mail_chain_send(struct mail_chain *c)
{
    if (c->count == 0)
        return;
    pthread_mutex_lock(&c->mb->lock);
    append(c->mb, c->first, c->last, c->count);
    wake(c->mb);
    pthread_mutex_unlock(&c->mb->lock);
    c->count = 0;
}

int mailbox_fd(const struct mailbox *mb)
{
    return mb->fd;
}

struct mail *mailbox_take(struct mailbox *mb)
{
    pthread_mutex_lock(&mb->lock);
    struct mail *m = mb->first;
    if (m) {
        mb->first = m->next;
        mb->count--;
    }
    if (!mb->first) {
        mb->last = &mb->first;
        sleep_again(mb);
    }
    pthread_mutex_unlock(&mb->lock);
    return m;
}

struct mail *mailbox_take_all(struct mailbox *mb)
{
    pthread_mutex_lock(&mb->lock);
    struct mail *all = mb->first;
    mb->first = NULL;
    mb->last = &mb->first;
    mb->count = 0;
    sleep_again(mb);
    pthread_mutex_unlock(&mb->lock);
    return all;
}

size_t mailbox_run(struct mailbox *mb, size_t most)
{
    size_t n = 0;
    struct mail *m;
    while (n < most && (m = mailbox_take(mb))) {
        m->run(m, mb->owner);
        n++;
    }
    return n;
}

bool mailbox_wait(struct mailbox *mb, mono_ns deadline)
{
    for (;;) {
        mono_ns now = mono_now();
        int timeout_ms = -1;
        if (deadline != MONO_NEVER) {
            mono_ns left = deadline > now ? deadline - now : 0;
            mono_ns ms = (left + MONO_MS - 1) / MONO_MS;
            timeout_ms = ms > 1000000 ? 1000000 : (int)ms;
        }
        struct pollfd p = {.fd = mb->fd, .events = POLLIN};
        if (poll(&p, 1, timeout_ms) > 0)
            return true;
        if (deadline != MONO_NEVER && mono_now() >= deadline)
            return false;
    }
}
