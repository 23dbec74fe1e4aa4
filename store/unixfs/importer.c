/* SPDX-License-Identifier: MIT
 *
 * Chunks wait in a ring in the order of the file: FULL (nobody took it yet), AWAY (being hashed), HASHED. Only the oldest may
 * leave, to the sink and then to the layout; either can say "not now", so each step is remembered. */
#include "store/unixfs/importer.h"

#include <assert.h>
#include <stdlib.h>

enum slot_state { SLOT_FULL, SLOT_AWAY, SLOT_HASHED, SLOT_STORED };

struct slot {
    struct block *b;
    enum slot_state state;
    bool zero;               /* the profile's whole chunk of zeros: stored once */
    struct unixfs_root leaf; /* cid from STORED on */
};

struct importer {
    const struct layout_profile *profile;
    struct block_sink *sink;
    unsigned window; /* slots that may be in use */
    bool away;       /* hand chunks out */
    struct layout *layout;
    struct block *open; /* the chunk being filled, NULL: none */
    struct slot slot[IMPORTER_FLIGHT_MAX];
    unsigned first, used;
    struct unixfs_root zero; /* a whole chunk of zeros, cid none until one came */
    bool zero_stored;
    uint64_t bytes;
};

struct importer *importer_new(const struct importer_options *o)
{
    assert(o->in_flight <= IMPORTER_FLIGHT_MAX);
    struct importer *im = MEM_NEW(struct importer);
    im->profile = o->profile ? o->profile : &layout_v1_2025;
    im->sink = o->sink;
    im->window = o->in_flight ? o->in_flight : 1;
    im->away = o->in_flight > 0;
    im->layout = layout_new(im->profile, im->sink);
    return im;
}

static struct slot *slot_at(struct importer *im, unsigned i)
{
    return &im->slot[(im->first + i) % IMPORTER_FLIGHT_MAX];
}

struct importer *importer_free(struct importer *im)
{
    if (!im)
        return NULL;
    for (unsigned i = 0; i < im->used; i++)
        block_unref(slot_at(im, i)->b);
    block_unref(im->open);
    layout_free(im->layout);
    free(im);
    return NULL;
}

static struct budget *budget_of(const struct importer *im)
{
    return im->sink ? im->sink->budget : NULL;
}

/* Every byte equals the one 16 before it, and the first 16 are zero */
static bool all_zero(struct span s)
{
    static const uint8_t zeros[16];
    size_t head = s.len < sizeof zeros ? s.len : sizeof zeros;
    if (head == 0 || memcmp(s.data, zeros, head) != 0)
        return false;
    return memcmp(s.data, s.data + head, s.len - head) == 0;
}

/* The oldest chunks, as far as they are hashed, go to the sink and the layout. 0; ERR_AGAIN; a sink's error. */
static int drain(struct importer *im)
{
    while (im->used > 0 && slot_at(im, 0)->state >= SLOT_HASHED) {
        struct slot *s = slot_at(im, 0);
        if (s->state == SLOT_HASHED && im->sink && !(s->zero && im->zero_stored)) {
            int r = im->sink->put(im->sink, block_ref(s->b));
            if (r < 0) {
                block_unref(s->b);
                return r;
            }
            im->zero_stored |= s->zero;
        }
        if (s->state == SLOT_HASHED)
            s->leaf.cid = s->b->cid;
        s->state = SLOT_STORED;
        int r = layout_leaf(im->layout, &s->leaf);
        if (r < 0)
            return r;
        block_unref(s->b);
        im->first = (im->first + 1) % IMPORTER_FLIGHT_MAX;
        im->used--;
    }
    return 0;
}

/* The leaf block of the open chunk, as long as its bytes: a short chunk keeps a long buffer only when there is no room for a
 * copy. Who waits for that holds the buffer, and so may all the others who wait. NULL: not now. */
static struct block *leaf_block(struct importer *im)
{
    struct block *open = im->open;
    if (im->profile->raw_leaves) {
        struct block *copy = NULL;
        if (open->len <= open->cap / 2)
            copy = block_from(budget_of(im), BUDGET_WRITE, &open->cid, block_span(open));
        return copy ? copy : block_ref(open);
    }
    struct buf bytes = BUF_INIT;
    layout_encode_leaf(im->profile, block_span(open), &bytes);
    struct block *b = block_from(budget_of(im), BUDGET_WRITE, &open->cid, buf_span(&bytes));
    buf_done(&bytes);
    return b;
}

/* The open chunk's buffer is used again, unless a slot has it now. */
static void reopen(struct importer *im, const struct block *in_slot)
{
    if (im->open == in_slot)
        im->open = block_unref(im->open);
    else
        im->open->len = 0;
}

/* A chunk of zeros like one before it, that the sink has: no block is needed. */
static bool seal_zero(struct importer *im)
{
    if (im->open->len != im->profile->chunk_size || cid_is_none(&im->zero.cid) || (im->sink && !im->zero_stored) ||
        !all_zero(block_span(im->open)))
        return false;
    *slot_at(im, im->used++) = (struct slot){.leaf = im->zero, .state = SLOT_STORED};
    reopen(im, NULL);
    return true;
}

