/* SPDX-License-Identifier: MIT
 *
 * Life of the engine and its turn: after each batch of socket events and messages the host's actions are carried out until
 * there are none. Stopping: the host says goodbye and settles everything, then the thread waits for what workers and the
 * committer still have of it, and ends.
 */
#include "net/engine/engine_bridge.h"

#include "store/base/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define SAVE_DELAY (5 * MONO_S)

void engine_event(struct engine *e, const char *kind, const char *text)
{
    if (e->o.listener.event)
        e->o.listener.event(e->o.listener.arg, kind, text);
}

/* ---- actions ---- */

static struct engine_conn *owner_of(const struct host_action *a)
{
    return a->owner;
}

static void carry_out(struct engine *e, const struct host_action *a)
{
    switch (a->type) {
    case HOST_NONE:
        return;
    case HOST_DIAL:
        engine_dial(e, a);
        return;
    case HOST_ABORT:
        engine_abort_dial(e, a->dial);
        return;
    case HOST_RESOLVE:
        engine_resolve(e, a);
        return;
    case HOST_SEND:
        tcp_conn_flush(owner_of(a)->tc);
        return;
    case HOST_HOLD:
    case HOST_RESUME:
        tcp_conn_pause(owner_of(a)->tc, a->type == HOST_HOLD);
        return;
    case HOST_CLOSE:
        engine_conn_close(owner_of(a));
        return;
    case HOST_MULTICAST:
    case HOST_UNICAST:
        engine_send_datagram(e, a);
        return;
    case HOST_LOAD:
        engine_load(e, a);
        return;
    case HOST_VERIFY:
        engine_verify(e, a);
        return;
    case HOST_STORE:
        engine_store(e, a);
        return;
    case HOST_SETTLE:
        engine_settled(e, a->want);
        return;
    case HOST_CALLED:
        engine_called(e, a->call);
        return;
    case HOST_EVENT:
        engine_event(e, a->kind, a->text);
        return;
    case HOST_STREAM_CAME:
        service_came(e, a);
        return;
    case HOST_STREAM_READY:
        bridge_wake(a->owner);
        return;
    case HOST_STREAM_END:
        bridges_stream_end(a->owner, a);
        return;
    case HOST_SAVE:
        e->save_at = engine_min(e->save_at, mono_after(mono_now(), SAVE_DELAY));
        return;
    }
}

static void save_peers(struct engine *e)
{
    e->save_at = MONO_NEVER;
    if (!e->o.listener.save_peers)
        return;
    struct buf bytes = BUF_SOFT; /* some MiB when many have been here */
    host_save_peers(e->host, &bytes, mono_now());
    if (bytes.cut)
        e->save_at = mono_after(mono_now(), SAVE_DELAY);
    else
        e->o.listener.save_peers(e->o.listener.arg, &bytes);
    buf_done(&bytes);
}

static void run_host(struct engine *e)
{
    struct host_action a;
    while (host_next(e->host, &a, mono_now()))
        carry_out(e, &a);
    engine_jobs_flush(e);
}

static mono_ns turn(void *arg)
{
    struct engine *e = arg;
    mono_ns now = mono_now();
    if (tcp_deadline(e->tcp) <= now)
        tcp_expire(e->tcp, now);
    if (e->ifaces_at <= now)
        engine_read_ifaces(e, false);
    if (host_deadline(e->host) <= now)
        host_expire(e->host, now);
    mono_ns next = engine_min(bridges_turn(e, now), forwards_turn(e, now));
    run_host(e);
    bridges_run(e);
    run_host(e);
    if (!turns_empty(e->turns)) /* more than one run's worth, or what the host told just now: others are looked at, then on */
        next = 0;
    next = engine_min(next, e->bridges_at); /* a rate was used up */
    next = engine_min(next, exec_turn(e, now));
    if (e->stopping) {
        if (!e->jobs && !atomic_load(&e->open_wants))
            loop_stop(e->loop);
        return MONO_NEVER;
    }
    if (e->save_at <= now)
        save_peers(e);
    next = engine_min(next, engine_view_turn(e, now));
    next = engine_min(next, engine_min(e->ifaces_at, e->save_at));
    return engine_min(next, engine_min(host_deadline(e->host), tcp_deadline(e->tcp)));
}

/* ---- the thread ---- */

static void budget_freed(void *arg, unsigned what)
{
    (void)what;
    struct engine *e = arg;
    uint64_t counter;
    ssize_t got = read(e->budget_fd, &counter, sizeof counter);
    (void)got; /* somebody else's wake-up left nothing: harmless */
    host_budget_freed(e->host, mono_now());
}

static void say_notes(struct engine *e)
{
    struct span all = buf_span(&e->notes);
    while (all.len) { /* "kind \0 text \0" */
        const char *kind = (const char *)all.data;
        const char *text = kind + strlen(kind) + 1;
        engine_event(e, kind, text);
        all = span_from(all, strlen(kind) + 1 + strlen(text) + 1);
    }
    buf_done(&e->notes);
}

