/* SPDX-License-Identifier: MIT
 *
 * See peerstore.h. Saved form: "p2ppeers", version (1), uvarint number of peers, then for each, oldest first
 *   length (1) ‖ id, flags (1: 1 friend), last seen (8), length (1) ‖ agent, number of addresses (1), and for each of them
 *   source (1), expires (8, wall clock; all ones: never), last success (8, wall clock), length (1) ‖ multiaddr
 */
#include "net/swarm/peerstore.h"

#include "net/swarm/dialplan.h"
#include "store/base/err.h"
#include "store/base/uvarint.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS 1024 /* × 4 entries at most on average */

static const char magic[8] = {'p', '2', 'p', 'p', 'e', 'e', 'r', 's'};

enum { FLAG_FRIEND = 1 };

struct peerstore {
    struct peer_entry *buckets[BUCKETS];
    struct peer_entry *newest, *oldest;
    size_t count, friends, bytes;
};

struct peerstore *peerstore_new(void)
{
    return MEM_NEW(struct peerstore);
}

static struct peer_entry **bucket_of(struct peerstore *ps, const struct peer_id *id)
{
    return &ps->buckets[peer_id_mix(id) % BUCKETS];
}

struct peer_entry *peerstore_find(struct peerstore *ps, const struct peer_id *id)
{
    struct peer_entry *e = *bucket_of(ps, id);
    while (e && !peer_id_eq(&e->id, id))
        e = e->hash_next;
    return e;
}

static size_t addr_size(const struct peer_addr *a)
{
    return sizeof *a + a->len + sizeof a;
}

static void drop_addr(struct peerstore *ps, struct peer_entry *e, unsigned i)
{
    ps->bytes -= addr_size(e->addrs[i]);
    free(e->addrs[i]);
    e->addr_count--;
    memmove(&e->addrs[i], &e->addrs[i + 1], (e->addr_count - i) * sizeof *e->addrs);
}

static void drop_addrs(struct peerstore *ps, struct peer_entry *e)
{
    while (e->addr_count)
        drop_addr(ps, e, e->addr_count - 1u);
}

static void unlink_lru(struct peerstore *ps, struct peer_entry *e)
{
    *(e->newer ? &e->newer->older : &ps->newest) = e->older;
    *(e->older ? &e->older->newer : &ps->oldest) = e->newer;
    e->newer = e->older = NULL;
}

static void link_newest(struct peerstore *ps, struct peer_entry *e)
{
    e->older = ps->newest;
    *(ps->newest ? &ps->newest->newer : &ps->oldest) = e;
    ps->newest = e;
}

static void drop_entry(struct peerstore *ps, struct peer_entry *e)
{
    struct peer_entry **at = bucket_of(ps, &e->id);
    while (*at != e)
        at = &(*at)->hash_next;
    *at = e->hash_next;
    unlink_lru(ps, e);
    drop_addrs(ps, e);
    ps->count--;
    ps->friends -= e->is_friend;
    ps->bytes -= sizeof *e;
    free(e->addrs);
    free(e);
}

struct peerstore *peerstore_free(struct peerstore *ps)
{
    if (!ps)
        return NULL;
    while (ps->oldest)
        drop_entry(ps, ps->oldest);
    free(ps);
    return NULL;
}

/* Friends and pinned peers stay: both are bounded, so there is always somebody else */
static void evict(struct peerstore *ps, const struct peer_entry *spare)
{
    struct peer_entry *e = ps->oldest;
    while (e && (ps->count > PEERSTORE_PEERS_MAX || ps->bytes > PEERSTORE_BYTES_MAX)) {
        struct peer_entry *newer = e->newer;
        if (!e->pins && !e->is_friend && e != spare)
            drop_entry(ps, e);
        e = newer;
    }
}

struct peer_entry *peerstore_touch(struct peerstore *ps, const struct peer_id *id)
{
    struct peer_entry *e = peerstore_find(ps, id);
    if (e) {
        unlink_lru(ps, e);
        link_newest(ps, e);
        return e;
    }
    e = MEM_NEW(struct peer_entry);
    e->id = *id;
    struct peer_entry **at = bucket_of(ps, id);
    e->hash_next = *at;
    *at = e;
    link_newest(ps, e);
    ps->count++;
    ps->bytes += sizeof *e;
    evict(ps, e);
    return e;
}

