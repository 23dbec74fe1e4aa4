/* SPDX-License-Identifier: MIT
 *
 * Our outgoing stream to each peer and the messages on it.
 *
 *   NONE ─→ ASKED ─→ OPENING ─→ OPEN ─→ NONE (idle, closed)
 *     ↑                  └─→ WAIT ←─┘ lost
 *     └──────────────────────┘
 *
 * Control messages (wants, cancels, presences; ≤ CONTROL_MAX) go before block messages, each message whole. A block message
 * is one block, or several small ones up to BLOCKS_TARGET: js gives a stream 5 s for each message. A message is made when
 * the one before has been given out, so what is cancelled meanwhile is never sent. */
#include "net/exchange/xstate.h"

#include "store/base/uvarint.h"

#include <assert.h>
#include <stdlib.h>

#define CONTROL_MAX   (16u << 10)
#define BLOCKS_TARGET (64u << 10)
#define CANCELS_MAX   1024 /* more: the whole list is sent anew instead */
#define IDLE_CLOSE    MONO_S
#define OPEN_RETRY    (500 * MONO_MS)
#define OPEN_DOUBLING 6 /* 0.5 s … 32 s */

static const int32_t wire_priority[PRIORITIES] = {[WANT_NOW] = 1 << 20, [WANT_AHEAD] = 1 << 10, [WANT_KEEP] = 1};

static bool control_pending(const struct exchange_peer *p)
{
    return !TAILQ_EMPTY(&p->unsent[0]) || !TAILQ_EMPTY(&p->unsent[1]) || !TAILQ_EMPTY(&p->cancels) ||
           !TAILQ_EMPTY(&p->answers) || (p->resync && p->told_wants);
}

bool out_pending(const struct exchange_peer *p)
{
    return (p->message.active && !p->message.finished) || control_pending(p) || !TAILQ_EMPTY(&p->blocks);
}

/* ---- whose turn ---- */

/* When upload is capped peers on the LAN line up behind all others, and otherwise who sent last comes last. */
static bool goes_before(const struct exchange_peer *p, const struct exchange_peer *other)
{
    unsigned lan = p->flags & EXCHANGE_LAN, other_lan = other->flags & EXCHANGE_LAN;
    return lan != other_lan ? !lan : p->turn < other->turn;
}

static void line_up(struct exchange *x, struct peers *line, struct exchange_peer *p)
{
    struct exchange_peer *after = TAILQ_LAST(line, peers);
    while (x->upload.rate && after && goes_before(p, after))
        after = TAILQ_PREV(after, peers, ready_link);
    if (after)
        TAILQ_INSERT_AFTER(line, after, p, ready_link);
    else
        TAILQ_INSERT_HEAD(line, p, ready_link);
}

void out_update(struct exchange *x, struct exchange_peer *p)
{
    if (!(p->flags & EXCHANGE_CAPABLE) || p->drop || !out_pending(p))
        return;
    p->idle_at = MONO_NEVER;
    if (p->out == OUT_NONE) {
        p->out = OUT_ASKED;
        p->open_queued = true;
        TAILQ_INSERT_TAIL(&x->open, p, open_link);
    } else if (p->out == OUT_OPEN && !p->in_ready && !p->told && !p->throttled) {
        line_up(x, &x->ready, p);
        p->in_ready = true;
    }
}

static void leave_line(struct exchange *x, struct exchange_peer *p)
{
    if (p->in_ready)
        TAILQ_REMOVE(&x->ready, p, ready_link);
    if (p->throttled)
        TAILQ_REMOVE(&x->throttled, p, ready_link);
    if (p->open_queued)
        TAILQ_REMOVE(&x->open, p, open_link);
    p->in_ready = p->throttled = p->open_queued = p->told = false;
}

void out_unthrottle(struct exchange *x)
{
    struct exchange_peer *p;
    while ((p = TAILQ_FIRST(&x->throttled))) {
        TAILQ_REMOVE(&x->throttled, p, ready_link);
        p->throttled = false;
        out_update(x, p);
    }
}

