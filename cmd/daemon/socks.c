/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/socks.h"

#include "cmd/daemon/control.h"
#include "net/engine/engine_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOLD_WITHIN (5 * MONO_S) /* by a peer that is connected; then it is taken for a service of streams */

struct sock {
    struct sock *next;
    struct socks *owner;
    struct peer_id peer;
    char service[SERVICE_NAME_SIZE];
    bool datagrams;
    int fd;
    struct event *ev;
    char path[CTL_PATH_SIZE];
};

struct socks {
    struct daemon *d;
    struct sock *first; /* the newest */
    unsigned count;
    unsigned names; /* that were given */
    bool paused;    /* some are not looked at until the next tick */
    struct look *looks;
};

/* An order that waits to hear what kind of service it is */
struct look {
    struct engine_call call; /* first */
    struct look *next;
    struct order *order;
    char service[SERVICE_NAME_SIZE];
    mono_ns until;
};

struct socks *socks_new(struct daemon *d)
{
    struct socks *s = MEM_NEW(struct socks);
    s->d = d;
    return s;
}

static void sock_free(struct sock *k)
{
    event_free(k->ev);
    close(k->fd);
    (void)unlink(k->path); /* gone already if the run folder is */
    free(k);
}

struct socks *socks_free(struct socks *s)
{
    if (!s)
        return NULL;
    for (struct look *l; (l = s->looks);) {
        s->looks = l->next;
        order_finish(l->order, ERR_CANCELLED);
        free(l);
    }
    while (s->first) {
        struct sock *k = s->first;
        s->first = k->next;
        sock_free(k);
    }
    free(s);
    return NULL;
}

/* ---- connections ---- */

static void on_dialed(struct mail *take_m, void *owner)
{
    struct engine_dial *dial = (struct engine_dial *)take_m;
    struct daemon *d = owner;
    char id[PEER_ID_TEXT_SIZE];
    if (d && dial->result < 0) /* who connected sees its socket closed; the reason stands in the events */
        daemon_event(d, "stream.failed", "%s/%s: %s", peer_id_text(&dial->peer, id), dial->service,
                     dial->why.text[0] ? dial->why.text : err_text(dial->result));
    free(dial);
}

static void on_connection(evutil_socket_t listening, short what, void *arg)
{
    struct sock *k = arg;
    struct daemon *d = k->owner->d;
    (void)what;
    int fd = control_accept(listening);
    if (fd == ERR_NO_FILES) {
        event_del(k->ev);
        k->owner->paused = true;
    }
    if (fd < 0)
        return;
    struct engine_dial *dial = MEM_NEW(struct engine_dial);
    *dial = (struct engine_dial){.mail.run = on_dialed, .reply = d->mail, .peer = k->peer, .datagrams = k->datagrams, .fd = fd};
    memcpy(dial->service, k->service, sizeof dial->service);
    engine_dial_service(d->engine, dial);
}

void socks_tick(struct socks *s)
{
    for (struct sock *k = s && s->paused ? s->first : NULL; k; k = k->next)
        event_add(k->ev, NULL);
    if (s)
        s->paused = false;
}

/* ---- the order ---- */

bool sock_order_is(const char *line)
{
    return strncmp(line, "sock ", 5) == 0;
}

static struct sock *find(struct socks *s, const struct peer_id *peer, const char *service, bool datagrams)
{
    for (struct sock **at = &s->first; *at; at = &(*at)->next) {
        struct sock *k = *at;
        if (!peer_id_eq(&k->peer, peer) || strcmp(k->service, service) != 0 || k->datagrams != datagrams)
            continue;
        *at = k->next; /* to the front: it was asked for last */
        k->next = s->first;
        s->first = k;
        return k;
    }
    return NULL;
}

static void drop_oldest(struct socks *s)
{
    struct sock **at = &s->first;
    while ((*at)->next)
        at = &(*at)->next;
    sock_free(*at);
    *at = NULL;
    s->count--;
}

