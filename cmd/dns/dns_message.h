/* SPDX-License-Identifier: MIT
 *
 * Questions and answers of our DNS server, as bytes (RFC 1035; EDNS: RFC 6891; negative answers: RFC 2308; SRV: RFC 2782). A
 * machine without state: a query is read, its name looked up (overlay_name.h), what dns_answer_needs says is found, and the
 * answer written.
 *
 *                 A          SRV              TXT         SOA, NS     ANY        AAAA, others
 *     suffix      no data    no data          no data     the record  SOA        no data
 *     self        127.0.0.1  no data          dnslink     no data     A          no data
 *     peer        lease      no data          dnslink     no data     A          no data
 *     service     lease      no data          no data     no data     A          no data
 *     _x._tcp,    no data    port, service's  no data     no data     SRV        no data
 *     _x._udp                name and lease
 *     _dnslink    no data    no data          dnslink     no data     TXT        no data
 *     unknown     NXDOMAIN; other suffixes, other classes, zone transfers: REFUSED
 *
 * dnslink (https://dnslink.dev): "dnslink=/ipns/<peer>", the peer's IPNS name, in the form that the IPNS specification has for
 * text: a CIDv1 of a libp2p-key in base36.
 *
 * "No data" is NOERROR and the suffix's SOA, so that resolvers may remember it, for DNS_NEGATIVE_TTL.
 *
 * There is no AAAA: of the IPv6 addresses only ::1 belongs to the loopback interface, another would have to be configured by
 * root, and ::1 cannot tell peers apart. The mapped address (::ffff:127…) was tried: `curl -6`, `socat TCP6:` and node with
 * family 6 do connect then, and with both records everybody else takes A first. But glibc (2.36) maps A by itself for who asks
 * for AF_INET6 with AI_V4MAPPED, and with a mapped AAAA it answers EAI_NONAME instead (`getent ahostsv6 web.bob.overlay` ends
 * with 2): that is harm to programs that do it right. `getent hosts` prints the mapped address alone; `wget -6` and other
 * sockets with IPV6_V6ONLY cannot connect to it (ENETUNREACH). Nor does it belong into the DNS (RFC 4942 section 2.2).
 *
 * The question goes back byte for byte: resolvers that mix the case of letters compare it.
 */
#ifndef CMD_DNS_DNS_MESSAGE_H
#define CMD_DNS_DNS_MESSAGE_H

#include "cmd/dns/overlay_name.h"
#include "net/wire/dns_packet.h"

#define DNS_UDP_PLAIN    512  /* without EDNS */
#define DNS_UDP_MOST     1232 /* with it: what fits every path; also what we say we take */
#define DNS_TCP_MOST     65535
#define DNS_TTL          10 /* seconds: names of peers can be given away at any time */
#define DNS_NEGATIVE_TTL 2

enum dns_rcode {
    DNS_OK = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16,
};

struct dns_query {
    struct dns_header header;
    char name[DNS_NAME_SIZE]; /* as it stands there */
    uint16_t type, class;
    struct span question; /* borrowed from the packet; none when it could not be read */
    bool edns;
    uint16_t edns_size;
    enum dns_rcode fault; /* DNS_OK: the name is to be looked up; otherwise the answer is this alone */
};

/* 0; ERR_INVALID: not to be answered at all (no header, or an answer itself). */
int dns_query_read(struct span packet, struct dns_query *ret);

enum { DNS_NEEDS_ADDRESS = 1, DNS_NEEDS_PORT = 2 };
/* What must be known of the peer or service before the answer can be written. */
unsigned dns_answer_needs(const struct dns_query *q, const struct overlay_name *name);

struct dns_found {
    uint32_t ip;   /* host order; 0: not to be had, the answer is SERVFAIL */
    uint16_t port; /* likewise */
};
/* Appends the answer, of at most `most` bytes: cut after the question, with TC, when there is more. `found` may be NULL when
 * nothing is needed. */
void dns_answer_write(const struct dns_query *q, const struct overlay_name *name, const struct dns_found *found, size_t most,
                      struct buf *out);
/* How long an answer over UDP may be. */
size_t dns_udp_most(const struct dns_query *q);

#endif
