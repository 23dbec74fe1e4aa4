/* SPDX-License-Identifier: MIT */
#include "tests/lib/short_memory.h"

#include "store/base/span.h"

_Atomic size_t short_memory_from = SIZE_MAX;
_Atomic unsigned short_memory_refused;

/* Names that the linker makes of --wrap */
void *__real_mem_big(size_t count, size_t size);
void *__wrap_mem_big(size_t count, size_t size);
void *__real_mem_big_grow(void *p, size_t count, size_t size);
void *__wrap_mem_big_grow(void *p, size_t count, size_t size);
uint8_t *__real_buf_try_reserve(struct buf *b, size_t len);
uint8_t *__wrap_buf_try_reserve(struct buf *b, size_t len);

static bool refused(size_t bytes)
{
    bool is = bytes >= atomic_load(&short_memory_from);
    short_memory_refused += is;
    return is;
}

void *__wrap_mem_big(size_t count, size_t size)
{
    return refused(count * size) ? NULL : __real_mem_big(count, size);
}

void *__wrap_mem_big_grow(void *p, size_t count, size_t size)
{
    return refused(count * size) ? NULL : __real_mem_big_grow(p, count, size);
}

uint8_t *__wrap_buf_try_reserve(struct buf *b, size_t len)
{
    bool fits = b->base && b->cap - b->end >= len;
    return !fits && refused(buf_len(b) + len) ? NULL : __real_buf_try_reserve(b, len);
}
