/* SPDX-License-Identifier: MIT */
#include "store/unixfs/editor.h"

#include "store/base/mapfault.h"
#include "store/unixfs/editor_state.h"

#include <assert.h>
#include <stdlib.h>

#define BUF_MIN 4096u

const uint8_t editor_zeros[EDITOR_CHUNK];
/* sha2-256 of 2^20 zeros */
const uint8_t editor_zeros_digest[SHA256_SIZE] = {
    0x30, 0xe1, 0x49, 0x55, 0xeb, 0xf1, 0x35, 0x22, 0x66, 0xdc, 0x2f, 0xf8, 0x06, 0x7e, 0x68, 0x10,
    0x46, 0x07, 0xe7, 0x50, 0xab, 0xb9, 0xd3, 0xb3, 0x65, 0x82, 0xb8, 0xaf, 0x90, 0x9f, 0xcb, 0x58,
};

struct editor *editor_new(const struct unixfs_root *base, struct budget *budget)
{
    struct editor *e = MEM_NEW(struct editor);
    e->budget = budget;
    e->dirty.prev = e->dirty.next = &e->dirty;
    e->flights.prev = e->flights.next = &e->flights;
    if (base && base->size > 0) {
        e->base = *base;
        e->size = e->base_limit = base->size;
        e->last = *base;
    } else {
        e->ready = e->touched = e->changed = true; /* the empty file has a root that was not made yet */
    }
    return e;
}

struct editor *editor_free(struct editor *e)
{
    if (!e)
        return NULL;
    while (e->flights.next != &e->flights) {
        struct editor_flight *fl = e->flights.next;
        fl->prev->next = fl->next;
        fl->next->prev = fl->prev;
        fl->editor = NULL;
        if (fl->buf)
            editor_buf_drop(e, fl->buf);
    }
    while (e->dirty.next != &e->dirty)
        editor_buf_drop(e, e->dirty.next);
    block_unref(e->loading.b);
    for (uint32_t i = 0; i < e->group_count; i++)
        free(e->group[i].chunk);
    free(e->group);
    unixfs_file_free(e->base_file);
    free(e);
    return NULL;
}

uint64_t editor_size(const struct editor *e)
{
    return e->size;
}

bool editor_changed(const struct editor *e)
{
    return e->changed;
}

uint64_t editor_dirty_bytes(const struct editor *e)
{
    return e->dirty_bytes;
}

static bool buf_full(const struct editor_buf *buf)
{
    return buf->written >= EDITOR_CHUNK && buf->len == EDITOR_CHUNK;
}

void editor_dirty_add(struct editor *e, struct editor_buf *buf)
{
    assert(!buf->flight);
    buf->prev = e->dirty.prev;
    buf->next = &e->dirty;
    buf->prev->next = buf->next->prev = buf;
    e->dirty_bytes += buf->len;
    e->full += buf_full(buf);
}

void editor_dirty_del(struct editor *e, struct editor_buf *buf)
{
    buf->prev->next = buf->next;
    buf->next->prev = buf->prev;
    e->dirty_bytes -= buf->len;
    e->full -= buf_full(buf);
}

void editor_buf_drop(struct editor *e, struct editor_buf *buf)
{
    if (buf->flight)
        buf->flight->buf = NULL;
    else
        editor_dirty_del(e, buf);
    block_unref(buf->b);
    free(buf);
}

void editor_group_changed(struct editor *e, uint64_t index)
{
    e->group[index / GROUP_CHUNKS].parent_known = false;
    e->group[index / GROUP_CHUNKS].sent_len = 0;
    e->touched = e->changed = true;
}

/* ---- buffers ---- */

static uint32_t round_cap(uint32_t need)
{
    uint32_t cap = BUF_MIN;
    while (cap < need)
        cap *= 2;
    return cap < EDITOR_CHUNK ? cap : EDITOR_CHUNK;
}

/* The first `keep` bytes of a chunk without buffer that is no part of the base. */
static int load_chunk(struct block_source *s, const struct chunk *c, struct editor_room want, uint8_t *out)
{
    if (c->state == CHUNK_HOLE || want.keep == 0)
        return 0;
    struct cid cid;
    struct span leaf;
    editor_digest_cid(c->digest, CODEC_RAW, &cid);
    int r = source_get(s, &cid, &leaf);
    if (r < 0)
        return r;
    if (leaf.len < want.keep)
        return ERR_CORRUPT;
    return mapfault_copy(out, span_sub(leaf, 0, want.keep)) ? 0 : ERR_IO;
}

