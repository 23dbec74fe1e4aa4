/* SPDX-License-Identifier: MIT
 *
 * The reader is a byte machine with two levels:
 *
 *     LENGTH ─→ KEY ─→ NUMBER                 a varint field
 *       ↑        │ └─→ SIZE ─→ SKIP           a field that we do not know
 *       │        │       ├──→ SMALL           an entry, presence or prefix, collected and then read at once
 *       │        │       ├──→ (level 1, KEY)  wantlist, payload
 *       │        │       └──→ BEGIN ─→ DATA   bytes of a block
 *       └── at the end of level 0
 */
#include "net/exchange/bitswap_codec.h"

#include "store/base/uvarint.h"

#include <assert.h>

enum state { S_LENGTH, S_KEY, S_NUMBER, S_SIZE, S_SKIP, S_SMALL, S_BEGIN, S_DATA };

enum wire_type { W_VARINT = 0, W_FIXED64 = 1, W_BYTES = 2, W_FIXED32 = 5 };

enum { M_WANTLIST = 1, M_BLOCKS = 2, M_PAYLOAD = 3, M_PRESENCES = 4 };
enum { L_ENTRIES = 1, L_FULL = 2 };
enum { B_PREFIX = 1, B_DATA = 2 };

void bitswap_reader_init(struct bitswap_reader *r)
{
    *r = (struct bitswap_reader){.state = S_LENGTH};
}

void bitswap_reader_done(struct bitswap_reader *r)
{
    r->block = block_unref(r->block);
}

bool bitswap_in_block(const struct bitswap_reader *r)
{
    return r->block != NULL;
}

bool bitswap_partial(const struct bitswap_reader *r)
{
    return r->state != S_LENGTH || r->number_len > 0;
}

/* One byte less in every level that is open; false: it would pass the end of one. */
static bool spend(struct bitswap_reader *r, uint32_t n)
{
    if (r->state == S_LENGTH)
        return true;
    for (unsigned i = 0; i <= r->level; i++)
        if (r->left[i] < n)
            return false;
    for (unsigned i = 0; i <= r->level; i++)
        r->left[i] -= n;
    return true;
}

/* 1: r->number is complete; 0: more bytes needed */
static int read_number(struct bitswap_reader *r, struct span *in)
{
    while (in->len) {
        uint8_t byte = in->data[0];
        *in = span_from(*in, 1);
        if (!spend(r, 1) || r->number_len == UVARINT_LAX_LEN || (r->number_len == 9 && byte > 1))
            return ERR_PROTOCOL;
        r->number |= (uint64_t)(byte & 0x7f) << (7 * r->number_len++);
        if (!(byte & 0x80)) {
            r->number_len = 0;
            return 1;
        }
    }
    return 0;
}

static uint64_t take_number(struct bitswap_reader *r)
{
    uint64_t n = r->number;
    r->number = 0;
    return n;
}

static void begin_block(struct bitswap_reader *r, uint32_t size)
{
    r->size = size;
    r->has_data = true;
    r->state = S_BEGIN;
}

/* Where a length-delimited value goes */
static int begin_bytes(struct bitswap_reader *r)
{
    uint64_t size = take_number(r);
    if (size > r->left[r->level])
        return ERR_PROTOCOL;
    r->value_left = (uint32_t)size;
    r->small_len = 0;
    unsigned field = r->field[r->level];
    bool small = r->level ? (r->field[0] == M_WANTLIST ? field == L_ENTRIES : field == B_PREFIX) : field == M_PRESENCES;
    bool data = r->level ? r->field[0] == M_PAYLOAD && field == B_DATA : field == M_BLOCKS;
    if (small) {
        r->state = size <= BITSWAP_SMALL_MAX ? S_SMALL : S_SKIP;
        return 0;
    }
    if (data) {
        if (size > BLOCK_MAX)
            return ERR_TOO_BIG;
        if (r->has_data)
            return ERR_PROTOCOL;
        if (!r->level) /* of 1.0: always CIDv0 */
            r->prefix = (struct exchange_prefix){0, 32, CODEC_DAG_PB, HASH_SHA2_256};
        begin_block(r, (uint32_t)size);
        return 0;
    }
    if (!r->level && (field == M_WANTLIST || field == M_PAYLOAD)) {
        r->level = 1;
        r->left[1] = (uint32_t)size;
        r->has_data = false;
        r->prefix = (struct exchange_prefix){0};
        r->state = S_KEY;
        return 0;
    }
    r->state = S_SKIP;
    return 0;
}

