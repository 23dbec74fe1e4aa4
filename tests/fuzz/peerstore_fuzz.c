/* LINK: net_swarm store_base */
/* SPDX-License-Identifier: MIT
 *
 * A saved peerstore: whatever the bytes are, loading is bounded, and what was loaded is saved in a form that loads. */
#include "net/swarm/peerstore.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const wall_ns wall = (wall_ns)(1800000000 * MONO_S);
    struct peerstore *ps = peerstore_new();
    (void)peerstore_load(ps, span_of(data, len), 5 * MONO_S, wall); /* any answer: what came before an error is kept */
    if (peerstore_count(ps) > PEERSTORE_PEERS_MAX || peerstore_bytes(ps) > PEERSTORE_BYTES_MAX)
        abort();
    struct buf out = BUF_INIT;
    peerstore_save(ps, &out, 5 * MONO_S, wall);
    struct peerstore *again = peerstore_new();
    if (peerstore_load(again, buf_span(&out), 5 * MONO_S, wall) != 0)
        abort();
    peerstore_free(again);
    peerstore_free(ps);
    buf_done(&out);
    return 0;
}
