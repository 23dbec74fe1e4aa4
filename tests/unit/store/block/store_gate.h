/* SPDX-License-Identifier: MIT
 *
 * An operation that stops the committer, so that those submitted behind it come as one group. */
#ifndef TESTS_STORE_GATE_H
#define TESTS_STORE_GATE_H

#include "tests/unit/store/block/store_fixture.h"

#include <semaphore.h>

struct gate_op {
    struct store_op op;
    sem_t entered, go;
};

static void ignore_mail(struct mail *m, void *owner)
{
    (void)m;
    (void)owner;
}

static int gate_apply(struct store_op *op, struct store_txn *txn)
{
    (void)txn;
    sem_post(&((struct gate_op *)op)->entered);
    sem_wait(&((struct gate_op *)op)->go);
    return 0;
}

/* From here on a group gathers behind it, until sem_post(&g->go). It is answered as well. */
static void gate_shut(struct gate_op *g, struct blockstore *bs, struct mailbox *mb)
{
    g->op = (struct store_op){.mail.run = ignore_mail, .apply = gate_apply, .reply = mb};
    sem_init(&g->entered, 0, 0);
    sem_init(&g->go, 0, 0);
    blockstore_submit(bs, &g->op);
    sem_wait(&g->entered);
}

#endif
