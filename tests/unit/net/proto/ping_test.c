/* SPDX-License-Identifier: MIT */
#include "net/proto/ping.h"

#include <criterion/criterion.h>

Test(ping, there_and_back)
{
    struct rng rng;
    rng_init_seed(&rng, 1);
    struct ping_responder r;
    struct pinger p;
    ping_responder_init(&r, 0);
    pinger_init(&p);
    cr_assert_eq(pinger_deadline(&p), MONO_NEVER);
    for (int round = 0; round < 3; round++) {
        mono_ns now = (mono_ns)round * MONO_S, rtt = 0;
        struct buf there = BUF_INIT, back = BUF_INIT;
        cr_assert_eq(pinger_send(&p, &rng, &there, now), 0);
        cr_assert_eq(pinger_send(&p, &rng, &there, now), ERR_BUSY);
        cr_assert_eq(pinger_deadline(&p), now + PING_TIMEOUT);
        cr_assert_eq(buf_len(&there), PING_SIZE);
        for (size_t i = 0; i < PING_SIZE; i += 5) { /* in pieces */
            struct span part = span_sub(buf_span(&there), i, 5);
            cr_assert_eq(ping_responder_input(&r, part, &back, now), part.len);
        }
        cr_assert_eq(buf_len(&back), PING_SIZE);
        cr_assert_eq(pinger_input(&p, span_sub(buf_span(&back), 0, 31), now + MONO_MS, &rtt), 0);
        cr_assert_eq(pinger_input(&p, span_from(buf_span(&back), 31), now + 2 * MONO_MS, &rtt), 1);
        cr_assert_eq(rtt, 2 * MONO_MS);
        buf_done(&there);
        buf_done(&back);
    }
}

Test(ping, wrong_echoes)
{
    struct rng rng;
    rng_init_seed(&rng, 1);
    struct pinger p;
    pinger_init(&p);
    mono_ns rtt;
    uint8_t zeros[PING_SIZE + 1] = {0};
    cr_assert_eq(pinger_input(&p, span_of(zeros, 1), 0, &rtt), ERR_PROTOCOL, "nothing was asked");
    struct buf out = BUF_INIT;
    cr_assert_eq(pinger_send(&p, &rng, &out, 0), 0);
    cr_assert_eq(pinger_input(&p, SPAN_NONE, 0, &rtt), 0);
    cr_assert_eq(pinger_input(&p, span_of(zeros, 4), 0, &rtt), ERR_PROTOCOL);
    pinger_init(&p);
    buf_clear(&out);
    cr_assert_eq(pinger_send(&p, &rng, &out, 0), 0);
    buf_add_u8(&out, 0);
    cr_assert_eq(pinger_input(&p, buf_span(&out), 0, &rtt), ERR_PROTOCOL, "more than the echo");
    buf_done(&out);
}

Test(ping, flood_waits)
{
    struct ping_responder r;
    ping_responder_init(&r, 0);
    static const uint8_t flood[PING_SIZE * 100];
    struct buf out = BUF_INIT;
    size_t taken = ping_responder_input(&r, span_of(flood, sizeof flood), &out, 0);
    cr_assert_eq(taken, PING_SIZE * PING_BURST);
    cr_assert_eq(buf_len(&out), taken);
    cr_assert_eq(ping_responder_deadline(&r), MONO_S / PING_RATE);
    cr_assert_eq(ping_responder_input(&r, span_from(span_of(flood, sizeof flood), taken), &out, MONO_MS), 0);
    taken += ping_responder_input(&r, span_from(span_of(flood, sizeof flood), taken), &out, MONO_S);
    cr_assert_eq(taken, PING_SIZE * (PING_BURST + PING_RATE));
    buf_done(&out);
}
