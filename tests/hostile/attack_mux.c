/* SPDX-License-Identifier: MIT
 *
 * Wrong frames and too many of them: Yamux (PROTOCOLS.md section 4), and the negotiation on its streams. */
#include "net/exchange/exchange.h"
#include "net/proto/ping.h"
#include "tests/hostile/hostile.h"

#include <stdlib.h>

static void send_and_see(struct link *l)
{
    (void)mux_flush(l); /* the verdict tells */
    link_verdict(l);
}

/* ---- wrong frames ---- */

static void wrong_version(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    buf_add(&l.out, "\1\2\0\1\0\0\0\0\0\0\0\1", 12);
    send_and_see(&l);
}

static void wrong_type(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_frame(&l, 4, 0, 1, 0);
    send_and_see(&l);
}

static void wrong_parity(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_frame(&l, MUX_WINDOW, MUX_SYN, 2, 0);
    send_and_see(&l);
}

static void stream_zero(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_data(&l, MUX_SYN, 0, span_str("hello"));
    send_and_see(&l);
}

static void syn_twice(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_frame(&l, MUX_WINDOW, MUX_SYN, 1, 0);
    mux_frame(&l, MUX_WINDOW, MUX_SYN, 1, 0);
    send_and_see(&l);
}

static void window_overrun(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_open(&l, 1, EXCHANGE_PROTOCOL);
    uint8_t *bytes = mem_new(300 << 10);
    mux_data(&l, 0, 1, span_of(bytes, 300 << 10));
    free(bytes);
    send_and_see(&l);
}

static void huge_frame(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_frame(&l, MUX_WINDOW, MUX_SYN, 1, 0);
    mux_frame(&l, MUX_DATA, 0, 1, UINT32_MAX);
    send_and_see(&l);
}

static void window_overflow(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_frame(&l, MUX_WINDOW, MUX_SYN, 1, 0);
    mux_frame(&l, MUX_WINDOW, 0, 1, UINT32_MAX);
    mux_frame(&l, MUX_WINDOW, 0, 1, UINT32_MAX);
    send_and_see(&l);
}

/* A frame for a stream that never was: allowed (it may have been reset), but its bytes must not count for anything */
static void unknown_stream(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    uint8_t *bytes = mem_new(64 << 10);
    bool ok = true;
    for (unsigned i = 0; ok && i < 200 && !hostile_over(h); i++) {
        mux_data(&l, 0, 12345, span_of(bytes, 64 << 10));
        ok = mux_flush(&l);
        h->tally.units++;
    }
    free(bytes);
    send_and_see(&l);
}

/* Late ones are allowed: credit, ends and answers for streams that are gone, pongs that nobody asked for. Nobody is closed for it */
static void late(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    for (uint32_t i = 0; i < 1000; i++) {
        mux_frame(&l, MUX_WINDOW, i % 2 ? MUX_ACK : 0, 5001 + 2 * i, 1000);
        mux_frame(&l, MUX_WINDOW, i % 2 ? MUX_FIN : MUX_RST, 5001 + 2 * i, 0);
        mux_frame(&l, MUX_PING, MUX_ACK, 0, i);
        h->tally.units += 3;
    }
    mux_frame(&l, MUX_PING, MUX_SYN, 0, 7);
    send_and_see(&l);
}

static void half_a_frame(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_frame(&l, MUX_DATA, MUX_SYN, 1, 1000);
    buf_add(&l.out, "abc", 3);
    (void)mux_flush(&l);
    link_fin(&l);
    link_verdict(&l);
}

static void after_fin(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_open(&l, 1, PING_PROTOCOL);
    mux_data(&l, MUX_FIN, 1, SPAN_NONE);
    for (unsigned i = 0; i < 1000; i++)
        mux_data(&l, MUX_FIN, 1, span_str("more"));
    send_and_see(&l);
}

