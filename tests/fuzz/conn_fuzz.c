/* LINK: net_conn */
/* SPDX-License-Identifier: MIT
 *
 * A whole connection. First byte, modulo 4: 0 a listener reads the rest as raw bytes; 1 a dialer does; 2 a pair talks
 * under a script of the rest, with damage on the wire; 3 a correct peer up to Noise, whose plaintext is then the rest.
 * Second byte: the size of the pieces. What is checked: each ends with exactly one CLOSED, and every stream that was told
 * ends before it. What an input can set going is bounded: else one takes a second, and a campaign gets nowhere. */
#include "net/conn/conn.h"
#include "net/secure/noise.h"
#include "tests/fuzz/cheap_keys.h"

#include <stdlib.h>

#define PIECES_MAX 64
#define STEPS_MAX  64
#define ECHO_MAX   16384 /* bytes that an end sends back */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const ids[] = {"/ipfs/ping/1.0.0", "/x/*"};
static const char *const muxers[] = {"/yamux/1.0.0"};

struct end {
    struct identity id;
    struct conn *c;
    struct buf wire;
    uint32_t stream; /* the newest */
    int open;        /* streams told and not ended */
    int closed;
    size_t echoed;
};

struct world {
    struct rng rng;
    struct conn_protocols protocols;
    struct end d, l;
    mono_ns now;
};

static void on_event(struct end *e, const struct conn_event *ev)
{
    switch (ev->type) {
    case CONN_STREAM:
        e->open++;
        e->stream = ev->stream;
        (void)conn_write(e->c, ev->stream, ev->data);
        break;
    case CONN_DATA:
        if (e->echoed < ECHO_MAX)
            (void)conn_write(e->c, ev->stream, ev->data); /* what does not fit is lost */
        e->echoed += ev->data.len;
        if (conn_consume(e->c, ev->stream, ev->data.len) < 0)
            abort();
        break;
    case CONN_FIN:
        (void)conn_close_write(e->c, ev->stream);
        break;
    case CONN_RESET:
    case CONN_REFUSED:
    case CONN_STREAM_CLOSED:
        e->open--;
        if (conn_reset(e->c, ev->stream) != ERR_NOT_FOUND)
            abort();
        break;
    case CONN_CLOSED:
        e->closed++;
        break;
    default:
        break;
    }
}

static void pump(struct end *e)
{
    struct conn_event ev;
    size_t sent;
    do {
        while (conn_next(e->c, &ev) > 0)
            on_event(e, &ev);
        sent = conn_output(e->c, &e->wire, 66000);
    } while (sent > 0);
}

static void give(struct world *w, struct end *to, struct span in)
{
    conn_input(to->c, in, w->now);
    pump(to);
}

static void move_all(struct world *w)
{
    for (int i = 0; i < 12 && (buf_len(&w->d.wire) || buf_len(&w->l.wire)); i++) {
        give(w, &w->l, buf_span(&w->d.wire));
        buf_clear(&w->d.wire);
        give(w, &w->d, buf_span(&w->l.wire));
        buf_clear(&w->l.wire);
    }
}

static struct conn *conn_make(struct world *w, struct end *e, enum conn_role role)
{
    struct conn_config cfg = {.role = role, .identity = &e->id, .protocols = &w->protocols, .rng = &w->rng};
    return conn_new(&cfg, w->now);
}

static void finish(struct end *e)
{
    if (!e->c)
        return;
    conn_input_end(e->c, 0);
    pump(e);
    if (e->closed != 1 || e->open != 0 || !conn_is_dead(e->c))
        abort();
    conn_free(e->c);
    buf_done(&e->wire);
}

static void raw(struct world *w, struct end *e, struct span in, size_t step)
{
    for (size_t at = 0; at < in.len; at += step)
        give(w, e, span_sub(in, at, step));
}

/* Two bytes a step: what, and how much. */
static void script_step(struct world *w, unsigned op, unsigned arg)
{
    static const uint8_t bytes[70000];
    struct end *e = op & 8 ? &w->l : &w->d;
    uint32_t id;
    switch (op % 8) {
    case 0:
        if (conn_open(e->c, arg & 1 ? ids : (const char *const[]){"/x/y"}, 1 + (arg & 1), w->now, &id) == 0) {
            e->stream = id;
            e->open++;
        }
        break;
    case 1:
        (void)conn_write(e->c, e->stream, span_of(bytes, arg * (arg < 248 ? 8u : 270u)));
        break;
    case 2:
        (void)conn_close_write(e->c, e->stream);
        break;
    case 3:
        if (conn_reset(e->c, e->stream) == 0)
            e->open--;
        break;
    case 4:
        w->now += arg * 100 * MONO_MS;
        conn_expire(e->c, w->now);
        break;
    case 5:
        if (arg < buf_len(&e->wire))
            e->wire.base[e->wire.start + arg] ^= 1;
        break;
    case 6:
        conn_goodbye(e->c);
        break;
    default:
        move_all(w);
        break;
    }
    pump(&w->d);
    pump(&w->l);
}

/* Up to Noise by hand; then the listener's plaintext is `in`. */
static void plaintext(struct world *w, struct span in, size_t step)
{
    struct noise_config cfg = {.initiator = true, .identity = &w->d.id, .muxers = muxers, .muxer_count = 1, .rng = &w->rng};
    struct noise *n = noise_new(&cfg);
    struct buf out = BUF_INIT;
    buf_add_str(&out, "\x13/multistream/1.0.0\n\x07/noise\n");
    (void)noise_handshake(n, &w->l.wire, &out);
    give(w, &w->l, buf_span(&out));
    buf_clear(&out);
    if (buf_len(&w->l.wire) < 28)
        abort();
    buf_consume(&w->l.wire, 28);
    if (noise_handshake(n, &w->l.wire, &out) != 1)
        abort();
    give(w, &w->l, buf_span(&out));
    if (!conn_is_ready(w->l.c))
        abort();
    for (size_t at = 0; at < in.len; at += step) {
        struct span part = span_sub(in, at, step);
        buf_clear(&out);
        noise_encrypt(n, &part, 1, &out);
        give(w, &w->l, buf_span(&out));
    }
    buf_done(&out);
    noise_free(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.protocols = {.ids = ids, .count = 2}, .now = MONO_S};
    if (size < 2)
        return 0;
    struct span rest = span_of(data + 2, size - 2);
    size_t step = 1 + data[1] + rest.len / PIECES_MAX;
    unsigned mode = data[0] % 4;
    rng_init_seed(&w.rng, 9);
    identity_new(&w.d.id, &w.rng);
    identity_new(&w.l.id, &w.rng);
    if (mode != 0 && mode != 3)
        w.d.c = conn_make(&w, &w.d, CONN_DIALER);
    if (mode != 1)
        w.l.c = conn_make(&w, &w.l, CONN_LISTENER);
    if (mode == 0) {
        raw(&w, &w.l, rest, step);
    } else if (mode == 1) {
        raw(&w, &w.d, rest, step);
    } else if (mode == 2) {
        pump(&w.d);
        pump(&w.l);
        if (data[1] < 200) /* else the script runs through the handshake */
            move_all(&w);
        for (size_t at = 0; at + 1 < rest.len && at < 2 * STEPS_MAX; at += 2)
            script_step(&w, rest.data[at], rest.data[at + 1]);
    } else {
        plaintext(&w, rest, step);
    }
    finish(&w.d);
    finish(&w.l);
    return 0;
}
