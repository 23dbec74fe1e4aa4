/* LINK: net_swarm */
/* SPDX-License-Identifier: MIT
 *
 * Answers of a DNS server: first byte: with an id or not; then packets, two bytes of length in front of each. */
#include "net/swarm/dnsaddr.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct multiaddr m;
    struct peer_id want = {0};
    struct dnsaddr d;
    char name[MULTIADDR_HOST_MAX + 1];
    unsigned asked = 0;
    if (size < 1 || multiaddr_from_text(span_str("/dnsaddr/example.org"), &m, NULL) < 0)
        return 0;
    if (data[0] & 1)
        (void)peer_id_from_text(span_str("12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"), &want, NULL);
    data++;
    size--;
    dnsaddr_init(&d, &m, &want);
    while (dnsaddr_next(&d, name)) {
        asked++;
        assert(strlen(name) > 9);
        size_t len = size >= 2 ? (size_t)data[0] << 8 | data[1] : 0;
        size_t skip = size >= 2 ? 2 : size;
        data += skip;
        size -= skip;
        len = len < size ? len : size;
        (void)dnsaddr_answer(&d, span_of(data, len));
        data += len;
        size -= len;
    }
    assert(asked <= DNSADDR_LOOKUPS_MAX && d.addr_count <= DNSADDR_ADDRS_MAX);
    for (unsigned i = 0; i < d.addr_count; i++)
        assert(multiaddr_is_tcp(&d.addrs[i]));
    return 0;
}
