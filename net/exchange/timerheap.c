/* SPDX-License-Identifier: MIT */
#include "net/exchange/timerheap.h"

/* Both hang where `at` is. */
static void merge(struct timer **at, struct timer *a, struct timer *b)
{
    while (a && b) {
        if (b->at < a->at) {
            struct timer *later = a;
            a = b;
            b = later;
        }
        *at = a;
        a->link = at;
        struct timer *rest = a->right;
        a->right = a->left;
        if (a->right)
            a->right->link = &a->right;
        at = &a->left;
        a = rest;
    }
    *at = a ? a : b;
    if (*at)
        (*at)->link = at;
}

void timer_clear(struct timerheap *h, struct timer *t)
{
    (void)h; /* whoever has it knows where it is */
    if (!t->link)
        return;
    merge(t->link, t->left, t->right);
    t->link = NULL;
    t->left = t->right = NULL;
}

void timer_set(struct timerheap *h, struct timer *t, mono_ns at)
{
    timer_clear(h, t);
    t->at = at;
    if (at != MONO_NEVER)
        merge(&h->first, h->first, t);
}

mono_ns timerheap_first(const struct timerheap *h)
{
    return h->first ? h->first->at : MONO_NEVER;
}

struct timer *timerheap_due(struct timerheap *h, mono_ns now)
{
    struct timer *t = h->first;
    if (!t || t->at > now)
        return NULL;
    timer_clear(h, t);
    return t;
}
