/* SPDX-License-Identifier: MIT
 *
 * Tokens of dag-cbor. libcbor's stream decoder reads one head (and, for strings, the body) per call and calls back; the
 * callbacks below only fill the token. Nesting is a stack of counts: an item is over when its last member is.
 */
#include "store/codec/dagcbor.h"

#include <assert.h>
#include <cbor.h>

/* What one call of libcbor found. */
struct found {
    struct dagcbor_token token;
    bool refused; /* indefinite lengths, undefined, a short float … */
    bool tag;     /* token.number is a tag's */
};

static void set(void *ctx, enum dagcbor_type type, uint64_t number)
{
    struct found *f = ctx;
    f->token.type = type;
    f->token.number = number;
}

static void on_uint8(void *ctx, uint8_t v)
{
    set(ctx, DAGCBOR_UINT, v);
}
static void on_uint16(void *ctx, uint16_t v)
{
    set(ctx, DAGCBOR_UINT, v);
}
static void on_uint32(void *ctx, uint32_t v)
{
    set(ctx, DAGCBOR_UINT, v);
}
static void on_uint64(void *ctx, uint64_t v)
{
    set(ctx, DAGCBOR_UINT, v);
}
static void on_negint8(void *ctx, uint8_t v)
{
    set(ctx, DAGCBOR_NEGINT, v);
}
static void on_negint16(void *ctx, uint16_t v)
{
    set(ctx, DAGCBOR_NEGINT, v);
}
static void on_negint32(void *ctx, uint32_t v)
{
    set(ctx, DAGCBOR_NEGINT, v);
}
static void on_negint64(void *ctx, uint64_t v)
{
    set(ctx, DAGCBOR_NEGINT, v);
}
static void on_bytes(void *ctx, cbor_data data, size_t len)
{
    set(ctx, DAGCBOR_BYTES, 0);
    ((struct found *)ctx)->token.bytes = span_of(data, len);
}
static void on_text(void *ctx, cbor_data data, size_t len)
{
    set(ctx, DAGCBOR_TEXT, 0);
    ((struct found *)ctx)->token.bytes = span_of(data, len);
}
static void on_array(void *ctx, size_t count)
{
    set(ctx, DAGCBOR_ARRAY, count);
}
static void on_map(void *ctx, size_t count)
{
    set(ctx, DAGCBOR_MAP, count);
}
static void on_tag(void *ctx, uint64_t tag)
{
    set(ctx, DAGCBOR_CID, tag);
    ((struct found *)ctx)->tag = true;
}
static void on_double(void *ctx, double v)
{
    (void)v; /* nobody here asks for numbers that are not whole */
    set(ctx, DAGCBOR_FLOAT, 0);
}
static void on_bool(void *ctx, bool v)
{
    set(ctx, DAGCBOR_BOOL, v);
}
static void on_null(void *ctx)
{
    set(ctx, DAGCBOR_NULL, 0);
}
static void on_refused(void *ctx)
{
    ((struct found *)ctx)->refused = true;
}
static void on_refused_float(void *ctx, float v)
{
    (void)v; /* dag-cbor has doubles only */
    on_refused(ctx);
}

static const struct cbor_callbacks callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_negint8,
    .negint16 = on_negint16,
    .negint32 = on_negint32,
    .negint64 = on_negint64,
    .byte_string_start = on_refused,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_refused,
    .indef_array_start = on_refused,
    .array_start = on_array,
    .indef_map_start = on_refused,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_refused_float,
    .float4 = on_refused_float,
    .float8 = on_double,
    .undefined = on_refused,
    .null = on_null,
    .boolean = on_bool,
    .indef_break = on_refused,
};

static int decode_one(struct dagcbor *d, struct found *f)
{
    if (!d->rest.len)
        return ERR_TRUNCATED;
    struct cbor_decoder_result r = cbor_stream_decode(d->rest.data, d->rest.len, &callbacks, f);
    if (r.status == CBOR_DECODER_NEDATA)
        return ERR_TRUNCATED;
    if (r.status != CBOR_DECODER_FINISHED || f->refused || r.read == 0 || r.read > d->rest.len)
        return ERR_INVALID;
    d->rest = span_from(d->rest, r.read);
    return 0;
}

