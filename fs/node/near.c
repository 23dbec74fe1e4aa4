/* SPDX-License-Identifier: MIT */
#include "fs/node/near.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_FIELD      2 /* of proc_pid_stat(5), in brackets; it may have any characters in it */
#define PROCESSOR_FIELD 39

int near_processor(const char *stat)
{
    const char *at = strrchr(stat, ')');
    for (int field = NAME_FIELD; at && field < PROCESSOR_FIELD; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    if (!at)
        return -1;
    char *end;
    long n = strtol(at, &end, 10);
    return end != at && n >= 0 && n < CPU_SETSIZE ? (int)n : -1;
}

static int processor_of(int who)
{
    char path[40], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", who);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1; /* it is gone, or of a user whom we may not see */
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    return near_processor(text);
}

static void leave(struct near *n)
{
    if (n->bound)
        (void)sched_setaffinity(0, sizeof n->before, &n->before); /* it was so before */
    n->bound = false;
}

static void follow(struct near *n)
{
    int at = processor_of(n->who);
    cpu_set_t there;
    if (n->bound && at == n->at)
        return;
    if (!n->bound && sched_getaffinity(0, sizeof n->before, &n->before) != 0)
        return; /* more processors than the set has room for */
    if (at < 0 || !CPU_ISSET(at, &n->before)) {
        leave(n);
        return;
    }
    CPU_ZERO(&there);
    CPU_SET(at, &there);
    if (sched_setaffinity(0, sizeof there, &there) != 0)
        return;
    n->bound = true;
    n->at = at;
}

void near_asked(struct near *n, int who, size_t bytes, mono_ns now)
{
    if (who == 0)
        return;
    bool goes_on = who == n->who && bytes <= NEAR_SMALL && now - n->last < NEAR_GAP;
    n->who = who;
    n->last = now;
    n->run = goes_on ? n->run + 1 : 0;
    if (!goes_on)
        leave(n);
    else if (n->run % NEAR_RUN == 0)
        follow(n);
}

mono_ns near_deadline(const struct near *n)
{
    return n->bound ? mono_after(n->last, NEAR_GAP) : MONO_NEVER;
}

void near_tick(struct near *n, mono_ns now)
{
    if (now >= near_deadline(n))
        leave(n);
}
