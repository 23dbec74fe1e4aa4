/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/order.h"

#include "cmd/daemon/keeper.h"
#include "cmd/daemon/dnsd.h"
#include "cmd/daemon/petnames.h"
#include "cmd/daemon/service_order.h"
#include "cmd/daemon/socks.h"
#include "cmd/daemon/views.h"
#include "store/block/pin.h"

#include <stdio.h>
#include <stdlib.h>

void order_finish(struct order *o, int result)
{
    o->result = result;
    if (result < 0 && !o->why.text[0])
        why_set(&o->why, result, "%s", err_text(result));
    o->done(o);
    buf_done(&o->answer);
    json_decref(o->info);
    free(o->line);
    free(o);
}

/* ---- peers ---- */

int order_peer(struct daemon *d, const char *text, struct peer_id *ret, struct why *why)
{
    struct why inner = {""};
    if (petname_find(d->petnames, text, ret) || peer_id_from_text(span_str(text), ret, &inner) == 0)
        return 0;
    if (d->dnsd && dnsd_find(d->dnsd, text, ret))
        return 0;
    return why_set(why, ERR_INVALID, "'%.100s' is neither a petname nor a peer id", text);
}

struct order_call {
    struct engine_call call;
    struct order *order;
};

/* What was to be done and with whom, before the engine's reason. */
static void say_call(struct order *o, const struct engine_call *call)
{
    static const char *const doing[] = {
        [ENGINE_CONNECT] = "connect to", [ENGINE_DISCONNECT] = "disconnect", [ENGINE_PING] = "ping"};
    const char *what = call->verb < sizeof doing / sizeof *doing ? doing[call->verb] : NULL;
    const char *reason = call->why.text[0] ? call->why.text : err_text(call->result);
    if (call->verb == ENGINE_DISCONNECT && call->result == ERR_NOT_FOUND)
        reason = "it is not connected";
    if (what)
        why_set(&o->why, call->result, "cannot %s %.120s: %s", what, o->words.words[1], reason);
    else
        o->why = call->why;
}

/* A line for the source, one for all that are known. */
static void add_providers(struct order *o, const struct engine_call *call)
{
    char id[PEER_ID_TEXT_SIZE];
    buf_add_str(&o->answer, call->is_source ? peer_id_text(&call->providers[0], id) : "-");
    for (unsigned i = 0; i < call->provider_count; i++)
        buf_printf(&o->answer, "%c%s", i ? ' ' : '\n', peer_id_text(&call->providers[i], id));
    buf_add_u8(&o->answer, '\n');
}

static void on_call(struct mail *mail, void *owner)
{
    struct order_call *c = (struct order_call *)mail;
    struct order *o = c->order;
    char id[PEER_ID_TEXT_SIZE];
    (void)owner;
    if (c->call.result < 0)
        say_call(o, &c->call);
    if (c->call.result == 0) {
        double rtt = (double)c->call.rtt / (double)MONO_S;
        o->info = json_pack("{ss}", "id", peer_id_text(&c->call.peer, id));
        if (c->call.rtt)
            json_object_set_new(o->info, "rtt", json_real(rtt));
        if (c->call.verb == ENGINE_PING)
            buf_printf(&o->answer, "%.3f ms\n", rtt * 1000);
        if (c->call.verb == ENGINE_PROVIDERS)
            add_providers(o, &c->call);
    }
    int result = c->call.result;
    free(c);
    order_finish(o, result);
}

static void call_engine(struct order *o, const struct engine_call *like)
{
    struct order_call *c = MEM_NEW(struct order_call);
    c->call = *like;
    c->call.mail.run = on_call;
    c->call.reply = o->d->mail;
    c->order = o;
    engine_command(o->d->engine, &c->call);
}

static void do_connect(struct order *o)
{
    struct engine_call call = {.verb = ENGINE_CONNECT};
    struct why inner = {""};
    const char *text = o->words.words[1];
    int r;
    if (*text != '/')
        r = order_peer(o->d, text, &call.peer, &o->why);
    else if ((r = multiaddr_from_text(span_str(text), &call.addr, &inner)) < 0)
        r = why_set(&o->why, ERR_INVALID, "'%.100s' is not an address: %s", text, inner.text);
    if (r < 0) {
        order_finish(o, r);
        return;
    }
    (void)multiaddr_peer(&call.addr, &call.peer); /* an address may do without */
    call_engine(o, &call);
}

