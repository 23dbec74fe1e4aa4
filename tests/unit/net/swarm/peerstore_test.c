/* SPDX-License-Identifier: MIT */
#include "net/swarm/peerstore.h"

#include "net/swarm/dialplan.h"
#include "store/base/rng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW  (100 * MONO_S)
#define WALL ((wall_ns)(1800000000 * MONO_S))

static struct multiaddr addr(const char *text)
{
    struct multiaddr m;
    cr_assert_eq(multiaddr_from_text(span_str(text), &m, NULL), 0, "%s", text);
    return m;
}

static struct peer_id id(unsigned n)
{
    uint8_t key[36] = {8, 1, 18, 32};
    struct peer_id p;
    memcpy(key + 4, &n, sizeof n);
    peer_id_of_key(span_of(key, sizeof key), &p);
    return p;
}

Test(peerstore, learns_once_and_expires)
{
    struct peerstore *ps = peerstore_new();
    struct peer_id a = id(1);
    struct multiaddr m = addr("/ip4/192.0.2.1/tcp/4001");
    struct peer_entry *e = peerstore_touch(ps, &a);
    cr_assert(peerstore_learn(ps, e, &m, ADDR_FROM_PEER, NOW));
    cr_assert(!peerstore_learn(ps, e, &m, ADDR_FROM_PEER, NOW + MONO_S), "known: only its time is longer");
    cr_assert_eq(e->addrs[0]->expires, NOW + MONO_S + PEERSTORE_PEER_TTL);
    peerstore_expire(ps, NOW + PEERSTORE_PEER_TTL);
    cr_assert_eq(e->addr_count, 1);
    peerstore_succeeded(ps, e, &m, NOW, WALL);
    peerstore_expire(ps, NOW + 2 * PEERSTORE_PEER_TTL);
    cr_assert_eq(e->addr_count, 1, "it worked: a week");
    peerstore_expire(ps, NOW + PEERSTORE_PROVEN_TTL + 1);
    cr_assert_null(peerstore_find(ps, &a), "nothing is left to know");
    peerstore_free(ps);
}

/* Connected or away for longer than what was learned of him lasts, or our clock was wrong once */
Test(peerstore, a_friend_keeps_an_address)
{
    struct peerstore *ps = peerstore_new(), *again = peerstore_new();
    struct peer_id a = id(1);
    struct multiaddr m[3] = {addr("/ip4/192.0.2.1/tcp/1"), addr("/ip4/192.0.2.1/tcp/2"), addr("/ip4/192.0.2.1/tcp/3")};
    struct peer_entry *e = peerstore_touch(ps, &a);
    struct buf out = BUF_INIT;
    cr_assert_eq(peerstore_set_friend(ps, e, true), 0);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(peerstore_learn(ps, e, &m[i], ADDR_FROM_PEER, NOW));
    peerstore_succeeded(ps, e, &m[1], NOW, WALL);
    peerstore_save(ps, &out, NOW, WALL);
    peerstore_expire(ps, NOW + 2 * PEERSTORE_PROVEN_TTL);
    cr_assert_eq(e->addr_count, 1);
    cr_assert_eq(e->addrs[0]->last_success, WALL, "the best one");
    wall_ns later = WALL + (wall_ns)(2 * PEERSTORE_PROVEN_TTL);
    cr_assert_eq(peerstore_load(again, buf_span(&out), NOW, later), 0);
    e = peerstore_find(again, &a);
    peerstore_expire(again, NOW);
    cr_assert_eq(e->addr_count, 1);
    cr_assert_eq(e->addrs[0]->last_success, WALL);
    cr_assert_eq(peerstore_set_friend(again, e, false), 0);
    peerstore_expire(again, NOW);
    cr_assert_null(peerstore_find(again, &a));
    buf_done(&out);
    peerstore_free(ps);
    peerstore_free(again);
}

Test(peerstore, failures_put_off)
{
    struct peerstore *ps = peerstore_new();
    struct peer_id a = id(1);
    struct multiaddr m = addr("/ip4/192.0.2.1/tcp/4001");
    struct peer_entry *e = peerstore_touch(ps, &a);
    peerstore_learn(ps, e, &m, ADDR_FROM_USER, NOW);
    peerstore_failed(e, &m, NOW);
    cr_assert_eq(e->addrs[0]->retry_at, NOW + 6 * MONO_S);
    peerstore_failed(e, &m, NOW);
    cr_assert_eq(e->addrs[0]->retry_at, NOW + 9 * MONO_S);
    for (int i = 0; i < 100; i++)
        peerstore_failed(e, &m, NOW);
    cr_assert_eq(e->addrs[0]->retry_at, NOW + 300 * MONO_S);
    peerstore_succeeded(ps, e, &m, NOW, WALL);
    cr_assert_eq(e->addrs[0]->retry_at, 0);
    peerstore_free(ps);
}

