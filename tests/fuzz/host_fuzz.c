/* LINK: net_host net_conn store_base */
/* SPDX-License-Identifier: MIT
 *
 * A whole node against a peer that authenticates well and then says anything: the input is cut into turns, each a stream that
 * the peer opens (or one that the node opened) with a protocol and bytes, a pause, or the raw end. The peer is a conn machine of
 * our own, so that what is tried lies behind Noise and Yamux. The first byte 0xff gives the rest raw to a fresh connection. */
#include "net/conn/conn.h"
#include "net/host/host.h"
#include "tests/fuzz/cheap_keys.h"

#include <stdlib.h>

#define TURNS_MAX 64

static const char *const protocols[] = {"/ipfs/id/1.0.0",      "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0",
                                        "/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/nobody/speaks/this"};
#define PROTOCOLS (sizeof protocols / sizeof *protocols)

struct world {
    struct host *host;
    struct host_conn *hc; /* NULL: closed */
    struct conn *peer;
    struct rng rng;
    mono_ns now;
    uint32_t streams[TURNS_MAX];
    unsigned stream_count;
};

static void note_stream(struct world *w, uint32_t stream)
{
    if (w->stream_count < TURNS_MAX)
        w->streams[w->stream_count++] = stream;
}

static void answer(struct world *w, const struct host_action *a)
{
    switch (a->type) {
    case HOST_CLOSE:
        w->hc = NULL;
        return;
    case HOST_LOAD:
        host_loaded(w->host, a->tag, ERR_MISSING, 0, NULL, w->now);
        return;
    case HOST_VERIFY:
        host_verified(w->host, a->tag, a->block, exchange_verify_block(a->block, &a->prefix), w->now);
        return;
    case HOST_STORE: {
        struct cid cid = a->block->cid;
        block_unref(a->block);
        host_stored(w->host, &cid, 0, w->now);
        return;
    }
    case HOST_DIAL:
        (void)host_dialed(w->host, a->dial, NULL, ERR_REFUSED, NULL, w->now);
        return;
    default:
        return;
    }
}

static void exchange_bytes(struct world *w)
{
    bool busy = true;
    for (int i = 0; busy && i < 200; i++) {
        struct buf out = BUF_INIT;
        struct conn_event ev;
        struct host_action a;
        busy = false;
        while (w->peer && conn_next(w->peer, &ev) > 0)
            if (ev.type == CONN_STREAM)
                note_stream(w, ev.stream);
            else if (ev.type == CONN_DATA)
                (void)conn_consume(w->peer, ev.stream, ev.data.len);
        if (w->peer && conn_output(w->peer, &out, 1 << 20) && w->hc) {
            (void)host_input(w->host, w->hc, buf_span(&out), w->now);
            busy = true;
        }
        buf_clear(&out);
        while (host_next(w->host, &a, w->now))
            answer(w, &a);
        while (w->hc && host_output(w->host, w->hc, &out, 1 << 16, w->now))
            busy = true;
        if (w->peer && buf_len(&out))
            conn_input(w->peer, buf_span(&out), w->now);
        buf_done(&out);
    }
}

static void one_turn(struct world *w, struct span *in)
{
    uint8_t what = in->data[0];
    size_t len = in->len > 1 ? in->data[1] : 0;
    *in = span_from(*in, 2);
    struct span bytes = span_sub(*in, 0, len);
    *in = span_from(*in, len);
    uint32_t stream = w->stream_count ? w->streams[what % w->stream_count] : 0;
    switch (what >> 5) {
    case 0: /* a stream of theirs */
    case 1:
    case 2:
    case 3:
        if (conn_open(w->peer, &protocols[what % PROTOCOLS], 1, w->now, &stream) < 0)
            return;
        note_stream(w, stream);
        (void)conn_write(w->peer, stream, bytes);
        if (what & 32)
            (void)conn_close_write(w->peer, stream);
        return;
    case 4: /* more on one that is open, also on those that the node opened */
    case 5:
        (void)conn_write(w->peer, stream, bytes);
        if (what & 32)
            (void)conn_close_write(w->peer, stream);
        return;
    case 6:
        (void)conn_reset(w->peer, stream);
        return;
    default:
        w->now += (what & 31) * MONO_S;
        host_expire(w->host, w->now);
        conn_expire(w->peer, w->now);
        return;
    }
}

static void talk(struct world *w, struct span in)
{
    struct host_stats stats;
    exchange_bytes(w);
    host_stats(w->host, &stats);
    if (stats.connections != 1)
        abort(); /* the handshake of an honest peer: without it nothing behind is tried */
    for (int i = 0; in.len && w->hc && i < TURNS_MAX; i++) {
        one_turn(w, &in);
        exchange_bytes(w);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct conn_protocols speaks = {protocols, 5, 0};
    struct world w = {.now = 1000 * MONO_S};
    struct identity ours, theirs;
    struct budget *budget = budget_new(BUDGET_DEFAULT);
    rng_init_seed(&w.rng, 1);
    identity_new(&ours, &w.rng);
    identity_new(&theirs, &w.rng);
    struct host_config c = {.identity = &ours, .rng = w.rng, .budget = budget, .agent = "fuzz", .wall = 1};
    w.host = host_new(&c, w.now);
    struct multiaddr remote, local;
    if (multiaddr_from_text(span_str("/ip4/192.168.0.7/tcp/4001"), &remote, NULL) < 0 ||
        multiaddr_from_text(span_str("/ip4/192.168.0.8/tcp/4001"), &local, NULL) < 0)
        abort();
    w.hc = host_accepted(w.host, &w, &remote, &local, w.now);
    bool raw = len && data[0] == 0xff;
    if (raw) {
        (void)host_input(w.host, w.hc, span_of(data + 1, len - 1), w.now);
        exchange_bytes(&w);
    } else {
        struct conn_config pc = {.role = CONN_DIALER, .identity = &theirs, .protocols = &speaks, .rng = &w.rng};
        w.peer = conn_new(&pc, w.now);
        talk(&w, span_of(data, len));
    }
    conn_free(w.peer);
    host_free(w.host);
    if (budget_used(budget) != 0)
        abort(); /* something was not given back */
    budget_free(budget);
    return 0;
}
