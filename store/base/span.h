/* SPDX-License-Identifier: MIT
 *
 * struct span borrows bytes, struct buf owns them, struct cursor reads them. Nothing here is shared between threads.
 *
 * A buf is a queue of bytes: bytes are appended at the end and consumed from the front; both are amortised O(1). Small
 * allocations abort on failure (RAM is fixed and does not fail); what grows with remote input must be bounded by its
 * owner, with a *_MAX or the memory budget, before it is appended.
 */
#ifndef STORE_BASE_SPAN_H
#define STORE_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data;
    size_t len;
};

#define SPAN_NONE ((struct span){NULL, 0})

static inline struct span span_of(const void *data, size_t len)
{
    return (struct span){data, len};
}

static inline struct span span_str(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* The part from `from` (clamped) of at most `len` bytes. */
static inline struct span span_sub(struct span s, size_t from, size_t len)
{
    if (from > s.len)
        from = s.len;
    if (len > s.len - from)
        len = s.len - from;
    return (struct span){s.data ? s.data + from : NULL, len};
}

static inline struct span span_from(struct span s, size_t from)
{
    return span_sub(s, from, s.len);
}

static inline bool span_eq(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* memcmp order, the shorter first when one is a prefix of the other. */
int span_cmp(struct span a, struct span b);

static inline bool span_eq_str(struct span a, const char *text)
{
    return span_eq(a, span_str(text));
}

bool span_starts(struct span s, const char *prefix);

/* ---- buf ---- */

struct buf {
    uint8_t *base; /* allocation, NULL when empty */
    size_t start;  /* first byte not consumed */
    size_t end;    /* one past the last byte */
    size_t cap;
    bool soft; /* an addition for which there is no memory does not abort: it is left out, and so is all that follows */
    bool cut;  /* that has happened */
};

/* Bytes that are lent to somebody who needs them later: he calls `done` once, when he has used them or will not. */
struct loan {
    struct span data;
    void (*done)(void *arg);
    void *arg;
};

#define BUF_INIT ((struct buf){.base = NULL})
#define BUF_SOFT ((struct buf){.soft = true}) /* for a text of many small additions: look at `cut` in the end */

void buf_done(struct buf *b);  /* frees; the buf is empty and usable afterwards, not soft */
void buf_wipe(struct buf *b);  /* overwrites, then frees: for secrets */
void buf_clear(struct buf *b); /* keeps the allocation */

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}

static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->base ? b->base + b->start : NULL, b->end - b->start};
}

/* Room for `len` bytes at the end; write there, then buf_commit what was written. */
uint8_t *buf_reserve(struct buf *b, size_t len);
uint8_t *buf_try_reserve(struct buf *b, size_t len); /* the same for big ones; NULL, and nothing has changed: no memory */
static inline void buf_commit(struct buf *b, size_t len)
{
    b->end += len;
}

void buf_add(struct buf *b, const void *data, size_t len);
bool buf_try_add(struct buf *b, struct span s); /* false, and nothing has changed: no memory */
static inline void buf_add_span(struct buf *b, struct span s)
{
    buf_add(b, s.data, s.len);
}
void buf_add_u8(struct buf *b, uint8_t v);
void buf_add_str(struct buf *b, const char *text); /* without the NUL */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *buf_cstr(struct buf *b);          /* NUL after the end, not counted; valid until the next call */
void buf_consume(struct buf *b, size_t len);  /* len ≤ buf_len */
void buf_truncate(struct buf *b, size_t len); /* keeps the first len bytes; len ≤ buf_len */

/* ---- memory that may fail: big buffers of a request or a connection, which is refused, waits or takes less ---- */

void *mem_big(size_t count, size_t size);               /* not zeroed; NULL: there is none */
void *mem_big_grow(void *p, size_t count, size_t size); /* realloc of an array; NULL: there is none, p is as it was */

/* ---- memory that does not fail ---- */

void *mem_new(size_t size);                         /* zeroed; aborts when there is none */
void *mem_array(size_t count, size_t size);         /* zeroed, overflow checked */
void *mem_grow(void *p, size_t count, size_t size); /* realloc of an array, overflow checked; new part not zeroed */
void *mem_copy(const void *data, size_t len);       /* len 0 gives a valid pointer */
char *mem_str(const char *text);
char *mem_strn(struct span s); /* as a C string; bytes after an inner NUL are invisible to str* */
#define MEM_NEW(type) ((type *)mem_new(sizeof(type)))

#endif