/* A chunk that has a buffer: it gets a longer one, or one that no flight shares. */
static int renew_buf(struct editor *e, struct editor_buf *buf, struct editor_room want)
{
    if (buf->shared && !buf->flight && block_reclaim(buf->b)) {
        buf->b->len = buf->len;
        buf->shared = false;
    }
    if (!buf->shared && want.cap <= buf->b->cap)
        return 0;
    uint32_t cap =
        want.cap > buf->b->cap && buf->b->cap < EDITOR_CHUNK / 2 && want.cap < 2 * buf->b->cap ? 2 * buf->b->cap : want.cap;
    struct block *b = block_new(e->budget, BUDGET_WRITE, round_cap(cap));
    if (!b)
        return ERR_AGAIN;
    memcpy(b->data, buf->b->data, want.keep);
    b->len = buf->len; /* bytes behind `keep` are about to be written over */
    block_unref(buf->b);
    buf->b = b;
    buf->shared = false;
    if (buf->flight) {
        buf->flight->buf = NULL;
        buf->flight = NULL;
        buf->written = 0;
        editor_dirty_add(e, buf);
    }
    return 0;
}

static struct editor_buf *set_buf(struct editor *e, struct chunk *c, uint64_t index, struct block *take_b)
{
    struct editor_buf *buf = MEM_NEW(struct editor_buf);
    take_b->len = c->len;
    e->replaced += c->state == CHUNK_CLEAN || c->state == CHUNK_CUT;
    *buf = (struct editor_buf){.b = take_b, .index = index, .len = c->len};
    c->state = CHUNK_BUF;
    c->len = 0;
    c->buf = buf;
    editor_dirty_add(e, buf);
    return buf;
}

static void stop_loading(struct editor *e)
{
    e->loading.b = block_unref(e->loading.b);
}

/* One step of what is being loaded. 0: its chunk has its buffer, or is no longer the base's; ERR_BUSY: there is more. */
static int load_step(struct editor *e, struct block_source *s)
{
    struct editor_loading *l = &e->loading;
    struct chunk *c = editor_chunk_slot(e, l->index);
    bool wanted = c->state == CHUNK_BASE && c->len == l->len;
    int n = wanted ? unixfs_read_copy(editor_base_file(e), s, l->index * EDITOR_CHUNK + l->done, l->b->data + l->done,
                                      l->len - l->done)
                   : 0;
    l->done += n > 0 ? (uint32_t)n : 0;
    if (n > 0 && l->done < l->len)
        return ERR_BUSY;
    if (wanted && l->done == l->len) {
        (void)set_buf(e, c, l->index, l->b);
        l->b = NULL;
        return 0;
    }
    stop_loading(e);
    return n < 0 ? n : wanted ? ERR_CORRUPT : 0;
}

/* A chunk of the base gets its buffer; what others began to load comes first. */
static int load_base(struct editor *e, struct block_source *s, struct editor_room want)
{
    struct editor_loading *l = &e->loading;
    bool others = l->b && l->index != want.index;
    if (!l->b) {
        struct block *b = block_new(e->budget, BUDGET_WRITE, round_cap(want.cap));
        if (!b)
            return ERR_AGAIN;
        *l = (struct editor_loading){.b = b, .index = want.index, .len = want.keep};
    }
    int r = load_step(e, s);
    return others ? ERR_BUSY : r;
}

int editor_own_buf(struct editor *e, struct block_source *s, struct editor_room want, struct editor_buf **ret)
{
    struct chunk *c = editor_chunk_slot(e, want.index);
    if (c->state == CHUNK_BASE && want.keep > 0) {
        int r = load_base(e, s, want);
        if (r < 0)
            return r;
        c = editor_chunk_slot(e, want.index);
    }
    if (c->state == CHUNK_BUF) {
        *ret = c->buf;
        return renew_buf(e, c->buf, want);
    }
    struct block *b = block_new(e->budget, BUDGET_WRITE, round_cap(want.cap));
    if (!b)
        return ERR_AGAIN;
    int r = load_chunk(s, c, want, b->data);
    if (r < 0) {
        block_unref(b);
        return r;
    }
    *ret = set_buf(e, c, want.index, b);
    return 0;
}

/* ---- writing ---- */