/* ---- cancels ---- */

static void cancel_free(struct exchange_peer *p, struct cancel *c)
{
    TAILQ_REMOVE(&p->cancels, c, link);
    p->cancel_count--;
    free(c);
}

void out_cancel(struct exchange *x, struct exchange_peer *p, const struct cid *cid)
{
    if (p->resync || !peer_usable(p))
        return;
    if (p->cancel_count >= CANCELS_MAX) {
        p->resync = true;
    } else {
        struct cancel *c = CIDNODE_NEW(&x->items, struct cancel, cid);
        TAILQ_INSERT_TAIL(&p->cancels, c, link);
        p->cancel_count++;
    }
    out_update(x, p);
}

/* A want and a cancel of one CID in one message have no defined order. */
void out_uncancel(struct exchange *x, struct exchange_peer *p, const struct cid *cid)
{
    (void)x;
    struct cancel *c = TAILQ_FIRST(&p->cancels);
    while (c) {
        struct cancel *next = TAILQ_NEXT(c, link);
        if (cidnode_is(&c->node, cid))
            cancel_free(p, c);
        c = next;
    }
}

/* ---- messages ---- */

static void message_release(struct exchange *x, struct exchange_peer *p)
{
    struct out_message *m = &p->message;
    for (unsigned i = 0; i < m->count; i++) {
        struct block *b = m->part[i].block;
        if (!b)
            continue;
        serve_sent(x, p, b->len);
        m->part[i].block = block_unref(b);
    }
    m->given = NULL;
    buf_clear(&m->head);
    if (m->head.cap > 2 * CONTROL_MAX)
        buf_done(&m->head);
    m->active = m->finished = m->has_blocks = false;
    m->count = m->at = 0;
    m->off = m->head_at = 0;
}

static void message_rewind(struct out_message *m)
{
    m->finished = false;
    m->at = 0;
    m->off = m->head_at = 0;
}

static void add_ask(struct exchange_peer *p, struct ask *a, struct buf *list)
{
    TAILQ_REMOVE(&p->unsent[a->lane], a, unsent);
    a->queued = false;
    if (a->state == ASK_HAS)
        return;
    bool block = a->state == ASK_BLOCK || a->state == ASK_LATE;
    struct cid cid;
    cidnode_cid(&a->item->node, &cid);
    bitswap_add_entry(list, &(struct bitswap_entry){.cid = &cid,
                                                    .priority = wire_priority[a->item->priority],
                                                    .want = block ? BITSWAP_WANT_BLOCK : BITSWAP_WANT_HAVE,
                                                    .send_dont_have = a->state != ASK_LACKS});
    a->sent = true;
    p->told_wants = true;
    p->credit++;
    recv_earned(p, false);
    p->ledger.wants_sent++;
}

static void add_wants(struct exchange_peer *p, struct buf *list)
{
    struct cancel *c;
    while ((c = TAILQ_FIRST(&p->cancels)) && buf_len(list) < CONTROL_MAX) {
        struct cid cid;
        cidnode_cid(&c->node, &cid);
        bitswap_add_entry(list, &(struct bitswap_entry){.cid = &cid, .cancel = true});
        cancel_free(p, c);
    }
    for (unsigned lane = 0; lane < 2; lane++) {
        struct ask *a;
        while ((a = TAILQ_FIRST(&p->unsent[lane])) && buf_len(list) < CONTROL_MAX)
            add_ask(p, a, list);
    }
}

static void add_presences(struct exchange *x, struct exchange_peer *p, struct buf *body)
{
    struct their_want *t;
    while ((t = TAILQ_FIRST(&p->answers)) && buf_len(body) < CONTROL_MAX) {
        struct cid cid;
        cidnode_cid(&t->node, &cid);
        bool have = t->state == THEIRS_HAVE;
        bitswap_add_presence(body, &cid, have);
        p->ledger.haves_sent += have;
        p->ledger.dont_haves_sent += !have;
        serve_told(x, t);
    }
}

