/* SPDX-License-Identifier: MIT
 *
 * /v1/services: changes, lines of service_line.h, as the body. /v1/offers, /v1/forwards, /v1/streams: lists, of a view that
 * is made for the asker, so that what was just done is in it. */
#include "cmd/daemon/api.h"
#include "cmd/daemon/order.h"
#include "cmd/daemon/petnames.h"
#include "net/engine/engine_service.h"

#include <stdlib.h>

/* ---- changes ---- */

static void answer(struct order *o)
{
    struct ctl_request *q = o->arg;
    if (o->result < 0)
        ctl_fail(q, o->result, NULL, "%s", o->why.text);
    else
        ctl_json(q, json_object());
    ctl_unref(q);
}

void api_services(struct ctl_request *q)
{
    char *line = mem_strn(q->body);
    order_run(q->d, line, answer, ctl_ref(q));
    free(line);
}

/* ---- lists ---- */

struct looking {
    struct engine_call call;
    struct ctl_request *q;
    void (*rows)(struct ctl_request *q, const struct engine_view *v);
};

static void on_look(struct mail *mail, void *owner)
{
    struct looking *l = (struct looking *)mail;
    struct ctl_request *q = l->q;
    (void)owner;
    ctl_begin(q, "application/x-ndjson");
    if (q->d->view)
        l->rows(q, q->d->view);
    ctl_end(q);
    ctl_unref(q);
    free(l);
}

static void look(struct ctl_request *q, void (*rows)(struct ctl_request *q, const struct engine_view *v))
{
    struct looking *l = MEM_NEW(struct looking);
    l->call = (struct engine_call){.mail.run = on_look, .reply = q->d->mail, .verb = ENGINE_LOOK};
    l->q = ctl_ref(q);
    l->rows = rows;
    engine_command(q->d->engine, &l->call);
}

static json_t *peer_json(const struct peer_id *id)
{
    char text[PEER_ID_TEXT_SIZE];
    return json_string(peer_id_text(id, text));
}

static void put_count(json_t *v, const struct engine_count *c)
{
    json_object_set_new(v, "open", json_integer((json_int_t)c->open));
    json_object_set_new(v, "total", json_integer((json_int_t)c->streams));
    json_object_set_new(v, "refused", json_integer((json_int_t)c->refused));
    json_object_set_new(v, "bytes_in", json_integer((json_int_t)c->bytes_in));
    json_object_set_new(v, "bytes_out", json_integer((json_int_t)c->bytes_out));
    json_object_set_new(v, "seconds", json_real(c->seconds));
}

static void put_peer(const struct daemon *d, json_t *v, const struct peer_id *id)
{
    json_object_set_new(v, "peer", peer_json(id));
    json_object_set_new(v, "petname", json_string(petname_of(d->petnames, id)));
}

static json_t *allowed_json(const struct daemon *d, const struct engine_offer *o)
{
    json_t *a = json_array();
    if (o->any)
        json_array_append_new(a, json_string("any"));
    for (unsigned i = 0; i < o->allowed_count; i++) {
        const char *name = petname_of(d->petnames, &o->allowed[i]);
        json_array_append_new(a, *name ? json_string(name) : peer_json(&o->allowed[i]));
    }
    return a;
}

static void offer_rows(struct ctl_request *q, const struct engine_view *e)
{
    for (unsigned i = 0; i < e->offer_count; i++) {
        const struct engine_offer *o = &e->offers[i];
        json_t *v = json_pack("{ss ss so sI sI}", "name", o->name, "target", o->target, "allowed", allowed_json(q->d, o),
                              "connections_max", (json_int_t)o->connections_max, "rate_max", (json_int_t)o->rate_max);
        put_count(v, &o->count);
        ctl_line(q, v);
    }
}

void api_offers(struct ctl_request *q)
{
    look(q, offer_rows);
}

static void forward_rows(struct ctl_request *q, const struct engine_view *e)
{
    for (unsigned i = 0; i < e->forward_count; i++) {
        const struct engine_forward *f = &e->forwards[i];
        json_t *v = json_pack("{ss ss sb ss}", "from", f->place, "service", f->service, "listening", (int)f->listening, "fault",
                              f->fault);
        put_peer(q->d, v, &f->peer);
        put_count(v, &f->count);
        ctl_line(q, v);
    }
}

void api_forwards(struct ctl_request *q)
{
    look(q, forward_rows);
}

static void stream_rows(struct ctl_request *q, const struct engine_view *e)
{
    for (unsigned i = 0; i < e->stream_count; i++) {
        const struct engine_stream *s = &e->streams[i];
        json_t *v = json_pack("{sI ss ss ss ss ss sI sI sf}", "stream", (json_int_t)s->number, "direction",
                              s->inbound ? "in" : "out", "service", s->service, "state", s->connecting ? "connecting" : "open",
                              "local", s->local, "remote", s->remote, "bytes_in", (json_int_t)s->bytes_in, "bytes_out",
                              (json_int_t)s->bytes_out, "seconds", s->seconds);
        put_peer(q->d, v, &s->peer);
        ctl_line(q, v);
    }
}

void api_streams(struct ctl_request *q)
{
    look(q, stream_rows);
}

static void address_rows(struct ctl_request *q, const struct engine_view *e)
{
    for (unsigned i = 0; i < e->address_count; i++) {
        json_t *v = json_pack("{ss}", "address", e->addresses[i].address);
        put_count(v, &e->addresses[i].count);
        ctl_line(q, v);
    }
}

void api_stream_addresses(struct ctl_request *q)
{
    look(q, address_rows);
}
