/* SPDX-License-Identifier: MIT
 *
 * Blocks between us, the workers and the store: reads of what we hold, checks of what came, the stash of what is not on
 * disk yet.
 *
 * Reads of one multihash are merged: every user gets a reference to the same block. A read is answered exactly once by the
 * host, so its object (the tag) lives until then, also when nobody waits for it any more. */
#include "net/exchange/xstate.h"

#include "store/content/hasher.h"

#include <assert.h>
#include <stdlib.h>

#define RETRY_AFTER (50 * MONO_MS) /* of what could not be read; for memory, in case that no eventfd tells */

/* ---- reads ---- */

static void answer_user(struct exchange *x, struct load_user *u, int result, uint64_t size, struct block *b)
{
    u->load = NULL;
    u->result = result;
    u->size = size;
    u->block = b && size <= u->most ? block_ref(b) : NULL;
    u->answered = true;
    TAILQ_INSERT_TAIL(&x->answered, u, link);
}

static void load_join(struct load *l, struct load_user *u)
{
    u->load = l;
    TAILQ_INSERT_TAIL(&l->users, u, link);
    if (!l->running && l->most < u->most)
        l->most = u->most;
}

void load_ask(struct exchange *x, struct load_user *u, const struct cid *cid, uint64_t most)
{
    assert(!u->load && !u->answered);
    u->most = most;
    u->stashed = false;
    struct stash *s = stash_find(x, cid);
    if (s) {
        u->stashed = true;
        answer_user(x, u, 0, s->block->len, s->block);
        return;
    }
    struct cidnode *n = cidmap_first(&x->loads, cid);
    struct load *l = n ? XCONTAINER(n, struct load, node) : NULL;
    if (!l) {
        l = CIDNODE_NEW(&x->loads, struct load, cid);
        TAILQ_INIT(&l->users);
        cidmap_add(&x->loads, &l->node);
        TAILQ_INSERT_TAIL(&x->loads_waiting, l, link);
    }
    load_join(l, u);
}

static void load_free(struct exchange *x, struct load *l)
{
    if (l->running) {
        TAILQ_REMOVE(&x->loads_running, l, link);
        x->loads_running_count--;
    } else {
        TAILQ_REMOVE(&x->loads_waiting, l, link);
    }
    cidmap_remove(&x->loads, &l->node);
    free(l);
}

void load_forget(struct exchange *x, struct load_user *u)
{
    if (u->answered) {
        TAILQ_REMOVE(&x->answered, u, link);
        u->answered = false;
        u->block = block_unref(u->block);
    }
    struct load *l = u->load;
    if (!l)
        return;
    TAILQ_REMOVE(&l->users, u, link);
    u->load = NULL;
    if (TAILQ_EMPTY(&l->users) && !l->running)
        load_free(x, l);
}

void exchange_loaded(struct exchange *x, uint64_t tag, int result, uint64_t size, struct block *take_b, mono_ns now)
{
    x->now = now;
    struct load *l = (struct load *)(uintptr_t)tag;
    assert(l->running);
    if (take_b)
        size = take_b->len;
    struct load_users again;
    TAILQ_INIT(&again);
    struct load_user *u;
    while ((u = TAILQ_FIRST(&l->users))) {
        TAILQ_REMOVE(&l->users, u, link);
        u->load = NULL;
        if (result == 0 && !take_b && size <= u->most)
            TAILQ_INSERT_TAIL(&again, u, link); /* joined a read that was under way for less */
        else
            answer_user(x, u, result, size, take_b);
    }
    struct cid cid;
    cidnode_cid(&l->node, &cid);
    load_free(x, l);
    while ((u = TAILQ_FIRST(&again))) {
        TAILQ_REMOVE(&again, u, link);
        load_ask(x, u, &cid, u->most);
    }
    (void)block_unref(take_b);
    if (load_later(result)) {
        x->reads_short = true;
        if (result == ERR_NO_MEMORY)
            serve_slow_go(x);
        tick_soon(x, now + RETRY_AFTER);
    }
}

bool load_dispatch(struct exchange *x)
{
    static void (*const take[])(struct exchange *, struct load_user *) = {
        [LOAD_SERVE] = serve_loaded, [LOAD_CHECK] = item_checked, [LOAD_EXPAND] = dag_expanded};
    struct load_user *u = TAILQ_FIRST(&x->answered);
    if (!u)
        return false;
    TAILQ_REMOVE(&x->answered, u, link);
    u->answered = false;
    take[u->kind](x, u);
    return true;
}

void exchange_have_block(struct exchange *x, const struct cid *cid, mono_ns now)
{
    x->now = now;
    serve_appeared(x, cid);
    struct item *i = item_find(x, cid);
    if (!i)
        return;
    if (i->check.load || i->check.answered)
        i->recheck = true;             /* that read may have been too early */
    else if (i->place != ITEM_RECHECK) /* it is read soon */
        item_check(x, i);
}

/* ---- checks ---- */

int exchange_verify_block(struct block *b, const struct exchange_prefix *prefix)
{
    struct buf hash = BUF_INIT;
    int r =
        prefix->hash == HASH_IDENTITY ? ERR_UNSUPPORTED : hash_compute(prefix->hash, prefix->digest_len, block_span(b), &hash);
    if (r == 0) {
        int version = prefix->version;
        if (version == 0 && (prefix->hash != HASH_SHA2_256 || prefix->digest_len != SHA256_SIZE))
            version = 1;
        r = cid_from_hash(&b->cid, version, version ? prefix->codec : CODEC_DAG_PB, buf_span(&hash));
    }
    buf_done(&hash);
    return r;
}

