/* SPDX-License-Identifier: MIT */
#include "net/swarm/connlimit.h"
#include "net/swarm/dialplan.h"
#include "net/swarm/observed.h"
#include "net/swarm/selfaddrs.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct multiaddr addr(const char *text)
{
    struct multiaddr m;
    cr_assert_eq(multiaddr_from_text(span_str(text), &m, NULL), 0, "%s", text);
    return m;
}

Test(dialplan, backs_off)
{
    static const struct {
        unsigned failures;
        mono_ns wait;
    } cases[] = {{1, 6 * MONO_S},    {2, 9 * MONO_S},    {10, 105 * MONO_S},
                 {17, 294 * MONO_S}, {18, 300 * MONO_S}, {60000, 300 * MONO_S}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(dial_backoff(cases[i].failures), cases[i].wait);
}

Test(dialplan, local_first_then_six_then_four)
{
    static const struct {
        const char *text;
        wall_ns success;
        unsigned place;
        mono_ns delay;
    } cases[] = {
        {"/ip4/203.0.114.5/tcp/1", 0, 5, 810 * MONO_MS}, {"/ip4/192.168.1.2/tcp/1", 0, 2, 60 * MONO_MS},
        {"/ip6/2001:470::5/tcp/1", 0, 3, 310 * MONO_MS}, {"/ip4/127.0.0.1/tcp/1", 0, 0, 0},
        {"/ip4/203.0.114.6/tcp/1", 5, 4, 560 * MONO_MS}, {"/ip6/fd00::1/tcp/1", 0, 1, 30 * MONO_MS},
    };
    struct dial_candidate c[6];
    for (unsigned i = 0; i < 6; i++)
        c[i] = (struct dial_candidate){.addr = addr(cases[i].text), .last_success = cases[i].success};
    dialplan_order(c, 6);
    for (unsigned i = 0; i < 6; i++) {
        struct multiaddr want = addr(cases[i].text);
        cr_assert(multiaddr_eq(&c[cases[i].place].addr, &want), "%s", cases[i].text);
        cr_assert_eq(c[cases[i].place].delay, cases[i].delay, "%s: %llu", cases[i].text,
                     (unsigned long long)c[cases[i].place].delay);
    }
    struct multiaddr lan = addr("/ip4/192.168.1.2/tcp/1"), far = addr("/ip4/203.0.114.5/tcp/1");
    cr_assert_eq(dial_timeout(&lan), 5 * MONO_S);
    cr_assert_eq(dial_timeout(&far), 15 * MONO_S);
}

Test(dialplan, tells_sense_from_nonsense)
{
    static const struct {
        const char *text;
        enum multiaddr_scope teller;
        bool same_machine, sensible;
    } cases[] = {
        {"/ip4/0.0.0.0/tcp/1", MA_SCOPE_LOOPBACK, true, false},
        {"/ip4/127.0.0.1/tcp/1", MA_SCOPE_PUBLIC, false, false},
        {"/ip4/127.0.0.1/tcp/1", MA_SCOPE_PRIVATE, false, false},
        {"/ip4/127.0.0.1/tcp/1", MA_SCOPE_LOOPBACK, false, true},
        {"/ip4/127.0.0.1/tcp/1", MA_SCOPE_PRIVATE, true, true},
        {"/ip4/10.1.2.3/tcp/1", MA_SCOPE_PUBLIC, false, false},
        {"/ip4/10.1.2.3/tcp/1", MA_SCOPE_PRIVATE, false, true},
        {"/ip4/8.8.8.8/tcp/1", MA_SCOPE_PUBLIC, false, true},
        {"/ip4/224.0.0.1/tcp/1", MA_SCOPE_PUBLIC, false, false},
        {"/ip6/fe80::1/tcp/1", MA_SCOPE_PRIVATE, false, false},
        {"/ip6zone/2/ip6/fe80::1/tcp/1", MA_SCOPE_PRIVATE, false, true},
        {"/dns4/example.org/tcp/1", MA_SCOPE_PUBLIC, false, true},
        {"/ip6/::1/tcp/1", MA_SCOPE_PUBLIC, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct multiaddr m = addr(cases[i].text);
        cr_assert_eq(dial_sensible(&m, cases[i].teller, cases[i].same_machine), cases[i].sensible, "%s (%zu)", cases[i].text,
                     i);
    }
}

#define NOW (1000 * MONO_S)

Test(connlimit, counts_by_group)
{
    struct connlimit *l = connlimit_new(100, 8, 1);
    struct multiaddr a = addr("/ip4/192.0.2.1/tcp/1"), b = addr("/ip4/192.0.2.2/tcp/1"),
                     mapped = addr("/ip6/::ffff:192.0.2.1/tcp/1");
    struct multiaddr six = addr("/ip6/2001:db8:1:2::1/tcp/1"), near = addr("/ip6/2001:db8:1:ff::9/tcp/1"),
                     far = addr("/ip6/2001:db8:1:100::1/tcp/1");
    cr_assert_eq(ip_group_of(&a), ip_group_of(&mapped));
    cr_assert_neq(ip_group_of(&a), ip_group_of(&b));
    cr_assert_eq(ip_group_of(&six), ip_group_of(&near), "one /56");
    cr_assert_neq(ip_group_of(&six), ip_group_of(&far));
    for (int i = 0; i < 8; i++)
        cr_assert_eq(connlimit_take(l, ip_group_of(&a), CONNLIMIT_CAME, NOW), CONNLIMIT_TAKEN);
    cr_assert_eq(connlimit_take(l, ip_group_of(&a), CONNLIMIT_CAME, NOW + 9 * MONO_S), CONNLIMIT_ADDRESS_FULL);
    cr_assert_eq(connlimit_take(l, ip_group_of(&a), CONNLIMIT_OURS, NOW), CONNLIMIT_TAKEN, "we may dial it");
    cr_assert_eq(connlimit_take(l, ip_group_of(&b), CONNLIMIT_CAME, NOW), CONNLIMIT_TAKEN);
    cr_assert_eq(connlimit_established(l, ip_group_of(&a), true), 0);
    connlimit_give(l, ip_group_of(&a), false);
    connlimit_give(l, ip_group_of(&a), true);
    cr_assert_eq(connlimit_of(l, ip_group_of(&a)), 7);
    cr_assert_eq(connlimit_total(l), 8);
    cr_assert_eq(connlimit_pending(l), 8);
    connlimit_free(l);
}

Test(connlimit, handshakes_of_one_ip)
{
    struct connlimit *l = connlimit_new(1000, 1000, 1);
    struct multiaddr a = addr("/ip4/192.0.2.1/tcp/1");
    ip_group g = ip_group_of(&a);
    for (int i = 0; i < CONNLIMIT_PENDING_PER_IP; i++)
        cr_assert_eq(connlimit_take(l, g, CONNLIMIT_CAME, NOW), CONNLIMIT_TAKEN);
    cr_assert_eq(connlimit_take(l, g, CONNLIMIT_CAME, NOW), CONNLIMIT_ADDRESS_FULL);
    cr_assert_eq(connlimit_established(l, g, false), 0);
    cr_assert_eq(connlimit_take(l, g, CONNLIMIT_CAME, NOW), CONNLIMIT_TAKEN);
    for (ip_group other = 1; connlimit_pending(l) < CONNLIMIT_PENDING_MAX; other++)
        cr_assert_eq(connlimit_take(l, other, CONNLIMIT_CAME, NOW), CONNLIMIT_TAKEN);
    cr_assert_eq(connlimit_take(l, 123456789, CONNLIMIT_CAME, NOW), CONNLIMIT_FULL, "in all");
    connlimit_free(l);
}

/* A connection comes and is gone at once */
static bool comes(struct connlimit *l, ip_group g, mono_ns now)
{
    if (connlimit_take(l, g, CONNLIMIT_CAME, now) != CONNLIMIT_TAKEN)
        return false;
    connlimit_give(l, g, true);
    return true;
}

Test(connlimit, who_comes_again_and_again)
{
    struct connlimit *l = connlimit_new(256, 16, 1);
    unsigned taken = 0;
    for (mono_ns now = NOW; now < NOW + 10 * MONO_S; now += MONO_MS)
        taken += comes(l, 7, now);
    cr_assert(taken >= 16 + 79 && taken <= 16 + 81, "16 at once and 8 a second, not %u", taken);
    cr_assert_eq(connlimit_take(l, 7, CONNLIMIT_OURS, NOW + 10 * MONO_S), CONNLIMIT_TAKEN, "we may dial him");
    cr_assert(comes(l, 8, NOW + 10 * MONO_S), "somebody else may come");
    cr_assert(comes(l, 7, NOW + 11 * MONO_S), "and he after a while");
    connlimit_free(l);
}

/* A thousand addresses, each now and then; and those that come for the first time */
Test(connlimit, a_crowd_that_comes_again_and_again)
{
    struct connlimit *l = connlimit_new(256, 16, 1);
    unsigned taken = 0, strangers = 0;
    ip_group next = 0;
    for (mono_ns now = NOW; now < NOW + 30 * MONO_S; now += MONO_MS) {
        bool came = comes(l, 1 + next++ % 1000, now);
        taken += came && now >= NOW + 20 * MONO_S;
        if (now >= NOW + 20 * MONO_S && now % (100 * MONO_MS) == 0)
            strangers += comes(l, 1000000 + now / MONO_MS, now);
    }
    cr_assert(taken > 450 && taken < 650, "64 a second of all, with those who are new, not %u", taken);
    cr_assert_geq(strangers, 65, "of 100 that came for the first time, a quarter to places that are used, %u may", strangers);
    connlimit_free(l);
}

/* How many of `most`, each from its own address behind `first`, come in, and stay when their handshake is done */
static unsigned come_to_stay(struct connlimit *l, ip_group first, unsigned most, bool known, mono_ns now)
{
    unsigned stay = 0;
    for (unsigned i = 0; i < most; i++) {
        if (connlimit_take(l, first + i, CONNLIMIT_CAME, now) != CONNLIMIT_TAKEN)
            continue;
        if (connlimit_established(l, first + i, known) == 0)
            stay++;
        else
            connlimit_give(l, first + i, true);
    }
    return stay;
}

Test(connlimit, strangers_leave_places_for_known_peers)
{
    struct connlimit *l = connlimit_new(96, 16, 1);
    cr_assert_eq(come_to_stay(l, 1000, 90, false, NOW), 72, "12 of 16 parts");
    cr_assert(!connlimit_crowded(l));
    cr_assert_eq(connlimit_of_strangers(l), 72);
    connlimit_know(l, 1);
    cr_assert_eq(come_to_stay(l, 1, 1, false, NOW), 0, "a stranger at a known address is one");
    cr_assert_eq(come_to_stay(l, 2, 1, true, NOW), 1, "a known peer at a new address");
    cr_assert(connlimit_crowded(l), "so a stranger should go");
    /* strangers who say nothing */
    unsigned silent = 0;
    for (ip_group g = 3000; connlimit_take(l, g, CONNLIMIT_CAME, NOW + 9 * MONO_S) == CONNLIMIT_TAKEN; g++)
        silent++;
    cr_assert_eq(connlimit_total(l), 84, "14 parts, with %u", silent);
    cr_assert_eq(connlimit_take(l, 3, CONNLIMIT_CAME, NOW + 9 * MONO_S), CONNLIMIT_FULL);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(connlimit_take(l, 1, CONNLIMIT_CAME, NOW + 9 * MONO_S), CONNLIMIT_TAKEN, "from a known address");
    for (ip_group g = 4000; connlimit_take(l, g, CONNLIMIT_OURS, NOW) == CONNLIMIT_TAKEN; g++)
        ;
    cr_assert_eq(connlimit_total(l), 90, "15 parts");
    cr_assert_eq(connlimit_take(l, 1, CONNLIMIT_CAME, NOW + 9 * MONO_S), CONNLIMIT_FULL);
    for (ip_group g = 5000; connlimit_take(l, g, CONNLIMIT_OURS_KNOWN, NOW) == CONNLIMIT_TAKEN; g++)
        ;
    cr_assert_eq(connlimit_total(l), 96, "ours to known peers");
    connlimit_free(l);
}

/* Somebody who keeps as many connections as he gets, and comes again as often as he may, behind the address of a known peer */
Test(connlimit, a_known_peer_beside_an_attacker_at_its_address)
{
    struct connlimit *l = connlimit_new(256, 16, 1);
    connlimit_know(l, 7);
    for (unsigned i = 0; i < 16; i++)
        cr_assert_eq(connlimit_established(l, (connlimit_take(l, 7, CONNLIMIT_CAME, NOW), (ip_group)7), false), 0);
    cr_assert_eq(come_to_stay(l, 7, 1, false, NOW), 0, "a stranger's share");
    cr_assert_eq(come_to_stay(l, 7, 1, true, NOW), 1);
    unsigned more = 0;
    while (connlimit_take(l, 7, CONNLIMIT_CAME, NOW) == CONNLIMIT_TAKEN)
        more++;
    cr_assert_eq(more, 15, "twice the places of another address");
    cr_assert_eq(connlimit_take(l, 7, CONNLIMIT_CAME, NOW), CONNLIMIT_ADDRESS_FULL);
    connlimit_free(l);
    l = connlimit_new(256, 16, 1);
    connlimit_know(l, 7);
    unsigned taken = 0;
    for (mono_ns now = NOW; now < NOW + 10 * MONO_S; now += MONO_MS)
        taken += comes(l, 7, now);
    cr_assert(taken >= 64 + 319 && taken <= 64 + 321, "64 at once and 32 a second, not %u", taken);
    connlimit_free(l);
}

/* Strangers use up what all may: who comes from a known address comes in all the same, and they wait for it */
Test(connlimit, the_rate_of_all_has_a_reserve)
{
    struct connlimit *l = connlimit_new(256, 16, 1);
    connlimit_know(l, 7);
    unsigned strangers = 0, known = 0;
    ip_group next = 1000;
    for (mono_ns now = NOW; now < NOW + 20 * MONO_S; now += MONO_MS) {
        strangers += comes(l, next++, now);
        if ((now - NOW) % (100 * MONO_MS) == 0)
            known += comes(l, 7, now);
    }
    cr_assert_eq(known, 200, "each time");
    cr_assert(strangers + known > 256 + 1200 && strangers + known < 2 * 256 + 1300, "%u: all together keep to the rate",
              strangers);
    connlimit_free(l);
}

Test(connlimit, known_addresses_used_last_are_kept)
{
    struct connlimit *l = connlimit_new(256, 16, 1);
    connlimit_know(l, 0);
    cr_assert(!connlimit_knows(l, 0), "no address is none");
    for (ip_group g = 1; g <= CONNLIMIT_KNOWN_MAX; g++)
        connlimit_know(l, g);
    connlimit_know(l, 1);
    connlimit_know(l, 1000);
    cr_assert(connlimit_knows(l, 1) && connlimit_knows(l, 1000) && connlimit_knows(l, 3) &&
              connlimit_knows(l, CONNLIMIT_KNOWN_MAX));
    cr_assert(!connlimit_knows(l, 2), "the one not used for longest");
    connlimit_free(l);
}

Test(observed, needs_four_voices)
{
    struct observed *o = observed_new();
    struct multiaddr m = addr("/ip4/8.8.8.8/tcp/4001"), other = addr("/ip4/8.8.4.4/tcp/4001"),
                     lan = addr("/ip4/10.0.0.1/tcp/4001");
    struct multiaddr best[OBSERVED_BEST];
    cr_assert(!observed_add(o, &lan, 1));
    for (int i = 0; i < 10; i++)
        cr_assert(observed_add(o, &m, 7), "one observer, ten connections");
    cr_assert_eq(observed_best(o, best), 0);
    for (ip_group g = 1; g <= 3; g++)
        cr_assert(observed_add(o, &m, g));
    cr_assert_eq(observed_best(o, best), 1);
    cr_assert(multiaddr_eq(&best[0], &m));
    for (ip_group g = 1; g <= 5; g++)
        cr_assert(observed_add(o, &other, g));
    cr_assert_eq(observed_best(o, best), 2);
    cr_assert(multiaddr_eq(&best[0], &other), "most voices first");
    observed_remove(o, &m, 1);
    cr_assert_eq(observed_best(o, best), 1);
    observed_free(o);
}

Test(observed, is_bounded)
{
    struct observed *o = observed_new();
    unsigned counted = 0;
    for (unsigned i = 1; i < 1000; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "/ip4/8.8.8.8/tcp/%u", i);
        struct multiaddr m = addr(text);
        counted += observed_add(o, &m, i);
    }
    cr_assert_eq(counted, OBSERVED_MAX);
    observed_free(o);
}

static const struct self_iface ifaces[] = {
    {.index = 1, .up = true, .loopback = true, .addr_count = 1, .addrs = {{.ip = {127, 0, 0, 1}}}},
    {.index = 2,
     .up = true,
     .multicast = true,
     .addr_count = 2,
     .addrs = {{.ip = {192, 168, 1, 5}}, {.v6 = true, .ip = {0xfe, 0x80, [15] = 5}}}},
    {.index = 3, .up = true, .addr_count = 1, .addrs = {{.ip = {8, 8, 8, 8}}}},
    {.index = 4, .up = false, .addr_count = 1, .addrs = {{.ip = {10, 9, 9, 9}}}},
};

Test(selfaddrs, expands_and_orders)
{
    static const char *const want[] = {"/ip4/8.8.8.8/tcp/4001", "/ip4/192.168.1.5/tcp/4001", "/ip6zone/2/ip6/fe80::5/tcp/4002",
                                       "/ip4/127.0.0.1/tcp/4001"};
    static struct selfaddrs s;
    struct multiaddr listen[] = {addr("/ip4/0.0.0.0/tcp/4001"), addr("/ip6/::/tcp/4002")};
    cr_assert(!selfaddrs_online(&s));
    cr_assert(!selfaddrs_set_listen(&s, listen, 2), "no interfaces yet");
    cr_assert(selfaddrs_set_ifaces(&s, ifaces, 4));
    cr_assert(!selfaddrs_set_ifaces(&s, ifaces, 4), "the same again");
    cr_assert(selfaddrs_online(&s));
    cr_assert_eq(s.addr_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        char text[MULTIADDR_TEXT];
        cr_assert_str_eq(multiaddr_text(&s.addrs[i].addr, text), want[i]);
    }
    cr_assert(selfaddrs_set_ifaces(&s, ifaces, 1));
    cr_assert(!selfaddrs_online(&s), "loopback alone");
}

Test(selfaddrs, knows_itself)
{
    static struct selfaddrs s;
    struct multiaddr listen[] = {addr("/ip4/0.0.0.0/tcp/4001")};
    selfaddrs_set_listen(&s, listen, 1);
    selfaddrs_set_ifaces(&s, ifaces, 4);
    static const struct {
        const char *text;
        bool listens, our_ip;
    } cases[] = {{"/ip4/192.168.1.5/tcp/4001", true, true},   {"/ip4/192.168.1.5/tcp/4002", false, true},
                 {"/ip4/192.168.1.6/tcp/4001", false, false}, {"/ip4/127.0.0.1/tcp/4001", true, true},
                 {"/ip4/127.0.0.2/tcp/4001", true, true},     {"/ip4/127.0.0.2/tcp/4009", false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct multiaddr m = addr(cases[i].text);
        cr_assert_eq(selfaddrs_listens(&s, &m), cases[i].listens, "%s", cases[i].text);
        cr_assert_eq(selfaddrs_is_our_ip(&s, &m), cases[i].our_ip, "%s", cases[i].text);
    }
}
