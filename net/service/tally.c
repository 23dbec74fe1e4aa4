/* SPDX-License-Identifier: MIT */
#include "net/service/tally.h"

#include <stdlib.h>

void tally_done(struct tally *t)
{
    for (unsigned i = 0; i < t->count; i++)
        free(t->rows[i]);
    t->count = 0;
}

static void key_of(struct span key, char ret[TALLY_KEY])
{
    memset(ret, 0, TALLY_KEY);
    memcpy(ret, key.data, key.len < TALLY_KEY ? key.len : TALLY_KEY - 1);
}

static struct tally_row *find(const struct tally *t, const char key[TALLY_KEY])
{
    for (unsigned i = 0; i < t->count; i++)
        if (memcmp(t->rows[i]->key, key, TALLY_KEY) == 0)
            return t->rows[i];
    return NULL;
}

const struct tally_row *tally_find(const struct tally *t, struct span key)
{
    char wanted[TALLY_KEY];
    key_of(key, wanted);
    return find(t, wanted);
}

/* A new row, or that which has had no stream for the longest */
static struct tally_row *make_row(struct tally *t)
{
    if (t->count < TALLY_MOST)
        return t->rows[t->count++] = MEM_NEW(struct tally_row);
    struct tally_row *oldest = NULL;
    for (unsigned i = 0; i < t->count; i++)
        if (!t->rows[i]->count.open && (!oldest || t->rows[i]->used < oldest->used))
            oldest = t->rows[i];
    return oldest;
}

struct tally_row *tally_open(struct tally *t, struct span key)
{
    char wanted[TALLY_KEY];
    key_of(key, wanted);
    struct tally_row *r = find(t, wanted);
    if (!r) {
        r = make_row(t);
        if (!r)
            return NULL;
        *r = (struct tally_row){.used = 0};
        memcpy(r->key, wanted, TALLY_KEY);
    }
    r->used = ++t->clock;
    r->count.open++;
    r->count.streams++;
    return r;
}

void tally_close(struct tally *t, struct tally_row *r, mono_ns lasted)
{
    if (!r)
        return;
    r->used = ++t->clock;
    r->count.open--;
    r->count.time += lasted;
}
