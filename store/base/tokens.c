/* SPDX-License-Identifier: MIT */
#include "store/base/tokens.h"

static uint64_t burst_of(const struct tokens *t)
{
    uint64_t burst = t->rate / 4;
    return burst < TOKENS_BURST_MIN ? TOKENS_BURST_MIN : burst;
}

void tokens_init(struct tokens *t, uint64_t rate, mono_ns now)
{
    *t = (struct tokens){.rate = rate, .filled = now};
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
    unsigned __int128 came = (unsigned __int128)(now - t->filled) * t->rate / MONO_S;
    if (!came)
        return; /* keep the fraction: `filled` stays */
    if (came >= (unsigned __int128)burst + t->owed) {
        t->have = burst;
        t->owed = 0;
        t->filled = now;
        return;
    }
    uint64_t add = (uint64_t)came, paid = add < t->owed ? add : t->owed;
    t->filled += (mono_ns)(came * MONO_S / t->rate);
    t->owed -= paid;
    t->have = t->have + add - paid > burst ? burst : t->have + add - paid;
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
    size_t paid = bytes < t->have ? bytes : (size_t)t->have;
    t->have -= paid;
    t->owed += bytes - paid;
}

mono_ns tokens_when(const struct tokens *t, size_t bytes)
{
    if (!t->rate || bytes <= t->have)
        return t->filled;
    uint64_t missing = bytes - t->have + t->owed;
    return mono_after(t->filled, (mono_ns)((unsigned __int128)missing * MONO_S / t->rate + 1));
}