/* Bytes [at, at + data.len) of one chunk, whose group is loaded */
static int write_chunk(struct editor *e, struct block_source *s, uint64_t index, uint32_t at, struct span data)
{
    struct chunk look = editor_chunk_look(e, index);
    uint32_t have = look.state == CHUNK_BUF ? look.buf->len : look.len;
    uint32_t end = at + (uint32_t)data.len;
    struct editor_room want = {.index = index, .keep = have, .cap = end > have ? end : have};
    if (at == 0 && end >= have)
        want.keep = 0;
    if (index > 0 && at == 0 && have == 0)
        want.cap = EDITOR_CHUNK; /* most likely all of it comes */
    struct editor_buf *buf;
    int r = editor_own_buf(e, s, want, &buf);
    if (r < 0)
        return r;
    editor_dirty_del(e, buf);
    if (at > buf->len)
        memset(buf->b->data + buf->len, 0, at - buf->len);
    memcpy(buf->b->data + at, data.data, data.len);
    if (end > buf->len)
        buf->len = end;
    buf->b->len = buf->len;
    buf->written += data.len;
    editor_dirty_add(e, buf);
    editor_group_changed(e, index);
    return 0;
}

int editor_write(struct editor *e, struct block_source *s, uint64_t offset, struct span data)
{
    if (offset > EDITOR_SIZE_MAX || data.len > EDITOR_SIZE_MAX - offset)
        return ERR_TOO_BIG;
    int r = editor_ready(e, s);
    data = span_sub(data, 0, INT32_MAX);
    size_t done = 0;
    while (r == 0 && done < data.len) {
        uint64_t at = offset + done;
        uint64_t index = at / EDITOR_CHUNK;
        uint32_t in = at % EDITOR_CHUNK;
        struct span part = span_sub(data, done, EDITOR_CHUNK - in);
        uint64_t size = e->size;
        if (at + part.len > e->size) {
            r = editor_reserve_groups(e, at + part.len);
            if (r < 0)
                break;
            e->size = at + part.len;
            editor_resize_groups(e);
        }
        r = editor_load_group(e, s, (uint32_t)(index / GROUP_CHUNKS));
        if (r == 0)
            r = write_chunk(e, s, index, in, part);
        if (r == 0) {
            done += part.len;
        } else if (e->size != size) { /* groups made for it are holes and empty */
            e->size = size;
            editor_resize_groups(e);
        }
    }
    return done > 0 || r == 0 ? (int)done : r;
}

/* ---- truncating ---- */

static void make_hole(struct chunk *c)
{
    c->state = CHUNK_HOLE;
    c->len = 0;
}

static void cut_chunk(struct editor *e, uint64_t index, uint32_t len)
{
    struct chunk *c = editor_chunk_slot(e, index);
    if (c->state != CHUNK_BUF) {
        if (len == 0) {
            e->replaced += c->state == CHUNK_CLEAN || c->state == CHUNK_CUT;
            make_hole(c);
        }
        if (len < c->len) {
            c->len = len;
            c->state = c->state == CHUNK_CLEAN ? CHUNK_CUT : c->state;
        }
        return;
    }
    struct editor_buf *buf = c->buf;
    if (len == 0) {
        editor_buf_drop(e, buf);
        make_hole(c);
        return;
    }
    if (len >= buf->len)
        return;
    if (buf->flight) { /* the block on its way has too many bytes: from here on it is only where ours are copied from */
        buf->flight->buf = NULL;
        buf->flight = NULL;
        buf->written = 0;
    } else {
        editor_dirty_del(e, buf);
    }
    buf->len = len;
    if (!buf->shared)
        buf->b->len = len;
    editor_dirty_add(e, buf);
}

static void shrink(struct editor *e, uint64_t size)
{
    uint64_t keep = editor_chunk_count(size);
    for (uint32_t g = (uint32_t)(size / GROUP_BYTES); g < e->group_count; g++) {
        struct group *gr = &e->group[g];
        if (gr->kind == GROUP_LOADED)
            gr->parent_known = false;
        gr->sent_len = 0;
        for (uint32_t i = 0; i < gr->count; i++) {
            uint64_t index = (uint64_t)g * GROUP_CHUNKS + gr->chunk[i].at;
            if (index >= keep)
                cut_chunk(e, index, 0);
            else if (index == size / EDITOR_CHUNK)
                cut_chunk(e, index, size % EDITOR_CHUNK);
        }
    }
}