/* Says goodbye and goes on as if nothing was; then with a code that nobody knows */
static void goaway(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    for (unsigned i = 0; i < 1000; i++)
        mux_frame(&l, MUX_GOAWAY, 0, 0, 0);
    mux_open(&l, 1, PING_PROTOCOL);
    (void)mux_flush(&l);
    (void)link_wait(&l, 50 * MONO_MS);
    mux_frame(&l, MUX_GOAWAY, 0, 0, 99);
    send_and_see(&l);
}

/* ---- negotiation on a stream ---- */

static void on_stream(struct hostile *h, const void *bytes, size_t len)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_data(&l, MUX_SYN, 1, span_of(bytes, len));
    send_and_see(&l);
}

static void stream_garbage(struct hostile *h)
{
    uint8_t bytes[600];
    rng_fill(&h->rng, bytes, sizeof bytes);
    bytes[0] |= 0x80;
    bytes[1] |= 0x80;
    bytes[2] |= 0x80;
    on_stream(h, bytes, sizeof bytes);
}

static void stream_huge_token(struct hostile *h)
{
    static const char text[] = "\x13/multistream/1.0.0\n\xff\xff\xff\x7f/ipfs";
    on_stream(h, text, sizeof text - 1);
}

/* ---- floods ---- */

static void reset_flood(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    bool ok = true;
    for (uint64_t i = 0; ok && i < hostile_work(h, 100000) && !hostile_over(h); i++) {
        uint32_t id = (uint32_t)(2 * i + 1);
        mux_open(&l, id, EXCHANGE_PROTOCOL);
        mux_frame(&l, MUX_WINDOW, MUX_RST, id, 0);
        h->tally.units++;
        ok = mux_flush_some(&l);
    }
    send_and_see(&l);
}

static void open_flood(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    bool ok = true;
    for (uint64_t i = 0; ok && i < hostile_work(h, 100000) && !hostile_over(h); i++) {
        mux_frame(&l, MUX_WINDOW, MUX_SYN, (uint32_t)(2 * i + 1), 0);
        h->tally.units++;
        ok = mux_flush_some(&l);
    }
    send_and_see(&l);
}

/* The same, and never reads the resets that it causes */
static void open_flood_deaf(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    l.deaf = true;
    bool ok = true;
    for (uint64_t i = 0; ok && i < hostile_work(h, 1000000) && !hostile_over(h); i++) {
        mux_frame(&l, MUX_WINDOW, MUX_SYN, (uint32_t)(2 * i + 1), 0);
        h->tally.units++;
        ok = mux_flush_some(&l);
    }
    send_and_see(&l);
}

static void mux_ping_flood(struct hostile *h, bool deaf)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    l.deaf = deaf;
    bool ok = true;
    for (uint64_t i = 0; ok && i < hostile_work(h, 1000000) && !hostile_over(h); i++) {
        mux_frame(&l, MUX_PING, MUX_SYN, 0, (uint32_t)i);
        h->tally.units++;
        ok = mux_flush_some(&l);
    }
    send_and_see(&l);
}

static void mux_pings(struct hostile *h)
{
    mux_ping_flood(h, false);
}

static void mux_pings_deaf(struct hostile *h)
{
    mux_ping_flood(h, true);
}

static void frame_flood(struct hostile *h, unsigned type, uint64_t count)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_open(&l, 1, PING_PROTOCOL);
    bool ok = true;
    for (uint64_t i = 0; ok && i < hostile_work(h, count) && !hostile_over(h); i++) {
        mux_frame(&l, type, 0, 1, 0);
        h->tally.units++;
        ok = mux_flush_some(&l);
    }
    send_and_see(&l);
}

static void empty_data(struct hostile *h)
{
    frame_flood(h, MUX_DATA, 1000000);
}

static void empty_windows(struct hostile *h)
{
    frame_flood(h, MUX_WINDOW, 1000000);
}

/* 256 streams that never say what they are for */
static void silent_streams(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    for (uint32_t i = 0; i < 256; i++) {
        mux_data(&l, MUX_SYN, 2 * i + 1, span_str("\x13/multis"));
        h->tally.units++;
    }
    (void)mux_flush(&l);
    (void)link_wait(&l, 12 * MONO_S); /* the node's limit is 10 s */
    link_verdict(&l);
}

