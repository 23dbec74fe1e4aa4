/* SPDX-License-Identifier: MIT
 *
 * What other threads ask for, as messages in the inbox. A message that is still there when the engine is freed is run with
 * owner NULL and gives its asker ERR_CANCELLED.
 */
#include "net/engine/engine_bridge.h"

#include <stdlib.h>

/* ---- the set of open wants ---- */

static size_t slot_of(const struct want_set *s, const struct want *w)
{
    size_t i = (size_t)(((uintptr_t)w >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (s->cap - 1);
    while (s->slots[i] && s->slots[i] != w)
        i = (i + 1) & (s->cap - 1);
    return i;
}

static bool set_has(const struct want_set *s, const struct want *w)
{
    return s->cap && s->slots[slot_of(s, w)] == w;
}

/* Room for one more. false: no memory. Fuller than half is slower, and as right while a slot is free. */
static bool set_room(struct want_set *s)
{
    struct want_set bigger = {.cap = s->cap ? s->cap * 2 : 64, .count = s->count};
    if (s->count * 2 < s->cap)
        return true;
    bigger.slots = mem_big(bigger.cap, sizeof(struct want *));
    if (!bigger.slots)
        return s->count + 1 < s->cap;
    memset(bigger.slots, 0, bigger.cap * sizeof(struct want *));
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i])
            bigger.slots[slot_of(&bigger, s->slots[i])] = s->slots[i];
    free(s->slots);
    *s = bigger;
    return true;
}

static void set_add(struct want_set *s, struct want *w)
{
    s->slots[slot_of(s, w)] = w;
    s->count++;
}

/* Linear probing: what follows in the run is put in again */
static void set_remove(struct want_set *s, const struct want *w)
{
    size_t i = slot_of(s, w);
    if (s->slots[i] != w)
        return;
    s->slots[i] = NULL;
    s->count--;
    for (size_t k = (i + 1) & (s->cap - 1); s->slots[k]; k = (k + 1) & (s->cap - 1)) {
        struct want *moved = s->slots[k];
        s->slots[k] = NULL;
        s->slots[slot_of(s, moved)] = moved;
    }
}

void engine_asks_done(struct engine *e)
{
    free(e->wants.slots);
}

/* ---- wants ---- */

enum ask { ASK_WANT, ASK_CANCEL, ASK_RAISE };

struct ask_mail {
    struct mail mail;
    struct engine *e; /* for its count of open wants, also when it stops */
    enum ask ask;
    struct want *want;
    enum want_priority priority;
};

static void give_back(struct engine *e, struct want *w)
{
    struct mailbox *reply = w->reply;
    atomic_fetch_sub(&e->open_wants, 1);
    mailbox_reply(reply, &w->mail);
}

void engine_settled(struct engine *e, struct want *w)
{
    set_remove(&e->wants, w);
    give_back(e, w);
}

static void take_want(struct engine *e, struct want *w)
{
    int err = e->stopping ? ERR_CANCELLED : set_room(&e->wants) ? host_want(e->host, w, mono_now()) : ERR_NO_MEMORY;
    if (err == 0) {
        set_add(&e->wants, w);
        return;
    }
    w->result = err;
    w->block = NULL;
    give_back(e, w);
}

static void run_ask(struct mail *m, void *owner)
{
    struct ask_mail *a = (struct ask_mail *)m;
    struct engine *e = owner;
    if (a->ask == ASK_WANT && e) {
        take_want(e, a->want);
    } else if (a->ask == ASK_WANT) {
        a->want->result = ERR_CANCELLED;
        a->want->block = NULL;
        give_back(a->e, a->want);
    } else if (e && set_has(&e->wants, a->want)) { /* else it was settled meanwhile, and is not ours to look at */
        if (a->ask == ASK_CANCEL)
            host_cancel(e->host, a->want, mono_now());
        else
            host_raise(e->host, a->want, a->priority, mono_now());
    }
    free(a);
}

static struct ask_mail *ask_new(struct engine *e, enum ask ask, struct want *w)
{
    struct ask_mail *a = MEM_NEW(struct ask_mail);
    a->mail.run = run_ask;
    a->e = e;
    a->ask = ask;
    a->want = w;
    return a;
}

static int port_post(void *self, struct want *take_w)
{
    struct engine *e = self;
    if (atomic_fetch_add(&e->open_wants, 1) >= ENGINE_WANTS_MAX) {
        atomic_fetch_sub(&e->open_wants, 1);
        return ERR_AGAIN;
    }
    take_w->engine = NULL;
    mailbox_reply(e->inbox, &ask_new(e, ASK_WANT, take_w)->mail); /* bounded by the count above */
    return 0;
}

