/* SPDX-License-Identifier: MIT */
#include "cmd/dns/dns_message.h"

#include <stdio.h>

#define HEADER_SIZE  12
#define TO_QUESTION  0xc00c /* a pointer to the name behind the header */
#define ANY_CLASS    255
#define TRANSFER     251 /* IXFR; 252 is AXFR, 253 and 254 are obsolete: all are for zones */
#define SELF_ADDRESS 0x7f000001
#define SOA_REFRESH  3600
#define SOA_RETRY    600
#define SOA_EXPIRE   86400
#define OPT_SIZE     11
#define EDNS_VERSION 0x00ff0000 /* in the OPT record's TTL */
#define FLAGS_COPIED (DNS_OPCODE | DNS_RECURSE)

/* ---- reading ---- */

static enum dns_rcode read_question(struct dns_reader *r, struct dns_query *q)
{
    struct dns_question lowered;
    if (q->header.questions != 1)
        return DNS_FORMERR;
    int used = dns_read_name(r->packet, HEADER_SIZE, q->name);
    if (used < 0 || dns_next_question(r, &lowered) != 1)
        return DNS_FORMERR;
    size_t plain = strlen(q->name) + (*q->name ? 2 : 1);
    if ((size_t)used != plain)
        return DNS_FORMERR; /* compressed: there is nothing before it to point to */
    q->type = lowered.type;
    q->class = lowered.class;
    q->question = span_sub(r->packet, HEADER_SIZE, plain + 4);
    return DNS_OK;
}

static enum dns_rcode read_options(struct dns_reader *r, struct dns_query *q)
{
    struct dns_record rec;
    enum dns_rcode fault = DNS_OK;
    int more;
    while ((more = dns_next_record(r, &rec)) == 1) {
        if (rec.type != DNS_OPT)
            continue;
        if (q->edns || *rec.name)
            return DNS_FORMERR;
        q->edns = true;
        q->edns_size = rec.class;
        if (rec.ttl & EDNS_VERSION)
            fault = DNS_BADVERS;
    }
    return more < 0 ? DNS_FORMERR : fault;
}

int dns_query_read(struct span packet, struct dns_query *ret)
{
    struct dns_reader r;
    *ret = (struct dns_query){.fault = DNS_OK};
    if (dns_read(&r, packet) < 0 || r.header.flags & DNS_RESPONSE)
        return ERR_INVALID;
    ret->header = r.header;
    if (r.header.flags & DNS_OPCODE) {
        ret->fault = DNS_NOTIMP;
        return 0;
    }
    ret->fault = read_question(&r, ret);
    if (ret->fault == DNS_OK)
        ret->fault = read_options(&r, ret);
    bool zone = ret->type >= TRANSFER && ret->type < DNS_ANY;
    if (ret->fault == DNS_OK && (zone || (ret->class != DNS_CLASS_IN && ret->class != ANY_CLASS)))
        ret->fault = DNS_REFUSED;
    return 0;
}

/* ---- what is answered: the table of the header ---- */

enum data { NO_DATA, DATA_A, DATA_SRV, DATA_TXT, DATA_SOA, DATA_NS };

static enum data data_of(const struct dns_query *q, const struct overlay_name *name)
{
    static const struct {
        uint16_t type;
        enum data data;
    } rows[][3] = {
        [OVERLAY_SUFFIX] = {{DNS_SOA, DATA_SOA}, {DNS_NS, DATA_NS}, {DNS_ANY, DATA_SOA}},
        [OVERLAY_SELF] = {{DNS_A, DATA_A}, {DNS_TXT, DATA_TXT}, {DNS_ANY, DATA_A}},
        [OVERLAY_PEER] = {{DNS_A, DATA_A}, {DNS_TXT, DATA_TXT}, {DNS_ANY, DATA_A}},
        [OVERLAY_SERVICE] = {{DNS_A, DATA_A}, {DNS_ANY, DATA_A}},
        [OVERLAY_SRV] = {{DNS_SRV, DATA_SRV}, {DNS_ANY, DATA_SRV}},
        [OVERLAY_DNSLINK] = {{DNS_TXT, DATA_TXT}, {DNS_ANY, DATA_TXT}},
        [OVERLAY_EMPTY] = {{0, NO_DATA}},
    };
    for (unsigned i = 0; i < sizeof rows[0] / sizeof rows[0][0]; i++)
        if (rows[name->kind][i].type == q->type)
            return rows[name->kind][i].data;
    return NO_DATA;
}

