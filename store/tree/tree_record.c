/* SPDX-License-Identifier: MIT */
#include "store/tree/tree_record.h"

#include <assert.h>

/* ---- numbers ---- */

static void put_number(struct buf *out, uint64_t v, unsigned bytes)
{
    uint8_t *at = buf_reserve(out, bytes);
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    buf_commit(out, bytes);
}

void tree_put_u64(struct buf *out, uint64_t v)
{
    put_number(out, v, 8);
}

/* Takes from the front; past the end gives 0 and marks the reader as bad. */
struct take {
    struct span rest;
    bool bad;
};

static struct span take_bytes(struct take *t, size_t len)
{
    if (t->bad || len > t->rest.len) {
        t->bad = true;
        return SPAN_NONE;
    }
    struct span s = span_sub(t->rest, 0, len);
    t->rest = span_from(t->rest, len);
    return s;
}

static uint64_t take_number(struct take *t, unsigned bytes)
{
    struct span s = take_bytes(t, bytes);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.data[i];
    return v;
}

/* ---- keys ---- */

static void key_add(struct tree_key *k, uint64_t v, unsigned bytes)
{
    while (bytes-- > 0)
        k->bytes[k->len++] = (uint8_t)(v >> (8 * bytes));
}

struct tree_key tree_key(uint32_t tree, enum record_kind kind)
{
    struct tree_key k;
    k.len = 0; /* only that: nobody looks at bytes behind it */
    key_add(&k, tree, 4);
    key_add(&k, (uint64_t)kind, 1);
    return k;
}

struct tree_key tree_key_id(uint32_t tree, enum record_kind kind, uint64_t id)
{
    struct tree_key k = tree_key(tree, kind);
    key_add(&k, id, 8);
    return k;
}

struct tree_key tree_key_entry(uint32_t tree, uint64_t parent, struct span name)
{
    assert(name.len <= TREE_NAME_MAX);
    struct tree_key k = tree_key_id(tree, RECORD_ENTRY, parent);
    memcpy(k.bytes + k.len, name.data, name.len);
    k.len = (uint16_t)(k.len + name.len);
    return k;
}

struct tree_key tree_key_listed(uint32_t tree, uint64_t parent, uint64_t id)
{
    struct tree_key k = tree_key_id(tree, RECORD_LISTED, parent);
    key_add(&k, id, 8);
    return k;
}

uint64_t tree_key_tail(struct span key)
{
    struct take t = {.rest = span_from(key, key.len < 8 ? key.len : key.len - 8)};
    return take_number(&t, 8);
}

/* ---- values ---- */

void tree_meta_encode(const struct tree_meta *m, struct buf *out)
{
    buf_add_u8(out, TREE_VERSION);
    tree_put_u64(out, m->seq);
    tree_put_u64(out, m->next_id);
}

int tree_meta_parse(struct span in, struct tree_meta *ret)
{
    struct take t = {.rest = in};
    uint64_t version = take_number(&t, 1);
    if (!t.bad && version > TREE_VERSION)
        return ERR_VERSION;
    struct tree_meta m = {.seq = take_number(&t, 8)};
    m.next_id = take_number(&t, 8);
    if (t.bad || t.rest.len > 0 || version == 0 || m.next_id < TREE_FIRST_ID)
        return ERR_CORRUPT;
    *ret = m;
    return 0;
}

int tree_id_parse(struct span in, uint64_t *ret)
{
    struct take t = {.rest = in};
    uint64_t id = take_number(&t, 8);
    if (t.bad || t.rest.len > 0 || id == 0)
        return ERR_CORRUPT;
    *ret = id;
    return 0;
}

void tree_record_encode(const struct tree_record *r, struct buf *out)
{
    assert(r->target.len <= TREE_TARGET_MAX);
    buf_add_u8(out, (uint8_t)r->type);
    buf_add_u8(out, r->flags);
    put_number(out, r->mode, 2);
    put_number(out, r->parent, 8);
    put_number(out, (uint64_t)r->mtime, 8);
    put_number(out, (uint64_t)r->ctime, 8);
    put_number(out, r->content.size, 8);
    put_number(out, r->content.tsize, 8);
    buf_add_u8(out, r->content.cid.len);
    buf_add_span(out, cid_span(&r->content.cid));
    buf_add_u8(out, r->name_len);
    buf_add(out, r->name, r->name_len);
    put_number(out, r->target.len, 2);
    buf_add_span(out, r->target);
}

