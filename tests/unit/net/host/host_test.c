/* SPDX-License-Identifier: MIT
 *
 * Whole hosts on the simulated network (tests/sim/hostsim.h). */
#include "net/exchange/bitswap_codec.h"
#include "net/host/host_state.h"
#include "tests/sim/hostsim.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define DELAY (500 * MONO_US) /* of a line; so a round trip is 2 ms */

static struct buf events[4]; /* what each node said */

static void on_action(void *arg, int node, const struct host_action *a)
{
    (void)arg;
    if (a->type == HOST_EVENT)
        buf_printf(&events[node], "%s %s\n", a->kind, a->text);
}

static struct hostsim *net_new(int nodes, bool mdns)
{
    struct hostsim *s = hostsim_new(1);
    hostsim_watch(s, on_action, NULL);
    if (mdns)
        hostsim_lan(s);
    for (int i = 0; i < nodes; i++)
        (void)hostsim_add(s, &(struct hostsim_node){.line.delay = DELAY, .mdns = mdns});
    return s;
}

static void net_free(struct hostsim *s)
{
    hostsim_free(s);
    for (unsigned i = 0; i < sizeof events / sizeof *events; i++)
        buf_done(&events[i]);
}

static unsigned connections(struct hostsim *s, int node)
{
    struct host_stats stats;
    host_stats(hostsim_host(s, node), &stats);
    return stats.connections;
}

static bool said(int node, const char *text)
{
    return strstr(buf_cstr(&events[node]), text) != NULL;
}

static struct host_peer *peer_of(struct hostsim *s, int node, int peer)
{
    return peer_find(hostsim_host(s, node), hostsim_id(s, peer));
}

Test(host, connects_identifies_and_pings)
{
    struct hostsim *s = net_new(2, false);
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    hostsim_run(s, MONO_S);
    cr_assert_eq(connections(s, 0), 1);
    cr_assert_eq(connections(s, 1), 1);
    cr_assert(said(1, "peer.connected"));
    struct host_peer *p = peer_of(s, 0, 1);
    cr_assert(peer_speaks(p, EXCHANGE_PROTOCOL), "identify came");
    cr_assert_str_eq(p->entry->agent, "p2pfs/sim");
    struct host_call ping = {.verb = HOST_PING, .peer = *hostsim_id(s, 1)};
    cr_assert_eq(hostsim_ask(s, 0, &ping, 5 * MONO_S), 0);
    cr_assert_geq(ping.rtt, 4 * DELAY);
    cr_assert_leq(ping.rtt, 20 * MONO_MS);
    net_free(s);
}

/* It has its own window and ours full of pings, reads no echo, and is alive otherwise */
Test(host, who_pings_and_reads_no_echo_waits, .timeout = 60)
{
    struct hostsim *s = net_new(2, false);
    uint8_t pings[4096] = {0};
    struct host_call call = {.verb = HOST_OPEN, .peer = *hostsim_id(s, 0), .protocol = PING_PROTOCOL};
    cr_assert_eq(hostsim_connect_now(s, 1, 0), 0);
    cr_assert_eq(hostsim_ask(s, 1, &call, 5 * MONO_S), 0);
    for (unsigned i = 0; i < 45 * 60; i++) {
        while (host_raw_write(hostsim_host(s, 1), call.raw, span_of(pings, sizeof pings), hostsim_now(s)) > 0)
            ;
        hostsim_run(s, MONO_S);
    }
    struct host_conn *c = LINK_OF(hostsim_host(s, 0)->conns.first, struct host_conn, link);
    struct host_stream *ping = LINK_OF(c->streams.first, struct host_stream, link);
    cr_assert_eq(ping->kind, STREAM_PING_IN);
    cr_assert_gt(buf_len(&ping->out), 0, "no room for an echo");
    host_raw_consume(hostsim_host(s, 1), call.raw, host_raw_peek(call.raw).len, hostsim_now(s));
    hostsim_run(s, MONO_S);
    cr_assert_gt(host_raw_peek(call.raw).len, 0, "goes on where it stopped");
    net_free(s);
}

Test(host, fetches_a_dag_and_serves_it_on)
{
    struct hostsim *s = net_new(3, false);
    struct cid root = hostsim_put_file(s, 0, 60, 256 << 10);
    cr_assert_eq(hostsim_connect_now(s, 1, 0), 0);
    struct hostsim_want *w = hostsim_want(s, 1, WANT_DAG, &root, 60 * MONO_S);
    hostsim_run(s, 20 * MONO_S);
    cr_assert(w->settled);
    cr_assert_eq(w->want.result, 0, "%s", err_name(w->want.result));
    cr_assert_eq(hostsim_held(s, 1), 61);
    /* the third one gets it from the second, who never imported it */
    cr_assert_eq(hostsim_connect_now(s, 2, 1), 0);
    struct hostsim_want *again = hostsim_want(s, 2, WANT_DAG, &root, 60 * MONO_S);
    hostsim_run(s, 20 * MONO_S);
    cr_assert(again->settled && again->want.result == 0);
    cr_assert_eq(hostsim_held(s, 2), 61);
    net_free(s);
}