static int begin_field(struct bitswap_reader *r)
{
    uint64_t key = take_number(r);
    uint64_t field = key >> 3;
    if (field == 0 || field > UINT32_MAX >> 3)
        return ERR_PROTOCOL;
    r->field[r->level] = field < 255 ? (uint8_t)field : 255;
    switch (key & 7) {
    case W_VARINT:
        r->state = S_NUMBER;
        return 0;
    case W_BYTES:
        r->state = S_SIZE;
        return 0;
    case W_FIXED64:
    case W_FIXED32:
        r->value_left = (key & 7) == W_FIXED64 ? 8 : 4;
        r->state = S_SKIP;
        return r->value_left <= r->left[r->level] ? 0 : ERR_PROTOCOL;
    default:
        return ERR_PROTOCOL;
    }
}

static void end_number(struct bitswap_reader *r)
{
    uint64_t n = take_number(r);
    if (r->level && r->field[0] == M_WANTLIST && r->field[1] == L_FULL)
        r->full = n != 0;
    r->state = S_KEY;
}

static int begin_message(struct bitswap_reader *r)
{
    uint64_t size = take_number(r);
    if (size > BITSWAP_MESSAGE_MAX)
        return ERR_TOO_BIG;
    r->left[0] = (uint32_t)size;
    r->level = 0;
    r->full = false;
    r->has_data = false;
    r->state = S_KEY;
    return 0;
}

/* ---- small values, whole ---- */

struct small_field {
    unsigned field;
    bool is_bytes;
    uint64_t number;
    struct span bytes;
};

/* 1: a field; 0: the end; ERR_PROTOCOL */
static int next_small(struct span *in, struct small_field *ret)
{
    if (!in->len)
        return 0;
    uint64_t key, n;
    int used = uvarint_read_lax(*in, &key);
    if (used < 0)
        return ERR_PROTOCOL;
    *in = span_from(*in, (size_t)used);
    if ((key & 7) == W_FIXED32 || (key & 7) == W_FIXED64) {
        size_t skip = (key & 7) == W_FIXED64 ? 8 : 4;
        if (in->len < skip)
            return ERR_PROTOCOL;
        *in = span_from(*in, skip);
        *ret = (struct small_field){0};
        return 1;
    }
    used = uvarint_read_lax(*in, &n);
    if (used < 0 || ((key & 7) != W_VARINT && (key & 7) != W_BYTES))
        return ERR_PROTOCOL;
    *in = span_from(*in, (size_t)used);
    *ret = (struct small_field){.field = key >> 3 < 255 ? (unsigned)(key >> 3) : 255, .number = n};
    if ((key & 7) == W_VARINT)
        return 1;
    if (n > in->len)
        return ERR_PROTOCOL;
    ret->is_bytes = true;
    ret->bytes = span_sub(*in, 0, (size_t)n);
    *in = span_from(*in, (size_t)n);
    return 1;
}

/* 1: an item; 0: one with a CID that we cannot read */
static int read_entry(struct span in, struct bitswap_item *ret)
{
    *ret = (struct bitswap_item){.type = BITSWAP_WANT, .priority = 0};
    struct small_field f;
    int r;
    while ((r = next_small(&in, &f)) == 1) {
        if (f.field == 1 && f.is_bytes && cid_parse(f.bytes, &ret->cid) < 0)
            ret->cid.len = 0;
        if (f.is_bytes)
            continue;
        switch (f.field) {
        case 2:
            ret->priority = (int32_t)(uint32_t)f.number;
            break;
        case 3:
            ret->cancel = f.number != 0;
            break;
        case 4:
            ret->want = f.number == BITSWAP_WANT_HAVE ? BITSWAP_WANT_HAVE : BITSWAP_WANT_BLOCK;
            break;
        case 5:
            ret->send_dont_have = f.number != 0;
            break;
        default:
            break;
        }
    }
    return r < 0 ? r : !cid_is_none(&ret->cid);
}

static int read_presence(struct span in, struct bitswap_item *ret)
{
    *ret = (struct bitswap_item){.type = BITSWAP_PRESENCE, .have = true};
    struct small_field f;
    int r;
    while ((r = next_small(&in, &f)) == 1) {
        if (f.field == 1 && f.is_bytes && cid_parse(f.bytes, &ret->cid) < 0)
            ret->cid.len = 0;
        if (f.field == 2 && !f.is_bytes)
            ret->have = f.number == 0;
    }
    return r < 0 ? r : !cid_is_none(&ret->cid);
}

