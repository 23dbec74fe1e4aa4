/* SPDX-License-Identifier: MIT
 *
 * Queries as bytes, answers as bytes, against the RFCs' formats. */
#include "cmd/dns/dns_message.h"

#include <criterion/criterion.h>

#define ALICE "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
#define ID    0x1234

static const char *petname_at(void *arg, unsigned i, struct peer_id *ret)
{
    (void)arg;
    cr_assert_eq(peer_id_from_text(span_str(ALICE), ret, NULL), 0);
    return i == 0 ? "alice" : NULL;
}

static const char *no_id(void *arg, unsigned i, struct peer_id *ret)
{
    (void)arg;
    (void)i;
    (void)ret;
    return NULL;
}

static const struct peer_id self = {.len = 38, .bytes = {0, 36, 8, 1, 0x12, 0x20}};
static const struct peer_book book = {NULL, petname_at, no_id, &self};

static void ask(struct buf *out, const char *name, uint16_t type)
{
    buf_clear(out);
    dns_add_header(out, &(struct dns_header){.id = ID, .flags = DNS_RECURSE, .questions = 1});
    dns_add_question(out, name, type, DNS_CLASS_IN);
}

static void add_edns(struct buf *out, uint16_t size, uint8_t version)
{
    buf_add_u8(out, 0);
    dns_add_u16(out, DNS_OPT);
    dns_add_u16(out, size);
    dns_add_u32(out, (uint32_t)version << 16);
    dns_add_u16(out, 0);
    out->base[out->start + 11] = 1;
}

static const struct dns_found found = {.ip = 0x7f400a0b, .port = 8080};

/* The whole way; the answer's header and what follows the question */
static struct dns_header answer(struct span packet, size_t most, struct buf *out, struct dns_reader *r)
{
    struct dns_query q;
    struct overlay_name name = {.kind = OVERLAY_FOREIGN};
    buf_clear(out);
    cr_assert_eq(dns_query_read(packet, &q), 0);
    if (q.fault == DNS_OK)
        overlay_name_read(q.name, &book, &name);
    dns_answer_write(&q, &name, dns_answer_needs(&q, &name) ? &found : NULL, most, out);
    cr_assert(buf_len(out) <= most);
    cr_assert_eq(dns_read(r, buf_span(out)), 0);
    return r->header;
}

enum { NXDOMAIN = 3, REFUSED = 5 };

