/* SPDX-License-Identifier: MIT */
#include "store/base/tokens.h"

#include <assert.h>

static uint64_t burst_of(const struct tokens *t)
{
    uint64_t burst = t->rate / 4;
    return burst < TOKENS_BURST_MIN ? TOKENS_BURST_MIN : burst;
}

void tokens_init(struct tokens *t, uint64_t rate, mono_ns now)
{
    *t = (struct tokens){rate, 0, now};
    t->have = burst_of(t);
}

void tokens_set_rate(struct tokens *t, uint64_t rate, mono_ns now)
{
    if (t->rate == rate)
        return;
    tokens_init(t, rate, now);
}

static void fill(struct tokens *t, mono_ns now)
{
    if (now <= t->filled)
        return;
    uint64_t burst = burst_of(t);
    mono_ns passed = now - t->filled;
    if (passed >= MONO_S * 16) {
        t->have = burst;
        t->filled = now;
        return;
    }
    uint64_t add = (uint64_t)((unsigned __int128)passed * t->rate / MONO_S);
    if (!add)
        return; /* keep the fraction: `filled` stays */
    t->filled += (mono_ns)((unsigned __int128)add * MONO_S / t->rate);
    t->have = t->have + add > burst ? burst : t->have + add;
}

size_t tokens_room(struct tokens *t, size_t want, mono_ns now)
{
    if (!t->rate)
        return want;
    fill(t, now);
    return want < t->have ? want : (size_t)t->have;
}

void tokens_spend(struct tokens *t, size_t bytes)
{
    if (!t->rate)
        return;
    assert(bytes <= t->have);
    t->have -= bytes;
}

mono_ns tokens_when(const struct tokens *t, size_t bytes)
{
    if (!t->rate || bytes <= t->have)
        return t->filled;
    uint64_t missing = bytes - t->have;
    return mono_after(t->filled, (mono_ns)((unsigned __int128)missing * MONO_S / t->rate + 1));
}
