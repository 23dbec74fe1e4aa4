/* LINK: net_addr */
/* SPDX-License-Identifier: MIT
 *
 * Public and private keys, and signatures: the first byte says how long the signature is that precedes the key. */
#include "net/addr/pubkey.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    struct identity i;
    if (identity_parse(in, &i) == 0)
        identity_wipe(&i);
    if (size == 0)
        return 0;
    struct span signature = span_sub(in, 1, data[0]), key = span_from(in, 1 + (size_t)data[0]);
    struct pubkey k, again;
    if (pubkey_parse(key, &k) < 0)
        return 0;
    struct buf b = BUF_INIT;
    struct peer_id id;
    pubkey_encode(&k, &b);
    if (pubkey_parse(buf_span(&b), &again) < 0 || !pubkey_eq(&k, &again))
        abort();
    pubkey_id(&k, &id);
    (void)pubkey_verify(&k, span_str("message"), signature);
    buf_done(&b);
    return 0;
}