Test(host, fetches_from_two_peers_at_once)
{
    struct hostsim *s = net_new(3, false);
    struct cid root = hostsim_put_file(s, 0, 100, 128 << 10);
    hostsim_copy(s, 0, 1);
    cr_assert_eq(hostsim_connect_now(s, 2, 0), 0);
    cr_assert_eq(hostsim_connect_now(s, 2, 1), 0);
    struct hostsim_want *w = hostsim_want(s, 2, WANT_DAG, &root, 60 * MONO_S);
    hostsim_run(s, 20 * MONO_S);
    cr_assert(w->settled && w->want.result == 0);
    for (int i = 0; i < 2; i++) {
        struct exchange_ledger l;
        struct host_peer *p = peer_of(s, 2, i);
        exchange_ledger(hostsim_host(s, 2)->exchange, p->xp, &l);
        cr_assert_gt(l.blocks_received, 10, "peer %d gave %llu", i, (unsigned long long)l.blocks_received);
    }
    net_free(s);
}

/* As js and go do: they have nothing to say on a stream on which we send them bitswap messages, and finish it at once */
static unsigned finish_bitswap_in(struct host *h)
{
    unsigned finished = 0;
    for (struct link *c = h->conns.first; c; c = c->next)
        for (struct link *l = LINK_OF(c, struct host_conn, link)->streams.first; l; l = l->next) {
            struct host_stream *s = LINK_OF(l, struct host_stream, link);
            if (s->kind != STREAM_BITSWAP_IN)
                continue;
            finished += conn_close_write(s->conn->conn, s->number) == 0;
            hconn_touch(s->conn);
        }
    return finished;
}

Test(host, sends_on_when_the_peer_finished_its_side)
{
    struct hostsim *s = net_new(2, false);
    uint8_t *data = mem_new(1 << 20);
    memset(data, 7, 1 << 20);
    struct cid cid = hostsim_put(s, 0, CODEC_RAW, span_of(data, 1 << 20)); /* four windows of a stream */
    cr_assert_eq(hostsim_connect_now(s, 1, 0), 0);
    struct hostsim_want *w = hostsim_want(s, 1, WANT_BLOCK, &cid, 30 * MONO_S);
    unsigned finished = 0;
    for (int i = 0; i < 5000 && !w->settled; i++) {
        hostsim_run(s, DELAY / 2);
        finished += finish_bitswap_in(hostsim_host(s, 1));
    }
    cr_assert_geq(finished, 1, "it was as it is meant");
    cr_assert(w->settled);
    cr_assert_eq(w->want.result, 0, "%s", err_name(w->want.result));
    cr_assert_eq(w->want.block->len, 1 << 20);
    struct exchange_ledger l;
    exchange_ledger(hostsim_host(s, 0)->exchange, peer_of(s, 0, 1)->xp, &l);
    cr_assert_eq(l.blocks_sent, 1, "and went only once");
    free(data);
    net_free(s);
}

Test(host, goes_on_after_the_connection_dropped)
{
    struct hostsim *s = net_new(2, false);
    struct cid root = hostsim_put_file(s, 0, 200, 256 << 10);
    cr_assert_eq(hostsim_connect_now(s, 1, 0), 0);
    struct hostsim_want *w = hostsim_want(s, 1, WANT_DAG, &root, 100 * MONO_S);
    while (hostsim_held(s, 1) < 20)
        hostsim_run(s, 5 * MONO_MS);
    hostsim_cut(s, 0);
    hostsim_run(s, MONO_S);
    cr_assert_eq(connections(s, 1), 0);
    cr_assert(!w->settled);
    cr_assert_eq(hostsim_connect_now(s, 1, 0), 0);
    hostsim_run(s, 30 * MONO_S);
    cr_assert(w->settled && w->want.result == 0);
    cr_assert_eq(hostsim_held(s, 1), 201);
    net_free(s);
}