Test(dns_message, table)
{
    static const struct {
        const char *name;
        uint16_t type;
        unsigned rcode, answers, authorities, additionals;
        uint16_t first; /* type of the first record */
    } rows[] = {
        {"alice.overlay", DNS_A, 0, 1, 0, 0, DNS_A},
        {"ALICE.Overlay.Alt", DNS_A, 0, 1, 0, 0, DNS_A},
        {"alice.overlay", DNS_ANY, 0, 1, 0, 0, DNS_A},
        {"alice.overlay", DNS_AAAA, 0, 0, 1, 0, DNS_SOA},
        {"alice.overlay", DNS_TXT, 0, 1, 0, 0, DNS_TXT},
        {"alice.overlay", DNS_SRV, 0, 0, 1, 0, DNS_SOA},
        {"alice.overlay", 65, 0, 0, 1, 0, DNS_SOA}, /* HTTPS */
        {"alice.overlay", 43, 0, 0, 1, 0, DNS_SOA}, /* DS */
        {"alice.overlay", 0, 0, 0, 1, 0, DNS_SOA},
        {"web.alice.overlay", DNS_A, 0, 1, 0, 0, DNS_A},
        {"_web._tcp.alice.overlay", DNS_SRV, 0, 1, 0, 1, DNS_SRV},
        {"_web._tcp.alice.overlay", DNS_ANY, 0, 1, 0, 1, DNS_SRV},
        {"_web._tcp.alice.overlay", DNS_A, 0, 0, 1, 0, DNS_SOA},
        {"_web._udp.alice.overlay", DNS_SRV, 0, 1, 0, 1, DNS_SRV},
        {"_web._udp.alice.overlay", DNS_TXT, 0, 0, 1, 0, DNS_SOA},
        {"web.alice.overlay", DNS_TXT, 0, 0, 1, 0, DNS_SOA},
        {"_tcp.alice.overlay", DNS_SRV, 0, 0, 1, 0, DNS_SOA},
        {"_dnslink.alice.overlay", DNS_TXT, 0, 1, 0, 0, DNS_TXT},
        {"_dnslink.alice.overlay", DNS_ANY, 0, 1, 0, 0, DNS_TXT},
        {"_dnslink.alice.overlay", DNS_A, 0, 0, 1, 0, DNS_SOA},
        {"localhost.overlay", DNS_A, 0, 1, 0, 0, DNS_A},
        {"_dnslink.localhost.overlay", DNS_TXT, 0, 1, 0, 0, DNS_TXT},
        {"overlay", DNS_SOA, 0, 1, 0, 0, DNS_SOA},
        {"overlay.alt", DNS_SOA, 0, 1, 0, 0, DNS_SOA},
        {"overlay", DNS_NS, 0, 1, 0, 0, DNS_NS},
        {"overlay", DNS_A, 0, 0, 1, 0, DNS_SOA},
        {"bob.overlay", DNS_A, NXDOMAIN, 0, 1, 0, DNS_SOA},
        {"web.bob.overlay", DNS_SOA, NXDOMAIN, 0, 1, 0, DNS_SOA},
        {"example.com", DNS_A, REFUSED, 0, 0, 0, 0},
        {"alice.alt", DNS_A, REFUSED, 0, 0, 0, 0},
        {"", DNS_NS, REFUSED, 0, 0, 0, 0},
        {"alice.overlay", DNS_AXFR, REFUSED, 0, 0, 0, 0},
        {"alice.overlay", 251, REFUSED, 0, 0, 0, 0},
        {"1.0.64.127.in-addr.arpa", DNS_PTR, REFUSED, 0, 0, 0, 0},
    };
    struct buf q = BUF_INIT, out = BUF_INIT;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dns_reader r;
        struct dns_record rec;
        ask(&q, rows[i].name, rows[i].type);
        struct dns_header h = answer(buf_span(&q), DNS_UDP_PLAIN, &out, &r);
        cr_expect(h.id == ID && h.questions == 1, "%s", rows[i].name);
        unsigned flags = DNS_RESPONSE | DNS_RECURSE | rows[i].rcode | (rows[i].rcode == REFUSED ? 0 : DNS_AUTHORITATIVE);
        cr_expect_eq(h.flags, flags, "%s %u: %x", rows[i].name, rows[i].type, h.flags);
        cr_expect(h.answers == rows[i].answers && h.authorities == rows[i].authorities && h.additionals == rows[i].additionals,
                  "%s %u: %u %u %u", rows[i].name, rows[i].type, h.answers, h.authorities, h.additionals);
        struct span asked = span_from(buf_span(&q), 12);
        cr_expect(span_eq(span_sub(buf_span(&out), 12, asked.len), asked), "the question comes back letter for letter");
        if (rows[i].first)
            cr_expect(dns_next_record(&r, &rec) == 1 && rec.type == rows[i].first && rec.ttl <= DNS_TTL, "%s", rows[i].name);
        while (dns_next_record(&r, &rec) == 1)
            ;
        cr_expect_eq(r.at, buf_len(&out), "nothing left over");
    }
    buf_done(&q);
    buf_done(&out);
}

