/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/views.h"

#include "cmd/daemon/keeper.h"
#include "cmd/daemon/order.h"
#include "cmd/daemon/dnsd.h"
#include "cmd/daemon/petnames.h"
#include "cmd/daemon/service_views.h"
#include "store/base/units.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- status ---- */

static void put_int(json_t *v, const char *key, uint64_t n)
{
    json_object_set_new(v, key, json_integer((json_int_t)n));
}

static void put_text(json_t *v, const char *key, const char *text)
{
    json_t *s = json_string(text);
    json_object_set_new(v, key, s ? s : json_string("?"));
}

#define DISK_FULL   (UINT64_C(4) << 20)  /* a full block beside LMDB's copies of pages does not surely fit */
#define DISK_SCARCE (UINT64_C(64) << 20) /* where p2p doctor finds it bad, too */

/* One sentence: "working", or what is wrong and what to do. A full disk is seen here before a write fails. */
static void state_sentence(struct daemon *d, const struct blockstore_stats *s, int share_fault, char out[320])
{
    char a[UNITS_TEXT_SIZE], b[UNITS_TEXT_SIZE];
    unsigned keeping = keeper_count(d->keeper);
    if (d->stopping)
        snprintf(out, 320, "stopping");
    else if (s->fault)
        snprintf(out, 320, "the store cannot write: %s; what is held can be read. Try: p2p gc, or make room on the disk",
                 err_text(s->fault));
    else if (s->quota_bytes && s->live_bytes >= s->quota_bytes)
        snprintf(out, 320,
                 "what is kept (%s) fills the quota of %s: nothing new fits. Try: p2p limits quota SIZE, or p2p unpin",
                 size_text(s->live_bytes, a), size_text(s->quota_bytes, b));
    else if (share_fault)
        snprintf(out, 320, "a file in share/ cannot be stored: %s; it is tried again. Try: rm it, or %s", err_text(share_fault),
                 share_fault == ERR_QUOTA ? "p2p limits quota SIZE" : "make room on the disk");
    else if (s->disk_free_bytes < DISK_FULL)
        snprintf(
            out, 320,
            "the disk is full (%s free at the state folder); what is held can be read. Try: p2p gc, or make room on the disk",
            size_text(s->disk_free_bytes, a));
    else if (d->view && !d->view->online)
        snprintf(out, 320, "offline: no network is up; what is held works");
    else if (s->damaged)
        snprintf(
            out, 320,
            "working; %llu damaged %s found on the disk and dropped; peers are asked for them when they are needed. Try: p2p "
            "verify, and another disk",
            (unsigned long long)s->damaged, s->damaged == 1 ? "block was" : "blocks were");
    else if (s->suspect)
        snprintf(out, 320,
                 "working; the index of the store is damaged, and the next start writes it anew. Try: p2p down; p2p up");
    else if (s->rebuilt)
        snprintf(out, 320,
                 "working; the index of the store was damaged and was written anew from what could be read; "
                 "state/blocks/data.mdb.damaged "
                 "is the old one. Try: p2p verify, and another disk");
    else if (s->disk_free_bytes < DISK_SCARCE)
        snprintf(out, 320,
                 "working; the disk is nearly full (%s free at the state folder). Try: p2p gc, or make room on the disk",
                 size_text(s->disk_free_bytes, a));
    else if (keeping)
        snprintf(out, 320, "working; %u kept %s not all here yet", keeping, keeping == 1 ? "DAG is" : "DAGs are");
    else
        snprintf(out, 320, "working");
}

static void put_view(struct daemon *d, json_t *v)
{
    const struct engine_view *e = d->view;
    unsigned connected = 0, lan = 0;
    json_t *addresses = json_array();
    for (unsigned i = 0; e && i < e->listen_count; i++)
        json_array_append_new(addresses, json_sprintf("%s/p2p/%s", e->listen[i], d->id));
    for (size_t i = 0; e && i < e->peer_count; i++) {
        connected += e->peers[i].connected;
        lan += e->peers[i].lan;
    }
    json_object_set_new(v, "online", json_boolean(e && e->online));
    put_int(v, "peers_connected", connected);
    put_int(v, "peers_known", e ? e->peer_count : 0);
    put_int(v, "peers_lan", lan);
    if (json_array_size(addresses))
        put_text(v, "address", json_string_value(json_array_get(addresses, 0)));
    json_object_set_new(v, "addresses", addresses);
    put_int(v, "bytes_in", e ? e->bytes_in : 0);
    put_int(v, "bytes_out", e ? e->bytes_out : 0);
    put_int(v, "rate_in", e ? e->rate_in : 0);
    put_int(v, "rate_out", e ? e->rate_out : 0);
    put_int(v, "wants", e ? e->wants : 0);
    put_int(v, "services_offered", e ? e->offer_count : 0);
    put_int(v, "services_forwarded", e ? e->forward_count : 0);
    put_int(v, "streams", e ? e->stream_count : 0);
}

