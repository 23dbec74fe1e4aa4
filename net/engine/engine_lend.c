/* SPDX-License-Identifier: MIT
 *
 * What bridges read into. Much is lent to the stream and sealed from where it lies, while another piece of memory takes its
 * place; two pieces take turns, so that the caches have them. Little is copied, and all when the budget has no second piece. */
#include "net/engine/engine_bridge.h"

#include "store/base/budget.h"

#include <stdlib.h>

#define LEND_LEAST (BRIDGE_QUANTUM / 2) /* less is copied: the whole piece is held while it is lent */

struct lent {
    struct engine *e;
    struct buf piece;
};

/* Its pages and the caches have the spare one still */
struct buf bridge_piece(struct engine *e)
{
    struct buf piece = e->bridge_spare;
    e->bridge_spare = BUF_INIT;
    if (piece.base || !budget_take(e->o.budget, BUDGET_NET, BRIDGE_QUANTUM))
        return piece;
    if (!buf_try_reserve(&piece, BRIDGE_QUANTUM))
        budget_give(e->o.budget, BUDGET_NET, BRIDGE_QUANTUM);
    return piece;
}

void bridge_piece_back(struct engine *e, struct buf *take_piece)
{
    if (!e->bridge_spare.base) {
        e->bridge_spare = *take_piece;
    } else if (take_piece->base) {
        buf_done(take_piece);
        budget_give(e->o.budget, BUDGET_NET, BRIDGE_QUANTUM);
    }
}

void bridge_spare_free(struct engine *e)
{
    if (e->bridge_spare.base)
        budget_give(e->o.budget, BUDGET_NET, BRIDGE_QUANTUM);
    buf_done(&e->bridge_spare);
}

static void lent_done(void *arg)
{
    struct lent *l = arg;
    bridge_piece_back(l->e, &l->piece);
    free(l);
}

void bridge_lend(struct bridge *b)
{
    struct engine *e = b->e;
    struct span in = buf_span(&e->bridge_scratch);
    struct buf piece = in.len < LEND_LEAST ? BUF_INIT : bridge_piece(e);
    if (!piece.base) {
        (void)host_raw_write(e->host, b->raw, in, mono_now());
        return;
    }
    struct lent *l = MEM_NEW(struct lent);
    *l = (struct lent){e, e->bridge_scratch};
    e->bridge_scratch = piece;
    const struct loan loan = {.data = in, .done = lent_done, .arg = l};
    if (host_raw_lend(e->host, b->raw, &loan, mono_now()) <= 0)
        lent_done(l);
}
