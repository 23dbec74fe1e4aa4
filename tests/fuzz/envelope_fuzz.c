/* LINK: net_addr */
/* SPDX-License-Identifier: MIT
 *
 * Envelopes and peer records. The input is opened as an envelope; and it is sealed by a fixed key as the payload of one,
 * so that the parser of records is reached without a forged signature. */
#include "net/addr/envelope.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct identity self;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[ED25519_SEED] = {1};
    struct peer_record r;
    struct buf sealed = BUF_INIT, again = BUF_INIT;
    if (peer_id_is_none(&self.id))
        identity_from_seed(&self, seed);
    if (peer_record_open(span_of(data, size), &r) == 0)
        peer_record_done(&r);
    if (size > ENVELOPE_MAX)
        return 0;
    envelope_seal(&self, ENVELOPE_PEER, envelope_type_peer, span_of(data, size), &sealed);
    if (peer_record_open(buf_span(&sealed), &r) == 0) {
        if (!peer_id_eq(&r.peer, &self.id))
            abort();
        peer_record_seal(&self, &r, &again);
        peer_record_done(&r);
        if (peer_record_open(buf_span(&again), &r) < 0)
            abort();
        peer_record_done(&r);
    }
    buf_done(&sealed);
    buf_done(&again);
    return 0;
}
