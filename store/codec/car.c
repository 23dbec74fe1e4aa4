/* SPDX-License-Identifier: MIT
 *
 * CAR files. The reader is a table of states, each of which takes one thing from the front of the buffered input or
 * says that it needs more. Lengths are checked against their limits before anything waits for that many bytes.
 */
#include "store/codec/car.h"

#include "store/base/uvarint.h"
#include "store/codec/dagcbor.h"

#include <stdlib.h>

#define V2_PRAGMA_LEN 11
#define V2_HEADER_LEN 40

/* ---- writer ---- */

static size_t header_body(struct buf *out, const struct cid *roots, size_t count)
{
    size_t before = buf_len(out);
    dagcbor_add_head(out, DAGCBOR_MAP, 2);
    dagcbor_add_text(out, "roots"); /* keys by length, then bytes */
    dagcbor_add_head(out, DAGCBOR_ARRAY, count);
    for (size_t i = 0; i < count; i++)
        dagcbor_add_cid(out, &roots[i]);
    dagcbor_add_text(out, "version");
    dagcbor_add_head(out, DAGCBOR_UINT, 1);
    return buf_len(out) - before;
}

void car_add_header(struct buf *out, const struct cid *roots, size_t count)
{
    struct buf body = BUF_INIT;
    buf_add_uvarint(out, header_body(&body, roots, count));
    buf_add_span(out, buf_span(&body));
    buf_done(&body);
}

void car_add_frame_head(struct buf *out, const struct cid *cid, size_t data_len)
{
    buf_add_uvarint(out, cid->len + data_len);
    buf_add_span(out, cid_span(cid));
}

uint64_t car_frame_size(const struct cid *cid, size_t data_len)
{
    uint64_t body = cid->len + (uint64_t)data_len;
    return uvarint_len(body) + body;
}

/* ---- reader ---- */

enum state { READ_HEADER, READ_V2_HEADER, READ_SKIP, READ_FRAMES, READ_END, READ_ENDED, READ_FAILED };

struct car_reader {
    enum state state;
    int version; /* of the file */
    int err;
    bool eof;
    struct buf in;
    size_t taken;    /* at the front of `in`: the frame that the last event borrows */
    uint64_t offset; /* of the front of `in` in the file, with `taken` */
    uint64_t end;    /* v2: where its data end; v1: no end */
    uint64_t begin;  /* v2: where its data begin */
    struct cid *roots;
    size_t root_count;
};

struct car_reader *car_reader_new(void)
{
    struct car_reader *r = MEM_NEW(struct car_reader);
    r->end = UINT64_MAX;
    r->version = 1;
    return r;
}

struct car_reader *car_reader_free(struct car_reader *r)
{
    if (r) {
        buf_done(&r->in);
        free(r->roots);
        free(r);
    }
    return NULL;
}

static void release_taken(struct car_reader *r)
{
    buf_consume(&r->in, r->taken);
    r->taken = 0;
}

/* `len` bytes at the front are used up. They stay in memory until the next call. */
static void take(struct car_reader *r, size_t len)
{
    r->taken += len;
    r->offset += len;
}

/* What is there, up to the end of a v2's data. */
static struct span front(const struct car_reader *r)
{
    struct span s = span_from(buf_span(&r->in), r->taken);
    uint64_t left = r->end - r->offset;
    return left < s.len ? span_sub(s, 0, (size_t)left) : s;
}

int car_reader_input(struct car_reader *r, struct span in)
{
    release_taken(r);
    if (r->state >= READ_END) /* what follows the end is the index: not ours */
        return 0;
    return buf_try_add(&r->in, in) ? 0 : ERR_NO_MEMORY;
}

void car_reader_eof(struct car_reader *r)
{
    r->eof = true;
}

uint64_t car_reader_offset(const struct car_reader *r)
{
    return r->offset;
}

/* More bytes are needed: 0, or ERR_TRUNCATED when none can come. */
static int starved(const struct car_reader *r, struct span s)
{
    bool cut = r->offset + s.len >= r->end;
    return r->eof || cut ? ERR_TRUNCATED : 0;
}

/* A length and that many bytes: 1 and the body, not yet taken; 0: more needed. */
static int peek_section(const struct car_reader *r, size_t max, struct span *ret_body, size_t *ret_len)
{
    struct span s = front(r);
    uint64_t len;
    int n = uvarint_read(s, &len);
    if (n == ERR_TRUNCATED)
        return starved(r, s);
    if (n < 0 || len == 0)
        return ERR_INVALID;
    if (len > max)
        return ERR_TOO_BIG;
    if (s.len - (size_t)n < len)
        return starved(r, s);
    *ret_body = span_sub(s, (size_t)n, (size_t)len);
    *ret_len = (size_t)n + (size_t)len;
    return 1;
}

static int read_roots(struct car_reader *r, struct dagcbor *d)
{
    struct dagcbor_token t;
    if (dagcbor_next(d, &t) != 1 || t.type != DAGCBOR_ARRAY)
        return ERR_INVALID;
    if (t.number > CAR_ROOTS_MAX)
        return ERR_TOO_BIG;
    free(r->roots);
    r->root_count = 0;
    size_t count = (size_t)t.number;
    r->roots = mem_big(count, sizeof r->roots[0]);
    if (!r->roots)
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        if (dagcbor_next(d, &t) != 1 || t.type != DAGCBOR_CID)
            return ERR_INVALID;
        r->roots[r->root_count++] = t.cid;
    }
    return 0;
}

