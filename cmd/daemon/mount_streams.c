/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/mount_streams.h"

#include "net/engine/engine_service.h"

#include <stdlib.h>

struct mount_dial {
    struct engine_dial dial; /* first */
    struct stream_open *open;
};

/* On the mount's thread: the engine's answer becomes the mount's own message. */
static void on_dialed(struct mail *take_m, void *owner)
{
    struct mount_dial *d = (struct mount_dial *)take_m;
    struct stream_open *o = d->open;
    o->result = d->dial.result;
    o->fd = d->dial.fd;
    o->why = d->dial.why;
    o->engine = NULL;
    free(d);
    o->mail.run(&o->mail, owner);
}

struct ended_note {
    struct mail mail;
    uint64_t stream;
    bool whole;
};

/* By way of the main thread, which knows whether there still is a mount */
static void on_ended(struct mail *take_m, void *owner)
{
    struct ended_note *n = (struct ended_note *)take_m;
    struct daemon *d = owner;
    if (d && d->mount)
        mount_stream_ended(d->mount, n->stream, n->whole);
    free(n);
}

/* On the engine's thread */
static void tell_ended(void *arg, uint64_t stream, int err, bool whole)
{
    struct daemon *d = arg;
    struct ended_note *n = MEM_NEW(struct ended_note);
    (void)err;
    n->mail.run = on_ended;
    n->stream = stream;
    n->whole = whole;
    mailbox_reply(d->mail, &n->mail); /* one for each stream that was handed over */
}

static int post(void *self, struct stream_open *take_o)
{
    struct daemon *d = self;
    struct mount_dial *m = MEM_NEW(struct mount_dial);
    const char *service = take_o->service;
    int rc = 0;
    m->open = take_o;
    m->dial = (struct engine_dial){.mail.run = on_dialed,
                                   .reply = take_o->reply,
                                   .fd = -1,
                                   .timeout = take_o->timeout,
                                   .stream = take_o->number,
                                   .ended = tell_ended,
                                   .arg = d};
    m->dial.datagrams = strncmp(service, "udp/", 4) == 0;
    m->dial.either = take_o->peer && !m->dial.datagrams;
    service += m->dial.datagrams ? 4 : 0;
    if (strlen(service) >= sizeof m->dial.service)
        rc = ERR_NAME_LONG;
    if (rc == 0 && take_o->peer)
        rc = peer_id_from_text(span_str(take_o->peer), &m->dial.peer, NULL) < 0
                 ? why_set(&take_o->why, ERR_INVALID, "'%.100s' is neither a petname nor a peer id", take_o->peer)
                 : 0;
    if (rc < 0) {
        free(m);
        return rc;
    }
    memcpy(m->dial.service, service, strlen(service) + 1);
    take_o->engine = m;
    engine_dial_service(d->engine, &m->dial);
    return 0;
}

static void cancel(void *self, struct stream_open *o)
{
    struct daemon *d = self;
    struct mount_dial *m = o->engine;
    if (m)
        engine_dial_cancel(d->engine, &m->dial);
}

static uint64_t number(void *self)
{
    return engine_stream_number(((struct daemon *)self)->engine);
}

struct stream_port mount_stream_port(struct daemon *d)
{
    return (struct stream_port){d, post, cancel, number};
}
