/* SPDX-License-Identifier: MIT
 *
 * The worker pool: a job is a value in and a value out (hash this, verify that, read a block, look up a name). Workers own
 * nothing; a job owns everything it touches from submission until its answer arrives.
 *
 * It stands in store/base, not in net/io, because the mount hashes on the same workers as the engine does, and the
 * mount may not include net.
 */
#ifndef STORE_BASE_WORKERS_H
#define STORE_BASE_WORKERS_H

#include "store/base/mailbox.h"

struct job {
    struct mail mail;            /* run() of this is called on the asker's thread when the work is done */
    void (*work)(struct job *j); /* called on a worker */
    struct mailbox *reply;       /* where the answer goes */
};

struct workers;

struct workers *workers_new(unsigned count);     /* starts `count` (1…64) threads; NULL when they cannot be */
struct workers *workers_free(struct workers *w); /* finishes what is queued, joins; NULL accepted */
/* Cannot fail: the number of jobs is bounded by what their askers hold (budget, requests). Slow jobs (a file read or written:
 * may block for seconds) are kept to half of the threads, rounded down but at least one, so that hashing goes on. */
void workers_submit(struct workers *w, struct job *take_j);
void workers_submit_slow(struct workers *w, struct job *take_j);

#endif
