/* SPDX-License-Identifier: MIT
 *
 * Walks of whole DAGs (WANT_DAG), breadth first, in bounded memory.
 *
 * The frontier is a ring of CIDs that are known and not asked for. A node's links go to its end; when it is full the node is
 * put on a stack with the place where to go on, and read again from our store when the frontier has run low. So a
 * directory of a million names costs two thousand CIDs and a stack of a few nodes, and nothing needs to be written down to
 * resume after a restart: a walk begins at the root and passes over what is held. With many nodes on the stack the frontier
 * is taken from its end (depth first), which bounds the stack by window × depth.
 *
 * `seen` is a direct-mapped table of 64-bit keyed hashes of what was taken lately: DAGs that share subtrees are not walked
 * once per path. Forgetting an entry costs a second look at a held block, never a miss.
 *
 * What nobody has may take half of the window while more is known; the rest of it is left out, and looked for when nothing
 * else is to be done: the walk begins anew, after a while that doubles, or at once when all that it kept of it has come.
 *
 * The walk ends when nothing is in the frontier, on the stack, being fetched, being stored or left out. */
#include "net/exchange/xstate.h"

#include "store/codec/links.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#define DAG_WINDOW       512 /* blocks asked for at a time, … */
#define DAG_STORING      3   /* … and as many times more are being stored: small ones share a commit by the hundred */
#define DAG_FRONTIER_MAX 2048
#define DAG_FRONTIER_LOW 1024  /* below: the node on the stack goes on */
#define DAG_PAUSED_DEEP  1024  /* above: depth first */
#define DAG_PAUSED_MAX   65536 /* each stands for a fetched block of thousands of links: only hostile DAGs get there */
#define DAG_SEEN_MIN     1024
#define DAG_SEEN_MAX     65536
#define DAG_USES_MAX     8192 /* of all walks together, but each may have DAG_WINDOW_MIN */
#define DAG_WINDOW_MIN   8
#define DAG_COST         (DAG_FRONTIER_MAX * sizeof(void *) + DAG_SEEN_MIN * 8) /* these are charged to BUDGET_TABLE: a walk, */
#define FRONTIER_COST    64                                                     /* a CID in its frontier */
#define USE_COST         512                                                    /* a block it asked for, with its item */
#define PAUSE_COST       128                                                    /* a node on the stack, also while that grows */
#define DAG_STEPS        64                                                     /* issued before other work has its turn */
#define DAG_ANEW         (10 * MONO_S)                                          /* what is held is read again for it */
#define DAG_ANEW_TURNS   6                                                      /* up to 640 s */

static struct compact_cid *compact(const struct cid *c)
{
    struct compact_cid *k = mem_new(sizeof *k + c->len);
    k->len = c->len;
    k->hash_at = c->hash_at;
    memcpy(k->bytes, c->bytes, c->len);
    return k;
}

static void expand_cid(const struct compact_cid *k, struct cid *ret)
{
    *ret = (struct cid){.len = k->len, .hash_at = k->hash_at};
    memcpy(ret->bytes, k->bytes, k->len);
}

unsigned dag_use_priority(const struct dag_use *u)
{
    return u->dag->waiter->want->priority;
}

uint64_t dag_use_most(const struct dag_use *u)
{
    struct cid cid;
    expand_cid(u->cid, &cid);
    return links_possible(cid_codec(&cid)) ? BLOCK_MAX : 0;
}

static void dag_work_add(struct dag *d)
{
    if (d->working)
        return;
    d->working = true;
    TAILQ_INSERT_TAIL(&d->x->dag_work, d, work_link);
}

void dag_wake(struct exchange *x)
{
    struct dag *d;
    TAILQ_FOREACH(d, &x->dags, link)
    dag_work_add(d);
}

/* ---- seen ---- */

static void seen_grow(struct dag *d)
{
    size_t size = d->seen_size * 2;
    size_t more = (size - d->seen_size) * sizeof *d->seen;
    if (size > DAG_SEEN_MAX || !budget_take(d->x->budget, BUDGET_TABLE, more))
        return;
    uint64_t *table = mem_big(size, sizeof *table);
    if (!table) {
        budget_give(d->x->budget, BUDGET_TABLE, more);
        return;
    }
    memset(table, 0, size * sizeof *table);
    for (size_t i = 0; i < d->seen_size; i++)
        if (d->seen[i])
            table[d->seen[i] % size] = d->seen[i];
    free(d->seen);
    d->seen = table;
    d->seen_size = size;
}

