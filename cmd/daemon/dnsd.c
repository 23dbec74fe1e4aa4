/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/dnsd.h"

#include "cmd/daemon/dnsd_dial.h"
#include "cmd/daemon/petnames.h"
#include "cmd/daemon/settings.h"
#include "cmd/dns/dns_message.h"
#include "cmd/dns/dns_server.h"
#include "cmd/dns/lease_sockets.h"
#include "cmd/dns/leases.h"
#include "cmd/dns/service_ports.h"
#include "net/engine/engine_service.h"
#include "store/base/log.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SERVER_RETRY (5 * MONO_S)
#define PORTS_RETRY  (1 * MONO_S) /* ports that could not be had are not tried with every query */
#define OFFERED_MAX  128

struct dnsd {
    struct daemon *d;
    struct dns_server *server; /* NULL: off, or it could not be opened */
    struct why why;
    mono_ns retry_at;
    struct service_ports ports[SERVICE_WAYS];
    struct leases *leases;
    struct lease_sockets *sockets;
    char id[PEER_ID_TEXT_SIZE]; /* what book_id told last */
};

/* ---- the peers ---- */

static const char *book_petname(void *arg, unsigned i, struct peer_id *ret)
{
    const struct dnsd *o = arg;
    const char *name;
    return petname_at(o->d->petnames, i, &name, ret) ? name : NULL;
}

static const char *book_id(void *arg, unsigned i, struct peer_id *ret)
{
    struct dnsd *o = arg;
    const struct engine_view *v = o->d->view;
    const char *name;
    unsigned seen = v ? (unsigned)v->peer_count : 0;
    if (i < seen)
        *ret = v->peers[i].id;
    else if (!petname_at(o->d->petnames, i - seen, &name, ret))
        return NULL;
    return peer_id_text(ret, o->id);
}

static void read_name(struct dnsd *o, const char *text, struct overlay_name *ret)
{
    const struct peer_book book = {o, book_petname, book_id, &o->d->identity.id};
    overlay_name_read(text, &book, ret);
}

bool dnsd_find(struct dnsd *o, const char *text, struct peer_id *ret)
{
    struct overlay_name name;
    read_name(o, text, &name);
    if (name.kind == OVERLAY_PEER)
        *ret = name.peer;
    return name.kind == OVERLAY_PEER;
}

/* What a peer offers to us, as far as is known */
struct offered {
    bool current;                       /* the peer is connected and has told */
    const char *names[OFFERED_MAX + 1]; /* of one way; ends with NULL; the view's */
};

static void offered_by(const struct dnsd *o, const struct peer_id *peer, enum service_way way, struct offered *ret)
{
    const struct engine_view *v = o->d->view;
    const struct engine_peer *p = NULL;
    unsigned count = 0;
    for (size_t i = 0; v && i < v->peer_count && !p; i++)
        if (peer_id_eq(&v->peers[i].id, peer))
            p = &v->peers[i];
    for (unsigned i = 0; p && i < p->protocol_count && count < OFFERED_MAX; i++) {
        const char *name;
        bool datagrams;
        if (service_id_parse(p->protocols[i], &name, &datagrams) && datagrams == (way == SERVICE_WAY_UDP))
            ret->names[count++] = name;
    }
    ret->names[count] = NULL;
    ret->current = p && p->connected && p->protocol_count;
}

/* ---- leases ---- */

/* The ports that a lease is to have: of a peer that is connected those that lead somewhere, otherwise all. A service that is
 * not there says so to who connects, but who sends datagrams hears nothing in any case. */
static bool is_wanted(const struct lease *lease, enum service_way way, const struct service_port *p,
                      const struct offered *offered)
{
    if (!offered->current || (*lease->service && way == SERVICE_WAY_TCP))
        return true;
    return *lease->service ? service_as_offered(lease->service, offered->names) != NULL
                           : service_port_offered(p, offered->names);
}

typedef void each_port(void *arg, struct lease *lease, enum service_way way, uint16_t port);

