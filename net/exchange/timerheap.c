/* SPDX-License-Identifier: MIT */
#include "net/exchange/timerheap.h"

#include "store/base/span.h"

#include <stdlib.h>

void timerheap_done(struct timerheap *h)
{
    free(h->heap);
    *h = (struct timerheap){0};
}

static void put(struct timerheap *h, size_t slot, struct timer *t)
{
    h->heap[slot] = t;
    t->slot = (uint32_t)slot;
}

static void sift_up(struct timerheap *h, size_t slot, struct timer *t)
{
    for (; slot > 1 && h->heap[slot / 2]->at > t->at; slot /= 2)
        put(h, slot, h->heap[slot / 2]);
    put(h, slot, t);
}

static void sift_down(struct timerheap *h, size_t slot, struct timer *t)
{
    for (;;) {
        size_t child = slot * 2;
        if (child > h->count)
            break;
        if (child < h->count && h->heap[child + 1]->at < h->heap[child]->at)
            child++;
        if (h->heap[child]->at >= t->at)
            break;
        put(h, slot, h->heap[child]);
        slot = child;
    }
    put(h, slot, t);
}

static void settle(struct timerheap *h, size_t slot, struct timer *t)
{
    if (slot > 1 && h->heap[slot / 2]->at > t->at)
        sift_up(h, slot, t);
    else
        sift_down(h, slot, t);
}

void timer_clear(struct timerheap *h, struct timer *t)
{
    size_t slot = t->slot;
    if (!slot)
        return;
    t->slot = 0;
    struct timer *last = h->heap[h->count--];
    if (last != t)
        settle(h, slot, last);
}

void timer_set(struct timerheap *h, struct timer *t, mono_ns at)
{
    if (at == MONO_NEVER) {
        timer_clear(h, t);
        return;
    }
    t->at = at;
    if (t->slot) {
        settle(h, t->slot, t);
        return;
    }
    if (h->count + 2 > h->cap) {
        h->cap = h->cap ? h->cap * 2 : 64;
        h->heap = mem_grow(h->heap, h->cap, sizeof(struct timer *));
    }
    sift_up(h, ++h->count, t);
}

mono_ns timerheap_first(const struct timerheap *h)
{
    return h->count ? h->heap[1]->at : MONO_NEVER;
}

struct timer *timerheap_due(struct timerheap *h, mono_ns now)
{
    if (!h->count || h->heap[1]->at > now)
        return NULL;
    struct timer *t = h->heap[1];
    timer_clear(h, t);
    return t;
}