static void port_cancel(void *self, struct want *w)
{
    struct engine *e = self;
    mailbox_reply(e->inbox, &ask_new(e, ASK_CANCEL, w)->mail); /* bounded by the asker's wants */
}

static void port_raise(void *self, struct want *w, enum want_priority p)
{
    struct engine *e = self;
    struct ask_mail *a = ask_new(e, ASK_RAISE, w);
    a->priority = p;
    mailbox_reply(e->inbox, &a->mail);
}

struct want_port engine_want_port(struct engine *e)
{
    return (struct want_port){.self = e, .post = port_post, .cancel = port_cancel, .raise = port_raise};
}

/* ---- blocks of others ---- */

struct have_mail {
    struct mail mail;
    unsigned count;
    struct cid cids[];
};

static void run_have(struct mail *m, void *owner)
{
    struct have_mail *h = (struct have_mail *)m;
    struct engine *e = owner;
    for (unsigned i = 0; e && !e->stopping && i < h->count; i++)
        host_have(e->host, &h->cids[i], mono_now());
    free(h);
}

void engine_have(struct engine *e, const struct cid *cids, unsigned count)
{
    struct have_mail *h = mem_new(sizeof *h + count * sizeof *cids);
    h->mail.run = run_have;
    h->count = count;
    memcpy(h->cids, cids, count * sizeof *cids);
    if (mailbox_post(e->inbox, &h->mail) < 0)
        free(h); /* a flood of writes: peers that wait for these blocks ask again */
}

/* ---- commands ---- */

static void answer(struct engine_call *call, int result)
{
    call->result = result;
    mailbox_reply(call->reply, &call->mail);
}

static void view_now(struct engine *e)
{
    e->view_now = true;
    (void)engine_view_turn(e, mono_now()); /* when the next one is due: the turn asks again */
}

void engine_called(struct engine *e, struct host_call *call)
{
    struct engine_call *asked = call->owner;
    if (call->verb == HOST_OPEN) {
        service_opened(e, call);
        return;
    }
    if (!asked) { /* our own: a forward's peer is kept connected */
        free(call);
        return;
    }
    if (asked->verb == ENGINE_CONNECT || asked->verb == ENGINE_DISCONNECT)
        view_now(e); /* who asks next sees it */
    asked->peer = call->peer;
    asked->rtt = call->rtt;
    asked->why = call->why;
    answer(asked, call->result);
    free(call);
}

_Static_assert(ENGINE_PROVIDERS_MAX == HOST_PROVIDERS_MAX, "an answer holds what the host knows");

struct call_mail {
    struct mail mail;
    struct engine_call *call;
};

static void run_call(struct mail *m, void *owner)
{
    static const enum host_verb verbs[] = {
        [ENGINE_CONNECT] = HOST_CONNECT, [ENGINE_DISCONNECT] = HOST_DISCONNECT, [ENGINE_PING] = HOST_PING,
        [ENGINE_FORGET] = HOST_FORGET,   [ENGINE_PROTECT] = HOST_PROTECT,       [ENGINE_LIMITS] = HOST_LIMITS,
    };
    struct engine *e = owner;
    struct engine_call *asked = ((struct call_mail *)m)->call;
    free(m);
    if (!e) {
        answer(asked, ERR_CANCELLED);
        return;
    }
    if (asked->verb == ENGINE_LOOK) {
        if (!asked->on || engine_view_old(e))
            view_now(e);
        answer(asked, 0);
        return;
    }
    if (asked->verb == ENGINE_NETWORK) {
        engine_read_ifaces(e, true);
        answer(asked, 0);
        return;
    }
    if (asked->verb == ENGINE_PROVIDERS) {
        asked->provider_count = host_sources_find(host_sources_of(e->host), &asked->cid, asked->providers, &asked->is_source);
        answer(asked, 0);
        return;
    }
    struct host_call *call = MEM_NEW(struct host_call);
    *call = (struct host_call){.verb = verbs[asked->verb],
                               .owner = asked,
                               .peer = asked->peer,
                               .addr = asked->addr,
                               .on = asked->on,
                               .upload_limit = asked->upload_limit,
                               .download_limit = asked->download_limit,
                               .max_connections = asked->max_connections};
    mono_ns now = mono_now();
    if (asked->timeout)
        call->deadline = mono_after(now, asked->timeout);
    host_call(e->host, call, now);
}

void engine_command(struct engine *e, struct engine_call *take_c)
{
    struct call_mail *m = MEM_NEW(struct call_mail);
    m->mail.run = run_call;
    m->call = take_c;
    take_c->why.text[0] = 0;
    take_c->result = 0;
    if (mailbox_post(e->inbox, &m->mail) == 0)
        return;
    free(m);
    answer(take_c, why_set(&take_c->why, ERR_LIMIT, "too many commands are waiting"));
}
