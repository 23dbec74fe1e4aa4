/* SPDX-License-Identifier: MIT
 *
 * How threads talk: a bounded queue of messages and an eventfd. Many senders, one receiver (the owner).
 *
 * A message embeds `struct mail` as its first member. `run` is called on the receiving thread with the owner's context and
 * takes the message over (frees it, or sends it back as the answer). Requests are bounded: mailbox_post may say
 * ERR_AGAIN and then the sender still owns the message. Answers always fit, because whoever asked is bounded by its own
 * requests: mailbox_reply cannot fail.
 */
#ifndef STORE_BASE_MAILBOX_H
#define STORE_BASE_MAILBOX_H

#include "store/base/mono.h"

#include <stdbool.h>
#include <stddef.h>

struct mail {
    struct mail *next;
    void (*run)(struct mail *take_m, void *owner);
};

struct mailbox;

/* `limit` bounds what mailbox_post accepts. `owner` is handed to every run(). */
struct mailbox *mailbox_new(size_t limit, void *owner);
/* Messages still queued are run first with owner NULL, so that they can free themselves. NULL accepted. */
struct mailbox *mailbox_free(struct mailbox *mb);

int  mailbox_post(struct mailbox *mb, struct mail *take_m);  /* 0, or ERR_AGAIN: full, not taken */
void mailbox_reply(struct mailbox *mb, struct mail *take_m);
/* Without waking the owner, who finds it when something else does. */
void mailbox_leave(struct mailbox *mb, struct mail *take_m);
void mailbox_wake(struct mailbox *mb);

/* Answers to one mailbox in a row, sent together, so that its owner is woken once. Zero is empty. */
struct mail_chain {
    struct mailbox *mb;
    struct mail *first, *last;
    size_t count;
};
void mail_chain_add(struct mail_chain *c, struct mailbox *mb, struct mail *take_m); /* sends those to another one first */
void mail_chain_send(struct mail_chain *c);

/* ---- the owner only ---- */
int    mailbox_fd(const struct mailbox *mb); /* readable while messages wait (but those left); do not read it */
size_t mailbox_run(struct mailbox *mb, size_t most); /* runs up to `most` messages, oldest first; returns how many */
struct mail *mailbox_take(struct mailbox *mb);       /* the oldest, without running it; NULL when empty */
struct mail *mailbox_take_all(struct mailbox *mb);   /* all, linked by next, oldest first */
bool   mailbox_wait(struct mailbox *mb, mono_ns deadline); /* for threads without a loop; false: deadline passed */

#endif