static void put_store(struct daemon *d, json_t *v, const struct blockstore_stats *s)
{
    put_int(v, "store_used", s->bytes);
    put_int(v, "store_kept", s->live_bytes);
    put_int(v, "store_limit", s->quota_bytes);
    put_int(v, "store_blocks", s->blocks);
    put_int(v, "store_wanted", s->wanted_blocks);
    put_int(v, "pins", s->pins);
    put_int(v, "disk_free", s->disk_free_bytes);
    put_int(v, "memory_used", budget_used(d->budget));
    put_int(v, "memory_peak", budget_peak(d->budget));
    put_int(v, "memory_limit", budget_limit(d->budget));
}

json_t *view_status(struct daemon *d)
{
    struct blockstore_stats stats;
    struct mount_stats mount = {.parked = 0};
    char state[320];
    blockstore_stats(d->store, &stats);
    (void)repo_disk_free(d->paths.state, &stats.disk_free_bytes); /* of now; else what the store saw lately */
    if (d->mount)
        mount_stats(d->mount, &mount);
    json_t *v = json_object();
    put_text(v, "id", d->id);
    put_text(v, "version", P2P_VERSION);
    json_object_set_new(v, "uptime", json_real((double)((mono_now() - d->started) / MONO_MS) / 1000));
    put_text(v, "mount", d->mount ? d->mount_dir : "");
    put_view(d, v);
    put_store(d, v, &stats);
    put_int(v, "waiting", mount.parked);
    if (d->dnsd)
        dnsd_state(d->dnsd, state, sizeof state);
    put_text(v, "dns", d->dnsd ? state : "off");
    state_sentence(d, &stats, mount.fault, state);
    put_text(v, "state", state);
    return v;
}

/* The same as text: a line for each key, arrays a line each. */
void views_text(json_t *object, struct buf *out)
{
    const char *key;
    json_t *value, *item;
    size_t i;
    json_object_foreach(object, key, value)
    {
        if (json_is_array(value)) {
            json_array_foreach(value, i, item) buf_printf(out, "%s\t%s\n", key, json_string_value(item));
        } else if (json_is_string(value)) {
            buf_printf(out, "%s\t%s\n", key, json_string_value(value));
        } else if (json_is_integer(value)) {
            buf_printf(out, "%s\t%lld\n", key, (long long)json_integer_value(value));
        } else if (json_is_real(value)) {
            buf_printf(out, "%s\t%.3f\n", key, json_real_value(value));
        } else {
            buf_printf(out, "%s\t%s\n", key, json_is_true(value) ? "yes" : "no");
        }
    }
}

/* ---- limits ---- */

static void add_limit(json_t *rows, const char *name, const char *value, uint64_t used)
{
    json_array_append_new(rows, json_pack("{ss ss sI}", "name", name, "value", value, "used", (json_int_t)used));
}

json_t *view_limits(struct daemon *d)
{
    struct blockstore_stats s;
    char a[UNITS_TEXT_SIZE], n[24];
    json_t *rows = json_array();
    uint64_t up = config_u64(d->config, CONFIG_UPLOAD_LIMIT), down = config_u64(d->config, CONFIG_DOWNLOAD_LIMIT);
    blockstore_stats(d->store, &s);
    add_limit(rows, "memory", size_text_exact(budget_limit(d->budget), a), budget_used(d->budget));
    for (enum budget_class c = 0; c < BUDGET_CLASSES; c++) { /* of it, the share that each kind of use is sure of */
        snprintf(n, sizeof n, "memory.%s", budget_class_name(c));
        uint64_t share = budget_share(d->budget, c) & ~UINT64_C(0xffff); /* a number for people */
        add_limit(rows, n, size_text_exact(share, a), budget_class_used(d->budget, c));
    }
    add_limit(rows, "memory.other", "none", budget_beside(d->budget));
    add_limit(rows, "quota", s.quota_bytes ? size_text_exact(s.quota_bytes, a) : "none", s.bytes);
    add_limit(rows, "upload", up ? size_text_exact(up, a) : "none", d->view ? d->view->rate_out : 0);
    add_limit(rows, "download", down ? size_text_exact(down, a) : "none", d->view ? d->view->rate_in : 0);
    snprintf(n, sizeof n, "%llu", (unsigned long long)config_u64(d->config, CONFIG_MAX_CONNECTIONS));
    add_limit(rows, "connections", n, d->view ? d->view->connections : 0);
    return rows;
}