void check_add(struct exchange *x, struct exchange_peer *p, struct block *take_b, const struct exchange_prefix *prefix)
{
    struct check *c = MEM_NEW(struct check);
    c->peer = p;
    c->block = take_b;
    c->prefix = *prefix;
    TAILQ_INSERT_TAIL(&x->checks_waiting, c, link);
    x->check_count++;
}

/* A block that answers no want. An honest peer sends one now and then (its memory fails, or ours forgot a cancel), no more. */
static void unwanted(struct exchange *x, struct exchange_peer *p, const struct block *b, bool right)
{
    uint64_t hash = right ? cidmap_hash(&x->items, &b->cid) : 0;
    if (right && x->recent[hash % RECENT_SIZE] == hash) {
        p->ledger.duplicates++;
        p->ledger.duplicate_bytes += b->len;
        return;
    }
    asks_distrust(x, p);
    peer_wrong(x, p, b->len);
    session_lied(x, p);
}

void *exchange_sender(struct exchange *x, uint64_t tag, const struct cid *cid, struct cid *ret_root)
{
    const struct check *c = (const struct check *)(uintptr_t)tag;
    const struct item *i = c->peer ? item_find(x, cid) : NULL;
    if (!i)
        return NULL;
    cidnode_cid(&i->session->node, ret_root);
    return c->peer->owner;
}

void exchange_verified(struct exchange *x, uint64_t tag, struct block *take_b, int result, mono_ns now)
{
    x->now = now;
    struct check *c = (struct check *)(uintptr_t)tag;
    assert(c->running);
    struct exchange_peer *p = c->peer;
    TAILQ_REMOVE(&x->checks_running, c, link);
    x->check_count--;
    free(c);
    struct item *i = result == 0 ? item_find(x, &take_b->cid) : NULL;
    if (i) {
        if (p) {
            if (!p->ledger.blocks_received)
                session_proved(x);
            p->ledger.blocks_received++;
            recv_earned(p, true);
            p->ledger.bytes_received += take_b->len;
        }
        item_arrived(x, i, take_b, p);
    } else if (p) {
        unwanted(x, p, take_b, result == 0);
    }
    (void)block_unref(take_b);
}

/* ---- the stash ---- */

struct stash *stash_find(struct exchange *x, const struct cid *cid)
{
    struct cidnode *n = cidmap_first(&x->stashes, cid);
    return n ? XCONTAINER(n, struct stash, node) : NULL;
}

struct stash *stash_add(struct exchange *x, struct block *b)
{
    struct stash *s = CIDNODE_NEW(&x->stashes, struct stash, &b->cid);
    s->block = block_ref(b);
    TAILQ_INIT(&s->uses);
    cidmap_add(&x->stashes, &s->node);
    TAILQ_INSERT_TAIL(&x->store_waiting, s, link);
    return s;
}

static void stash_free(struct exchange *x, struct stash *s)
{
    if (s->running)
        TAILQ_REMOVE(&x->stash_running, s, link);
    else
        TAILQ_REMOVE(&x->store_waiting, s, link);
    cidmap_remove(&x->stashes, &s->node);
    s->block = block_unref(s->block);
    free(s);
}

void exchange_stored(struct exchange *x, const struct cid *cid, int result, mono_ns now)
{
    x->now = now;
    struct stash *s = stash_find(x, cid);
    if (!s || !s->running)
        return;
    struct dag_uses uses;
    TAILQ_INIT(&uses);
    TAILQ_CONCAT(&uses, &s->uses, by_owner);
    struct dag_use *u;
    TAILQ_FOREACH(u, &uses, by_owner)
    u->stash = NULL;
    stash_free(x, s);
    while ((u = TAILQ_FIRST(&uses))) {
        TAILQ_REMOVE(&uses, u, by_owner);
        dag_use_stored(x, u, result);
    }
    dag_wake(x);
}

/* ---- ends ---- */

void blocks_forget_peer(struct exchange *x, struct exchange_peer *p)
{
    struct check *c;
    TAILQ_FOREACH(c, &x->checks_waiting, link)
    if (c->peer == p)
        c->peer = NULL;
    TAILQ_FOREACH(c, &x->checks_running, link)
    if (c->peer == p)
        c->peer = NULL;
}

void blocks_done(struct exchange *x)
{
    struct check *c;
    while ((c = TAILQ_FIRST(&x->checks_waiting))) {
        TAILQ_REMOVE(&x->checks_waiting, c, link);
        (void)block_unref(c->block);
        free(c);
    }
    while ((c = TAILQ_FIRST(&x->checks_running))) {
        TAILQ_REMOVE(&x->checks_running, c, link);
        free(c);
    }
    while (!TAILQ_EMPTY(&x->loads_waiting))
        load_free(x, TAILQ_FIRST(&x->loads_waiting));
    while (!TAILQ_EMPTY(&x->loads_running))
        load_free(x, TAILQ_FIRST(&x->loads_running));
    while (!TAILQ_EMPTY(&x->store_waiting))
        stash_free(x, TAILQ_FIRST(&x->store_waiting));
    while (!TAILQ_EMPTY(&x->stash_running))
        stash_free(x, TAILQ_FIRST(&x->stash_running));
}
