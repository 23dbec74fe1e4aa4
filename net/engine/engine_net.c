/* SPDX-License-Identifier: MIT
 *
 * The engine's sockets: what tcp.h calls back, listening, interfaces, mDNS.
 */
#include "net/engine/engine_state.h"

#include "net/engine/engine_addr.h"

#include <stdio.h>
#include <stdlib.h>

#define IFACES_DELAY (300 * MONO_MS) /* links change in bursts */

/* ---- connections ---- */

static struct engine_conn *conn_new_owner(struct engine *e, struct tcp_conn *tc)
{
    struct engine_conn *c = MEM_NEW(struct engine_conn);
    c->e = e;
    c->tc = tc;
    return c;
}

static void *on_accepted(void *arg, struct tcp_conn *tc, const struct multiaddr *remote, const struct multiaddr *local)
{
    struct engine *e = arg;
    struct engine_conn *c = conn_new_owner(e, tc);
    c->hc = e->stopping ? NULL : host_accepted(e->host, c, remote, local, mono_now());
    if (c->hc)
        return c;
    free(c);
    return NULL;
}

static void dialing_remove(struct engine_conn *c)
{
    *(c->prev ? &c->prev->next : &c->e->dialing) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    c->prev = c->next = NULL;
}

static void *on_dialed(void *arg, void *owner, struct tcp_conn *tc, int err, const struct multiaddr *local)
{
    struct engine *e = arg;
    struct engine_conn *c = owner;
    c->tc = tc;
    dialing_remove(c);
    c->hc = host_dialed(e->host, c->dial, c, err, local, mono_now());
    if (c->hc)
        return c;
    free(c);
    return NULL;
}

static uint8_t *on_reserve(void *arg, void *owner, size_t *ret_room)
{
    return host_input_reserve(((struct engine *)arg)->host, ((struct engine_conn *)owner)->hc, ret_room);
}

static bool on_commit(void *arg, void *owner, size_t n)
{
    return host_input_commit(((struct engine *)arg)->host, ((struct engine_conn *)owner)->hc, n, mono_now());
}

static void on_ended(void *arg, void *owner, int err)
{
    host_input_end(((struct engine *)arg)->host, ((struct engine_conn *)owner)->hc, err, mono_now());
}

static size_t on_output(void *arg, void *owner, struct buf *out, size_t most)
{
    return host_output(((struct engine *)arg)->host, ((struct engine_conn *)owner)->hc, out, most, mono_now());
}

static void on_event(void *arg, const char *kind, const char *text)
{
    engine_event(arg, kind, text);
}

void engine_conn_close(struct engine_conn *c)
{
    tcp_conn_close(c->tc);
    free(c);
}

void engine_dial(struct engine *e, const struct host_action *a)
{
    struct engine_conn *c = conn_new_owner(e, NULL);
    c->dial = a->dial;
    int err = tcp_dial(e->tcp, &a->addr, c, &c->tc);
    if (err < 0) {
        free(c);
        (void)host_dialed(e->host, a->dial, NULL, err, NULL, mono_now()); /* NULL: there is nothing to keep */
        return;
    }
    c->next = e->dialing;
    if (c->next)
        c->next->prev = c;
    e->dialing = c;
}

void engine_abort_dial(struct engine *e, uint64_t dial)
{
    struct engine_conn *c = e->dialing;
    while (c && c->dial != dial)
        c = c->next;
    if (!c)
        return; /* it failed while the action was on its way */
    dialing_remove(c);
    engine_conn_close(c);
}

/* ---- mDNS ---- */

static void on_datagram(void *arg, const struct multicast_from *from, struct span datagram)
{
    struct engine *e = arg;
    struct host_datagram d = {.iface = from->iface, .v6 = from->v6, .port = from->port};
    memcpy(d.ip, from->ip, sizeof d.ip);
    host_datagram(e->host, &d, datagram, mono_now());
}

void engine_send_datagram(struct engine *e, const struct host_action *a)
{
    struct multicast *m = e->mdns[a->to.v6];
    if (!m)
        return;
    struct multicast_from to = {.iface = a->to.iface, .v6 = a->to.v6, .port = a->to.port};
    memcpy(to.ip, a->to.ip, sizeof to.ip);
    (void)multicast_send(m, a->to.iface, a->type == HOST_UNICAST ? &to : NULL,
                         a->datagram); /* lost like any datagram: it repeats */
}

static void open_mdns(struct engine *e)
{
    for (int v6 = 0; v6 < 2 && e->o.mdns; v6++) {
        int err = multicast_new(&e->mdns[v6], e->loop, v6, on_datagram, e);
        if (err < 0 && err != ERR_UNSUPPORTED)
            engine_event(e, v6 ? "mdns.v6.off" : "mdns.v4.off", err_text(err));
    }
}

/* ---- interfaces ---- */

static void join_groups(struct engine *e)
{
    for (int i = 0; i < e->iface_count; i++) {
        const struct iface *f = &e->ifaces[i];
        bool use = f->up && f->multicast && !f->loopback;
        for (int v6 = 0; v6 < 2; v6++) {
            if (e->mdns[v6] && use)
                (void)multicast_join(e->mdns[v6], f->index); /* v6 may be off on it: then nothing is heard there */
            else if (e->mdns[v6])
                multicast_leave(e->mdns[v6], f->index);
        }
    }
}