static void compose_control(struct exchange *x, struct exchange_peer *p)
{
    struct buf list = BUF_INIT, body = BUF_INIT;
    bool full = p->resync;
    if (full) {
        while (!TAILQ_EMPTY(&p->cancels))
            cancel_free(p, TAILQ_FIRST(&p->cancels));
        asks_resync(x, p);
    }
    add_wants(p, &list);
    /* the first list of all is a full one; presences alone say nothing about our wants */
    full = full && (buf_len(&list) || p->told_wants);
    if (buf_len(&list) || full) {
        bitswap_add_wantlist(&body, buf_span(&list), full);
        p->resync = false;
    }
    add_presences(x, p, &body);
    struct out_message *m = &p->message;
    if (buf_len(&body)) {
        bitswap_add_message(&m->head, buf_span(&body));
        m->part[0].head_len = (uint32_t)buf_len(&m->head);
        m->part[0].block = NULL;
        m->count = 1;
        m->active = true;
    }
    buf_done(&list);
    buf_done(&body);
}

static void compose_blocks(struct exchange *x, struct exchange_peer *p)
{
    struct out_message *m = &p->message;
    size_t total = 0;
    unsigned count = 0;
    struct their_want *t;
    TAILQ_FOREACH(t, &p->blocks, link)
    {
        struct cid cid;
        cidnode_cid(&t->node, &cid);
        size_t size = bitswap_block_size(&cid, t->block->len);
        if (count && (count == MESSAGE_BLOCKS_MAX || total + size > BLOCKS_TARGET))
            break;
        total += size;
        count++;
    }
    buf_add_uvarint(&m->head, total);
    size_t before = 0;
    for (unsigned i = 0; i < count; i++) {
        t = TAILQ_FIRST(&p->blocks);
        struct cid cid;
        cidnode_cid(&t->node, &cid);
        bitswap_add_block_head(&m->head, &cid, t->block->len);
        m->part[i].head_len = (uint32_t)(buf_len(&m->head) - before);
        before = buf_len(&m->head);
        m->part[i].block = t->block; /* and what it counts for: given back in message_release */
        t->block = NULL;
        p->ledger.blocks_sent++;
        recv_earned(p, true);
        p->ledger.bytes_sent += m->part[i].block->len;
        serve_free(x, t);
    }
    m->count = count;
    m->active = m->has_blocks = count > 0;
}

static bool compose(struct exchange *x, struct exchange_peer *p)
{
    if (control_pending(p))
        compose_control(x, p);
    if (!p->message.active && !TAILQ_EMPTY(&p->blocks))
        compose_blocks(x, p);
    return p->message.active;
}

/* ---- output ---- */

/* The rest of the part at hand: its head, then its block. */
static struct span rest_of_part(const struct out_message *m, bool *ret_block)
{
    uint32_t head_len = m->part[m->at].head_len;
    *ret_block = m->off >= head_len;
    if (!*ret_block)
        return span_sub(buf_span(&m->head), m->head_at + m->off, head_len - m->off);
    const struct block *b = m->part[m->at].block;
    return b ? span_from(block_span(b), m->off - head_len) : SPAN_NONE;
}

static void advance(struct out_message *m, size_t n)
{
    m->off += n;
    size_t size = m->part[m->at].head_len + (m->part[m->at].block ? m->part[m->at].block->len : 0);
    if (m->off < size)
        return;
    m->head_at += m->part[m->at].head_len;
    m->off = 0;
    if (++m->at == m->count)
        m->finished = true;
}

static size_t turn_over(struct exchange *x, struct exchange_peer *p)
{
    p->told = false;
    if (out_pending(p)) {
        out_update(x, p);
    } else {
        p->idle_at = x->now + IDLE_CLOSE;
        peer_soon(x, p, p->idle_at);
    }
    return 0;
}

