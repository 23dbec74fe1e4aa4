/* SPDX-License-Identifier: MIT */
#include "fs/inode/inode.h"

#include <assert.h>
#include <stdlib.h>

#define ROOT_NUMBER 1
#define SLOT_BITS   32

struct inode_table {
    struct budget *budget;
    void *owner;
    void (*on_free)(void *owner, struct inode *i);
    struct inode **slots; /* slot → inode; free slots hold NULL */
    uint32_t *uses;       /* of each slot before this one */
    uint32_t *free_slots; /* a stack */
    size_t slot_cap, slot_count, free_count;
    struct inode **buckets;
    size_t bucket_count; /* a power of two */
    uint64_t count, bytes, made;
};

#define BUCKETS_FIRST 1024

/* FNV-1a, then a finaliser: keys are short, and those that strangers choose (CIDs) are hashes already */
static uint64_t mix(const struct inode_key *k)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ ((uint64_t)k->kind << 32 | k->sub);
    for (size_t i = 0; i < k->key.len; i++)
        h = (h ^ k->key.data[i]) * UINT64_C(0x100000001b3);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return h ^ h >> 32;
}

uint64_t inode_st_ino(const struct inode_key *k)
{
    return mix(k) | 1; /* never 0: that means "no file" in listings */
}

struct inode_table *inode_table_new(struct budget *budget, void *owner, void (*on_free)(void *owner, struct inode *i))
{
    struct inode_table *t = MEM_NEW(struct inode_table);
    t->budget = budget;
    t->owner = owner;
    t->on_free = on_free;
    t->bucket_count = BUCKETS_FIRST;
    t->buckets = mem_array(t->bucket_count, sizeof *t->buckets);
    return t;
}

static size_t cost(const struct inode *i)
{
    return sizeof *i + i->key_len + 2 * sizeof(void *) + 2 * sizeof(uint32_t);
}

static void charge(struct inode_table *t, size_t bytes)
{
    t->bytes += bytes;
    if (t->budget)
        budget_take_always(t->budget, BUDGET_TABLE, bytes); /* the pruner bounds it */
}

static void give_back(struct inode_table *t, size_t bytes)
{
    t->bytes -= bytes;
    if (t->budget)
        budget_give(t->budget, BUDGET_TABLE, bytes);
}

static size_t place_cost(const struct inode_place *p)
{
    return p ? sizeof *p + strlen(p->name) + 1 + 2 * sizeof(void *) : 0;
}

static void release(struct inode_table *t, struct inode *i)
{
    t->on_free(t->owner, i);
    give_back(t, cost(i) + place_cost(i->place));
    free(i->place);
    free(i);
}

void inode_set_place(struct inode_table *t, struct inode *i, uint64_t dir, const char *name)
{
    if (i->place && i->place->dir == dir && strcmp(i->place->name, name) == 0)
        return;
    size_t len = strlen(name) + 1;
    give_back(t, place_cost(i->place));
    free(i->place);
    i->place = mem_new(sizeof *i->place + len);
    i->place->dir = dir;
    memcpy(i->place->name, name, len);
    charge(t, place_cost(i->place));
}

struct inode_table *inode_table_free(struct inode_table *t)
{
    if (!t)
        return NULL;
    for (size_t i = 0; i < t->slot_count; i++)
        if (t->slots[i])
            release(t, t->slots[i]);
    free(t->slots);
    free(t->uses);
    free(t->free_slots);
    free(t->buckets);
    free(t);
    return NULL;
}