/* The map {roots, version}, in any order, nothing else. */
static int header_parse(struct car_reader *r, struct span body, uint64_t *ret_version, bool *ret_roots)
{
    struct dagcbor d;
    struct dagcbor_token t;
    bool has_version = false;
    *ret_roots = false;
    dagcbor_init(&d, body);
    if (dagcbor_next(&d, &t) != 1 || t.type != DAGCBOR_MAP || t.number > 2)
        return ERR_INVALID;
    for (uint64_t pairs = t.number; pairs; pairs--) {
        if (dagcbor_next(&d, &t) != 1 || t.type != DAGCBOR_TEXT)
            return ERR_INVALID;
        if (span_eq_str(t.bytes, "roots") && !*ret_roots) {
            int err = read_roots(r, &d);
            if (err)
                return err;
            *ret_roots = true;
        } else if (span_eq_str(t.bytes, "version") && !has_version) {
            if (dagcbor_next(&d, &t) != 1 || t.type != DAGCBOR_UINT)
                return ERR_INVALID;
            *ret_version = t.number;
            has_version = true;
        } else {
            return ERR_INVALID;
        }
    }
    return has_version && dagcbor_next(&d, &t) == 0 ? 0 : ERR_INVALID;
}

/* Each state's function: 1 an event, 0 more input needed, ERR_*; STEP_ON: go on in the new state. */
#define STEP_ON 2

static int step_header(struct car_reader *r, struct car_event *ret)
{
    struct span body;
    size_t len;
    uint64_t version = 0;
    bool roots;
    int n = peek_section(r, CAR_HEADER_MAX, &body, &len);
    if (n != 1)
        return n;
    int err = header_parse(r, body, &version, &roots);
    if (err)
        return err;
    bool pragma = version == 2 && r->version == 1 && !roots && r->offset == 0 && len == V2_PRAGMA_LEN;
    if (!pragma && version != 1)
        return ERR_UNSUPPORTED;
    if (!pragma && !roots)
        return ERR_INVALID;
    take(r, len);
    if (pragma) {
        r->version = 2;
        r->state = READ_V2_HEADER;
        return STEP_ON;
    }
    r->state = READ_FRAMES;
    *ret = (struct car_event){.type = CAR_HEADER, .version = r->version, .roots = r->roots, .root_count = r->root_count};
    return 1;
}

static uint64_t u64le(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 8; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static int step_v2_header(struct car_reader *r, struct car_event *ret)
{
    (void)ret; /* no event */
    struct span s = front(r);
    if (s.len < V2_HEADER_LEN)
        return starved(r, s);
    uint64_t begin = u64le(s.data + 16), size = u64le(s.data + 24);
    if (begin < V2_PRAGMA_LEN + V2_HEADER_LEN || begin == UINT64_MAX || size == 0 || size > UINT64_MAX - 1 - begin)
        return ERR_INVALID;
    take(r, V2_HEADER_LEN);
    r->begin = begin;
    r->end = begin + size;
    r->state = READ_SKIP;
    return STEP_ON;
}

static int step_skip(struct car_reader *r, struct car_event *ret)
{
    (void)ret; /* no event */
    struct span s = front(r);
    uint64_t left = r->begin - r->offset;
    if (left > s.len) {
        take(r, s.len);
        return r->eof ? ERR_TRUNCATED : 0;
    }
    take(r, (size_t)left);
    r->state = READ_HEADER;
    return STEP_ON;
}

static int step_frames(struct car_reader *r, struct car_event *ret)
{
    struct span body;
    size_t len;
    if (r->offset == r->end || (r->eof && r->end == UINT64_MAX && front(r).len == 0)) {
        r->state = READ_END;
        return STEP_ON;
    }
    int n = peek_section(r, CAR_FRAME_MAX, &body, &len);
    if (n != 1)
        return n;
    struct car_event ev = {.type = CAR_BLOCK, .version = r->version};
    int used = cid_read(body, &ev.cid);
    if (used < 0)
        return ERR_INVALID; /* the whole frame is here: cut short means damaged */
    ev.data = span_from(body, (size_t)used);
    if (ev.data.len > CAR_BLOCK_MAX)
        return ERR_TOO_BIG;
    take(r, len);
    *ret = ev;
    return 1;
}

static int step_end(struct car_reader *r, struct car_event *ret)
{
    buf_done(&r->in);
    r->taken = 0;
    r->state = READ_ENDED;
    *ret = (struct car_event){.type = CAR_END, .version = r->version};
    return 1;
}

static int step_ended(struct car_reader *r, struct car_event *ret)
{
    (void)r, (void)ret; /* nothing comes after the end */
    return 0;
}

static int step_failed(struct car_reader *r, struct car_event *ret)
{
    (void)ret; /* no event */
    return r->err;
}

int car_reader_next(struct car_reader *r, struct car_event *ret)
{
    static int (*const steps[])(struct car_reader *, struct car_event *) = {
        [READ_HEADER] = step_header, [READ_V2_HEADER] = step_v2_header,
        [READ_SKIP] = step_skip,     [READ_FRAMES] = step_frames,
        [READ_END] = step_end,       [READ_ENDED] = step_ended,
        [READ_FAILED] = step_failed,
    };
    release_taken(r);
    int n;
    do
        n = steps[r->state](r, ret);
    while (n == STEP_ON);
    if (n < 0) {
        r->err = n;
        r->state = READ_FAILED;
    }
    return n;
}