int editor_truncate(struct editor *e, uint64_t size)
{
    if (size > EDITOR_SIZE_MAX)
        return ERR_TOO_BIG;
    if (size == e->size)
        return 0;
    int r = e->ready ? editor_reserve_groups(e, size) : 0;
    if (r < 0)
        return r;
    e->touched = e->changed = true;
    stop_loading(e);
    if (size < e->size && e->ready)
        shrink(e, size);
    e->size = size;
    if (size < e->base_limit)
        e->base_limit = size;
    if (e->base_limit == 0 && !e->ready)
        e->ready = true;
    if (e->ready)
        editor_resize_groups(e);
    return 0;
}

/* ---- reading ---- */

static bool add_span(struct read_spans *out, struct span s)
{
    if (s.len == 0)
        return true;
    if (out->count == out->max)
        return false;
    out->spans[out->count++] = s;
    out->bytes += s.len;
    return true;
}

/* Bytes [at, at + len) of the base file into `out` behind what it has */
static int read_base(struct editor *e, struct block_source *s, uint64_t at, size_t len, struct read_spans *out)
{
    if (out->count == out->max)
        return 0;
    struct read_spans rest = {.spans = out->spans + out->count, .max = out->max - out->count};
    int r = unixfs_read(editor_base_file(e), s, at, len, &rest);
    out->count += rest.count;
    out->bytes += rest.bytes;
    return r;
}

/* The given bytes of one chunk (its beginning), from `in`, at most len: how they are found depends on the state. */
static int read_given(struct editor *e, struct block_source *s, uint64_t at, size_t len, struct read_spans *out)
{
    uint64_t index = at / EDITOR_CHUNK;
    uint32_t in = at % EDITOR_CHUNK;
    struct chunk c = editor_chunk_look(e, index);
    if (c.state == CHUNK_BUF) {
        (void)add_span(out, span_of(c.buf->b->data + in, len)); /* full: the caller sees that bytes did not grow */
        return 0;
    }
    if (c.state == CHUNK_BASE)
        return read_base(e, s, at, len, out);
    struct cid cid;
    struct span leaf;
    editor_digest_cid(c.digest, CODEC_RAW, &cid);
    int r = source_get(s, &cid, &leaf);
    if (r < 0)
        return r;
    if (leaf.len < in + len)
        return ERR_CORRUPT;
    (void)add_span(out, span_sub(leaf, in, len));
    return 0;
}

/* The part of [at, at + len) in one chunk. `*ret_step`: where the next chunk begins, relative to at. */
static int read_chunk(struct editor *e, struct block_source *s, uint64_t at, size_t *len, struct read_spans *out)
{
    uint64_t index = at / EDITOR_CHUNK;
    uint32_t in = at % EDITOR_CHUNK;
    int r = editor_load_group(e, s, (uint32_t)(index / GROUP_CHUNKS));
    if (r < 0) { /* nothing more is known about the rest of the group */
        *len = GROUP_BYTES - at % GROUP_BYTES;
        return r;
    }
    if (*len > EDITOR_CHUNK - in)
        *len = EDITOR_CHUNK - in;
    struct chunk c = editor_chunk_look(e, index);
    uint32_t have = c.state == CHUNK_BUF ? c.buf->len : c.len;
    size_t given = have > in ? have - in : 0;
    if (given > *len)
        given = *len;
    size_t before = out->bytes;
    if (given > 0) {
        r = read_given(e, s, at, given, out);
        if (r < 0 || out->bytes - before < given)
            return r;
    }
    (void)add_span(out, span_of(editor_zeros, *len - given)); /* no room: the read ends early */
    return 0;
}

int editor_read(struct editor *e, struct block_source *s, uint64_t offset, size_t len, struct read_spans *out)
{
    if (!e->touched)
        return unixfs_read(editor_base_file(e), s, offset, len, out);
    out->count = 0;
    out->bytes = 0;
    out->more = false;
    if (offset >= e->size)
        return 0;
    int r = editor_ready(e, s);
    if (r < 0)
        return r;
    uint64_t end = len < e->size - offset ? offset + len : e->size;
    struct span spare[16];
    struct read_spans unused = {.spans = spare, .max = 16}; /* behind a hole only what is missing is of interest */
    bool missing = false;
    size_t step;
    uint64_t at = offset;
    for (; at < end; at += step) {
        step = end - at;
        struct read_spans *to = missing ? &unused : out;
        unused.count = 0;
        size_t before = to->bytes;
        r = read_chunk(e, s, at, &step, to);
        if (r < 0 && r != ERR_MISSING)
            return missing ? ERR_MISSING : r;
        missing |= r == ERR_MISSING;
        if (!missing && to->bytes - before < step)
            break;
    }
    out->more = !missing && at < end;
    return missing ? ERR_MISSING : 0;
}
