/* SPDX-License-Identifier: MIT
 *
 * Starting a thread, which fails when the user or a container may have no more of them (pids.max, RLIMIT_NPROC).
 */
#ifndef STORE_BASE_THREAD_H
#define STORE_BASE_THREAD_H

#include "store/base/err.h"

#include <pthread.h>

/* A thread with a name (≤ 15 characters) that takes no signals but SIGBUS: those are for the main thread. 0 or ERR_LIMIT. */
int thread_start(pthread_t *ret, const char *name, void *(*main)(void *arg), void *arg);

#endif
