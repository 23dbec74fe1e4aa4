/* SPDX-License-Identifier: MIT */
#include "store/block/fault.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_ulong passed;
static atomic_ulong left; /* passes until it strikes; 0: disarmed */
static atomic_int action;

void fault_arm(unsigned long nth, enum fault_action what)
{
    atomic_store(&left, 0);
    atomic_store(&action, (int)what);
    atomic_store(&left, nth);
}

unsigned long fault_passed(void)
{
    return atomic_load(&passed);
}

int fault_point(void)
{
    atomic_fetch_add_explicit(&passed, 1, memory_order_relaxed);
    if (atomic_load(&left) == 0 || atomic_fetch_sub(&left, 1) != 1)
        return 0;
    switch (atomic_load(&action)) {
    case FAULT_NO_SPACE:
        return ENOSPC;
    case FAULT_EXIT:
        _exit(FAULT_EXIT_STATUS);
    default:
        return EIO;
    }
}
