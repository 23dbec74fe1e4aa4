/* SPDX-License-Identifier: MIT
 *
 * What a domain name means below our two suffixes, `overlay` and `overlay.alt` (RFC 9476):
 *
 *     overlay                              the suffix itself
 *     localhost.overlay                    this node
 *     <peer>.overlay                       a peer: its ports lead to its services by their names
 *     <service>.<peer>.overlay             one service of it: every port leads there
 *     _<service>._tcp.<peer>.overlay       where that service is (SRV); _udp: one of datagrams
 *     _dnslink.<peer>.overlay              what the peer publishes (TXT)
 *     _tcp.<peer>, _udp.<peer>             exist and have nothing
 *
 * <peer> is a petname or a peer id: base58 (`12D3Koo…`, `Qm…`) or a CID (`k51…`, `bafz…`). Names in the DNS have no case, and
 * resolvers change it. Petnames: the letters as written, otherwise the only one that differs in case alone; of several
 * it is none. Base58 ids: the peer we know whose id differs in case alone; an id we do not know is taken as it is written, so a
 * resolver that lowers letters hides it: its CID in base36 is one label (62 of 63 letters) and has no case. In base32 the id of
 * an Ed25519 key is 65 letters, which fits no label. Petnames may have dots: the longest match from the right is the peer. A
 * petname `localhost` is not reached here. `localhost` and our own id are this node: a name for itself and its _dnslink, no
 * services, which are on this machine anyway.
 *
 * Pure: the peers are asked for through struct peer_book.
 */
#ifndef CMD_DNS_OVERLAY_NAME_H
#define CMD_DNS_OVERLAY_NAME_H

#include "net/addr/peerid.h"

#define OVERLAY_SERVICE_MAX 63 /* one label */

enum overlay_kind {
    OVERLAY_FOREIGN, /* another suffix */
    OVERLAY_UNKNOWN, /* ours, and does not exist */
    OVERLAY_SUFFIX,
    OVERLAY_SELF,
    OVERLAY_PEER,
    OVERLAY_SERVICE,
    OVERLAY_SRV,
    OVERLAY_DNSLINK,
    OVERLAY_EMPTY, /* exists, without records */
};

struct overlay_name {
    enum overlay_kind kind;
    bool alt;                              /* of UNKNOWN and further: below overlay.alt */
    bool datagrams;                        /* SRV: below _udp */
    struct peer_id peer;                   /* SELF and further */
    char service[OVERLAY_SERVICE_MAX + 1]; /* SERVICE, SRV: in lower case */
};

/* Peers that are known: texts in the order of `i` from 0 until NULL, valid until the next call. */
struct peer_book {
    void *arg;
    const char *(*petname)(void *arg, unsigned i, struct peer_id *ret);
    const char *(*id)(void *arg, unsigned i, struct peer_id *ret); /* as base58 */
    const struct peer_id *self;
};

/* `name`: labels joined by dots, as dns_read_name gives them. */
void overlay_name_read(const char *name, const struct peer_book *book, struct overlay_name *ret);
/* A peer by itself, `text` as <peer> above. */
bool overlay_peer_find(const char *text, const struct peer_book *book, struct peer_id *ret);

#endif
