/* SPDX-License-Identifier: MIT */
#include "net/addr/multiaddr.h"

#include "tests/unit/net/hexbytes.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

#define ED_ID    "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
#define ED_HEX   "a503260024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
#define HASH     "uEiAkH5a4DPGKUuOBjYw0CgwjvcJCJMD2K_1aluKR_tpevQ"
#define HASH_HEX "d203221220241f96b80cf18a52e3818d8c340a0c23bdc24224c0f62bfd5a96e291feda5ebd"

/* Binary forms as js-multiaddr gives them; those of unix, memory and http-path follow go-multiaddr. */
static const struct {
    const char *text, *hex;
} good[] = {
    {"/ip4/127.0.0.1/tcp/4001", "047f000001060fa1"},
    {"/ip6zone/eth0/ip6/fe80::1/tcp/1", "2a046574683029fe800000000000000000000000000001060001"},
    {"/dns4/example.com/tcp/443/tls/sni/example.com/ws",
     "360b6578616d706c652e636f6d0601bbc003c1030b6578616d706c652e636f6ddd03"},
    {"/ip4/1.2.3.4/udp/4001/quic-v1/webtransport/certhash/" HASH "/p2p/" ED_ID, "040102030491020fa1cd03d103" HASH_HEX ED_HEX},
    {"/ip4/1.2.3.4/udp/9/webrtc-direct/certhash/" HASH, "0401020304910200099802" HASH_HEX},
    {"/ip4/10.0.0.0/ipcidr/8", "040a0000002b08"},
    {"/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
     "3813626f6f7473747261702e6c69627032702e696fa50322122006b3608aa000274049eb28ad8e793a26ff6fab281a7d3bd77cd18eb745dfaabb"},
    {"/ip4/1.2.3.4/tcp/4001/p2p/" ED_ID "/p2p-circuit", "0401020304060fa1" ED_HEX "a202"},
    {"/unix/tmp/p2p.sock", "90030d2f746d702f7032702e736f636b"},
    {"/memory/12345", "89060000000000003039"},
    {"/memory/18446744073709551615", "8906ffffffffffffffff"},
    {"/ip4/1.2.3.4/tcp/80/http/http-path/foo%2Fbar", "0401020304060050e003e10307666f6f2f626172"},
    {"/ip4/0.0.0.0/tcp/0/wss", "0400000000060000de03"},
    {"/dns6/x/tcp/1/noise", "370178060001c603"},
    {"/ip6/::ffff:1.2.3.4/udp/65535/quic", "2900000000000000000000ffff01020304"
                                           "9102ffff"
                                           "cc03"},
    {"/webrtc", "9902"},
};

Test(multiaddr, both_forms)
{
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct multiaddr m, n;
        struct buf b = BUF_INIT;
        char text[MULTIADDR_TEXT];
        struct why why = {""};
        hex_add(&b, good[i].hex);
        cr_assert_eq(multiaddr_from_text(span_str(good[i].text), &m, &why), 0, "%s: %s", good[i].text, why.text);
        cr_assert(span_eq(multiaddr_span(&m), buf_span(&b)), "%s", good[i].text);
        cr_assert_eq(multiaddr_parse(buf_span(&b), &n), 0, "%s", good[i].text);
        cr_assert(multiaddr_eq(&m, &n));
        cr_assert_eq(multiaddr_mix(&m), multiaddr_mix(&n));
        cr_assert_str_eq(multiaddr_text(&n, text), good[i].text);
        /* each cut is either refused or ends between two components */
        for (size_t len = 0; len < buf_len(&b); len++) {
            uint8_t *mem;
            struct span cut = exact(span_sub(buf_span(&b), 0, len), &mem);
            if (multiaddr_parse(cut, &n) == 0)
                cr_assert(span_starts(span_str(good[i].text), multiaddr_text(&n, text)));
            free(mem);
        }
        buf_done(&b);
    }
}

Test(multiaddr, read_only_spellings)
{
    struct multiaddr a, b;
    char text[MULTIADDR_TEXT];
    cr_assert_eq(multiaddr_from_text(span_str("/ip4/1.2.3.4/tcp/1/ipfs/" ED_ID "/"), &a, NULL), 0);
    cr_assert_eq(multiaddr_from_text(span_str("/ip4/1.2.3.4/tcp/1/p2p/" ED_ID), &b, NULL), 0);
    cr_assert(multiaddr_eq(&a, &b));
    cr_assert_str_eq(multiaddr_text(&a, text), "/ip4/1.2.3.4/tcp/1/p2p/" ED_ID);
}

