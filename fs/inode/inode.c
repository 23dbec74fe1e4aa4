/* SPDX-License-Identifier: MIT */
#include "fs/inode/inode.h"

#include <assert.h>
#include <stdlib.h>

#define ROOT_NUMBER 1
#define SLOT_BITS   32

#define SLOT_CHUNK 1024

struct slot {
    struct inode *inode; /* NULL: free */
    uint32_t uses;       /* of the slot before this one */
    uint32_t next_free;  /* + 1 */
};

struct inode_table {
    struct budget *budget;
    void *owner;
    void (*on_free)(void *owner, struct inode *i);
    struct slot **chunks; /* of SLOT_CHUNK slots each, which stay where they are: no piece is big, however many there are */
    size_t chunk_cap, slot_count;
    uint32_t free_slot; /* + 1: the one that was freed last; 0: none */
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
    return sizeof *i + i->key_len + sizeof(void *) + sizeof(struct slot);
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

static struct slot *slot_at(const struct inode_table *t, size_t i)
{
    return &t->chunks[i / SLOT_CHUNK][i % SLOT_CHUNK];
}

struct inode_table *inode_table_free(struct inode_table *t)
{
    if (!t)
        return NULL;
    for (size_t i = 0; i < t->slot_count; i++)
        if (slot_at(t, i)->inode)
            release(t, slot_at(t, i)->inode);
    for (size_t i = 0; i < t->slot_count; i += SLOT_CHUNK)
        free(t->chunks[i / SLOT_CHUNK]);
    free(t->chunks);
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
    if (t->free_slot) {
        size_t slot = t->free_slot - 1;
        t->free_slot = slot_at(t, slot)->next_free;
        return slot;
    }
    size_t chunk = t->slot_count / SLOT_CHUNK;
    if (t->slot_count % SLOT_CHUNK == 0) {
        if (chunk == t->chunk_cap) {
            t->chunk_cap = t->chunk_cap ? t->chunk_cap * 2 : 16;
            t->chunks = mem_grow(t->chunks, t->chunk_cap, sizeof(struct slot *)); /* of 8 million inodes 64 KiB */
        }
        t->chunks[chunk] = mem_array(SLOT_CHUNK, sizeof(struct slot));
    }
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
    i->number = (uint64_t)slot_at(t, slot)->uses << SLOT_BITS | (slot + ROOT_NUMBER);
    slot_at(t, slot)->inode = i;
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
    struct inode *i = slot < t->slot_count ? slot_at(t, slot)->inode : NULL;
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
    size_t number = slot_of(i->number);
    struct slot *slot = slot_at(t, number);
    *slot = (struct slot){.uses = slot->uses + 1, .next_free = t->free_slot};
    t->free_slot = (uint32_t)number + 1;
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
        struct inode *i = slot_at(t, (*at)++)->inode;
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
