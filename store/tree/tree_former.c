/* SPDX-License-Identifier: MIT
 *
 * What a node had before, kept while blocks of what it has may be missing (tree_state.h). After a crash one of the two is the
 * file: the new one when all of it is here, else the old one. */
#include "store/tree/tree_state.h"

#define DEPTH_MAX 64                  /* of a file's DAG; more is not looked through */
#define LINKS_MAX (UINT32_C(1) << 22) /* nor are more links than 4 TiB have: a second or two */

/* ---- on the committer ---- */

int former_unref(struct store_txn *txn, struct span former)
{
    struct tree_former f;
    int r = tree_former_parse(former, &f);
    return r < 0 || cid_is_none(&f.content.cid) ? r : store_txn_unref(txn, &f.content.cid);
}

int former_drop(struct tree *t, struct store_txn *txn, const struct former_step *s)
{
    struct span value;
    if (!t->formers)
        return 0;
    int r = store_txn_get(txn, s->db, s->key, &value);
    if (r == 0)
        r = former_unref(txn, value); /* the span has been read when it writes */
    return r < 0 ? (r == ERR_NOT_FOUND ? 0 : r) : store_txn_del(txn, s->db, s->key);
}

int former_keep(struct tree *t, struct store_txn *txn, const struct former_step *s)
{
    struct span older;
    int r = store_txn_get(txn, s->db, s->key, &older);
    if (r == ERR_NOT_FOUND) {
        t->formers = true;
        return store_txn_set(txn, s->db, s->key, s->value);
    }
    return r < 0 ? r : former_unref(txn, s->value);
}

/* ---- at the start ---- */

struct looking {
    struct tree *tree;
    uint32_t links;
};

/* Is all below it held? 1, 0, <0. What is too large to say counts as not. */
static int is_here(struct looking *l, const struct cid *cid, unsigned depth)
{
    struct span data;
    struct dagpb node;
    struct dagpb_link link;
    if (cid_codec(cid) != CODEC_DAG_PB)
        return store_has(l->tree->reader, cid);
    int r = depth == DEPTH_MAX ? ERR_MISSING : store_get(l->tree->reader, cid, &data);
    if (r < 0)
        return r == ERR_MISSING || r == ERR_CORRUPT ? 0 : r;
    if (dagpb_parse(data, &node) < 0)
        return 1; /* it has nothing below it */
    struct dagpb_iter it = dagpb_iter(&node);
    for (r = 1; r == 1 && dagpb_next(&it, &link);) {
        struct cid child;
        dagpb_link_cid(&link, &child);
        r = ++l->links > LINKS_MAX ? 0 : is_here(l, &child, depth + 1);
    }
    return r;
}

static int settle(struct tree *t, uint64_t id, const struct tree_former *f)
{
    struct tree_record rec;
    struct looking l = {.tree = t};
    int r = view_node(t, id, &rec);
    if (r < 0)
        return r == ERR_STALE ? ERR_CORRUPT : r;
    if (rec.type == TREE_FILE) /* a directory is made anew more cheaply than looked through */
        r = rec.parent == 0 || cid_is_none(&rec.content.cid) ? 1 : is_here(&l, &rec.content.cid, 0);
    if (r == 0)
        return edit_take_back(t, id, f);
    struct change *c;
    if (r == 1)
        r = change_begin(t, CHANGE_BYTES, CHANGE_LETS_GO, &c);
    if (r < 0)
        return r;
    change_forgets_former(c, id);
    change_submit(c);
    return 0;
}

int former_settle(struct tree *t, uint64_t id)
{
    struct tree_key key = tree_key_id(t->id, RECORD_FORMER, id);
    struct tree_former f;
    struct span value;
    int r = view_get(t, &key, &value);
    if (r == 0)
        r = tree_former_parse(value, &f);
    t->formers = true;
    return r < 0 ? r : settle(t, id, &f);
}
