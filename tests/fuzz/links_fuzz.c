/* LINK: store_codec store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * Links of a block, dag-pb and dag-cbor with inline children. First byte: the codec; the rest: the block. */
#include "store/codec/dagcbor.h"
#include "store/codec/links.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int each(void *arg, const struct cid *child)
{
    struct span ignored;
    size_t *count = arg;
    if (cid_is_none(child) || cid_inline(child, &ignored))
        abort(); /* inline children are never reported */
    ++*count;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t digest[32] = {0};
    struct cid cid;
    struct span block = span_of(data + 1, size - 1);
    size_t count = 0;
    cid_sha256(&cid, data[0] % 2 ? CODEC_DAG_CBOR : CODEC_DAG_PB, digest);
    int err = links_of(&cid, block, each, &count);
    if (count > size || (err != 0 && err != ERR_INVALID))
        abort();
    struct dagcbor d;
    struct dagcbor_token t;
    dagcbor_init(&d, block);
    while (dagcbor_next(&d, &t) == 1)
        ;
    return 0;
}
