/* SPDX-License-Identifier: MIT
 *
 * Hex literals for the tests of net/. */
#ifndef TESTS_UNIT_NET_HEXBYTES_H
#define TESTS_UNIT_NET_HEXBYTES_H

#include "store/base/span.h"

#include <stdio.h>
#include <stdlib.h>

static inline void hex_add(struct buf *out, const char *hex)
{
    for (; hex[0] && hex[1]; hex += 2) {
        char pair[3] = {hex[0], hex[1], 0};
        buf_add_u8(out, (uint8_t)strtoul(pair, NULL, 16));
    }
}

static inline bool hex_is(struct span s, const char *hex)
{
    struct buf b = BUF_INIT;
    hex_add(&b, hex);
    bool same = span_eq(s, buf_span(&b));
    buf_done(&b);
    return same;
}

/* A copy of exactly that size on the heap, so that the sanitizer sees the first byte past its end. */
static inline struct span exact(struct span s, uint8_t **ret_free)
{
    *ret_free = mem_copy(s.data, s.len);
    return span_of(*ret_free, s.len);
}

#endif
