/* SPDX-License-Identifier: MIT */
#include "net/swarm/dnsaddr.h"

#include "net/wire/dns_packet.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define ID_A "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
#define ID_B "12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu"

static struct dnsaddr begin(const char *text)
{
    struct multiaddr m;
    struct peer_id want = {0};
    struct dnsaddr d;
    cr_assert_eq(multiaddr_from_text(span_str(text), &m, NULL), 0);
    (void)multiaddr_peer(&m, &want);
    cr_assert(dnsaddr_is(&m));
    dnsaddr_init(&d, &m, &want);
    return d;
}

static void add_txt(struct buf *out, const char *text)
{
    size_t at = dns_begin_record(out, "_dnsaddr.example.org", DNS_TXT, DNS_CLASS_IN, 60);
    for (size_t len = strlen(text), n; len; len -= n, text += n) { /* in strings of 100: they are joined */
        n = len < 100 ? len : 100;
        buf_add_u8(out, (uint8_t)n);
        buf_add(out, text, n);
    }
    dns_end_record(out, at);
}

static int answer(struct dnsaddr *d, const char *const *texts, unsigned count)
{
    struct buf out = BUF_INIT;
    dns_add_header(&out, &(struct dns_header){.flags = DNS_RESPONSE, .questions = 1, .answers = (uint16_t)count});
    dns_add_question(&out, "_dnsaddr.example.org", DNS_TXT, DNS_CLASS_IN);
    for (unsigned i = 0; i < count; i++)
        add_txt(&out, texts[i]);
    int r = dnsaddr_answer(d, buf_span(&out));
    buf_done(&out);
    return r;
}

Test(dnsaddr, follows_names_and_keeps_the_id_asked_for)
{
    struct dnsaddr d = begin("/dnsaddr/example.org/p2p/" ID_A);
    char name[MULTIADDR_HOST_MAX + 1], text[MULTIADDR_TEXT];
    static const char *const first[] = {"dnsaddr=/dnsaddr/a.example.org/p2p/" ID_A, "dnsaddr=/dnsaddr/b.example.org/p2p/" ID_B,
                                        "dnsaddr=/dnsaddr/EXAMPLE.org", "v=spf1 -all"};
    static const char *const second[] = {
        "dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/" ID_A,         "dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/" ID_A,
        "dnsaddr=/ip4/192.0.2.2/tcp/4001/p2p/" ID_B,         "dnsaddr=/ip4/192.0.2.3/tcp/4001",
        "dnsaddr=/ip4/192.0.2.1/udp/4001/quic-v1/p2p/" ID_A, "dnsaddr=/dns4/host.example.org/tcp/4001/p2p/" ID_A};
    cr_assert(dnsaddr_next(&d, name));
    cr_assert_str_eq(name, "_dnsaddr.example.org");
    cr_assert_eq(answer(&d, first, 4), 0);
    cr_assert(dnsaddr_next(&d, name));
    cr_assert_str_eq(name, "_dnsaddr.a.example.org", "not b: another peer; not itself again");
    cr_assert_eq(answer(&d, second, 6), 0);
    cr_assert(!dnsaddr_next(&d, name));
    cr_assert_eq(d.addr_count, 2);
    cr_assert_str_eq(multiaddr_text(&d.addrs[0], text), "/ip4/192.0.2.1/tcp/4001");
    cr_assert_str_eq(multiaddr_text(&d.addrs[1], text), "/dns4/host.example.org/tcp/4001");
}

Test(dnsaddr, without_an_id_anything_counts)
{
    struct dnsaddr d = begin("/dnsaddr/example.org");
    char name[MULTIADDR_HOST_MAX + 1];
    static const char *const texts[] = {"dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/" ID_A, "dnsaddr=/ip6/2001:db8::1/tcp/2"};
    cr_assert(dnsaddr_next(&d, name));
    cr_assert_eq(answer(&d, texts, 2), 0);
    cr_assert_eq(d.addr_count, 2);
}

Test(dnsaddr, bounded)
{
    struct dnsaddr d = begin("/dnsaddr/example.org");
    char name[MULTIADDR_HOST_MAX + 1], rows[20][64];
    const char *texts[20];
    unsigned lookups = 0, n = 0;
    while (dnsaddr_next(&d, name)) { /* every name leads to twenty others */
        lookups++;
        for (unsigned i = 0; i < 20; i++) {
            snprintf(rows[i], sizeof rows[i], "dnsaddr=/dnsaddr/n%u.example.org", n++);
            texts[i] = rows[i];
        }
        cr_assert_eq(answer(&d, texts, 20), 0);
    }
    cr_assert_eq(lookups, DNSADDR_LOOKUPS_MAX);
    d = begin("/dnsaddr/example.org");
    cr_assert(dnsaddr_next(&d, name));
    for (unsigned i = 0; i < 20; i++)
        snprintf(rows[i], sizeof rows[i], "dnsaddr=/ip4/192.0.2.1/tcp/%u", i + 1);
    cr_assert_eq(answer(&d, texts, 20), 0);
    cr_assert_eq(d.addr_count, DNSADDR_RECORDS_MAX, "16 records");
}

Test(dnsaddr, damage)
{
    struct dnsaddr d = begin("/dnsaddr/example.org");
    struct buf out = BUF_INIT;
    char name[MULTIADDR_HOST_MAX + 1];
    cr_assert(dnsaddr_next(&d, name));
    dns_add_header(&out, &(struct dns_header){.flags = DNS_RESPONSE, .answers = 1});
    add_txt(&out, "dnsaddr=/ip4/192.0.2.1/tcp/1");
    for (size_t len = 0; len < buf_len(&out); len++)
        cr_assert_eq(dnsaddr_answer(&d, span_of(buf_span(&out).data, len)), ERR_INVALID);
    cr_assert_eq(d.addr_count, 0);
    cr_assert_eq(dnsaddr_answer(&d, buf_span(&out)), 0);
    cr_assert_eq(d.addr_count, 1);
    buf_done(&out);
}

Test(dnsaddr, what_it_is)
{
    static const struct {
        const char *text;
        bool is;
    } rows[] = {{"/dnsaddr/a.b", true},
                {"/dnsaddr/a.b/p2p/" ID_A, true},
                {"/dnsaddr/a.b/tcp/1", false},
                {"/dns4/a.b/tcp/1", false},
                {"/p2p/" ID_A, false}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct multiaddr m;
        cr_assert_eq(multiaddr_from_text(span_str(rows[i].text), &m, NULL), 0);
        cr_assert_eq(dnsaddr_is(&m), rows[i].is, "%s", rows[i].text);
    }
}