Test(host, friends_are_dialed_again_with_back_off)
{
    struct hostsim *s = net_new(2, false);
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    struct host_call protect = {.verb = HOST_PROTECT, .peer = *hostsim_id(s, 1), .on = true};
    cr_assert_eq(hostsim_ask(s, 0, &protect, MONO_S), 0);
    unsigned before = hostsim_dials(s, 0);
    hostsim_kill(s, 1);
    hostsim_run(s, 120 * MONO_S);
    cr_assert_eq(connections(s, 0), 0);
    unsigned dials = hostsim_dials(s, 0) - before;
    cr_assert(dials >= 3 && dials <= 10, "backs off: %u", dials);
    hostsim_start(s, 1);
    hostsim_run(s, 300 * MONO_S);
    cr_assert_eq(connections(s, 0), 1);
    /* what is saved brings the friend back after a restart */
    hostsim_kill(s, 0);
    hostsim_start(s, 0);
    hostsim_run(s, 5 * MONO_S);
    cr_assert_eq(connections(s, 0), 1);
    net_free(s);
}

Test(host, mdns_connects_a_lan_by_itself)
{
    struct hostsim *s = net_new(4, true);
    hostsim_run(s, 10 * MONO_S);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(connections(s, i), 3, "node %d has %u", i, connections(s, i));
        cr_assert(said(i, "peer.found"));
    }
    hostsim_run(s, 600 * MONO_S);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(connections(s, i), 3, "they stay");
    net_free(s);
}

/* On the LAN anybody can tell of peers that there are not, at addresses that do not answer */
Test(host, who_is_asked_for_does_not_wait_behind_peers_that_there_are_not)
{
    const int silent = 16;
    struct hostsim *s = net_new(2 + silent, false);
    struct host *h = hostsim_host(s, 0);
    for (int i = 0; i < silent; i++)
        hostsim_partition(s, 2 + i, 1);
    for (unsigned n = 0; n < HOST_LAN_PEERS_MAX; n++) {
        struct identity who;
        identity_new(&who, hostsim_rng(s));
        struct host_peer *p = peer_get(h, &who.id);
        for (int i = 0; i < silent; i++) {
            struct multiaddr addr = hostsim_address(2 + i);
            (void)peerstore_learn(h->store, p->entry, &addr, ADDR_FROM_LAN, hostsim_now(s));
        }
        peer_dial_later(p, hostsim_now(s));
    }
    hostsim_run(s, MONO_S);
    cr_assert_eq(h->flying, DIAL_TOTAL_MAX / 2);
    struct host_call call = {.verb = HOST_CONNECT, .peer = *hostsim_id(s, 1), .addr = hostsim_address(1)};
    cr_assert_eq(hostsim_ask(s, 0, &call, 2 * MONO_S), 0, "%s", call.why.text);
    net_free(s);
}

Test(host, both_dial_at_once_and_keep_one)
{
    struct hostsim *s = net_new(2, false);
    struct host_call a = {.verb = HOST_CONNECT, .peer = *hostsim_id(s, 1), .addr = hostsim_address(1)};
    struct host_call b = {.verb = HOST_CONNECT, .peer = *hostsim_id(s, 0), .addr = hostsim_address(0)};
    hostsim_call(s, 0, &a);
    hostsim_call(s, 1, &b);
    hostsim_run(s, MONO_S);
    cr_assert(!a.owner && !b.owner);
    cr_assert_eq(connections(s, 0), 2, "both were made");
    hostsim_run(s, 30 * MONO_S);
    cr_assert_eq(connections(s, 0), 1, "one is kept");
    cr_assert_eq(connections(s, 1), 1);
    cr_assert(!said(0, "peer.disconnected"));
    net_free(s);
}

static void few(struct host_config *c)
{
    c->max_connections = 32;
    c->max_connections_per_ip = 4;
}

static void new_stranger(int i, struct multiaddr *ret)
{
    char text[64];
    (void)snprintf(text, sizeof text, "/ip6/2001:db8:%x::1/tcp/999", 0x100 * (i + 1));
    cr_assert_eq(multiaddr_from_text(span_str(text), ret, NULL), 0);
}

/* The simulator's network is not used here */
Test(host, limits_refuse_floods)
{
    struct hostsim *s = hostsim_new(1);
    struct host *h = hostsim_host(s, hostsim_add(s, &(struct hostsim_node){.tune = few}));
    mono_ns now = hostsim_now(s);
    struct multiaddr local = hostsim_address(0), remote;
    struct host_conn *from_one[8] = {0};
    int marker;
    cr_assert_eq(multiaddr_from_text(span_str("/ip4/203.0.113.7/tcp/999"), &remote, NULL), 0);
    for (int i = 0; i < 8; i++)
        from_one[i] = host_accepted(h, &marker, &remote, &local, now);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(from_one[i] != NULL, i < 4);
    unsigned taken = 4;
    for (int i = 0; i < 100; i++) {
        new_stranger(i, &remote);
        taken += host_accepted(h, &marker, &remote, &local, now) != NULL;
    }
    cr_assert_eq(taken, 28, "14 of 16 parts: the rest is for known peers");
    /* they say nothing: after the handshake's time they are gone, and others may come */
    unsigned closed = 0;
    for (int i = 0; i < 20; i++) {
        now += MONO_S;
        host_expire(h, now);
        struct host_action a;
        while (host_next(h, &a, now))
            closed += a.type == HOST_CLOSE;
    }
    cr_assert_eq(closed, 28);
    struct host_stats stats;
    host_stats(h, &stats);
    cr_assert_eq(stats.pending + stats.connections, 0);
    net_free(s);
}

