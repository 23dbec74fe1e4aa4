/* SPDX-License-Identifier: MIT */
#include "fs/node/holds.h"

#include "store/codec/dagpb.h"
#include "store/content/hasher.h"

#include <assert.h>
#include <stdlib.h>

#define ROW        (1 + SHA256_SIZE) /* is it raw, and the digest */
#define PIECE_ROWS 120               /* 4 KiB */

struct holds_piece { /* never empty */
    struct holds_piece *older;
    unsigned count, cap;
    uint8_t rows[];
};

static bool row_of(const struct cid *cid, uint8_t row[ROW])
{
    struct span digest = cid_digest(cid);
    if (digest.len != SHA256_SIZE)
        return false;
    row[0] = cid_codec(cid) == CODEC_RAW;
    memcpy(row + 1, digest.data, SHA256_SIZE);
    return true;
}

static uint8_t *row_at(struct holds_piece *p, unsigned i)
{
    return p->rows + (size_t)i * ROW;
}

static void add_row(struct holds *h, const uint8_t row[ROW])
{
    struct holds_piece *p = h->newest;
    if (!p || p->count == p->cap) {
        unsigned cap = !p ? 1 : p->cap < PIECE_ROWS / 2 ? p->cap * 2 : PIECE_ROWS; /* a small file has one */
        struct holds_piece *fresh = mem_new(sizeof *fresh + (size_t)cap * ROW);
        fresh->cap = cap;
        fresh->older = p;
        h->newest = p = fresh;
        if (!h->oldest)
            h->oldest = p;
    }
    memcpy(row_at(p, p->count++), row, ROW);
    h->count++;
}

void holds_add(struct holds *h, const struct cid *cid)
{
    uint8_t row[ROW];
    bool fits = row_of(cid, row);
    assert(fits);
    (void)fits;
    add_row(h, row);
}

static void drop_newest(struct holds *h)
{
    struct holds_piece *p = h->newest;
    h->newest = p->older;
    if (!h->newest)
        h->oldest = NULL;
    free(p);
}

void holds_move(struct holds *to, struct holds *from)
{
    if (from->newest && from->newest == from->oldest && from->count < PIECE_ROWS) { /* pieces stay full */
        for (unsigned i = 0; i < from->newest->count; i++)
            add_row(to, row_at(from->newest, i));
        drop_newest(from);
    } else if (from->newest) {
        from->oldest->older = to->newest;
        if (!to->oldest)
            to->oldest = from->oldest;
        to->newest = from->newest;
        to->count += from->count;
    }
    *from = (struct holds){0};
}

bool holds_is_newest(const struct holds *h, const struct cid *cid)
{
    uint8_t row[ROW];
    return h->newest && row_of(cid, row) && memcmp(row_at(h->newest, h->newest->count - 1), row, ROW) == 0;
}

bool holds_take(struct holds *h, struct cid *ret)
{
    struct holds_piece *p = h->newest;
    if (!p)
        return false;
    const uint8_t *row = row_at(p, --p->count);
    cid_sha256(ret, row[0] ? CODEC_RAW : CODEC_DAG_PB, row + 1);
    h->count--;
    if (p->count == 0)
        drop_newest(h);
    return true;
}

bool holds_fold(struct holds *h, struct holds *ret_below, struct buf *node)
{
    struct cid cid;
    if (h->count < h->folded + HOLDS_FOLD ||
        !buf_try_reserve(node, HOLDS_FOLD * (8 + dagpb_link_size(2 + 2 + SHA256_SIZE, 0, 0))))
        return false;
    for (unsigned i = 0; i < HOLDS_FOLD && holds_take(h, &cid); i++) {
        dagpb_add_link(node, &cid, SPAN_NONE, 0);
        holds_add(ret_below, &cid);
    }
    h->folded = h->count + 1; /* the node's own comes next */
    return true;
}
