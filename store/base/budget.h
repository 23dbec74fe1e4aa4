/* SPDX-License-Identifier: MIT
 *
 * The memory budget: one number of bytes that everything which grows with load is charged to, before it is allocated.
 *
 * The number is a promise for all of the process's private memory. What is not charged (the program's own, LMDB's pages, what
 * malloc keeps, small objects) is seen by a gauge: private memory less charges, the most that it was lately, and a
 * reserve for what comes between two looks, are taken from what is granted. So whatever it is that grows, others get less.
 *
 * It is split into classes so that one kind of load cannot starve another: each class has a share of its own (guaranteed)
 * and may borrow from the common rest. Charging never blocks: it says yes or "not now", and "not now" is back-pressure
 * (stop reading from the peer, park the write), never an error shown to a user. Counters are atomic; any thread may call.
 *
 * Who was told "not now" asks again when its eventfd (budget_watch) becomes readable, which the next give-back causes.
 */
#ifndef STORE_BASE_BUDGET_H
#define STORE_BASE_BUDGET_H

#include "store/base/mono.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum budget_class {
    BUDGET_WRITE, /* dirty chunks of files that are being written */
    BUDGET_READ,  /* what comes by the control socket, blocks on their way to readers */
    BUDGET_NET,   /* connection buffers, blocks that arrive from or leave for peers */
    BUDGET_STORE, /* the open write transaction, queues to the committer */
    BUDGET_TABLE, /* tables: peers, wants, listings, handles */
    BUDGET_CLASSES
};

struct budget;

/* `limit_bytes` ≥ BUDGET_MIN. Shares are fixed fractions of what is granted (see budget.c), which is never less than half of
 * the limit, nor than BUDGET_LEAST: each class but that of tables can always move a block of 1 MiB, and what some hold for
 * long (streams that nobody reads, tables) does not stop the rest. */
#define BUDGET_MIN     (UINT64_C(16) << 20)
#define BUDGET_LEAST   (UINT64_C(9) << 20)
#define BUDGET_DEFAULT (UINT64_C(128) << 20)
struct budget *budget_new(uint64_t limit_bytes);
struct budget *budget_free(struct budget *b); /* NULL accepted; everything must have been given back */

/* Private memory of the process in bytes, 0: unknown; called by whoever charges, every few charges. Before threads start. */
void budget_set_gauge(struct budget *b, uint64_t (*private_bytes)(void));
/* Looks at the gauge now. Also on a tick, so that what is not needed any more is granted again, and those who wait hear it. */
void budget_look(struct budget *b, mono_ns now);

bool budget_take(struct budget *b, enum budget_class c, size_t bytes);        /* true: charged */
void budget_take_always(struct budget *b, enum budget_class c, size_t bytes); /* for what is bounded elsewhere */
void budget_give(struct budget *b, enum budget_class c, size_t bytes);

void budget_set_limit(struct budget *b, uint64_t limit_bytes); /* a lower limit takes effect as bytes come back */
uint64_t budget_limit(const struct budget *b);
uint64_t budget_room(const struct budget *b);   /* what is granted now, to all classes together */
uint64_t budget_beside(const struct budget *b); /* what was seen lately that nobody charged */
uint64_t budget_used(const struct budget *b);
uint64_t budget_peak(const struct budget *b);
uint64_t budget_class_used(const struct budget *b, enum budget_class c);
uint64_t budget_share(const struct budget *b, enum budget_class c); /* guaranteed bytes */
const char *budget_class_name(enum budget_class c);
/* A quarter or less of what is granted is free: be frugal (drop caches, shrink windows). */
bool budget_tight(const struct budget *b);
/* The same of what this class can have now: others keep their shares. */
bool budget_class_tight(const struct budget *b, enum budget_class c);

/* Registers an eventfd (not owned, ≤ BUDGET_WATCH_MAX of them, before threads start) that is written when bytes are
 * given back after somebody was refused. */
#define BUDGET_WATCH_MAX 8
void budget_watch(struct budget *b, int eventfd);
void budget_unwatch(struct budget *b, int eventfd); /* before it is closed; the class's users must be quiet */

#endif