static void *engine_main(void *arg)
{
    struct engine *e = arg;
    say_notes(e);
    engine_net_start(e);
    services_open(e);
    int err = loop_run(e->loop);
    if (err < 0)
        abort(); /* epoll itself failed: nothing of this thread can go on */
    return NULL;
}

/* ---- start and stop ---- */

static uint64_t descriptors(void)
{
    struct rlimit l;
    return getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur != RLIM_INFINITY ? l.rlim_cur : 0;
}

static struct host *make_host(const struct engine_options *o, const struct services *services)
{
    struct host_config c = {.identity = o->identity,
                            .budget = o->budget,
                            .agent = o->agent,
                            .mdns = o->mdns,
                            .max_connections = o->max_connections,
                            .max_connections_per_ip = o->max_connections_per_ip,
                            .descriptors = descriptors(),
                            .upload_limit = o->upload_limit,
                            .download_limit = o->download_limit,
                            .services = services,
                            .wall = wall_now()};
    rng_init_secure(&c.rng);
    return host_new(&c, mono_now());
}

static void load_peers(struct engine *e)
{
    if (!e->o.saved_peers.len)
        return;
    int err = host_load_peers(e->host, e->o.saved_peers, mono_now());
    if (err < 0) {
        buf_add(&e->notes, "peers.damaged", sizeof "peers.damaged");
        buf_add(&e->notes, err_text(err), strlen(err_text(err)) + 1);
    }
    e->o.saved_peers = SPAN_NONE; /* was lent for the start only */
}

static void load_services(struct engine *e)
{
    struct why why = {""};
    if (services_load(e->services, e->o.saved_services, &why)) {
        buf_add(&e->notes, "services.damaged", sizeof "services.damaged");
        buf_add(&e->notes, why.text, strlen(why.text) + 1);
    }
    e->o.saved_services = SPAN_NONE; /* was lent for the start only */
}

static void engine_release(struct engine *e)
{
    engine_net_stop(e);
    if (e->budget_watch)
        budget_unwatch(e->o.budget, e->budget_fd);
    e->budget_watch = loop_fd_free(e->budget_watch);
    if (e->budget_fd >= 0)
        close(e->budget_fd);
    e->tcp = tcp_free(e->tcp);
    e->host = host_free(e->host);
    services_free(e->services);
    turns_done(e->turns);
    free(e->turns);
    tally_done(&e->peer_tally);
    tally_done(&e->ip_tally);
    buf_done(&e->bridge_scratch);
    bridge_spare_free(e);
    engine_jobs_close(e);
    loop_free(e->loop);
    mailbox_free(e->answers);
    mailbox_free(e->inbox);
    engine_asks_done(e);
    buf_done(&e->notes);
    free(e);
}

int engine_start(struct engine **ret, const struct engine_options *o, struct why *why)
{
    struct engine *e = MEM_NEW(struct engine);
    e->o = *o;
    e->budget_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    e->inbox = mailbox_new(ENGINE_REQUESTS_MAX, e);
    e->answers = mailbox_new(SIZE_MAX, e);
    e->started = mono_now();
    e->save_at = e->ifaces_at = e->bridges_at = e->forwards_at = e->exec_at = MONO_NEVER;
    e->services = services_new();
    (void)buf_reserve(&e->bridge_scratch, BRIDGE_QUANTUM); /* it is not to fail later; pages of it exist when they are used */
    e->turns = MEM_NEW(struct turns);
    turns_init(e->turns);
    e->host = make_host(o, e->services);
    int err = e->budget_fd < 0 ? ERR_LIMIT : loop_new(&e->loop);
    if (err == 0)
        err = engine_jobs_open(e);
    if (err < 0) {
        (void)why_set(why, err, "the engine cannot start: %s", err_text(err));
        goto fail;
    }
    err = engine_net_open(e, why);
    if (err < 0)
        goto fail;
    load_peers(e);
    load_services(e);
    budget_watch(o->budget, e->budget_fd);
    e->budget_watch = loop_fd_new(e->loop, e->budget_fd, budget_freed, e);
    loop_fd_watch(e->budget_watch, LOOP_READ);
    loop_add_mailbox(e->loop, e->answers, 256);
    loop_add_mailbox(e->loop, e->inbox, 256);
    loop_set_turn(e->loop, turn, e);
    err = thread_start(&e->thread, "p2p-engine", engine_main, e);
    if (err < 0) {
        (void)why_set(why, err, "no thread could be started");
        goto fail;
    }
    *ret = e;
    return 0;
fail:
    engine_release(e);
    return err;
}

struct stop_mail {
    struct mail mail;
};

static void stop_now(struct mail *m, void *owner)
{
    struct engine *e = owner;
    free(m);
    if (!e)
        return;
    save_peers(e);
    e->stopping = true;
    services_close(e);
    host_stop(e->host, mono_now());
}

struct engine *engine_stop(struct engine *e)
{
    if (!e)
        return NULL;
    struct stop_mail *m = MEM_NEW(struct stop_mail);
    m->mail.run = stop_now;
    mailbox_reply(e->inbox, &m->mail);
    (void)pthread_join(e->thread, NULL); /* joinable, and nobody else joins it */
    engine_release(e);
    return NULL;
}
