/* SPDX-License-Identifier: MIT */
#include "store/unixfs/emit.h"

int emit_block(struct block_sink *sink, struct span bytes, struct cid *ret)
{
    struct cid cid;
    cid_of(&cid, CODEC_DAG_PB, bytes);
    if (sink) {
        struct block *b = block_from(sink->budget, BUDGET_WRITE, &cid, bytes);
        if (!b)
            return ERR_AGAIN;
        int err = sink->put(sink, b);
        if (err) {
            block_unref(b);
            return err;
        }
    }
    *ret = cid;
    return 0;
}