void peerstore_forget(struct peerstore *ps, const struct peer_id *id)
{
    struct peer_entry *e = peerstore_find(ps, id);
    if (!e)
        return;
    if (!e->pins) {
        drop_entry(ps, e);
        return;
    }
    (void)peerstore_set_friend(ps, e, false); /* ending a friendship cannot fail */
    e->proven = false;
    drop_addrs(ps, e);
}

void peerstore_pin(struct peer_entry *e)
{
    e->pins++;
}

void peerstore_unpin(struct peer_entry *e)
{
    assert(e->pins);
    e->pins--;
}

int peerstore_set_friend(struct peerstore *ps, struct peer_entry *e, bool on)
{
    if (e->is_friend == on)
        return 0;
    if (on && ps->friends == PEERSTORE_FRIENDS_MAX)
        return ERR_LIMIT;
    e->is_friend = on;
    ps->friends += on ? 1u : (size_t)-1;
    return 0;
}

void peerstore_set_agent(struct peer_entry *e, struct span agent)
{
    size_t n = agent.len < sizeof e->agent - 1 ? agent.len : sizeof e->agent - 1;
    for (size_t i = 0; i < n; i++)
        e->agent[i] = agent.data[i] >= 0x20 && agent.data[i] < 0x7f ? (char)agent.data[i] : '?';
    e->agent[n] = 0;
}

/* ---- addresses ---- */

static struct peer_addr *find_addr(const struct peer_entry *e, const struct multiaddr *addr)
{
    for (unsigned i = 0; i < e->addr_count; i++)
        if (span_eq(span_of(e->addrs[i]->bytes, e->addrs[i]->len), multiaddr_span(addr)))
            return e->addrs[i];
    return NULL;
}

/* The one that is least likely to help: a user's word lasts, then what worked, then the fewest failures, then the newest */
static bool worse(const struct peer_addr *a, const struct peer_addr *b)
{
    if ((a->source == ADDR_FROM_USER) != (b->source == ADDR_FROM_USER))
        return b->source == ADDR_FROM_USER;
    if (a->last_success != b->last_success)
        return a->last_success < b->last_success;
    if (a->failures != b->failures)
        return a->failures > b->failures;
    return a->expires < b->expires;
}

static const struct peer_addr *best_addr(const struct peer_entry *e)
{
    const struct peer_addr *best = e->addr_count ? e->addrs[0] : NULL;
    for (unsigned i = 1; i < e->addr_count; i++)
        if (worse(best, e->addrs[i]))
            best = e->addrs[i];
    return best;
}

static void make_room(struct peerstore *ps, struct peer_entry *e)
{
    if (e->addr_count < PEERSTORE_ADDRS_MAX)
        return;
    unsigned worst = 0;
    for (unsigned i = 1; i < e->addr_count; i++)
        if (worse(e->addrs[i], e->addrs[worst]))
            worst = i;
    drop_addr(ps, e, worst);
}

static struct peer_addr *add_addr(struct peerstore *ps, struct peer_entry *e, const struct multiaddr *addr)
{
    make_room(ps, e);
    struct peer_addr *a = mem_new(sizeof *a + addr->len);
    a->len = addr->len;
    memcpy(a->bytes, addr->bytes, addr->len);
    e->addrs = mem_grow(e->addrs, e->addr_count + 1u, sizeof *e->addrs);
    e->addrs[e->addr_count++] = a;
    ps->bytes += addr_size(a);
    return a;
}

static mono_ns source_ttl(enum addr_source source)
{
    static const mono_ns ttl[ADDR_SOURCES] = {
        [ADDR_FROM_PEER] = PEERSTORE_PEER_TTL, [ADDR_FROM_LAN] = PEERSTORE_LAN_TTL, [ADDR_FROM_USER] = MONO_NEVER};
    return ttl[source];
}

bool peerstore_learn(struct peerstore *ps, struct peer_entry *e, const struct multiaddr *addr, enum addr_source source,
                     mono_ns now)
{
    if (addr->len == 0 || addr->len > PEERSTORE_ADDR_BYTES_MAX)
        return false;
    struct peer_addr *a = find_addr(e, addr);
    bool is_new = !a;
    if (is_new)
        a = add_addr(ps, e, addr);
    if (is_new || source > a->source)
        a->source = (uint8_t)source;
    mono_ns expires = mono_after(now, source_ttl(source));
    if (expires > a->expires)
        a->expires = expires;
    evict(ps, e);
    return is_new;
}