Test(multiaddr, refused)
{
    static const struct {
        const char *text;
        int err;
    } texts[] = {
        {"", ERR_INVALID},
        {"/", ERR_INVALID},
        {"//", ERR_INVALID},
        {"ip4/1.2.3.4", ERR_INVALID},
        {"/ip4", ERR_INVALID},
        {"/ip4/", ERR_INVALID},
        {"/ip4/1.2.3", ERR_INVALID},
        {"/ip4/1.2.3.4.5", ERR_INVALID},
        {"/ip4/256.1.1.1", ERR_INVALID},
        {"/ip6/1.2.3.4", ERR_INVALID},
        {"/ip6/fe80::1%eth0", ERR_INVALID},
        {"/ip4/1.2.3.4/tcp", ERR_INVALID},
        {"/ip4/1.2.3.4/tcp/65536", ERR_INVALID},
        {"/ip4/1.2.3.4/tcp/-1", ERR_INVALID},
        {"/ip4/1.2.3.4/tcp/1x", ERR_INVALID},
        {"/ip4/1.2.3.4/tcp/99999999999999999999999", ERR_INVALID},
        {"/ip4/1.2.3.4//tcp/1", ERR_UNSUPPORTED},
        {"/ip4/1.2.3.4/sctp/1", ERR_UNSUPPORTED},
        {"/IP4/1.2.3.4", ERR_UNSUPPORTED},
        {"/p2p/hello", ERR_INVALID},
        {"/certhash/abc", ERR_INVALID},
        {"/ip4/10.0.0.0/ipcidr/256", ERR_INVALID},
        {"/memory/18446744073709551616", ERR_INVALID},
        {"/http-path/%2", ERR_INVALID},
        {"/http-path/%zz", ERR_INVALID},
        {"/dns/a b", ERR_INVALID},
        {"/unix", ERR_INVALID},
        {"/unix/", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct multiaddr m;
        struct why why = {""};
        cr_assert_eq(multiaddr_from_text(span_str(texts[i].text), &m, &why), texts[i].err, "%s", texts[i].text);
        cr_assert_neq(why.text[0], 0, "%s", texts[i].text);
    }
    static const struct {
        const char *hex;
        int err;
    } bytes[] = {
        {"", ERR_INVALID},
        {"047f0000", ERR_TRUNCATED},
        {"91", ERR_TRUNCATED},
        {"8400"
         "7f000001",
         ERR_INVALID},                           /* a code that is not minimal */
        {"110fa1", ERR_UNSUPPORTED},             /* udp of the old tables */
        {"36ffffffffffffffff7f", ERR_TRUNCATED}, /* a huge length */
        {"3600", ERR_INVALID},                   /* an empty name */
        {"3603612f62", ERR_INVALID},             /* a name with a slash */
        {"3603610a62", ERR_INVALID},             /* with a newline */
        {"a5030300aa", ERR_TRUNCATED},
        {"a5030300ff01", ERR_INVALID},
        {"9003042f612f62"
         "060001",
         ERR_INVALID}, /* something behind a path */
        {"9003022f2f", ERR_INVALID},
        {"d203021100", ERR_INVALID}, /* a digest of 0 bytes */
    };
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        struct multiaddr m;
        struct buf b = BUF_INIT;
        hex_add(&b, bytes[i].hex);
        cr_assert_eq(multiaddr_parse(buf_span(&b), &m), bytes[i].err, "%s", bytes[i].hex);
        buf_done(&b);
    }
    struct buf b = BUF_INIT;
    struct multiaddr m;
    while (buf_len(&b) < MULTIADDR_MAX)
        hex_add(&b, "9802");
    cr_assert_eq(multiaddr_parse(buf_span(&b), &m), 0);
    char text[MULTIADDR_TEXT];
    cr_assert_eq(strlen(multiaddr_text(&m, text)), MULTIADDR_MAX / 2 * 14);
    cr_assert_eq(multiaddr_from_text(span_str(text), &m, NULL), 0);
    hex_add(&b, "9802");
    cr_assert_eq(multiaddr_parse(buf_span(&b), &m), ERR_TOO_BIG);
    buf_done(&b);
}