Test(peerstore, is_bounded)
{
    struct peerstore *ps = peerstore_new();
    struct peer_id friend = id(0xffffff), first = id(0);
    cr_assert_eq(peerstore_set_friend(ps, peerstore_touch(ps, &friend), true), 0);
    for (unsigned i = 0; i < 3 * PEERSTORE_PEERS_MAX; i++) {
        struct peer_id p = id(i);
        struct peer_entry *e = peerstore_touch(ps, &p);
        if (i == 0)
            peerstore_pin(e);
        struct multiaddr m = addr("/ip4/192.0.2.1/tcp/4001");
        peerstore_learn(ps, e, &m, ADDR_FROM_PEER, NOW);
    }
    cr_assert_eq(peerstore_count(ps), PEERSTORE_PEERS_MAX);
    cr_assert_leq(peerstore_bytes(ps), PEERSTORE_BYTES_MAX);
    cr_assert_not_null(peerstore_find(ps, &friend));
    cr_assert_not_null(peerstore_find(ps, &first), "pinned");
    peerstore_unpin(peerstore_find(ps, &first));
    /* one peer with very many addresses: the user's word stays */
    struct peer_id talker = id(0xeeeeee);
    struct peer_entry *e = peerstore_touch(ps, &talker);
    struct multiaddr mine = addr("/ip4/192.0.2.9/tcp/9");
    peerstore_learn(ps, e, &mine, ADDR_FROM_USER, NOW);
    for (unsigned i = 0; i < 1000; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "/ip4/198.51.100.7/tcp/%u", i + 1);
        struct multiaddr m = addr(text);
        peerstore_learn(ps, e, &m, ADDR_FROM_PEER, NOW + i);
    }
    cr_assert_eq(e->addr_count, PEERSTORE_ADDRS_MAX);
    cr_assert(span_eq(span_of(e->addrs[0]->bytes, e->addrs[0]->len), multiaddr_span(&mine)));
    peerstore_free(ps);
}

Test(peerstore, agents_are_printable)
{
    struct peerstore *ps = peerstore_new();
    struct peer_id a = id(1);
    struct peer_entry *e = peerstore_touch(ps, &a);
    peerstore_set_agent(e, span_str("evil\x1b[31m\n\xff"));
    cr_assert_str_eq(e->agent, "evil?[31m??");
    char longer[200];
    memset(longer, 'x', sizeof longer);
    peerstore_set_agent(e, span_of(longer, sizeof longer));
    cr_assert_eq(strlen(e->agent), PEERSTORE_AGENT_SIZE - 1);
    peerstore_free(ps);
}

static void fill(struct peerstore *ps)
{
    for (unsigned i = 0; i < 20; i++) {
        struct peer_id p = id(i);
        struct peer_entry *e = peerstore_touch(ps, &p);
        struct multiaddr four = addr("/ip4/192.0.2.1/tcp/4001"), six = addr("/ip6/2001:db8::1/tcp/4001");
        e->proven = i % 2;
        e->last_seen = WALL - i;
        peerstore_set_agent(e, span_str("kubo/0.43"));
        peerstore_learn(ps, e, &four, ADDR_FROM_USER, NOW);
        peerstore_learn(ps, e, &six, ADDR_FROM_PEER, NOW);
        peerstore_succeeded(ps, e, &six, NOW, WALL);
        if (i == 4)
            cr_assert_eq(peerstore_set_friend(ps, e, true), 0);
    }
}

Test(peerstore, saves_and_loads)
{
    struct peerstore *ps = peerstore_new(), *again = peerstore_new();
    struct buf out = BUF_INIT, twice = BUF_INIT;
    fill(ps);
    peerstore_save(ps, &out, NOW, WALL);
    /* another boot: the monotonic clock began anew, an hour passed */
    cr_assert_eq(peerstore_load(again, buf_span(&out), 7 * MONO_S, WALL + (wall_ns)(3600 * MONO_S)), 0);
    cr_assert_eq(peerstore_count(again), 11, "ten proven, one friend");
    struct peer_id one = id(1), four = id(4);
    struct peer_entry *e = peerstore_find(again, &one);
    cr_assert_not_null(e);
    cr_assert_str_eq(e->agent, "kubo/0.43");
    cr_assert_eq(e->last_seen, WALL - 1);
    cr_assert_eq(e->addr_count, 2);
    cr_assert_eq(e->addrs[0]->expires, MONO_NEVER);
    cr_assert_eq(e->addrs[1]->expires, 7 * MONO_S + PEERSTORE_PROVEN_TTL - 3600 * MONO_S);
    cr_assert_eq(e->addrs[1]->last_success, WALL);
    cr_assert(peerstore_find(again, &four)->is_friend);
    peerstore_save(again, &twice, 7 * MONO_S, WALL + (wall_ns)(3600 * MONO_S));
    cr_assert(span_eq(buf_span(&out), buf_span(&twice)), "the same again");
    peerstore_free(ps);
    peerstore_free(again);
    buf_done(&out);
    buf_done(&twice);
}

Test(peerstore, damaged_files_give_errors)
{
    struct peerstore *ps = peerstore_new();
    struct buf out = BUF_INIT;
    fill(ps);
    peerstore_save(ps, &out, NOW, WALL);
    for (size_t n = 0; n < buf_len(&out); n++) {
        struct peerstore *cut = peerstore_new();
        cr_assert_lt(peerstore_load(cut, span_sub(buf_span(&out), 0, n), NOW, WALL), 0, "cut at %zu", n);
        peerstore_free(cut);
    }
    struct rng rng;
    rng_init_seed(&rng, 1);
    for (int i = 0; i < 2000; i++) {
        uint8_t *copy = mem_copy(out.base + out.start, buf_len(&out));
        copy[rng_below(&rng, buf_len(&out))] = (uint8_t)rng_u64(&rng);
        struct peerstore *bad = peerstore_new();
        (void)peerstore_load(bad, span_of(copy, buf_len(&out)), NOW, WALL); /* any answer, no harm */
        cr_assert_leq(peerstore_count(bad), 11);
        peerstore_free(bad);
        free(copy);
    }
    buf_add_u8(&out, 0);
    struct peerstore *tail = peerstore_new();
    cr_assert_eq(peerstore_load(tail, buf_span(&out), NOW, WALL), ERR_INVALID, "bytes behind the end");
    out.base[out.start + 8] = PEERSTORE_VERSION + 1;
    cr_assert_eq(peerstore_load(tail, buf_span(&out), NOW, WALL), ERR_VERSION);
    peerstore_free(tail);
    peerstore_free(ps);
    buf_done(&out);
}
