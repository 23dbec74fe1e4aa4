/* LINK: store_unixfs store_block store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * One UnixFS block: what parses is consistent. */
#include "store/unixfs/unixfs_node.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_file(const struct unixfs_node *n)
{
    struct unixfs_children it;
    struct unixfs_child c, found;
    uint64_t at = n->data.len, begin;
    uint32_t count = 0;
    unixfs_children(n, &it);
    for (; unixfs_children_next(&it, &c); count++) {
        must(!cid_is_none(&c.cid));
        if (c.size && count < 64) {
            must(unixfs_child_at(n, at, &found, &begin) && begin == at && cid_eq(&found.cid, &c.cid));
            must(unixfs_child_at(n, at + c.size - 1, &found, &begin) && begin == at);
        }
        at += c.size;
    }
    must(count == n->pb.link_count && at == n->file_size);
    must(!unixfs_child_at(n, at, &found, &begin));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t digest[32] = {0};
    struct unixfs_node n;
    struct cid cid;
    cid_sha256(&cid, CODEC_DAG_PB, digest);
    if (unixfs_parse(&cid, span_of(data, size), &n) != 0)
        return 0;
    if (n.type == UNIXFS_FILE)
        check_file(&n);
    must(!n.meta.has_mtime || n.meta.mtime_nanoseconds < 1000000000);
    return 0;
}
