/* SPDX-License-Identifier: MIT
 *
 * Deadlines of many objects: a skew heap of timers that are embedded in them. Setting, moving and clearing cost O(log n),
 * spread over many calls, and need no memory, so none can fail: a table beside the timers would have to grow when a peer is
 * served or let go. Timers with equal times come in an order that depends only on the calls made, so simulations replay.
 */
#ifndef NET_EXCHANGE_TIMERHEAP_H
#define NET_EXCHANGE_TIMERHEAP_H

#include "store/base/mono.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
    mono_ns at;                 /* not before that of the one above */
    struct timer *left, *right; /* a merge goes down the right ones and changes sides, which keeps them few */
    struct timer **link;        /* what points here; NULL: not set */
    uint8_t kind;               /* the owner's: tells what it is embedded in */
};

/* All zero is empty. It stays where it is, and so do timers that are set. */
struct timerheap {
    struct timer *first;
};

static inline bool timer_is_set(const struct timer *t)
{
    return t->link;
}

void timer_set(struct timerheap *h, struct timer *t, mono_ns at); /* MONO_NEVER clears */
void timer_clear(struct timerheap *h, struct timer *t);
mono_ns timerheap_first(const struct timerheap *h); /* MONO_NEVER: none */
/* The earliest timer if it is due, cleared; else NULL. */
struct timer *timerheap_due(struct timerheap *h, mono_ns now);

#endif
