/* SPDX-License-Identifier: MIT */
#include "fs/node/text_json.h"

#include <stdlib.h>

static bool next_part(struct span *rest, uint8_t end, struct span *ret)
{
    if (rest->len == 0)
        return false;
    const uint8_t *p = memchr(rest->data, end, rest->len);
    size_t n = p ? (size_t)(p - rest->data) : rest->len;
    *ret = span_sub(*rest, 0, n);
    *rest = span_from(*rest, n + 1);
    return true;
}

/* Length of the well-formed UTF-8 sequence at the front; 0: none */
static size_t utf8_len(struct span s)
{
    uint8_t c = s.data[0];
    size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (n == 0 || n > s.len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s.data[i] & 0xc0) != 0x80)
            return 0;
    bool bad = (c == 0xe0 && s.data[1] < 0xa0) || (c == 0xed && s.data[1] > 0x9f) || (c == 0xf0 && s.data[1] < 0x90) ||
               (c == 0xf4 && s.data[1] > 0x8f);
    return bad ? 0 : n;
}

static void add_string(struct buf *out, struct span s)
{
    buf_add_u8(out, '"');
    while (s.len) {
        uint8_t c = s.data[0];
        size_t n = utf8_len(s);
        if (n == 0)
            buf_add_str(out, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20)
            buf_printf(out, "\\u%04x", c);
        else
            buf_add(out, s.data, n);
        s = span_from(s, n ? n : 1);
    }
    buf_add_u8(out, '"');
}

/* -?(0|[1-9][0-9]*)(.[0-9]+)?, short enough to keep its value as a double */
static bool is_number(struct span s)
{
    size_t i = 0, digits = 0;
    if (i < s.len && s.data[i] == '-')
        i++;
    size_t first = i;
    while (i < s.len && s.data[i] >= '0' && s.data[i] <= '9')
        i++;
    digits = i - first;
    if (digits == 0 || digits > 15 || (digits > 1 && s.data[first] == '0'))
        return false;
    if (i == s.len)
        return true;
    if (s.data[i++] != '.' || i == s.len)
        return false;
    while (i < s.len && s.data[i] >= '0' && s.data[i] <= '9')
        i++;
    return i == s.len;
}

static void add_value(struct buf *out, struct span s)
{
    if (is_number(s))
        buf_add_span(out, s);
    else
        add_string(out, s);
}

static void add_rows(struct buf *out, struct span header, struct span rest)
{
    struct span line, key, value;
    const char *between = "";
    buf_add_u8(out, '[');
    while (next_part(&rest, '\n', &line)) {
        struct span keys = header, values = line;
        buf_printf(out, "%s{", between);
        const char *comma = "";
        while (next_part(&keys, '\t', &key) && next_part(&values, '\t', &value)) {
            buf_add_str(out, comma);
            add_string(out, key);
            buf_add_u8(out, ':');
            add_value(out, value);
            comma = ",";
        }
        buf_add_u8(out, '}');
        between = ",\n";
    }
    buf_add_str(out, "]\n");
}

static void split(struct span line, struct span *key, struct span *value)
{
    const uint8_t *tab = line.len ? memchr(line.data, '\t', line.len) : NULL;
    *key = tab ? span_of(line.data, (size_t)(tab - line.data)) : span_str("text");
    *value = tab ? span_from(line, (size_t)(tab - line.data) + 1) : line;
}

/* How many lines of `text` have this key; their values are appended when `out` is given. */
static size_t collect(struct span text, struct span key, struct buf *out)
{
    struct span line, k, v;
    size_t n = 0;
    while (next_part(&text, '\n', &line)) {
        split(line, &k, &v);
        if (line.len == 0 || !span_eq(k, key))
            continue;
        if (out) {
            buf_add_str(out, n ? "," : "");
            add_value(out, v);
        }
        n++;
    }
    return n;
}

static void add_object(struct buf *out, struct span text)
{
    struct span rest = text, line, key, value;
    const char *between = "";
    buf_add_u8(out, '{');
    while (next_part(&rest, '\n', &line)) {
        if (line.len == 0)
            continue;
        split(line, &key, &value);
        struct span before = span_of(text.data, (size_t)(line.data - text.data));
        if (collect(before, key, NULL) > 0)
            continue; /* told with the first of them */
        bool many = collect(text, key, NULL) > 1;
        buf_add_str(out, between);
        add_string(out, key);
        buf_add_str(out, many ? ":[" : ":");
        collect(text, key, out);
        if (many)
            buf_add_u8(out, ']');
        between = ",\n";
    }
    buf_add_str(out, "}\n");
}

void text_to_json(struct span text, struct buf *out)
{
    struct span rest = text, line;
    if (text.len > 1 && text.data[0] == '#' && next_part(&rest, '\n', &line)) {
        struct span header = span_from(line, line.len > 1 && line.data[1] == ' ' ? 2 : 1);
        add_rows(out, header, rest);
    } else {
        add_object(out, text);
    }
}
