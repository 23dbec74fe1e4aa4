/* SPDX-License-Identifier: MIT */
#include "net/discover/mdns.h"

#include "net/wire/dns_packet.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define ID_A "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
#define ID_B "12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu"
#define T0   (1000 * MONO_S)

static const struct mdns_endpoint here_a = {.iface = 2, .family = MDNS_V4, .ip = {192, 0, 2, 1}, .port = MDNS_PORT};
static const struct mdns_endpoint here_b = {.iface = 2, .family = MDNS_V4, .ip = {192, 0, 2, 2}, .port = MDNS_PORT};
static const char *const addrs_a[] = {"/ip4/192.0.2.1/tcp/4001/p2p/" ID_A, "/ip4/192.0.2.1/udp/4001/quic-v1/p2p/" ID_A};
static const char *const addrs_b[] = {"/ip4/192.0.2.2/tcp/4001/p2p/" ID_B};

static struct mdns *node(struct rng *rng, uint64_t seed, const char *id)
{
    rng_init_seed(rng, seed);
    return mdns_new(rng, id);
}

/* Pulls everything; the datagrams go to `other` as if from `from`; counts by kind. */
struct heard {
    unsigned queries, answers, unicasts, peers, addrs;
    char last_addr[256];
};

static void hear(struct mdns *m, struct mdns *other, const struct mdns_endpoint *from, mono_ns now, struct heard *h)
{
    struct mdns_event ev;
    mdns_expire(m, now);
    while (mdns_next(m, &ev)) {
        if (ev.type == MDNS_PEER) {
            cr_assert(span_eq_str(ev.peer_id, ID_A) || span_eq_str(ev.peer_id, ID_B) || !other);
            h->peers++;
            h->addrs += ev.addr_count;
            memcpy(h->last_addr, ev.addrs[0].data, ev.addrs[0].len);
            h->last_addr[ev.addrs[0].len] = 0;
            continue;
        }
        cr_assert_leq(ev.datagram.len, MDNS_OUTPUT_MAX);
        bool answer = ev.datagram.data[2] & 0x80;
        h->queries += !answer;
        h->answers += answer;
        h->unicasts += ev.unicast;
        mdns_input(m, from, ev.datagram, now); /* a node hears itself */
        if (other)
            mdns_input(other, from, ev.datagram, now);
    }
}

Test(mdns, two_nodes_find_each_other)
{
    struct rng ra, rb;
    struct mdns *a = node(&ra, 1, ID_A), *b = node(&rb, 2, ID_B);
    struct heard ha = {0}, hb = {0};
    cr_assert_eq(mdns_deadline(a), MONO_NEVER);
    cr_assert_eq(mdns_iface_set(a, &here_a, addrs_a, 2, T0), 0);
    hear(a, b, &here_a, T0, &ha); /* b has no interface yet, but hears the announcement */
    cr_assert(ha.queries == 1 && ha.answers == 1 && ha.peers == 0, "asks and tells at once; its own answer is no peer");
    cr_assert_eq(mdns_iface_set(b, &here_b, addrs_b, 1, T0 + MONO_S / 2), 0);
    mono_ns now = T0 + MONO_S / 2;
    for (int i = 0; i < 300; i++, now += 10 * MONO_MS) {
        hear(b, a, &here_b, now, &hb);
        hear(a, b, &here_a, now, &ha);
    }
    cr_assert(ha.peers >= 1 && hb.peers >= 1);
    cr_assert_eq(hb.addrs, 2 * hb.peers, "both addresses, one event");
    cr_assert_str_eq(ha.last_addr, addrs_b[0]);
    cr_assert_leq(ha.answers, 4, "at most once a second to the group");
    mdns_free(a);
    mdns_free(b);
}

