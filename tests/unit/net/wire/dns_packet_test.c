/* SPDX-License-Identifier: MIT */
#include "net/wire/dns_packet.h"

#include <criterion/criterion.h>

/* Compression as go and js use it, and loops as nobody should */
Test(dns_packet, names)
{
    static const uint8_t packet[] = "\x03"
                                    "foo\x05"
                                    "LOCAL\x00" /* 0 */
                                    "\x03"
                                    "bar\xc0\x04" /* 11: bar.LOCAL */
                                    "\xc0\x11"    /* 17: itself */
                                    "\xc0\x15"    /* 19: forward */
                                    "\x03"
                                    "a.b\x00"   /* 21: a dot in a label */
                                    "\x40x\x00" /* 26: reserved bits */
                                    "\x05"
                                    "abc"; /* 29: cut */
    struct span p = span_of(packet, sizeof packet - 1);
    char name[DNS_NAME_SIZE];
    cr_assert(dns_read_name(p, 0, name) == 11 && strcmp(name, "foo.LOCAL") == 0);
    cr_assert(dns_read_name(p, 11, name) == 6 && strcmp(name, "bar.LOCAL") == 0);
    cr_assert_eq(dns_read_name(p, 17, name), ERR_INVALID);
    cr_assert_eq(dns_read_name(p, 19, name), ERR_INVALID);
    cr_assert(dns_read_name(p, 21, name) == 5 && strcmp(name, "a?b") == 0);
    cr_assert_eq(dns_read_name(p, 26, name), ERR_INVALID);
    cr_assert_eq(dns_read_name(p, 29, name), ERR_INVALID);
    cr_assert_eq(dns_read_name(p, p.len, name), ERR_INVALID);
    uint8_t longest[300];
    for (unsigned i = 0; i < 300; i++)
        longest[i] = i % 64 ? 'a' : 63;
    cr_assert_eq(dns_read_name(span_of(longest, sizeof longest), 0, name), ERR_INVALID, "over 255");
}

/* RFC 1035 section 4.1.4: F.ISI.ARPA at 20, FOO.F.ISI.ARPA at 40, ARPA at 64, the root at 92 */
Test(dns_packet, compression_as_in_the_rfc)
{
    static const struct {
        size_t at;
        int used;
        const char *name;
    } rows[] = {{20, 12, "F.ISI.ARPA"}, {40, 6, "FOO.F.ISI.ARPA"}, {64, 2, "ARPA"}, {92, 1, ""}};
    uint8_t message[93] = {0};
    char name[DNS_NAME_SIZE];
    memcpy(message + 20,
           "\x01"
           "F\x03"
           "ISI\x04"
           "ARPA\x00",
           12);
    memcpy(message + 40,
           "\x03"
           "FOO\xc0\x14",
           6);
    memcpy(message + 64, "\xc0\x1a", 2);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_expect_eq(dns_read_name(span_of(message, sizeof message), rows[i].at, name), rows[i].used);
        cr_expect_str_eq(name, rows[i].name);
    }
}

/* Names of questions and records do not depend on the letters' case; dns_read_name tells what stands there. */
Test(dns_packet, letters)
{
    struct buf b = BUF_INIT;
    struct dns_reader r;
    struct dns_question q;
    struct dns_record rec;
    char name[DNS_NAME_SIZE];
    dns_add_header(&b, &(struct dns_header){.questions = 1, .additionals = 1});
    dns_add_question(&b, "Bob.J\xc3\xb6rg", DNS_A, DNS_CLASS_IN);
    size_t at = dns_begin_record(&b, "CAROL", DNS_TXT, DNS_CLASS_IN, 0x12345678);
    dns_add_u32(&b, 0x01020304);
    dns_end_record(&b, at);
    cr_assert_eq(dns_read(&r, buf_span(&b)), 0);
    cr_assert_eq(dns_next_question(&r, &q), 1);
    cr_expect_str_eq(q.name, "bob.j??rg");
    cr_assert_eq(dns_next_record(&r, &rec), 1);
    cr_expect(strcmp(rec.name, "carol") == 0 && rec.ttl == 0x12345678 && rec.data.len == 4 && rec.data.data[3] == 4);
    cr_assert_gt(dns_read_name(buf_span(&b), 12, name), 0);
    cr_expect_str_eq(name, "Bob.J\xc3\xb6rg");
    buf_done(&b);
}
