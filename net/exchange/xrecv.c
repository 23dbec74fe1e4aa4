/* SPDX-License-Identifier: MIT
 *
 * Inbound streams. What a peer may make us hold: one block being read per stream, PARTIAL_PEER bytes of them per peer, a
 * part of the budget for all; and only as many blocks as it was asked for (credit). A block that does not grow for
 * BLOCK_IDLE is given up with its peer; one that grows by little, when others wait for room. Those who have delivered nothing
 * yet share a part of the budget. What it names (wants, cancels, presences, blocks) is bounded too, by
 * EXCHANGE_ITEMS_RATE: they cost it next to nothing, and us a processor. Streams that we stopped reading (no memory, download
 * cap, that rate) wait in x->paused.
 *
 * That bound is a peer's, and there may be hundreds, each somebody new. So what is named in vain has the same bound for all of
 * them together: each block that goes to a peer, or comes and was wanted, pays for EARNED of the items that it names, and what
 * it was asked pays for the answer, so who transfers is never held up. The others take turns of SHARED_CHUNK bytes each
 * (x->sharing): a hundred that flood make one who asks for the first time wait 0.2 s for each turn, until he gets a block. */
#include "net/exchange/xstate.h"

#include <stdlib.h>

#define PARTIAL_PEER  (4u << 20)
#define PARTIAL_PART  8 /* of the budget, for all peers */
#define FRESH_PART    4 /* of the budget, for all who have delivered nothing yet; but one block always may */
#define BLOCK_IDLE    (20 * MONO_S)
#define SLOW_FOR      (10 * MONO_S)
#define SLOW_BYTES    4096 /* in that time: too little on any line */
#define SLOW_SHARE    8    /* or so many times less than the others grow, who share ours with it */
#define MALFORMED_MAX 3    /* streams with errors, then the peer goes */
#define PAUSE_RETRY   (50 * MONO_MS)
#define FORCED_MAX    4
#define FORCED_LEAVES 8
#define LOOK_AGAIN    MONO_S
#define EARNED        8 /* items a block pays for: want-haves, a want, a cancel, with room for those that go in vain */
#define EARNED_MAX    16384
#define SHARED_CHUNK  4096 /* bytes that may be looked at in one turn, and their wants: */
#define SHARED_ITEMS  100
#define SHARED_TURNS  (10 * MONO_MS) /* until the next ones have theirs: five */
#define ITEMS_REST    1024           /* what a peer that named too much waits for: 20 ms at EXCHANGE_ITEMS_RATE */

struct exchange_stream *exchange_stream_opened(struct exchange *x, struct exchange_peer *p, void *owner)
{
    if (p->stream_count >= EXCHANGE_STREAMS_MAX || p->drop)
        return NULL;
    struct exchange_stream *s = MEM_NEW(struct exchange_stream);
    s->peer = p;
    s->owner = owner;
    s->generation = ++x->generation;
    bitswap_reader_init(&s->reader);
    TAILQ_INSERT_TAIL(&p->streams, s, link);
    p->stream_count++;
    return s;
}

static void unpause(struct exchange *x, struct exchange_stream *s)
{
    if (s->paused)
        TAILQ_REMOVE(&x->paused, s, wait_link);
    if (s->resumed)
        TAILQ_REMOVE(&x->resume, s, wait_link);
    if (s->sharing)
        TAILQ_REMOVE(&x->sharing, s, wait_link);
    s->paused = s->resumed = s->sharing = false;
}

static void pause_stream(struct exchange *x, struct exchange_stream *s, mono_ns retry)
{
    unpause(x, s);
    s->paused = true;
    TAILQ_INSERT_TAIL(&x->paused, s, wait_link);
    tick_soon(x, retry);
}

static void resume_stream(struct exchange *x, struct exchange_stream *s)
{
    unpause(x, s);
    s->resumed = true;
    TAILQ_INSERT_TAIL(&x->resume, s, wait_link);
}

void recv_resume(struct exchange *x)
{
    while (!TAILQ_EMPTY(&x->paused))
        resume_stream(x, TAILQ_FIRST(&x->paused));
}

void recv_earned(struct exchange_peer *p, bool block)
{
    p->earned += block ? EARNED : 1;
    p->earned = p->earned < EARNED_MAX ? p->earned : EARNED_MAX;
}

static void line_up(struct exchange *x, struct exchange_stream *s)
{
    unpause(x, s);
    s->sharing = true;
    TAILQ_INSERT_TAIL(&x->sharing, s, wait_link);
    tick_soon(x, mono_after(x->now, SHARED_TURNS));
}

/* false: others are before it, or all have had what they may */
static bool may_share(struct exchange *x, const struct exchange_stream *s)
{
    return s->granted || (TAILQ_EMPTY(&x->sharing) && tokens_room(&x->shared, 1, x->now));
}

