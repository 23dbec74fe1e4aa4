/* SPDX-License-Identifier: MIT */
#include "store/unixfs/entryset.h"

#include <assert.h>
#include <stdlib.h>

void entryset_done(struct entryset *s)
{
    buf_done(&s->arena);
    free(s->index);
    *s = (struct entryset){0};
}

void entryset_clear(struct entryset *s)
{
    buf_clear(&s->arena);
    s->count = 0;
}

int entryset_add(struct entryset *s, struct span name, const struct cid *cid, uint64_t tsize, uint64_t hash)
{
    assert(name.len <= UINT8_MAX);
    if (!buf_try_reserve(&s->arena, 2 + (cid ? cid->len : 0) + name.len))
        return ERR_NO_MEMORY;
    if (s->count == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        struct entryset_slot *index = mem_big_grow(s->index, cap, sizeof *index);
        if (!index)
            return ERR_NO_MEMORY;
        s->index = index;
        s->cap = cap;
    }
    s->index[s->count++] = (struct entryset_slot){hash, tsize, buf_len(&s->arena)};
    buf_add_u8(&s->arena, cid ? cid->len : 0);
    if (cid)
        buf_add_span(&s->arena, cid_span(cid));
    buf_add_u8(&s->arena, (uint8_t)name.len);
    buf_add_span(&s->arena, name);
    return 0;
}

static struct span slot_cid(const struct entryset *s, const struct entryset_slot *slot)
{
    const uint8_t *p = buf_span(&s->arena).data + slot->at;
    return span_of(p + 1, p[0]);
}

static struct span slot_name(const struct entryset *s, const struct entryset_slot *slot)
{
    const uint8_t *p = buf_span(&s->arena).data + slot->at;
    p += 1 + p[0];
    return span_of(p + 1, p[0]);
}

struct span entryset_name(const struct entryset *s, size_t i)
{
    return slot_name(s, &s->index[i]);
}

void entryset_get(const struct entryset *s, size_t i, struct entryset_item *ret)
{
    const struct entryset_slot *slot = &s->index[i];
    struct span cid = slot_cid(s, slot);
    *ret = (struct entryset_item){.hash = slot->hash, .name = slot_name(s, slot), .tsize = slot->tsize};
    if (!cid.len)
        return;
    int err = cid_parse(cid, &ret->cid);
    assert(!err); /* it was a struct cid */
    (void)err;
}

size_t entryset_bytes(const struct entryset *s)
{
    return buf_len(&s->arena) + s->count * sizeof s->index[0];
}

static int cmp_hash(const void *pa, const void *pb, void *set)
{
    const struct entryset_slot *a = pa, *b = pb;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return span_cmp(slot_name(set, a), slot_name(set, b));
}

static int cmp_name(const void *a, const void *b, void *set)
{
    return span_cmp(slot_name(set, a), slot_name(set, b));
}

void entryset_sort_hash(struct entryset *s)
{
    if (s->count)
        qsort_r(s->index, s->count, sizeof s->index[0], cmp_hash, s);
}

void entryset_sort_name(struct entryset *s)
{
    if (s->count)
        qsort_r(s->index, s->count, sizeof s->index[0], cmp_name, s);
}

size_t entryset_from(const struct entryset *s, uint64_t hash)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->index[mid].hash < hash)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

size_t entryset_find(const struct entryset *s, uint64_t hash, struct span name)
{
    for (size_t i = entryset_from(s, hash); i < s->count && s->index[i].hash == hash; i++)
        if (span_eq(entryset_name(s, i), name))
            return i;
    return s->count;
}

static size_t slot_bytes(const struct entryset *s, const struct entryset_slot *slot)
{
    return 2 + slot_cid(s, slot).len + slot_name(s, slot).len;
}

int entryset_keep(struct entryset *s, size_t n)
{
    struct buf kept = BUF_INIT;
    size_t bytes = 0;
    assert(n <= s->count);
    for (size_t i = 0; i < n; i++)
        bytes += slot_bytes(s, &s->index[i]);
    if (!buf_try_reserve(&kept, bytes))
        return ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        struct entryset_slot *slot = &s->index[i];
        size_t len = slot_bytes(s, slot);
        const uint8_t *from = buf_span(&s->arena).data + slot->at;
        slot->at = buf_len(&kept);
        buf_add(&kept, from, len);
    }
    buf_done(&s->arena);
    s->arena = kept;
    s->count = n;
    return 0;
}