static bool record_sound(const struct tree_record *r)
{
    bool symlink = r->type == TREE_SYMLINK;
    return (r->type == TREE_FILE || r->type == TREE_DIR || symlink) && r->mode <= 07777 &&
           (r->flags & ~(RECORD_DIRTY | RECORD_REFERS)) == 0 && symlink == (r->target.len > 0) &&
           r->target.len <= TREE_TARGET_MAX && (r->parent == 0) == (r->name_len == 0);
}

int tree_record_parse(struct span in, struct tree_record *ret)
{
    struct take t = {.rest = in};
    struct tree_record r = {.type = (enum tree_type)take_number(&t, 1)};
    r.flags = (uint8_t)take_number(&t, 1);
    r.mode = (uint16_t)take_number(&t, 2);
    r.parent = take_number(&t, 8);
    r.mtime = (wall_ns)take_number(&t, 8);
    r.ctime = (wall_ns)take_number(&t, 8);
    r.content.size = take_number(&t, 8);
    r.content.tsize = take_number(&t, 8);
    struct span cid = take_bytes(&t, (size_t)take_number(&t, 1));
    struct span name = take_bytes(&t, (size_t)take_number(&t, 1));
    r.target = take_bytes(&t, (size_t)take_number(&t, 2));
    if (t.bad || t.rest.len > 0)
        return ERR_CORRUPT;
    if (cid.len > 0 && cid_parse(cid, &r.content.cid) < 0)
        return ERR_CORRUPT;
    r.name_len = (uint8_t)name.len;
    if (name.len)
        memcpy(r.name, name.data, name.len);
    if (!record_sound(&r))
        return ERR_CORRUPT;
    *ret = r;
    return 0;
}

void tree_former_encode(const struct tree_former *f, struct buf *out)
{
    put_number(out, f->seq, 8);
    put_number(out, (uint64_t)f->mtime, 8);
    put_number(out, f->content.size, 8);
    put_number(out, f->content.tsize, 8);
    buf_add_span(out, cid_span(&f->content.cid));
}

int tree_former_parse(struct span in, struct tree_former *ret)
{
    struct take t = {.rest = in};
    struct tree_former f = {.seq = take_number(&t, 8)};
    f.mtime = (wall_ns)take_number(&t, 8);
    f.content.size = take_number(&t, 8);
    f.content.tsize = take_number(&t, 8);
    if (t.bad || (t.rest.len > 0 && cid_parse(t.rest, &f.content.cid) < 0))
        return ERR_CORRUPT;
    *ret = f;
    return 0;
}

/* ---- symlinks ---- */

static struct span last_part(struct span *path)
{
    size_t end = path->len;
    while (end > 0 && path->data[end - 1] != '/')
        end--;
    struct span part = span_from(*path, end);
    *path = span_sub(*path, 0, end > 0 ? end - 1 : 0);
    return part;
}

bool tree_target_cid(struct span target, struct cid *ret)
{
    while (target.len > 0 && target.data[target.len - 1] == '/')
        target.len--;
    struct span cid = last_part(&target);
    return span_eq_str(last_part(&target), "ipfs") && cid_from_text(cid, ret, NULL) == 0;
}

int tree_record_refers(struct span key, struct span value, struct cid *ret)
{
    struct tree_record rec;
    struct tree_former former;
    *ret = (struct cid){.len = 0};
    uint8_t kind = key.len > 4 ? key.data[4] : 0;
    if (kind == RECORD_NODE && tree_record_parse(value, &rec) == 0 && (rec.type == TREE_FILE || (rec.flags & RECORD_REFERS)))
        *ret = rec.content.cid;
    else if (kind == RECORD_FORMER && tree_former_parse(value, &former) == 0)
        *ret = former.content.cid;
    return !cid_is_none(ret);
}
