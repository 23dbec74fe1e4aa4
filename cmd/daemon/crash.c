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

/* What it returns to happens again, and finds what was there before. */
static void on_crash(int number)
{
    index_suspect(mark);
    for (size_t i = 0; i < NUMBERS; i++)
        if (numbers[i] == number)
            sigaction(number, &before[i], NULL);
    if (number == SIGABRT)
        raise(number);
}

void crash_marks(const char *path)
{
    struct sigaction sa = {.sa_handler = on_crash};
    (void)snprintf(mark, sizeof mark, "%s", path);
    for (size_t i = 0; i < NUMBERS; i++)
        sigaction(numbers[i], &sa, &before[i]);
}
