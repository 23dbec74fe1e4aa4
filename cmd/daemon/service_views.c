/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/service_views.h"

#include "cmd/daemon/petnames.h"
#include "cmd/daemon/views.h"
#include "net/service/service_line.h"

#include <stdlib.h>

/* ---- JSON ---- */

static json_t *peer_json(const struct peer_id *id)
{
    char text[PEER_ID_TEXT_SIZE];
    return json_string(peer_id_text(id, text));
}

void view_count(json_t *v, const struct engine_count *c)
{
    json_object_set_new(v, "open", json_integer((json_int_t)c->open));
    json_object_set_new(v, "total", json_integer((json_int_t)c->streams));
    json_object_set_new(v, "refused", json_integer((json_int_t)c->refused));
    json_object_set_new(v, "bytes_in", json_integer((json_int_t)c->bytes_in));
    json_object_set_new(v, "bytes_out", json_integer((json_int_t)c->bytes_out));
    json_object_set_new(v, "dropped", json_integer((json_int_t)c->dropped));
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

json_t *view_offer(const struct daemon *d, const struct engine_offer *o)
{
    json_t *v = json_pack("{ss ss so sI sI}", "name", o->name, "target", o->target, "allowed", allowed_json(d, o),
                          "connections_max", (json_int_t)o->connections_max, "rate_max", (json_int_t)o->rate_max);
    view_count(v, &o->count);
    return v;
}

json_t *view_forward(const struct daemon *d, const struct engine_forward *f)
{
    json_t *v =
        json_pack("{ss ss sb ss}", "from", f->place, "service", f->service, "listening", (int)f->listening, "fault", f->fault);
    put_peer(d, v, &f->peer);
    view_count(v, &f->count);
    return v;
}

json_t *view_stream(const struct daemon *d, const struct engine_stream *s)
{
    json_t *v = json_pack("{sI ss ss ss ss ss sI sI sI sf}", "stream", (json_int_t)s->number, "direction",
                          s->inbound ? "in" : "out", "service", s->service, "state", s->connecting ? "connecting" : "open",
                          "local", s->local, "remote", s->remote, "bytes_in", (json_int_t)s->bytes_in, "bytes_out",
                          (json_int_t)s->bytes_out, "dropped", (json_int_t)s->dropped, "seconds", s->seconds);
    put_peer(d, v, &s->peer);
    return v;
}

/* ---- what a peer offers us ---- */

static void add_file_name(struct buf *out, const char *service)
{
    for (const char *p = service; *p; p++)
        if (*p == '/' || *p == '%')
            buf_printf(out, "%%%02X", (unsigned)*p);
        else
            buf_add_u8(out, (uint8_t)*p);
    buf_add_u8(out, 0);
}

/* Streams first: of two services with one name theirs is the file. */
void view_services_of(const struct engine_peer *p, struct buf *out)
{
    const char *name;
    bool datagrams;
    for (int pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < p->protocol_count; i++) {
            if (!service_id_parse(p->protocols[i], &name, &datagrams) || datagrams != (pass == 1))
                continue;
            add_file_name(out, name);
            buf_printf(out, "%s%s%c", datagrams ? "udp/" : "", name, 0);
        }
}

/* ---- the mount's table: one allocation, rows before texts. While it is made, pointers are places in `text`. ---- */

struct making {
    struct service_table table;
    struct buf text;
};

static const char *place(const struct making *m)
{
    return (const char *)(uintptr_t)buf_len(&m->text);
}

static const char *keep(struct making *m, const char *text)
{
    const char *at = place(m);
    buf_add(&m->text, text, strlen(text) + 1);
    return at;
}

static struct span since(const struct making *m, const char *at)
{
    return span_of(at, (size_t)(place(m) - at));
}

static struct span keep_lines(struct making *m, json_t *take_v)
{
    const char *at = place(m);
    views_text(take_v, &m->text);
    json_decref(take_v);
    return since(m, at);
}

static struct span keep_allowed(struct making *m, const struct engine_offer *o)
{
    const char *at = place(m);
    char text[PEER_ID_TEXT_SIZE];
    for (unsigned i = 0; i < o->allowed_count; i++)
        (void)keep(m, peer_id_text(&o->allowed[i], text));
    return since(m, at);
}

static void add_offers(struct daemon *d, struct making *m)
{
    const struct engine_view *v = d->view;
    for (unsigned i = 0; i < v->offer_count; i++) {
        const struct engine_offer *o = &v->offers[i];
        m->table.offers[m->table.offer_count++] = (struct offer_row){
            .name = keep(m, o->name),
            .target = keep(m, o->target),
            .any = o->any,
            .allowed = keep_allowed(m, o),
            .status = keep_lines(m, view_offer(d, o)),
        };
    }
}

static void add_streams(struct daemon *d, struct making *m)
{
    const struct engine_view *v = d->view;
    for (unsigned i = 0; i < v->stream_count; i++) {
        const struct engine_stream *s = &v->streams[i];
        struct buf remote = BUF_INIT;
        char id[PEER_ID_TEXT_SIZE];
        buf_printf(&remote, "%s/%s %s", peer_id_text(&s->peer, id), s->service, s->remote);
        m->table.streams[m->table.stream_count++] = (struct stream_row){
            .number = s->number,
            .local = keep(m, s->local),
            .remote = keep(m, buf_cstr(&remote)),
            .status = keep_lines(m, view_stream(d, s)),
        };
        buf_done(&remote);
    }
}

static void add_forwards(struct daemon *d, struct making *m)
{
    const struct engine_view *v = d->view;
    const char *at = place(m);
    buf_add_str(&m->text, "# kind\tlisten\tpeer\tservice\topen\ttotal\tin\tout\tdropped\tfault\n");
    for (unsigned i = 0; v && i < v->forward_count; i++) {
        const struct engine_forward *f = &v->forwards[i];
        const char *name = petname_of(d->petnames, &f->peer);
        char id[PEER_ID_TEXT_SIZE];
        size_t kind = strcspn(f->place, " ");
        buf_printf(&m->text, "%.*s\t%s\t%s\t%s\t%u\t%llu\t%llu\t%llu\t%llu\t%s\n", (int)kind, f->place,
                   f->place + kind + (f->place[kind] == ' '), *name ? name : peer_id_text(&f->peer, id), f->service,
                   f->count.open, (unsigned long long)f->count.streams, (unsigned long long)f->count.bytes_in,
                   (unsigned long long)f->count.bytes_out, (unsigned long long)f->count.dropped, *f->fault ? f->fault : "-");
    }
    m->table.forwards = since(m, at);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct offer_row *)a)->name, ((const struct offer_row *)b)->name);
}