void peerstore_succeeded(struct peerstore *ps, struct peer_entry *e, const struct multiaddr *addr, mono_ns now, wall_ns wall)
{
    if (addr->len == 0 || addr->len > PEERSTORE_ADDR_BYTES_MAX)
        return;
    struct peer_addr *a = find_addr(e, addr);
    if (!a)
        a = add_addr(ps, e, addr);
    a->failures = 0;
    a->retry_at = 0;
    a->last_success = wall;
    mono_ns expires = mono_after(now, PEERSTORE_PROVEN_TTL);
    if (expires > a->expires)
        a->expires = expires;
    evict(ps, e);
}

void peerstore_failed(struct peer_entry *e, const struct multiaddr *addr, mono_ns now)
{
    struct peer_addr *a = find_addr(e, addr);
    if (!a)
        return;
    if (a->failures < UINT16_MAX)
        a->failures++;
    a->retry_at = mono_after(now, dial_backoff(a->failures));
}

void peerstore_forgive(struct peerstore *ps)
{
    for (struct peer_entry *e = peerstore_newest(ps); e; e = e->older)
        for (unsigned i = 0; i < e->addr_count; i++) {
            e->addrs[i]->failures = 0;
            e->addrs[i]->retry_at = 0;
        }
}

void peer_addr_get(const struct peer_addr *a, struct multiaddr *ret)
{
    ret->len = a->len;
    memcpy(ret->bytes, a->bytes, a->len);
}

void peerstore_expire(struct peerstore *ps, mono_ns now)
{
    for (struct peer_entry *e = ps->newest, *older; e; e = older) {
        older = e->older;
        const struct peer_addr *kept = e->is_friend ? best_addr(e) : NULL;
        for (unsigned i = e->addr_count; i-- > 0;)
            if (e->addrs[i]->expires <= now && e->addrs[i] != kept)
                drop_addr(ps, e, i);
        if (!e->addr_count && !e->pins && !peerstore_is_saved(e))
            drop_entry(ps, e);
    }
}

struct peer_entry *peerstore_newest(const struct peerstore *ps)
{
    return ps->newest;
}

size_t peerstore_count(const struct peerstore *ps)
{
    return ps->count;
}

size_t peerstore_bytes(const struct peerstore *ps)
{
    return ps->bytes;
}

bool peerstore_is_saved(const struct peer_entry *e)
{
    return e->is_friend || (e->proven && e->addr_count);
}

/* ---- saving ---- */

static void add_u64(struct buf *out, uint64_t v)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> (56 - 8 * i));
    buf_add(out, bytes, sizeof bytes);
}

static uint64_t wall_expiry(const struct peer_addr *a, mono_ns now, wall_ns wall)
{
    if (a->expires == MONO_NEVER)
        return UINT64_MAX;
    mono_ns left = a->expires > now ? a->expires - now : 0;
    return (uint64_t)wall + left;
}

static void save_entry(const struct peer_entry *e, struct buf *out, mono_ns now, wall_ns wall)
{
    buf_add_u8(out, e->id.len);
    buf_add_span(out, peer_id_span(&e->id));
    buf_add_u8(out, e->is_friend ? FLAG_FRIEND : 0);
    add_u64(out, (uint64_t)e->last_seen);
    struct span agent = span_str(e->agent);
    buf_add_u8(out, (uint8_t)agent.len);
    buf_add_span(out, agent);
    buf_add_u8(out, e->addr_count);
    for (unsigned i = 0; i < e->addr_count; i++) {
        const struct peer_addr *a = e->addrs[i];
        buf_add_u8(out, a->source);
        add_u64(out, wall_expiry(a, now, wall));
        add_u64(out, (uint64_t)a->last_success);
        buf_add_u8(out, (uint8_t)a->len);
        buf_add(out, a->bytes, a->len);
    }
}

_Static_assert(PEERSTORE_ADDR_BYTES_MAX < 256 && PEERSTORE_ADDRS_MAX < 256, "lengths are one byte");

