/* SPDX-License-Identifier: MIT
 *
 * Wrong things before there is a connection: multistream-select (PROTOCOLS.md section 2) and Noise (section 3). */
#include "tests/hostile/hostile.h"

#include <stdio.h>
#include <stdlib.h>

#define HELLO "\x13/multistream/1.0.0\n"

static void say(struct hostile *h, const void *bytes, size_t len, bool fin)
{
    struct link l;
    if (!link_dial(&l, h))
        return;
    (void)link_send(&l, span_of(bytes, len)); /* what happened is seen by the verdict */
    if (fin)
        link_fin(&l);
    link_verdict(&l);
}
#define SAY(h, text) say(h, text, sizeof text - 1, false)

static void garbage(struct hostile *h)
{
    uint8_t bytes[4096];
    rng_fill(&h->rng, bytes, sizeof bytes);
    say(h, bytes, sizeof bytes, false);
}

static void http(struct hostile *h)
{
    SAY(h, "GET /index.html HTTP/1.1\r\nHost: localhost\r\nAccept: text/html, */*\r\nUser-Agent: browser\r\n\r\n");
}

static void huge_length(struct hostile *h)
{
    SAY(h, "\xff\xff\xff\xff\xff\xff\xff\xff\x7f/multistream/1.0.0\n");
}

static void endless_length(struct hostile *h)
{
    SAY(h, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80");
}

static void long_token(struct hostile *h)
{
    uint8_t bytes[5000];
    memset(bytes, 'a', sizeof bytes);
    memcpy(bytes, HELLO "\xff\x7f/", 23);
    say(h, bytes, sizeof bytes, false);
}

static void no_newline(struct hostile *h)
{
    SAY(h, HELLO "\x06/noise");
}

static void empty_token(struct hostile *h)
{
    SAY(h, HELLO "\0\0\0\0\0\0\0\0");
}

static void cut_short(struct hostile *h)
{
    say(h, HELLO "\x07/noi", 25, true);
}

static void endless_proposals(struct hostile *h)
{
    struct link l;
    if (!link_dial(&l, h))
        return;
    bool ok = link_send(&l, span_str(HELLO));
    for (unsigned i = 0; ok && i < 100000 && !hostile_over(h); i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "./no/such/%06u\n", i);
        text[0] = (char)(n - 1);
        ok = link_send(&l, span_of(text, (size_t)n));
        h->tally.units++;
    }
    link_verdict(&l);
}

static const struct attack select_table[] = {
    {"garbage", "select", GETS_CLOSED, garbage, "random bytes instead of multistream"},
    {"http", "select", GETS_CLOSED, http, "a web request"},
    {"huge-length", "select", GETS_CLOSED, huge_length, "a token of 2^63 bytes is announced"},
    {"endless-length", "select", GETS_CLOSED, endless_length, "a length that does not end"},
    {"long-token", "select", GETS_CLOSED, long_token, "a token of 16 KiB"},
    {"no-newline", "select", GETS_CLOSED, no_newline, "a proposal without its newline"},
    {"empty-token", "select", GETS_CLOSED, empty_token, "tokens of no bytes"},
    {"cut-short", "select", GETS_CLOSED, cut_short, "half a proposal, then FIN"},
    {"endless-proposals", "select", GETS_CLOSED, endless_proposals, "100,000 protocols that nobody speaks"},
};
const struct attack_table attacks_select = {select_table, sizeof select_table / sizeof *select_table};

/* ---- Noise ---- */

static bool agree(struct link *l, struct hostile *h)
{
    struct identity who;
    identity_new(&who, &h->rng);
    return link_agree(l, h, &who);
}

static void first_message(struct hostile *h, const void *bytes, size_t len, bool fin)
{
    struct link l;
    if (!agree(&l, h))
        return;
    (void)link_send(&l, span_of(bytes, len)); /* the verdict tells */
    if (fin)
        link_fin(&l);
    link_verdict(&l);
}

static void noise_empty(struct hostile *h)
{
    first_message(h, "\0\0", 2, false);
}

static void noise_short(struct hostile *h)
{
    uint8_t bytes[2 + 31] = {0, 31, 7};
    first_message(h, bytes, sizeof bytes, false);
}

static void noise_long(struct hostile *h)
{
    uint8_t *bytes = mem_new(2 + 65535);
    rng_fill(&h->rng, bytes, 2 + 65535);
    bytes[0] = bytes[1] = 0xff;
    first_message(h, bytes, 2 + 65535, false);
    free(bytes);
}

static void noise_cut(struct hostile *h)
{
    uint8_t bytes[2 + 16] = {0, 32, 9};
    first_message(h, bytes, sizeof bytes, true);
}

