/* SPDX-License-Identifier: MIT
 *
 * Streams counted by who they are with and by the address they come from: what `ledger` and status show beside the counts that
 * each service has of itself. A row stays when its last stream has ended, until TALLY_MOST others were used later. Pure.
 */
#ifndef NET_SERVICE_TALLY_H
#define NET_SERVICE_TALLY_H

#include "net/service/service.h"

#define TALLY_MOST 512
#define TALLY_KEY  64

struct tally_row {
    char key[TALLY_KEY]; /* NUL-padded: a peer id's bytes, or an address as text */
    struct service_count count;
    uint64_t used; /* the later, the larger */
};

struct tally {
    struct tally_row *rows[TALLY_MOST];
    unsigned count;
    uint64_t clock;
};

void tally_done(struct tally *t);
/* A stream begins: its row, valid until tally_close; NULL: so many have streams now that it goes uncounted. */
struct tally_row *tally_open(struct tally *t, struct span key);         /* keys of TALLY_KEY bytes or more are cut */
void tally_close(struct tally *t, struct tally_row *r, mono_ns lasted); /* NULL accepted */
const struct tally_row *tally_find(const struct tally *t, struct span key);

#endif