static struct sock *make(struct socks *s, const struct peer_id *peer, const char *service, bool datagrams, struct why *why)
{
    char name[16];
    struct sock *k = MEM_NEW(struct sock);
    snprintf(name, sizeof name, "sock-%u", ++s->names);
    k->fd = control_bind(s->d, name, datagrams ? SOCK_SEQPACKET : SOCK_STREAM, k->path, why);
    if (k->fd < 0) {
        free(k);
        return NULL;
    }
    k->owner = s;
    k->peer = *peer;
    k->datagrams = datagrams;
    memcpy(k->service, service, strlen(service) + 1);
    k->ev = event_new(s->d->base, k->fd, EV_READ | EV_PERSIST, on_connection, k);
    event_add(k->ev, NULL);
    if (s->count == SOCKS_MOST)
        drop_oldest(s);
    k->next = s->first;
    s->first = k;
    s->count++;
    return k;
}

static void answer(struct order *o, const struct peer_id *peer, const char *service, bool datagrams)
{
    struct sock *k = find(o->d->socks, peer, service, datagrams);
    if (!k)
        k = make(o->d->socks, peer, service, datagrams, &o->why);
    if (k)
        buf_printf(&o->answer, "%s\n", k->path);
    order_finish(o, k ? 0 : ERR_FAILED);
}

/* ---- services that are not listed ---- */

/* Did the peer say what it speaks? *ret_datagrams: the service is there for datagrams alone. */
static bool is_told(const struct daemon *d, const struct peer_id *peer, const char *service, bool *ret_datagrams)
{
    bool stream = false, datagrams = false, is;
    const struct engine_peer *p = NULL;
    const char *name;
    for (size_t i = 0; d->view && i < d->view->peer_count && !p; i++)
        if (peer_id_eq(&d->view->peers[i].id, peer))
            p = &d->view->peers[i];
    for (unsigned i = 0; p && i < p->protocol_count; i++)
        if (service_id_parse(p->protocols[i], &name, &is) && strcmp(name, service) == 0)
            *(is ? &datagrams : &stream) = true;
    *ret_datagrams = datagrams && !stream;
    return p && p->connected && p->protocol_count;
}

void socks_seen(struct daemon *d, mono_ns now)
{
    struct look **at = d->socks ? &d->socks->looks : NULL;
    bool datagrams;
    for (struct look *l; at && (l = *at);) {
        if (!is_told(d, &l->call.peer, l->service, &datagrams) && (now == MONO_NEVER || now < l->until)) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        answer(l->order, &l->call.peer, l->service, datagrams);
        free(l);
    }
}

static void on_connected(struct mail *mail, void *owner)
{
    struct look *l = (struct look *)mail;
    struct daemon *d = owner;
    int r = l->call.result == ERR_REFUSED ? ERR_UNREACHABLE : l->call.result; /* by its machine, not by the service */
    if (!d || !d->socks || r < 0) {
        l->order->why = l->call.why;
        order_finish(l->order, r < 0 ? r : ERR_CANCELLED);
        free(l);
        return;
    }
    l->until = mono_after(mono_now(), TOLD_WITHIN);
    l->next = d->socks->looks;
    d->socks->looks = l;
    socks_seen(d, MONO_NEVER);
}

static void look(struct order *o, const struct peer_id *peer, const char *service)
{
    struct look *l = MEM_NEW(struct look);
    l->order = o;
    memcpy(l->service, service, strlen(service) + 1);
    l->call = (struct engine_call){.mail.run = on_connected, .reply = o->d->mail, .verb = ENGINE_CONNECT, .peer = *peer};
    engine_command(o->d->engine, &l->call);
}

void sock_order_run(struct order *o)
{
    char *words[3], *save = NULL;
    struct peer_id peer;
    for (unsigned i = 0; i < 3; i++)
        words[i] = strtok_r(i ? NULL : o->line, " \t", &save);
    if (!words[2] || strtok_r(NULL, " \t", &save)) {
        order_finish(o, why_set(&o->why, ERR_INVALID, "the command is: sock PEER SERVICE"));
        return;
    }
    bool datagrams = strncmp(words[2], "udp/", 4) == 0;
    const char *service = words[2] + (datagrams ? 4 : 0);
    int r = service_name_check(span_str(service), false, &o->why);
    if (r == 0)
        r = order_peer(o->d, words[1], &peer, &o->why);
    if (r < 0)
        order_finish(o, r);
    else if (datagrams || is_told(o->d, &peer, service, &datagrams))
        answer(o, &peer, service, datagrams);
    else
        look(o, &peer, service);
}