struct flood {
    struct host *h;
    struct identity who;
    struct rng rng;
    struct conn *conn;
    struct host_conn *hc;
    bool held;
    unsigned asked;
    uint32_t streams[EXCHANGE_STREAMS_MAX];
    size_t told[EXCHANGE_STREAMS_MAX];
};

/* A thousand wants, 46 bytes each */
static struct buf many_wants(void)
{
    struct buf list = BUF_INIT, message = BUF_INIT, out = BUF_INIT;
    for (unsigned i = 0; i < 1000; i++) {
        struct cid cid;
        cid_of(&cid, CODEC_RAW, span_of(&i, sizeof i));
        bitswap_add_entry(&list, &(struct bitswap_entry){.cid = &cid, .priority = 1});
    }
    bitswap_add_wantlist(&message, buf_span(&list), false);
    bitswap_add_message(&out, buf_span(&message));
    buf_done(&list);
    buf_done(&message);
    return out;
}

static const char *const speaks[] = {IDENTIFY_PROTOCOL, EXCHANGE_PROTOCOL};
static const struct conn_protocols flood_protocols = {speaks, 2, 0};

/* Says who it is, at the third time */
static void flood_asked(struct flood *f, uint32_t stream)
{
    struct buf key = BUF_INIT, out = BUF_INIT;
    struct pubkey k;
    if (++f->asked < 3) {
        (void)conn_reset(f->conn, stream);
        return;
    }
    identity_pubkey(&f->who, &k);
    pubkey_encode(&k, &key);
    struct identify own = {.public_key = buf_span(&key), .version = span_str(IDENTIFY_VERSION), .protocol_count = 2};
    own.protocols[0] = span_str(speaks[0]);
    own.protocols[1] = span_str(speaks[1]);
    (void)identify_build(&own, &out);
    (void)conn_write(f->conn, stream, buf_span(&out));
    (void)conn_close_write(f->conn, stream);
    buf_done(&key);
    buf_done(&out);
}

/* All that can move at this moment, between the peer and the host */
static void flood_move(struct flood *f, mono_ns now)
{
    struct buf out = BUF_INIT;
    struct conn_event ev;
    struct host_action a;
    for (bool more = true; more;) {
        while (conn_next(f->conn, &ev) > 0)
            if (ev.type == CONN_DATA)
                (void)conn_consume(f->conn, ev.stream, ev.data.len);
            else if (ev.type == CONN_STREAM)
                flood_asked(f, ev.stream);
        while (host_next(f->h, &a, now))
            if (a.type == HOST_HOLD || a.type == HOST_RESUME)
                f->held = a.type == HOST_HOLD;
            else if (a.type == HOST_LOAD)
                host_loaded(f->h, a.tag, ERR_MISSING, 0, NULL, now);
        more = !f->held && conn_output(f->conn, &out, 65537);
        if (more)
            f->held = !host_input(f->h, f->hc, buf_span(&out), now);
        buf_clear(&out);
        while (host_output(f->h, f->hc, &out, 65537, now))
            more = true;
        conn_input(f->conn, buf_span(&out), now);
        buf_clear(&out);
    }
    buf_done(&out);
}

static void flood_begin(struct flood *f, struct hostsim *s, mono_ns now)
{
    struct multiaddr local = hostsim_address(0), remote;
    static int marker;
    *f = (struct flood){.h = hostsim_host(s, hostsim_add(s, &(struct hostsim_node){.line.delay = DELAY}))};
    new_stranger(1, &remote);
    rng_init_seed(&f->rng, 2);
    identity_new(&f->who, &f->rng);
    f->conn = conn_new(
        &(struct conn_config){.role = CONN_DIALER, .identity = &f->who, .protocols = &flood_protocols, .rng = &f->rng}, now);
    f->hc = host_accepted(f->h, &marker, &remote, &local, now);
}

/* Half a minute, in which the peer is asked who it is until it says so */
static mono_ns flood_rest(struct flood *f, mono_ns now)
{
    for (unsigned i = 0; i < 30; i++, now += MONO_S) {
        host_expire(f->h, now);
        conn_expire(f->conn, now);
        flood_move(f, now);
    }
    return now;
}