/* The whole message, written out. */
Test(dns_message, bytes_of_an_address)
{
    static const uint8_t query[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05"
                                   "aLiCe\x07"
                                   "overlay\x00\x00\x01\x00\x01";
    static const uint8_t expected[] = "\x12\x34\x85\x00\x00\x01\x00\x01\x00\x00\x00\x00\x05"
                                      "aLiCe\x07"
                                      "overlay\x00\x00\x01\x00\x01"
                                      "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x0a\x00\x04\x7f\x40\x0a\x0b";
    struct buf out = BUF_INIT;
    struct dns_reader r;
    (void)answer(span_of(query, sizeof query - 1), 512, &out, &r);
    cr_assert(span_eq(buf_span(&out), span_of(expected, sizeof expected - 1)));
    buf_done(&out);
}

Test(dns_message, srv)
{
    struct buf q = BUF_INIT, out = BUF_INIT;
    struct dns_reader r;
    struct dns_record rec;
    char target[DNS_NAME_SIZE];
    ask(&q, "_Web._TCP.Alice.overlay.alt", DNS_SRV);
    (void)answer(buf_span(&q), DNS_UDP_PLAIN, &out, &r);
    cr_assert(dns_next_record(&r, &rec) == 1 && rec.type == DNS_SRV && rec.data.len > 6);
    static const uint8_t numbers[] = {0, 0, 0, 0, 8080 >> 8, 8080 & 0xff};
    cr_expect(span_eq(span_sub(rec.data, 0, 6), span_of(numbers, 6)));
    cr_assert_gt(dns_read_name(buf_span(&out), rec.data_at + 6, target), 0);
    cr_expect_str_eq(target, "web.Alice.overlay.alt");
    static const uint8_t address[] = {127, 64, 10, 11};
    cr_assert(dns_next_record(&r, &rec) == 1 && rec.type == DNS_A && strcmp(rec.name, "web.alice.overlay.alt") == 0);
    cr_expect(span_eq(rec.data, span_of(address, 4)));
    buf_done(&q);
    buf_done(&out);
}

/* dnslink.dev; the CID was reckoned from the bytes of the id by other means. */
Test(dns_message, dnslink)
{
    static const char text[] = "dnslink=/ipns/k51qzi5uqu5dhdmyb9bd18pypu2wp5lpv2xnskfmrqa4lb5knqryrotb05e7or";
    static const char *const names[] = {"alice.overlay", "_DNSLink.Alice.overlay.alt"};
    struct buf q = BUF_INIT, out = BUF_INIT;
    struct dns_reader r;
    struct dns_record rec;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ask(&q, names[i], DNS_TXT);
        (void)answer(buf_span(&q), DNS_UDP_PLAIN, &out, &r);
        cr_assert(dns_next_record(&r, &rec) == 1 && rec.type == DNS_TXT && rec.data.len > 1);
        cr_expect_eq(rec.data.data[0], rec.data.len - 1, "one string");
        cr_expect(span_eq_str(span_from(rec.data, 1), text), "%.*s", (int)rec.data.len - 1, (const char *)rec.data.data + 1);
    }
    buf_done(&q);
    buf_done(&out);
}

/* RFC 2308 section 3: the time to remember "no" is the lesser of the SOA's own and its last field. */
Test(dns_message, negative_answers_can_be_remembered)
{
    struct buf q = BUF_INIT, out = BUF_INIT;
    struct dns_reader r;
    struct dns_record rec;
    char name[DNS_NAME_SIZE];
    ask(&q, "nobody.overlay.alt", DNS_A);
    (void)answer(buf_span(&q), DNS_UDP_PLAIN, &out, &r);
    cr_assert(dns_next_record(&r, &rec) == 1 && rec.type == DNS_SOA && rec.ttl == DNS_NEGATIVE_TTL);
    cr_expect_str_eq(rec.name, "overlay.alt");
    int server = dns_read_name(buf_span(&out), rec.data_at, name);
    int mail = dns_read_name(buf_span(&out), rec.data_at + (size_t)server, name);
    cr_assert(server > 0 && mail > 0 && rec.data.len == (size_t)(server + mail) + 20);
    cr_expect_eq(rec.data.data[rec.data.len - 1], DNS_NEGATIVE_TTL);
    buf_done(&q);
    buf_done(&out);
}

/* RFC 2181 section 9, RFC 1035 section 4.2.1: too long is said, not cut in the middle. */
Test(dns_message, too_long_for_udp)
{
    struct buf q = BUF_INIT, out = BUF_INIT;
    struct dns_reader r;
    ask(&q, "_web._tcp.alice.overlay", DNS_SRV);
    (void)answer(buf_span(&q), DNS_TCP_MOST, &out, &r);
    size_t whole = buf_len(&out);
    struct dns_header h = answer(buf_span(&q), whole, &out, &r);
    cr_expect_not(h.flags & DNS_TRUNCATED);
    for (size_t most = buf_len(&q); most < whole; most++) {
        h = answer(buf_span(&q), most, &out, &r);
        cr_expect(h.flags & DNS_TRUNCATED && h.questions == 1 && !h.answers && !h.additionals, "%zu", most);
        cr_expect_eq(buf_len(&out), buf_len(&q));
    }
    buf_done(&q);
    buf_done(&out);
}

