/* LINK: net_addr */
/* SPDX-License-Identifier: MIT
 *
 * Peer ids from bytes and from text. */
#include "net/addr/peerid.h"
#include "net/addr/pubkey.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct peer_id *p)
{
    char text[PEER_ID_TEXT_SIZE], cid[PEER_ID_CID_SIZE], brief[PEER_ID_SHORT_SIZE];
    struct peer_id again;
    struct pubkey key;
    if (peer_id_from_text(span_str(peer_id_cid_text(p, cid)), &again, NULL) < 0 || !peer_id_eq(p, &again))
        abort();
    (void)peer_id_text(p, text);
    /* Text that begins otherwise is not read back: only ids that keys make begin with 1 or Qm. */
    if ((text[0] == '1' || (text[0] == 'Q' && text[1] == 'm')) &&
        (peer_id_from_text(span_str(text), &again, NULL) < 0 || !peer_id_eq(p, &again)))
        abort();
    (void)peer_id_short(p, brief);
    (void)pubkey_from_id(p, &key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer_id p;
    struct why why;
    if (peer_id_parse(span_of(data, size), &p) == 0)
        look(&p);
    if (peer_id_from_text(span_of(data, size), &p, &why) == 0)
        look(&p);
    return 0;
}
