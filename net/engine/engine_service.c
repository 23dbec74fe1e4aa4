/* SPDX-License-Identifier: MIT
 *
 * The registry on the engine's thread: changes that other threads ask for, streams that peers open, streams that are dialed.
 */
#include "net/engine/engine_bridge.h"
#include "net/transport/local_end.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_EVERY (250 * MONO_MS) /* is the program still there for which a peer is dialed? */

/* ---- changes ---- */

/* Streams of those who may not any more */
static void end_strangers(struct engine *e, const struct service_offer *o)
{
    for (struct bridge *b = e->bridges, *next; b; b = next) {
        next = b->next;
        if (b->offer == o && b->inbound && !service_may(o, &b->peer))
            bridge_end(b, ERR_CLOSED);
    }
}

static void keep_connected(struct engine *e, const struct peer_id *peer)
{
    struct host_call *call = MEM_NEW(struct host_call);
    *call = (struct host_call){.verb = HOST_PROTECT, .peer = *peer, .on = true};
    host_call(e->host, call, mono_now());
}

static int add_forward(struct engine *e, const struct service_line *l, struct why *why)
{
    int r = services_apply(e->services, l, why);
    if (r < 0)
        return r;
    struct service_forward *f = services_find_forward(e->services, l);
    r = forward_listen(e, f, why);
    if (r == 0) {
        keep_connected(e, &f->peer);
        return 0;
    }
    struct service_line undo = *l;
    undo.verb = SERVICE_UNFORWARD;
    (void)services_apply(e->services, &undo, NULL); /* it was added just now */
    return r;
}

static int hang_up(struct engine *e, uint64_t number, struct why *why)
{
    for (struct bridge *b = e->bridges; b; b = b->next)
        if (b->number == number) {
            bridge_end(b, ERR_CLOSED);
            return 0;
        }
    return why_set(why, ERR_NOT_FOUND, "there is no stream %llu", (unsigned long long)number);
}

static int apply(struct engine *e, const struct service_line *l, struct why *why)
{
    struct service_offer *o =
        l->verb == SERVICE_OFFER || l->verb == SERVICE_UNOFFER ? services_find(e->services, l->name) : NULL;
    struct service_forward *f = l->verb == SERVICE_UNFORWARD ? services_find_forward(e->services, l) : NULL;
    if (l->verb == SERVICE_HANGUP)
        return hang_up(e, l->number, why);
    if (l->verb == SERVICE_FORWARD)
        return add_forward(e, l, why);
    if (o)
        offer_close(e, o);
    if (f)
        forward_close(e, f);
    int r = services_apply(e->services, l, why);
    if (r == 0 && l->verb == SERVICE_DENY)
        end_strangers(e, services_find(e->services, l->name));
    if (r == 0 && l->verb == SERVICE_LIMIT)
        bridges_limited(e, services_find(e->services, l->name));
    return r;
}

struct change_mail {
    struct mail mail;
    struct engine_change *change;
};

static void run_change(struct mail *m, void *owner)
{
    struct engine *e = owner;
    struct engine_change *c = ((struct change_mail *)m)->change;
    struct service_line l;
    free(m);
    c->result =
        e && !e->stopping ? service_line_parse(span_str(c->line), (struct service_names){0}, &l, &c->why) : ERR_CANCELLED;
    if (c->result == 0) {
        c->result = apply(e, &l, &c->why);
        service_line_done(&l);
        services_save(e->services, &c->saved);
        host_services_changed(e->host, mono_now());
        e->service_changes++;
    }
    mailbox_reply(c->reply, &c->mail);
}

void engine_change_services(struct engine *e, struct engine_change *take_c)
{
    struct change_mail *m = MEM_NEW(struct change_mail);
    m->mail.run = run_change;
    m->change = take_c;
    take_c->result = 0;
    take_c->why.text[0] = 0;
    take_c->saved = BUF_INIT;
    mailbox_reply(e->inbox, &m->mail); /* bounded by the requests of people and ctl files */
}

/* ---- life ---- */

