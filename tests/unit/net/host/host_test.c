/* SPDX-License-Identifier: MIT */
#include "hostnet.h"

#include "net/host/host_state.h"

#include <criterion/criterion.h>

static bool settled(const struct want *w, const struct hostnet *n, int node)
{
    return w->engine == &n->nodes[node];
}

static unsigned connections(struct hostnet *n, int node)
{
    struct host_stats s;
    host_stats(n->nodes[node].host, &s);
    return s.connections;
}

static bool said(struct hostnet *n, int node, const char *text)
{
    return strstr(buf_cstr(&n->nodes[node].events), text) != NULL;
}

Test(host, connects_identifies_and_pings)
{
    struct hostnet *n = net_new();
    net_add(n, 1, false, NULL);
    net_add(n, 2, false, NULL);
    cr_assert_eq(net_connect(n, 0, 1), 0);
    net_run(n, MONO_S);
    cr_assert_eq(connections(n, 0), 1);
    cr_assert_eq(connections(n, 1), 1);
    cr_assert(said(n, 1, "peer.connected"));
    struct host_peer *p = peer_find(n->nodes[0].host, &n->nodes[1].identity.id);
    cr_assert(peer_speaks(p, EXCHANGE_PROTOCOL), "identify came");
    cr_assert_str_eq(p->entry->agent, "p2pfs/test");
    struct host_call ping = {.verb = HOST_PING, .peer = n->nodes[1].identity.id};
    cr_assert_eq(net_call(n, 0, &ping, 5 * MONO_S), 0);
    cr_assert_geq(ping.rtt, 2 * LINK_DELAY);
    cr_assert_leq(ping.rtt, 20 * MONO_MS);
    net_free(n);
}

Test(host, fetches_a_dag_and_serves_it_on)
{
    struct hostnet *n = net_new();
    for (int i = 0; i < 3; i++)
        net_add(n, 10 + (uint64_t)i, false, NULL);
    struct cid root = net_put_dag(n, 0, 60, 256 << 10, 7);
    cr_assert_eq(net_connect(n, 1, 0), 0);
    struct want w;
    net_want(n, 1, &w, &root, WANT_DAG, 60 * MONO_S);
    net_run(n, 20 * MONO_S);
    cr_assert(settled(&w, n, 1));
    cr_assert_eq(w.result, 0, "%s", err_name(w.result));
    cr_assert_eq(n->nodes[1].block_count, 61);
    /* the third one gets it from the second, who never imported it */
    cr_assert_eq(net_connect(n, 2, 1), 0);
    struct want again;
    net_want(n, 2, &again, &root, WANT_DAG, 60 * MONO_S);
    net_run(n, 20 * MONO_S);
    cr_assert(settled(&again, n, 2) && again.result == 0);
    cr_assert_eq(n->nodes[2].block_count, 61);
    net_free(n);
}

Test(host, fetches_from_two_peers_at_once)
{
    struct hostnet *n = net_new();
    for (int i = 0; i < 3; i++)
        net_add(n, 20 + (uint64_t)i, false, NULL);
    struct cid root = net_put_dag(n, 0, 100, 128 << 10, 9);
    (void)net_put_dag(n, 1, 100, 128 << 10, 9);
    cr_assert_eq(net_connect(n, 2, 0), 0);
    cr_assert_eq(net_connect(n, 2, 1), 0);
    struct want w;
    net_want(n, 2, &w, &root, WANT_DAG, 60 * MONO_S);
    net_run(n, 20 * MONO_S);
    cr_assert(settled(&w, n, 2) && w.result == 0);
    for (int i = 0; i < 2; i++) {
        struct exchange_ledger l;
        struct host_peer *p = peer_find(n->nodes[2].host, &n->nodes[i].identity.id);
        exchange_ledger(n->nodes[2].host->exchange, p->xp, &l);
        cr_assert_gt(l.blocks_received, 20, "peer %d gave %llu", i, (unsigned long long)l.blocks_received);
    }
    net_free(n);
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
    struct hostnet *n = net_new();
    net_add(n, 25, false, NULL);
    net_add(n, 26, false, NULL);
    uint8_t *data = mem_new(1 << 20);
    memset(data, 7, 1 << 20);
    struct cid cid = net_put(n, 0, CODEC_RAW, span_of(data, 1 << 20)); /* four windows of a stream */
    cr_assert_eq(net_connect(n, 1, 0), 0);
    struct want w;
    net_want(n, 1, &w, &cid, WANT_BLOCK, 30 * MONO_S);
    unsigned finished = 0;
    for (int i = 0; i < 5000 && !settled(&w, n, 1); i++) {
        net_run(n, LINK_DELAY / 4);
        finished += finish_bitswap_in(n->nodes[1].host);
    }
    cr_assert_geq(finished, 1, "it was as it is meant");
    cr_assert(settled(&w, n, 1));
    cr_assert_eq(w.result, 0, "%s", err_name(w.result));
    cr_assert_eq(w.block->len, 1 << 20);
    struct exchange_ledger l;
    exchange_ledger(n->nodes[0].host->exchange, peer_find(n->nodes[0].host, &n->nodes[1].identity.id)->xp, &l);
    cr_assert_eq(l.blocks_sent, 1, "and went only once");
    (void)block_unref(w.block);
    free(data);
    net_free(n);
}

