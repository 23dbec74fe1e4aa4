/* SPDX-License-Identifier: MIT
 *
 * The event loop of one thread: a thin coat over libevent, which nothing else below cmd/ includes.
 *
 * The owner registers descriptors and one turn(): it is called after each batch of ready descriptors, and when the deadline
 * it gave last has passed, and answers with its next deadline. So a machine is driven once for many inputs, and there is one
 * timer for all of its deadlines. Everything here is called on the loop's thread.
 */
#ifndef NET_IO_LOOP_H
#define NET_IO_LOOP_H

#include "store/base/mailbox.h"
#include "store/base/mono.h"

#include <pthread.h>
#include <stdbool.h>

struct loop;
struct loop_fd;

enum loop_what { LOOP_READ = 1, LOOP_WRITE = 2 };

int loop_new(struct loop **ret);        /* 0 or ERR_IO (no descriptors left) */
struct loop *loop_free(struct loop *l); /* every loop_fd freed before; NULL accepted */

/* turn() answers when it wants to be called at the latest; MONO_NEVER: only after events. */
void loop_set_turn(struct loop *l, mono_ns (*turn)(void *arg), void *arg);
int loop_run(struct loop *l);   /* until loop_stop; 0 or ERR_IO */
void loop_stop(struct loop *l); /* the running batch and its turn are finished first */

/* A descriptor, not owned, nothing watched yet. ready() gets the LOOP_* that are ready; it may free its own loop_fd or any
 * other. */
struct loop_fd *loop_fd_new(struct loop *l, int fd, void (*ready)(void *arg, unsigned what), void *arg);
void loop_fd_watch(struct loop_fd *f, unsigned what); /* the LOOP_* to be told about; level-triggered */
struct loop_fd *loop_fd_free(struct loop_fd *f);      /* NULL accepted; ready() is not called any more */

/* Runs the mailbox's messages as they come, `most` a batch. At most LOOP_MAILBOX_MAX of them, for the life of the loop. */
#define LOOP_MAILBOX_MAX 4
void loop_add_mailbox(struct loop *l, struct mailbox *mb, size_t most);

#endif