static void limits_text(struct daemon *d, struct buf *out)
{
    json_t *rows = view_limits(d), *row;
    size_t i;
    buf_add_str(out, "# limit\tvalue\tused\n");
    json_array_foreach(rows, i, row) buf_printf(out, "%s\t%s\t%lld\n", json_string_value(json_object_get(row, "name")),
                                                json_string_value(json_object_get(row, "value")),
                                                (long long)json_integer_value(json_object_get(row, "used")));
    json_decref(rows);
}

/* ---- peers ---- */

static json_t *texts(const char *const *list, unsigned count)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < count; i++) {
        json_t *s = json_string(list[i]);
        if (s)
            json_array_append_new(a, s);
    }
    return a;
}

static void put_ledger(json_t *v, const struct engine_peer *p)
{
    put_int(v, "bytes_in", p->bytes_in);
    put_int(v, "bytes_out", p->bytes_out);
    put_int(v, "blocks_in", p->blocks_in);
    put_int(v, "blocks_out", p->blocks_out);
    put_int(v, "block_bytes_in", p->block_bytes_in);
    put_int(v, "block_bytes_out", p->block_bytes_out);
    put_int(v, "blocks_duplicate", p->blocks_dup);
    put_int(v, "blocks_unasked", p->blocks_unasked);
    put_int(v, "blocks_wrong", p->blocks_wrong);
    put_int(v, "wants_theirs", p->wants_theirs);
    put_int(v, "wants_ours", p->wants_ours);
    put_int(v, "service_streams", p->services.streams);
    put_int(v, "service_bytes_in", p->services.bytes_in);
    put_int(v, "service_bytes_out", p->services.bytes_out);
    put_int(v, "service_dropped", p->services.dropped);
    json_object_set_new(v, "service_seconds", json_real(p->services.seconds));
}

static void put_peer(struct daemon *d, json_t *v, const struct engine_peer *p)
{
    char id[PEER_ID_TEXT_SIZE], when[WALL_TEXT_SIZE];
    put_text(v, "id", peer_id_text(&p->id, id));
    put_text(v, "petname", petname_of(d->petnames, &p->id));
    json_object_set_new(v, "connected", json_boolean(p->connected));
    json_object_set_new(v, "lan", json_boolean(p->lan));
    json_object_set_new(v, "inbound", json_boolean(p->inbound));
    put_int(v, "connections", p->connections);
    put_int(v, "streams", p->streams);
    if (p->last_seen) /* else never */
        put_text(v, "last_seen", wall_text(p->last_seen, when));
    if (p->rtt)
        json_object_set_new(v, "rtt", json_real((double)p->rtt / (double)MONO_S));
    if (p->connected)
        json_object_set_new(v, "connected_for", json_real((double)(p->connected_for / MONO_MS) / 1000));
    put_text(v, "agent", p->agent);
    put_text(v, "remote", p->remote ? p->remote : "");
    json_object_set_new(v, "addresses", texts(p->addrs, p->addr_count));
    json_object_set_new(v, "protocols", texts(p->protocols, p->protocol_count));
}

json_t *view_peer(struct daemon *d, const struct engine_peer *p)
{
    json_t *v = json_object();
    put_peer(d, v, p);
    put_ledger(v, p);
    return v;
}

/* A table is one allocation: rows, then texts. While it is made, pointers are places in `text`. */
struct making {
    struct daemon *d;
    struct peer_row *rows;
    size_t count;
    struct buf text;
};

static const char *place(const struct making *m)
{
    return (const char *)(uintptr_t)buf_len(&m->text);
}

static const char *keep_string(struct making *m, const char *text)
{
    const char *at = place(m);
    buf_add(&m->text, text, strlen(text) + 1);
    return at;
}

static struct span keep_lines(struct making *m, json_t *take_v)
{
    const char *at = place(m);
    size_t before = buf_len(&m->text);
    views_text(take_v, &m->text);
    json_decref(take_v);
    return span_of(at, buf_len(&m->text) - before);
}

