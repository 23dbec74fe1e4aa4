/* SPDX-License-Identifier: MIT
 *
 * Multibase: one table of bases. Powers of two go bit by bit (RFC 4648 without padding); 36 and 58 are one big number,
 * whose leading zero bytes are leading zero digits. Pure functions, any thread.
 *
 * As the multibase case files have it, bases whose alphabet has one case only (hex, base32, base36) decode both cases,
 * whatever the case of the prefix. Unused bits must be zero, so that one text has one meaning (RFC 4648 section 3.5).
 */
#include "store/content/multibase.h"

#include "store/base/err.h"

#include <assert.h>
#include <stdlib.h>

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

struct base {
    char prefix;
    uint8_t bits; /* per character; 0: a big number */
    uint8_t radix;
    bool one_case;
    const char *alphabet;
};

static const struct base bases[] = {
    {'b', 5, 32, true, LOWER "234567"},
    {'B', 5, 32, true, UPPER "234567"},
    {'k', 0, 36, true, DIGITS LOWER},
    {'K', 0, 36, true, DIGITS UPPER},
    {'z', 0, 58, false, "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"},
    {'f', 4, 16, true, DIGITS "abcdef"},
    {'F', 4, 16, true, DIGITS "ABCDEF"},
    {'u', 6, 64, false, UPPER LOWER DIGITS "-_"},
    {'m', 6, 64, false, UPPER LOWER DIGITS "+/"},
};

static const struct base *base_find(char prefix)
{
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++)
        if (bases[i].prefix == prefix)
            return &bases[i];
    return NULL;
}

/* ---- powers of two ---- */

static void bits_encode(struct buf *out, const struct base *b, struct span data)
{
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < data.len; i++) {
        held = (held << 8 | data.data[i]) & 0xffff;
        for (bits += 8; bits >= b->bits; bits -= b->bits)
            buf_add_u8(out, (uint8_t)b->alphabet[held >> (bits - b->bits) & (b->radix - 1U)]);
    }
    if (bits)
        buf_add_u8(out, (uint8_t)b->alphabet[held << (b->bits - bits) & (b->radix - 1U)]);
}

static int bits_decode(struct buf *out, const struct base *b, const uint8_t *values, size_t len)
{
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < len; i++) {
        held = (held << b->bits | values[i]) & 0xffff;
        bits += b->bits;
        if (bits >= 8) {
            bits -= 8;
            buf_add_u8(out, (uint8_t)(held >> bits));
        }
    }
    /* A whole unused character, or unused bits that are not zero, would be a second text for the same bytes. */
    if (bits >= b->bits || (held & ((1U << bits) - 1)) != 0)
        return ERR_INVALID;
    return 0;
}

/* ---- big numbers, most significant digit first ---- */

/* Converts between radices: `to` takes room digits, right-aligned. Returns how many leading digits of `to` are unused. */
static size_t radix_convert(const uint8_t *from, size_t len, unsigned from_radix, uint8_t *to, size_t room, unsigned to_radix)
{
    size_t first = room;
    for (size_t i = 0; i < len; i++) {
        unsigned carry = from[i];
        size_t at = room;
        while (at > first || carry) {
            assert(at > 0);
            at--;
            carry += (at >= first ? to[at] : 0U) * from_radix;
            to[at] = (uint8_t)(carry % to_radix);
            carry /= to_radix;
        }
        if (at < first)
            first = at;
    }
    return first;
}

static size_t leading_zeros(const uint8_t *digits, size_t len)
{
    size_t n = 0;
    while (n < len && digits[n] == 0)
        n++;
    return n;
}

static void number_encode(struct buf *out, const struct base *b, struct span data)
{
    size_t zeros = leading_zeros(data.data, data.len);
    size_t room = (data.len - zeros) * 8 / 5 + 2; /* 36 and 58 carry more than 5 bits a digit */
    uint8_t *digits = mem_new(room);
    size_t first = radix_convert(data.data + zeros, data.len - zeros, 256, digits, room, b->radix);
    for (size_t i = 0; i < zeros; i++)
        buf_add_u8(out, (uint8_t)b->alphabet[0]);
    for (size_t i = first; i < room; i++)
        buf_add_u8(out, (uint8_t)b->alphabet[digits[i]]);
    free(digits);
}

static void number_decode(struct buf *out, const struct base *b, const uint8_t *values, size_t len)
{
    uint8_t bytes[MULTIBASE_TEXT_MAX];
    size_t zeros = leading_zeros(values, len);
    size_t first = radix_convert(values + zeros, len - zeros, b->radix, bytes, sizeof bytes, 256);
    for (size_t i = 0; i < zeros; i++)
        buf_add_u8(out, 0);
    buf_add(out, bytes + first, sizeof bytes - first);
}

/* ---- both ---- */

static int char_value(const struct base *b, uint8_t c)
{
    for (unsigned i = 0; i < b->radix; i++) {
        uint8_t a = (uint8_t)b->alphabet[i];
        bool letter = (a >= 'a' && a <= 'z') || (a >= 'A' && a <= 'Z');
        if (a == c || (b->one_case && letter && (a ^ 0x20) == c))
            return (int)i;
    }
    return -1;
}

static void base_encode(struct buf *out, const struct base *b, struct span data)
{
    if (b->bits)
        bits_encode(out, b, data);
    else if (data.len)
        number_encode(out, b, data);
}

static int base_decode(struct buf *out, const struct base *b, struct span text)
{
    uint8_t values[MULTIBASE_TEXT_MAX];
    if (text.len > sizeof values)
        return ERR_INVALID;
    for (size_t i = 0; i < text.len; i++) {
        int v = char_value(b, text.data[i]);
        if (v < 0)
            return ERR_INVALID;
        values[i] = (uint8_t)v;
    }
    if (!b->bits) {
        number_decode(out, b, values, text.len);
        return 0;
    }
    size_t before = buf_len(out);
    int err = bits_decode(out, b, values, text.len);
    if (err)
        buf_truncate(out, before);
    return err;
}

void multibase_encode(struct buf *out, char base, struct span data)
{
    const struct base *b = base_find(base);
    assert(b);
    buf_add_u8(out, (uint8_t)base);
    base_encode(out, b, data);
}

void base58btc_encode(struct buf *out, struct span data)
{
    base_encode(out, base_find('z'), data);
}

int multibase_decode(struct buf *out, struct span text)
{
    const struct base *b = text.len ? base_find((char)text.data[0]) : NULL;
    if (!b)
        return ERR_INVALID;
    return base_decode(out, b, span_from(text, 1));
}

int base58btc_decode(struct buf *out, struct span text)
{
    return base_decode(out, base_find('z'), text);
}

bool multibase_has(char base)
{
    return base_find(base) != NULL;
}

size_t multibase_foreign(char base, struct span text)
{
    const struct base *b = base_find(base);
    size_t i = 0;
    while (i < text.len && b && char_value(b, text.data[i]) >= 0)
        i++;
    return b ? i : text.len;
}