void peerstore_save(const struct peerstore *ps, struct buf *out, mono_ns now, wall_ns wall)
{
    size_t count = 0;
    for (const struct peer_entry *e = ps->oldest; e; e = e->newer)
        count += peerstore_is_saved(e);
    buf_add(out, magic, sizeof magic);
    buf_add_u8(out, PEERSTORE_VERSION);
    buf_add_uvarint(out, count);
    for (const struct peer_entry *e = ps->oldest; e; e = e->newer)
        if (peerstore_is_saved(e))
            save_entry(e, out, now, wall);
}

struct loader {
    struct span in;
    bool cut; /* more was asked for than there is */
};

static struct span take(struct loader *l, size_t n)
{
    if (n > l->in.len) {
        l->cut = true;
        return SPAN_NONE;
    }
    struct span s = span_sub(l->in, 0, n);
    l->in = span_from(l->in, n);
    return s;
}

static uint8_t take_u8(struct loader *l)
{
    struct span s = take(l, 1);
    return s.len ? s.data[0] : 0;
}

static uint64_t take_u64(struct loader *l)
{
    struct span s = take(l, 8);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | s.data[i];
    return v;
}

/* Times of a clock that was wrong then, or is now, are taken as now */
static wall_ns past(uint64_t t, wall_ns wall)
{
    return t > (uint64_t)wall ? wall : (wall_ns)t;
}

static void load_addr(struct peerstore *ps, struct peer_entry *e, struct loader *l, mono_ns now, wall_ns wall)
{
    uint8_t source = take_u8(l);
    uint64_t expires = take_u64(l);
    uint64_t success = take_u64(l);
    struct span bytes = take(l, take_u8(l));
    struct multiaddr addr;
    if (l->cut || source >= ADDR_SOURCES || multiaddr_parse(bytes, &addr) < 0)
        return; /* one bad address is left out, the rest is of use */
    uint64_t left = expires > (uint64_t)wall ? expires - (uint64_t)wall : 0;
    if ((!left && !e->is_friend) || !peerstore_learn(ps, e, &addr, source, now))
        return; /* of a friend the best one is kept */
    struct peer_addr *a = find_addr(e, &addr);
    if (!a)
        return; /* evicted at once: the table is full */
    a->expires =
        expires == UINT64_MAX ? MONO_NEVER : mono_after(now, left > PEERSTORE_PROVEN_TTL ? PEERSTORE_PROVEN_TTL : left);
    a->last_success = past(success, wall);
}

static int load_entry(struct peerstore *ps, struct loader *l, mono_ns now, wall_ns wall)
{
    struct span id_bytes = take(l, take_u8(l));
    uint8_t flags = take_u8(l);
    uint64_t last_seen = take_u64(l);
    struct span agent = take(l, take_u8(l));
    unsigned addrs = take_u8(l);
    if (l->cut)
        return ERR_TRUNCATED;
    struct peer_id id;
    if (peer_id_parse(id_bytes, &id) < 0 || addrs > PEERSTORE_ADDRS_MAX)
        return ERR_INVALID;
    struct peer_entry *e = peerstore_touch(ps, &id);
    e->last_seen = past(last_seen, wall);
    e->proven = true;
    peerstore_set_agent(e, agent);
    (void)peerstore_set_friend(ps, e, flags & FLAG_FRIEND); /* beyond the limit: an acquaintance */
    for (unsigned i = 0; i < addrs && !l->cut; i++)
        load_addr(ps, e, l, now, wall);
    return l->cut ? ERR_TRUNCATED : 0;
}

int peerstore_load(struct peerstore *ps, struct span in, mono_ns now, wall_ns wall)
{
    struct loader l = {.in = in};
    struct span head = take(&l, sizeof magic);
    if (l.cut || memcmp(head.data, magic, sizeof magic) != 0)
        return ERR_INVALID;
    if (take_u8(&l) > PEERSTORE_VERSION)
        return ERR_VERSION;
    uint64_t count;
    int n = uvarint_read(l.in, &count);
    if (n < 0)
        return n;
    l.in = span_from(l.in, (size_t)n);
    for (uint64_t i = 0; i < count; i++) {
        int err = load_entry(ps, &l, now, wall);
        if (err < 0)
            return err;
    }
    return l.in.len ? ERR_INVALID : 0;
}
