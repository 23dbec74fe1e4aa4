/* SPDX-License-Identifier: MIT */
#include "net/wire/wire.h"

#include "store/base/uvarint.h"

#include <assert.h>
#include <stdlib.h>

struct allowance {
    size_t left;
    bool used_up;
};

/* protobuf-c takes NULL for "stop unpacking" everywhere: a long list of nothing is big, and there may be no memory for it. What
 * it frees while unpacking is not given back: it is small. */
static void *bounded_alloc(void *data, size_t size)
{
    struct allowance *a = data;
    if (size > a->left) {
        a->used_up = true;
        return NULL;
    }
    a->left -= size;
    return mem_big(size, 1);
}

static void bounded_free(void *data, void *p)
{
    (void)data;
    free(p);
}

int wire_unpack(const ProtobufCMessageDescriptor *type, struct span in, size_t max, void **ret_message)
{
    if (in.len > max)
        return ERR_TOO_BIG;
    struct allowance allowance = {.left = in.len * WIRE_ALLOC_FACTOR + WIRE_ALLOC_BASE};
    ProtobufCAllocator allocator = {bounded_alloc, bounded_free, &allowance};
    static const uint8_t nothing[1];
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, in.len, in.len ? in.data : nothing);
    if (!m)
        return allowance.used_up ? ERR_TOO_BIG : ERR_INVALID;
    *ret_message = m;
    return 0;
}

void wire_free(void *message)
{
    ProtobufCAllocator allocator = {bounded_alloc, bounded_free, NULL};
    if (message)
        protobuf_c_message_free_unpacked(message, &allocator);
}

void wire_pack(const void *message, struct buf *out)
{
    const ProtobufCMessage *m = message;
    size_t len = protobuf_c_message_get_packed_size(m);
    size_t written = protobuf_c_message_pack(m, buf_reserve(out, len));
    assert(written == len);
    buf_commit(out, written);
}

void wire_pack_framed(const void *message, struct buf *out)
{
    buf_add_uvarint(out, protobuf_c_message_get_packed_size(message));
    wire_pack(message, out);
}
