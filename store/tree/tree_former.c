/* SPDX-License-Identifier: MIT
 *
 * What a node had before, kept while blocks of what it has may be missing (tree_state.h). After a crash one of the two is the
 * file: the new one when all of it is here, else the old one. */
#include "store/tree/tree_state.h"

#define DEPTH_MAX 64                  /* of a file's DAG; more is not looked through */
#define LINKS_MAX (UINT32_C(1) << 22) /* nor are more links of all files than 4 TiB have: a second or two */

/* ---- on the committer ---- */

/* 1, 0: there is none. */
static int get(struct tree *t, struct store_txn *txn, const struct former_step *s, struct tree_former *ret)
{
    struct span value;
    if (!t->formers)
        return 0;
    int r = store_txn_get(txn, s->db, s->key, &value);
    if (r == 0)
        r = tree_former_parse(value, ret);
    return r == 0 ? 1 : r == ERR_NOT_FOUND ? 0 : r;
}

static int set(struct store_txn *txn, const struct former_step *s, const struct tree_former *f)
{
    struct buf value = BUF_INIT;
    tree_former_encode(f, &value);
    int r = store_txn_set(txn, s->db, s->key, buf_span(&value));
    buf_done(&value);
    return r;
}

static int unref(struct store_txn *txn, const struct tree_former *f)
{
    return cid_is_none(&f->content.cid) ? 0 : store_txn_unref(txn, &f->content.cid);
}

int former_drop(struct tree *t, struct store_txn *txn, const struct former_step *s, uint64_t only)
{
    struct tree_former f;
    int r = get(t, txn, s, &f);
    if (r <= 0 || (only && f.seq != only))
        return r < 0 ? r : 0;
    r = unref(txn, &f);
    return r < 0 ? r : store_txn_del(txn, s->db, s->key);
}

int former_part(struct tree *t, struct store_txn *txn, const struct former_step *s)
{
    struct tree_former f;
    int r = tree_former_parse(s->value, &f);
    if (r == 0)
        r = unref(txn, &f);
    return r < 0 ? r : former_drop(t, txn, s, 0);
}

int former_keep(struct tree *t, struct store_txn *txn, const struct former_step *s)
{
    struct tree_former f, older;
    int r = tree_former_parse(s->value, &f);
    if (r < 0)
        return r;
    r = get(t, txn, s, &older);
    if (r == 1 && (r = unref(txn, &f)) == 0)
        f = older;
    if (r < 0)
        return r;
    t->formers = true;
    f.seq = s->seq;
    return set(txn, s, &f);
}

/* A new file whose bytes may be missing has another's name from now on: what this one had is what was before. */
int former_replace(struct tree *t, struct store_txn *txn, const struct former_step *s)
{
    struct tree_former f, there, unsure;
    uint64_t id;
    int r = get(t, txn, s, &f);
    if (r <= 0 || !cid_is_none(&f.content.cid))
        return r < 0 ? r : 0;
    memcpy(&id, s->value.data, sizeof id);
    struct tree_key key = tree_key_id(t->id, RECORD_FORMER, id);
    r = tree_former_parse(span_from(s->value, sizeof id), &there);
    if (r == 0)
        r = get(t, txn, &(struct former_step){.db = s->db, .key = tree_key_span(&key)}, &unsure);
    if (r == 1)
        there = unsure;
    if (r >= 0)
        r = cid_is_none(&there.content.cid) ? 0 : store_txn_ref(txn, &there.content.cid);
    there.seq = f.seq;
    return r < 0 ? r : set(txn, s, &there);
}

/* ---- at the start ---- */

/* Is all below it held? What is too large to say, or cannot be read, counts as not. */
static bool is_here(struct tree *t, const struct cid *cid, unsigned depth)
{
    struct span data;
    struct dagpb node;
    struct dagpb_link link;
    if (cid_codec(cid) != CODEC_DAG_PB)
        return store_has(t->reader, cid);
    if (depth == DEPTH_MAX || store_get(t->reader, cid, &data) < 0)
        return false;
    if (dagpb_parse(data, &node) < 0)
        return true; /* it has nothing below it */
    struct dagpb_iter it = dagpb_iter(&node);
    bool here = true;
    while (here && dagpb_next(&it, &link)) {
        struct cid child;
        dagpb_link_cid(&link, &child);
        here = t->looked++ < LINKS_MAX && is_here(t, &child, depth + 1);
    }
    return here;
}

static int settle(struct tree *t, uint64_t id, const struct tree_former *f)
{
    struct tree_record rec;
    int r = view_node(t, id, &rec);
    if (r == ERR_STALE) /* a program that knows no such records has let go of it */
        r = 1;
    else if (r == 0 && rec.type == TREE_FILE) /* a directory is made anew more cheaply than looked through */
        r = rec.parent == 0 ? 1 : !cid_is_none(&rec.content.cid) && is_here(t, &rec.content.cid, 0); /* none: given up */
    if (r == 0)
        return edit_take_back(t, id, f);
    struct change *c;
    if (r == 1)
        r = change_begin(t, CHANGE_BYTES, CHANGE_LETS_GO, &c);
    if (r < 0)
        return r;
    change_forgets_former(c, id, 0);
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
    if (!t->formers) /* by the time of the second the committer looks at it */
        t->formers = true;
    return r < 0 ? r : settle(t, id, &f);
}