static bool seen_before(struct dag *d, const struct cid *cid)
{
    uint64_t hash = cidmap_hash(&d->x->items, cid) ^ cid_codec(cid);
    uint64_t *slot = &d->seen[hash % d->seen_size];
    if (*slot == hash)
        return true;
    if (*slot && d->seen_size < DAG_SEEN_MAX) {
        seen_grow(d);
        slot = &d->seen[hash % d->seen_size];
    }
    *slot = hash;
    return false;
}

/* ---- frontier ---- */

static void frontier_push(struct dag *d, const struct cid *cid)
{
    assert(d->frontier_count < DAG_FRONTIER_MAX);
    budget_take_always(d->x->budget, BUDGET_TABLE, FRONTIER_COST);
    d->frontier[(d->front + d->frontier_count++) % DAG_FRONTIER_MAX] = compact(cid);
}

static struct compact_cid *frontier_pop(struct dag *d)
{
    budget_give(d->x->budget, BUDGET_TABLE, FRONTIER_COST);
    if (d->paused_count > DAG_PAUSED_DEEP)
        return d->frontier[(d->front + --d->frontier_count) % DAG_FRONTIER_MAX];
    struct compact_cid *c = d->frontier[d->front];
    d->front = (d->front + 1) % DAG_FRONTIER_MAX;
    d->frontier_count--;
    return c;
}

/* What a walk of an honest DAG needs is charged whatever there is; a stack that still grows when it goes depth first is not. */
static bool pause_charge(struct dag *d)
{
    if (d->paused_count > DAG_PAUSED_DEEP)
        return budget_take(d->x->budget, BUDGET_TABLE, PAUSE_COST);
    budget_take_always(d->x->budget, BUDGET_TABLE, PAUSE_COST);
    return true;
}

static struct dag_pause pause_pop(struct dag *d)
{
    budget_give(d->x->budget, BUDGET_TABLE, PAUSE_COST);
    return d->paused[--d->paused_count];
}

static void pause_node(struct dag *d, const struct cid *cid, uint32_t next)
{
    if (d->paused_count == DAG_PAUSED_MAX) {
        d->result = ERR_LIMIT;
        return;
    }
    if (d->paused_count == d->paused_cap) {
        unsigned cap = d->paused_cap ? d->paused_cap * 2 : 16;
        struct dag_pause *bigger = mem_big(cap, sizeof *bigger);
        if (!bigger) {
            d->result = ERR_NO_MEMORY;
            return;
        }
        if (d->paused_count)
            memcpy(bigger, d->paused, d->paused_count * sizeof *bigger);
        free(d->paused);
        d->paused = bigger;
        d->paused_cap = cap;
    }
    if (!pause_charge(d)) {
        d->result = ERR_NO_MEMORY;
        return;
    }
    d->paused[d->paused_count++] = (struct dag_pause){compact(cid), next};
}

struct link_walk {
    struct dag *dag;
    uint32_t index, from;
};

static int each_link(void *arg, const struct cid *child)
{
    struct link_walk *w = arg;
    if (w->index < w->from) {
        w->index++;
        return 0;
    }
    if (w->dag->frontier_count == DAG_FRONTIER_MAX)
        return 1;
    w->index++;
    if (!seen_before(w->dag, child))
        frontier_push(w->dag, child);
    return 0;
}

/* Takes links from number `from` on. A damaged node has the links before the damage: its bytes are what the hash says. */
static void take_links(struct dag *d, const struct cid *cid, struct span block, uint32_t from)
{
    struct link_walk w = {d, 0, from};
    if (links_of(cid, block, each_link, &w) == 1)
        pause_node(d, cid, w.index);
    dag_work_add(d);
}

/* ---- uses ---- */

static void use_free(struct dag_use *u)
{
    TAILQ_REMOVE(&u->dag->uses, u, by_dag);
    u->dag->use_count--;
    u->dag->storing_count -= u->storing;
    u->dag->x->use_count--;
    budget_give(u->dag->x->budget, BUDGET_TABLE, USE_COST);
    dag_work_add(u->dag);
    free(u->cid);
    free(u);
}

/* The walk has come forward. */
static void use_done(struct dag_use *u)
{
    want_heard(u->dag->waiter->want, u->dag->x->now);
    use_free(u);
}