#define DEAF_PEERS   24
#define DEAF_STREAMS 2000

/* The same by many, who do not read either */
static void silent_deaf(struct hostile *h)
{
    static struct link all[DEAF_PEERS];
    unsigned count = 0;
    while (count < DEAF_PEERS && link_dial(&all[count], h) && link_secure(&all[count], h))
        count++;
    for (unsigned i = 0; i < count && !hostile_over(h); i++) {
        all[i].deaf = true;
        for (uint32_t k = 0; k < DEAF_STREAMS; k++) {
            mux_data(&all[i], MUX_SYN, 2 * k + 1, span_str("\x13/multis"));
            if (!mux_flush_some(&all[i]))
                break;
            h->tally.units++;
        }
        (void)mux_flush(&all[i]);
    }
    hostile_sleep(h, mono_min(h->until, mono_after(mono_now(), 12 * MONO_S)));
    hostile_note(h, count ? GOT_ANSWERED : GOT_REFUSED);
    while (count)
        link_end(&all[--count]);
}

/* A service that anybody may use: as many streams as there may be, by many, and nothing is said on them */
static void service_crowd(struct hostile *h)
{
    static struct link all[DEAF_PEERS];
    unsigned count = 0;
    while (count < DEAF_PEERS && link_dial(&all[count], h) && link_secure(&all[count], h))
        count++;
    for (unsigned i = 0; i < count && !hostile_over(h); i++)
        for (uint32_t k = 0; k < DEAF_STREAMS; k++) {
            mux_open(&all[i], 2 * k + 1, "/x/echo");
            if (!mux_flush_some(&all[i]))
                break;
            h->tally.units++;
        }
    for (unsigned i = 0; i < count; i++)
        (void)mux_flush(&all[i]);
    mono_ns until = mono_min(h->until, mono_after(mono_now(), 12 * MONO_S));
    while (mono_now() < until)
        for (unsigned i = 0; i < count; i++)
            (void)link_wait(&all[i], 10 * MONO_MS);
    hostile_note(h, count ? GOT_ANSWERED : GOT_REFUSED);
    while (count)
        link_end(&all[--count]);
}

/* The same with so many that fill what a connection may queue, where the service has much to say, and nothing is read */
static void service_deaf(struct hostile *h)
{
    static struct link all[DEAF_PEERS];
    unsigned count = 0;
    while (count < DEAF_PEERS && link_dial(&all[count], h) && link_secure(&all[count], h))
        count++;
    for (unsigned i = 0; i < count && !hostile_over(h); i++) {
        all[i].deaf = true;
        for (uint32_t k = 0; k < 100; k++, h->tally.units++)
            mux_open(&all[i], 2 * k + 1, "/x/echo");
        (void)mux_flush(&all[i]);
    }
    hostile_sleep(h, mono_min(h->until, mono_after(mono_now(), 12 * MONO_S)));
    hostile_note(h, count ? GOT_ANSWERED : GOT_REFUSED);
    while (count)
        link_end(&all[--count]);
}

/* Ping, the protocol: many echoes are asked for, none is read */
static void ping_flood(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    uint8_t *bytes = mem_new(32 << 10);
    for (uint32_t k = 0; k < 20; k++) {
        mux_open(&l, 2 * k + 1, PING_PROTOCOL);
        for (unsigned i = 0; i < 7; i++)
            mux_data(&l, 0, 2 * k + 1, span_of(bytes, 32 << 10));
        h->tally.units += 7 * 1024;
        (void)mux_flush(&l);
    }
    free(bytes);
    (void)link_wait(&l, MONO_S);
    link_verdict(&l);
}

static void ping_odd(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    mux_open(&l, 1, PING_PROTOCOL);
    mux_data(&l, MUX_FIN, 1, span_str("thirty-one bytes are not a ping"));
    send_and_see(&l);
}

