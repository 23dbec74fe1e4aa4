/* SPDX-License-Identifier: MIT
 *
 * On which processor the mount is served: on that of who asks, while one program asks for small things one after the other.
 *
 * Such a program waits for each answer, and we wait for its next request: two processors gain little, and each request costs
 * two wake-ups from one to the other, which take longer than the request (in a virtual machine several times as long). Where
 * the scheduler puts us is chance, and stays as it is for seconds. So after NEAR_RUN such requests in a row we look where
 * the program runs, and go there. We may run anywhere again as soon as somebody else asks, or for something big (copying it
 * goes on beside what the program does), or nobody for a moment.
 *
 * Tried, and not worth it: looking for the next request for 30 or 100 us before sleeping, which spares one of the two
 * wake-ups; reading one request a turn, which spares the call that says that there is no other.
 *
 * The fs thread's. */
#ifndef FS_NODE_NEAR_H
#define FS_NODE_NEAR_H

#include "store/base/mono.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>

struct near {
    int who; /* thread that asked last */
    unsigned run;
    mono_ns last;
    bool bound;
    int at;           /* bound: the processor */
    cpu_set_t before; /* bound: where we may run otherwise */
};

#define NEAR_RUN   64                  /* between two looks, which cost as much as some requests */
#define NEAR_GAP   (2 * MONO_MS)       /* who is away longer waits for something else: the disk, the network, a person */
#define NEAR_SMALL ((size_t)64 * 1024) /* copying more takes as long as the wake-ups */

/* Thread `who` (0: nobody waits) asks for so many bytes, or brings them. */
void near_asked(struct near *n, int who, size_t bytes, mono_ns now);
mono_ns near_deadline(const struct near *n); /* of near_tick: nobody is waited for where others may be in the way */
void near_tick(struct near *n, mono_ns now);
int near_processor(const char *stat); /* of a thread, from the text of its /proc/<n>/stat; -1: it cannot be told */

#endif
