/* SPDX-License-Identifier: MIT
 *
 * mDNS peer discovery (PROTOCOLS.md section 13, github.com/libp2p/specs/blob/master/discovery/mdns.md): the schedule and
 * the rules. The packets are net/wire/dns_packet.h's.
 *
 * On each interface it asks `PTR _p2p._udp.local` at once, then after 1, 2, 4 … s up to every MDNS_PERIOD_MAX, and answers
 * the questions of others (also the meta query) with our TXT records of `dnsaddr=`. The host owns the sockets: UDP 5353
 * joined to 224.0.0.251 and ff02::fb on every interface, and tells which interfaces and addresses exist. Answers go to the
 * group, or to the asker alone when it set the QU bit or asked from another port.
 *
 * A query lists the instances that were heard lately; who finds itself in the list of another does not answer (RFC 6762
 * section 7.1). Who stops says so with a TTL of 0 (section 10.1).
 *
 * Floods: answers on an interface come at most once a second to the group (RFC 6762 section 6) and MDNS_UNICAST_RATE a
 * second to single askers; packets are parsed at most MDNS_PACKETS_RATE a second; peers told per minute are bounded.
 */
#ifndef NET_DISCOVER_MDNS_H
#define NET_DISCOVER_MDNS_H

#include "store/base/err.h"
#include "store/base/mono.h"
#include "store/base/rng.h"
#include "store/base/span.h"

#define MDNS_PORT             5353
#define MDNS_GROUP_V4         "224.0.0.251"
#define MDNS_GROUP_V6         "ff02::fb"
#define MDNS_INPUT_MAX        9000 /* RFC 6762 section 17 */
#define MDNS_OUTPUT_MAX       1472 /* fits one Ethernet frame */
#define MDNS_IFACES_MAX       32
#define MDNS_ADDRS_MAX        32  /* of ours per interface, and of a peer in an event */
#define MDNS_ADDR_MAX         247 /* "dnsaddr=" and it make one TXT string of ≤ 255 bytes */
#define MDNS_PERIOD_MAX       (60 * MONO_S)
#define MDNS_UNICAST_RATE     10
#define MDNS_PACKETS_RATE     200
#define MDNS_PEERS_PER_MINUTE 600

enum mdns_family { MDNS_V4 = 4, MDNS_V6 = 6 };

/* Where a datagram came from or goes to */
struct mdns_endpoint {
    unsigned iface; /* interface index */
    enum mdns_family family;
    uint8_t ip[16]; /* 4 or 16 bytes used, network order */
    uint16_t port;
};

enum mdns_event_type { MDNS_NONE, MDNS_SEND, MDNS_PEER, MDNS_GONE };

struct mdns_event {
    enum mdns_event_type type;
    unsigned iface;
    /* SEND: one datagram, to the group of `to.family` on the interface, or (unicast) to `to` */
    enum mdns_family family;
    bool unicast;
    struct mdns_endpoint to;
    struct span datagram;
    /* PEER: multiaddr texts, all ending in the same /p2p/<peer_id>. GONE: it says goodbye; no addresses */
    struct span peer_id;
    unsigned addr_count;
    struct span addrs[MDNS_ADDRS_MAX];
}; /* spans: borrowed until the next call */

struct mdns;

/* `peer_id`: our own, as text (base58): what bears it is our own echo. */
struct mdns *mdns_new(struct rng *rng, const char *peer_id);
struct mdns *mdns_free(struct mdns *m); /* NULL accepted */

/* An interface is usable for this family, and these are our addresses there (texts with /p2p/<our id> at the end; those
 * longer than MDNS_ADDR_MAX or beyond MDNS_ADDRS_MAX or MDNS_OUTPUT_MAX are left out). New or changed: it asks and answers
 * at once. `ip`: our address of that family on it, for the A or AAAA record that go's resolver wants. ERR_LIMIT: too many
 * interfaces. */
int mdns_iface_set(struct mdns *m, const struct mdns_endpoint *self, const char *const *addrs, unsigned count, mono_ns now);
void mdns_iface_gone(struct mdns *m, unsigned iface, enum mdns_family family, mono_ns now);
/* Something changed (woke up, network came back): ask at once again. */
void mdns_hurry(struct mdns *m, mono_ns now);

/* We stop: a goodbye goes to every interface where we were announced, and nothing more after it. */
void mdns_stop(struct mdns *m, mono_ns now);

/* One datagram. Malformed ones are ignored and counted. */
void mdns_input(struct mdns *m, const struct mdns_endpoint *from, struct span datagram, mono_ns now);
bool mdns_next(struct mdns *m, struct mdns_event *ret);
mono_ns mdns_deadline(const struct mdns *m);
void mdns_expire(struct mdns *m, mono_ns now);

struct mdns_stats {
    uint64_t received, malformed, limited, queries, answers, peers;
};
void mdns_stats(const struct mdns *m, struct mdns_stats *ret);

#endif
