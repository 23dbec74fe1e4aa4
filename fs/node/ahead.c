/* SPDX-License-Identifier: MIT
 *
 * Read-ahead over the network. A handle that reads in sequence gets a window of blocks wanted in front of it: it begins with
 * AHEAD_FIRST and doubles each time the reader has used half of it, up to AHEAD_MOST, as long as memory is not tight. A jump
 * closes the window: random reads fetch their own chunks only. When the handle closes, what nobody else wants is cancelled.
 * Inner nodes come first (unixfs_read_ahead is breadth first), so a window may need two rounds; the next read sees to that. */
#include "fs/node/mount_state.h"

#define AHEAD_FIRST  (UINT64_C(4) << 20)
#define AHEAD_MOST   (UINT64_C(32) << 20)
#define AHEAD_TIGHT  (UINT64_C(4) << 20)
#define AHEAD_SLACK  (UINT64_C(1) << 20)   /* the kernel's own read-ahead mixes the order of neighbours */
#define AHEAD_STEP   (UINT64_C(512) << 10) /* look again after this many bytes, not at every read */
#define AHEAD_BLOCKS 64

static bool is_sequential(const struct ahead *a, uint64_t offset)
{
    uint64_t low = a->next > AHEAD_SLACK ? a->next - AHEAD_SLACK : 0;
    return offset >= low && offset <= a->next + AHEAD_SLACK;
}

void ahead_read(struct mount *m, struct handle *h, const struct cid *root, uint64_t offset, size_t len)
{
    struct ahead *a = &h->ahead;
    uint64_t end = offset + len;
    if (!is_sequential(a, offset)) {
        wants_drop(m->wants, &a->waiter);
        a->window = 0;
        a->asked = 0;
        a->next = end;
        return;
    }
    if (end > a->next)
        a->next = end;
    if (a->asked > a->next + a->window / 2)
        return; /* more than half of the window is still in front of the reader */
    a->window = a->window == 0 ? AHEAD_FIRST : a->window < AHEAD_MOST ? a->window * 2 : AHEAD_MOST;
    if (a->window > AHEAD_TIGHT && budget_tight(m->o.budget))
        a->window = AHEAD_TIGHT;
    struct cid missing[AHEAD_BLOCKS];
    struct read_range range = {a->next, a->next + a->window};
    int n = unixfs_read_ahead(h->file, m->source, range, missing, AHEAD_BLOCKS);
    a->asked = n == AHEAD_BLOCKS ? a->next + a->window / 2 + AHEAD_STEP : range.to;
    for (int k = 0; k < n; k++) {
        if (cid_codec(&missing[k]) == CODEC_DAG_PB)
            a->asked = a->next; /* leaves below it are not known yet: look again at the next read */
        if (wants_add(m->wants, &a->waiter, &missing[k], root, WANT_AHEAD) < 0)
            return;
    }
}

#define COMPLETE_LOOK (UINT64_C(4) << 30) /* beyond, it is guessed: 4096 leaves take about a millisecond */

bool ahead_complete(struct mount *m, struct unixfs_file *f, uint64_t size)
{
    struct cid first;
    struct read_range all = {0, size < COMPLETE_LOOK ? size : COMPLETE_LOOK};
    return unixfs_read_ahead(f, m->source, all, &first, 1) == 0;
}
