/* SPDX-License-Identifier: MIT */
#include "store/tree/overlay.h"

#include "store/base/rng.h"

#include <stdlib.h>

#define LEVELS 16 /* one in four goes a level up: good for 4^16 entries */

/* In one piece: what follows the links are the bytes of the key, and room for as many bytes as the first value has. */
struct node {
    struct overlay_entry entry; /* first: an entry is its node */
    void *longer;               /* a later value that found no room; NULL: none */
    uint32_t room;
    uint32_t high;
    struct node *next[]; /* as many as the node is high */
};

struct overlay {
    struct node *head[LEVELS];
    unsigned height;
    size_t count;
    struct rng dice;
};

struct overlay *overlay_new(void)
{
    struct overlay *o = MEM_NEW(struct overlay);
    o->height = 1;
    rng_init_seed(&o->dice, 1);
    return o;
}

static void node_free(struct node *n)
{
    free(n->longer);
    free(n);
}

struct overlay *overlay_free(struct overlay *o)
{
    if (!o)
        return NULL;
    for (struct node *n = o->head[0], *next; n; n = next) {
        next = n->next[0];
        node_free(n);
    }
    free(o);
    return NULL;
}

/* The links, one per level, that lead to the first node ≥ key */
static void trace(struct overlay *o, struct span key, struct node **links[LEVELS])
{
    struct node **at = o->head;
    for (unsigned i = o->height; i-- > 0;) {
        while (at[i] && span_cmp(at[i]->entry.key, key) < 0)
            at = at[i]->next;
        links[i] = &at[i];
    }
}

const struct overlay_entry *overlay_from(const struct overlay *o, struct span key)
{
    struct node *const *at = o->head;
    for (unsigned i = o->height; i-- > 0;)
        while (at[i] && span_cmp(at[i]->entry.key, key) < 0)
            at = at[i]->next;
    return at[0] ? &at[0]->entry : NULL;
}

const struct overlay_entry *overlay_find(const struct overlay *o, struct span key)
{
    const struct overlay_entry *e = overlay_from(o, key);
    return e && span_eq(e->key, key) ? e : NULL;
}

const struct overlay_entry *overlay_next(const struct overlay_entry *e)
{
    const struct node *next = ((const struct node *)e)->next[0];
    return next ? &next->entry : NULL;
}

static uint8_t *node_room(struct node *n)
{
    return (uint8_t *)&n->next[n->high] + n->entry.key.len;
}

/* The node of the key, made when there is none, with room for `room` bytes then */
static struct node *touch(struct overlay *o, struct span key, size_t room)
{
    struct node **links[LEVELS];
    trace(o, key, links);
    struct node *n = *links[0];
    if (n && span_eq(n->entry.key, key))
        return n;
    unsigned high = 1;
    while (high < LEVELS && rng_below(&o->dice, 4) == 0)
        high++;
    for (; o->height < high; o->height++)
        links[o->height] = &o->head[o->height];
    n = mem_new(sizeof *n + high * sizeof *n->next + key.len + room);
    n->high = high;
    n->room = (uint32_t)room;
    n->entry.key = span_of(&n->next[high], key.len);
    memcpy(&n->next[high], key.data, key.len);
    for (unsigned i = 0; i < high; i++) {
        n->next[i] = *links[i];
        *links[i] = n;
    }
    o->count++;
    return n;
}

void overlay_set(struct overlay *o, struct span key, struct span value, uint64_t seq)
{
    struct node *n = touch(o, key, value.len);
    void *before = n->longer; /* value may point into it, or into the room */
    n->longer = value.len > n->room ? mem_copy(value.data, value.len) : NULL;
    uint8_t *at = n->longer ? n->longer : node_room(n);
    if (!n->longer && value.len)
        memmove(at, value.data, value.len);
    free(before);
    n->entry.value = span_of(at, value.len);
    n->entry.deleted = false;
    n->entry.seq = seq;
}

void overlay_delete(struct overlay *o, struct span key, uint64_t seq)
{
    struct node *n = touch(o, key, 0);
    free(n->longer);
    n->longer = NULL;
    n->entry.value = SPAN_NONE;
    n->entry.deleted = true;
    n->entry.seq = seq;
}

void overlay_drop(struct overlay *o, struct span key, uint64_t seq)
{
    struct node **links[LEVELS];
    trace(o, key, links);
    struct node *n = *links[0];
    if (!n || !span_eq(n->entry.key, key) || n->entry.seq != seq)
        return;
    for (unsigned i = 0; i < o->height; i++)
        if (*links[i] == n)
            *links[i] = n->next[i];
    node_free(n);
    o->count--;
}

size_t overlay_count(const struct overlay *o)
{
    return o->count;
}