/* RFC 6891 */
Test(dns_message, edns)
{
    static const struct {
        uint16_t size;
        size_t most;
    } rows[] = {{0, 512}, {511, 512}, {512, 512}, {513, 513}, {1231, 1231}, {1232, 1232}, {4096, 1232}, {65535, 1232}};
    struct buf q = BUF_INIT, out = BUF_INIT;
    struct dns_query read;
    struct dns_reader r;
    struct dns_record rec;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask(&q, "alice.overlay", DNS_A);
        add_edns(&q, rows[i].size, 0);
        cr_assert_eq(dns_query_read(buf_span(&q), &read), 0);
        cr_expect(read.edns && dns_udp_most(&read) == rows[i].most, "%u", rows[i].size);
        struct dns_header h = answer(buf_span(&q), rows[i].most, &out, &r);
        cr_expect(h.answers == 1 && h.additionals == 1);
        cr_assert(dns_next_record(&r, &rec) == 1 && dns_next_record(&r, &rec) == 1);
        cr_expect(rec.type == DNS_OPT && rec.class == DNS_UDP_MOST && !*rec.name && rec.ttl == 0);
    }
    ask(&q, "alice.overlay", DNS_A);
    add_edns(&q, 1232, 1);
    struct dns_header h = answer(buf_span(&q), 512, &out, &r);
    cr_expect((h.flags & 0xf) == 0 && h.answers == 0 && h.additionals == 1);
    cr_expect(dns_next_record(&r, &rec) == 1 && rec.type == DNS_OPT && rec.ttl == 0x01000000, "BADVERS");
    add_edns(&q, 1232, 0);
    q.base[q.start + 11] = 2;
    cr_expect_eq(answer(buf_span(&q), 512, &out, &r).flags & 0xf, DNS_FORMERR, "two of them");
    ask(&q, "alice.overlay", DNS_A);
    cr_assert_eq(dns_query_read(buf_span(&q), &read), 0);
    cr_expect(!read.edns && dns_udp_most(&read) == DNS_UDP_PLAIN);
    buf_done(&q);
    buf_done(&out);
}

Test(dns_message, malformed)
{
    struct buf q = BUF_INIT, out = BUF_INIT;
    struct dns_query read;
    struct dns_reader r;
    ask(&q, "_web._tcp.alice.overlay", DNS_SRV);
    add_edns(&q, 1232, 0);
    for (size_t n = 0; n < buf_len(&q); n++) {
        struct span cut = span_sub(buf_span(&q), 0, n);
        if (n < 12)
            cr_expect_eq(dns_query_read(cut, &read), ERR_INVALID, "%zu", n);
        else
            cr_expect_eq(answer(cut, 512, &out, &r).flags & 0xf, DNS_FORMERR, "%zu", n);
    }
    static const struct {
        unsigned at;
        uint8_t byte;
        int rcode;
    } rows[] = {
        {2, 0x80, -1},                                /* an answer: silence, or two servers would talk for ever */
        {2, 0x10, DNS_NOTIMP},                        /* STATUS */
        {2, 0x28, DNS_NOTIMP},                        /* UPDATE */
        {5, 0, DNS_FORMERR},     {5, 2, DNS_FORMERR}, /* no question, two */
        {12, 0xc0, DNS_FORMERR},                      /* compressed into the header */
        {12, 0x40, DNS_FORMERR},                      /* a label type that does not exist */
        {40, 3, DNS_REFUSED},                         /* class CHAOS */
        {40, 255, DNS_OK},                            /* any class */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask(&q, "_web._tcp.alice.overlay", DNS_SRV);
        cr_assert(buf_len(&q) == 41);
        q.base[q.start + rows[i].at] = rows[i].byte;
        if (rows[i].rcode < 0)
            cr_expect_eq(dns_query_read(buf_span(&q), &read), ERR_INVALID);
        else
            cr_expect_eq(answer(buf_span(&q), 512, &out, &r).flags & 0xf, rows[i].rcode, "row %zu", i);
    }
    buf_done(&q);
    buf_done(&out);
}

Test(dns_message, no_address_is_to_be_had)
{
    struct buf q = BUF_INIT, out = BUF_INIT;
    struct dns_query read;
    struct overlay_name name;
    struct dns_reader r;
    static const struct dns_found rows[] = {{0, 80}, {0x7f400001, 0}};
    ask(&q, "_web._tcp.alice.overlay", DNS_SRV);
    cr_assert_eq(dns_query_read(buf_span(&q), &read), 0);
    overlay_name_read(read.name, &book, &name);
    cr_expect_eq(dns_answer_needs(&read, &name), DNS_NEEDS_ADDRESS | DNS_NEEDS_PORT);
    for (size_t i = 0; i < 2; i++) {
        buf_clear(&out);
        dns_answer_write(&read, &name, &rows[i], 512, &out);
        cr_assert_eq(dns_read(&r, buf_span(&out)), 0);
        cr_expect(r.header.flags == (DNS_RESPONSE | DNS_RECURSE | DNS_SERVFAIL) && !r.header.answers);
    }
    buf_done(&q);
    buf_done(&out);
}
