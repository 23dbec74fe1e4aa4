/* LINK: net_discover store_base */
/* SPDX-License-Identifier: MIT
 *
 * mDNS datagrams, each behind two bytes of length, to one node: it never says more than one answer a second to the group, every
 * datagram of its own fits a frame, and what it tells of peers is printable. */
#include "net/discover/mdns.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"

static void pull(struct mdns *m, unsigned *answers)
{
    struct mdns_event ev;
    while (mdns_next(m, &ev)) {
        if (ev.type == MDNS_SEND) {
            assert(ev.datagram.len > 0 && ev.datagram.len <= MDNS_OUTPUT_MAX);
            *answers += !ev.unicast && (ev.datagram.data[2] & 0x80);
            continue;
        }
        if (ev.type == MDNS_GONE) {
            assert(ev.peer_id.len > 0 && ev.addr_count == 0);
            continue;
        }
        assert(ev.type == MDNS_PEER && ev.peer_id.len > 0 && ev.addr_count >= 1 && ev.addr_count <= MDNS_ADDRS_MAX);
        for (unsigned i = 0; i < ev.addr_count; i++)
            for (size_t k = 0; k < ev.addrs[i].len; k++)
                assert(ev.addrs[i].data[k] > ' ' && ev.addrs[i].data[k] < 0x7f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const addrs[] = {"/ip4/192.0.2.1/tcp/4001/p2p/" ID};
    struct mdns_endpoint self = {.iface = 1, .family = MDNS_V4, .ip = {192, 0, 2, 1}, .port = MDNS_PORT}, from = self;
    struct rng rng;
    rng_init_seed(&rng, 1);
    struct mdns *m = mdns_new(&rng, ID);
    mono_ns now = 1000 * MONO_S, begun = now;
    if (mdns_iface_set(m, &self, addrs, 1, now) < 0)
        return 0;
    unsigned answers = 0;
    pull(m, &answers);
    while (size >= 2) {
        size_t len = (size_t)(data[0] & 0x3f) << 8 | data[1];
        from.port = data[0] & 0x40 ? 1234 : MDNS_PORT;
        from.ip[3] = data[0] & 0x80 ? 2 : 1;
        data += 2;
        size -= 2;
        len = len < size ? len : size;
        mdns_input(m, &from, span_of(data, len), now);
        now += 50 * MONO_MS;
        mdns_expire(m, now);
        pull(m, &answers);
        data += len;
        size -= len;
    }
    assert(answers <= 2 + (now - begun) / MONO_S);
    mdns_free(m);
    return 0;
}