Test(mdns, schedule_backs_off_and_hurries)
{
    struct rng r;
    struct mdns *m = node(&r, 3, ID_A);
    struct heard h = {0};
    cr_assert_eq(mdns_iface_set(m, &here_a, addrs_a, 2, T0), 0);
    mono_ns now = T0;
    while (now <= T0 + 600 * MONO_S) {
        hear(m, NULL, &here_a, now, &h);
        cr_assert_gt(mdns_deadline(m), now, "no spinning");
        now = mdns_deadline(m);
    }
    /* 0 1 3 7 15 31 63 123 … */
    cr_assert(h.queries >= 14 && h.queries <= 16, "%u queries in ten minutes", h.queries);
    h = (struct heard){0};
    cr_assert_eq(mdns_iface_set(m, &here_a, addrs_a, 2, now), 0);
    hear(m, NULL, &here_a, now, &h);
    cr_assert_leq(h.queries, 1, "nothing changed");
    h = (struct heard){0};
    cr_assert_eq(mdns_iface_set(m, &here_a, addrs_a, 1, now), 0);
    hear(m, NULL, &here_a, now, &h);
    cr_assert(h.queries == 1 && h.answers == 1, "an address changed");
    h = (struct heard){0};
    mdns_hurry(m, now + 5 * MONO_S);
    hear(m, NULL, &here_a, now + 5 * MONO_S, &h);
    cr_assert(h.queries == 1 && h.answers == 1);
    mdns_iface_gone(m, 2, MDNS_V4, now);
    cr_assert_eq(mdns_deadline(m), MONO_NEVER);
    for (unsigned i = 0; i < MDNS_IFACES_MAX; i++) {
        struct mdns_endpoint e = here_a;
        e.iface = 10 + i;
        cr_assert_eq(mdns_iface_set(m, &e, addrs_a, 1, now), 0);
    }
    cr_assert_eq(mdns_iface_set(m, &here_a, addrs_a, 1, now), ERR_LIMIT);
    mdns_free(m);
}

static void ask(struct mdns *m, const char *name, uint16_t type, uint16_t class, uint16_t port, mono_ns now)
{
    struct buf q = BUF_INIT;
    struct mdns_endpoint from = here_b;
    from.port = port;
    dns_add_header(&q, &(struct dns_header){.id = 0x1234, .questions = 1});
    dns_add_question(&q, name, type, class);
    mdns_input(m, &from, buf_span(&q), now);
    buf_done(&q);
}

static struct mdns *quiet_node(struct rng *r) /* has said its first words long ago */
{
    struct mdns *m = node(r, 4, ID_A);
    struct heard h = {0};
    cr_assert_eq(mdns_iface_set(m, &here_a, addrs_a, 2, T0), 0);
    hear(m, NULL, &here_a, T0, &h);
    hear(m, NULL, &here_a, T0 + MONO_S, &h);
    hear(m, NULL, &here_a, T0 + 10 * MONO_S, &h);
    return m;
}