Test(host, goes_on_after_the_connection_dropped)
{
    struct hostnet *n = net_new();
    net_add(n, 30, false, NULL);
    net_add(n, 31, false, NULL);
    struct cid root = net_put_dag(n, 0, 200, 256 << 10, 11);
    cr_assert_eq(net_connect(n, 1, 0), 0);
    struct want w;
    net_want(n, 1, &w, &root, WANT_DAG, 100 * MONO_S);
    while (n->nodes[1].block_count < 20)
        net_run(n, 5 * MONO_MS);
    net_cut(n, 0, 1);
    net_run(n, MONO_S);
    cr_assert_eq(connections(n, 1), 0);
    cr_assert(!settled(&w, n, 1));
    cr_assert_eq(net_connect(n, 1, 0), 0);
    net_run(n, 30 * MONO_S);
    cr_assert(settled(&w, n, 1) && w.result == 0);
    cr_assert_eq(n->nodes[1].block_count, 201);
    net_free(n);
}

Test(host, friends_are_dialed_again_with_back_off)
{
    struct hostnet *n = net_new();
    net_add(n, 40, false, NULL);
    net_add(n, 41, false, NULL);
    cr_assert_eq(net_connect(n, 0, 1), 0);
    struct host_call protect = {.verb = HOST_PROTECT, .peer = n->nodes[1].identity.id, .on = true};
    cr_assert_eq(net_call(n, 0, &protect, MONO_S), 0);
    n->nodes[1].down = true;
    net_cut(n, 0, 1);
    n->dials = 0;
    net_run(n, 120 * MONO_S);
    cr_assert_eq(connections(n, 0), 0);
    cr_assert_geq(n->dials, 3);
    cr_assert_leq(n->dials, 10, "backs off");
    n->nodes[1].down = false;
    net_run(n, 300 * MONO_S);
    cr_assert_eq(connections(n, 0), 1);
    /* what is saved brings the friend back after a restart */
    struct buf saved = BUF_INIT;
    host_save_peers(n->nodes[0].host, &saved, n->now);
    net_kill(n, 0);
    struct host_config c = {.identity = &n->nodes[0].identity, .budget = n->nodes[0].budget, .agent = "again", .wall = n->wall};
    rng_init_seed(&c.rng, 99);
    n->nodes[0].host = host_new(&c, n->now);
    cr_assert_eq(host_load_peers(n->nodes[0].host, buf_span(&saved), n->now), 0);
    net_run(n, 5 * MONO_S);
    cr_assert_eq(connections(n, 0), 1);
    buf_done(&saved);
    net_free(n);
}

Test(host, mdns_connects_a_lan_by_itself)
{
    struct hostnet *n = net_new();
    n->lan = true;
    for (int i = 0; i < 4; i++)
        net_add(n, 50 + (uint64_t)i, true, NULL);
    net_run(n, 10 * MONO_S);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(connections(n, i), 3, "node %d has %u", i, connections(n, i));
        cr_assert(said(n, i, "peer.found"));
    }
    net_run(n, 600 * MONO_S);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(connections(n, i), 3, "they stay");
    net_free(n);
}

Test(host, both_dial_at_once_and_keep_one)
{
    struct hostnet *n = net_new();
    net_add(n, 60, false, NULL);
    net_add(n, 61, false, NULL);
    struct host_call a = {.verb = HOST_CONNECT, .peer = n->nodes[1].identity.id, .addr = net_addr(1)};
    struct host_call b = {.verb = HOST_CONNECT, .peer = n->nodes[0].identity.id, .addr = net_addr(0)};
    a.owner = &a;
    b.owner = &b;
    host_call(n->nodes[0].host, &a, n->now);
    host_call(n->nodes[1].host, &b, n->now);
    net_run(n, MONO_S);
    cr_assert(!a.owner && !b.owner);
    cr_assert_eq(connections(n, 0), 2, "both were made");
    net_run(n, 30 * MONO_S);
    cr_assert_eq(connections(n, 0), 1, "one is kept");
    cr_assert_eq(connections(n, 1), 1);
    cr_assert(!said(n, 0, "peer.disconnected"));
    net_free(n);
}