Test(multiaddr, peer_at_the_end)
{
    struct multiaddr m;
    struct peer_id id, other;
    char text[MULTIADDR_TEXT];
    cr_assert_eq(multiaddr_from_text(span_str("/ip4/1.2.3.4/tcp/4001"), &m, NULL), 0);
    cr_assert(!multiaddr_peer(&m, &id));
    cr_assert_eq(peer_id_from_text(span_str(ED_ID), &id, NULL), 0);
    cr_assert_eq(multiaddr_add_peer(&m, &id), 0);
    cr_assert_str_eq(multiaddr_text(&m, text), "/ip4/1.2.3.4/tcp/4001/p2p/" ED_ID);
    cr_assert(multiaddr_peer(&m, &other) && peer_id_eq(&id, &other));
    cr_assert_eq(peer_id_from_text(span_str("QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN"), &other, NULL), 0);
    cr_assert_eq(multiaddr_add_peer(&m, &other), 0);
    cr_assert_str_eq(multiaddr_text(&m, text), "/ip4/1.2.3.4/tcp/4001/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN");
    multiaddr_strip_peer(&m);
    multiaddr_strip_peer(&m);
    cr_assert_str_eq(multiaddr_text(&m, text), "/ip4/1.2.3.4/tcp/4001");
    cr_assert(!multiaddr_is_relayed(&m));
    cr_assert_eq(multiaddr_from_text(span_str("/ip4/1.2.3.4/tcp/1/p2p/" ED_ID "/p2p-circuit"), &m, NULL), 0);
    cr_assert(multiaddr_is_relayed(&m));
    cr_assert(!multiaddr_peer(&m, &id), "the relay's id is not the peer's");
    while (multiaddr_add_peer(&m, &id) == 0)
        memcpy(m.bytes + m.len, "\xa2\x02", 2), m.len += 2;
    cr_assert_leq(m.len, MULTIADDR_MAX);
}

Test(multiaddr, sockets)
{
    static const struct {
        const char *text;
        bool tcp;
        int family; /* 0: no IP */
        const char *ip;
        unsigned port, scope;
    } cases[] = {
        {"/ip4/1.2.3.4/tcp/4001", true, AF_INET, "1.2.3.4", 4001, 0},
        {"/ip4/1.2.3.4/tcp/4001/p2p/" ED_ID, true, AF_INET, "1.2.3.4", 4001, 0},
        {"/ip6/::1/tcp/1", true, AF_INET6, "::1", 1, 0},
        {"/ip6zone/3/ip6/fe80::1/tcp/65535", true, AF_INET6, "fe80::1", 65535, 3},
        {"/ip4/1.2.3.4/udp/4001/quic-v1", false, AF_INET, "1.2.3.4", 4001, 0},
        {"/ip4/1.2.3.4/tcp/443/ws", false, AF_INET, "1.2.3.4", 443, 0},
        {"/ip4/1.2.3.4/tcp/1/p2p/" ED_ID "/p2p-circuit", false, AF_INET, "1.2.3.4", 1, 0},
        {"/dns4/example.com/tcp/4001", true, 0, "example.com", 4001, 0},
        {"/dnsaddr/example.com", false, 0, NULL, 0, 0},
        {"/ip4/1.2.3.4", false, 0, NULL, 0, 0},
        {"/ip6zone/3/ip4/1.2.3.4/tcp/1", false, 0, NULL, 0, 0},
        {"/tcp/1", false, 0, NULL, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct multiaddr m, back;
        struct sockaddr_storage ss;
        socklen_t len;
        struct multiaddr_host h;
        struct span rest;
        char ip[INET6_ADDRSTRLEN];
        cr_assert_eq(multiaddr_from_text(span_str(cases[i].text), &m, NULL), 0);
        cr_assert_eq(multiaddr_is_tcp(&m), cases[i].tcp, "%s", cases[i].text);
        cr_assert_eq(multiaddr_host(&m, &h, &rest), cases[i].ip ? 0 : ERR_UNSUPPORTED, "%s", cases[i].text);
        cr_assert_eq(multiaddr_to_sockaddr(&m, &ss, &len), cases[i].family ? 0 : ERR_UNSUPPORTED, "%s", cases[i].text);
        if (cases[i].ip)
            cr_assert_eq(h.port, cases[i].port);
        if (cases[i].ip && !cases[i].family)
            cr_assert_str_eq(h.name, cases[i].ip);
        if (!cases[i].family)
            continue;
        const void *addr = cases[i].family == AF_INET ? (void *)&((struct sockaddr_in *)&ss)->sin_addr
                                                      : (void *)&((struct sockaddr_in6 *)&ss)->sin6_addr;
        cr_assert_str_eq(inet_ntop(cases[i].family, addr, ip, sizeof ip), cases[i].ip);
        if (cases[i].family == AF_INET6)
            cr_assert_eq(((struct sockaddr_in6 *)&ss)->sin6_scope_id, cases[i].scope);
        if (!cases[i].tcp)
            continue;
        multiaddr_strip_peer(&m);
        cr_assert_eq(multiaddr_from_sockaddr((struct sockaddr *)&ss, MA_TCP, &back), 0);
        cr_assert(multiaddr_eq(&m, &back), "%s", cases[i].text);
    }
    /* a peer by IPv4 on a socket of both families */
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(5)};
    struct multiaddr m;
    char text[MULTIADDR_TEXT];
    cr_assert_eq(inet_pton(AF_INET6, "::ffff:9.8.7.6", &mapped.sin6_addr), 1);
    cr_assert_eq(multiaddr_from_sockaddr((struct sockaddr *)&mapped, MA_UDP, &m), 0);
    cr_assert_str_eq(multiaddr_text(&m, text), "/ip4/9.8.7.6/udp/5");
    struct sockaddr other = {.sa_family = AF_UNIX};
    cr_assert_eq(multiaddr_from_sockaddr(&other, MA_TCP, &m), ERR_UNSUPPORTED);
}

