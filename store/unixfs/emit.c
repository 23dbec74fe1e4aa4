/* SPDX-License-Identifier: MIT */
#include "store/unixfs/emit.h"

int emit_known(struct block_sink *sink, enum budget_class class, const struct cid *cid, struct span bytes)
{
    if (!sink)
        return 0;
    struct block *b = block_from(sink->budget, class, cid, bytes);
    if (!b)
        return ERR_AGAIN;
    int r = sink->put(sink, b);
    if (r < 0)
        block_unref(b);
    return r;
}

int emit_block(struct block_sink *sink, struct span bytes, struct cid *ret)
{
    struct cid cid;
    cid_of(&cid, CODEC_DAG_PB, bytes);
    int r = emit_known(sink, BUDGET_WRITE, &cid, bytes);
    if (r == 0)
        *ret = cid;
    return r;
}
