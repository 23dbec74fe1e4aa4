/* SPDX-License-Identifier: MIT
 *
 * Written and read by hand, not by protobuf-c: reading gives spans into the bytes that came, with bounds on every count, and
 * several messages merge without a copy. Field numbers are those of net/wire/identify.proto. */
#include "net/proto/identify.h"

#include "store/base/uvarint.h"

#include <assert.h>

enum field {
    F_PUBLIC_KEY = 1,
    F_LISTEN_ADDRS = 2,
    F_PROTOCOLS = 3,
    F_OBSERVED = 4,
    F_VERSION = 5,
    F_AGENT = 6,
    F_SIGNED_RECORD = 8,
};

enum wire_type { W_VARINT = 0, W_FIXED64 = 1, W_BYTES = 2, W_FIXED32 = 5 };

/* ---- writing ---- */

static size_t field_size(struct span s)
{
    return 1 + uvarint_len(s.len) + s.len;
}

static void add(struct buf *b, enum field field, struct span s)
{
    buf_add_u8(b, (uint8_t)(field << 3 | W_BYTES));
    buf_add_uvarint(b, s.len);
    buf_add_span(b, s);
}

static void add_present(struct buf *b, enum field field, struct span s)
{
    if (s.len)
        add(b, field, s);
}

static void add_message(struct buf *out, const struct buf *body)
{
    buf_add_uvarint(out, buf_len(body));
    buf_add_span(out, buf_span(body));
}

/* Addresses from number *at on, as many as keep the message within `most` bytes. */
static void add_addrs(struct buf *b, const struct identify *own, unsigned *at, size_t most)
{
    while (*at < own->addr_count && buf_len(b) + field_size(own->addrs[*at]) <= most)
        add(b, F_LISTEN_ADDRS, own->addrs[(*at)++]);
}

int identify_build(const struct identify *own, struct buf *out)
{
    struct buf first = BUF_INIT, second = BUF_INIT;
    add_present(&first, F_PUBLIC_KEY, own->public_key);
    add_present(&first, F_VERSION, own->version);
    add_present(&first, F_AGENT, own->agent);
    add_present(&first, F_OBSERVED, own->observed);
    for (unsigned i = 0; i < own->protocol_count; i++)
        add(&first, F_PROTOCOLS, own->protocols[i]);
    const size_t delimiter = 2; /* lengths below 16384 */
    if (buf_len(&first) + delimiter > IDENTIFY_OUTPUT_FIRST) {
        buf_done(&first);
        return ERR_TOO_BIG;
    }
    unsigned at = 0;
    add_addrs(&first, own, &at, IDENTIFY_OUTPUT_FIRST - delimiter);
    size_t record = own->signed_record.len ? field_size(own->signed_record) : 0;
    if (at == own->addr_count && buf_len(&first) + record + delimiter <= IDENTIFY_OUTPUT_FIRST) {
        add_present(&first, F_SIGNED_RECORD, own->signed_record); /* all in one: rust reads no second message */
    } else {
        size_t most = IDENTIFY_OUTPUT_MAX - buf_len(&first) - 2 * delimiter;
        if (record <= most)
            add_present(&second, F_SIGNED_RECORD, own->signed_record);
        add_addrs(&second, own, &at, most);
    }
    add_message(out, &first);
    if (buf_len(&second))
        add_message(out, &second);
    buf_done(&first);
    buf_done(&second);
    return 0;
}

/* ---- reading ---- */

void identify_reader_init(struct identify_reader *r)
{
    *r = (struct identify_reader){.in = BUF_INIT};
}

void identify_reader_done(struct identify_reader *r)
{
    buf_done(&r->in);
}

/* Moves r->at over the messages that are complete. */
static int scan(struct identify_reader *r)
{
    for (;;) {
        struct span rest = span_from(buf_span(&r->in), r->at);
        uint64_t len;
        int used = uvarint_read(rest, &len);
        if (used == ERR_TRUNCATED)
            return 0;
        if (used < 0)
            return ERR_PROTOCOL;
        if (len > IDENTIFY_INPUT_MAX)
            return ERR_TOO_BIG;
        if (rest.len - (size_t)used < len)
            return 0;
        if (++r->messages > IDENTIFY_MESSAGES_MAX)
            return ERR_TOO_BIG;
        r->at += (size_t)used + (size_t)len;
    }
}

