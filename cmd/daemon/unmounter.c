/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/unmounter.h"

#include "store/base/thread.h"

#include <semaphore.h>
#include <stdlib.h>

struct unmounter {
    pthread_t thread;
    sem_t go;
    struct mount *mount; /* this and the next two: set before `go` */
    struct mailbox *reply;
    bool *done;
    struct mail mail;
};

static void tell_done(struct mail *mail, void *owner)
{
    struct unmounter *u = (struct unmounter *)((char *)mail - offsetof(struct unmounter, mail));
    (void)owner;
    *u->done = true;
}

static void *unmounter_main(void *arg)
{
    struct unmounter *u = arg;
    while (sem_wait(&u->go) != 0)
        ; /* EINTR */
    if (u->mount) {
        mount_stop(u->mount);
        mailbox_reply(u->reply, &u->mail);
    }
    return NULL;
}

int unmounter_new(struct unmounter **ret)
{
    struct unmounter *u = MEM_NEW(struct unmounter);
    u->mail.run = tell_done;
    sem_init(&u->go, 0, 0);
    int r = thread_start(&u->thread, "p2p-unmounter", unmounter_main, u);
    if (r < 0) {
        sem_destroy(&u->go);
        free(u);
        u = NULL;
    }
    *ret = u;
    return r;
}

void unmounter_stop(struct unmounter *u, struct mount *m, struct mailbox *reply, bool *done)
{
    u->mount = m;
    u->reply = reply;
    u->done = done;
    sem_post(&u->go);
}

struct unmounter *unmounter_free(struct unmounter *u)
{
    if (!u)
        return NULL;
    sem_post(&u->go); /* nothing after a stop */
    pthread_join(u->thread, NULL);
    sem_destroy(&u->go);
    free(u);
    return NULL;
}