static void few(struct host_config *c)
{
    c->max_connections = 32;
    c->max_connections_per_ip = 4;
}

Test(host, limits_refuse_floods)
{
    struct hostnet *n = net_new();
    net_add(n, 70, false, few);
    struct host *h = n->nodes[0].host;
    struct multiaddr local = net_addr(0), remote;
    struct host_conn *from_one[8] = {0};
    int marker;
    cr_assert_eq(multiaddr_from_text(span_str("/ip4/203.0.113.7/tcp/999"), &remote, NULL), 0);
    for (int i = 0; i < 8; i++)
        from_one[i] = host_accepted(h, &marker, &remote, &local, n->now);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(from_one[i] != NULL, i < 4);
    unsigned taken = 4;
    for (int i = 0; i < 100; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "/ip6/2001:db8:%x::1/tcp/999", 0x100 * (i + 1));
        cr_assert_eq(multiaddr_from_text(span_str(text), &remote, NULL), 0);
        taken += host_accepted(h, &marker, &remote, &local, n->now) != NULL;
    }
    cr_assert_eq(taken, 32);
    /* they say nothing: after the handshake's time they are gone, and others may come */
    unsigned closed = 0;
    for (int i = 0; i < 20; i++) {
        n->now += MONO_S;
        host_expire(h, n->now);
        struct host_action a;
        while (host_next(h, &a, n->now))
            closed += a.type == HOST_CLOSE;
    }
    cr_assert_eq(closed, 32);
    struct host_stats s;
    host_stats(h, &s);
    cr_assert_eq(s.pending + s.connections, 0);
    net_free(n);
}

Test(host, hostile_bytes_end_a_connection_and_nothing_else)
{
    struct hostnet *n = net_new();
    net_add(n, 80, false, NULL);
    net_add(n, 81, false, NULL);
    cr_assert_eq(net_connect(n, 0, 1), 0);
    struct rng rng;
    rng_init_seed(&rng, 5);
    struct multiaddr local = net_addr(0), remote;
    cr_assert_eq(multiaddr_from_text(span_str("/ip4/198.51.100.9/tcp/999"), &remote, NULL), 0);
    for (int round = 0; round < 100; round++) {
        struct pipe_conn *p = pipe_new(n, 1, 0);
        p->end[1].hc = host_accepted(n->nodes[0].host, &p->end[1], &remote, &local, n->now);
        cr_assert_not_null(p->end[1].hc);
        p->end[1].open = true;
        uint8_t bytes[300];
        rng_fill(&rng, bytes, sizeof bytes);
        if (round % 2)
            memcpy(bytes, "\x13/multistream/1.0.0\n\x07/noise\n\x00\x20", 30);
        struct buf packet = BUF_INIT;
        buf_add(&packet, bytes, sizeof bytes);
        pipe_push(n, p, 1, &packet);
        net_run(n, 20 * MONO_MS);
        if (p->end[1].open) { /* it waits for more: hang up */
            host_input_end(n->nodes[0].host, p->end[1].hc, 0, n->now);
            net_run(n, 20 * MONO_MS);
        }
        cr_assert(!p->end[1].open);
        pipe_forget(p);
    }
    cr_assert_eq(connections(n, 0), 1);
    net_free(n);
}

Test(host, wants_offline_online_and_late)
{
    struct hostnet *n = net_new();
    net_add(n, 90, false, NULL);
    struct cid missing, held;
    cid_of(&missing, CODEC_RAW, span_str("nobody has this"));
    held = net_put(n, 0, CODEC_RAW, span_str("but this is here"));
    struct want w;
    net_want(n, 0, &w, &missing, WANT_BLOCK, 20 * MONO_S);
    net_run(n, 10 * MONO_S);
    cr_assert(!settled(&w, n, 0), "online: somebody may come");
    net_run(n, 11 * MONO_S);
    cr_assert(settled(&w, n, 0));
    cr_assert_eq(w.result, ERR_TIMEOUT);
    host_interfaces(n->nodes[0].host, NULL, 0, n->now);
    net_want(n, 0, &w, &missing, WANT_BLOCK, 20 * MONO_S);
    net_run(n, 10 * MONO_MS);
    cr_assert(settled(&w, n, 0), "offline: at once");
    cr_assert_eq(w.result, ERR_OFFLINE);
    net_want(n, 0, &w, &held, WANT_BLOCK, 20 * MONO_S);
    net_run(n, 10 * MONO_MS);
    cr_assert(settled(&w, n, 0) && w.result == 0, "what is held works offline");
    block_unref(w.block);
    net_free(n);
}

