/* LINK: net_exchange store_block store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * The bitswap reader: any bytes in any pieces give the same items, blocks never hold more than was announced, and what it reads
 * can be written and read again. The first byte is the size of the pieces. */
#include "net/exchange/bitswap_codec.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct digest {
    uint64_t sum;
    unsigned items;
    int err;
};

static void mix(struct digest *d, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        d->sum = (d->sum ^ p[i]) * UINT64_C(0x100000001b3);
}

static void take(struct digest *d, struct bitswap_reader *r, const struct bitswap_item *it)
{
    d->items++;
    mix(d, &it->type, sizeof it->type);
    switch (it->type) {
    case BITSWAP_WANT:
    case BITSWAP_PRESENCE:
        assert(it->cid.len > 0);
        mix(d, it->cid.bytes, it->cid.len);
        mix(d, &it->priority, sizeof it->priority);
        break;
    case BITSWAP_BEGIN:
        assert(it->size <= BLOCK_MAX);
        bitswap_accept(r, it->size % 3 ? block_new(NULL, BUDGET_NET, it->size) : NULL);
        break;
    case BITSWAP_BLOCK:
        if (it->block) {
            assert(it->block->len == it->size);
            mix(d, it->block->data, it->block->len);
            (void)exchange_verify_block(it->block, &it->prefix); /* must not crash on any prefix */
            (void)block_unref(it->block);
        }
        break;
    case BITSWAP_END:
        mix(d, &it->full, sizeof it->full);
        break;
    }
}

static struct digest run(struct span in, size_t step)
{
    struct digest d = {.sum = 1};
    struct bitswap_reader r;
    bitswap_reader_init(&r);
    for (size_t at = 0; at < in.len && d.err >= 0; at += step) {
        struct span part = span_sub(in, at, step);
        struct bitswap_item it;
        while ((d.err = bitswap_read(&r, &part, &it)) == 1)
            take(&d, &r, &it);
    }
    bitswap_reader_done(&r);
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct span in = span_of(data + 1, size - 1);
    struct digest whole = run(in, in.len + 1), parts = run(in, (size_t)data[0] + 1);
    assert(whole.sum == parts.sum && whole.items == parts.items && whole.err == parts.err);
    return 0;
}
