/* SPDX-License-Identifier: MIT
 *
 * Protobuf messages by protobuf-c, with bounds. The .proto files of this folder are compiled to "net/wire/<name>.pb-c.h".
 *
 * protobuf-c copies every field and scans with tables of its own, so a short hostile message could make it allocate many times
 * its size. wire_unpack refuses messages over `max` bytes and stops when WIRE_ALLOC_FACTOR × length + WIRE_ALLOC_BASE
 * bytes were allocated: honest messages need less than six times their length.
 */
#ifndef NET_WIRE_WIRE_H
#define NET_WIRE_WIRE_H

#include "store/base/err.h"
#include "store/base/span.h"

#include <protobuf-c/protobuf-c.h>

#define WIRE_ALLOC_FACTOR 16
#define WIRE_ALLOC_BASE   8192

/* 0 and the message, to be given to wire_free: `void *m; r = wire_unpack(&wire__identify__descriptor, in, 8192, &m);`.
 * ERR_TOO_BIG: longer than max, or needs too much memory; ERR_INVALID: malformed. */
int wire_unpack(const ProtobufCMessageDescriptor *type, struct span in, size_t max, void **ret_message);
void wire_free(void *message); /* NULL accepted */

/* Append the encoding; wire_pack_framed puts its length before it as a uvarint. `message` is any generated struct. */
void wire_pack(const void *message, struct buf *out);
void wire_pack_framed(const void *message, struct buf *out);

/* Borrowing views between protobuf-c and us. */
static inline struct span wire_span(ProtobufCBinaryData b)
{
    return (struct span){b.data, b.len};
}

static inline ProtobufCBinaryData wire_bytes(struct span s)
{
    return (ProtobufCBinaryData){s.len, (uint8_t *)(uintptr_t)s.data}; /* protobuf-c only reads it while packing */
}

#endif