unsigned dns_answer_needs(const struct dns_query *q, const struct overlay_name *name)
{
    if (q->fault != DNS_OK || name->kind == OVERLAY_SELF)
        return 0;
    enum data data = data_of(q, name);
    return data == DATA_SRV ? DNS_NEEDS_ADDRESS | DNS_NEEDS_PORT : data == DATA_A ? DNS_NEEDS_ADDRESS : 0;
}

static enum dns_rcode rcode_of(const struct dns_query *q, const struct overlay_name *name, const struct dns_found *found)
{
    unsigned needs = dns_answer_needs(q, name);
    if (q->fault != DNS_OK)
        return q->fault;
    if (name->kind == OVERLAY_FOREIGN || name->kind == OVERLAY_UNKNOWN)
        return name->kind == OVERLAY_FOREIGN ? DNS_REFUSED : DNS_NXDOMAIN;
    if ((needs & DNS_NEEDS_ADDRESS && !found->ip) || (needs & DNS_NEEDS_PORT && !found->port))
        return DNS_SERVFAIL;
    return DNS_OK;
}

/* ---- writing ---- */

/* Like dns_begin_record, for a record of the name that was asked */
static size_t begin_asked(struct buf *out, uint16_t type)
{
    dns_add_u16(out, TO_QUESTION);
    dns_add_u16(out, type);
    dns_add_u16(out, DNS_CLASS_IN);
    dns_add_u32(out, DNS_TTL);
    size_t length_at = buf_len(out);
    dns_add_u16(out, 0);
    return length_at;
}

static const char *suffix_of(const struct overlay_name *name)
{
    return name->alt ? "overlay.alt" : "overlay";
}

static void add_soa(struct buf *out, const struct overlay_name *name)
{
    size_t at = dns_begin_record(out, suffix_of(name), DNS_SOA, DNS_CLASS_IN, DNS_NEGATIVE_TTL);
    dns_add_name(out, "localhost");      /* the server */
    dns_add_name(out, "nobody.invalid"); /* whom to write to */
    static const uint32_t numbers[] = {1, SOA_REFRESH, SOA_RETRY, SOA_EXPIRE, DNS_NEGATIVE_TTL};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        dns_add_u32(out, numbers[i]);
    dns_end_record(out, at);
}

static void add_ns(struct buf *out)
{
    size_t at = begin_asked(out, DNS_NS);
    dns_add_name(out, "localhost");
    dns_end_record(out, at);
}

/* "_web._tcp.bob.overlay" → "web.bob.overlay" */
static void service_name(const struct dns_query *q, const struct overlay_name *name, struct buf *out)
{
    const char *peer = strchr(strchr(q->name, '.') + 1, '.') + 1;
    buf_clear(out);
    buf_printf(out, "%s.%s", name->service, peer);
}

static void add_service(struct buf *out, const struct dns_query *q, const struct overlay_name *name, const struct dns_found *f)
{
    struct buf target = BUF_INIT;
    service_name(q, name, &target);
    size_t at = begin_asked(out, DNS_SRV);
    dns_add_u16(out, 0); /* priority */
    dns_add_u16(out, 0); /* weight */
    dns_add_u16(out, f->port);
    dns_add_name(out, buf_cstr(&target));
    dns_end_record(out, at);
    at = dns_begin_record(out, buf_cstr(&target), DNS_A, DNS_CLASS_IN, DNS_TTL);
    dns_add_u32(out, f->ip);
    dns_end_record(out, at);
    buf_done(&target);
}