void services_open(struct engine *e)
{
    struct service_forward *f;
    for (unsigned i = 0; (f = services_forward(e->services, i)); i++) {
        keep_connected(e, &f->peer);
        if (forward_listen(e, f, &f->fault) < 0)
            engine_event(e, "forward.failed", f->fault.text);
    }
    host_services_changed(e->host, mono_now());
}

void services_close(struct engine *e)
{
    struct service_forward *f;
    for (unsigned i = 0; (f = services_forward(e->services, i)); i++)
        forward_close(e, f);
    flows_close_all(e);
    bridges_end_all(e, ERR_CANCELLED);
    struct service_offer *o;
    for (unsigned i = 0; (o = services_offer(e->services, i)); i++)
        offer_close(e, o);
    exec_stop_all(e);
}

/* ---- streams that peers open ---- */

void service_came(struct engine *e, const struct host_action *a)
{
    struct service_offer *o = services_by_id(e->services, a->text);
    bool full = o && ((o->connections_max && o->count.open >= o->connections_max) || exec_full(e, o, &a->peer));
    if (o && full)
        o->count.refused++;
    if (o && !full && service_may(o, &a->peer))
        target_start(e, o, a->raw);
    else
        host_raw_reset(e->host, a->raw, mono_now()); /* a limit, or it was taken away while they agreed on it */
}

/* ---- streams that are dialed ---- */

static void answer_dial(struct bridge *b, int result)
{
    struct engine_dial *d = b->dial;
    b->dial = NULL;
    if (!d)
        return;
    d->result = result;
    d->stream = b->number;
    d->fd = result < 0 ? -1 : b->other_fd;
    if (result == 0) {
        b->other_fd = -1;
        b->ended = d->ended;
        b->arg = d->arg;
    }
    mailbox_reply(d->reply, &d->mail);
}