static void flood_end(struct flood *f, mono_ns now)
{
    struct host_action a;
    host_input_end(f->h, f->hc, 0, now);
    while (host_next(f->h, &a, now))
        ; /* HOST_CLOSE is among them: it is gone */
    conn_free(f->conn);
}

static size_t waiting(const struct host_conn *c)
{
    size_t sum = 0;
    for (const struct link *l = c->streams.first; l; l = l->next)
        sum += buf_len(&LINK_OF(l, const struct host_stream, link)->rest);
    return sum;
}

/* Fills as many streams as a peer may have, each up to its window, for 400 ms. The most bytes that wait; *ret_late: how many came in
 * the second half. */
static size_t flood_with_wants(struct flood *f, mono_ns now, uint64_t *ret_late)
{
    static const char *const ids[] = {EXCHANGE_PROTOCOL};
    struct buf wants = many_wants();
    size_t most = 0;
    uint64_t half = 0;
    for (unsigned round = 0; round < 400; round++, now += MONO_MS) {
        host_expire(f->h, now);
        flood_move(f, now);
        for (unsigned i = 0; i < EXCHANGE_STREAMS_MAX && conn_is_ready(f->conn); i++) {
            if (!f->streams[i])
                (void)conn_open(f->conn, ids, 1, now, &f->streams[i]);
            struct span rest = span_from(buf_span(&wants), f->told[i] % buf_len(&wants));
            int n = conn_write(f->conn, f->streams[i], rest);
            cr_assert_geq(n, 0);
            f->told[i] += (size_t)n;
        }
        most = waiting(f->hc) > most ? waiting(f->hc) : most;
        half = round == 200 ? f->hc->bytes_in : half;
    }
    *ret_late = f->hc->bytes_in - half;
    buf_done(&wants);
    return most;
}

/* What is not looked at yet is not kept. */
Test(host, wants_that_wait_are_bounded)
{
    struct hostsim *s = hostsim_new(1);
    struct flood f;
    mono_ns now = hostsim_now(s);
    flood_begin(&f, s, now);
    uint64_t late;
    size_t most = flood_with_wants(&f, now, &late);
    cr_assert(most > 0 && most < 1400 << 10, "%zu bytes wait", most);
    cr_assert_gt(late, 100 << 10, "it goes on, as fast as it may");
    flood_end(&f, now + MONO_S);
    net_free(s);
}

/* What its streams wait for may be behind what they wait with: the end of a block. So it is read on, up to what a few streams
 * may have, though others are not. */
Test(host, who_owes_us_blocks_is_read_on)
{
    struct hostsim *s = hostsim_new(1);
    struct flood f;
    mono_ns now = hostsim_now(s);
    flood_begin(&f, s, now);
    now = flood_rest(&f, now);
    struct want w = {.kind = WANT_BLOCK, .priority = WANT_NOW, .deadline = MONO_NEVER};
    cid_of(&w.cid, CODEC_RAW, span_str("a block"));
    cr_assert_eq(host_want(f.h, &w, now), 0);
    flood_move(&f, now);
    cr_assert(exchange_peer_owes(f.hc->peer->xp));
    uint64_t late;
    size_t most = flood_with_wants(&f, now, &late);
    cr_assert(most > 2 << 20 && most < 3400 << 10, "%zu bytes wait", most);
    host_cancel(f.h, &w, now + MONO_S);
    flood_end(&f, now + MONO_S);
    net_free(s);
}

/* Without an answer it would not be asked for blocks, for as long as it is connected. */
Test(host, who_did_not_say_who_it_is_is_asked_again)
{
    struct hostsim *s = hostsim_new(1);
    struct flood f;
    mono_ns now = hostsim_now(s);
    flood_begin(&f, s, now);
    now = flood_rest(&f, now);
    cr_assert_eq(f.asked, 3, "%u", f.asked);
    cr_assert(f.hc->ready && peer_speaks(f.hc->peer, EXCHANGE_PROTOCOL));
    flood_end(&f, now);
    net_free(s);
}

