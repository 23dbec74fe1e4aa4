/* SPDX-License-Identifier: MIT
 *
 * /v1/services: changes, lines of service_line.h, as the body. /v1/offers, /v1/forwards, /v1/streams: lists, of a view that
 * is made for the asker, so that what was just done is in it. */
#include "cmd/daemon/api.h"
#include "cmd/daemon/order.h"
#include "cmd/daemon/service_views.h"
#include "net/engine/engine_service.h"

#include <stdlib.h>

/* ---- changes ---- */

/* The list of what there is, or how to say it */
static const char *hint_for(int err, struct span line)
{
    static const struct {
        const char *of, *list, *help;
    } hints[] = {{"forward", "p2p forward", "p2p forward --help"},
                 {"unforward", "p2p forward", "p2p forward --help"},
                 {"hangup", "p2p streams", "p2p streams --help"},
                 {"", "p2p offer", "p2p offer --help"}};
    unsigned i = 0;
    while (!span_starts(line, hints[i].of))
        i++;
    return err == ERR_NOT_FOUND ? hints[i].list : err == ERR_INVALID ? hints[i].help : NULL;
}

static void answer(struct order *o)
{
    struct ctl_request *q = o->arg;
    if (o->result < 0)
        ctl_fail(q, o->result, hint_for(o->result, span_str(o->line)), "%s", o->why.text);
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

static void offer_rows(struct ctl_request *q, const struct engine_view *e)
{
    for (unsigned i = 0; i < e->offer_count; i++)
        ctl_line(q, view_offer(q->d, &e->offers[i]));
}

void api_offers(struct ctl_request *q)
{
    look(q, offer_rows);
}

static void forward_rows(struct ctl_request *q, const struct engine_view *e)
{
    for (unsigned i = 0; i < e->forward_count; i++)
        ctl_line(q, view_forward(q->d, &e->forwards[i]));
}

void api_forwards(struct ctl_request *q)
{
    look(q, forward_rows);
}

static void stream_rows(struct ctl_request *q, const struct engine_view *e)
{
    for (unsigned i = 0; i < e->stream_count; i++)
        ctl_line(q, view_stream(q->d, &e->streams[i]));
}

void api_streams(struct ctl_request *q)
{
    look(q, stream_rows);
}

static void address_rows(struct ctl_request *q, const struct engine_view *e)
{
    for (unsigned i = 0; i < e->address_count; i++) {
        json_t *v = json_pack("{ss}", "address", e->addresses[i].address);
        view_count(v, &e->addresses[i].count);
        ctl_line(q, v);
    }
}

void api_stream_addresses(struct ctl_request *q)
{
    look(q, address_rows);
}
