/* SPDX-License-Identifier: MIT
 *
 * DNS messages (RFC 1035 section 4; RFC 6762 section 18), for mDNS and for our DNS server: a reader over a message and the few
 * records we write.
 *
 *     header { id, flags, questions, answers, authorities, additionals : 16 bits each }
 *     question { name, type, class }     record { name, type, class, ttl : 32, length, data }
 *
 * Names come out as text, labels joined by dots, without one at the end; blanks, control characters and dots inside labels
 * become '?', so such a name never equals one of ours. Questions and records have them in lower case, bytes above 0x7e as '?';
 * dns_read_name keeps both, for who must tell a peer id's letters apart. Compression pointers must point to before the
 * name they are in, and each one to before the last: a name costs at most the length of the datagram. Writing does not
 * compress.
 */
#ifndef NET_WIRE_DNS_PACKET_H
#define NET_WIRE_DNS_PACKET_H

#include "store/base/err.h"
#include "store/base/span.h"

#define DNS_NAME_SIZE   256 /* with the NUL */
#define DNS_RECORDS_MAX 256 /* of a message; further ones are not read */

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_SRV = 33,
    DNS_OPT = 41,
    DNS_AXFR = 252,
    DNS_ANY = 255,
};

#define DNS_CLASS_IN      1
#define DNS_TOP_BIT       0x8000 /* of the class: unicast answer wanted (QU) in questions, cache flush in records */
#define DNS_RESPONSE      0x8000 /* flags */
#define DNS_ANSWER        0x8400 /* flags: response, authoritative */
#define DNS_AUTHORITATIVE 0x0400
#define DNS_TRUNCATED     0x0200
#define DNS_RECURSE       0x0100 /* wanted */
#define DNS_OPCODE        0x7800

struct dns_header {
    uint16_t id, flags;
    uint16_t questions, answers, authorities, additionals;
};

struct dns_reader {
    struct span packet;
    size_t at;
    struct dns_header header;
    unsigned questions_left, records_left;
};

struct dns_question {
    char name[DNS_NAME_SIZE];
    uint16_t type, class;
};

struct dns_record {
    char name[DNS_NAME_SIZE];
    uint16_t type, class;
    uint32_t ttl;
    struct span data;
    size_t data_at; /* in the packet: names in the data may point elsewhere */
};

/* 0 or ERR_INVALID: no whole header. */
int dns_read(struct dns_reader *r, struct span packet);
/* 1; 0 after the last; ERR_INVALID. All questions first, then all records of the three sections. */
int dns_next_question(struct dns_reader *r, struct dns_question *ret);
int dns_next_record(struct dns_reader *r, struct dns_record *ret);
/* The name at `at`, letters as they stand there: bytes it takes there, or ERR_INVALID. */
int dns_read_name(struct span packet, size_t at, char name[DNS_NAME_SIZE]);
/* The next character string of TXT data: true, and `data` moved past it. */
bool dns_next_text(struct span *data, struct span *ret);

void dns_add_header(struct buf *out, const struct dns_header *h);
void dns_add_name(struct buf *out, const char *name); /* labels of 1 to 63 bytes */
void dns_add_question(struct buf *out, const char *name, uint16_t type, uint16_t class);
/* A record up to its data; returns where its length stands, for dns_end_record after the data was appended. */
size_t dns_begin_record(struct buf *out, const char *name, uint16_t type, uint16_t class, uint32_t ttl);
void dns_end_record(struct buf *out, size_t length_at);
void dns_add_u16(struct buf *out, uint16_t v);
void dns_add_u32(struct buf *out, uint32_t v);

#endif
