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

size_t cli_text_width(struct span text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] >> 6 != 2;
    return n;
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