/* The open chunk enters the ring, which has room. */
static int seal(struct importer *im)
{
    assert(im->used < im->window);
    if (seal_zero(im))
        return drain(im);
    struct block *b = leaf_block(im);
    if (!b)
        return ERR_AGAIN;
    struct slot *s = slot_at(im, im->used++);
    *s = (struct slot){.b = b, .state = SLOT_FULL, .leaf = {.size = im->open->len, .tsize = b->len}};
    s->zero = s->leaf.size == im->profile->chunk_size && all_zero(block_span(im->open));
    reopen(im, b);
    if (im->away && !s->zero)
        return 0;
    layout_leaf_cid(im->profile, block_span(b), &b->cid);
    s->state = SLOT_HASHED;
    if (s->zero)
        im->zero = (struct unixfs_root){.cid = b->cid, .size = s->leaf.size, .tsize = b->len};
    return drain(im);
}

/* Whole chunks that need no copy, because nobody keeps them. Bytes taken. */
static size_t write_in_place(struct importer *im, struct span data)
{
    uint32_t size = im->profile->chunk_size;
    if (im->sink || im->away || im->open || !im->profile->raw_leaves || data.len < size)
        return 0;
    struct span chunk = span_sub(data, 0, size);
    bool zero = all_zero(chunk);
    struct unixfs_root leaf = {.size = size, .tsize = size};
    if (zero && !cid_is_none(&im->zero.cid))
        leaf = im->zero;
    else
        layout_leaf_cid(im->profile, chunk, &leaf.cid);
    if (zero)
        im->zero = leaf;
    return layout_leaf(im->layout, &leaf) == 0 ? size : 0; /* no memory: the copy keeps it until there is */
}

/* Taken bytes are not taken back: the next call says it again when it is so still. */
static bool is_for_now(int err)
{
    return err == ERR_AGAIN || err == ERR_NO_MEMORY;
}

/* Copies into the open chunk. Bytes taken, 0 or ERR_AGAIN: no room now, or another error. */
static int write_open(struct importer *im, struct span data)
{
    uint32_t size = im->profile->chunk_size;
    if (im->open && im->open->len == size) {
        if (im->used == im->window)
            return 0;
        int r = seal(im);
        if (r < 0)
            return r;
    }
    if (!im->open) {
        im->open = block_new(budget_of(im), BUDGET_WRITE, size);
        if (!im->open)
            return 0;
    }
    struct span part = span_sub(data, 0, size - im->open->len);
    memcpy(im->open->data + im->open->len, part.data, part.len);
    im->open->len += (uint32_t)part.len;
    return (int)part.len;
}

#define TAKE_MAX (UINT32_C(1) << 30) /* so that the count fits an int */

int importer_write(struct importer *im, struct span data)
{
    int r = drain(im);
    if (r < 0)
        return r;
    size_t taken = 0;
    data = span_sub(data, 0, TAKE_MAX);
    while (taken < data.len) {
        size_t n = write_in_place(im, span_from(data, taken));
        if (n == 0) {
            r = write_open(im, span_from(data, taken));
            if (r < 0 && (taken == 0 || !is_for_now(r)))
                return r;
            n = r < 0 ? 0 : (size_t)r;
        }
        if (n == 0)
            break;
        taken += n;
    }
    im->bytes += taken;
    /* A full chunk is offered for hashing at once, not when the next byte comes. */
    if (im->open && im->open->len == im->profile->chunk_size && im->used < im->window) {
        r = seal(im);
        if (r < 0 && !is_for_now(r))
            return r;
    }
    return taken > 0 || data.len == 0 ? (int)taken : ERR_AGAIN;
}

int importer_next(struct importer *im, struct block **ret)
{
    assert(im->away);
    for (unsigned i = 0; i < im->used; i++) {
        struct slot *s = slot_at(im, i);
        if (s->state != SLOT_FULL)
            continue;
        s->state = SLOT_AWAY;
        *ret = block_ref(s->b);
        return 1;
    }
    return 0;
}

int importer_hashed(struct importer *im, struct block *take_b)
{
    unsigned i = 0;
    while (i < im->used && (slot_at(im, i)->b != take_b || slot_at(im, i)->state != SLOT_AWAY))
        i++;
    assert(i < im->used && !cid_is_none(&take_b->cid));
    slot_at(im, i)->state = SLOT_HASHED;
    block_unref(take_b);
    return drain(im);
}

int importer_finish(struct importer *im, struct unixfs_root *ret)
{
    int r = drain(im);
    if (r < 0)
        return r;
    bool rest = im->open && im->open->len > 0;
    if (rest && im->used == im->window)
        return ERR_AGAIN;
    if (rest) {
        r = seal(im);
        if (r < 0)
            return r;
    }
    if (im->used > 0)
        return ERR_AGAIN;
    return layout_finish(im->layout, ret);
}

uint64_t importer_bytes(const struct importer *im)
{
    return im->bytes;
}
