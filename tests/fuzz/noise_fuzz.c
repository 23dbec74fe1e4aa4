/* LINK: net_secure */
/* SPDX-License-Identifier: MIT
 *
 * Noise. First byte: 0 a responder reads the rest as raw bytes; 1 an initiator does; 2 a handshake is run with three of
 * its bytes flipped (position, position, mask); 3 after a good handshake the rest is sent in frames, one of which is
 * damaged when the second byte is odd. */
#include "net/secure/noise.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const muxers[] = {"/yamux/1.0.0"};

struct sides {
    struct rng rng;
    struct identity a, b;
    struct noise *i, *r;
};

static void sides_new(struct sides *s)
{
    rng_init_seed(&s->rng, 5);
    identity_new(&s->a, &s->rng);
    identity_new(&s->b, &s->rng);
    struct noise_config ci = {.initiator = true, .identity = &s->a, .muxers = muxers, .muxer_count = 1, .rng = &s->rng};
    struct noise_config cr = {.identity = &s->b, .muxers = muxers, .muxer_count = 1, .rng = &s->rng};
    s->i = noise_new(&ci);
    s->r = noise_new(&cr);
}

static void raw(struct noise *n, struct span in)
{
    struct buf b = BUF_INIT, out = BUF_INIT;
    struct span plain;
    buf_add_span(&b, in);
    if (noise_handshake(n, &b, &out) == 1)
        while (noise_decrypt(n, &b, &plain) == 1)
            ;
    buf_done(&b);
    buf_done(&out);
}

static void flip(struct buf *b, struct span how, size_t offset)
{
    size_t len = buf_len(b);
    if (how.len < 3 || len == 0)
        return;
    size_t at = (size_t)how.data[0] << 8 | how.data[1];
    if (at >= offset && at < offset + len)
        b->base[b->start + at - offset] ^= how.data[2];
}

/* True when both sides were content. */
static bool shake(struct sides *s, struct span how)
{
    struct buf to_r = BUF_INIT, to_i = BUF_INIT;
    int ri = noise_handshake(s->i, &to_i, &to_r), rr;
    flip(&to_r, how, 0);
    rr = noise_handshake(s->r, &to_r, &to_i);
    flip(&to_i, how, 34);
    if (rr == 0)
        ri = noise_handshake(s->i, &to_i, &to_r);
    flip(&to_r, how, 252);
    if (ri == 1)
        rr = noise_handshake(s->r, &to_r, &to_i);
    buf_done(&to_r);
    buf_done(&to_i);
    return ri == 1 && rr == 1;
}

static void transport(struct sides *s, struct span in)
{
    if (!shake(s, SPAN_NONE))
        abort();
    bool damage = in.len && (in.data[0] & 1);
    size_t step = in.len ? 1 + in.data[0] / 2u * 97 : 1;
    struct buf wire = BUF_INIT;
    for (size_t at = 1; at < in.len; at += step) {
        struct span part = span_sub(in, at, step), plain;
        noise_encrypt(s->i, &part, 1, &wire);
        if (damage && at + step >= in.len) {
            wire.base[wire.start + 2 + part.data[0] % (part.len + NOISE_TAG)] ^= 1;
            if (noise_decrypt(s->r, &wire, &plain) != ERR_VERIFY)
                abort();
        } else if (noise_decrypt(s->r, &wire, &plain) != 1 || !span_eq(plain, part)) {
            abort();
        }
    }
    buf_done(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sides s;
    if (size == 0)
        return 0;
    struct span rest = span_of(data + 1, size - 1);
    sides_new(&s);
    if (data[0] % 4 == 0) {
        raw(s.r, rest);
    } else if (data[0] % 4 == 1) {
        raw(s.i, rest);
    } else if (data[0] % 4 == 2) {
        bool changed = rest.len >= 3 && rest.data[2] && ((size_t)rest.data[0] << 8 | rest.data[1]) < 438;
        if (shake(&s, rest) == changed)
            abort(); /* every byte counts */
    } else {
        transport(&s, rest);
    }
    noise_free(s.i);
    noise_free(s.r);
    return 0;
}
