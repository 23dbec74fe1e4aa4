/* SPDX-License-Identifier: MIT
 *
 * Snapshots for those who show things: made on the engine's thread, owned by whoever gets them. All memory of a view hangs
 * on one chain of chunks.
 */
#include "net/engine/engine_bridge.h"
#include "net/engine/engine_view.h"

#include <assert.h>
#include <stdlib.h>

#define VIEW_PERIOD    (250 * MONO_MS) /* at most four a second, */
#define VIEW_SMALL     128 /* of so many peers; of more accordingly fewer: strangers who come and go must not cost us that */
#define VIEW_LATEST    (5 * MONO_S) /* of figures that moved */
#define VIEW_STREAMS   MONO_S       /* the same while there are streams: people look at them */
#define VIEW_PEERS     1024         /* connected ones first */
#define CHUNK_BYTES    ((size_t)16 << 10)
#define OBSERVED_SHOWN 8

struct chunk {
    struct chunk *next;
    size_t used, size;
    _Alignas(16) uint8_t bytes[];
};

static void *take(struct engine_view *v, size_t size)
{
    struct chunk *c = v->memory;
    size = (size + 15) & ~(size_t)15;
    if (!c || c->size - c->used < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        struct chunk *fresh = mem_big(sizeof *fresh + room, 1);
        if (!fresh)
            return NULL;
        *fresh = (struct chunk){.next = c, .size = room};
        v->memory = c = fresh;
    }
    void *at = c->bytes + c->used;
    c->used += size;
    return at;
}

void *view_alloc(struct engine_view *v, size_t size)
{
    assert(size <= CHUNK_BYTES);
    void *at = take(v, size);
    if (!at)
        abort();
    return at;
}

void *view_rows(struct engine_view *v, size_t count, size_t size)
{
    void *rows = take(v, (count ? count : 1) * size);
    if (rows)
        memset(rows, 0, (count ? count : 1) * size);
    return rows;
}

void engine_view_free(struct engine_view *v)
{
    if (!v)
        return;
    for (struct chunk *c = v->memory; c;) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
    free(v);
}

const char *view_text(struct engine_view *v, const char *text)
{
    size_t len = strlen(text) + 1;
    return memcpy(view_alloc(v, len), text, len);
}

static const char *addr_text(struct engine_view *v, const struct multiaddr *addr)
{
    char text[MULTIADDR_TEXT];
    return view_text(v, multiaddr_text(addr, text));
}

static const char **text_array(struct engine_view *v, size_t count)
{
    return view_alloc(v, (count ? count : 1) * sizeof(const char *));
}

static void copy_figures(struct engine_peer *p, const struct host_peer_info *i)
{
    p->id = i->id;
    p->connected = i->connected;
    p->lan = i->lan;
    p->saved = i->saved;
    p->inbound = i->inbound;
    p->connections = i->connections;
    p->streams = i->streams;
    p->last_seen = i->last_seen;
    p->rtt = i->rtt;
    p->bytes_in = i->bytes_in;
    p->bytes_out = i->bytes_out;
    p->connected_for = i->connected_for;
    p->blocks_in = i->ledger.blocks_received;
    p->blocks_out = i->ledger.blocks_sent;
    p->block_bytes_in = i->ledger.bytes_received;
    p->block_bytes_out = i->ledger.bytes_sent;
    p->blocks_dup = i->ledger.duplicates;
    p->blocks_wrong = i->ledger.wrong;
    p->wants_theirs = i->ledger.their_wants;
    p->wants_ours = i->ledger.our_wants;
}

static void copy_addrs(struct engine_view *v, struct engine_peer *p, const struct peer_entry *entry)
{
    const char **texts = text_array(v, entry->addr_count);
    for (unsigned i = 0; i < entry->addr_count; i++) {
        struct multiaddr addr;
        peer_addr_get(entry->addrs[i], &addr);
        texts[i] = addr_text(v, &addr);
    }
    p->addrs = texts;
    p->addr_count = entry->addr_count;
}

static void add_peer(void *arg, const struct host_peer_info *i)
{
    struct engine_view *v = arg;
    struct engine_peer *p = &v->peers[v->peer_count++];
    copy_figures(p, i);
    memcpy(p->agent, i->agent, sizeof p->agent);
    p->remote = i->remote ? addr_text(v, i->remote) : "";
    copy_addrs(v, p, i->entry);
    const char **protocols = text_array(v, i->protocol_count);
    for (unsigned k = 0; k < i->protocol_count; k++)
        protocols[k] = view_text(v, i->protocols[k]);
    p->protocols = protocols;
    p->protocol_count = i->protocol_count;
}
_Static_assert(sizeof((struct engine_peer){0}.agent) == PEERSTORE_AGENT_SIZE, "agents are copied whole");

