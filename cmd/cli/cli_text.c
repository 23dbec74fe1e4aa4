/* SPDX-License-Identifier: MIT */
#include "cmd/cli/cli_text.h"

#include <ctype.h>
#include <stdio.h>

char *cli_text_seconds(double s, char out[CLI_TEXT_SIZE])
{
    uint64_t n = s < 0 ? 0 : (uint64_t)(s + 0.5);
    if (s < 0.9995)
        snprintf(out, CLI_TEXT_SIZE, s < 0.01 ? "%.1f ms" : "%.0f ms", s < 0 ? 0.0 : s * 1000);
    else if (s < 9.95)
        snprintf(out, CLI_TEXT_SIZE, "%.1f s", s);
    else if (n < 60)
        snprintf(out, CLI_TEXT_SIZE, "%u s", (unsigned)n);
    else if (n < 3600)
        snprintf(out, CLI_TEXT_SIZE, "%u min %u s", (unsigned)(n / 60), (unsigned)(n % 60));
    else if (n < 86400)
        snprintf(out, CLI_TEXT_SIZE, "%u h %u min", (unsigned)(n / 3600), (unsigned)(n % 3600 / 60));
    else
        snprintf(out, CLI_TEXT_SIZE, "%llu d %u h", (unsigned long long)(n / 86400), (unsigned)(n % 86400 / 3600));
    return out;
}

/* Length of the well-formed UTF-8 sequence at the front, 0 when there is none. C1 controls count as none: they act. */
static size_t utf8_length(struct span s)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t b = s.data[0];
    size_t n = b < 0x80 ? 1 : b >> 5 == 6 ? 2 : b >> 4 == 14 ? 3 : b >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > s.len)
        return 0;
    uint32_t v = n == 1 ? b : b & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (s.data[i] >> 6 != 2)
            return 0;
        v = v << 6 | (s.data[i] & 0x3f);
    }
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000) || (v >= 0x80 && v < 0xa0))
        return 0;
    if ((v >= 0x202a && v <= 0x202e) || (v >= 0x2066 && v <= 0x2069)) /* text direction: hides what a name is */
        return 0;
    return n;
}

static void add_escaped(struct buf *out, uint8_t b)
{
    if (b == '\n')
        buf_add_str(out, "\\n");
    else if (b == '\t')
        buf_add_str(out, "\\t");
    else if (b == '\\')
        buf_add_str(out, "\\\\");
    else
        buf_printf(out, "\\x%02x", b);
}

void cli_text_escape(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len;) {
        uint8_t b = text.data[i];
        size_t n = utf8_length(span_from(text, i));
        if (n == 0 || b < 0x20 || b == 0x7f || b == '\\') {
            add_escaped(out, b);
            i++;
            continue;
        }
        buf_add(out, text.data + i, n);
        i += n;
    }
}

/* Columns of one character. Ranges after Unicode's EastAsianWidth (W, F) and general category Mn, coarse: a terminal that
 * differs shows a line that is a little short or long. */
static size_t columns_of(uint32_t v)
{
    static const struct {
        uint32_t first, last;
        size_t columns;
    } ranges[] = {
        {0x0300, 0x036f, 0},   {0x200b, 0x200f, 0},   {0xfe00, 0xfe0f, 0},   {0x1100, 0x115f, 2}, {0x2e80, 0xa4cf, 2},
        {0xac00, 0xd7a3, 2},   {0xf900, 0xfaff, 2},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2}, {0xffe0, 0xffe6, 2},
        {0x1f300, 0x1f64f, 2}, {0x1f900, 0x1f9ff, 2}, {0x20000, 0x3fffd, 2},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (v >= ranges[i].first && v <= ranges[i].last)
            return ranges[i].columns;
    return 1;
}

/* The character at `*at`, which moves behind it; a byte that begins none counts for itself. */
static size_t next_columns(struct span text, size_t *at)
{
    size_t n = utf8_length(span_from(text, *at));
    uint32_t v = text.data[*at];
    if (n > 1) {
        v &= 0x7fu >> n;
        for (size_t i = 1; i < n; i++)
            v = v << 6 | (text.data[*at + i] & 0x3f);
    }
    *at += n ? n : 1;
    return n ? columns_of(v) : 1;
}

size_t cli_text_width(struct span text)
{
    size_t columns = 0;
    for (size_t at = 0; at < text.len;)
        columns += next_columns(text, &at);
    return columns;
}

size_t cli_text_prefix(struct span text, size_t columns)
{
    size_t at = 0, have = 0;
    while (at < text.len) {
        size_t end = at;
        have += next_columns(text, &end);
        if (have > columns)
            break;
        at = end;
    }
    return at;
}

void cli_text_fit(struct buf *out, struct span name, struct span rest, size_t columns)
{
    size_t wide = cli_text_width(name), other = cli_text_width(rest);
    size_t room = columns > other + CLI_TEXT_NAME ? columns - other : columns < CLI_TEXT_NAME ? columns : CLI_TEXT_NAME;
    if (wide > room) {
        size_t cut = 0;
        while (cut < name.len && wide >= room) /* one column is for the sign */
            wide -= next_columns(name, &cut);
        buf_add_str(out, room ? "…" : "");
        name = span_from(name, cut);
        wide += room > 0;
    }
    buf_add_span(out, name);
    buf_add_span(out, span_sub(rest, 0, cli_text_prefix(rest, columns - wide)));
}

void cli_text_url(struct buf *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (isascii(*p) && (isalnum(*p) || strchr("-._~/", *p)))
            buf_add_u8(out, *p);
        else
            buf_printf(out, "%%%02X", *p);
    }
}
