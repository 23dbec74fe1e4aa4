/* SPDX-License-Identifier: MIT
 *
 * Multiaddrs (github.com/multiformats/multiaddr), as values in their binary form: a row of components `uvarint code ‖ value`.
 *
 * What a struct multiaddr holds was checked: every component is of the table in multiaddr.c and complete. An address with an
 * unknown protocol cannot be parsed at all (its length is unknown): skip that address, never the message it came in.
 * Unused bytes of the struct are not zero: compare with multiaddr_eq.
 */
#ifndef NET_ADDR_MULTIADDR_H
#define NET_ADDR_MULTIADDR_H

#include "net/addr/peerid.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define MULTIADDR_MAX  512  /* longest binary form we take; the longest in use (webrtc with two certificates) is 200 */
#define MULTIADDR_TEXT 4096 /* fits the text of any of them, with its NUL */

enum multiaddr_code {
    MA_IP4 = 0x04,
    MA_TCP = 0x06,
    MA_IP6 = 0x29,
    MA_IP6ZONE = 0x2a,
    MA_IPCIDR = 0x2b,
    MA_DNS = 0x35,
    MA_DNS4 = 0x36,
    MA_DNS6 = 0x37,
    MA_DNSADDR = 0x38,
    MA_UDP = 0x0111,
    MA_WEBRTC_DIRECT = 0x0118,
    MA_WEBRTC = 0x0119,
    MA_P2P_CIRCUIT = 0x0122,
    MA_UNIX = 0x0190,
    MA_P2P = 0x01a5,
    MA_TLS = 0x01c0,
    MA_SNI = 0x01c1,
    MA_NOISE = 0x01c6,
    MA_QUIC = 0x01cc,
    MA_QUIC_V1 = 0x01cd,
    MA_WEBTRANSPORT = 0x01d1,
    MA_CERTHASH = 0x01d2,
    MA_WS = 0x01dd,
    MA_WSS = 0x01de,
    MA_HTTP = 0x01e0,
    MA_HTTP_PATH = 0x01e1,
    MA_MEMORY = 0x0309,
};

struct multiaddr {
    uint16_t len;
    uint8_t bytes[MULTIADDR_MAX];
};

static inline struct span multiaddr_span(const struct multiaddr *m)
{
    return (struct span){m->bytes, m->len};
}

bool multiaddr_eq(const struct multiaddr *a, const struct multiaddr *b);
uint64_t multiaddr_mix(const struct multiaddr *m); /* for hash tables; not a secret */

/* All of `in`: 0; ERR_INVALID; ERR_TRUNCATED; ERR_UNSUPPORTED (a protocol we do not know); ERR_TOO_BIG. Empty is
 * ERR_INVALID. */
int multiaddr_parse(struct span in, struct multiaddr *ret);
/* Text as `/ip4/192.0.2.1/tcp/4001/p2p/12D3…` (`ipfs` is taken for `p2p`). The same errors, with a sentence in `why`. */
int multiaddr_from_text(struct span text, struct multiaddr *ret, struct why *why);
char *multiaddr_text(const struct multiaddr *m, char text[MULTIADDR_TEXT]); /* returns text */

/* ---- components ---- */

struct multiaddr_part {
    uint64_t code;
    struct span value; /* without its length; borrowed */
    size_t at, end;    /* the component's place in the bytes */
};

/* Start with *at = 0: true and the next component, or false at the end. */
bool multiaddr_next(const struct multiaddr *m, size_t *at, struct multiaddr_part *ret);
/* The first component with that code. */
bool multiaddr_find(const struct multiaddr *m, uint64_t code, struct multiaddr_part *ret);
bool multiaddr_is_relayed(const struct multiaddr *m); /* has /p2p-circuit */

/* ---- the peer at its end ---- */

/* The id of the last component, if that is /p2p. */
bool multiaddr_peer(const struct multiaddr *m, struct peer_id *ret);
void multiaddr_strip_peer(struct multiaddr *m);                          /* drops a /p2p at the end, if any */
int multiaddr_add_peer(struct multiaddr *m, const struct peer_id *peer); /* replaces one at the end; ERR_TOO_BIG */

/* ---- addresses that sockets understand ---- */

/* `transport` MA_TCP or MA_UDP. A scope id of an IPv6 link-local address becomes /ip6zone/<number>. ERR_UNSUPPORTED: not IP. */
int multiaddr_from_sockaddr(const struct sockaddr *sa, enum multiaddr_code transport, struct multiaddr *ret);

#define MULTIADDR_HOST_MAX 253
#define MULTIADDR_ZONE_MAX 15 /* IFNAMSIZ */
struct multiaddr_host {
    enum multiaddr_code kind;      /* MA_IP4, MA_IP6, MA_DNS, MA_DNS4, MA_DNS6 */
    enum multiaddr_code transport; /* MA_TCP or MA_UDP */
    uint16_t port;
    uint8_t ip[16];                    /* 4 bytes used for MA_IP4 */
    char zone[MULTIADDR_ZONE_MAX + 1]; /* of MA_IP6; empty: none */
    char name[MULTIADDR_HOST_MAX + 1]; /* of the DNS kinds */
};

/* The leading [ip6zone/]ip|dns* and tcp|udp; *ret_rest is what follows (borrowed): empty for plain TCP but for a /p2p, which is
 * left out. ERR_UNSUPPORTED: begins otherwise. */
int multiaddr_host(const struct multiaddr *m, struct multiaddr_host *ret, struct span *ret_rest);
/* Is it what our TCP transport dials: ip or dns, tcp, and nothing but a /p2p behind? */
bool multiaddr_is_tcp(const struct multiaddr *m);
/* IP addresses only. A zone that is a name is left to the caller (if_nametoindex); a number is taken. ERR_UNSUPPORTED. */
int multiaddr_to_sockaddr(const struct multiaddr *m, struct sockaddr_storage *ret, socklen_t *ret_len);

enum multiaddr_scope {
    MA_SCOPE_NONE,        /* no IP address at its start */
    MA_SCOPE_UNSPECIFIED, /* 0.0.0.0, :: */
    MA_SCOPE_LOOPBACK,
    MA_SCOPE_LINK_LOCAL,
    MA_SCOPE_PRIVATE,  /* RFC 1918, fc00::/7, and 100.64/10 of carriers */
    MA_SCOPE_RESERVED, /* multicast, documentation, benchmarks, class E: never dial */
    MA_SCOPE_PUBLIC,
};
enum multiaddr_scope multiaddr_scope(const struct multiaddr *m); /* IPv4 mapped into IPv6 counts as IPv4 */

#endif
