/* SPDX-License-Identifier: MIT */
#include "store/block/dagwalk.h"

#include "store/codec/links.h"

#include <sodium.h>
#include <stdlib.h>

#define MARK        16
#define SEEN_FIRST  1024
#define STACK_FIRST 256
#define NOTE_AHEAD  MISSING_MAX

struct dagwalk {
    struct budget *budget;
    uint64_t most, charged;
    uint8_t (*seen)[MARK];       /* all zero: free */
    size_t seen_count, seen_cap; /* cap: a power of two */
    uint8_t key[crypto_generichash_KEYBYTES];
    struct cid *stack; /* still to do; the next one last */
    size_t count, cap;
    int refused; /* why the stack could not grow */
};

static int charge(struct dagwalk *w, size_t bytes)
{
    if (w->charged + bytes > w->most)
        return ERR_TOO_BIG;
    if (w->budget && !budget_take(w->budget, BUDGET_TABLE, bytes))
        return ERR_AGAIN;
    w->charged += bytes;
    return 0;
}

static void give(struct dagwalk *w, size_t bytes)
{
    w->charged -= bytes;
    if (w->budget)
        budget_give(w->budget, BUDGET_TABLE, bytes);
}

struct dagwalk *dagwalk_new(const struct cid *root, struct budget *budget, uint64_t most_bytes)
{
    struct dagwalk *w = MEM_NEW(struct dagwalk);
    w->budget = budget;
    w->most = most_bytes;
    w->stack = mem_array(1, sizeof *w->stack);
    w->stack[0] = *root;
    w->count = w->cap = 1;
    randombytes_buf(w->key, sizeof w->key);
    return w;
}

struct dagwalk *dagwalk_free(struct dagwalk *w)
{
    if (!w)
        return NULL;
    give(w, w->charged);
    free(w->seen);
    free(w->stack);
    free(w);
    return NULL;
}

/* ---- what was visited ---- */

static const uint8_t none[MARK];

/* Its slot, or the free one where it belongs */
static uint8_t *slot_of(const struct dagwalk *w, const uint8_t mark[MARK])
{
    uint64_t h;
    memcpy(&h, mark, sizeof h);
    size_t i = (size_t)h & (w->seen_cap - 1);
    while (memcmp(w->seen[i], none, MARK) != 0 && memcmp(w->seen[i], mark, MARK) != 0)
        i = (i + 1) & (w->seen_cap - 1);
    return w->seen[i];
}

static int seen_room(struct dagwalk *w)
{
    if (2 * (w->seen_count + 1) <= w->seen_cap)
        return 0;
    struct dagwalk old = *w;
    size_t cap = old.seen_cap ? 2 * old.seen_cap : SEEN_FIRST;
    int r = charge(w, cap * MARK);
    if (r < 0)
        return r;
    uint8_t(*seen)[MARK] = mem_big(cap, MARK);
    if (!seen) {
        give(w, cap * MARK);
        return ERR_NO_MEMORY;
    }
    memset(seen, 0, cap * MARK);
    w->seen_cap = cap;
    w->seen = seen;
    for (size_t i = 0; i < old.seen_cap; i++)
        if (memcmp(old.seen[i], none, MARK) != 0)
            memcpy(slot_of(w, old.seen[i]), old.seen[i], MARK);
    free(old.seen);
    give(w, old.seen_cap * MARK);
    return 0;
}

static void mark_of(const struct dagwalk *w, const struct cid *cid, uint8_t mark[MARK])
{
    struct span hash = cid_hash(cid);
    crypto_generichash(mark, MARK, hash.data, hash.len, w->key, sizeof w->key);
}

/* ---- the walk ---- */

static int push(void *arg, const struct cid *cid)
{
    struct dagwalk *w = arg;
    if (w->count == w->cap) {
        size_t cap = w->cap < STACK_FIRST ? STACK_FIRST : 2 * w->cap, more = (cap - w->cap) * sizeof *w->stack;
        w->refused = charge(w, more);
        if (w->refused < 0)
            return 1;
        struct cid *stack = mem_big_grow(w->stack, cap, sizeof *w->stack);
        if (!stack) {
            give(w, more);
            w->refused = ERR_NO_MEMORY;
            return 1;
        }
        w->stack = stack;
        w->cap = cap;
    }
    w->stack[w->count++] = *cid;
    return 0;
}

/* Children were pushed in order; the first one must be on top. */
static void reverse(struct cid *from, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        struct cid c = from[i];
        from[i] = from[n - 1 - i];
        from[n - 1 - i] = c;
    }
}

static void note_ahead(const struct dagwalk *w, struct block_source *s)
{
    struct span ignored;
    for (size_t i = 1; i < w->count && i < NOTE_AHEAD && s->missing_count < MISSING_MAX; i++)
        (void)source_get(s, &w->stack[w->count - 1 - i], &ignored); /* it is only noted */
}

/* The top of the stack gives way to its children. */
static int expand(struct dagwalk *w, const struct cid *cid, struct span block)
{
    size_t from = --w->count;
    w->refused = 0;
    if (links_possible(cid_codec(cid)))
        (void)links_of(cid, block, push, w); /* of a damaged block those in front of the damage */
    if (w->refused < 0) {
        w->stack[from] = *cid;
        w->count = from + 1;
        return w->refused;
    }
    reverse(w->stack + from, w->count - from);
    return 0;
}

int dagwalk_next(struct dagwalk *w, struct block_source *s, struct cid *ret, struct span *ret_block)
{
    while (w->count) {
        struct cid cid = w->stack[w->count - 1];
        struct span block;
        uint8_t mark[MARK];
        int r = seen_room(w);
        if (r < 0)
            return r;
        mark_of(w, &cid, mark);
        uint8_t *slot = slot_of(w, mark);
        if (memcmp(slot, mark, MARK) == 0) {
            w->count--;
            continue;
        }
        r = source_get(s, &cid, &block);
        if (r == ERR_MISSING)
            note_ahead(w, s);
        if (r == 0)
            r = expand(w, &cid, block);
        if (r < 0)
            return r;
        memcpy(slot, mark, MARK);
        w->seen_count++;
        if (cid_hash_code(&cid) == HASH_IDENTITY)
            continue;
        *ret = cid;
        *ret_block = block;
        return 1;
    }
    return 0;
}

bool dagwalk_done(const struct dagwalk *w)
{
    return w->count == 0;
}

const struct cid *dagwalk_ahead(const struct dagwalk *w, size_t n)
{
    return n < w->count ? &w->stack[w->count - 1 - n] : NULL;
}
