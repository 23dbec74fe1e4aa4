/* SPDX-License-Identifier: MIT */
#include "store/base/footprint.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

/* malloc would raise it to the largest piece that was ever freed, and from then on leave the holes of blocks in its heap */
#define MAP_FROM (128 << 10)

static int statm = -1;
static uint64_t page_bytes;

void footprint_tame(void)
{
    (void)mallopt(M_ARENA_MAX, 1); /* refused: it is as it was */
    (void)mallopt(M_MMAP_THRESHOLD, MAP_FROM);
    page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    if (statm < 0)
        statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

uint64_t footprint_private(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 0; /* most of it would be the sanitizer's */
#endif
    char text[128]; /* pages: "all resident of-files …" */
    ssize_t got = pread(statm, text, sizeof text - 1, 0);
    if (got <= 0)
        return 0;
    text[got] = 0;
    char *at = text;
    (void)strtoull(at, &at, 10);
    uint64_t resident = strtoull(at, &at, 10), of_files = strtoull(at, &at, 10);
    return resident > of_files ? (resident - of_files) * page_bytes : 0;
}

void footprint_trim(void)
{
    (void)malloc_trim(0); /* 0: there was nothing */
}
