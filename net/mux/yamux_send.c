/* SPDX-License-Identifier: MIT
 *
 * Output: send queues, and the frames in the order of their urgency. */
#include "net/mux/yamux.h"

#include "net/mux/yamux_impl.h"
#include "store/base/budget.h"

#include <assert.h>
#include <stdlib.h>

/* A data frame that would be cut shorter than this only because the batch is nearly full waits for the next one. */
#define SLIVER 4096

/* ---- send queues ---- */

static void chunk_free(struct yamux *y, struct chunk *c)
{
    y->chunk_bytes -= sizeof *c + c->cap;
    if (c->loan.done)
        c->loan.done(c->loan.arg);
    free(c);
}

void chunk_drop(struct yamux *y, struct chunk *c)
{
    if (c->cap != YAMUX_DATA_MAX || y->spare_count == YAMUX_SPARES_MAX) {
        chunk_free(y, c);
        return;
    }
    c->next = y->spares;
    y->spares = c;
    y->spare_count++;
}

static void free_spent(struct yamux *y)
{
    while (y->spent) {
        struct chunk *c = y->spent;
        y->spent = c->next;
        chunk_drop(y, c);
    }
}

void chunks_trim(struct yamux *y)
{
    free_spent(y);
    while (y->spares) {
        struct chunk *c = y->spares;
        y->spares = c->next;
        chunk_free(y, c);
    }
    y->spare_count = 0;
}

/* Room for `len` more: small for short messages, and as large as what already waits, so that a frame takes few chunks. */
static struct chunk *chunk_new(struct yamux *y, size_t len)
{
    size_t cap = len < YAMUX_CHUNK_MIN ? YAMUX_CHUNK_MIN : len;
    struct chunk *c;
    if (cap >= YAMUX_DATA_MAX) {
        cap = YAMUX_DATA_MAX;
        if ((c = y->spares)) {
            y->spares = c->next;
            y->spare_count--;
            c->next = NULL;
            c->start = c->end = 0;
            return c;
        }
    }
    c = mem_big(sizeof *c + cap, 1); /* not zeroed: it is filled at once */
    if (!c)                          /* many small ones do, too */
        c = mem_grow(NULL, sizeof *c + (cap = YAMUX_CHUNK_MIN), 1);
    *c = (struct chunk){.cap = cap};
    y->chunk_bytes += sizeof *c + cap;
    return c;
}

static void queue_chunk(struct stream *s, struct chunk *c)
{
    *(s->tail ? &s->tail->next : &s->head) = c;
    s->tail = c;
}

void queue_lend(struct yamux *y, struct stream *s, const struct loan *l)
{
    struct chunk *c = MEM_NEW(struct chunk);
    c->loan = *l;
    c->end = l->data.len;
    y->chunk_bytes += sizeof *c;
    queue_chunk(s, c);
    stream_queued(y, s, l->data.len);
}

void queue_add(struct yamux *y, struct stream *s, struct span data)
{
    while (data.len) {
        if (!s->tail || s->tail->end >= s->tail->cap)
            queue_chunk(s, chunk_new(y, data.len > s->queued ? data.len : s->queued));
        struct span part = span_sub(data, 0, s->tail->cap - s->tail->end);
        memcpy(s->tail->data + s->tail->end, part.data, part.len);
        s->tail->end += part.len;
        stream_queued(y, s, part.len);
        data = span_from(data, part.len);
    }
}

/* ---- frames ---- */

struct gather {
    struct yamux *y;
    struct yamux_batch *b;
    unsigned frames;
    size_t left;
};

static bool gather_room(const struct gather *g, size_t bytes)
{
    return g->left >= bytes && g->b->count < YAMUX_BATCH_PARTS && g->frames < YAMUX_BATCH_PARTS;
}

static void gather_part(struct gather *g, struct span part)
{
    g->b->parts[g->b->count++] = part;
    g->b->bytes += part.len;
    g->left -= part.len;
}

static void put_u32(uint8_t *at, uint32_t v)
{
    at[0] = (uint8_t)(v >> 24);
    at[1] = (uint8_t)(v >> 16);
    at[2] = (uint8_t)(v >> 8);
    at[3] = (uint8_t)v;
}

/* A header, which may be filled in afterwards. */
static uint8_t *gather_head(struct gather *g, enum yamux_frame_type type, unsigned flags, uint32_t stream, uint32_t length)
{
    uint8_t *head = g->b->heads[g->frames++];
    head[0] = 0;
    head[1] = (uint8_t)type;
    head[2] = 0;
    head[3] = (uint8_t)flags;
    put_u32(head + 4, stream);
    put_u32(head + 8, length);
    gather_part(g, span_of(head, YAMUX_HEADER));
    return head;
}

static void gather_session(struct gather *g)
{
    struct yamux *y = g->y;
    unsigned n = 0;
    for (; n < y->pong_count && gather_room(g, YAMUX_HEADER); n++)
        gather_head(g, FRAME_PING, FLAG_ACK, 0, y->pongs[n]);
    y->pong_count -= n;
    memmove(y->pongs, y->pongs + n, y->pong_count * sizeof *y->pongs);
    if (y->ping_due && gather_room(g, YAMUX_HEADER)) {
        y->ping_due = false;
        gather_head(g, FRAME_PING, FLAG_SYN, 0, y->ping_value);
    }
    if (y->goaway_due && gather_room(g, YAMUX_HEADER)) {
        y->goaway_due = false;
        gather_head(g, FRAME_GOAWAY, 0, 0, y->going_code);
    }
}