static void count_peer(void *arg, const struct host_peer_info *i)
{
    (void)i;
    ++*(unsigned *)arg;
}

static void add_self(struct engine_view *v, const struct engine *e)
{
    const struct selfaddrs *self = host_self(e->host);
    struct multiaddr observed[OBSERVED_SHOWN];
    const char **listen = text_array(v, self->addr_count);
    for (unsigned i = 0; i < self->addr_count; i++)
        listen[i] = addr_text(v, &self->addrs[i].addr);
    v->listen = listen;
    v->listen_count = self->addr_count;
    v->observed_count = host_observed(e->host, observed, OBSERVED_SHOWN);
    const char **seen = text_array(v, v->observed_count);
    for (unsigned i = 0; i < v->observed_count; i++)
        seen[i] = addr_text(v, &observed[i]);
    v->observed = seen;
}

static void measure_rate(struct engine *e, const struct host_stats *s, mono_ns now)
{
    double seconds = (double)(now - e->rate.at) / (double)MONO_S;
    if (seconds <= 0)
        return;
    double weight = seconds >= 3 ? 1 : seconds / 3; /* smoothed over about three seconds */
    e->rate.rate_in += weight * ((double)(s->bytes_in - e->rate.in) / seconds - e->rate.rate_in);
    e->rate.rate_out += weight * ((double)(s->bytes_out - e->rate.out) / seconds - e->rate.rate_out);
    e->rate.at = now;
    e->rate.in = s->bytes_in;
    e->rate.out = s->bytes_out;
}

/* NULL: no memory. */
static struct engine_view *make_view(struct engine *e, const struct host_stats *s, mono_ns now)
{
    struct engine_view *v = MEM_NEW(struct engine_view);
    unsigned count = 0;
    host_each_peer(e->host, VIEW_PEERS, now, count_peer, &count);
    v->peers = view_rows(v, count, sizeof *v->peers);
    if (!v->peers || !view_add_services(v, e, now)) {
        engine_view_free(v);
        return NULL;
    }
    host_each_peer(e->host, count, now, add_peer, v);
    add_self(v, e);
    v->online = host_online(e->host);
    v->connections = s->connections;
    v->bytes_in = s->bytes_in;
    v->bytes_out = s->bytes_out;
    v->rate_in = (uint64_t)e->rate.rate_in;
    v->rate_out = (uint64_t)e->rate.rate_out;
    v->wants = s->wants;
    view_add_tallies(v, e);
    v->uptime = now - e->started;
    return v;
}

static bool tell_view(struct engine *e, const struct host_stats *s, mono_ns now)
{
    struct engine_view *v = e->o.listener.view ? make_view(e, s, now) : NULL;
    e->view_at = mono_after(now, VIEW_PERIOD * (1 + (v ? v->peer_count / VIEW_SMALL : 0)));
    if (v)
        e->o.listener.view(e->o.listener.arg, v);
    return v || !e->o.listener.view;
}

static mono_ns latest(const struct engine *e, mono_ns now)
{
    return mono_after(now, e->bridge_count ? VIEW_STREAMS : VIEW_LATEST);
}

bool engine_view_old(const struct engine *e)
{
    struct host_stats s;
    host_stats(e->host, &s);
    return s.changes + e->service_changes != e->view_changes || host_online(e->host) != e->view_online || !e->view_latest;
}

mono_ns engine_view_turn(struct engine *e, mono_ns now)
{
    struct host_stats s;
    if (now < e->view_at && !e->view_now)
        return e->view_at;
    bool changed = engine_view_old(e);
    host_stats(e->host, &s);
    bool figures = s.bytes_in != e->rate.in || s.bytes_out != e->rate.out || e->rate.rate_in + e->rate.rate_out >= 1;
    if (now >= e->view_latest)
        changed |= figures;
    changed |= e->view_now;
    e->view_now = false;
    if (changed) {
        measure_rate(e, &s, now);
        host_set_wall(e->host, wall_now(), now);
        if (!tell_view(e, &s, now)) { /* the last one stays until there is memory */
            e->view_latest = 0;
            return e->view_at;
        }
        e->view_changes = s.changes + e->service_changes;
        e->view_online = host_online(e->host);
        return e->view_latest = latest(e, now);
    }
    if (now >= e->view_latest)
        e->view_latest = latest(e, now);
    return e->view_latest;
}
