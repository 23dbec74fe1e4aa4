/* SPDX-License-Identifier: MIT */
#include "store/base/thread.h"

#include <signal.h>

int thread_start(pthread_t *ret, const char *name, void *(*main)(void *arg), void *arg)
{
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);                /* a thread's own doing (mapfault.h): it would end us unheard */
    pthread_sigmask(SIG_BLOCK, &all, &old); /* inherited */
    int err = pthread_create(ret, NULL, main, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err != 0)
        return ERR_LIMIT;
    (void)pthread_setname_np(*ret, name); /* only for people who look: too long a name fails */
    return 0;
}
