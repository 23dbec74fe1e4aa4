/* SPDX-License-Identifier: MIT */
#include "fs/node/gather.h"

#include "store/base/mapfault.h"

#define RUN_MOST (10 * MONO_MS) /* then others have their turn */

static void free_block(void *state)
{
    block_unref(state);
}

/* Room for all that is asked for, charged: many may be waiting. It is the request's state; r->phase is how much is there. */
static struct block *room_of(struct mount *m, struct request *r)
{
    if (!r->state) {
        r->state = block_new(m->o.budget, BUDGET_READ, (uint32_t)r->size);
        r->free_state = free_block;
        r->phase = 0;
    }
    return r->state;
}

/* 1: it is all there, or the file ends; 0: some more of it; <0 */
static int go_on(struct mount *m, struct request *r, const struct gather_from *from, uint8_t *to)
{
    struct span spans[REQUEST_SPANS_MAX];
    struct read_spans out = {.spans = spans, .max = REQUEST_SPANS_MAX};
    int rc = from->read(from->arg, m->source, r->offset + r->phase, r->size - r->phase, &out);
    for (unsigned i = 0; rc == 0 && i < out.count; i++) {
        rc = mapfault_copy(to + r->phase, spans[i]) ? 0 : ERR_IO;
        r->phase += (unsigned)spans[i].len;
    }
    return rc < 0 ? rc : out.bytes == 0 || r->phase == r->size;
}

int gather(struct mount *m, struct request *r, const struct gather_from *from)
{
    struct block *b = room_of(m, r);
    r->why = b ? "gathers many small pieces" : "waits for memory: others have it";
    int rc = b ? 0 : ERR_AGAIN;
    for (mono_ns end = mono_after(mono_now(), RUN_MOST); rc == 0 && mono_now() < end;)
        rc = go_on(m, r, from, b->data);
    if (rc == 0)
        return ERR_AGAIN;
    if (rc == 1)
        request_data(r, span_of(b->data, r->phase));
    if (rc != ERR_AGAIN && rc != ERR_MISSING)
        r->state = block_unref(b);
    return rc < 0 ? rc : 0;
}
