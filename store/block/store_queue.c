/* SPDX-License-Identifier: MIT */
#include "store/block/store_queue.h"

#include "store/block/store_internal.h"

/* Lazy ones wake the committer twice at most: when the first of them comes, so that it knows the time, and when they are worth
 * a commit. */
void blockstore_submit(struct blockstore *bs, struct store_op *take_op)
{
    if (!take_op->lazy) {
        mailbox_reply(bs->inbox, &take_op->mail);
        return;
    }
    size_t cost = take_op->cost;
    mailbox_leave(bs->inbox, &take_op->mail);
    size_t before = atomic_fetch_add(&bs->lazy_bytes, cost);
    bool worth = before < bs->lazy_most && before + cost >= bs->lazy_most;
    if (!atomic_exchange(&bs->timed, true) || worth)
        mailbox_wake(bs->inbox);
}

void opqueue_take(struct blockstore *bs)
{
    mono_ns lazy_due = mono_after(mono_now(), STORE_LAZY_MOST);
    if (!bs->pending)
        bs->due = MONO_NEVER;
    for (struct mail *m = mailbox_take_all(bs->inbox), *next; m; m = next) {
        next = m->next;
        m->next = NULL;
        *bs->pending_end = m;
        bs->pending_end = &m->next;
        bs->due = mono_min(bs->due, ((struct store_op *)m)->lazy ? lazy_due : 0);
    }
    if (atomic_load(&bs->lazy_bytes) >= bs->lazy_most)
        bs->due = 0;
}

void opqueue_take_lazy(struct blockstore *bs)
{
    atomic_store(&bs->timed, false);  /* before the mail is taken: whoever comes later wakes us */
    atomic_store(&bs->lazy_bytes, 0); /* what comes in this moment may be forgotten: its time still runs */
    opqueue_take(bs);
}

struct store_op *opqueue_pop(struct blockstore *bs)
{
    struct mail *m = bs->pending;
    bs->pending = m->next;
    if (!bs->pending)
        bs->pending_end = &bs->pending;
    return (struct store_op *)m;
}

void opqueue_put_back(struct blockstore *bs, unsigned from)
{
    while (bs->group_count > from) {
        struct mail *m = &bs->group[--bs->group_count]->mail;
        m->next = bs->pending;
        bs->pending = m;
        if (!m->next)
            bs->pending_end = &m->next;
        bs->due = 0;
    }
}
