/* SPDX-License-Identifier: MIT
 *
 * Monotonic time, in nanoseconds since an arbitrary start; and the wall clock, where a spec or a user wants one. Pure
 * machines never read either: they are told. Deadlines use MONO_NEVER for "none".
 */
#ifndef STORE_BASE_MONO_H
#define STORE_BASE_MONO_H

#include <stdint.h>

typedef uint64_t mono_ns; /* CLOCK_MONOTONIC */
typedef int64_t wall_ns;  /* since 1970-01-01 UTC */

#define MONO_NEVER UINT64_MAX
#define MONO_US    UINT64_C(1000)
#define MONO_MS    UINT64_C(1000000)
#define MONO_S     UINT64_C(1000000000)

mono_ns mono_now(void);
wall_ns wall_now(void);

static inline mono_ns mono_min(mono_ns a, mono_ns b)
{
    return a < b ? a : b;
}

/* now + delay without wrapping past MONO_NEVER */
static inline mono_ns mono_after(mono_ns now, mono_ns delay)
{
    return delay > MONO_NEVER - now ? MONO_NEVER : now + delay;
}

/* RFC 3339 in UTC with seconds, "2026-01-02T03:04:05Z"; `text` takes 32 bytes. Returns text. */
#define WALL_TEXT_SIZE 32
char *wall_text(wall_ns t, char text[WALL_TEXT_SIZE]);

#endif
