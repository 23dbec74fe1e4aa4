/* SPDX-License-Identifier: MIT
 *
 * Unsigned LEB128 as multiformats uses it (github.com/multiformats/unsigned-varint): at most 9 bytes (63 bits), minimal.
 * Protobuf allows 10 bytes and padding: see uvarint_read_lax.
 */
#ifndef STORE_BASE_UVARINT_H
#define STORE_BASE_UVARINT_H

#include "store/base/span.h"

#define UVARINT_MAX_LEN  9
#define UVARINT_LAX_LEN 10

size_t uvarint_len(uint64_t v);
size_t uvarint_put(uint8_t *out, uint64_t v); /* writes ≤ UVARINT_LAX_LEN bytes, returns how many */
void   buf_add_uvarint(struct buf *b, uint64_t v);

/* Bytes read (> 0) and *ret; ERR_TRUNCATED when more bytes are needed; ERR_INVALID when too long or not minimal. */
int uvarint_read(struct span in, uint64_t *ret);
/* The same for protobuf: up to 10 bytes, padding allowed, bits past 64 refused. */
int uvarint_read_lax(struct span in, uint64_t *ret);

#endif