static void making_done(struct making *m)
{
    free(m->table.offers);
    free(m->table.streams);
    buf_done(&m->text);
}

/* Places become addresses. NULL: no memory. */
static struct service_table *made(struct making *m)
{
    uint8_t *base = m->text.cut ? NULL : mem_big(buf_len(&m->text), 1);
    if (!base) {
        making_done(m);
        return NULL;
    }
    memcpy(base, buf_span(&m->text).data, buf_len(&m->text)); /* never empty */
    struct service_table *t = mem_copy(&m->table, sizeof m->table);
    for (size_t i = 0; i < t->offer_count; i++) {
        struct offer_row *o = &t->offers[i];
        o->name = (const char *)base + (uintptr_t)o->name;
        o->target = (const char *)base + (uintptr_t)o->target;
        o->allowed.data = base + (uintptr_t)o->allowed.data;
        o->status.data = base + (uintptr_t)o->status.data;
    }
    for (size_t i = 0; i < t->stream_count; i++) {
        struct stream_row *s = &t->streams[i];
        s->local = (const char *)base + (uintptr_t)s->local;
        s->remote = (const char *)base + (uintptr_t)s->remote;
        s->status.data = base + (uintptr_t)s->status.data;
    }
    t->forwards.data = base + (uintptr_t)t->forwards.data;
    t->text = base;
    if (t->offer_count)
        qsort(t->offers, t->offer_count, sizeof *t->offers, by_name);
    buf_done(&m->text);
    return t;
}

struct service_table *view_service_table(struct daemon *d)
{
    const struct engine_view *v = d->view;
    struct making m = {.text = BUF_SOFT};
    m.table.offers = mem_big((v ? v->offer_count : 0) + 1, sizeof *m.table.offers);
    m.table.streams = mem_big((v ? v->stream_count : 0) + 1, sizeof *m.table.streams);
    if (!m.table.offers || !m.table.streams) {
        making_done(&m);
        return NULL;
    }
    if (v) {
        add_offers(d, &m);
        add_streams(d, &m);
    }
    add_forwards(d, &m);
    return made(&m);
}