static struct span keep_services(struct making *m, const struct engine_peer *p)
{
    const char *at = place(m);
    size_t before = buf_len(&m->text);
    view_services_of(p, &m->text);
    return span_of(at, buf_len(&m->text) - before);
}

static void add_row(struct making *m, const struct engine_peer *p)
{
    char id[PEER_ID_TEXT_SIZE];
    json_t *status = json_object(), *ledger = json_object();
    put_peer(m->d, status, p);
    put_ledger(ledger, p);
    m->rows[m->count++] = (struct peer_row){
        .id = keep_string(m, peer_id_text(&p->id, id)),
        .petname = keep_string(m, petname_of(m->d->petnames, &p->id)),
        .connected = p->connected,
        .lan = p->lan,
        .saved = p->saved,
        .last_seen = p->last_seen,
        .rtt = p->rtt,
        .status = keep_lines(m, status),
        .ledger = keep_lines(m, ledger),
        .services = keep_services(m, p),
    };
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct peer_row *)a)->id, ((const struct peer_row *)b)->id);
}

/* Places become addresses. NULL: no memory. */
static struct peer_table *made(struct making *m)
{
    struct peer_table *t = MEM_NEW(struct peer_table);
    size_t rows_size = m->count * sizeof *m->rows;
    struct span text = buf_span(&m->text);
    uint8_t *memory = m->text.cut ? NULL : mem_big(rows_size + text.len + 1, 1);
    if (!memory) {
        buf_done(&m->text);
        free(m->rows);
        free(t);
        return NULL;
    }
    uint8_t *base = memory + rows_size;
    if (text.len)
        memcpy(base, text.data, text.len);
    t->rows = (struct peer_row *)(void *)memory;
    t->count = m->count;
    t->memory = memory;
    for (size_t i = 0; i < m->count; i++) {
        struct peer_row row = m->rows[i];
        row.id = (const char *)base + (uintptr_t)row.id;
        row.petname = (const char *)base + (uintptr_t)row.petname;
        row.status.data = base + (uintptr_t)row.status.data;
        row.ledger.data = base + (uintptr_t)row.ledger.data;
        row.services.data = base + (uintptr_t)row.services.data;
        t->rows[i] = row;
    }
    qsort(t->rows, t->count, sizeof *t->rows, by_id);
    buf_done(&m->text);
    free(m->rows);
    return t;
}

static const struct engine_peer *in_view(const struct engine_view *v, const struct peer_id *id)
{
    for (size_t i = 0; v && i < v->peer_count; i++)
        if (peer_id_eq(&v->peers[i].id, id))
            return &v->peers[i];
    return NULL;
}

static struct peer_table *peer_table_of(struct daemon *d)
{
    const struct engine_view *v = d->view;
    const char *name;
    struct peer_id id;
    unsigned named = 0;
    while (petname_at(d->petnames, named, &name, &id))
        named++;
    struct making m = {.d = d, .rows = mem_big((v ? v->peer_count : 0) + named + 1, sizeof *m.rows), .text = BUF_SOFT};
    if (!m.rows)
        return NULL;
    for (size_t i = 0; v && i < v->peer_count; i++)
        add_row(&m, &v->peers[i]);
    for (unsigned i = 0; petname_at(d->petnames, i, &name, &id); i++)
        if (!in_view(v, &id)) { /* a friend not seen lately */
            struct engine_peer unseen = {.id = id, .saved = true};
            add_row(&m, &unseen);
        }
    return made(&m);
}

/* ---- to the mount ---- */

void views_publish_texts(struct daemon *d)
{
    struct buf status = BUF_INIT, limits = BUF_INIT;
    if (!d->mount)
        return;
    json_t *v = view_status(d);
    json_object_del(v, "address"); /* the list of addresses has it */
    views_text(v, &status);
    json_decref(v);
    limits_text(d, &limits);
    mount_set_text(d->mount, MOUNT_TEXT_STATUS, &status);
    mount_set_text(d->mount, MOUNT_TEXT_LIMITS, &limits);
    buf_done(&status);
    buf_done(&limits);
}

void views_publish(struct daemon *d)
{
    if (!d->mount)
        return;
    struct peer_table *peers = peer_table_of(d);
    struct service_table *services = view_service_table(d);
    d->views_late = !peers || !services; /* the mount shows those before until there is memory */
    if (peers)
        mount_set_peers(d->mount, peers);
    if (services)
        mount_set_services(d->mount, services);
    mount_set_online(d->mount, !d->view || d->view->online); /* before the engine's first view nobody knows: reads wait */
    views_publish_texts(d);
}