static void noise_low_order(struct hostile *h)
{
    uint8_t bytes[2 + 32] = {0, 32}; /* the point 0: every product with it is 0 */
    first_message(h, bytes, sizeof bytes, false);
}

/* The first message as it should be, the third one not even of the right length */
static void noise_third(struct hostile *h)
{
    struct link l;
    if (!agree(&l, h))
        return;
    struct buf out = BUF_INIT;
    uint8_t bytes[2 + 300] = {300 >> 8, 300 & 0xff};
    (void)noise_handshake(l.noise, &l.raw, &out); /* the first: cannot fail */
    (void)link_send(&l, buf_span(&out));
    (void)link_wait(&l, 100 * MONO_MS);
    rng_fill(&h->rng, bytes + 2, 300);
    (void)link_send(&l, span_of(bytes, sizeof bytes));
    buf_done(&out);
    link_verdict(&l);
}

/* Says that it is somebody whose key it does not have */
static void noise_not_theirs(struct hostile *h)
{
    struct identity who, victim;
    struct link l;
    identity_new(&who, &h->rng);
    identity_new(&victim, &h->rng);
    memcpy(who.public_key, victim.public_key, sizeof who.public_key);
    who.id = victim.id;
    if (!link_agree(&l, h, &who))
        return;
    (void)link_handshake(&l); /* from here it looks well; the node knows better */
    link_verdict(&l);
}

static void after_handshake(struct hostile *h, void (*bad)(struct link *l, struct buf *frame))
{
    struct link l;
    struct buf frame = BUF_INIT;
    if (!link_secure(&l, h))
        return;
    struct span part = span_of("\0\2\0\1\0\0\0\0\0\0\0\7", 12); /* a ping */
    noise_encrypt(l.noise, &part, 1, &frame);
    bad(&l, &frame);
    (void)link_send(&l, buf_span(&frame));
    buf_done(&frame);
    link_verdict(&l);
}

static void flip(struct link *l, struct buf *frame)
{
    frame->base[frame->start + 2 + rng_below(&l->h->rng, 28)] ^= 1;
}

static void twice(struct link *l, struct buf *frame)
{
    (void)link_send(l, buf_span(frame));
}

static void no_tag(struct link *l, struct buf *frame)
{
    (void)l;
    buf_clear(frame);
    buf_add(frame, "\0\5\1\2\3\4\5", 7);
}

static void forged(struct hostile *h)
{
    after_handshake(h, flip);
}

static void replayed(struct hostile *h)
{
    after_handshake(h, twice);
}

static void tagless(struct hostile *h)
{
    after_handshake(h, no_tag);
}

/* Frames that are right and carry a twelfth of a Yamux header each: work without content */
static void tiny_frames(struct hostile *h)
{
    struct link l;
    struct buf frames = BUF_INIT;
    if (!link_secure(&l, h))
        return;
    bool ok = true;
    for (uint64_t i = 0; ok && i < hostile_work(h, 100000) && !hostile_over(h); i++) {
        struct span part = span_of(&"\0\2\0\2\0\0\0\0\0\0\0\7"[i % 12], 1); /* a pong that nobody asked for */
        noise_encrypt(l.noise, &part, 1, &frames);
        h->tally.units++;
        if (buf_len(&frames) < 32768)
            continue;
        ok = link_send(&l, buf_span(&frames));
        buf_clear(&frames);
    }
    buf_done(&frames);
    link_verdict(&l);
}

static const struct attack noise_table[] = {
    {"noise-empty", "noise", GETS_CLOSED, noise_empty, "a first message of no bytes"},
    {"noise-short", "noise", GETS_CLOSED, noise_short, "a first message of 31 bytes"},
    {"noise-long", "noise", 0, noise_long, "a first message with a payload of 64 KiB, which is allowed"},
    {"noise-cut", "noise", GETS_CLOSED, noise_cut, "half a first message, then FIN"},
    {"noise-low-order", "noise", GETS_CLOSED, noise_low_order, "an ephemeral key of low order"},
    {"noise-third", "noise", GETS_CLOSED, noise_third, "a third message of random bytes"},
    {"noise-not-theirs", "noise", GETS_CLOSED, noise_not_theirs, "an identity key without its signature"},
    {"noise-forged", "noise", GETS_CLOSED, forged, "a flipped bit after the handshake"},
    {"noise-replayed", "noise", GETS_CLOSED, replayed, "the same frame twice"},
    {"noise-tagless", "noise", GETS_CLOSED, tagless, "a frame shorter than its tag"},
    {"noise-tiny", "noise-flood", 0, tiny_frames, "100,000 frames of one byte"},
};
const struct attack_table attacks_noise = {noise_table, sizeof noise_table / sizeof *noise_table};
