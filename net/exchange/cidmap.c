/* SPDX-License-Identifier: MIT */
#include "net/exchange/cidmap.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>

_Static_assert(CIDMAP_KEY_SIZE == crypto_shorthash_KEYBYTES, "SipHash key");

void cidmap_init(struct cidmap *m, const uint8_t key[CIDMAP_KEY_SIZE])
{
    *m = (struct cidmap){0};
    memcpy(m->key, key, CIDMAP_KEY_SIZE);
}

void cidmap_done(struct cidmap *m)
{
    free(m->buckets);
    m->buckets = NULL;
    m->bucket_count = m->count = 0;
}

uint64_t cidmap_hash(const struct cidmap *m, const struct cid *c)
{
    struct span s = cid_hash(c);
    uint64_t h;
    _Static_assert(sizeof h == crypto_shorthash_BYTES, "SipHash size");
    (void)crypto_shorthash((uint8_t *)&h, s.data, s.len, m->key); /* always 0 */
    return h;
}

void *cidnode_new(const struct cidmap *m, size_t size, size_t node_at, const struct cid *c)
{
    uint8_t *object = mem_new(size + cidnode_size(c));
    struct cidnode *n = (struct cidnode *)(void *)(object + node_at);
    n->hash = cidmap_hash(m, c);
    n->len = c->len;
    n->hash_at = c->hash_at;
    memcpy(n->bytes, c->bytes, c->len);
    return object;
}

void cidnode_cid(const struct cidnode *n, struct cid *ret)
{
    *ret = (struct cid){.len = n->len, .hash_at = n->hash_at};
    memcpy(ret->bytes, n->bytes, n->len);
}

bool cidnode_is(const struct cidnode *n, const struct cid *c)
{
    return n->len == c->len && memcmp(n->bytes, c->bytes, n->len) == 0;
}

static bool same_hash(const struct cidnode *n, uint64_t hash, struct span multihash)
{
    return n->hash == hash && span_eq(span_of(n->bytes + n->hash_at, (size_t)n->len - n->hash_at), multihash);
}

static struct cidnode **bucket_of(const struct cidmap *m, uint64_t hash)
{
    return &m->buckets[hash & (m->bucket_count - 1)];
}

static void grow(struct cidmap *m)
{
    size_t count = m->bucket_count ? m->bucket_count * 2 : 16;
    struct cidnode **old = m->buckets;
    size_t old_count = m->bucket_count;
    struct cidnode **fresh = mem_big(count, sizeof *fresh);
    if (!fresh && old) /* longer chains do, too */
        return;
    if (!fresh)
        abort();
    memset(fresh, 0, count * sizeof *fresh);
    m->buckets = fresh;
    m->bucket_count = count;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct cidnode *n = old[i];
            old[i] = n->next;
            struct cidnode **to = bucket_of(m, n->hash);
            n->next = *to;
            *to = n;
        }
    }
    free(old);
}

void cidmap_add(struct cidmap *m, struct cidnode *n)
{
    if (m->count >= m->bucket_count)
        grow(m);
    struct cidnode **to = bucket_of(m, n->hash);
    n->next = *to;
    *to = n;
    m->count++;
}

void cidmap_remove(struct cidmap *m, struct cidnode *n)
{
    struct cidnode **at = bucket_of(m, n->hash);
    while (*at != n) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    m->count--;
}

struct cidnode *cidmap_first(const struct cidmap *m, const struct cid *c)
{
    if (!m->count)
        return NULL;
    uint64_t hash = cidmap_hash(m, c);
    struct span multihash = cid_hash(c);
    for (struct cidnode *n = *bucket_of(m, hash); n; n = n->next)
        if (same_hash(n, hash, multihash))
            return n;
    return NULL;
}

struct cidnode *cidmap_more(struct cidnode *n)
{
    struct span multihash = span_of(n->bytes + n->hash_at, (size_t)n->len - n->hash_at);
    for (struct cidnode *other = n->next; other; other = other->next)
        if (same_hash(other, n->hash, multihash))
            return other;
    return NULL;
}
