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

/* Back in, for the next read: its pages and the caches have it still */
static void lent_done(void *arg)
{
    struct lent *l = arg;
    if (l->e->bridge_spare.base) {
        buf_done(&l->piece);
        budget_give(l->e->o.budget, BUDGET_NET, BRIDGE_QUANTUM);
    } else {
        l->e->bridge_spare = l->piece;
    }
    free(l);
}

void bridge_spare_free(struct engine *e)
{
    if (e->bridge_spare.base)
        budget_give(e->o.budget, BUDGET_NET, BRIDGE_QUANTUM);
    buf_done(&e->bridge_spare);
}

static bool spare_made(struct engine *e)
{
    if (e->bridge_spare.base)
        return true;
    if (!budget_take(e->o.budget, BUDGET_NET, BRIDGE_QUANTUM))
        return false;
    if (buf_try_reserve(&e->bridge_spare, BRIDGE_QUANTUM))
        return true;
    budget_give(e->o.budget, BUDGET_NET, BRIDGE_QUANTUM);
    return false;
}

void bridge_lend(struct bridge *b)
{
    struct engine *e = b->e;
    struct span in = buf_span(&e->bridge_scratch);
    if (in.len < LEND_LEAST || !spare_made(e)) {
        (void)host_raw_write(e->host, b->raw, in, mono_now());
        return;
    }
    struct lent *l = MEM_NEW(struct lent);
    *l = (struct lent){e, e->bridge_scratch};
    e->bridge_scratch = e->bridge_spare;
    e->bridge_spare = BUF_INIT;
    const struct loan loan = {.data = in, .done = lent_done, .arg = l};
    if (host_raw_lend(e->host, b->raw, &loan, mono_now()) <= 0)
        lent_done(l);
}
