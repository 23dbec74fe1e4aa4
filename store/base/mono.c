/* SPDX-License-Identifier: MIT */
#include "store/base/mono.h"

#include <stdio.h>
#include <time.h>

mono_ns mono_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with these arguments */
    return (mono_ns)t.tv_sec * MONO_S + (mono_ns)t.tv_nsec;
}

wall_ns wall_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t); /* cannot fail with these arguments */
    return (wall_ns)t.tv_sec * (wall_ns)MONO_S + t.tv_nsec;
}

char *wall_text(wall_ns t, char text[WALL_TEXT_SIZE])
{
    time_t seconds = (time_t)(t / (wall_ns)MONO_S);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || strftime(text, WALL_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        (void)snprintf(text, WALL_TEXT_SIZE, "-"); /* a year of more than four digits */
    return text;
}