static void each_wanted(const struct dnsd *o, struct lease *lease, each_port *each, void *arg)
{
    for (enum service_way way = 0; way < SERVICE_WAYS; way++) {
        struct offered offered;
        offered_by(o, &lease->peer, way, &offered);
        for (unsigned i = 0; i < o->ports[way].count; i++)
            if (is_wanted(lease, way, &o->ports[way].rows[i], &offered))
                each(arg, lease, way, o->ports[way].rows[i].port);
    }
}

static void listen_at(void *arg, struct lease *lease, enum service_way way, uint16_t port)
{
    struct dnsd *o = arg;
    (void)lease_sockets_open(o->sockets, lease, way, port); /* those that can be had */
}

/* All of them, where that has not been done lately. */
static void listen_on(struct dnsd *o, struct lease *lease, mono_ns now)
{
    if (lease->tried && now - lease->tried < PORTS_RETRY)
        return;
    each_wanted(o, lease, listen_at, o);
    lease->tried = now;
}

/* Where the service is told to be: on a port that means it, or on any. 0: there is none. */
static uint16_t srv_port(struct dnsd *o, struct lease *lease, enum service_way way)
{
    const struct service_ports *t = &o->ports[way];
    for (unsigned i = 0; i < t->count; i++)
        if (service_port_means(&t->rows[i], lease->service) && lease_sockets_has(lease, way, t->rows[i].port))
            return t->rows[i].port;
    (void)lease_sockets_open(o->sockets, lease, way, 0);
    return lease_sockets_chosen(lease, way);
}

static enum service_way way_of(const struct overlay_name *name)
{
    return name->datagrams ? SERVICE_WAY_UDP : SERVICE_WAY_TCP;
}

static struct lease *lease_of(struct dnsd *o, const struct overlay_name *name)
{
    mono_ns now = mono_now();
    struct lease *lease = leases_get(o->leases, &name->peer, name->service, now);
    if (lease)
        listen_on(o, lease, now);
    return lease;
}

static void on_query(void *arg, struct span packet, bool tcp, struct buf *out)
{
    struct dnsd *o = arg;
    struct overlay_name name = {.kind = OVERLAY_FOREIGN};
    struct dns_found found = {0, 0};
    struct dns_query q;
    if (dns_query_read(packet, &q) < 0)
        return;
    if (q.fault == DNS_OK)
        read_name(o, q.name, &name);
    unsigned needs = dns_answer_needs(&q, &name);
    struct lease *lease = needs ? lease_of(o, &name) : NULL;
    if (lease) {
        found.ip = lease->ip;
        found.port = needs & DNS_NEEDS_PORT ? srv_port(o, lease, way_of(&name)) : 0;
    }
    dns_answer_write(&q, &name, &found, tcp ? DNS_TCP_MOST : dns_udp_most(&q), out);
}

/* ---- connections ---- */

static void accepted(void *arg, struct lease *lease, uint16_t port, int take_fd)
{
    struct dnsd *o = arg;
    struct offered offered;
    struct dnsd_choice choice = {.peer = lease->peer};
    offered_by(o, &lease->peer, SERVICE_WAY_TCP, &offered);
    choice.count = service_choose(&o->ports[SERVICE_WAY_TCP], lease->service, port, offered.names, choice.services);
    lease->accepted++;
    lease->used = mono_now();
    dnsd_dial(o->d, &choice, take_fd);
}

/* ---- datagrams ---- */

static uint64_t bound(void *arg, struct lease *lease, uint16_t port, int take_fd)
{
    struct dnsd *o = arg;
    struct offered offered;
    struct engine_flows flows = {.peer = lease->peer, .fd = take_fd};
    char names[SERVICE_CHOICES_MAX][SERVICE_CHOICE_SIZE];
    offered_by(o, &lease->peer, SERVICE_WAY_UDP, &offered);
    flows.name_count = service_choose(&o->ports[SERVICE_WAY_UDP], lease->service, port, offered.names, names);
    if (!flows.name_count) {
        close(take_fd);
        return 0;
    }
    for (unsigned i = 0; i < flows.name_count; i++)
        memcpy(flows.names[i], names[i], SERVICE_CHOICE_SIZE);
    return engine_flows_open(o->d->engine, &flows);
}
_Static_assert(ENGINE_FLOWS_NAMES >= SERVICE_CHOICES_MAX && SERVICE_NAME_SIZE >= SERVICE_CHOICE_SIZE,
               "choices are copied whole");