size_t exchange_output(struct exchange *x, struct exchange_peer *p, size_t most, struct span *ret, mono_ns now)
{
    x->now = now;
    struct out_message *m = &p->message;
    if (p->out != OUT_OPEN || p->drop || p->throttled)
        return 0;
    if (m->finished) {
        p->open_failures = 0;
        message_release(x, p);
    }
    if (!m->active && !compose(x, p))
        return turn_over(x, p);
    if (!p->quantum)
        return turn_over(x, p);
    bool block;
    struct span rest = rest_of_part(m, &block);
    size_t n = most < EXCHANGE_CHUNK_MAX ? most : EXCHANGE_CHUNK_MAX;
    n = n < rest.len ? n : rest.len;
    if (block) {
        n = n < p->quantum ? n : (size_t)p->quantum;
        n = tokens_room(&x->upload, n, now);
        if (!n && most) {
            p->told = false;
            p->throttled = true;
            line_up(x, &x->throttled, p);
            tick_soon(x, tokens_when(&x->upload, TOKENS_BURST_MIN));
            return 0;
        }
        tokens_spend(&x->upload, n);
        p->quantum -= n;
        p->turn = ++x->turns;
        p->given += n;
        p->given_at = now;
    }
    if (!n)
        return 0;
    *ret = span_sub(rest, 0, n);
    m->given = block ? m->part[m->at].block : NULL;
    advance(m, n);
    return n;
}

struct block *exchange_output_block(const struct exchange_peer *p)
{
    return p->message.given;
}

void exchange_opened(struct exchange *x, struct exchange_peer *p, int result, mono_ns now)
{
    x->now = now;
    if (p->out != OUT_OPENING)
        return;
    if (result == 0) {
        p->out = OUT_OPEN;
        p->idle_at = now + IDLE_CLOSE;
        peer_soon(x, p, p->idle_at);
        out_update(x, p);
        return;
    }
    if (result == ERR_UNSUPPORTED) {
        p->out = OUT_NONE;
        exchange_peer_flags(x, p, p->flags & ~(unsigned)EXCHANGE_CAPABLE, now);
        return;
    }
    p->out = OUT_WAIT;
    p->open_at = now + (OPEN_RETRY << p->open_failures);
    p->open_failures += p->open_failures < OPEN_DOUBLING;
    peer_soon(x, p, p->open_at);
}

void exchange_output_lost(struct exchange *x, struct exchange_peer *p, mono_ns now)
{
    x->now = now;
    if (p->out != OUT_OPEN)
        return;
    leave_line(x, p);
    message_rewind(&p->message);
    p->resync = true; /* wants in what was lost */
    p->idle_at = MONO_NEVER;
    p->out = OUT_WAIT;
    p->open_at = now + (p->open_failures ? OPEN_RETRY << p->open_failures : 0);
    p->open_failures += p->open_failures < OPEN_DOUBLING;
    peer_soon(x, p, p->open_at);
}

void out_expire(struct exchange *x, struct exchange_peer *p)
{
    if (p->out == OUT_WAIT && p->open_at <= x->now) {
        p->open_at = MONO_NEVER;
        p->out = OUT_NONE;
        out_update(x, p);
    }
    if (p->out == OUT_OPEN && p->idle_at <= x->now && !out_pending(p)) {
        p->idle_at = MONO_NEVER;
        leave_line(x, p);
        if (p->message.finished)
            message_release(x, p);
        p->out = OUT_NONE;
        p->close_queued = true;
        TAILQ_INSERT_TAIL(&x->close, p, close_link);
    }
}

mono_ns out_deadline(const struct exchange_peer *p)
{
    if (p->out == OUT_WAIT)
        return p->open_at;
    return p->out == OUT_OPEN ? p->idle_at : MONO_NEVER;
}

void out_forget_peer(struct exchange *x, struct exchange_peer *p)
{
    leave_line(x, p);
    if (p->close_queued)
        TAILQ_REMOVE(&x->close, p, close_link);
    p->close_queued = false;
    p->out = OUT_NONE;
    message_release(x, p);
    buf_done(&p->message.head);
    while (!TAILQ_EMPTY(&p->cancels))
        cancel_free(p, TAILQ_FIRST(&p->cancels));
}