static void rehash(struct inode_table *t)
{
    size_t count = t->bucket_count * 2;
    struct inode **buckets = mem_big(count, sizeof *buckets);
    if (!buckets)
        return; /* the chains are longer until there is memory */
    memset(buckets, 0, count * sizeof *buckets);
    for (size_t b = 0; b < t->bucket_count; b++) {
        struct inode *i = t->buckets[b];
        while (i) {
            struct inode *next = i->next;
            struct inode_key k = {i->kind, i->sub, inode_key_span(i)};
            struct inode **at = &buckets[mix(&k) & (count - 1)];
            i->next = *at;
            *at = i;
            i = next;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->bucket_count = count;
}

static size_t slot_of(uint64_t number)
{
    return (uint32_t)number - (size_t)ROOT_NUMBER; /* of 0: none, too large */
}

static size_t take_slot(struct inode_table *t)
{
    if (t->free_count > 0)
        return t->free_slots[--t->free_count];
    if (t->slot_count == t->slot_cap) {
        t->slot_cap = t->slot_cap ? t->slot_cap * 2 : 256;
        t->slots = mem_grow(t->slots, t->slot_cap, sizeof *t->slots);
        t->uses = mem_grow(t->uses, t->slot_cap, sizeof *t->uses);
        t->free_slots = mem_grow(t->free_slots, t->slot_cap, sizeof *t->free_slots);
    }
    t->uses[t->slot_count] = 0;
    return t->slot_count++;
}

struct inode *inode_find(const struct inode_table *t, const struct inode_key *k)
{
    struct inode *i = t->buckets[mix(k) & (t->bucket_count - 1)];
    while (i && (i->kind != k->kind || i->sub != k->sub || !span_eq(inode_key_span(i), k->key)))
        i = i->next;
    return i;
}

struct inode *inode_get(struct inode_table *t, const struct inode_key *k)
{
    struct inode *i = inode_find(t, k);
    if (i)
        return i;
    assert(k->key.len <= UINT16_MAX);
    if (t->count >= t->bucket_count)
        rehash(t);
    i = mem_new(sizeof *i + k->key.len);
    i->kind = (uint8_t)k->kind;
    i->sub = (uint16_t)k->sub;
    i->key_len = (uint16_t)k->key.len;
    if (k->key.len)
        memcpy(i->key, k->key.data, k->key.len);
    size_t slot = take_slot(t);
    i->number = (uint64_t)t->uses[slot] << SLOT_BITS | (slot + ROOT_NUMBER);
    t->slots[slot] = i;
    struct inode **at = &t->buckets[mix(k) & (t->bucket_count - 1)];
    i->next = *at;
    *at = i;
    t->count++;
    t->made++;
    i->used = true;
    charge(t, cost(i));
    return i;
}

struct inode *inode_make_root(struct inode_table *t, const struct inode_key *k)
{
    assert(t->slot_count == 0);
    struct inode *i = inode_get(t, k);
    assert(i->number == ROOT_NUMBER);
    inode_hold(i);
    return i;
}

struct inode *inode_by_number(const struct inode_table *t, uint64_t number)
{
    size_t slot = slot_of(number);
    struct inode *i = slot < t->slot_count ? t->slots[slot] : NULL;
    return i && i->number == number ? i : NULL;
}

void inode_settle(struct inode_table *t, struct inode *i)
{
    if (i->lookups > 0 || i->handles > 0)
        return;
    struct inode_key k = {i->kind, i->sub, inode_key_span(i)};
    struct inode **at = &t->buckets[mix(&k) & (t->bucket_count - 1)];
    while (*at != i)
        at = &(*at)->next;
    *at = i->next;
    size_t slot = slot_of(i->number);
    t->slots[slot] = NULL;
    t->uses[slot]++;
    t->free_slots[t->free_count++] = (uint32_t)slot;
    t->count--;
    release(t, i);
}

void inode_hold(struct inode *i)
{
    i->handles++;
}

void inode_unhold(struct inode_table *t, struct inode *i)
{
    assert(i->handles > 0);
    i->handles--;
    inode_settle(t, i);
}

void inode_forget(struct inode_table *t, struct inode *i, uint64_t count)
{
    i->lookups -= count < i->lookups ? count : i->lookups; /* never below: the kernel's count is its own affair */
    inode_settle(t, i);
}

uint64_t inode_count(const struct inode_table *t)
{
    return t->count;
}

struct inode *inode_walk(const struct inode_table *t, size_t *at)
{
    while (*at < t->slot_count) {
        struct inode *i = t->slots[(*at)++];
        if (i)
            return i;
    }
    *at = 0;
    return NULL;
}

uint64_t inode_bytes(const struct inode_table *t)
{
    return t->bytes;
}

uint64_t inode_made(const struct inode_table *t)
{
    return t->made;
}