static void use_drop(struct exchange *x, struct dag_use *u)
{
    struct item *i = u->item;
    if (i)
        TAILQ_REMOVE(&i->uses, u, by_owner);
    if (u->stash)
        TAILQ_REMOVE(&u->stash->uses, u, by_owner);
    use_free(u);
    if (i)
        item_drop_if_unused(x, i);
}

static void use_wait_stored(struct dag_use *u, struct stash *s)
{
    u->stash = s;
    u->storing = true;
    u->dag->storing_count++;
    TAILQ_INSERT_TAIL(&s->uses, u, by_owner);
    dag_work_add(u->dag);
}

static void use_links(struct dag_use *u, struct block *b)
{
    if (!b)
        return;
    struct cid cid;
    expand_cid(u->cid, &cid);
    take_links(u->dag, &cid, block_span(b), 0);
}

void dag_use_arrived(struct exchange *x, struct dag_use *u, struct block *b, struct stash *stash)
{
    (void)x;
    struct want *w = u->dag->waiter->want;
    atomic_fetch_add_explicit(&w->blocks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->bytes, b->len, memory_order_relaxed);
    use_links(u, b);
    use_wait_stored(u, stash);
}

void dag_use_held(struct exchange *x, struct dag_use *u, struct block *b, struct stash *stash)
{
    if (stash) { /* it came for somebody else, and is not kept by what links to it before it is stored */
        dag_use_arrived(x, u, stash->block, stash);
        return;
    }
    u->dag->held++;
    use_links(u, b);
    use_done(u);
}

void dag_use_stored(struct exchange *x, struct dag_use *u, int result)
{
    (void)x;
    if (result < 0)
        u->dag->result = result;
    use_done(u);
}

void dag_item_lost(const struct item *i)
{
    struct dag_use *u;
    TAILQ_FOREACH(u, &i->uses, by_owner)
    {
        u->dag->lost_more = true;
        dag_work_add(u->dag);
    }
}

/* Everybody was asked for it, and nobody has been found since. */
static bool use_lost(const struct dag_use *u)
{
    return u->item && u->item->tries && !u->item->asked;
}

static void issue(struct exchange *x, struct dag *d, struct compact_cid *take_cid)
{
    struct dag_use *u = MEM_NEW(struct dag_use);
    u->dag = d;
    u->cid = take_cid;
    TAILQ_INSERT_TAIL(&d->uses, u, by_dag);
    d->use_count++;
    x->use_count++;
    budget_take_always(x->budget, BUDGET_TABLE, USE_COST);
    const struct want *w = d->waiter->want;
    struct cid cid;
    expand_cid(take_cid, &cid);
    struct item *i = item_get(x, &cid, cid_is_none(&w->root) ? &w->cid : &w->root, w->priority);
    u->item = i;
    TAILQ_INSERT_TAIL(&i->uses, u, by_owner);
    if (i->place == ITEM_CHECK && !i->check.load && !i->check.answered)
        item_check(x, i);
    d->lost_more |= use_lost(u);
    item_prioritise(x, i);
}

/* ---- the walk ---- */

static void dag_begin(struct dag *d)
{
    const struct cid *root = &d->waiter->want->cid;
    struct span data;
    if (cid_inline(root, &data))
        take_links(d, root, data, 0);
    else
        frontier_push(d, root);
    dag_work_add(d);
}

void dag_start(struct exchange *x, struct waiter *w)
{
    struct dag *d = MEM_NEW(struct dag);
    d->x = x;
    d->waiter = w;
    w->dag = d;
    d->expand.kind = LOAD_EXPAND;
    TAILQ_INIT(&d->uses);
    budget_take_always(x->budget, BUDGET_TABLE, DAG_COST); /* bounded by EXCHANGE_DAGS_MAX */
    d->frontier = mem_array(DAG_FRONTIER_MAX, sizeof *d->frontier);
    d->seen_size = DAG_SEEN_MIN;
    d->seen = mem_array(d->seen_size, sizeof *d->seen);
    TAILQ_INSERT_TAIL(&x->dags, d, link);
    x->dag_count++;
    dag_begin(d);
}

void dag_free(struct exchange *x, struct dag *d)
{
    load_forget(x, &d->expand);
    while (!TAILQ_EMPTY(&d->uses))
        use_drop(x, TAILQ_FIRST(&d->uses));
    while (d->frontier_count)
        free(frontier_pop(d));
    while (d->paused_count)
        free(pause_pop(d).cid);
    free(d->expanding.cid);
    if (d->working)
        TAILQ_REMOVE(&x->dag_work, d, work_link);
    TAILQ_REMOVE(&x->dags, d, link);
    x->dag_count--;
    budget_give(x->budget, BUDGET_TABLE, DAG_COST + (d->seen_size - DAG_SEEN_MIN) * sizeof *d->seen);
    free(d->frontier);
    free(d->paused);
    free(d->seen);
    free(d);
}

