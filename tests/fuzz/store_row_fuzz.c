/* LINK: store_tree store_unixfs store_block store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * What the block store's database may give back: rows, extents, pins, entries of a tree's listing. What is accepted must be
 * within its bounds, and a row must be the same when it is written and read again. First byte: which kind; of a pin the second
 * one: bytes of its key. */
#include "store/block/pin.h"
#include "store/block/store_extent.h"
#include "store/block/store_internal.h"
#include "store/block/store_row.h"
#include "store/tree/tree_state.h"

#include <stdlib.h>

#define EPOCH UINT32_C(0x01010101)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool right)
{
    if (!right)
        abort();
}

static void row(struct span in)
{
    struct row row, again;
    uint8_t out[ROW_SIZE_MAX], twice[ROW_SIZE_MAX];
    if (row_parse(in, EPOCH, &row) != 0)
        return;
    check(row.exists && row.size <= BLOCK_MAX);
    size_t len = row_format(&row, EPOCH, out);
    check(len <= in.len && row_parse(span_of(out, len), EPOCH, &again) == 0);
    check(row_format(&again, EPOCH, twice) == len && memcmp(out, twice, len) == 0);
    struct cid cid;
    (void)row_cid(span_from(in, in.len / 2), &row, &cid); /* bytes that are no multihash are refused */
}

static void extent(struct span in)
{
    struct extent e;
    struct block_sum sum;
    if (extent_parse(in, &e, &sum) == 0)
        check(e.len > 0 && e.len <= BLOCK_MAX && (uint64_t)e.unit + extent_units(e.len) <= SEGMENT_UNITS);
}

static void pin(struct span in)
{
    struct pin pin;
    size_t key = in.len ? in.data[0] : 0;
    if (in.len && key < in.len && pin_parse(span_sub(in, 1, key), span_from(in, 1 + key), &pin) == 0)
        check(strlen(pin.name) <= PIN_NAME_MAX && !cid_is_none(&pin.cid));
}

static void listed(struct span in)
{
    enum tree_type type;
    struct span name;
    if (listed_parse(in, &type, &name) == 0)
        check(name.len <= in.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(struct span in) = {row, extent, pin, listed};
    if (size > 0)
        kinds[data[0] % 4](span_of(data + 1, size - 1));
    return 0;
}
