/* LINK: net_addr */
/* SPDX-License-Identifier: MIT
 *
 * Multiaddrs from both forms: what is taken in one form must come back from the other. */
#include "net/addr/multiaddr.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct multiaddr *m)
{
    static char text[MULTIADDR_TEXT];
    struct multiaddr again, with;
    struct multiaddr_host host;
    struct sockaddr_storage ss;
    socklen_t len;
    struct span rest;
    struct peer_id peer;
    if (multiaddr_from_text(span_str(multiaddr_text(m, text)), &again, NULL) < 0 || !multiaddr_eq(m, &again))
        abort();
    (void)multiaddr_host(m, &host, &rest);
    (void)multiaddr_is_tcp(m);
    (void)multiaddr_to_sockaddr(m, &ss, &len);
    (void)multiaddr_scope(m);
    (void)multiaddr_is_relayed(m);
    with = *m;
    if (multiaddr_peer(m, &peer) && (multiaddr_add_peer(&with, &peer) < 0 || !multiaddr_eq(m, &with)))
        abort();
    multiaddr_strip_peer(&with);
    if (with.len > m->len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct multiaddr m;
    struct why why;
    if (multiaddr_parse(span_of(data, size), &m) == 0)
        look(&m);
    if (multiaddr_from_text(span_of(data, size), &m, &why) == 0)
        look(&m);
    return 0;
}