/* SYN, ACK and window updates: always on frames of their own, and before data. */
static void gather_control(struct gather *g)
{
    struct yamux *y = g->y;
    struct stream *s;
    while ((s = TAILQ_FIRST(&y->control)) && gather_room(g, YAMUX_HEADER)) {
        TAILQ_REMOVE(&y->control, s, control);
        s->in_control = false;
        unsigned flags = (s->syn_due ? FLAG_SYN : 0u) | (s->ack_due ? FLAG_ACK : 0u);
        uint32_t grant = (uint32_t)(s->window - s->credit - s->unconsumed);
        y->vain -= s->ack_due && y->vain;
        s->syn_due = s->ack_due = false;
        if (s->fin_received)
            grant = 0;
        if (!flags && !grant)
            continue;
        s->credit += grant;
        gather_head(g, FRAME_WINDOW, flags, s->id, grant);
    }
}

static void gather_resets(struct gather *g)
{
    struct yamux *y = g->y;
    unsigned n = 0;
    for (; n < y->reset_count && gather_room(g, YAMUX_HEADER); n++)
        gather_head(g, FRAME_WINDOW, FLAG_RST, y->resets[n], 0);
    if (n == 0)
        return;
    y->reset_count -= n;
    memmove(y->resets, y->resets + n, y->reset_count * sizeof *y->resets);
}

/* Takes up to `most` bytes from the head of the queue, as parts. Chunks that were used up live until the next gather. */
static size_t gather_queue(struct gather *g, struct stream *s, size_t most)
{
    struct yamux *y = g->y;
    size_t taken = 0;
    while (taken < most && g->b->count < YAMUX_BATCH_PARTS) {
        struct chunk *c = s->head;
        struct span part = span_sub(span_of(c->loan.done ? c->loan.data.data : c->data, c->end), c->start, most - taken);
        gather_part(g, part);
        taken += part.len;
        c->start += part.len;
        if (c->start == c->end) {
            s->head = c->next;
            if (!s->head)
                s->tail = NULL;
            c->next = y->spent;
            y->spent = c;
        }
    }
    stream_sent(y, s, taken);
    s->send_window -= taken;
    return taken;
}

/* FIN goes on a frame of its own: js-yamux acts on the flag first and drops the body of a frame that carries both. */
static bool gather_fin(struct gather *g, struct stream *s)
{
    if (!gather_room(g, YAMUX_HEADER))
        return false;
    gather_head(g, FRAME_WINDOW, FLAG_FIN, s->id, 0);
    s->fin_sent = true;
    return true;
}

/* One data frame. false: the batch is full. */
static bool gather_data(struct gather *g, struct stream *s)
{
    size_t most = s->queued < s->send_window ? s->queued : (size_t)s->send_window;
    if (most > YAMUX_DATA_MAX)
        most = YAMUX_DATA_MAX;
    size_t room = g->left > YAMUX_HEADER ? g->left - YAMUX_HEADER : 0;
    if (most > room) {
        if (room == 0 || (room < SLIVER && g->b->count > 0))
            return false;
        most = room;
    }
    if (!gather_room(g, YAMUX_HEADER) || g->b->count + 1 == YAMUX_BATCH_PARTS)
        return false;
    uint8_t *head = gather_head(g, FRAME_DATA, 0, s->id, 0);
    put_u32(head + 8, (uint32_t)gather_queue(g, s, most));
    return true;
}

/* The stream whose turn it is: one frame of data, and its FIN behind the last. false: the batch is full, the turn stays. */
static bool gather_turn(struct gather *g, struct stream *s)
{
    if (s->queued > 0 && !gather_data(g, s))
        return false;
    if (s->fin_wanted && s->queued == 0 && !gather_fin(g, s))
        return false;
    stream_had_turn(g->y, s);
    return true;
}

size_t yamux_gather(struct yamux *y, struct yamux_batch *batch, size_t most)
{
    struct gather g = {.y = y, .b = batch, .left = most};
    batch->count = 0;
    batch->bytes = 0;
    free_spent(y);
    gather_session(&g);
    if (y->err) /* a last go-away */
        return batch->bytes;
    gather_control(&g);
    gather_resets(&g);
    struct group *turn;
    while (TAILQ_EMPTY(&y->control) && y->reset_count == 0 && (turn = TAILQ_FIRST(&y->turns)))
        if (!gather_turn(&g, TAILQ_FIRST(&turn->sending)))
            break;
    streams_wake(y);
    return batch->bytes;
}

size_t yamux_output(struct yamux *y, struct buf *out, size_t most)
{
    struct yamux_batch b;
    size_t total = 0, n;
    while (total < most && (n = yamux_gather(y, &b, most - total)) > 0) {
        for (unsigned i = 0; i < b.count; i++)
            buf_add_span(out, b.parts[i]);
        total += n;
    }
    return total;
}

bool yamux_has_output(const struct yamux *y)
{
    bool session = y->pong_count || y->ping_due || y->goaway_due;
    return session || (!y->err && (!TAILQ_EMPTY(&y->control) || y->reset_count || !TAILQ_EMPTY(&y->turns)));
}