void recv_share(struct exchange *x)
{
    size_t turns = tokens_room(&x->shared, EXCHANGE_ITEMS_RATE, x->now) / SHARED_ITEMS;
    struct exchange_stream *s;
    for (; turns && (s = TAILQ_FIRST(&x->sharing)); turns--) {
        resume_stream(x, s);
        s->granted = true;
    }
    if (!TAILQ_EMPTY(&x->sharing))
        tick_soon(x, mono_after(x->now, SHARED_TURNS));
}

bool recv_paused_by_us(const struct exchange_peer *p)
{
    const struct exchange_stream *s;
    TAILQ_FOREACH(s, &p->streams, link)
    if (s->paused || s->resumed || s->sharing)
        return true;
    return false;
}

static void block_left(struct exchange *x, struct exchange_stream *s, uint32_t size)
{
    s->peer->partial -= size;
    x->forced -= s->forced;
    s->forced = false;
    x->partial_total -= size;
    x->fresh_total -= s->fresh ? size : 0;
    s->fresh = false;
    struct exchange_stream *other = TAILQ_FIRST(&x->paused);
    if (other) /* it may have waited for this */
        resume_stream(x, other);
}

void exchange_stream_closed(struct exchange *x, struct exchange_stream *s, mono_ns now)
{
    x->now = now;
    struct exchange_peer *p = s->peer;
    unpause(x, s);
    if (bitswap_in_block(&s->reader)) {
        p->credit++; /* what was cut short may come again */
        p->part = 0;
        block_left(x, s, s->reader.size);
    }
    bitswap_reader_done(&s->reader);
    TAILQ_REMOVE(&p->streams, s, link);
    p->stream_count--;
    free(s);
}

/* The memory of our class may all be with those who wait for the very block that comes now: caches, windows, blocks behind it.
 * So a few may be taken past the class's part, as long as an eighth of the whole is left; of those who have delivered before
 * FORCED_MAX, of others one: it may never end. */
static struct block *force_block(struct exchange *x, struct exchange_stream *s, uint32_t size)
{
    const struct exchange_peer *p = s->peer;
    unsigned most = p->ledger.blocks_received ? FORCED_MAX : 1;
    uint64_t room = budget_room(x->budget);
    if (p->partial || x->forced >= most || budget_used(x->budget) + size > room - room / FORCED_LEAVES)
        return NULL;
    struct block *b = block_new_always(x->budget, BUDGET_NET, size);
    if (!b)
        return NULL;
    s->forced = true;
    x->forced++;
    return b;
}

static void slow_begin(struct exchange *x, struct exchange_stream *s)
{
    s->slow_at = x->now;
    s->slow_from = s->reader.block ? s->reader.block->len : 0;
    s->slow_came = x->came;
}

static bool paused(const struct exchange_stream *s)
{
    return s->paused || s->resumed || s->sharing;
}

static void slow_goes(struct exchange *x, struct exchange_stream *s, unsigned growing)
{
    uint64_t grown = s->reader.block->len - s->slow_from, all = x->came - s->slow_came;
    bool slow = grown < SLOW_BYTES || grown * growing * SLOW_SHARE < all;
    if (!paused(s) && x->now - s->slow_at < SLOW_FOR)
        return;
    if (!paused(s) && slow)
        peer_drop(x, s->peer, ERR_TIMEOUT);
    slow_begin(x, s);
}

/* Somebody waits for room: whoever has begun a block, and hardly goes on, has had it. */
static void slow_ones_go(struct exchange *x)
{
    struct exchange_peer *p;
    struct exchange_stream *s;
    unsigned growing = 0;
    if (x->now < x->slow_looked_at + LOOK_AGAIN)
        return;
    x->slow_looked_at = x->now;
    for (unsigned pass = 0; pass < 2; pass++)
        TAILQ_FOREACH(p, &x->peers, link)
    TAILQ_FOREACH(s, &p->streams, link)
    if (pass && bitswap_in_block(&s->reader))
        slow_goes(x, s, growing);
    else
        growing += bitswap_in_block(&s->reader) && !paused(s);
}

static bool block_room(const struct exchange *x, const struct exchange_peer *p, uint32_t size)
{
    uint64_t room = budget_room(x->budget);
    bool first = p->partial == 0; /* one block per peer always may, else a crowd of slow ones could shut out the rest */
    if (!first && (p->partial + size > PARTIAL_PEER || x->partial_total + size > room / PARTIAL_PART))
        return false;
    return p->ledger.blocks_received || !x->fresh_total || x->fresh_total + size <= room / FRESH_PART;
}

static struct block *block_for(struct exchange *x, struct exchange_stream *s, uint32_t size)
{
    if (!size)
        return block_new(NULL, BUDGET_NET, 0); /* an empty one has no byte to wait for */
    if (!block_room(x, s->peer, size))
        return NULL;
    struct block *b = block_new(x->budget, BUDGET_NET, size);
    return b ? b : force_block(x, s, size);
}

