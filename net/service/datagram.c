/* SPDX-License-Identifier: MIT */
#include "net/service/datagram.h"

#define STAMP sizeof(mono_ns)

static size_t length_at(struct span in)
{
    return (size_t)in.data[0] << 8 | in.data[1];
}

size_t datagram_next(struct span in, struct span *ret)
{
    if (in.len < DATAGRAM_HEAD || in.len - DATAGRAM_HEAD < length_at(in))
        return 0;
    *ret = span_sub(in, DATAGRAM_HEAD, length_at(in));
    return DATAGRAM_HEAD + ret->len;
}

void datagram_queue_done(struct datagram_queue *q)
{
    buf_done(&q->bytes);
}

static size_t first_size(const struct datagram_queue *q)
{
    return STAMP + DATAGRAM_HEAD + length_at(span_from(buf_span(&q->bytes), STAMP));
}

void datagram_pop(struct datagram_queue *q)
{
    buf_consume(&q->bytes, first_size(q));
}

void datagram_push(struct datagram_queue *q, struct span datagram, size_t most, mono_ns now)
{
    if (datagram.len > DATAGRAM_MAX) {
        q->dropped++;
        return;
    }
    size_t size = STAMP + DATAGRAM_HEAD + datagram.len;
    while (buf_len(&q->bytes) && buf_len(&q->bytes) + size > most) {
        datagram_pop(q);
        q->dropped++;
    }
    if (!buf_try_reserve(&q->bytes, size)) {
        q->dropped++;
        return;
    }
    buf_add(&q->bytes, &now, STAMP);
    buf_add_u8(&q->bytes, (uint8_t)(datagram.len >> 8));
    buf_add_u8(&q->bytes, (uint8_t)datagram.len);
    buf_add_span(&q->bytes, datagram);
}

struct span datagram_front(struct datagram_queue *q, mono_ns now)
{
    while (buf_len(&q->bytes)) {
        struct span first = span_sub(buf_span(&q->bytes), 0, first_size(q));
        mono_ns came;
        memcpy(&came, first.data, STAMP);
        if (now - came <= DATAGRAM_AGE_MAX)
            return span_from(first, STAMP);
        datagram_pop(q);
        q->dropped++;
    }
    return SPAN_NONE;
}

void datagram_freshen(struct datagram_queue *q, mono_ns now)
{
    uint8_t *at = q->bytes.base ? q->bytes.base + q->bytes.start : NULL;
    for (size_t left = buf_len(&q->bytes); left;) {
        size_t size = STAMP + DATAGRAM_HEAD + length_at(span_of(at + STAMP, DATAGRAM_HEAD));
        memcpy(at, &now, STAMP);
        at += size;
        left -= size;
    }
}