/* Tag 42 has been read: a byte string must follow, 00 and the CID. */
static int decode_cid(struct dagcbor *d, struct dagcbor_token *t)
{
    struct found f = {0};
    if (t->number != DAGCBOR_TAG_CID)
        return ERR_INVALID;
    int err = decode_one(d, &f);
    if (err)
        return err;
    struct span s = f.token.bytes;
    if (f.tag || f.token.type != DAGCBOR_BYTES || s.len < 1 || s.data[0] != 0)
        return ERR_INVALID;
    return cid_parse(span_from(s, 1), &t->cid) == 0 ? 0 : ERR_INVALID;
}

/* An item begins: one of its parent's is taken; a container opens its own level. */
static int nest(struct dagcbor *d, const struct dagcbor_token *t)
{
    if (d->depth)
        d->left[d->depth - 1]--;
    uint64_t items = t->number;
    if (t->type != DAGCBOR_ARRAY && t->type != DAGCBOR_MAP)
        items = 0;
    if (items > d->rest.len)
        return ERR_TRUNCATED; /* an item is at least a byte */
    if (t->type == DAGCBOR_MAP)
        items *= 2;
    if (items && d->depth == DAGCBOR_DEPTH_MAX)
        return ERR_INVALID;
    if (items)
        d->left[d->depth++] = items;
    while (d->depth && d->left[d->depth - 1] == 0)
        d->depth--;
    return 0;
}

void dagcbor_init(struct dagcbor *d, struct span in)
{
    d->rest = in;
    d->depth = 0;
    d->started = false;
}

int dagcbor_next(struct dagcbor *d, struct dagcbor_token *ret)
{
    if (d->started && d->depth == 0)
        return d->rest.len ? ERR_INVALID : 0;
    struct found f = {0};
    int err = decode_one(d, &f);
    if (!err && f.tag)
        err = decode_cid(d, &f.token);
    if (!err)
        err = nest(d, &f.token);
    if (err)
        return err;
    d->started = true;
    *ret = f.token;
    return 1;
}

/* ---- writing ---- */

static const uint8_t majors[] = {
    [DAGCBOR_UINT] = 0, [DAGCBOR_NEGINT] = 1, [DAGCBOR_BYTES] = 2, [DAGCBOR_TEXT] = 3, [DAGCBOR_ARRAY] = 4, [DAGCBOR_MAP] = 5,
};

static void add_head(struct buf *out, unsigned major, uint64_t number)
{
    static const struct {
        uint64_t max;
        uint8_t extra, info;
    } sizes[] = {{23, 0, 0}, {UINT8_MAX, 1, 24}, {UINT16_MAX, 2, 25}, {UINT32_MAX, 4, 26}, {UINT64_MAX, 8, 27}};
    size_t i = 0;
    while (number > sizes[i].max)
        i++;
    buf_add_u8(out, (uint8_t)(major << 5 | (sizes[i].extra ? sizes[i].info : number)));
    for (unsigned shift = sizes[i].extra * 8U; shift; shift -= 8)
        buf_add_u8(out, (uint8_t)(number >> (shift - 8)));
}

void dagcbor_add_head(struct buf *out, enum dagcbor_type type, uint64_t number)
{
    assert(type < sizeof majors);
    add_head(out, majors[type], number);
}

void dagcbor_add_text(struct buf *out, const char *text)
{
    dagcbor_add_head(out, DAGCBOR_TEXT, strlen(text));
    buf_add_str(out, text);
}

void dagcbor_add_cid(struct buf *out, const struct cid *cid)
{
    add_head(out, 6, DAGCBOR_TAG_CID);
    dagcbor_add_head(out, DAGCBOR_BYTES, 1U + cid->len);
    buf_add_u8(out, 0);
    buf_add_span(out, cid_span(cid));
}