/* A block begins. true: decided; false: no room now. */
static bool begin_block(struct exchange *x, struct exchange_stream *s, uint32_t size)
{
    struct exchange_peer *p = s->peer;
    if (!p->credit || !peer_usable(p)) {
        peer_wrong(x, p, size);
        bitswap_accept(&s->reader, NULL);
        return true;
    }
    struct block *b = block_for(x, s, size);
    if (!b) {
        slow_ones_go(x);
        serve_slow_go(x);
        return false;
    }
    p->credit--;
    p->partial += size;
    x->partial_total += size;
    s->fresh = !p->ledger.blocks_received;
    x->fresh_total += s->fresh ? size : 0;
    s->block_at = x->now;
    peer_soon(x, p, x->now + LOOK_AGAIN);
    bitswap_accept(&s->reader, b);
    slow_begin(x, s);
    return true;
}

static void end_block(struct exchange *x, struct exchange_stream *s, struct bitswap_item *it)
{
    struct exchange_peer *p = s->peer;
    p->part = 0;
    if (!it->block)
        return; /* refused when it began */
    check_add(x, p, it->block, &it->prefix);
    block_left(x, s, it->size);
}

/* false: not now */
static bool take_item(struct exchange *x, struct exchange_stream *s, struct bitswap_item *it)
{
    switch (it->type) {
    case BITSWAP_WANT:
        serve_want(x, s, it);
        return true;
    case BITSWAP_PRESENCE:
        ask_presence(x, s->peer, &it->cid, it->have);
        return true;
    case BITSWAP_BEGIN:
        return begin_block(x, s, it->size);
    case BITSWAP_BLOCK:
        end_block(x, s, it);
        return true;
    case BITSWAP_END:
        if (it->full)
            serve_full(x, s);
        s->generation = ++x->generation;
        return true;
    }
    return true;
}

int exchange_stream_data(struct exchange *x, struct exchange_stream *s, struct span in, mono_ns now)
{
    x->now = now;
    struct exchange_peer *p = s->peer;
    if (p->drop)
        return p->drop;
    if (!tokens_room(&p->items, 1, now)) {
        pause_stream(x, s, tokens_when(&p->items, ITEMS_REST));
        return 0;
    }
    bool room = true, blocks = bitswap_in_block(&s->reader);
    if (!blocks && !p->earned && !may_share(x, s)) {
        line_up(x, s);
        return 0;
    }
    size_t allowed = tokens_room(&x->download, in.len, now), items = 0;
    size_t may = s->granted && allowed > SHARED_CHUNK ? SHARED_CHUNK : allowed;
    s->granted = false;
    struct span rest = span_sub(in, 0, may);
    struct bitswap_item it;
    int r;
    for (; room && (r = bitswap_read(&s->reader, &rest, &it)) == 1; items++) {
        blocks |= it.type == BITSWAP_BEGIN;
        room = take_item(x, s, &it);
    }
    size_t paid = items < p->earned ? items : p->earned;
    p->earned -= (unsigned)paid;
    tokens_spend(&x->shared, items - paid);
    tokens_spend(&p->items, items); /* more than there were: the rest of what came at once is taken and owed */
    size_t used = may - rest.len;
    tokens_spend(&x->download, used);
    if (used) {
        s->block_at = now;
        ask_progress(x, p, used, blocks ? used : 0);
    }
    if (room && r < 0) {
        if (++p->malformed >= MALFORMED_MAX)
            peer_drop(x, p, ERR_PROTOCOL);
        return r;
    }
    if (!room)
        pause_stream(x, s, now + PAUSE_RETRY);
    else if (may < allowed && bitswap_in_block(&s->reader))
        resume_stream(x, s);
    else if (may < allowed)
        line_up(x, s);
    else if (used < in.len)
        pause_stream(x, s, tokens_when(&x->download, TOKENS_BURST_MIN));
    return (int)used;
}

void recv_expire(struct exchange *x, struct exchange_peer *p)
{
    struct exchange_stream *s;
    TAILQ_FOREACH(s, &p->streams, link)
    {
        if (!bitswap_in_block(&s->reader))
            continue;
        if (s->paused || s->resumed)
            s->block_at = x->now;
        if (x->now - s->block_at >= BLOCK_IDLE)
            peer_drop(x, p, ERR_TIMEOUT);
    }
}

mono_ns recv_deadline(const struct exchange_peer *p)
{
    mono_ns first = MONO_NEVER;
    const struct exchange_stream *s;
    TAILQ_FOREACH(s, &p->streams, link)
    if (bitswap_in_block(&s->reader))
        first = mono_min(first, s->block_at + BLOCK_IDLE);
    return first;
}

void recv_forget_peer(struct exchange *x, struct exchange_peer *p)
{
    while (!TAILQ_EMPTY(&p->streams))
        exchange_stream_closed(x, TAILQ_FIRST(&p->streams), x->now);
}