/* A peer asks who we are on many streams, or tells who it is, and ends none of them */
Test(host, questions_that_stay_open_are_bounded)
{
    static const struct {
        const char *protocol;
        unsigned most;
    } kinds[] = {{IDENTIFY_PROTOCOL, IDENTIFY_INBOUND_MAX}, {IDENTIFY_PUSH_PROTOCOL, IDENTIFY_PUSHES_MAX}};
    for (unsigned k = 0; k < 2; k++) {
        struct hostsim *s = hostsim_new(1);
        struct flood f;
        mono_ns now = hostsim_now(s);
        flood_begin(&f, s, now);
        unsigned opened = 0;
        for (unsigned round = 0; round < 40; round++, now += MONO_MS) {
            uint32_t stream;
            flood_move(&f, now);
            for (unsigned i = 0; i < 10 && conn_is_ready(f.conn); i++)
                opened += conn_open(f.conn, &kinds[k].protocol, 1, now, &stream) == 0;
        }
        flood_move(&f, now);
        cr_assert_gt(opened, 200);
        cr_assert_leq(f.hc->streams.count, kinds[k].most + 1, "%u streams are open", f.hc->streams.count);
        flood_end(&f, now);
        net_free(s);
    }
}

/* Half-open ones hold all places that strangers have: after a while each that comes finds one, the eldest goes for it */
Test(host, half_open_ones_give_way)
{
    struct hostsim *s = hostsim_new(1);
    struct host *h = hostsim_host(s, hostsim_add(s, &(struct hostsim_node){.tune = few}));
    mono_ns now = hostsim_now(s);
    struct multiaddr local = hostsim_address(0), remote;
    int marker;
    for (int i = 0; i < 100; i++) {
        new_stranger(i, &remote);
        (void)host_accepted(h, &marker, &remote, &local, now);
    }
    struct host_action a;
    for (int i = 0; i < 20; i++) {
        bool early = i < 10;
        if (!i)
            now += CONNLIMIT_PATIENCE / 2;
        if (i == 10)
            now += 9 * MONO_S; /* so that as many may come again */
        new_stranger(100 + i, &remote);
        cr_assert_eq(host_accepted(h, &marker, &remote, &local, now) != NULL, !early, "%d", i);
        while (host_next(h, &a, now))
            ;
    }
    net_free(s);
}

static void sixteen(struct host_config *c)
{
    c->max_connections = 16;
}

static unsigned connected_of(struct hostsim *s, int node, int first, int last)
{
    unsigned count = 0;
    for (int i = first; i <= last; i++) {
        const struct host_peer *p = peer_of(s, node, i);
        count += p && p->conns.count;
    }
    return count;
}

/* Of 16 places strangers have 12. Then a friend comes, from an address nobody knows, and we go to one. */
Test(host, known_peers_get_in_where_strangers_fill_the_limit)
{
    struct hostsim *s = hostsim_new(1);
    (void)hostsim_add(s, &(struct hostsim_node){.line.delay = DELAY, .tune = sixteen});
    for (int i = 1; i <= 22; i++)
        (void)hostsim_add(s, &(struct hostsim_node){.line.delay = DELAY});
    for (int i = 1; i <= 20; i++)
        hostsim_connect(s, i, 0);
    hostsim_run(s, 20 * MONO_S);
    cr_assert_eq(connected_of(s, 0, 1, 20), 12);
    hostsim_protect(s, 0, 21); /* it has no address yet */
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(hostsim_connect_now(s, 21, 0), 0);
        hostsim_run(s, MONO_S);
        cr_assert_eq(connected_of(s, 0, 21, 21), 1);
        cr_assert_leq(connected_of(s, 0, 1, 20), 11, "a stranger went for it");
        cr_assert_eq(hostsim_connect_now(s, 0, 22), 0, "we may go where we want");
        hostsim_run(s, MONO_S);
        cr_assert_eq(connected_of(s, 0, 22, 22), 1);
        struct host_call bye = {.verb = HOST_DISCONNECT, .peer = *hostsim_id(s, 22)};
        cr_assert_eq(hostsim_ask(s, 0, &bye, MONO_S), 0);
        bye = (struct host_call){.verb = HOST_DISCONNECT, .peer = *hostsim_id(s, 0)};
        cr_assert_eq(hostsim_ask(s, 21, &bye, MONO_S), 0);
        hostsim_run(s, 60 * MONO_S); /* strangers come again */
    }
    net_free(s);
}

Test(host, hostile_bytes_end_a_connection_and_nothing_else)
{
    struct hostsim *s = net_new(2, false);
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    struct rng rng;
    rng_init_seed(&rng, 5);
    struct multiaddr remote;
    cr_assert_eq(multiaddr_from_text(span_str("/ip4/198.51.100.9/tcp/999"), &remote, NULL), 0);
    for (int round = 0; round < 100; round++) {
        uint8_t bytes[300];
        rng_fill(&rng, bytes, sizeof bytes);
        if (round % 2)
            memcpy(bytes, "\x13/multistream/1.0.0\n\x07/noise\n\x00\x20", 30);
        cr_assert(hostsim_stranger(s, 0, &remote, span_of(bytes, sizeof bytes)), "round %d", round);
    }
    cr_assert_eq(connections(s, 0), 1);
    net_free(s);
}