static int read_prefix(struct span in, struct exchange_prefix *ret)
{
    uint64_t n[4];
    for (unsigned i = 0; i < 4; i++) {
        int used = uvarint_read(in, &n[i]);
        if (used < 0)
            return ERR_PROTOCOL;
        in = span_from(in, (size_t)used);
    }
    if (in.len || n[0] > 1 || n[1] > UINT32_MAX || n[2] > UINT32_MAX || n[3] > DIGEST_MAX)
        return ERR_PROTOCOL;
    *ret = (struct exchange_prefix){(uint8_t)n[0], (uint8_t)n[3], (uint32_t)n[1], (uint32_t)n[2]};
    return 0;
}

static int end_small(struct bitswap_reader *r, struct bitswap_item *ret)
{
    struct span small = span_of(r->small, r->small_len);
    r->state = S_KEY;
    if (!r->level)
        return read_presence(small, ret);
    if (r->field[0] == M_WANTLIST)
        return read_entry(small, ret);
    return read_prefix(small, &r->prefix);
}

static int end_block(struct bitswap_reader *r, struct bitswap_item *ret)
{
    *ret = (struct bitswap_item){.type = BITSWAP_BLOCK, .prefix = r->prefix, .block = r->block, .size = r->size};
    r->block = NULL;
    r->has_data = false;
    return 1;
}

/* At the end of a level: 1: an item; 0: go on */
static int end_level(struct bitswap_reader *r, struct bitswap_item *ret)
{
    if (r->level == 0) {
        *ret = (struct bitswap_item){.type = BITSWAP_END, .full = r->full};
        r->state = S_LENGTH;
        return 1;
    }
    if (r->field[0] == M_PAYLOAD && !r->has_data) { /* protobuf leaves an empty block's data out */
        begin_block(r, 0);
        return 0;
    }
    r->level = 0;
    r->state = S_KEY;
    return r->field[0] == M_PAYLOAD ? end_block(r, ret) : 0;
}

static int copy_bytes(struct bitswap_reader *r, struct span *in, struct bitswap_item *ret)
{
    size_t n = in->len < r->value_left ? in->len : r->value_left;
    if (!spend(r, (uint32_t)n))
        return ERR_PROTOCOL;
    if (n && r->state == S_SMALL) {
        memcpy(r->small + r->small_len, in->data, n);
        r->small_len += (uint32_t)n;
    } else if (n && r->state == S_DATA && r->block) {
        memcpy(r->block->data + r->block->len, in->data, n);
        r->block->len += (uint32_t)n;
    }
    *in = span_from(*in, n);
    r->value_left -= (uint32_t)n;
    if (r->value_left)
        return 0;
    if (r->state == S_SMALL)
        return end_small(r, ret);
    bool bare = r->state == S_DATA && r->level == 0;
    r->state = S_KEY;
    return bare ? end_block(r, ret) : 0;
}

void bitswap_accept(struct bitswap_reader *r, struct block *take_b)
{
    assert(r->state == S_BEGIN && !r->block && (!take_b || take_b->cap >= r->size));
    r->block = take_b;
    r->value_left = r->size;
    r->state = S_DATA;
}

static int step(struct bitswap_reader *r, struct span *in, struct bitswap_item *ret)
{
    static int (*const after[])(struct bitswap_reader *) = {
        [S_LENGTH] = begin_message, [S_KEY] = begin_field, [S_SIZE] = begin_bytes};
    switch (r->state) {
    case S_BEGIN:
        *ret = (struct bitswap_item){.type = BITSWAP_BEGIN, .size = r->size};
        return 1;
    case S_SKIP:
    case S_SMALL:
    case S_DATA:
        return copy_bytes(r, in, ret);
    case S_KEY:
        if (!r->left[r->level] && !r->number_len)
            return end_level(r, ret);
        break;
    default:
        break;
    }
    int done = read_number(r, in);
    if (done != 1)
        return done;
    if (r->state != S_NUMBER)
        return after[r->state](r);
    end_number(r);
    return 0;
}

/* Can a step be made without another byte? (ends of levels, empty values, blocks that wait for room) */
static bool steps_without_input(const struct bitswap_reader *r)
{
    switch (r->state) {
    case S_BEGIN:
        return true;
    case S_KEY:
        return !r->left[r->level] && !r->number_len;
    case S_SKIP:
    case S_SMALL:
    case S_DATA:
        return r->value_left == 0;
    default:
        return false;
    }
}