Test(mdns, answers_as_the_spec_has_it)
{
    struct rng rng;
    struct mdns *m = quiet_node(&rng);
    struct mdns_event ev;
    mono_ns now = T0 + 11 * MONO_S;
    ask(m, "_P2P._udp.LOCAL", DNS_PTR, DNS_CLASS_IN, MDNS_PORT, now);
    mdns_expire(m, now);
    cr_assert(!mdns_next(m, &ev), "shared answers wait for 20 to 120 ms");
    mdns_expire(m, now + 120 * MONO_MS);
    cr_assert(mdns_next(m, &ev) && ev.type == MDNS_SEND && !ev.unicast && ev.iface == 2 && ev.family == MDNS_V4);
    struct dns_reader r;
    struct dns_record rec;
    cr_assert_eq(dns_read(&r, ev.datagram), 0);
    cr_assert(r.header.flags == DNS_ANSWER && r.header.questions == 0 && r.header.answers == 1 && r.header.additionals == 3);
    cr_assert_eq(dns_next_record(&r, &rec), 1);
    cr_assert(rec.type == DNS_PTR && strcmp(rec.name, "_p2p._udp.local") == 0 && rec.ttl == 120);
    char instance[DNS_NAME_SIZE], host[DNS_NAME_SIZE];
    cr_assert_gt(dns_read_name(ev.datagram, rec.data_at, instance), 0);
    size_t name = strcspn(instance, ".");
    cr_assert(name >= 32 && name <= 63 && strcmp(instance + name, "._p2p._udp.local") == 0);
    bool txt = false, srv = false, ip = false;
    while (dns_next_record(&r, &rec) == 1) {
        struct span data = rec.data, text;
        switch (rec.type) {
        case DNS_TXT:
            txt = strcmp(rec.name, instance) == 0;
            for (unsigned i = 0; i < 2; i++) {
                cr_assert(dns_next_text(&data, &text) && span_starts(text, "dnsaddr="));
                cr_assert(span_eq_str(span_from(text, 8), addrs_a[i]));
            }
            cr_assert_eq(data.len, 0);
            break;
        case DNS_SRV:
            srv = strcmp(rec.name, instance) == 0 && dns_read_name(ev.datagram, rec.data_at + 6, host) > 0;
            break;
        case DNS_A:
            ip = srv && strcmp(rec.name, host) == 0 && span_eq(rec.data, span_of("\xc0\x00\x02\x01", 4));
            break;
        default:
            cr_assert_fail("type %u", rec.type);
        }
    }
    cr_assert(txt && srv && ip, "go needs all of them");
    now += 10 * MONO_S;
    ask(m, "_services._dns-sd._udp.local", DNS_PTR, DNS_CLASS_IN, MDNS_PORT, now);
    mdns_expire(m, now + 120 * MONO_MS);
    cr_assert(mdns_next(m, &ev) && ev.type == MDNS_SEND);
    cr_assert_eq(dns_read(&r, ev.datagram), 0);
    cr_assert(dns_next_record(&r, &rec) == 1 && rec.type == DNS_PTR && strcmp(rec.name, "_services._dns-sd._udp.local") == 0);
    cr_assert(dns_read_name(ev.datagram, rec.data_at, instance) > 0 && strcmp(instance, "_p2p._udp.local") == 0);
    mdns_free(m);
}

Test(mdns, unicast_and_legacy)
{
    struct rng rng;
    struct mdns *m = quiet_node(&rng);
    struct mdns_event ev;
    mono_ns now = T0 + 11 * MONO_S;
    ask(m, "_p2p._udp.local", DNS_PTR, DNS_CLASS_IN | DNS_TOP_BIT, MDNS_PORT, now);
    cr_assert(mdns_next(m, &ev) && ev.unicast && ev.to.port == MDNS_PORT && memcmp(ev.to.ip, here_b.ip, 4) == 0, "QU");
    cr_assert(ev.datagram.data[0] == 0 && ev.datagram.data[1] == 0);
    ask(m, "_p2p._udp.local", DNS_PTR, DNS_CLASS_IN, 50000, now);
    cr_assert(mdns_next(m, &ev) && ev.unicast && ev.to.port == 50000, "a resolver that knows no mDNS");
    struct dns_reader r;
    struct dns_question q;
    struct dns_record rec;
    cr_assert_eq(dns_read(&r, ev.datagram), 0);
    cr_assert(r.header.id == 0x1234 && dns_next_question(&r, &q) == 1 && q.type == DNS_PTR);
    cr_assert(dns_next_record(&r, &rec) == 1 && rec.ttl == 10);
    cr_assert(!mdns_next(m, &ev));
    static const struct {
        const char *name;
        uint16_t type, class;
    } others[] = {{"_ipp._tcp.local", DNS_PTR, DNS_CLASS_IN},
                  {"_p2p._udp.local", DNS_A, DNS_CLASS_IN},
                  {"_p2p._udp.local", DNS_PTR, 3},
                  {"x._p2p._udp.local", DNS_TXT, DNS_CLASS_IN}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ask(m, others[i].name, others[i].type, others[i].class, 50000, now);
        cr_assert(!mdns_next(m, &ev), "%s", others[i].name);
    }
    unsigned answers = 0;
    for (unsigned i = 0; i < 1000; i++) {
        ask(m, "_p2p._udp.local", DNS_PTR, DNS_CLASS_IN, 50000, now + 2 * MONO_S);
        while (mdns_next(m, &ev))
            answers += ev.type == MDNS_SEND && ev.unicast;
    }
    cr_assert_eq(answers, MDNS_UNICAST_RATE, "floods are not amplified");
    struct mdns_stats s;
    mdns_stats(m, &s);
    cr_assert_gt(s.limited, 900);
    mdns_free(m);
}

