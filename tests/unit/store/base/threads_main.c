/* SPDX-License-Identifier: MIT
 *
 * Mailboxes, workers and the budget under several threads: run it under ThreadSanitizer. */
#include "store/base/budget.h"
#include "store/base/err.h"
#include "store/base/span.h"
#include "store/base/workers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define SENDERS 4
#define EACH    20000

#define CHECK(cond)                                                                                                            \
    do {                                                                                                                       \
        if (!(cond)) {                                                                                                         \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                                               \
            exit(1);                                                                                                           \
        }                                                                                                                      \
    } while (0)

struct note {
    struct mail mail;
    unsigned sender, number;
};

struct inbox {
    unsigned next[SENDERS]; /* each sender's messages arrive in its order */
    unsigned total;
};

static void note_run(struct mail *take_m, void *owner)
{
    struct note *n = (struct note *)take_m;
    struct inbox *in = owner;
    if (in) {
        CHECK(in->next[n->sender] == n->number);
        in->next[n->sender]++;
        in->total++;
    }
    free(n);
}

static struct mailbox *box;

static void *send_many(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < EACH; i++) {
        struct note *n = MEM_NEW(struct note);
        *n = (struct note){.mail.run = note_run, .sender = me, .number = i};
        while (mailbox_post(box, &n->mail) == ERR_AGAIN)
            sched_yield();
    }
    return NULL;
}

static void test_mailbox(void)
{
    struct inbox in = {0};
    box = mailbox_new(100, &in);
    pthread_t threads[SENDERS];
    for (uintptr_t i = 0; i < SENDERS; i++)
        CHECK(pthread_create(&threads[i], NULL, send_many, (void *)i) == 0);
    while (in.total < SENDERS * EACH) {
        CHECK(mailbox_wait(box, mono_after(mono_now(), 60 * MONO_S)));
        mailbox_run(box, 7);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    CHECK(!mailbox_wait(box, mono_now()));
    for (int i = 0; i < 100; i++) { /* what is left over frees itself */
        struct note *n = MEM_NEW(struct note);
        n->mail.run = note_run;
        CHECK(mailbox_post(box, &n->mail) == 0);
    }
    struct note *over = MEM_NEW(struct note);
    over->mail.run = note_run;
    CHECK(mailbox_post(box, &over->mail) == ERR_AGAIN);
    mailbox_reply(box, &over->mail);
    mailbox_free(box);
}

static struct note *note_new(unsigned number)
{
    struct note *n = MEM_NEW(struct note);
    *n = (struct note){.mail.run = note_run, .number = number};
    return n;
}

/* Left mail wakes nobody and is found in its place; a chain wakes once and keeps the order, each mailbox its own. */
static void test_quiet_mail(void)
{
    struct inbox in[2] = {0};
    struct mailbox *mb[2] = {mailbox_new(1, &in[0]), mailbox_new(1, &in[1])};
    mailbox_leave(mb[0], &note_new(0)->mail);
    CHECK(!mailbox_wait(mb[0], mono_now()));
    mailbox_wake(mb[0]);
    mailbox_wake(mb[0]);
    CHECK(mailbox_wait(mb[0], mono_now()));
    mailbox_leave(mb[0], &note_new(1)->mail);
    CHECK(mailbox_run(mb[0], 10) == 2 && in[0].next[0] == 2);
    CHECK(!mailbox_wait(mb[0], mono_now()));
    static const unsigned chained[] = {2, 3, 0, 1, 4, 5}; /* two for the first, two for the second, two for the first */
    struct mail_chain c = {.count = 0};
    mail_chain_send(&c);
    for (unsigned i = 0; i < 6; i++)
        mail_chain_add(&c, mb[i % 4 / 2], &note_new(chained[i])->mail);
    mail_chain_send(&c);
    CHECK(mailbox_wait(mb[0], mono_now()) && mailbox_wait(mb[1], mono_now()));
    for (struct mail *m = mailbox_take_all(mb[1]), *next; m; m = next) {
        next = m->next;
        m->run(m, &in[1]);
    }
    CHECK(in[1].next[0] == 2 && mailbox_take(mb[1]) == NULL && !mailbox_wait(mb[1], mono_now()));
    CHECK(mailbox_run(mb[0], 10) == 4 && in[0].next[0] == 6);
    CHECK(!mailbox_wait(mb[0], mono_now()));
    mailbox_wake(mb[0]); /* for nothing: forgotten by the next look */
    CHECK(mailbox_take(mb[0]) == NULL && !mailbox_wait(mb[0], mono_now()));
    for (int i = 0; i < 2; i++)
        mailbox_free(mb[i]);
}

struct square {
    struct job job;
    uint64_t in, out;
};

static uint64_t sum;
static unsigned answers;

static void square_work(struct job *j)
{
    struct square *s = (struct square *)j;
    s->out = s->in * s->in;
}

static void square_done(struct mail *take_m, void *owner)
{
    struct square *s = (struct square *)take_m;
    CHECK(owner != NULL && s->out == s->in * s->in);
    sum += s->out;
    answers++;
    free(s);
}

static void test_workers(void)
{
    int owner;
    struct mailbox *mb = mailbox_new(1, &owner);
    struct workers *w = workers_new(3);
    uint64_t want = 0;
    for (uint64_t i = 0; i < 5000; i++) {
        struct square *s = MEM_NEW(struct square);
        *s = (struct square){.job = {.mail.run = square_done, .work = square_work, .reply = mb}, .in = i};
        want += i * i;
        if (i % 5)
            workers_submit(w, &s->job);
        else
            workers_submit_slow(w, &s->job);
    }
    workers_free(w); /* finishes what was queued */
    while (mailbox_run(mb, 100))
        ;
    CHECK(answers == 5000 && sum == want);
    mailbox_free(mb);
}

static void *use_budget(void *arg)
{
    struct budget *b = arg;
    for (int i = 0; i < 50000; i++) {
        size_t n = (size_t)(i % 1000) * 1000;
        if (budget_take(b, BUDGET_READ, n))
            budget_give(b, BUDGET_READ, n);
    }
    return NULL;
}

static void test_budget(void)
{
    struct budget *b = budget_new(BUDGET_MIN);
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++)
        CHECK(pthread_create(&threads[i], NULL, use_budget, b) == 0);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    CHECK(budget_used(b) == 0);
    budget_free(b);
}

int main(void)
{
    test_mailbox();
    test_quiet_mail();
    test_workers();
    test_budget();
    printf("ok\n");
    return 0;
}
