/* SPDX-License-Identifier: MIT */
#include "store/base/uvarint.h"

#include "store/base/err.h"

size_t uvarint_len(uint64_t v)
{
    size_t n = 1;
    while (v >>= 7)
        n++;
    return n;
}

size_t uvarint_put(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

void buf_add_uvarint(struct buf *b, uint64_t v)
{
    uint8_t *at = buf_reserve(b, UVARINT_LAX_LEN);
    buf_commit(b, uvarint_put(at, v));
}

int uvarint_read_lax(struct span in, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < UVARINT_LAX_LEN; i++) {
        if (i >= in.len)
            return ERR_TRUNCATED;
        uint8_t byte = in.data[i];
        if (i == 9 && byte > 1) /* only bit 63 is left */
            return ERR_INVALID;
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = v;
            return (int)i + 1;
        }
    }
    return ERR_INVALID;
}

int uvarint_read(struct span in, uint64_t *ret)
{
    uint64_t v;
    struct span head = span_sub(in, 0, UVARINT_MAX_LEN);
    int n = uvarint_read_lax(head, &v);
    if (n == ERR_TRUNCATED && head.len == UVARINT_MAX_LEN)
        return ERR_INVALID;
    if (n < 0)
        return n;
    if (n > 1 && head.data[n - 1] == 0) /* padded */
        return ERR_INVALID;
    *ret = v;
    return n;
}
