/* LINK: store_tree store_unixfs store_block store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * Records of a tree as the disk may give them back. What is accepted must encode to the same bytes. First byte: which kind. */
#include "store/tree/tempname.h"
#include "store/tree/tree_record.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct buf *again, struct span in)
{
    if (!span_eq(buf_span(again), in))
        abort();
    buf_done(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span in = span_of(data + 1, size - 1);
    struct tree_record rec;
    struct tree_meta meta;
    struct tree_former former;
    struct cid cid;
    struct buf out = BUF_INIT;
    switch (data[0] % 5) {
    case 0:
        if (tree_record_parse(in, &rec) == 0) {
            tree_record_encode(&rec, &out);
            same(&out, in);
        }
        break;
    case 1:
        if (tree_meta_parse(in, &meta) == 0) {
            tree_meta_encode(&meta, &out);
            same(&out, in);
        }
        break;
    case 2:
        if (tree_target_cid(in, &cid) && cid_is_none(&cid))
            abort();
        break;
    case 3:
        (void)tempname(in);
        break;
    default:
        if (tree_former_parse(in, &former) == 0) {
            tree_former_encode(&former, &out);
            same(&out, in);
        }
    }
    return 0;
}
