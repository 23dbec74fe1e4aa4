/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/socks.h"

#include "cmd/daemon/control.h"
#include "net/engine/engine_service.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

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
    if (d && dial->result < 0) /* who connected sees its socket closed; the reason stands in the events */
        daemon_event(d, "stream.failed", "%s", dial->why.text[0] ? dial->why.text : err_text(dial->result));
    free(dial);
}

static void on_connection(evutil_socket_t listening, short what, void *arg)
{
    struct sock *k = arg;
    struct daemon *d = k->owner->d;
    (void)what;
    int fd = control_accept(listening);
    if (fd < 0)
        return;
    struct engine_dial *dial = MEM_NEW(struct engine_dial);
    *dial = (struct engine_dial){.mail.run = on_dialed, .reply = d->mail, .peer = k->peer, .datagrams = k->datagrams, .fd = fd};
    memcpy(dial->service, k->service, sizeof dial->service);
    engine_dial_service(d->engine, dial);
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

void sock_order_run(struct order *o)
{
    char *words[3], *save = NULL;
    struct peer_id peer;
    for (unsigned i = 0; i < 3; i++)
        words[i] = strtok_r(i ? NULL : o->line, " \t", &save);
    if (!words[2] || strtok_r(NULL, " \t", &save)) {
        order_finish(o, why_set(&o->why, ERR_INVALID, "it is: sock PEER SERVICE"));
        return;
    }
    bool datagrams = strncmp(words[2], "udp/", 4) == 0;
    const char *service = words[2] + (datagrams ? 4 : 0);
    int r = service_name_check(span_str(service), false, &o->why);
    if (r == 0)
        r = order_peer(o->d, words[1], &peer, &o->why);
    struct socks *s = o->d->socks;
    struct sock *k = r == 0 ? find(s, &peer, service, datagrams) : NULL;
    if (r == 0 && !k && !(k = make(s, &peer, service, datagrams, &o->why)))
        r = ERR_FAILED;
    if (k)
        buf_printf(&o->answer, "%s\n", k->path);
    order_finish(o, r);
}
