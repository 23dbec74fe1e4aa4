/* SPDX-License-Identifier: MIT */
#include "store/base/footprint.h"

#include "tests/unit/other_malloc.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static bool about(uint64_t bytes, uint64_t expected)
{
    return bytes + 2 * MIB > expected && bytes < expected + 2 * MIB;
}

Test(footprint, is_what_was_written_to, .disabled = OTHER_MALLOC)
{
    footprint_tame();
    uint64_t before = footprint_private();
    cr_assert_gt(before, 0);
    char *p = malloc(32 * MIB);
    cr_assert(about(footprint_private(), before), "not written to yet");
    memset(p, 1, 16 * MIB);
    cr_assert(about(footprint_private(), before + 16 * MIB));
    free(p);
    cr_assert(about(footprint_private(), before));
}

/* Blocks of a size that malloc learns to keep, and small ones with one among them that stays */
Test(footprint, goes_back_to_the_kernel, .disabled = OTHER_MALLOC)
{
    enum { COUNT = 16384, SIZE = 1000 };
    static void *small[COUNT];
    footprint_tame();
    uint64_t before = footprint_private();
    for (int i = 0; i < 16; i++) {
        char *p = malloc(MIB);
        memset(p, 1, MIB);
        free(p);
    }
    cr_assert(about(footprint_private(), before));
    for (int i = 0; i < COUNT; i++)
        memset(small[i] = malloc(SIZE), 1, SIZE);
    cr_assert(about(footprint_private(), before + COUNT * SIZE));
    for (int i = 0; i < COUNT - 1; i++)
        free(small[i]);
    footprint_trim();
    cr_assert(about(footprint_private(), before));
    free(small[COUNT - 1]);
}