static void peer_call(struct order *o, const char *peer, enum engine_verb verb, bool on)
{
    struct engine_call call = {.verb = verb, .on = on};
    int r = order_peer(o->d, peer, &call.peer, &o->why);
    if (r < 0)
        order_finish(o, r);
    else
        call_engine(o, &call);
}

static void do_disconnect(struct order *o)
{
    peer_call(o, o->words.words[1], ENGINE_DISCONNECT, false);
}

static void do_ping(struct order *o)
{
    peer_call(o, o->words.words[1], ENGINE_PING, false);
}

static void do_providers(struct order *o)
{
    struct engine_call call = {.verb = ENGINE_PROVIDERS};
    int r = cid_from_text(span_str(o->words.words[1]), &call.cid, &o->why);
    if (r < 0)
        order_finish(o, r);
    else
        call_engine(o, &call);
}

static void do_peer(struct order *o)
{
    static const struct {
        const char *word;
        enum engine_verb verb;
        bool on;
    } verbs[] = {
        {"connect", ENGINE_CONNECT, false}, {"disconnect", ENGINE_DISCONNECT, false}, {"ping", ENGINE_PING, false},
        {"forget", ENGINE_FORGET, false},   {"protect", ENGINE_PROTECT, true},        {"unprotect", ENGINE_PROTECT, false},
    };
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].word, o->words.words[2]) == 0) {
            peer_call(o, o->words.words[1], verbs[i].verb, verbs[i].on);
            return;
        }
    order_finish(o, why_set(&o->why, ERR_INVALID,
                            "a peer cannot '%.60s'; the commands are: connect, disconnect, ping, forget, protect, unprotect",
                            o->words.words[2]));
}

static void do_petname(struct order *o)
{
    struct peer_id id;
    bool away = strcmp(o->words.words[2], "-") == 0;
    int r = away ? 0 : peer_id_from_text(span_str(o->words.words[2]), &id, &o->why);
    if (r == 0 && !away && peer_id_eq(&id, &o->d->identity.id))
        r = why_set(&o->why, ERR_INVALID, "that is this node itself: it needs no name");
    if (r == 0)
        r = petname_set(o->d->petnames, o->words.words[1], away ? NULL : &id, &o->why);
    if (r == 0) {
        struct engine_call call = {.verb = ENGINE_PROTECT, .on = true, .peer = id};
        views_publish(o->d);
        if (!away) { /* a friend: kept connected */
            call_engine(o, &call);
            return;
        }
    }
    order_finish(o, r);
}

/* ---- limits ---- */

static const struct {
    const char *name, *key;
} limits[] = {
    {"memory", "memory"},
    {"quota", "quota"},
    {"upload", "upload-limit"},
    {"download", "download-limit"},
    {"connections", "max-connections"},
};

static void do_limits(struct order *o)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (strcmp(limits[i].name, o->words.words[1]) != 0)
            continue;
        struct buf restart = BUF_INIT;
        int r = config_set(o->d->paths.config, limits[i].key, o->words.words[2], &o->why);
        if (r == 0)
            r = daemon_reload(o->d, &restart, &o->why);
        buf_done(&restart);
        order_finish(o, r);
        return;
    }
    order_finish(o, why_set(&o->why, ERR_INVALID,
                            "there is no limit '%.60s'; there are memory, quota, upload, download, connections",
                            o->words.words[1]));
}

/* ---- store ---- */

static void on_collected(void *arg, const struct collect_result *r)
{
    struct order *o = arg;
    buf_printf(&o->answer, "%llu blocks, %llu bytes\n", (unsigned long long)r->blocks, (unsigned long long)r->bytes);
    order_finish(o, r->result);
}

static void do_gc(struct order *o)
{
    blockstore_collect(o->d->store, o->d->mail, on_collected, o);
}

struct order_pin {
    struct order *order;
    struct cid cid;
    bool pin;
};