static void interface(struct hostsim *s, int node, bool up, struct self_ip ip)
{
    struct self_iface iface = {.index = 2, .up = up, .multicast = true, .addr_count = 1, .addrs = {ip}};
    host_interfaces(hostsim_host(s, node), &iface, 1, hostsim_now(s));
}

/* The only address of a node is another one from now on, as on another network */
static void move(struct hostsim *s, int node)
{
    interface(s, node, true, (struct self_ip){.ip = {10, 99, 0, (uint8_t)node}});
}

Test(host, an_address_that_has_gone_takes_its_connections_along)
{
    struct hostsim *s = net_new(2, false);
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    hostsim_run(s, 5 * MONO_S);
    interface(s, 0, false, (struct self_ip){.ip = {HOSTSIM_IP(0)}});
    cr_assert_eq(connections(s, 0), 1, "down for a moment: it may go on");
    move(s, 0);
    hostsim_run(s, 10 * MONO_MS);
    cr_assert_eq(connections(s, 0), 0);
    hostsim_run(s, 10 * MONO_S);
    cr_assert_eq(connections(s, 0), 1, "and it is dialed again");
    net_free(s);
}

Test(host, a_peer_that_comes_back_another_way_has_its_old_connection_looked_at)
{
    struct hostsim *s = net_new(2, false);
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    hostsim_run(s, 5 * MONO_S);
    struct host_peer *p = peer_of(s, 1, 0);
    hostsim_partition(s, 0, 1); /* what the old one says does not arrive any more */
    move(s, 0);
    hostsim_run(s, MONO_S);
    cr_assert_eq(p->conns.count, 1, "the other side cannot know");
    struct host_conn *old = LINK_OF(p->conns.first, struct host_conn, of_peer);
    struct host_conn *new = MEM_NEW(struct host_conn);
    *new = (struct host_conn){.host = hostsim_host(s, 1), .conn = old->conn, .inbound = true, .ready = true};
    peer_conn_ready(p, new);
    cr_assert_eq(conn_ping(old->conn, 10 * MONO_S, hostsim_now(s)), ERR_AGAIN, "one is under way");
    cr_assert(peer_best_conn(p) == new, "whatever is new goes by the new one");
    peer_conn_gone(p, new);
    free(new);
    hostsim_run(s, 4 * MONO_S);
    cr_assert_eq(connections(s, 1), 0, "before who waits for the peer gives up");
    net_free(s);
}

Test(host, back_on_a_network_nobody_is_put_off)
{
    struct hostsim *s = net_new(2, false);
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    interface(s, 0, false, (struct self_ip){.ip = {HOSTSIM_IP(0)}});
    hostsim_partition(s, 0, 1);
    hostsim_run(s, 3600 * MONO_S);
    cr_assert_eq(connections(s, 0), 0);
    hostsim_partition(s, 0, 0);
    interface(s, 0, true, (struct self_ip){.ip = {HOSTSIM_IP(0)}});
    hostsim_run(s, 2 * MONO_S);
    cr_assert_eq(connections(s, 0), 1, "after an hour of failures, at once");
    net_free(s);
}

Test(host, what_the_user_connected_to_is_dialed_again)
{
    struct hostsim *s = net_new(2, false);
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    hostsim_run(s, MONO_S);
    hostsim_cut(s, 0);
    hostsim_run(s, 10 * MONO_S);
    cr_assert_eq(connections(s, 0), 1);
    hostsim_kill(s, 1);
    hostsim_run(s, 300 * MONO_S);
    cr_assert_eq(connections(s, 0), 0);
    hostsim_start(s, 1);
    hostsim_run(s, 3600 * MONO_S);
    cr_assert_eq(connections(s, 0), 1, "also when it was away for long");
    struct host_call leave = {.verb = HOST_DISCONNECT, .peer = *hostsim_id(s, 1)};
    cr_assert_eq(hostsim_ask(s, 0, &leave, MONO_S), 0);
    hostsim_run(s, 3600 * MONO_S);
    cr_assert_eq(connections(s, 0), 0, "until disconnected");
    net_free(s);
}

