/* SPDX-License-Identifier: MIT
 *
 * dag-pb, read strictly and written exactly. dagpb_parse checks every link, so that iterating later may assert what was
 * checked. Fields of a link come in the order of their numbers, each at most
 * once, as the spec has it.
 */
#include "store/codec/dagpb.h"

#include "store/base/uvarint.h"

#include <assert.h>

enum {
    KEY_DATA = 1 << 3 | 2,
    KEY_LINKS = 2 << 3 | 2,
    KEY_HASH = 1 << 3 | 2,
    KEY_NAME = 2 << 3 | 2,
    KEY_TSIZE = 3 << 3 | 0,
};

static int take_number(struct span *s, uint64_t *ret)
{
    if (s->len && s->data[0] < 0x80) { /* nearly all of them: a look-up in a large directory reads tens of thousands */
        *ret = s->data[0];
        s->data++;
        s->len--;
        return 0;
    }
    int n = uvarint_read_lax(*s, ret);
    if (n < 0)
        return ERR_INVALID;
    *s = span_from(*s, (size_t)n);
    return 0;
}

static int take_bytes(struct span *s, struct span *ret)
{
    uint64_t len;
    if (take_number(s, &len) != 0 || len > s->len)
        return ERR_INVALID;
    *ret = (struct span){s->data, (size_t)len};
    s->data += len;
    s->len -= (size_t)len;
    return 0;
}

static int take_link_field(struct span *s, uint64_t key, struct dagpb_link *link)
{
    switch (key) {
    case KEY_HASH:
        return link->hash.data || link->has_name || link->has_tsize ? ERR_INVALID : take_bytes(s, &link->hash);
    case KEY_NAME:
        if (link->has_name || link->has_tsize)
            return ERR_INVALID;
        link->has_name = true;
        return take_bytes(s, &link->name);
    case KEY_TSIZE:
        if (link->has_tsize)
            return ERR_INVALID;
        link->has_tsize = true;
        return take_number(s, &link->tsize);
    default:
        return ERR_INVALID;
    }
}

static int link_read(struct span s, struct dagpb_link *ret)
{
    *ret = (struct dagpb_link){0};
    while (s.len) {
        uint64_t key;
        if (take_number(&s, &key) != 0 || take_link_field(&s, key, ret) != 0)
            return ERR_INVALID;
    }
    return ret->hash.len ? 0 : ERR_INVALID;
}

/* What nearly every link has, v1 or v0 with sha2-256, is seen without taking the CID apart: directories are parsed often. */
static bool hash_usual(struct span s)
{
    const uint8_t *p = s.data;
    return (s.len == 36 && p[0] == 1 && p[1] < 0x80 && p[2] == HASH_SHA2_256 && p[3] == 32) ||
           (s.len == 34 && p[0] == HASH_SHA2_256 && p[1] == 32);
}

static int link_check(struct span body)
{
    struct dagpb_link link;
    struct cid cid;
    if (link_read(body, &link) != 0)
        return ERR_INVALID;
    return hash_usual(link.hash) || cid_parse(link.hash, &cid) == 0 ? 0 : ERR_INVALID;
}

int dagpb_parse(struct span block, struct dagpb *ret)
{
    struct dagpb node = {0};
    struct span rest = block, body;
    bool links_over = false; /* links are one run: not on both sides of Data */
    while (rest.len) {
        struct span at = rest;
        uint64_t key;
        if (take_number(&rest, &key) != 0 || take_bytes(&rest, &body) != 0)
            return ERR_INVALID;
        if (key == KEY_DATA && !node.has_data) {
            node.has_data = true;
            node.data = body;
            links_over = node.links.len > 0;
        } else if (key == KEY_LINKS && !links_over && link_check(body) == 0) {
            if (!node.links.len)
                node.links.data = at.data;
            node.links.len += at.len - rest.len;
            node.link_count++;
        } else {
            return ERR_INVALID;
        }
    }
    *ret = node;
    return 0;
}

bool dagpb_next(struct dagpb_iter *it, struct dagpb_link *ret)
{
    if (!it->rest.len)
        return false;
    uint64_t key;
    struct span body = SPAN_NONE;
    int err = take_number(&it->rest, &key);
    if (!err)
        err = take_bytes(&it->rest, &body);
    if (!err)
        err = link_read(body, ret);
    assert(!err); /* dagpb_parse checked it */
    return true;
}

void dagpb_link_cid(const struct dagpb_link *link, struct cid *ret)
{
    int err = cid_parse(link->hash, ret);
    assert(!err); /* dagpb_parse checked it */
    (void)err;
}

/* ---- writing ---- */

static size_t bytes_size(size_t len)
{
    return 1 + uvarint_len(len) + len;
}

static size_t link_body_size(size_t cid_len, size_t name_len, uint64_t tsize)
{
    return bytes_size(cid_len) + bytes_size(name_len) + 1 + uvarint_len(tsize);
}

size_t dagpb_link_size(size_t cid_len, size_t name_len, uint64_t tsize)
{
    return bytes_size(link_body_size(cid_len, name_len, tsize));
}

size_t dagpb_data_size(size_t data_len)
{
    return bytes_size(data_len);
}

static void add_bytes(struct buf *out, uint8_t key, struct span s)
{
    buf_add_u8(out, key);
    buf_add_uvarint(out, s.len);
    buf_add_span(out, s);
}

void dagpb_add_link(struct buf *out, const struct cid *cid, struct span name, uint64_t tsize)
{
    buf_add_u8(out, KEY_LINKS);
    buf_add_uvarint(out, link_body_size(cid->len, name.len, tsize));
    add_bytes(out, KEY_HASH, cid_span(cid));
    add_bytes(out, KEY_NAME, name);
    buf_add_u8(out, KEY_TSIZE);
    buf_add_uvarint(out, tsize);
}

void dagpb_add_data(struct buf *out, struct span data)
{
    add_bytes(out, KEY_DATA, data);
}