/* As rust's lazy dialer: data and the end behind a proposal that is answered `na` */
static void stream_lazy(struct hostile *h)
{
    struct link l;
    if (!link_secure(&l, h))
        return;
    uint8_t *bytes = mem_new(4096);
    for (uint32_t k = 0; k < 50; k++) {
        mux_open(&l, 2 * k + 1, "/nobody/speaks/this/1.0.0");
        mux_data(&l, MUX_FIN, 2 * k + 1, span_of(bytes, 4096));
        h->tally.units++;
    }
    free(bytes);
    mux_frame(&l, MUX_PING, MUX_SYN, 0, 7);
    send_and_see(&l);
}

static const struct attack mux_table[] = {
    {"mux-version", "mux", GETS_CLOSED, wrong_version, "a frame of version 1"},
    {"mux-type", "mux", GETS_CLOSED, wrong_type, "a frame of an unknown type"},
    {"mux-parity", "mux", GETS_CLOSED, wrong_parity, "a stream with one of our numbers"},
    {"mux-zero", "mux", GETS_CLOSED, stream_zero, "a stream with the session's number"},
    {"mux-syn-twice", "mux", GETS_CLOSED, syn_twice, "a live stream is opened again"},
    {"mux-overrun", "mux", GETS_CLOSED, window_overrun, "300 KiB into a window of 256"},
    {"mux-huge-frame", "mux", GETS_CLOSED, huge_frame, "a frame of 4 GiB is announced"},
    {"mux-window-overflow", "mux", GETS_CLOSED, window_overflow, "windows of 8 GiB are given"},
    {"mux-half", "mux", GETS_CLOSED, half_a_frame, "half a frame, then FIN"},
    {"mux-unknown", "mux", 0, unknown_stream, "12 MiB for a stream that never was"},
    {"mux-late", "mux", GETS(GOT_ANSWERED) | GETS(GOT_IGNORED), late, "credit, ends and pongs for what is gone"},
    {"mux-after-fin", "mux", 0, after_fin, "data after the end of a stream"},
    {"mux-goaway", "mux", GETS_CLOSED, goaway, "1,000 goodbyes, then streams, then an unknown code"},
    {"stream-garbage", "mux", GETS(GOT_RESET) | GETS_CLOSED, stream_garbage, "random bytes on a stream"},
    {"stream-huge-token", "mux", GETS(GOT_RESET) | GETS_CLOSED, stream_huge_token, "a protocol name of 256 MiB"},
    {"stream-lazy", "mux", 0, stream_lazy, "data and FIN behind a protocol that nobody speaks"},
    {"ping-odd", "mux", 0, ping_odd, "31 bytes to the echo"},
    {"service-crowd", "service-crowd", 0, service_crowd, "24 peers open 2,000 streams each of a service that anybody may use"},
    {"service-deaf", "service-deaf", 0, service_deaf, "24 peers open 100 streams each of such a service, and read nothing"},
    {"reset-flood", "reset-flood", GETS_CLOSED, reset_flood, "100,000 streams opened and reset"},
    {"open-flood", "open-flood", 0, open_flood, "100,000 streams opened"},
    {"open-flood-deaf", "open-flood-deaf", 0, open_flood_deaf, "10^6 streams opened, their resets not read"},
    {"mux-pings", "mux-pings", 0, mux_pings, "10^6 Yamux pings"},
    {"mux-pings-deaf", "mux-pings-deaf", 0, mux_pings_deaf, "the same, answers not read"},
    {"empty-data", "tiny-frames", 0, empty_data, "10^6 data frames without data"},
    {"empty-windows", "tiny-frames", 0, empty_windows, "10^6 window updates of 0"},
    {"silent-streams", "silent-streams", 0, silent_streams, "256 streams that never name a protocol"},
    {"silent-deaf", "silent-deaf", 0, silent_deaf, "24 peers with 2,000 such streams each, who read nothing"},
    {"ping-flood", "ping-flood", 0, ping_flood, "20 ping streams of 7,000 pings each"},
};
const struct attack_table attacks_mux = {mux_table, sizeof mux_table / sizeof *mux_table};