static void add_txt(struct buf *out, const char *name, const char *const *texts, unsigned count, uint32_t ttl)
{
    size_t at = dns_begin_record(out, name, DNS_TXT, DNS_CLASS_IN, ttl);
    for (unsigned i = 0; i < count; i++) {
        buf_add_u8(out, (uint8_t)strlen(texts[i]));
        buf_add_str(out, texts[i]);
    }
    dns_end_record(out, at);
}

static unsigned tell(struct mdns *m, const char *const *texts, unsigned count, uint32_t ttl, mono_ns now, unsigned *ret_addrs)
{
    struct buf p = BUF_INIT;
    dns_add_header(&p, &(struct dns_header){.flags = DNS_ANSWER, .additionals = 1});
    add_txt(&p, "abc._p2p._udp.local", texts, count, ttl);
    mdns_input(m, &here_b, buf_span(&p), now);
    buf_done(&p);
    struct mdns_event ev;
    unsigned peers = 0;
    *ret_addrs = 0;
    mdns_expire(m, now);
    while (mdns_next(m, &ev))
        if (ev.type == MDNS_PEER) {
            peers++;
            *ret_addrs += ev.addr_count;
        }
    return peers;
}

Test(mdns, what_others_tell)
{
    struct rng rng;
    struct mdns *m = quiet_node(&rng);
    mono_ns now = T0 + 20 * MONO_S;
    unsigned addrs;
    static const char *const good[] = {"dnsaddr=/ip4/192.0.2.2/tcp/1/p2p/" ID_B, "dnsaddr=/ip6/fe80::1/tcp/1/p2p/" ID_B, "x=y",
                                       "dnsaddr=/ip4/192.0.2.2/tcp/1/p2p/OTHER"};
    cr_assert(tell(m, good, 4, 120, now, &addrs) == 2 && addrs == 3, "two peers, three addresses");
    cr_assert_eq(tell(m, good, 4, 0, now, &addrs), 0, "a goodbye is not a peer");
    static const char *const bad[] = {"dnsaddr=/ip4/192.0.2.2/tcp/1",
                                      "dnsaddr=/ip4/1.2.3.4/tcp/1/p2p/" ID_A,
                                      "dnsaddr=",
                                      "dnsaddr=/p2p/",
                                      "dnsaddr=/ip4/1.2.3.4/p2p/X Y\x01",
                                      "DNSADDR=/p2p/" ID_B,
                                      "dnsaddr=/ip4/1.2.3.4/p2p/" ID_B "/"};
    cr_assert_eq(tell(m, bad, sizeof bad / sizeof *bad, 120, now, &addrs), 0);
    const char *many[100];
    for (unsigned i = 0; i < 100; i++)
        many[i] = good[0];
    cr_assert(tell(m, many, 100, 120, now, &addrs) == 1 && addrs == MDNS_ADDRS_MAX);
    char texts[300][32];
    const char *crowd[300];
    for (unsigned i = 0; i < 300; i++) {
        snprintf(texts[i], sizeof texts[i], "dnsaddr=/ip4/1.2.3.4/p2p/P%u", i);
        crowd[i] = texts[i];
    }
    unsigned told = 0;
    for (unsigned i = 0; i < 100; i++)
        told += tell(m, crowd, 250, 120, now + MONO_S, &addrs);
    cr_assert_leq(told, MDNS_PEERS_PER_MINUTE);
    for (unsigned i = 0; i < 2 * MDNS_PACKETS_RATE; i++)
        tell(m, good, 1, 120, now + 70 * MONO_S, &addrs);
    struct mdns_stats s;
    mdns_stats(m, &s);
    cr_assert_gt(s.limited, MDNS_PACKETS_RATE / 2);
    mdns_free(m);
}

