/* SPDX-License-Identifier: MIT */
#include "net/service/live.h"

#define MARK_EVERY (LIVE_KEEP / (LIVE_MARKS - 4))

void live_done(struct live *l)
{
    buf_done(&l->bytes);
}

uint64_t live_end(const struct live *l)
{
    return l->begin + buf_len(&l->bytes);
}

static void forget_before(struct live *l, uint64_t place)
{
    if (place <= l->begin)
        return;
    buf_consume(&l->bytes, (size_t)(place - l->begin));
    l->begin = place;
}

static void drop_marks(struct live *l, unsigned n)
{
    l->mark_count -= n;
    memmove(l->marks, l->marks + n, l->mark_count * sizeof *l->marks);
}

/* Marks that are too old go, with the bytes before the first that stays */
static void age(struct live *l, mono_ns now)
{
    unsigned old = 0;
    while (old + 1 < l->mark_count && now - l->marks[old + 1].at > LIVE_KEEP)
        old++;
    if (l->mark_count - old == LIVE_MARKS)
        old++;
    drop_marks(l, old);
    if (l->mark_count)
        forget_before(l, l->marks[0].place);
}

void live_write(struct live *l, struct span data, mono_ns now)
{
    age(l, now);
    if (!l->mark_count || now - l->marks[l->mark_count - 1].at >= MARK_EVERY)
        l->marks[l->mark_count++] = (struct live_mark){now, live_end(l)};
    if (data.len > LIVE_MAX) {
        l->begin = live_end(l) + (data.len - LIVE_MAX);
        buf_clear(&l->bytes);
        data = span_from(data, data.len - LIVE_MAX);
    }
    uint64_t end = live_end(l) + data.len;
    if (end > LIVE_MAX)
        forget_before(l, end - LIVE_MAX);
    if (buf_try_add(&l->bytes, data))
        return;
    l->begin = live_end(l); /* no memory for more: all that readers had not taken is skipped */
    buf_clear(&l->bytes);
    size_t fits = l->bytes.cap < data.len ? l->bytes.cap : data.len;
    l->begin += data.len - fits;
    buf_add_span(&l->bytes, span_from(data, data.len - fits));
}

uint64_t live_start(const struct live *l, mono_ns now)
{
    uint64_t place = live_end(l);
    for (unsigned i = l->mark_count; i > 0 && now - l->marks[i - 1].at <= LIVE_BACK; i--)
        place = l->marks[i - 1].place;
    return place > l->begin ? place : l->begin;
}

struct span live_read(const struct live *l, uint64_t *place, mono_ns now, uint64_t *ret_skipped)
{
    *ret_skipped = 0;
    if (*place < l->begin) {
        uint64_t start = live_start(l, now);
        *ret_skipped = start - *place;
        *place = start;
    }
    return span_from(buf_span(&l->bytes), (size_t)(*place - l->begin));
}