/* What is joined to the stream: what came with the dial, or one end of a pair, the other end of which is the answer */
static int make_pair(struct bridge *b, struct engine_dial *d)
{
    int fds[2] = {d->fd, -1};
    if (b->datagrams)
        b->ends = &bridge_datagrams;
    if (d->fd < 0 &&
        socketpair(AF_UNIX, (b->datagrams ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
        return why_set(&d->why, ERR_LIMIT, "no descriptors are left");
    bridge_set_fd(b, fds[0]);
    b->other_fd = fds[1];
    return 0;
}

void service_dial(struct bridge *b, const char *name, mono_ns timeout)
{
    struct engine *e = b->e;
    struct host_call *call = MEM_NEW(struct host_call);
    mono_ns now = mono_now();
    *call = (struct host_call){.verb = HOST_OPEN, .owner = b, .peer = b->peer};
    (void)memcpy(b->service, name, strlen(name) + 1);
    service_id(name, b->datagrams, call->protocol);
    if (b->dial && b->dial->either)
        service_id(name, true, call->other);
    if (timeout)
        call->deadline = mono_after(now, timeout);
    b->call = call;
    if (b->fd >= 0 && b->other_fd < 0 && !b->datagrams)
        bridge_deadline(b, mono_after(now, LOOK_EVERY));
    host_call(e->host, call, now);
}

void service_look(struct bridge *b, mono_ns now)
{
    if (local_end_gone(b->fd))
        bridge_end(b, ERR_CANCELLED);
    else
        bridge_deadline(b, mono_after(now, LOOK_EVERY));
}

void service_opened(struct engine *e, struct host_call *call)
{
    struct bridge *b = call->owner;
    if (!b) { /* its bridge has gone meanwhile */
        if (call->result == 0)
            host_raw_reset(e->host, call->raw, mono_now());
        free(call);
        return;
    }
    b->call = NULL;
    if (b->forward)
        b->forward->fault = call->why;
    const char *other = call->result == ERR_DENIED ? flows_other_name(b) : NULL;
    if (other) {
        free(call);
        service_dial(b, other, 0);
        return;
    }
    if (call->result == 0 && b->dial && b->dial->either) {
        b->datagrams = strcmp(call->protocol, call->other) == 0;
        call->result = make_pair(b, b->dial);
        call->why = b->dial->why;
        if (call->result < 0)
            host_raw_reset(e->host, call->raw, mono_now());
    }
    if (call->result == 0) {
        answer_dial(b, 0);
        bridge_open(b, call->raw);
    } else {
        if (b->forward)
            b->forward->count.refused++;
        if (b->dial)
            b->dial->why = call->why;
        bridge_end(b, call->result);
    }
    free(call);
}

/* The bridge ends while it dials: whoever asked is told, and the call comes back to nobody */
void service_undial(struct bridge *b, int err)
{
    answer_dial(b, err);
    if (!b->call)
        return;
    b->call->owner = NULL;
    host_call_cancel(b->e->host, b->call, mono_now());
}

uint64_t engine_stream_number(struct engine *e)
{
    return atomic_fetch_add(&e->bridge_number, 1) + 1;
}

struct dial_mail {
    struct mail mail;
    struct engine_dial *dial;
};

/* No peer: a live service of our own, to be written */
static int feed(struct bridge *b, const char *name, struct why *why)
{
    struct service_offer *o = services_find(b->e->services, name);
    if (!o || o->kind != SERVICE_LIVE)
        return why_set(why, ERR_NOT_FOUND, "no live service '%s' is offered here", name);
    struct offer_state *s = offer_state(b->e, o);
    if (s->writer)
        return why_set(why, ERR_BUSY, "'%s' has a writer already", name);
    (void)memcpy(b->service, o->name, sizeof b->service);
    b->offer = o;
    b->ends = &bridge_feed;
    b->state = BRIDGE_OPEN;
    s->writer = b;
    answer_dial(b, 0);
    loop_fd_watch(b->watch, LOOP_READ);
    bridge_wake(b);
    return 0;
}

static void refuse_dial(struct engine_dial *d, int err)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
    d->result = err;
    mailbox_reply(d->reply, &d->mail);
}

static void run_dial(struct mail *m, void *owner)
{
    struct engine *e = owner;
    struct engine_dial *d = ((struct dial_mail *)m)->dial;
    free(m);
    int err = service_name_check(span_str(d->service), false, &d->why);
    if (!e || e->stopping || err < 0) {
        refuse_dial(d, err < 0 ? err : ERR_CANCELLED);
        return;
    }
    struct bridge *b = bridge_new(e, BRIDGE_DIALING);
    b->dial = d;
    if (d->stream)
        b->number = d->stream;
    b->peer = d->peer;
    b->datagrams = d->datagrams;
    b->place = mem_str("dial");
    err = d->either ? 0 : make_pair(b, d);
    if (err == 0 && peer_id_is_none(&d->peer))
        err = feed(b, d->service, &d->why);
    else if (err == 0)
        service_dial(b, d->service, d->timeout);
    if (err < 0)
        bridge_end(b, err);
}

void engine_dial_service(struct engine *e, struct engine_dial *take_d)
{
    struct dial_mail *m = MEM_NEW(struct dial_mail);
    m->mail.run = run_dial;
    m->dial = take_d;
    take_d->result = 0;
    take_d->why.text[0] = 0;
    if (mailbox_post(e->inbox, &m->mail) == 0)
        return;
    free(m);
    refuse_dial(take_d, why_set(&take_d->why, ERR_LIMIT, "too many commands are waiting"));
}

static void run_cancel(struct mail *m, void *owner)
{
    struct engine *e = owner;
    const struct engine_dial *d = ((struct dial_mail *)m)->dial;
    free(m);
    for (struct bridge *b = e ? e->bridges : NULL; b; b = b->next)
        if (b->dial == d) { /* else the answer has left already */
            bridge_end(b, ERR_CANCELLED);
            return;
        }
}

void engine_dial_cancel(struct engine *e, struct engine_dial *d)
{
    struct dial_mail *m = MEM_NEW(struct dial_mail);
    m->mail.run = run_cancel;
    m->dial = d;
    mailbox_reply(e->inbox, &m->mail); /* bounded by what was dialed */
}