int identify_input(struct identify_reader *r, struct span in)
{
    if (in.len > IDENTIFY_TOTAL_MAX - buf_len(&r->in))
        return ERR_TOO_BIG;
    buf_add_span(&r->in, in);
    return scan(r);
}

static void take_list(struct span *list, unsigned *count, unsigned max, struct span value)
{
    if (*count < max && value.len)
        list[(*count)++] = value;
}

static void take_field(struct identify *id, uint64_t field, struct span value)
{
    switch (field) {
    case F_PUBLIC_KEY:
        if (value.len <= IDENTIFY_KEY_MAX)
            id->public_key = value;
        break;
    case F_LISTEN_ADDRS:
        take_list(id->addrs, &id->addr_count, IDENTIFY_ADDRS_MAX, value);
        break;
    case F_PROTOCOLS:
        if (value.len <= IDENTIFY_NAME_MAX)
            take_list(id->protocols, &id->protocol_count, IDENTIFY_PROTOCOLS_MAX, value);
        break;
    case F_OBSERVED:
        id->observed = value;
        break;
    case F_VERSION:
        if (value.len <= IDENTIFY_NAME_MAX)
            id->version = value;
        break;
    case F_AGENT:
        if (value.len <= IDENTIFY_NAME_MAX)
            id->agent = value;
        break;
    case F_SIGNED_RECORD:
        id->signed_record = value;
        break;
    default:
        break;
    }
}

/* The value of a field we know nothing about: its length, or ERR_PROTOCOL. */
static int other_size(struct span in, unsigned type)
{
    uint64_t ignored;
    switch (type) {
    case W_VARINT: {
        int used = uvarint_read_lax(in, &ignored);
        return used < 0 ? ERR_PROTOCOL : used;
    }
    case W_FIXED64:
        return in.len < 8 ? ERR_PROTOCOL : 8;
    case W_FIXED32:
        return in.len < 4 ? ERR_PROTOCOL : 4;
    default:
        return ERR_PROTOCOL;
    }
}

static int read_message(struct identify *id, struct span in)
{
    while (in.len) {
        uint64_t key, len;
        int used = uvarint_read_lax(in, &key);
        if (used < 0 || key >> 3 == 0)
            return ERR_PROTOCOL;
        in = span_from(in, (size_t)used);
        if ((key & 7) != W_BYTES) {
            used = other_size(in, key & 7);
            if (used < 0)
                return used;
            in = span_from(in, (size_t)used);
            continue;
        }
        used = uvarint_read_lax(in, &len);
        if (used < 0 || len > in.len - (size_t)used)
            return ERR_PROTOCOL;
        take_field(id, key >> 3, span_sub(in, (size_t)used, (size_t)len));
        in = span_from(in, (size_t)used + (size_t)len);
    }
    return 0;
}

int identify_finish(struct identify_reader *r, struct identify *ret)
{
    struct span all = buf_span(&r->in);
    if (r->at < all.len)
        return ERR_TRUNCATED;
    memset(ret, 0, sizeof *ret);
    while (all.len) {
        uint64_t len;
        int used = uvarint_read(all, &len);
        assert(used > 0 && len <= all.len - (size_t)used); /* identify_input saw it */
        int err = read_message(ret, span_sub(all, (size_t)used, (size_t)len));
        if (err < 0)
            return err;
        all = span_from(all, (size_t)used + (size_t)len);
    }
    return r->messages ? 0 : ERR_TRUNCATED;
}

bool identify_speaks(const struct identify *id, const char *protocol)
{
    for (unsigned i = 0; i < id->protocol_count; i++)
        if (span_eq_str(id->protocols[i], protocol))
            return true;
    return false;
}
