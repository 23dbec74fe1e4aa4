/* SPDX-License-Identifier: MIT */
#include "store/block/source.h"

static void note_missing(struct block_source *s, const struct cid *cid)
{
    for (unsigned i = 0; i < s->missing_count; i++)
        if (cid_same_block(&s->missing[i], cid))
            return;
    if (s->missing_count < MISSING_MAX)
        s->missing[s->missing_count++] = *cid;
}

int source_get(struct block_source *s, const struct cid *cid, struct span *ret)
{
    if (cid_inline(cid, ret))
        return 0;
    int r = s->get(s, cid, ret);
    if (r != ERR_MISSING && r != ERR_CORRUPT)
        return r;
    s->damaged = s->damaged || r == ERR_CORRUPT;
    note_missing(s, cid);
    return ERR_MISSING;
}

bool source_has(struct block_source *s, const struct cid *cid)
{
    struct span ignored;
    return cid_inline(cid, &ignored) || (s->has ? s->has(s, cid) : s->get(s, cid, &ignored) == 0);
}

void source_forget_missing(struct block_source *s)
{
    s->missing_count = 0;
    s->damaged = false;
}
