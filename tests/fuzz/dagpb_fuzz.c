/* LINK: store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * dag-pb: what parses can be iterated; what was written by our rules is written the same again. */
#include "store/codec/dagpb.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dagpb n, again;
    if (dagpb_parse(span_of(data, size), &n) != 0)
        return 0;
    struct buf out = BUF_INIT;
    struct dagpb_iter it = dagpb_iter(&n);
    struct dagpb_link link;
    struct cid cid;
    uint32_t count = 0;
    for (; dagpb_next(&it, &link); count++) {
        size_t before = buf_len(&out);
        dagpb_link_cid(&link, &cid);
        must(span_eq(cid_span(&cid), link.hash));
        dagpb_add_link(&out, &cid, link.name, link.tsize);
        must(buf_len(&out) - before == dagpb_link_size(cid.len, link.name.len, link.tsize));
    }
    must(count == n.link_count);
    if (n.has_data)
        dagpb_add_data(&out, n.data);
    must(dagpb_parse(buf_span(&out), &again) == 0);
    must(again.link_count == count && again.has_data == n.has_data && span_eq(again.data, n.data));
    buf_done(&out);
    return 0;
}