Test(host, wants_offline_online_and_late)
{
    struct hostsim *s = net_new(1, false);
    struct cid missing, held;
    cid_of(&missing, CODEC_RAW, span_str("nobody has this"));
    held = hostsim_put(s, 0, CODEC_RAW, span_str("but this is here"));
    struct hostsim_want *w = hostsim_want(s, 0, WANT_BLOCK, &missing, 20 * MONO_S);
    hostsim_run(s, 10 * MONO_S);
    cr_assert(!w->settled, "online: somebody may come");
    hostsim_run(s, 11 * MONO_S);
    cr_assert(w->settled);
    cr_assert_eq(w->want.result, ERR_TIMEOUT);
    host_interfaces(hostsim_host(s, 0), NULL, 0, hostsim_now(s));
    w = hostsim_want(s, 0, WANT_BLOCK, &missing, 20 * MONO_S);
    hostsim_run(s, 10 * MONO_MS);
    cr_assert(w->settled, "offline: at once");
    cr_assert_eq(w->want.result, ERR_OFFLINE);
    w = hostsim_want(s, 0, WANT_BLOCK, &held, 20 * MONO_S);
    hostsim_run(s, 10 * MONO_MS);
    cr_assert(w->settled && w->want.result == 0, "what is held works offline");
    net_free(s);
}

Test(host, stopping_settles_everything)
{
    struct hostsim *s = net_new(2, false);
    cr_assert_eq(hostsim_connect_now(s, 0, 1), 0);
    struct cid missing;
    cid_of(&missing, CODEC_RAW, span_str("nobody has this"));
    struct hostsim_want *w = hostsim_want(s, 0, WANT_BLOCK, &missing, MONO_S * 1000);
    struct host_call call = {.verb = HOST_CONNECT, .addr = hostsim_address(5)};
    hostsim_call(s, 0, &call);
    host_stop(hostsim_host(s, 0), hostsim_now(s));
    hostsim_run(s, MONO_S);
    cr_assert(w->settled);
    cr_assert_eq(w->want.result, ERR_CANCELLED);
    cr_assert_null(call.owner);
    cr_assert_lt(call.result, 0);
    cr_assert_eq(connections(s, 1), 0, "the other one was told");
    net_free(s);
}

Test(host, commands_say_what_is_wrong)
{
    struct hostsim *s = net_new(2, false);
    struct host_call c = {.verb = HOST_CONNECT, .peer = *hostsim_id(s, 0)};
    cr_assert_eq(hostsim_ask(s, 0, &c, MONO_S), ERR_INVALID, "ourselves");
    c = (struct host_call){.verb = HOST_CONNECT, .addr = hostsim_address(0)};
    cr_assert_eq(hostsim_ask(s, 0, &c, MONO_S), ERR_INVALID, "our own address");
    c = (struct host_call){.verb = HOST_CONNECT, .peer = *hostsim_id(s, 1)};
    cr_assert_eq(hostsim_ask(s, 0, &c, MONO_S), ERR_UNREACHABLE, "no address known");
    cr_assert(strstr(c.why.text, "no address"));
    c = (struct host_call){.verb = HOST_CONNECT, .addr = hostsim_address(6)};
    cr_assert_eq(hostsim_ask(s, 0, &c, 20 * MONO_S), ERR_REFUSED);
    cr_assert(strstr(c.why.text, "/ip4/10.0.7.1/tcp/4001: connection refused"), "%s", c.why.text);
    struct identity other;
    struct rng rng;
    rng_init_seed(&rng, 1234);
    identity_new(&other, &rng);
    c = (struct host_call){.verb = HOST_CONNECT, .addr = hostsim_address(1), .peer = other.id};
    cr_assert_eq(hostsim_ask(s, 0, &c, 20 * MONO_S), ERR_VERIFY, "somebody else answers: %s", err_name(c.result));
    c = (struct host_call){.verb = HOST_CONNECT, .addr = hostsim_address(1)};
    cr_assert_eq(hostsim_ask(s, 0, &c, 20 * MONO_S), 0, "whoever is there");
    cr_assert(peer_id_eq(&c.peer, hostsim_id(s, 1)));
    c = (struct host_call){.verb = HOST_DISCONNECT, .peer = *hostsim_id(s, 1)};
    cr_assert_eq(hostsim_ask(s, 0, &c, MONO_S), 0);
    hostsim_run(s, MONO_S);
    cr_assert_eq(connections(s, 1), 0);
    cr_assert_eq(hostsim_ask(s, 0, &c, MONO_S), ERR_NOT_FOUND);
    net_free(s);
}

Test(host, a_seed_gives_one_history)
{
    uint64_t digests[2];
    for (int round = 0; round < 2; round++) {
        struct hostsim *s = net_new(3, true);
        struct cid root = hostsim_put_file(s, 0, 30, 100 << 10);
        hostsim_run(s, 3 * MONO_S);
        struct hostsim_want *w = hostsim_want(s, 1, WANT_DAG, &root, 60 * MONO_S);
        hostsim_run(s, 10 * MONO_S);
        cr_assert_eq(w->want.result, 0);
        digests[round] = hostsim_digest(s);
        net_free(s);
    }
    cr_assert_eq(digests[0], digests[1]);
}
