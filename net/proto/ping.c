/* SPDX-License-Identifier: MIT */
#include "net/proto/ping.h"

#define REFILL (MONO_S / PING_RATE)

void ping_responder_init(struct ping_responder *r, mono_ns now)
{
    *r = (struct ping_responder){.tokens = PING_BURST, .filled = now};
}

static void refill(struct ping_responder *r, mono_ns now)
{
    while (r->tokens < PING_BURST && r->filled + REFILL <= now) {
        r->tokens++;
        r->filled += REFILL;
    }
    if (r->tokens == PING_BURST)
        r->filled = now;
}

size_t ping_responder_input(struct ping_responder *r, struct span in, struct buf *out, mono_ns now)
{
    refill(r, now);
    size_t used = 0;
    while (used < in.len && r->tokens) {
        size_t n = PING_SIZE - r->have;
        n = n < in.len - used ? n : in.len - used;
        memcpy(r->held + r->have, in.data + used, n);
        r->have += (unsigned)n;
        used += n;
        if (r->have < PING_SIZE)
            break;
        buf_add(out, r->held, PING_SIZE);
        r->have = 0;
        r->tokens--;
    }
    return used;
}

mono_ns ping_responder_deadline(const struct ping_responder *r)
{
    return r->tokens ? MONO_NEVER : r->filled + REFILL;
}

void pinger_init(struct pinger *p)
{
    *p = (struct pinger){0};
}

int pinger_send(struct pinger *p, struct rng *rng, struct buf *out, mono_ns now)
{
    if (p->waiting)
        return ERR_BUSY;
    rng_fill(rng, p->sent, PING_SIZE);
    buf_add(out, p->sent, PING_SIZE);
    p->have = 0;
    p->waiting = true;
    p->sent_at = now;
    return 0;
}

int pinger_input(struct pinger *p, struct span in, mono_ns now, mono_ns *ret_rtt)
{
    if (!in.len)
        return 0;
    if (!p->waiting || in.len > PING_SIZE - p->have || memcmp(p->sent + p->have, in.data, in.len) != 0)
        return ERR_PROTOCOL;
    p->have += (unsigned)in.len;
    if (p->have < PING_SIZE)
        return 0;
    p->waiting = false;
    *ret_rtt = now - p->sent_at;
    return 1;
}

mono_ns pinger_deadline(const struct pinger *p)
{
    return p->waiting ? mono_after(p->sent_at, PING_TIMEOUT) : MONO_NEVER;
}