void dag_end(struct exchange *x, struct dag *d, int result)
{
    struct waiter *w = d->waiter;
    dag_free(x, d);
    want_settle(x, w, result, NULL);
}

void dag_expanded(struct exchange *x, struct load_user *u)
{
    struct dag *d = XCONTAINER(u, struct dag, expand);
    struct block *b = u->block;
    u->block = NULL;
    struct cid cid;
    struct dag_pause p = d->expanding;
    d->expanding = (struct dag_pause){0};
    expand_cid(p.cid, &cid);
    free(p.cid);
    if (load_later(u->result)) { /* dag_wake comes */
        pause_node(d, &cid, p.next);
        return;
    }
    dag_work_add(d);
    if (b) {
        take_links(d, &cid, block_span(b), p.next);
    } else { /* it was dropped meanwhile: fetch it again, and its links with it */
        if (d->frontier_count < DAG_FRONTIER_MAX)
            frontier_push(d, &cid);
        else
            d->result = ERR_CORRUPT;
    }
    (void)block_unref(b);
    (void)x;
}

static bool knows_more(const struct dag *d)
{
    return d->frontier_count || d->paused_count || d->expanding.cid;
}

static unsigned count_lost(const struct dag *d)
{
    unsigned count = 0;
    const struct dag_use *u;
    TAILQ_FOREACH(u, &d->uses, by_dag)
    count += use_lost(u);
    return count;
}

/* Leaves out what nobody has, but for `most` of it. */
static void leave_out(struct exchange *x, struct dag *d, unsigned most)
{
    unsigned lost = count_lost(d);
    for (struct dag_use *u = TAILQ_FIRST(&d->uses), *next; lost > most; u = next) {
        next = TAILQ_NEXT(u, by_dag);
        if (!use_lost(u))
            continue;
        use_drop(x, u);
        d->left_out = true;
        lost--;
    }
}

static void begin_anew(struct exchange *x, struct dag *d)
{
    if (!d->left_out || knows_more(d) || count_lost(d) < d->use_count)
        return;
    if (!d->anew_at) {
        d->anew_at = x->now + (DAG_ANEW << d->turns);
        d->turns += d->turns < DAG_ANEW_TURNS;
    }
    if (d->use_count && x->now < d->anew_at) {
        tick_soon(x, d->anew_at);
        return;
    }
    leave_out(x, d, 0);
    d->left_out = false;
    d->anew_at = 0;
    d->held = 0;
    memset(d->seen, 0, d->seen_size * sizeof *d->seen);
    dag_begin(d);
}

/* true: it can do more at once */
static bool dag_step(struct exchange *x, struct dag *d)
{
    unsigned window = x->use_count < DAG_USES_MAX ? DAG_WINDOW : DAG_WINDOW_MIN;
    unsigned most = window * (1 + DAG_STORING);
    if (d->lost_more && x->peer_count && knows_more(d) && d->use_count - d->storing_count >= window) {
        d->lost_more = false;
        leave_out(x, d, window / 2);
    }
    for (unsigned steps = 0; d->frontier_count && d->use_count - d->storing_count < window && d->use_count < most; steps++) {
        if (steps == DAG_STEPS)
            return true;
        issue(x, d, frontier_pop(d));
    }
    if (d->paused_count && d->frontier_count < DAG_FRONTIER_LOW && !d->expanding.cid) {
        struct cid cid;
        d->expanding = pause_pop(d);
        expand_cid(d->expanding.cid, &cid);
        load_ask(x, &d->expand, &cid, BLOCK_MAX);
    }
    begin_anew(x, d);
    return false;
}

bool dag_work(struct exchange *x)
{
    struct dag *d = TAILQ_FIRST(&x->dag_work);
    if (!d)
        return false;
    TAILQ_REMOVE(&x->dag_work, d, work_link);
    d->working = false;
    if (d->result == 0 && dag_step(x, d))
        dag_work_add(d);
    if (d->result < 0 || (!knows_more(d) && !d->use_count))
        dag_end(x, d, d->result);
    return true;
}
