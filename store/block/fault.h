/* SPDX-License-Identifier: MIT
 *
 * Crash and error injection for tests. Every write of the store to LMDB (put, delete, begin, commit, sync) passes
 * fault_point(); a test arms it to fail or to end the process at the n-th pass from now. Disarmed it is one atomic load.
 */
#ifndef STORE_BLOCK_FAULT_H
#define STORE_BLOCK_FAULT_H

enum fault_action {
    FAULT_NO_SPACE, /* fails with ENOSPC, once */
    FAULT_IO,       /* fails with EIO, once */
    FAULT_EXIT,     /* _exit(FAULT_EXIT_STATUS) at once, as kill -9 would */
};
#define FAULT_EXIT_STATUS 86

void fault_arm(unsigned long nth, enum fault_action action); /* nth ≥ 1; 0 disarms */
unsigned long fault_passed(void); /* passes since the start of the process, armed or not */
/* 0, or the errno to fail with */
int  fault_point(void);

#endif
