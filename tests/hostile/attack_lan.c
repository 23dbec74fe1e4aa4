/* SPDX-License-Identifier: MIT
 *
 * mDNS (PROTOCOLS.md section 13): packets to the group from this machine's address, as fast as asked. */
#include "net/discover/mdns.h"
#include "net/wire/dns_packet.h"
#include "tests/hostile/hostile.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVICE "_p2p._udp.local"
#define ROUND   5000

static int group_socket(const struct hostile *h, struct sockaddr_in *ret_group)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    *ret_group = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(MDNS_PORT)};
    (void)inet_pton(AF_INET, MDNS_GROUP_V4, &ret_group->sin_addr); /* a constant that is right */
    int ttl = 255;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = h->target.first_source};
    (void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof ttl);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) == 0 &&
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &from.sin_addr, sizeof from.sin_addr) == 0)
        return fd;
    close(fd);
    return -1;
}

static void flood(struct hostile *h, void (*fill)(struct hostile *h, struct buf *out))
{
    struct sockaddr_in group;
    struct buf out = BUF_INIT;
    int fd = group_socket(h, &group);
    hostile_begun();
    for (unsigned i = 0; fd >= 0 && i < ROUND && !hostile_over(h); i++) {
        buf_clear(&out);
        fill(h, &out);
        ssize_t n = sendto(fd, out.base + out.start, buf_len(&out), 0, (struct sockaddr *)&group, sizeof group);
        h->tally.units += n > 0;
        h->tally.sent += n > 0 ? (uint64_t)n : 0;
    }
    hostile_note(h, fd < 0 ? GOT_REFUSED : GOT_IGNORED); /* nobody answers this in a way that we could see */
    buf_done(&out);
    if (fd >= 0)
        close(fd);
}

static void answer_head(struct buf *out, const char *instance)
{
    const struct dns_header head = {.flags = DNS_ANSWER, .answers = 1, .additionals = 1};
    dns_add_header(out, &head);
    size_t at = dns_begin_record(out, SERVICE, DNS_PTR, DNS_CLASS_IN, 120);
    dns_add_name(out, instance);
    dns_end_record(out, at);
}

/* Somebody new in each packet, at an address where nobody (or the honest nodes) listen */
static void fill_peers(struct hostile *h, struct buf *out)
{
    struct identity who;
    char instance[80], id[PEER_ID_TEXT_SIZE], text[240];
    identity_new(&who, &h->rng);
    (void)snprintf(instance, sizeof instance, "x%016llx%016llx." SERVICE, (unsigned long long)rng_u64(&h->rng),
                   (unsigned long long)rng_u64(&h->rng));
    answer_head(out, instance);
    size_t at = dns_begin_record(out, instance, DNS_TXT, DNS_CLASS_IN, 120);
    for (unsigned i = 0; i < 8; i++) {
        int n = snprintf(text, sizeof text, "dnsaddr=/ip4/10.77.0.%u/tcp/%u/p2p/%s", (unsigned)rng_below(&h->rng, 254) + 1,
                         i % 2 ? 4001 : (unsigned)rng_below(&h->rng, 65535) + 1, peer_id_text(&who.id, id));
        buf_add_u8(out, (uint8_t)n);
        buf_add_str(out, text);
    }
    dns_end_record(out, at);
}

static void fill_queries(struct hostile *h, struct buf *out)
{
    const struct dns_header head = {.id = (uint16_t)rng_u64(&h->rng), .questions = 1};
    dns_add_header(out, &head);
    dns_add_question(out, SERVICE, DNS_PTR, DNS_CLASS_IN | (rng_below(&h->rng, 2) ? DNS_TOP_BIT : 0));
}

/* Pointers in circles, lengths beyond the end, counts that are not there */
static void fill_garbage(struct hostile *h, struct buf *out)
{
    static const uint8_t loops[] = "\xc0\x0c\0\x0c\0\1\xc0\x0c\0\x0c\0\1\0\0\0\0\xff\xff\xc0\x1a";
    struct dns_header head = {.flags = DNS_ANSWER,
                              .questions = (uint16_t)rng_u64(&h->rng),
                              .answers = (uint16_t)rng_u64(&h->rng),
                              .additionals = UINT16_MAX};
    dns_add_header(out, &head);
    buf_add(out, loops, sizeof loops);
    size_t more = rng_below(&h->rng, 1200);
    rng_fill(&h->rng, buf_reserve(out, more + 1), more);
    buf_commit(out, more);
}

static void peers(struct hostile *h)
{
    flood(h, fill_peers);
}

static void queries(struct hostile *h)
{
    flood(h, fill_queries);
}

static void garbage(struct hostile *h)
{
    flood(h, fill_garbage);
}

static const struct attack lan_table[] = {
    {"mdns-peers", "mdns-peers", 0, peers, "answers with peers that do not exist, as fast as they go"},
    {"mdns-queries", "mdns-queries", 0, queries, "questions as fast as they go"},
    {"mdns-garbage", "mdns-garbage", 0, garbage, "packets with circles and wrong lengths"},
};
const struct attack_table attacks_lan = {lan_table, sizeof lan_table / sizeof *lan_table};
