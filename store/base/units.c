/* SPDX-License-Identifier: MIT */
#include "store/base/units.h"

#include "store/base/err.h"

#include <stdio.h>

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Digits and an optional fraction, in millionths of a unit so that "1.5G" is exact: *ret = number × unit. Bytes used, 0:
 * malformed. */
static size_t number_times(struct span text, uint64_t *ret_whole, uint64_t *ret_millionths)
{
    size_t i = 0;
    uint64_t whole = 0, part = 0, scale = 1000000;
    for (; i < text.len && is_digit(text.data[i]); i++)
        if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, text.data[i] - '0', &whole))
            return 0;
    if (i == 0)
        return 0;
    if (i + 1 < text.len && text.data[i] == '.' && is_digit(text.data[i + 1]))
        for (i++; i < text.len && is_digit(text.data[i]); i++) { /* digits past the sixth do not matter */
            scale /= 10;
            part += (uint64_t)(text.data[i] - '0') * scale;
        }
    *ret_whole = whole;
    *ret_millionths = part;
    return i;
}

static int scale_up(uint64_t whole, uint64_t millionths, uint64_t unit, uint64_t *ret)
{
    unsigned __int128 v = (unsigned __int128)whole * unit + (unsigned __int128)millionths * unit / 1000000;
    if (v > UINT64_MAX)
        return ERR_INVALID;
    *ret = (uint64_t)v;
    return 0;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool same_word(struct span s, const char *word)
{
    size_t i = 0;
    for (; i < s.len && word[i]; i++)
        if (lower(s.data[i]) != (uint8_t)word[i])
            return false;
    return i == s.len && !word[i];
}

/* ---- sizes ---- */

static int size_unit(struct span s, uint64_t *ret)
{
    static const char letters[] = "kmgtp";
    *ret = 1;
    if (s.len == 0 || same_word(s, "b"))
        return 0;
    const char *at = strchr(letters, (char)lower(s.data[0]));
    if (!at || !*at)
        return ERR_INVALID;
    struct span rest = span_from(s, 1);
    uint64_t base = same_word(rest, "b") ? 1000 : 1024;
    if (rest.len != 0 && base == 1024 && !same_word(rest, "i") && !same_word(rest, "ib"))
        return ERR_INVALID;
    for (long i = 0; i <= at - letters; i++)
        *ret *= base;
    return 0;
}

int size_parse(struct span text, uint64_t *ret_bytes)
{
    uint64_t whole, part, unit, bytes;
    if (same_word(text, "none")) {
        *ret_bytes = 0;
        return 0;
    }
    size_t used = number_times(text, &whole, &part);
    if (used == 0)
        return ERR_INVALID;
    struct span rest = span_from(text, used);
    if (rest.len > 1 && rest.data[0] == ' ')
        rest = span_from(rest, 1);
    if (size_unit(rest, &unit) != 0 || (unit == 1 && part != 0) || scale_up(whole, part, unit, &bytes) != 0)
        return ERR_INVALID;
    *ret_bytes = bytes;
    return 0;
}

char *size_text(uint64_t bytes, char text[UNITS_TEXT_SIZE])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int unit = 0;
    double v = (double)bytes;
    while (v >= 999.5 && unit < 6) { /* three digits at most, also after rounding */
        v /= 1024;
        unit++;
    }
    int digits = unit == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
    (void)snprintf(text, UNITS_TEXT_SIZE, "%.*f %s", digits, v, units[unit]); /* fits: 8 characters */
    return text;
}

char *size_text_exact(uint64_t bytes, char text[UNITS_TEXT_SIZE])
{
    static const char *const units[] = {"", "K", "M", "G", "T", "P"};
    int unit = 0;
    while (bytes > 0 && bytes % 1024 == 0 && unit < 5) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(text, UNITS_TEXT_SIZE, "%llu%s", (unsigned long long)bytes, units[unit]); /* fits: 21 characters */
    return text;
}

/* ---- durations ---- */

static const struct {
    const char *name;
    mono_ns ns;
} duration_units[] = {
    {"w", 7 * 86400 * MONO_S},
    {"d", 86400 * MONO_S},
    {"h", 3600 * MONO_S},
    {"m", 60 * MONO_S},
    {"s", MONO_S},
    {"ms", MONO_MS},
    {"us", MONO_US},
    {"ns", 1},
};
#define DURATION_UNITS (sizeof duration_units / sizeof duration_units[0])

static int duration_unit(struct span *text, mono_ns *ret)
{
    size_t n = 0;
    while (n < text->len && !is_digit(text->data[n]))
        n++;
    for (size_t i = 0; i < DURATION_UNITS; i++)
        if (same_word(span_sub(*text, 0, n), duration_units[i].name)) {
            *ret = duration_units[i].ns;
            *text = span_from(*text, n);
            return 0;
        }
    return ERR_INVALID;
}

int duration_parse(struct span text, mono_ns *ret)
{
    mono_ns total = 0;
    if (same_word(text, "none")) {
        *ret = 0;
        return 0;
    }
    bool bare = true; /* only a first number may go without unit */
    do {
        uint64_t whole, part, unit = MONO_S, ns;
        size_t used = number_times(text, &whole, &part);
        if (used == 0)
            return ERR_INVALID;
        text = span_from(text, used);
        if ((text.len > 0 || !bare) && duration_unit(&text, &unit) != 0)
            return ERR_INVALID;
        bare = false;
        if (scale_up(whole, part, unit, &ns) != 0 || __builtin_add_overflow(total, ns, &total))
            return ERR_INVALID;
    } while (text.len > 0);
    *ret = total;
    return 0;
}

char *duration_text(mono_ns d, char text[UNITS_TEXT_SIZE])
{
    size_t at = 0;
    text[0] = 0;
    for (size_t i = 0; i < DURATION_UNITS; i++) { /* the largest units first; all eight fit */
        mono_ns n = d / duration_units[i].ns;
        d %= duration_units[i].ns;
        if (n > 0)
            at += (size_t)snprintf(text + at, UNITS_TEXT_SIZE - at, "%llu%s", (unsigned long long)n, duration_units[i].name);
    }
    if (at == 0)
        (void)snprintf(text, UNITS_TEXT_SIZE, "0s");
    return text;
}
