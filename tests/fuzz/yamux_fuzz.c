/* LINK: net_mux */
/* SPDX-License-Identifier: MIT
 *
 * A Yamux session under a script: the peer's bytes in any pieces, between our own verbs in any order. Each step is an operation
 * byte, an argument byte and, for input, that many bytes. What is checked: no step breaks a promise of yamux.h, and our memory
 * stays within the bounds of the configuration. */
#include "net/mux/yamux.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRACKED 64

struct session {
    struct yamux *y;
    mono_ns now;
    uint32_t ids[TRACKED];
    size_t held[TRACKED]; /* delivered to us and not consumed */
    unsigned count;
};

static void track(struct session *s, uint32_t id)
{
    s->ids[s->count % TRACKED] = id;
    s->held[s->count % TRACKED] = 0;
    s->count++;
}

static size_t *held_of(struct session *s, uint32_t id)
{
    for (unsigned i = 0; i < TRACKED; i++)
        if (s->ids[i] == id)
            return &s->held[i];
    return NULL;
}

static void pull(struct session *s)
{
    struct yamux_event ev;
    while (yamux_next(s->y, &ev) > 0) {
        size_t *held = ev.stream ? held_of(s, ev.stream) : NULL;
        if (ev.type == YAMUX_OPENED)
            track(s, ev.stream);
        if (ev.type == YAMUX_DATA && held)
            *held += ev.data.len;
        else if (ev.type == YAMUX_DATA && yamux_consume(s->y, ev.stream, ev.data.len) < 0)
            abort();
        if (ev.type == YAMUX_RESET || ev.type == YAMUX_CLOSED) {
            if (held)
                *held = 0;
            if (yamux_reset(s->y, ev.stream) != ERR_NOT_FOUND)
                abort();
        }
    }
}

static void output(struct session *s, size_t most)
{
    struct buf out = BUF_INIT;
    size_t n = yamux_output(s->y, &out, most);
    if (n != buf_len(&out) || n > most)
        abort();
    buf_done(&out);
}

static void act(struct session *s, unsigned op, unsigned arg)
{
    static const uint8_t bytes[70000];
    unsigned slot = arg % TRACKED;
    uint32_t id = s->ids[slot];
    switch (op) {
    case 0:
        if (yamux_open(s->y, NULL, &id) == 0)
            track(s, id);
        break;
    case 1:
        (void)yamux_write(s->y, id, span_of(bytes, (size_t)arg * 270));
        break;
    case 2:
        if (yamux_consume(s->y, id, s->held[slot]) == 0)
            s->held[slot] = 0;
        break;
    case 3:
        (void)yamux_close_write(s->y, id);
        break;
    case 4:
        if (yamux_reset(s->y, id) == 0)
            s->held[slot] = 0;
        break;
    case 5:
        output(s, (size_t)arg * arg * 8);
        break;
    case 6:
        s->now += arg * 200 * MONO_MS;
        yamux_expire(s->y, s->now);
        break;
    default:
        (void)yamux_ping(s->y, 10 * MONO_S, s->now);
        break;
    }
}

static void check_bounds(const struct session *s, const struct yamux_config *cfg)
{
    /* chunks are at most twice what they hold, and a few spares */
    size_t most =
        16 * 1024 + 2 * cfg->send_total + 6 * 65536 + (cfg->streams_in + cfg->streams_out) * 4096 + 4 * YAMUX_RESETS_MAX;
    if (yamux_memory(s->y) > most || yamux_streams(s->y) > cfg->streams_in + cfg->streams_out)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yamux_config cfg = yamux_defaults;
    cfg.streams_in = 10;
    cfg.streams_out = 10;
    cfg.send_queue = 50000;
    cfg.send_total = 120000;
    cfg.dialer = size && (data[0] & 1);
    struct session s = {.y = yamux_new(&cfg, MONO_S), .now = MONO_S};
    for (size_t at = 1; at + 1 < size;) {
        unsigned op = data[at], arg = data[at + 1];
        at += 2;
        if (op & 0x80) {
            size_t len = arg < size - at ? arg : size - at;
            s.now += (op & 0x7f) * MONO_MS;
            uint8_t *copy = mem_copy(data + at, len);
            yamux_input(s.y, span_of(copy, len), s.now);
            pull(&s);
            free(copy);
            at += len;
        } else {
            act(&s, op % 8, arg);
            pull(&s);
        }
        check_bounds(&s, &cfg);
    }
    output(&s, 1 << 20);
    yamux_free(s.y);
    return 0;
}
