/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/crash.h"

#include "store/block/index_rebuild.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>

static const int numbers[] = {SIGSEGV, SIGBUS, SIGABRT};
#define NUMBERS (sizeof numbers / sizeof *numbers)

static char mark[PATH_MAX];
static struct sigaction before[NUMBERS]; /* of a sanitizer */

/* What it returns to happens again, and finds what was there before; what somebody sent does not. */
static void on_crash(int number, siginfo_t *info, void *context)
{
    (void)context;
    index_suspect(mark);
    for (size_t i = 0; i < NUMBERS; i++)
        if (numbers[i] == number)
            sigaction(number, &before[i], NULL);
    if (info->si_code <= 0)
        (void)raise(number);
}

void crash_marks(const char *path)
{
    struct sigaction sa = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO};
    (void)snprintf(mark, sizeof mark, "%s", path);
    for (size_t i = 0; i < NUMBERS; i++)
        sigaction(numbers[i], &sa, &before[i]);
}