int bitswap_read(struct bitswap_reader *r, struct span *in, struct bitswap_item *ret)
{
    while (in->len || steps_without_input(r)) {
        int done = step(r, in, ret);
        if (done)
            return done;
    }
    return 0;
}

/* ---- writing ---- */

static void add_key(struct buf *b, unsigned field, enum wire_type type)
{
    buf_add_u8(b, (uint8_t)(field << 3 | type));
}

static void add_number(struct buf *b, unsigned field, uint64_t n)
{
    add_key(b, field, W_VARINT);
    uint8_t text[UVARINT_LAX_LEN];
    buf_add(b, text, uvarint_put(text, n));
}

static void add_bytes(struct buf *b, unsigned field, struct span s)
{
    add_key(b, field, W_BYTES);
    buf_add_uvarint(b, s.len);
    buf_add_span(b, s);
}

static size_t bytes_size(size_t len)
{
    return 1 + uvarint_len(len) + len;
}

void bitswap_add_entry(struct buf *wantlist, const struct bitswap_entry *e)
{
    assert(e->priority >= 0);
    struct span cid = cid_span(e->cid);
    size_t size = bytes_size(cid.len) + (e->priority ? 1 + uvarint_len((uint64_t)e->priority) : 0) + 2 * (size_t)e->cancel +
                  2 * (size_t)(e->want == BITSWAP_WANT_HAVE) + 2 * (size_t)e->send_dont_have;
    add_key(wantlist, L_ENTRIES, W_BYTES);
    buf_add_uvarint(wantlist, size);
    add_bytes(wantlist, 1, cid);
    if (e->priority)
        add_number(wantlist, 2, (uint64_t)e->priority);
    if (e->cancel)
        add_number(wantlist, 3, 1);
    if (e->want == BITSWAP_WANT_HAVE)
        add_number(wantlist, 4, 1);
    if (e->send_dont_have)
        add_number(wantlist, 5, 1);
}

void bitswap_add_wantlist(struct buf *message, struct span wantlist, bool full)
{
    add_key(message, M_WANTLIST, W_BYTES);
    buf_add_uvarint(message, wantlist.len + (full ? 2 : 0));
    buf_add_span(message, wantlist);
    if (full)
        add_number(message, L_FULL, 1);
}

void bitswap_add_presence(struct buf *message, const struct cid *cid, bool have)
{
    add_key(message, M_PRESENCES, W_BYTES);
    buf_add_uvarint(message, bytes_size(cid->len) + (have ? 0 : 2));
    add_bytes(message, 1, cid_span(cid));
    if (!have)
        add_number(message, 2, 1);
}

void bitswap_add_message(struct buf *stream, struct span message)
{
    buf_add_uvarint(stream, message.len);
    buf_add_span(stream, message);
}

/* The CID without its digest; v0 says what it stands for. Returns its length. */
static size_t put_prefix(const struct cid *cid, uint8_t out[4 * UVARINT_LAX_LEN])
{
    struct span digest = cid_digest(cid);
    size_t n = 0;
    n += uvarint_put(out + n, (uint64_t)cid_version(cid));
    n += uvarint_put(out + n, cid_codec(cid));
    n += uvarint_put(out + n, cid_hash_code(cid));
    n += uvarint_put(out + n, digest.len);
    return n;
}

static size_t payload_size(const struct cid *cid, uint32_t len)
{
    uint8_t prefix[4 * UVARINT_LAX_LEN];
    return bytes_size(put_prefix(cid, prefix)) + bytes_size(len);
}

size_t bitswap_block_size(const struct cid *cid, uint32_t len)
{
    return bytes_size(payload_size(cid, len));
}

void bitswap_add_block_head(struct buf *message, const struct cid *cid, uint32_t len)
{
    uint8_t prefix[4 * UVARINT_LAX_LEN];
    size_t prefix_len = put_prefix(cid, prefix);
    add_key(message, M_PAYLOAD, W_BYTES);
    buf_add_uvarint(message, bytes_size(prefix_len) + bytes_size(len));
    add_bytes(message, B_PREFIX, span_of(prefix, prefix_len));
    add_key(message, B_DATA, W_BYTES);
    buf_add_uvarint(message, len);
}
