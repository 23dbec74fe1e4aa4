/* SPDX-License-Identifier: MIT */
#include "store/base/span.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int span_cmp(struct span a, struct span b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    if (c)
        return c;
    return (a.len > b.len) - (a.len < b.len);
}

bool span_starts(struct span s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.len >= n && (n == 0 || memcmp(s.data, prefix, n) == 0);
}

void buf_done(struct buf *b)
{
    free(b->base);
    *b = BUF_INIT;
}

void buf_wipe(struct buf *b)
{
    if (b->base)
        explicit_bzero(b->base, b->cap);
    buf_done(b);
}

void buf_clear(struct buf *b)
{
    b->start = b->end = 0;
}

uint8_t *buf_try_reserve(struct buf *b, size_t len)
{
    if (b->base && len <= b->cap - b->end)
        return b->base + b->end;
    size_t held = buf_len(b);
    if (b->start >= held && len <= b->cap - held && b->base) { /* moving costs no more than was consumed: amortised */
        memcpy(b->base, b->base + b->start, held);
    } else {
        size_t cap = b->cap ? b->cap : 64;
        while (cap - held < len) {
            assert(cap <= SIZE_MAX / 2);
            cap *= 2;
        }
        uint8_t *base = mem_big(cap, 1);
        if (!base)
            return NULL;
        if (held)
            memcpy(base, b->base + b->start, held);
        free(b->base);
        b->base = base;
        b->cap = cap;
    }
    b->start = 0;
    b->end = held;
    return b->base + b->end;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
    uint8_t *at = buf_try_reserve(b, len);
    if (!at)
        abort();
    return at;
}

/* For an addition. NULL: it is left out. */
static uint8_t *room(struct buf *b, size_t len)
{
    if (!b->soft)
        return buf_reserve(b, len);
    uint8_t *at = b->cut ? NULL : buf_try_reserve(b, len);
    b->cut = !at;
    return at;
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    uint8_t *at = len ? room(b, len) : NULL;
    if (!at)
        return;
    memcpy(at, data, len);
    b->end += len;
}

bool buf_try_add(struct buf *b, struct span s)
{
    if (s.len == 0)
        return true;
    uint8_t *at = buf_try_reserve(b, s.len);
    if (!at)
        return false;
    memcpy(at, s.data, s.len);
    b->end += s.len;
    return true;
}

void buf_add_u8(struct buf *b, uint8_t v)
{
    buf_add(b, &v, 1);
}

void buf_add_str(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    assert(n >= 0);
    uint8_t *at = room(b, (size_t)n + 1);
    if (!at)
        n = 0;
    else
        (void)vsnprintf((char *)at, (size_t)n + 1, fmt, again); /* the length is known to fit */
    va_end(again);
    b->end += (size_t)n;
}

const char *buf_cstr(struct buf *b)
{
    uint8_t *at = room(b, 1);
    if (!at)
        return "";
    *at = 0;
    return (const char *)b->base + b->start;
}

void buf_consume(struct buf *b, size_t len)
{
    assert(len <= buf_len(b));
    b->start += len;
    if (b->start == b->end)
        b->start = b->end = 0;
}

void buf_truncate(struct buf *b, size_t len)
{
    assert(len <= buf_len(b));
    b->end = b->start + len;
}

void *mem_big(size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : malloc(bytes ? bytes : 1);
}

void *mem_big_grow(void *p, size_t count, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : realloc(p, bytes ? bytes : 1);
}

void *mem_new(size_t size)
{
    void *p = calloc(1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

void *mem_array(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

void *mem_grow(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        abort();
    p = realloc(p, bytes ? bytes : 1);
    if (!p)
        abort();
    return p;
}

void *mem_copy(const void *data, size_t len)
{
    void *p = mem_grow(NULL, len, 1);
    if (len)
        memcpy(p, data, len);
    return p;
}

char *mem_str(const char *text)
{
    return mem_copy(text, strlen(text) + 1);
}

char *mem_strn(struct span s)
{
    char *p = mem_grow(NULL, s.len + 1, 1);
    if (s.len)
        memcpy(p, s.data, s.len);
    p[s.len] = 0;
    return p;
}
