/* SPDX-License-Identifier: MIT */
#include "store/block/carfile.h"

#include "store/base/mapfault.h"
#include "store/block/dagwalk.h"
#include "store/codec/car.h"

#include <assert.h>
#include <stdlib.h>

struct row {
    uint64_t start; /* of the frame, in the file */
    uint32_t cid_at, data_len;
};

struct carfile {
    struct budget *budget;
    uint64_t most, charged;
    struct dagwalk *walk; /* NULL: all is indexed */
    struct buf header;
    uint64_t size;
    struct row *rows;
    size_t count, cap;
    uint8_t *cids; /* of all rows, one after the other */
    size_t cids_len, cids_cap;
};

#define ROWS_FIRST 64

struct carfile *carfile_new(const struct cid *root, struct budget *budget, uint64_t most_bytes)
{
    struct carfile *f = MEM_NEW(struct carfile);
    f->budget = budget;
    f->most = most_bytes;
    f->walk = dagwalk_new(root, budget, most_bytes);
    f->header = BUF_INIT;
    car_add_header(&f->header, root, 1);
    f->size = buf_len(&f->header);
    return f;
}

struct carfile *carfile_free(struct carfile *f)
{
    if (!f)
        return NULL;
    if (f->budget)
        budget_give(f->budget, BUDGET_TABLE, (size_t)f->charged);
    dagwalk_free(f->walk);
    buf_done(&f->header);
    free(f->rows);
    free(f->cids);
    free(f);
    return NULL;
}

/* ---- the index ---- */

/* `p`, of `had` bytes, with room for `bytes`. NULL: it is as it was, and why. */
static void *grow(struct carfile *f, void *p, size_t had, size_t bytes, int *ret_why)
{
    *ret_why = ERR_TOO_BIG;
    if (f->charged + bytes - had > f->most)
        return NULL;
    *ret_why = ERR_AGAIN;
    if (f->budget && !budget_take(f->budget, BUDGET_TABLE, bytes - had))
        return NULL;
    *ret_why = ERR_NO_MEMORY;
    p = mem_big_grow(p, bytes, 1);
    if (p)
        f->charged += bytes - had;
    else if (f->budget)
        budget_give(f->budget, BUDGET_TABLE, bytes - had);
    return p;
}

/* For one row more, before the walk takes a step that cannot be taken back */
static int room(struct carfile *f)
{
    int why = ERR_TOO_BIG;
    if (f->count == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : ROWS_FIRST;
        struct row *rows = grow(f, f->rows, f->cap * sizeof *rows, cap * sizeof *rows, &why);
        if (!rows)
            return why;
        f->rows = rows;
        f->cap = cap;
    }
    if (f->cids_len + CID_MAX > f->cids_cap) {
        size_t cap = f->cids_cap ? 2 * f->cids_cap : (size_t)ROWS_FIRST * CID_MAX;
        uint8_t *cids = cap > UINT32_MAX ? NULL : grow(f, f->cids, f->cids_cap, cap, &why);
        if (!cids)
            return why;
        f->cids = cids;
        f->cids_cap = cap;
    }
    return 0;
}

static void add_row(struct carfile *f, const struct cid *cid, size_t len)
{
    f->rows[f->count++] = (struct row){f->size, (uint32_t)f->cids_len, (uint32_t)len};
    memcpy(f->cids + f->cids_len, cid->bytes, cid->len);
    f->cids_len += cid->len;
    f->size += car_frame_size(cid, len);
}

int carfile_index(struct carfile *f, struct block_source *s, unsigned blocks)
{
    for (; f->walk && blocks > 0; blocks--) {
        struct cid cid;
        struct span block;
        int r = room(f);
        if (r == 0)
            r = dagwalk_next(f->walk, s, &cid, &block);
        if (r < 0)
            return r;
        if (r == 0)
            f->walk = dagwalk_free(f->walk);
        else
            add_row(f, &cid, block.len);
    }
    return 0;
}

bool carfile_complete(const struct carfile *f)
{
    return f->walk == NULL;
}

uint64_t carfile_size(const struct carfile *f)
{
    return f->size;
}

uint64_t carfile_memory(const struct carfile *f)
{
    return f->charged;
}

/* ---- reading ---- */

/* The last row that begins at or before `offset`; the header is before the first. */
static size_t row_at(const struct carfile *f, uint64_t offset)
{
    size_t low = 0, high = f->count;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (f->rows[mid].start <= offset)
            low = mid;
        else
            high = mid;
    }
    return low;
}

struct copy {
    uint64_t skip; /* bytes in front of what is wanted */
    uint8_t *out;
    size_t left;
};

static int copy_span(struct copy *c, struct span s)
{
    size_t skip = c->skip < s.len ? (size_t)c->skip : s.len;
    c->skip -= skip;
    size_t n = s.len - skip < c->left ? s.len - skip : c->left;
    bool here = mapfault_copy(c->out, span_sub(s, skip, n));
    c->out += n;
    c->left -= n;
    return here ? 0 : ERR_IO;
}

static int copy_frame(const struct carfile *f, struct block_source *s, size_t i, struct copy *c)
{
    const struct row *row = &f->rows[i];
    size_t end = i + 1 < f->count ? f->rows[i + 1].cid_at : f->cids_len;
    struct cid cid;
    struct span block;
    int r = cid_parse(span_of(f->cids + row->cid_at, end - row->cid_at), &cid);
    assert(r == 0); /* they were CIDs when they were written here */
    r = source_get(s, &cid, &block);
    if (r < 0)
        return r;
    if (block.len != row->data_len)
        return ERR_CORRUPT; /* another block with this hash than the one that was indexed */
    struct buf head = BUF_INIT;
    car_add_frame_head(&head, &cid, block.len);
    (void)copy_span(c, buf_span(&head)); /* memory */
    buf_done(&head);
    return copy_span(c, block);
}

int carfile_read(const struct carfile *f, struct block_source *s, uint64_t offset, void *out, size_t len)
{
    struct copy c = {.skip = offset, .out = out, .left = len};
    size_t i = 0;
    if (offset < buf_len(&f->header))
        (void)copy_span(&c, buf_span(&f->header));
    else if (f->count)
        c.skip = offset - f->rows[i = row_at(f, offset)].start;
    for (; i < f->count && c.left; i++) {
        int r = copy_frame(f, s, i, &c);
        if (r < 0)
            return r;
    }
    return (int)(len - c.left);
}
