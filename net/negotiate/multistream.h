/* SPDX-License-Identifier: MIT
 *
 * multistream-select 1.0: agreeing on a protocol at the start of a connection or of a stream.
 *
 * A message is `uvarint length ‖ text ‖ \n`. Both sides send `/multistream/1.0.0` without waiting; the dialer proposes,
 * the listener echoes what it agrees to or sends `na`, and the dialer proposes the next. One machine is one side of one
 * negotiation; it is embedded by its owner. Everything may arrive coalesced: what follows the agreed message is left in
 * the input for the protocol.
 *
 *   HEADER ─→ PROPOSE ─→ AGREED      Both roles. HEADER waits for the peer's header, PROPOSE for an answer or a proposal.
 *      └──────────┴────→ FAILED
 *
 * The dialer sends its header together with its first proposal. The obsolete `ls` is answered with `na`.
 */
#ifndef NET_NEGOTIATE_MULTISTREAM_H
#define NET_NEGOTIATE_MULTISTREAM_H

#include "store/base/err.h"
#include "store/base/span.h"

#define MULTISTREAM_TOKEN_MAX     1024 /* with its newline; what js takes */
#define MULTISTREAM_PROPOSALS_MAX 64   /* that a listener answers with na before it gives up */

enum multistream_state { MULTISTREAM_HEADER, MULTISTREAM_PROPOSE, MULTISTREAM_AGREED, MULTISTREAM_FAILED };

/* An entry that ends in '*' stands for every id that begins with what is before it. */
struct multistream_table {
    const char *const *ids;
    unsigned count;
};

struct multistream {
    enum multistream_state state;
    bool dialer;
    struct multistream_table table; /* proposals or what we speak; borrowed */
    unsigned at;                    /* dialer: the proposal under way; then, in both roles, the agreed entry */
    unsigned refused;               /* proposals refused by us */
    struct buf in;                  /* a split message; once agreed, the id that was agreed on */
    struct buf out;
};

void multistream_init_dialer(struct multistream *m, struct multistream_table proposals); /* count ≥ 1 */
void multistream_init_listener(struct multistream *m, struct multistream_table spoken);
void multistream_done(struct multistream *m);

/* Takes what belongs to the negotiation from the front of `in`. 1: agreed (multistream_index, multistream_id); 0: `in`
 * was used up, more is needed; ERR_UNSUPPORTED: the listener speaks none of our proposals; ERR_PROTOCOL: malformed;
 * ERR_LIMIT: too long or too many proposals. After an error there may still be an answer to send. */
int multistream_input(struct multistream *m, struct span *in);
/* Moves what is to be sent to `out`; bytes appended. Call it after init and after each input, and send at once, also when we
 * have nothing to say ourselves: a peer that negotiates lazily waits for the answer when it closes. */
size_t multistream_output(struct multistream *m, struct buf *out);

unsigned multistream_index(const struct multistream *m); /* once agreed: which entry of the table */
struct span multistream_id(const struct multistream *m); /* once agreed: the id; borrowed */

/* Which entry of the table speaks `id`: its index, or ERR_NOT_FOUND. */
int multistream_find(struct multistream_table t, struct span id);

#endif