static void unbound(void *arg, uint64_t number)
{
    struct dnsd *o = arg;
    engine_flows_close(o->d->engine, number);
}

void dnsd_seen(struct dnsd *o)
{
    const struct engine_view *v = o ? o->d->view : NULL;
    mono_ns now = mono_now();
    for (unsigned i = 0; v && i < v->flows_count; i++)
        lease_sockets_flows(o->sockets, v->flows[i].number, v->flows[i].count.open, v->flows[i].count.streams, now);
}

/* ---- life ---- */

static void open_server(struct dnsd *o, mono_ns now)
{
    uint16_t port = (uint16_t)config_u64(o->d->config, CONFIG_DNS_PORT);
    struct why why = {""};
    if (!port)
        return;
    if (dns_server_open(&o->server, &(struct dns_server_options){o->d->base, port, o, on_query}, &why) == 0) {
        if (o->why.text[0])
            daemon_event(o->d, "dns.up", "%s:%u", DNS_ADDRESS, port);
        o->why.text[0] = 0;
        return;
    }
    if (!o->why.text[0]) {
        daemon_event(o->d, "dns.down", "%s", why.text);
        log_warn("dns.down", "error=%s", why.text);
    }
    o->why = why;
    o->retry_at = now + SERVER_RETRY;
}

struct dnsd *dnsd_open(struct daemon *d)
{
    struct dnsd *o = MEM_NEW(struct dnsd);
    struct why why;
    uint16_t port;
    o->d = d;
    for (enum service_way way = 0; way < SERVICE_WAYS; way++) {
        service_ports_init(&o->ports[way], way);
        for (unsigned i = 0; i < config_list_count(d->config, CONFIG_DNS_PORTS); i++)
            if (settings_dns_port(d->config, i, &port, &why) == 0)
                (void)service_ports_add(&o->ports[way], port); /* there is room for all that the config may have */
    }
    o->leases = leases_new(&d->identity.id);
    o->sockets = lease_sockets_new(&(struct lease_sockets_options){d->base, o->leases, o, accepted, bound, unbound});
    open_server(o, mono_now());
    return o;
}

struct dnsd *dnsd_close(struct dnsd *o)
{
    if (!o)
        return NULL;
    dns_server_close(o->server);
    lease_sockets_free(o->sockets);
    leases_free(o->leases);
    free(o);
    return NULL;
}

void dnsd_tick(struct dnsd *o, mono_ns now)
{
    lease_sockets_tick(o->sockets, now);
    if (o->server)
        dns_server_tick(o->server);
    if (!o->server && o->why.text[0] && now >= o->retry_at)
        open_server(o, now);
}

void dnsd_state(const struct dnsd *o, char *out, size_t size)
{
    if (o->server)
        snprintf(out, size, "%s:%u", DNS_ADDRESS, dns_server_port(o->server));
    else
        snprintf(out, size, "%s", o->why.text[0] ? o->why.text : "off");
}

/* ---- what is shown ---- */

static char *ip_text(uint32_t ip, char text[INET_ADDRSTRLEN])
{
    const struct in_addr a = {htonl(ip)};
    (void)inet_ntop(AF_INET, &a, text, INET_ADDRSTRLEN); /* there is room */
    return text;
}

/* The name that leads to a lease and that every resolver leaves whole */
static void lease_name(const struct dnsd *o, const struct lease *lease, struct buf *out)
{
    char id[PEER_ID_CID_SIZE];
    const char *petname = petname_of(o->d->petnames, &lease->peer);
    if (*lease->service)
        buf_printf(out, "%s.", lease->service);
    buf_printf(out, "%s.overlay", *petname ? petname : peer_id_cid_text(&lease->peer, id));
}