/* One string: of bytes, with its length before it */
static void add_dnslink(struct buf *out, const struct overlay_name *name)
{
    char id[PEER_ID_CID_SIZE], text[sizeof "dnslink=/ipns/" + PEER_ID_CID_SIZE];
    int n = snprintf(text, sizeof text, "dnslink=/ipns/%s", peer_id_cid_text(&name->peer, id));
    _Static_assert(sizeof text <= 256, "one string is enough");
    size_t at = begin_asked(out, DNS_TXT);
    buf_add_u8(out, (uint8_t)n);
    buf_add_str(out, text);
    dns_end_record(out, at);
}

/* How many records of each section */
struct counts {
    uint16_t answers, authorities, additionals;
};

static struct counts add_records(struct buf *out, const struct dns_query *q, const struct overlay_name *name,
                                 const struct dns_found *found)
{
    size_t at;
    enum data data = name->kind == OVERLAY_UNKNOWN ? NO_DATA : data_of(q, name);
    switch (data) {
    case DATA_A:
        at = begin_asked(out, DNS_A);
        dns_add_u32(out, name->kind == OVERLAY_SELF ? SELF_ADDRESS : found->ip);
        dns_end_record(out, at);
        return (struct counts){.answers = 1};
    case DATA_SRV:
        add_service(out, q, name, found);
        return (struct counts){.answers = 1, .additionals = 1};
    case DATA_TXT:
        add_dnslink(out, name);
        return (struct counts){.answers = 1};
    case DATA_NS:
        add_ns(out);
        return (struct counts){.answers = 1};
    case DATA_SOA:
        add_soa(out, name);
        return (struct counts){.answers = 1};
    case NO_DATA:
        break;
    }
    add_soa(out, name);
    return (struct counts){.authorities = 1};
}

static void add_opt(struct buf *out, enum dns_rcode rcode)
{
    buf_add_u8(out, 0);
    dns_add_u16(out, DNS_OPT);
    dns_add_u16(out, DNS_UDP_MOST);
    dns_add_u32(out, (uint32_t)rcode >> 4 << 24); /* upper bits of the code, version 0, no flags */
    dns_add_u16(out, 0);
}

size_t dns_udp_most(const struct dns_query *q)
{
    size_t most = q->edns && q->edns_size > DNS_UDP_PLAIN ? q->edns_size : DNS_UDP_PLAIN;
    return most < DNS_UDP_MOST ? most : DNS_UDP_MOST;
}

void dns_answer_write(const struct dns_query *q, const struct overlay_name *name, const struct dns_found *found, size_t most,
                      struct buf *out)
{
    enum dns_rcode rcode = rcode_of(q, name, found);
    struct buf records = BUF_INIT;
    struct counts n = {0, 0, 0};
    struct dns_header h = {
        .id = q->header.id,
        .flags = (uint16_t)(DNS_RESPONSE | (q->header.flags & FLAGS_COPIED) | ((unsigned)rcode & 0xf)),
        .questions = q->question.len ? 1 : 0,
    };
    if (rcode == DNS_OK || rcode == DNS_NXDOMAIN) {
        h.flags |= DNS_AUTHORITATIVE;
        n = add_records(&records, q, name, found);
    }
    size_t rest = HEADER_SIZE + q->question.len + (q->edns ? OPT_SIZE : 0);
    if (rest + buf_len(&records) > most) {
        h.flags |= DNS_TRUNCATED;
        buf_clear(&records);
        n = (struct counts){0, 0, 0};
    }
    h.answers = n.answers;
    h.authorities = n.authorities;
    h.additionals = (uint16_t)(n.additionals + (q->edns ? 1 : 0));
    dns_add_header(out, &h);
    buf_add_span(out, q->question);
    buf_add_span(out, buf_span(&records));
    if (q->edns)
        add_opt(out, rcode);
    buf_done(&records);
}