Test(host, stopping_settles_everything)
{
    struct hostnet *n = net_new();
    net_add(n, 100, false, NULL);
    net_add(n, 101, false, NULL);
    cr_assert_eq(net_connect(n, 0, 1), 0);
    struct cid missing;
    cid_of(&missing, CODEC_RAW, span_str("nobody has this"));
    struct want w;
    net_want(n, 0, &w, &missing, WANT_BLOCK, MONO_S * 1000);
    struct host_call call = {.verb = HOST_CONNECT, .addr = net_addr(5)};
    call.owner = &call;
    host_call(n->nodes[0].host, &call, n->now);
    net_run(n, 0);
    host_stop(n->nodes[0].host, n->now);
    net_run(n, MONO_S);
    cr_assert(settled(&w, n, 0));
    cr_assert_eq(w.result, ERR_CANCELLED);
    cr_assert_null(call.owner);
    cr_assert_lt(call.result, 0);
    cr_assert_eq(connections(n, 1), 0, "the other one was told");
    net_free(n);
}

Test(host, commands_say_what_is_wrong)
{
    struct hostnet *n = net_new();
    net_add(n, 110, false, NULL);
    net_add(n, 111, false, NULL);
    struct host_call c = {.verb = HOST_CONNECT, .peer = n->nodes[0].identity.id};
    cr_assert_eq(net_call(n, 0, &c, MONO_S), ERR_INVALID, "ourselves");
    c = (struct host_call){.verb = HOST_CONNECT, .addr = net_addr(0)};
    cr_assert_eq(net_call(n, 0, &c, MONO_S), ERR_INVALID, "our own address");
    c = (struct host_call){.verb = HOST_CONNECT, .peer = n->nodes[1].identity.id};
    cr_assert_eq(net_call(n, 0, &c, MONO_S), ERR_UNREACHABLE, "no address known");
    cr_assert(strstr(c.why.text, "no address"));
    c = (struct host_call){.verb = HOST_CONNECT, .addr = net_addr(6)};
    cr_assert_eq(net_call(n, 0, &c, 20 * MONO_S), ERR_REFUSED);
    cr_assert(strstr(c.why.text, "/ip4/10.0.0.7/tcp/4001: connection refused"), "%s", c.why.text);
    struct identity other;
    struct rng rng;
    rng_init_seed(&rng, 1234);
    identity_new(&other, &rng);
    c = (struct host_call){.verb = HOST_CONNECT, .addr = net_addr(1), .peer = other.id};
    cr_assert_eq(net_call(n, 0, &c, 20 * MONO_S), ERR_VERIFY, "somebody else answers: %s", err_name(c.result));
    c = (struct host_call){.verb = HOST_CONNECT, .addr = net_addr(1)};
    cr_assert_eq(net_call(n, 0, &c, 20 * MONO_S), 0, "whoever is there");
    cr_assert(peer_id_eq(&c.peer, &n->nodes[1].identity.id));
    c = (struct host_call){.verb = HOST_DISCONNECT, .peer = n->nodes[1].identity.id};
    cr_assert_eq(net_call(n, 0, &c, MONO_S), 0);
    net_run(n, MONO_S);
    cr_assert_eq(connections(n, 1), 0);
    cr_assert_eq(net_call(n, 0, &c, MONO_S), ERR_NOT_FOUND);
    net_free(n);
}

Test(host, a_seed_gives_one_history)
{
    uint64_t sums[2];
    for (int round = 0; round < 2; round++) {
        struct hostnet *n = net_new();
        n->lan = true;
        for (int i = 0; i < 3; i++)
            net_add(n, 120 + (uint64_t)i, true, NULL);
        struct cid root = net_put_dag(n, 0, 30, 100 << 10, 3);
        net_run(n, 3 * MONO_S);
        struct want w;
        net_want(n, 1, &w, &root, WANT_DAG, 60 * MONO_S);
        net_run(n, 10 * MONO_S);
        cr_assert_eq(w.result, 0);
        sums[round] = 0;
        for (int i = 0; i < 3; i++) {
            struct host_stats s;
            host_stats(n->nodes[i].host, &s);
            sums[round] = sums[round] * 1000003 + s.bytes_in * 31 + s.bytes_out;
        }
        net_free(n);
    }
    cr_assert_eq(sums[0], sums[1]);
}