/* What is shown of ports, by way */
static const struct {
    const char *open, *taken, *denied;
} keys[SERVICE_WAYS] = {
    [SERVICE_WAY_TCP] = {"ports", "taken", "denied"},
    [SERVICE_WAY_UDP] = {"udp_ports", "udp_taken", "udp_denied"},
};

static json_t *open_ports(struct dnsd *o, const struct lease *lease, enum service_way way)
{
    json_t *list = json_array();
    const struct service_ports *t = &o->ports[way];
    for (unsigned i = 0; i < t->count; i++)
        if (lease_sockets_has(lease, way, t->rows[i].port))
            json_array_append_new(list, json_integer(t->rows[i].port));
    if (lease_sockets_chosen(lease, way))
        json_array_append_new(list, json_integer(lease_sockets_chosen(lease, way)));
    return list;
}

static json_t *lease_row(struct dnsd *o, const struct lease *lease)
{
    char id[PEER_ID_TEXT_SIZE], ip[INET_ADDRSTRLEN];
    struct buf name = BUF_INIT;
    lease_name(o, lease, &name);
    json_t *v = json_pack("{ss* ss ss ss sI}", "name", buf_cstr(&name), "peer", peer_id_text(&lease->peer, id), "service",
                          lease->service, "address", ip_text(lease->ip, ip), "connections", (json_int_t)lease->accepted);
    buf_done(&name);
    for (enum service_way way = 0; way < SERVICE_WAYS; way++)
        json_object_set_new(v, keys[way].open, open_ports(o, lease, way));
    return v;
}

void dnsd_list(struct dnsd *o, void (*each)(void *arg, json_t *row), void *arg)
{
    struct lease *lease;
    mono_ns now = mono_now();
    for (unsigned i = 0; (lease = leases_at(o->leases, i)); i++) {
        json_t *row = lease_row(o, lease);
        json_object_set_new(row, "idle", json_real((double)((now - lease->used) / MONO_MS) / 1000));
        each(arg, row);
        json_decref(row);
    }
}

struct missing {
    struct dnsd *o;
    json_t *v;
};

static void add_missing(void *arg, struct lease *lease, enum service_way way, uint16_t port)
{
    struct missing *m = arg;
    int r = lease_sockets_open(m->o->sockets, lease, way, port);
    if (r == ERR_BUSY || r == ERR_DENIED)
        json_array_append_new(json_object_get(m->v, r == ERR_BUSY ? keys[way].taken : keys[way].denied), json_integer(port));
}

/* Ports of the tables that cannot be had, by the reason */
static void put_missing(struct dnsd *o, struct lease *lease, json_t *v)
{
    struct missing m = {o, v};
    for (enum service_way way = 0; way < SERVICE_WAYS; way++) {
        json_object_set_new(v, keys[way].taken, json_array());
        json_object_set_new(v, keys[way].denied, json_array());
    }
    each_wanted(o, lease, add_missing, &m);
}

json_t *dnsd_resolve(struct dnsd *o, const char *text, struct why *why)
{
    struct overlay_name name;
    struct buf whole = BUF_INIT;
    struct lease *lease = NULL;
    read_name(o, text, &name);
    if (name.kind == OVERLAY_FOREIGN) {
        buf_printf(&whole, "%s.overlay", text);
        read_name(o, buf_cstr(&whole), &name);
        buf_done(&whole);
    }
    if (name.kind == OVERLAY_SELF)
        return json_pack("{ss ss ss}", "name", text, "peer", o->d->id, "address", DNS_ADDRESS);
    bool has_address = name.kind == OVERLAY_PEER || name.kind == OVERLAY_SERVICE || name.kind == OVERLAY_SRV;
    if (has_address && !(lease = lease_of(o, &name)))
        (void)why_set(why, ERR_LIMIT, "%d addresses are in use", LEASES_MAX);
    if (!has_address)
        (void)why_set(why, ERR_NOT_FOUND, "there is no '%.200s' below .overlay: neither a petname nor a peer id", text);
    if (!lease)
        return NULL;
    if (name.kind == OVERLAY_SRV)
        (void)srv_port(o, lease, way_of(&name));
    json_t *v = lease_row(o, lease);
    put_missing(o, lease, v);
    return v;
}
