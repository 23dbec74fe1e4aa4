/* SPDX-License-Identifier: MIT
 *
 * Deadlines of many objects: a binary heap of timers that are embedded in them. Setting, moving and clearing cost O(log n).
 * Timers with equal times come in an order that depends only on the calls made, so simulations replay.
 */
#ifndef NET_EXCHANGE_TIMERHEAP_H
#define NET_EXCHANGE_TIMERHEAP_H

#include "store/base/mono.h"

#include <stddef.h>

struct timer {
    mono_ns at;
    uint32_t slot; /* place in the heap, from 1; 0: not set */
    uint8_t kind;  /* the owner's: tells what it is embedded in */
};

struct timerheap {
    struct timer **heap; /* heap[0] is unused */
    size_t count, cap;
};

void timerheap_done(struct timerheap *h);                         /* frees the heap, not the timers */
void timer_set(struct timerheap *h, struct timer *t, mono_ns at); /* MONO_NEVER clears */
void timer_clear(struct timerheap *h, struct timer *t);
mono_ns timerheap_first(const struct timerheap *h); /* MONO_NEVER: none */
/* The earliest timer if it is due, cleared; else NULL. */
struct timer *timerheap_due(struct timerheap *h, mono_ns now);

#endif
