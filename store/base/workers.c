/* SPDX-License-Identifier: MIT */
#include "store/base/workers.h"

#include "store/base/span.h"
#include "store/base/thread.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define WORKERS_MAX 64

struct queue {
    struct mail *first, **last;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue fast, slow;
    unsigned slow_running, slow_most;
    bool stop;
    unsigned count;
    pthread_t threads[WORKERS_MAX];
};

static void queue_add(struct queue *q, struct job *j)
{
    j->mail.next = NULL;
    *q->last = &j->mail;
    q->last = &j->mail.next;
}

static struct job *queue_take(struct queue *q)
{
    struct mail *m = q->first;
    if (!m)
        return NULL;
    q->first = m->next;
    if (!q->first)
        q->last = &q->first;
    return (struct job *)m;
}

/* Called with the lock held */
static struct job *next_job(struct workers *w, bool *ret_slow)
{
    struct job *j = queue_take(&w->fast);
    *ret_slow = false;
    if (!j && w->slow_running < w->slow_most && (j = queue_take(&w->slow)))
        *ret_slow = true;
    return j;
}

static void *worker_main(void *arg)
{
    struct workers *w = arg;
    (void)pthread_setname_np(pthread_self(), "p2p-worker"); /* for people who look */
    pthread_mutex_lock(&w->lock);
    for (;;) {
        bool slow;
        struct job *j = next_job(w, &slow);
        if (!j) {
            if (w->stop && !w->fast.first && !w->slow.first)
                break;
            pthread_cond_wait(&w->wake, &w->lock);
            continue;
        }
        w->slow_running += slow;
        pthread_mutex_unlock(&w->lock);
        struct mailbox *reply = j->reply;
        j->work(j);
        mailbox_reply(reply, &j->mail);
        pthread_mutex_lock(&w->lock);
        if (slow) {
            w->slow_running--;
            pthread_cond_signal(&w->wake);
        }
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

struct workers *workers_new(unsigned count)
{
    assert(count >= 1 && count <= WORKERS_MAX);
    struct workers *w = MEM_NEW(struct workers);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->fast.last = &w->fast.first;
    w->slow.last = &w->slow.first;
    w->slow_most = count / 2 ? count / 2 : 1;
    while (w->count < count && thread_start(&w->threads[w->count], "p2p-worker", worker_main, w) == 0)
        w->count++;
    return w->count == count ? w : workers_free(w);
}

struct workers *workers_free(struct workers *w)
{
    if (!w)
        return NULL;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->count; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

static void submit(struct workers *w, struct queue *q, struct job *j)
{
    pthread_mutex_lock(&w->lock);
    queue_add(q, j);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void workers_submit(struct workers *w, struct job *take_j)
{
    submit(w, &w->fast, take_j);
}

void workers_submit_slow(struct workers *w, struct job *take_j)
{
    submit(w, &w->slow, take_j);
}