static void tell_host(struct engine *e)
{
    static _Thread_local struct self_iface list[SELF_IFACES_MAX];
    unsigned count = 0;
    for (int i = 0; i < e->iface_count && count < SELF_IFACES_MAX; i++) {
        const struct iface *f = &e->ifaces[i];
        struct self_iface *s = &list[count++];
        *s = (struct self_iface){.index = f->index, .up = f->up, .loopback = f->loopback, .multicast = f->multicast};
        for (unsigned k = 0; k < f->addr_count && k < SELF_IFACE_ADDRS_MAX; k++) {
            s->addrs[k].v6 = f->addrs[k].v6;
            memcpy(s->addrs[k].ip, f->addrs[k].ip, sizeof s->addrs[k].ip);
            s->addr_count++;
        }
    }
    host_interfaces(e->host, list, count, mono_now());
}

void engine_read_ifaces(struct engine *e, bool forced)
{
    struct iface now[IFACES_MAX];
    memset(now, 0, sizeof now); /* compared as memory */
    e->ifaces_at = MONO_NEVER;
    int count = ifaces_read(now);
    if (count < 0) {
        engine_event(e, "interfaces.unreadable", err_text(count));
        return;
    }
    bool same = count == e->iface_count && memcmp(now, e->ifaces, sizeof now) == 0;
    if (same && !forced)
        return;
    memcpy(e->ifaces, now, sizeof now);
    e->iface_count = count;
    join_groups(e);
    tell_host(e);
}

static void on_ifaces_changed(void *arg)
{
    struct engine *e = arg;
    e->ifaces_at = engine_min(e->ifaces_at, mono_after(mono_now(), IFACES_DELAY));
}

/* ---- listening ---- */

static void note(struct engine *e, const char *kind, const char *text)
{
    buf_add(&e->notes, kind, strlen(kind) + 1);
    buf_add(&e->notes, text, strlen(text) + 1);
}

static bool with_port(const struct multiaddr *addr, uint16_t port, struct multiaddr *ret)
{
    struct sockaddr_storage ss;
    socklen_t len;
    if (multiaddr_to_sockaddr(addr, &ss, &len) < 0)
        return false;
    sockaddr_set_port((struct sockaddr *)&ss, port);
    return multiaddr_from_sockaddr((struct sockaddr *)&ss, MA_TCP, ret) == 0;
}

static uint16_t port_of(const struct multiaddr *addr)
{
    struct multiaddr_host host;
    struct span rest;
    return multiaddr_host(addr, &host, &rest) == 0 ? host.port : 0;
}

/* Any port: preferably the one that another family has already */
static int listen_anywhere(struct engine *e, const struct multiaddr *addr, struct multiaddr *bound)
{
    struct multiaddr again;
    if (e->listen_count && with_port(addr, port_of(&e->listening[e->listen_count - 1]), &again) &&
        tcp_listen(e->tcp, &again, bound) == 0)
        return 0;
    return with_port(addr, 0, &again) ? tcp_listen(e->tcp, &again, bound) : ERR_INVALID;
}

static int listen_one(struct engine *e, const struct multiaddr *addr)
{
    struct multiaddr *bound = &e->listening[e->listen_count];
    char text[MULTIADDR_TEXT];
    bool any = port_of(addr) == 0;
    int err = any ? listen_anywhere(e, addr, bound) : tcp_listen(e->tcp, addr, bound);
    if (err == ERR_BUSY && !any) {
        err = listen_anywhere(e, addr, bound);
        if (err == 0)
            note(e, "listen.port.taken", multiaddr_text(addr, text));
    }
    if (err < 0) {
        struct buf line = BUF_INIT;
        buf_printf(&line, "%s: %s", multiaddr_text(addr, text), err_text(err));
        note(e, "listen.failed", buf_cstr(&line));
        buf_done(&line);
        return err;
    }
    e->listen_count++;
    note(e, "listen", multiaddr_text(bound, text));
    return 0;
}

int engine_net_open(struct engine *e, struct why *why)
{
    const struct tcp_callbacks cb = {.arg = e,
                                     .accepted = on_accepted,
                                     .dialed = on_dialed,
                                     .reserve = on_reserve,
                                     .commit = on_commit,
                                     .ended = on_ended,
                                     .output = on_output,
                                     .event = on_event};
    char text[MULTIADDR_TEXT];
    e->tcp = tcp_new(e->loop, e->o.budget, &cb);
    int err = lookups_open(e);
    if (err < 0)
        return why_set(why, err, "no descriptors are left");
    for (unsigned i = 0; i < e->o.listen_count && e->listen_count < ENGINE_LISTEN_MAX; i++) {
        int one = listen_one(e, &e->o.listen[i]);
        if (one < 0)
            err = why_set(why, one, "cannot listen on %s: %s", multiaddr_text(&e->o.listen[i], text), err_text(one));
    }
    e->o.listen = NULL;               /* was lent for the start only */
    return e->listen_count ? 0 : err; /* one that works is enough: IPv6 may be off */
}

void engine_net_start(struct engine *e)
{
    open_mdns(e);
    int err = iface_watch_new(&e->watch, e->loop, on_ifaces_changed, e);
    if (err < 0)
        engine_event(e, "interfaces.unwatched", err_text(err));
    host_listening(e->host, e->listening, e->listen_count, mono_now());
    engine_read_ifaces(e, true);
}

void engine_net_stop(struct engine *e)
{
    lookups_close(e);
    e->watch = iface_watch_free(e->watch);
    for (int v6 = 0; v6 < 2; v6++)
        e->mdns[v6] = multicast_free(e->mdns[v6]);
    while (e->dialing) {
        struct engine_conn *c = e->dialing;
        dialing_remove(c);
        engine_conn_close(c);
    }
}