Test(mdns, many_addresses_fit_a_frame)
{
    struct rng rng;
    struct mdns *m = node(&rng, 5, ID_A);
    char text[MDNS_ADDRS_MAX + 8][MDNS_ADDR_MAX + 8];
    const char *addrs[MDNS_ADDRS_MAX + 8];
    for (unsigned i = 0; i < MDNS_ADDRS_MAX + 8; i++) {
        snprintf(text[i], sizeof text[i], "/ip4/192.0.2.%u/tcp/4001/p2p/%s", i, ID_A);
        addrs[i] = text[i];
    }
    memset(text[3], 'x', MDNS_ADDR_MAX + 1);
    text[3][MDNS_ADDR_MAX + 1] = 0;
    cr_assert_eq(mdns_iface_set(m, &here_a, addrs, MDNS_ADDRS_MAX + 8, T0), 0);
    struct heard h = {0};
    hear(m, NULL, &here_a, T0, &h);
    cr_assert_eq(h.answers, 1);
    mdns_free(m);
}

Test(mdns, truncations_are_refused)
{
    struct rng rng;
    struct mdns *m = node(&rng, 6, ID_A), *other = node(&rng, 7, ID_B);
    cr_assert_eq(mdns_iface_set(m, &here_a, addrs_a, 2, T0), 0);
    struct mdns_event ev;
    mdns_expire(m, T0);
    while (mdns_next(m, &ev)) {
        for (size_t n = 0; n < ev.datagram.len; n++) {
            struct dns_reader r;
            struct dns_question q;
            struct dns_record rec;
            struct span cut = span_sub(ev.datagram, 0, n);
            int err = dns_read(&r, cut);
            while (err == 0 && (err = dns_next_question(&r, &q)) == 1)
                err = 0;
            if (err == 0)
                while ((err = dns_next_record(&r, &rec)) == 1)
                    ;
            cr_assert_eq(err, ERR_INVALID, "%zu of %zu bytes", n, ev.datagram.len);
            mdns_input(other, &here_a, cut, T0 + n * MONO_S);
        }
    }
    struct mdns_stats s;
    mdns_stats(other, &s);
    cr_assert_gt(s.malformed, 100);
    mdns_free(m);
    mdns_free(other);
}

/* The next thing that `m` has to say before `until` */
static bool next_before(struct mdns *m, mono_ns until, struct mdns_event *ret)
{
    mono_ns at = mdns_deadline(m);
    if (at > until)
        return false;
    mdns_expire(m, at);
    return mdns_next(m, ret);
}