static void on_pinned(void *arg, int result)
{
    struct order_pin *p = arg;
    struct order *o = p->order;
    if (result == 0 && p->pin)
        keeper_add_pin(o->d->keeper, &p->cid);
    else if (result == 0)
        keeper_drop_pin(o->d->keeper, &p->cid);
    free(p);
    order_finish(o, result);
}

static void pin_or_unpin(struct order *o, bool pin)
{
    struct cid cid;
    int r = cid_from_text(span_str(o->words.words[1]), &cid, &o->why);
    if (r < 0) {
        order_finish(o, r);
        return;
    }
    struct order_pin *p = MEM_NEW(struct order_pin);
    *p = (struct order_pin){o, cid, pin};
    if (pin)
        blockstore_pin(o->d->store, &cid, o->words.count > 2 ? o->words.words[2] : "", o->d->mail, on_pinned, p);
    else
        blockstore_unpin(o->d->store, &cid, o->d->mail, on_pinned, p);
}

static void do_pin(struct order *o)
{
    pin_or_unpin(o, true);
}

static void do_unpin(struct order *o)
{
    pin_or_unpin(o, false);
}

/* ---- the node ---- */

static void do_reload(struct order *o)
{
    struct buf restart = BUF_INIT;
    int r = daemon_reload(o->d, &restart, &o->why);
    o->info = json_pack("{ss}", "restart", buf_cstr(&restart));
    buf_done(&restart);
    order_finish(o, r);
}

static void do_network(struct order *o)
{
    struct engine_call call = {.verb = ENGINE_NETWORK};
    call_engine(o, &call);
}

static void do_look(struct order *o)
{
    struct engine_call call = {.verb = ENGINE_LOOK, .on = true};
    call_engine(o, &call);
}

/* ---- the table ---- */

static void (*const runs[ORDER_COUNT])(struct order *o) = {
    [ORDER_CONNECT] = do_connect, [ORDER_DISCONNECT] = do_disconnect, [ORDER_PING] = do_ping,
    [ORDER_PEER] = do_peer,       [ORDER_PETNAME] = do_petname,       [ORDER_LIMITS] = do_limits,
    [ORDER_PIN] = do_pin,         [ORDER_UNPIN] = do_unpin,           [ORDER_PROVIDERS] = do_providers,
    [ORDER_GC] = do_gc,           [ORDER_RELOAD] = do_reload,         [ORDER_NETWORK] = do_network,
    [ORDER_LOOK] = do_look,
};

void order_run(struct daemon *d, const char *line, void (*done)(struct order *o), void *arg)
{
    struct order *o = MEM_NEW(struct order);
    *o = (struct order){.d = d, .done = done, .arg = arg, .line = mem_str(line)};
    if (service_order_is(line)) {
        service_order_run(o);
        return;
    }
    if (sock_order_is(line)) {
        sock_order_run(o);
        return;
    }
    int r = ctl_parse_order(o->line, &o->words, &o->why);
    if (r < 0)
        order_finish(o, r);
    else
        runs[o->words.verb](o);
}

/* ---- from the mount ---- */

struct order_mail {
    struct mail mail;
    struct command *command;
};

static void settle(struct order *o)
{
    struct command *c = o->arg;
    c->result = o->result;
    c->why = o->why;
    buf_add_span(&c->answer, buf_span(&o->answer));
    mailbox_reply(c->reply, &c->mail);
}

static void on_command(struct mail *mail, void *owner)
{
    struct order_mail *m = (struct order_mail *)mail;
    struct daemon *d = owner;
    struct command *c = m->command;
    free(m);
    if (d && !d->stopping) {
        order_run(d, c->line, settle, c);
        return;
    }
    c->result = ERR_CANCELLED;
    mailbox_reply(c->reply, &c->mail);
}

int order_post(void *daemon, struct command *take_c)
{
    struct daemon *d = daemon;
    struct order_mail *m = MEM_NEW(struct order_mail);
    m->mail.run = on_command;
    m->command = take_c;
    int r = mailbox_post(d->mail, &m->mail);
    if (r < 0)
        free(m);
    return r;
}