Test(multiaddr, scopes)
{
    static const struct {
        const char *text;
        enum multiaddr_scope scope;
    } cases[] = {
        {"/ip4/127.0.0.1/tcp/1", MA_SCOPE_LOOPBACK},
        {"/ip4/0.0.0.0/tcp/1", MA_SCOPE_UNSPECIFIED},
        {"/ip4/0.1.2.3/tcp/1", MA_SCOPE_RESERVED},
        {"/ip4/10.1.2.3/tcp/1", MA_SCOPE_PRIVATE},
        {"/ip4/172.16.0.1/tcp/1", MA_SCOPE_PRIVATE},
        {"/ip4/172.31.255.255/tcp/1", MA_SCOPE_PRIVATE},
        {"/ip4/172.32.0.1/tcp/1", MA_SCOPE_PUBLIC},
        {"/ip4/172.15.0.1/tcp/1", MA_SCOPE_PUBLIC},
        {"/ip4/192.168.1.1/tcp/1", MA_SCOPE_PRIVATE},
        {"/ip4/100.64.0.1/tcp/1", MA_SCOPE_PRIVATE},
        {"/ip4/100.128.0.1/tcp/1", MA_SCOPE_PUBLIC},
        {"/ip4/169.254.1.1/tcp/1", MA_SCOPE_LINK_LOCAL},
        {"/ip4/224.0.0.251/udp/1", MA_SCOPE_RESERVED},
        {"/ip4/255.255.255.255/udp/1", MA_SCOPE_RESERVED},
        {"/ip4/203.0.113.9/tcp/1", MA_SCOPE_RESERVED},
        {"/ip4/198.19.0.1/tcp/1", MA_SCOPE_RESERVED},
        {"/ip4/8.8.8.8/tcp/1", MA_SCOPE_PUBLIC},
        {"/ip6/::/tcp/1", MA_SCOPE_UNSPECIFIED},
        {"/ip6/::1/tcp/1", MA_SCOPE_LOOPBACK},
        {"/ip6/fe80::1/tcp/1", MA_SCOPE_LINK_LOCAL},
        {"/ip6/fd00::1/tcp/1", MA_SCOPE_PRIVATE},
        {"/ip6/fc00::1/tcp/1", MA_SCOPE_PRIVATE},
        {"/ip6/ff02::fb/udp/1", MA_SCOPE_RESERVED},
        {"/ip6/2001:db8::1/tcp/1", MA_SCOPE_RESERVED},
        {"/ip6/2606:4700::1/tcp/1", MA_SCOPE_PUBLIC},
        {"/ip6/::ffff:10.0.0.1/tcp/1", MA_SCOPE_PRIVATE},
        {"/ip6/64:ff9b::8.8.8.8/tcp/1", MA_SCOPE_PUBLIC},
        {"/ip6zone/1/ip6/fe80::1/tcp/1", MA_SCOPE_LINK_LOCAL},
        {"/dns4/localhost/tcp/1", MA_SCOPE_NONE},
        {"/ip6zone/x", MA_SCOPE_NONE},
        {"/p2p/" ED_ID, MA_SCOPE_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct multiaddr m;
        cr_assert_eq(multiaddr_from_text(span_str(cases[i].text), &m, NULL), 0);
        cr_assert_eq(multiaddr_scope(&m), cases[i].scope, "%s", cases[i].text);
    }
    struct multiaddr none = {0};
    cr_assert_eq(multiaddr_scope(&none), MA_SCOPE_NONE);
}
