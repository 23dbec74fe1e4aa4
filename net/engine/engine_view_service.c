/* SPDX-License-Identifier: MIT
 *
 * The part of a view that shows services and their streams. */
#include "net/engine/engine_bridge.h"
#include "net/engine/engine_view.h"

static struct engine_count count_row(const struct service_count *c)
{
    return (struct engine_count){.open = c->open,
                                 .streams = c->streams,
                                 .refused = c->refused,
                                 .bytes_in = c->bytes_in,
                                 .bytes_out = c->bytes_out,
                                 .dropped = c->dropped,
                                 .seconds = (double)(c->time / MONO_MS) / 1000};
}

static const char *offer_target(struct engine_view *v, const struct service_offer *o)
{
    struct buf text = BUF_INIT;
    service_offer_text(o, &text);
    const char *copy = view_text(v, buf_cstr(&text));
    buf_done(&text);
    return copy;
}

static bool add_offers(struct engine_view *v, const struct engine *e)
{
    const struct service_offer *o;
    struct engine_offer *rows = view_rows(v, SERVICE_OFFERS_MAX, sizeof *rows);
    for (unsigned i = 0; rows && (o = services_offer(e->services, i)); i++) {
        struct peer_id *allowed = view_alloc(v, (o->allowed_count + 1) * sizeof *allowed);
        if (o->allowed_count)
            memcpy(allowed, o->allowed, o->allowed_count * sizeof *allowed);
        rows[v->offer_count++] = (struct engine_offer){.name = view_text(v, o->name),
                                                       .target = offer_target(v, o),
                                                       .datagrams = o->kind == SERVICE_UDP,
                                                       .any = o->any,
                                                       .allowed = allowed,
                                                       .allowed_count = o->allowed_count,
                                                       .connections_max = o->connections_max,
                                                       .rate_max = o->rate_max,
                                                       .count = count_row(&o->count)};
    }
    v->offers = rows;
    return rows;
}

static bool add_forwards(struct engine_view *v, const struct engine *e)
{
    const struct service_forward *f;
    struct engine_forward *rows = view_rows(v, SERVICE_FORWARDS_MAX, sizeof *rows);
    for (unsigned i = 0; rows && (f = services_forward(e->services, i)); i++) {
        struct buf place = BUF_INIT;
        service_forward_text(f, &place);
        rows[v->forward_count++] = (struct engine_forward){.place = view_text(v, buf_cstr(&place)),
                                                           .peer = f->peer,
                                                           .service = view_text(v, f->name),
                                                           .listening = f->listening,
                                                           .fault = view_text(v, f->fault.text),
                                                           .count = count_row(&f->count)};
        buf_done(&place);
    }
    v->forwards = rows;
    return rows;
}

/* `now` is when the turn began, in which it may have been opened */
static mono_ns age_of(const struct bridge *b, mono_ns now)
{
    return now > b->opened_at ? now - b->opened_at : 0;
}

static void add_flows_row(void *arg, uint64_t number, const struct service_count *c)
{
    struct engine_view *v = arg;
    ((struct engine_flows_row *)(uintptr_t)v->flows)[v->flows_count++] = (struct engine_flows_row){number, count_row(c)};
}

static bool add_flows(struct engine_view *v, const struct engine *e)
{
    v->flows = view_rows(v, e->loose_count, sizeof *v->flows);
    if (v->flows)
        flows_each(e, add_flows_row, v);
    return v->flows;
}

static bool add_streams(struct engine_view *v, const struct engine *e, mono_ns now)
{
    unsigned most = e->bridge_count < ENGINE_STREAMS_SHOWN ? e->bridge_count : ENGINE_STREAMS_SHOWN;
    struct engine_stream *rows = view_rows(v, most, sizeof *rows);
    char addr[MULTIADDR_TEXT];
    for (const struct bridge *b = e->bridges; rows && b && v->stream_count < most; b = b->next)
        rows[v->stream_count++] =
            (struct engine_stream){.number = b->number,
                                   .peer = b->peer,
                                   .service = view_text(v, b->service),
                                   .inbound = b->inbound,
                                   .datagrams = b->datagrams,
                                   .connecting = b->state != BRIDGE_OPEN,
                                   .local = view_text(v, b->place ? b->place : ""),
                                   .remote = b->raw ? view_text(v, multiaddr_text(host_raw_remote(b->raw), addr)) : "",
                                   .bytes_in = b->bytes_in,
                                   .bytes_out = b->bytes_out,
                                   .dropped = b->dropped,
                                   .seconds = (double)(age_of(b, now) / MONO_MS) / 1000};
    v->streams = rows;
    return rows;
}

static bool add_addresses(struct engine_view *v, const struct engine *e)
{
    struct engine_address *rows = view_rows(v, e->ip_tally.count, sizeof *rows);
    for (unsigned i = 0; rows && i < e->ip_tally.count; i++) {
        const struct tally_row *r = e->ip_tally.rows[i];
        rows[v->address_count++] = (struct engine_address){view_text(v, r->key), count_row(&r->count)};
    }
    v->addresses = rows;
    return rows;
}

bool view_add_services(struct engine_view *v, const struct engine *e, mono_ns now)
{
    return add_offers(v, e) && add_forwards(v, e) && add_flows(v, e) && add_streams(v, e, now) && add_addresses(v, e);
}

void view_add_tallies(struct engine_view *v, const struct engine *e)
{
    for (size_t i = 0; i < v->peer_count && e->peer_tally.count; i++) {
        const struct tally_row *r = tally_find(&e->peer_tally, peer_id_span(&v->peers[i].id));
        if (r)
            v->peers[i].services = count_row(&r->count);
    }
}
