/* SPDX-License-Identifier: MIT
 *
 * Slow loris behind the first message of the handshake: a crowd that goes on a byte at a time and never comes to the end of the
 * third Noise message, of a Noise frame, of a Yamux header, of a stream's protocol, of a bitswap message. attack_crowd.c has the
 * steps before. */
#include "net/exchange/exchange.h"
#include "tests/hostile/hostile.h"

#include <stdlib.h>
#include <sys/socket.h>

#define DRIPPERS   100
#define DRIP_EVERY (300 * MONO_MS)

enum step { STEP_THIRD, STEP_FRAME, STEP_HEADER, STEP_PROTOCOL, STEP_MESSAGE };

struct dripper {
    struct link l;
    struct buf text; /* said a byte at a time, the last one never */
    bool sealed;     /* each byte as a Noise frame */
};

static bool third_message(struct dripper *d, struct hostile *h)
{
    struct identity who;
    identity_new(&who, &h->rng);
    if (!link_agree(&d->l, h, &who))
        return false;
    struct buf out = BUF_INIT;
    int r = noise_handshake(d->l.noise, &d->l.raw, &out);
    bool ok = r >= 0 && link_send(&d->l, buf_span(&out));
    for (int i = 0; ok && r == 0 && i < 20 && !hostile_over(h); i++) {
        (void)link_wait(&d->l, 50 * MONO_MS); /* closed: seen below */
        r = noise_handshake(d->l.noise, &d->l.raw, &d->text);
        ok = !d->l.closed;
    }
    buf_done(&out);
    if (ok && r > 0)
        return true;
    hostile_note(h, GOT_REFUSED);
    link_end(&d->l);
    return false;
}

/* What comes before is sent at once */
static bool begin(struct dripper *d, struct hostile *h, enum step step)
{
    static const uint8_t zeros[1000];
    if (step == STEP_THIRD)
        return third_message(d, h);
    if (!link_secure(&d->l, h))
        return false;
    d->sealed = step != STEP_FRAME;
    if (step == STEP_FRAME) {
        struct span plain = span_of(zeros, sizeof zeros);
        noise_encrypt(d->l.noise, &plain, 1, &d->text);
    } else if (step == STEP_HEADER) {
        buf_add(&d->text, "\0\0\0\1\0\0\0\1\0\0\0\1", 12);
    } else if (step == STEP_PROTOCOL) {
        mux_frame(&d->l, MUX_DATA, MUX_SYN, 1, 200);
        buf_add_str(&d->text,
                    "\x13/multistream/1.0.0\n\x7f/a name that never ends, or not before anybody would have lost patience");
    } else {
        mux_open(&d->l, 1, EXCHANGE_PROTOCOL);
        mux_frame(&d->l, MUX_DATA, 0, 1, 1u << 16);
        buf_add(&d->text, "\xff\xff\x03\x12\xfa\xff\x03", 7); /* a block of 64 KiB */
        buf_add(&d->text, zeros, sizeof zeros);
    }
    return mux_flush(&d->l);
}

static void drip(struct dripper *d)
{
    struct span byte = span_sub(buf_span(&d->text), 0, 1);
    if (buf_len(&d->text) < 2)
        return;
    if (d->sealed) {
        struct buf frame = BUF_INIT;
        noise_encrypt(d->l.noise, &byte, 1, &frame);
        (void)link_send(&d->l, buf_span(&frame)); /* closed: seen by the caller */
        buf_done(&frame);
    } else {
        (void)link_send(&d->l, byte); /* as above */
    }
    buf_consume(&d->text, 1);
}

static void end(struct dripper *d, enum outcome o)
{
    hostile_note(d->l.h, o);
    link_end(&d->l);
    buf_done(&d->text);
    *d = (struct dripper){.l = {.fd = -1}};
}

static unsigned turn(struct hostile *h, struct dripper *all, enum step step, bool fill)
{
    unsigned open = 0;
    for (unsigned i = 0; i < DRIPPERS && !hostile_over(h); i++) {
        struct dripper *d = &all[i];
        if (d->l.fd < 0 && fill) {
            if (!begin(d, h, step)) {
                buf_done(&d->text);
                *d = (struct dripper){.l = {.fd = -1}};
                fill = false; /* refused: again at the next turn */
                continue;
            }
            h->tally.units++;
        }
        if (d->l.fd < 0)
            continue;
        drip(d);
        (void)link_wait(&d->l, 0); /* reads what is there */
        if (d->l.closed)
            end(d, GOT_CLOSED);
        else
            open++;
    }
    return open;
}

static void crowd(struct hostile *h, enum step step)
{
    struct dripper *all = mem_array(DRIPPERS, sizeof *all);
    for (unsigned i = 0; i < DRIPPERS; i++)
        all[i] = (struct dripper){.l = {.fd = -1}};
    while (!hostile_over(h)) {
        mono_ns next = mono_now() + DRIP_EVERY;
        unsigned open = turn(h, all, step, true);
        if (open > h->tally.open_most)
            h->tally.open_most = open;
        hostile_sleep(h, next);
    }
    for (unsigned i = 0; i < DRIPPERS; i++)
        if (all[i].l.fd >= 0)
            end(&all[i], GOT_IGNORED);
    free(all);
}

static void drip_third(struct hostile *h)
{
    crowd(h, STEP_THIRD);
}

static void drip_frame(struct hostile *h)
{
    crowd(h, STEP_FRAME);
}

static void drip_header(struct hostile *h)
{
    crowd(h, STEP_HEADER);
}

static void drip_protocol(struct hostile *h)
{
    crowd(h, STEP_PROTOCOL);
}

static void drip_message(struct hostile *h)
{
    crowd(h, STEP_MESSAGE);
}

static const struct attack drip_table[] = {
    {"drip-third", "drip-third", 0, drip_third, "100 that say the handshake's third message a byte at a time"},
    {"drip-frame", "drip-secured", 0, drip_frame, "100 that say a Noise frame a byte at a time"},
    {"drip-header", "drip-secured", 0, drip_header, "100 that say a Yamux header a byte at a time"},
    {"drip-protocol", "drip-secured", 0, drip_protocol, "100 that name a stream's protocol a byte at a time"},
    {"drip-message", "drip-secured", 0, drip_message, "100 that say a bitswap message a byte at a time"},
};
const struct attack_table attacks_drip = {drip_table, sizeof drip_table / sizeof *drip_table};
