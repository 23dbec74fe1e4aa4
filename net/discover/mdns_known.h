/* SPDX-License-Identifier: MIT
 *
 * The instances of our service that were heard on the network, each with the peer it is and how long its record holds: what a
 * query lists as known (RFC 6762 section 7.1), and who it is that says goodbye with a PTR alone (section 10.1).
 *
 * A fixed table: strangers can fill it, and then the record that ends first gives way. Pure, one owner.
 */
#ifndef NET_DISCOVER_MDNS_KNOWN_H
#define NET_DISCOVER_MDNS_KNOWN_H

#include "store/base/mono.h"
#include "store/base/span.h"

#define MDNS_KNOWN_MAX      32
#define MDNS_KNOWN_NAME     96 /* longer instance names are not remembered */
#define MDNS_KNOWN_PEER     72
#define MDNS_KNOWN_TTL_MOST 4500 /* s: what RFC 6762 section 10 recommends for such records */

struct mdns_known {
    char name[MDNS_KNOWN_NAME + 1]; /* empty: free */
    char peer[MDNS_KNOWN_PEER + 1];
    unsigned iface;
    mono_ns heard, until;
    bool doubted;
};
struct mdns_known_table {
    struct mdns_known rows[MDNS_KNOWN_MAX];
};

/* Its record was heard: it holds for `ttl` seconds. */
void mdns_known_put(struct mdns_known_table *t, const struct mdns_known *k, uint32_t ttl);
struct mdns_known *mdns_known_find(struct mdns_known_table *t, unsigned iface, const char *name); /* NULL: none */
void mdns_known_drop(struct mdns_known *k);
/* Our address there is another one or gone: it may be another network, and who is known may have lost us meanwhile. They are to
 * answer again. */
void mdns_known_doubt(struct mdns_known_table *t, unsigned iface);
/* Not doubted, and less than half of its time has passed: a query may say that it is known. */
bool mdns_known_fresh(const struct mdns_known *k, unsigned iface, mono_ns now);

#endif