Test(mdns, who_is_known_does_not_answer)
{
    struct rng ra, rb;
    struct mdns *a = quiet_node(&ra), *b = node(&rb, 2, ID_B);
    struct heard h = {0};
    struct mdns_event ev;
    mono_ns now = T0 + 20 * MONO_S;
    cr_assert_eq(mdns_iface_set(b, &here_b, addrs_b, 1, now), 0);
    hear(b, a, &here_b, now, &h);
    for (int i = 0; i < 20; i++, now += 10 * MONO_MS)
        hear(a, b, &here_a, now, &h); /* a answers, and b knows it */
    cr_assert_geq(h.answers, 2);
    now = T0 + 40 * MONO_S;
    mdns_hurry(b, now);
    mdns_expire(b, now);
    unsigned queries = 0;
    while (mdns_next(b, &ev)) {
        if (ev.type != MDNS_SEND || (ev.datagram.data[2] & 0x80))
            continue;
        queries++;
        cr_assert_eq(ev.datagram.data[7], 1, "one known answer");
        mdns_input(a, &here_b, ev.datagram, now);
    }
    cr_assert_eq(queries, 1);
    while (next_before(a, now + MONO_S, &ev))
        cr_assert(ev.type != MDNS_SEND || !(ev.datagram.data[2] & 0x80), "a is known: it does not answer");
    /* half of its time later it is asked for again */
    now = T0 + 100 * MONO_S;
    mdns_hurry(b, now);
    hear(b, a, &here_b, now, &h);
    h = (struct heard){0};
    for (int i = 0; i < 20; i++, now += 10 * MONO_MS)
        hear(a, b, &here_a, now, &h);
    cr_assert_eq(h.answers, 1);
    mdns_free(a);
    mdns_free(b);
}

static unsigned gone_events(struct mdns *m)
{
    struct mdns_event ev;
    unsigned n = 0;
    while (mdns_next(m, &ev))
        if (ev.type == MDNS_GONE) {
            cr_assert(span_eq_str(ev.peer_id, ID_A));
            n++;
        }
    return n;
}

/* A packet with one record of `name` and TTL 0 */
static void say_gone(struct mdns *m, const char *name, enum dns_type type, const char *target, mono_ns now)
{
    struct buf out = BUF_INIT;
    dns_add_header(&out, &(struct dns_header){.flags = DNS_ANSWER, .answers = 1});
    size_t at = dns_begin_record(&out, name, type, DNS_CLASS_IN, 0);
    if (target)
        dns_add_name(&out, target);
    dns_end_record(&out, at);
    mdns_input(m, &here_a, buf_span(&out), now);
    buf_done(&out);
}

Test(mdns, goodbye)
{
    struct rng ra, rb;
    struct mdns *a = node(&ra, 1, ID_A), *b = node(&rb, 2, ID_B);
    struct heard h = {0};
    struct mdns_event ev;
    cr_assert_eq(mdns_iface_set(b, &here_b, addrs_b, 1, T0), 0);
    cr_assert_eq(mdns_iface_set(a, &here_a, addrs_a, 2, T0), 0);
    hear(a, b, &here_a, T0, &h);
    hear(b, a, &here_b, T0, &h);
    cr_assert_geq(h.peers, 1);
    while (mdns_next(a, &ev)) /* what it has heard */
        ;
    mdns_stop(a, T0 + MONO_S);
    unsigned said = 0;
    while (mdns_next(a, &ev)) {
        said++;
        cr_assert(ev.type == MDNS_SEND && !ev.unicast);
        mdns_input(b, &here_a, ev.datagram, T0 + MONO_S);
    }
    cr_assert_eq(said, 1);
    cr_assert_eq(mdns_deadline(a), MONO_NEVER, "nothing more");
    cr_assert_eq(gone_events(b), 1, "once, though PTR and TXT say it");
    /* other implementations may send the PTR alone; who was never heard cannot go */
    struct rng rc;
    struct mdns *c = node(&rc, 1, ID_A);
    h = (struct heard){0};
    cr_assert_eq(mdns_iface_set(c, &here_a, addrs_a, 2, T0 + 5 * MONO_S), 0);
    hear(c, b, &here_a, T0 + 5 * MONO_S, &h);
    say_gone(b, "_p2p._udp.local", DNS_PTR, "stranger._p2p._udp.local", T0 + 6 * MONO_S);
    say_gone(b, "stranger._p2p._udp.local", DNS_TXT, NULL, T0 + 6 * MONO_S);
    cr_assert_eq(gone_events(b), 0);
    mdns_free(a);
    mdns_free(b);
    mdns_free(c);
}
