/* SPDX-License-Identifier: MIT
 *
 * Answers: PTR in the answer section, TXT (one record of many strings: go keeps only the last TXT it sees), SRV and A or
 * AAAA in the additional one (go's resolver drops a service without an address; the SRV port is as meaningless as go's own
 * 4001).
 *
 * Our queries have a random id, as go's do, though RFC 6762 would like 0: by it we know our own when we hear it, which the
 * source address cannot tell when several nodes live on one machine. */
#include "net/discover/mdns.h"

#include "net/discover/mdns_known.h"

#include "net/wire/dns_packet.h"

#include <stdlib.h>
#include <sys/queue.h>

#define SERVICE      "_p2p._udp.local"
#define META         "_services._dns-sd._udp.local"
#define NAME_LEN     40  /* of our random name; the spec says 32 to 63 */
#define TTL          120 /* s: what go and js use */
#define TTL_LEGACY   10  /* RFC 6762 section 6.7 */
#define SRV_PORT     4001
#define ANSWER_GAP   MONO_S         /* between two answers to the group on an interface */
#define ANSWER_MIN   (20 * MONO_MS) /* shared records are answered after 20–120 ms, RFC 6762 section 6 */
#define ANSWER_RANGE (100 * MONO_MS)
#define FIRST_PERIOD MONO_S
#define SENDS_MAX    64 /* answers to single askers that wait to be pulled */
#define PEERS_MAX    64 /* events that wait to be pulled */

struct iface {
    bool used;
    struct mdns_endpoint self;
    char *addrs[MDNS_ADDRS_MAX];
    unsigned addr_count;
    mono_ns query_at, period;
    mono_ns answer_at; /* MONO_NEVER: nothing to answer */
    mono_ns answered;  /* when last */
    bool ever_answered, meta, service;
    bool goodbye;      /* to be said */
    uint16_t query_id; /* of our last query */
};

struct reply { /* to one asker */
    STAILQ_ENTRY(reply) link;
    struct mdns_endpoint to;
    struct buf packet;
};

struct found {
    STAILQ_ENTRY(found) link;
    unsigned iface, count;
    bool gone;
    struct buf text; /* the id, then the addresses, each with a NUL */
};

struct bucket { /* `rate` a period */
    unsigned have, rate;
    mono_ns period, filled;
};

struct mdns {
    struct rng *rng;
    char *peer_id;
    char name[NAME_LEN + 1];
    char instance[NAME_LEN + sizeof "." SERVICE];
    char host[NAME_LEN + sizeof ".local"];
    struct iface ifaces[MDNS_IFACES_MAX];
    STAILQ_HEAD(, reply) replies;
    STAILQ_HEAD(, found) founds;
    unsigned reply_count, found_count;
    struct mdns_known_table known;
    struct bucket packets, unicasts, peers;
    struct mdns_stats stats;
    mono_ns now;
    struct buf packet;  /* of the last SEND */
    struct found *told; /* of the last PEER */
};

static void bucket_init(struct bucket *b, unsigned rate, mono_ns period)
{
    *b = (struct bucket){rate, rate, period, 0};
}

static bool bucket_take(struct bucket *b, mono_ns now)
{
    if (now - b->filled >= b->period) {
        b->have = b->rate;
        b->filled = now;
    }
    if (!b->have)
        return false;
    b->have--;
    return true;
}

struct mdns *mdns_new(struct rng *rng, const char *peer_id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    struct mdns *m = MEM_NEW(struct mdns);
    m->rng = rng;
    m->peer_id = mem_str(peer_id);
    for (unsigned i = 0; i < NAME_LEN; i++)
        m->name[i] = letters[rng_below(rng, sizeof letters - 1)];
    memcpy(m->instance, m->name, NAME_LEN);
    memcpy(m->instance + NAME_LEN, "." SERVICE, sizeof "." SERVICE);
    memcpy(m->host, m->name, NAME_LEN);
    memcpy(m->host + NAME_LEN, ".local", sizeof ".local");
    STAILQ_INIT(&m->replies);
    STAILQ_INIT(&m->founds);
    bucket_init(&m->packets, MDNS_PACKETS_RATE, MONO_S);
    bucket_init(&m->unicasts, MDNS_UNICAST_RATE, MONO_S);
    bucket_init(&m->peers, MDNS_PEERS_PER_MINUTE, 60 * MONO_S);
    return m;
}

static void found_free(struct found *f)
{
    if (!f)
        return;
    buf_done(&f->text);
    free(f);
}

static void iface_clear(struct iface *i)
{
    for (unsigned n = 0; n < i->addr_count; n++)
        free(i->addrs[n]);
    *i = (struct iface){.query_at = MONO_NEVER, .answer_at = MONO_NEVER};
}

struct mdns *mdns_free(struct mdns *m)
{
    if (!m)
        return NULL;
    for (unsigned i = 0; i < MDNS_IFACES_MAX; i++)
        iface_clear(&m->ifaces[i]);
    struct reply *r;
    while ((r = STAILQ_FIRST(&m->replies))) {
        STAILQ_REMOVE_HEAD(&m->replies, link);
        buf_done(&r->packet);
        free(r);
    }
    struct found *f;
    while ((f = STAILQ_FIRST(&m->founds))) {
        STAILQ_REMOVE_HEAD(&m->founds, link);
        found_free(f);
    }
    found_free(m->told);
    buf_done(&m->packet);
    free(m->peer_id);
    free(m);
    return NULL;
}

/* ---- interfaces ---- */

static struct iface *iface_find(struct mdns *m, unsigned index, enum mdns_family family)
{
    for (unsigned i = 0; i < MDNS_IFACES_MAX; i++)
        if (m->ifaces[i].used && m->ifaces[i].self.iface == index && m->ifaces[i].self.family == family)
            return &m->ifaces[i];
    return NULL;
}

static struct iface *iface_free_slot(struct mdns *m)
{
    for (unsigned i = 0; i < MDNS_IFACES_MAX; i++)
        if (!m->ifaces[i].used)
            return &m->ifaces[i];
    return NULL;
}

static void answer_soon(struct iface *i, mono_ns at)
{
    if (i->ever_answered && at < i->answered + ANSWER_GAP)
        at = i->answered + ANSWER_GAP;
    i->answer_at = mono_min(i->answer_at, at);
}

static bool same_as(const struct iface *i, const struct mdns_endpoint *self, const char *const *addrs, unsigned count)
{
    if (memcmp(i->self.ip, self->ip, self->family == MDNS_V4 ? 4 : 16) != 0)
        return false;
    unsigned n = 0;
    for (unsigned a = 0; a < count && n < MDNS_ADDRS_MAX; a++) {
        if (strlen(addrs[a]) > MDNS_ADDR_MAX)
            continue;
        if (n == i->addr_count || strcmp(i->addrs[n++], addrs[a]) != 0)
            return false;
    }
    return n == i->addr_count;
}

int mdns_iface_set(struct mdns *m, const struct mdns_endpoint *self, const char *const *addrs, unsigned count, mono_ns now)
{
    m->now = now;
    struct iface *i = iface_find(m, self->iface, self->family);
    if (i && same_as(i, self, addrs, count))
        return 0;
    mono_ns answered = i ? i->answered : 0;
    bool ever = i && i->ever_answered;
    if (!i)
        i = iface_free_slot(m);
    if (!i)
        return ERR_LIMIT;
    iface_clear(i);
    mdns_known_doubt(&m->known, self->iface);
    i->used = true;
    i->self = *self;
    i->answered = answered;
    i->ever_answered = ever;
    for (unsigned a = 0; a < count && i->addr_count < MDNS_ADDRS_MAX; a++)
        if (strlen(addrs[a]) <= MDNS_ADDR_MAX)
            i->addrs[i->addr_count++] = mem_str(addrs[a]);
    i->query_at = now;
    i->period = FIRST_PERIOD;
    i->service = true;
    answer_soon(i, now);
    return 0;
}

void mdns_iface_gone(struct mdns *m, unsigned iface, enum mdns_family family, mono_ns now)
{
    m->now = now;
    struct iface *i = iface_find(m, iface, family);
    if (i)
        iface_clear(i);
    mdns_known_doubt(&m->known, iface);
}

void mdns_hurry(struct mdns *m, mono_ns now)
{
    m->now = now;
    for (unsigned n = 0; n < MDNS_IFACES_MAX; n++) {
        struct iface *i = &m->ifaces[n];
        if (!i->used)
            continue;
        i->query_at = now;
        i->period = FIRST_PERIOD;
        i->service = true;
        answer_soon(i, now);
    }
}

void mdns_stop(struct mdns *m, mono_ns now)
{
    m->now = now;
    for (unsigned n = 0; n < MDNS_IFACES_MAX; n++) {
        struct iface *i = &m->ifaces[n];
        i->query_at = i->answer_at = MONO_NEVER;
        i->goodbye = i->used && i->ever_answered && i->addr_count;
    }
}

/* ---- writing ---- */

static void add_ptr(struct buf *out, const char *name, const char *target, uint32_t ttl)
{
    size_t at = dns_begin_record(out, name, DNS_PTR, DNS_CLASS_IN, ttl);
    dns_add_name(out, target);
    dns_end_record(out, at);
}

/* The answers that are known go with the question: their owners need not repeat them. */
static void write_query(struct mdns *m, const struct iface *i, struct buf *out)
{
    uint16_t known = 0;
    const size_t each = sizeof SERVICE + 2 + 10 + MDNS_KNOWN_NAME + 2; /* a record at most */
    const unsigned room = (MDNS_OUTPUT_MAX - 64) / each;
    struct buf answers = BUF_INIT;
    for (unsigned k = 0; k < MDNS_KNOWN_MAX && known < room; k++) {
        const struct mdns_known *row = &m->known.rows[k];
        if (!mdns_known_fresh(row, i->self.iface, m->now))
            continue;
        add_ptr(&answers, SERVICE, row->name, (uint32_t)((row->until - m->now) / MONO_S));
        known++;
    }
    dns_add_header(out, &(struct dns_header){.id = i->query_id, .questions = 1, .answers = known});
    dns_add_question(out, SERVICE, DNS_PTR, DNS_CLASS_IN);
    buf_add_span(out, buf_span(&answers));
    buf_done(&answers);
}

static void add_srv_and_ip(const struct mdns *m, const struct iface *i, struct buf *out, uint32_t ttl)
{
    size_t at = dns_begin_record(out, m->instance, DNS_SRV, DNS_CLASS_IN | DNS_TOP_BIT, ttl);
    dns_add_u16(out, 0); /* priority */
    dns_add_u16(out, 0); /* weight */
    dns_add_u16(out, SRV_PORT);
    dns_add_name(out, m->host);
    dns_end_record(out, at);
    bool v4 = i->self.family == MDNS_V4;
    at = dns_begin_record(out, m->host, v4 ? DNS_A : DNS_AAAA, DNS_CLASS_IN | DNS_TOP_BIT, ttl);
    buf_add(out, i->self.ip, v4 ? 4 : 16);
    dns_end_record(out, at);
}

static void add_txt(const struct mdns *m, const struct iface *i, struct buf *out, uint32_t ttl)
{
    static const char key[] = "dnsaddr=";
    size_t at = dns_begin_record(out, m->instance, DNS_TXT, DNS_CLASS_IN | DNS_TOP_BIT, ttl);
    for (unsigned n = 0; n < i->addr_count; n++) {
        size_t len = sizeof key - 1 + strlen(i->addrs[n]);
        if (buf_len(out) + 1 + len > MDNS_OUTPUT_MAX)
            break;
        buf_add_u8(out, (uint8_t)len);
        buf_add_str(out, key);
        buf_add_str(out, i->addrs[n]);
    }
    dns_end_record(out, at);
}

/* What is asked for: the service, or its type for the meta query. `legacy`: id and question of a resolver that is not mDNS */
struct asked {
    bool service, meta, unicast, legacy;
    bool goodbye;
    bool details; /* more than the PTR: nothing that is known already makes an answer needless */
    uint16_t id;
    struct dns_question question;
};

static void write_answer(const struct mdns *m, const struct iface *i, const struct asked *a, struct buf *out)
{
    uint32_t ttl = a->goodbye ? 0 : a->legacy ? TTL_LEGACY : TTL;
    dns_add_header(out, &(struct dns_header){.id = a->legacy ? a->id : 0,
                                             .flags = DNS_ANSWER,
                                             .questions = a->legacy,
                                             .answers = (uint16_t)(a->service + a->meta),
                                             .additionals = a->service ? 3 : 0});
    if (a->legacy)
        dns_add_question(out, a->question.name, a->question.type, a->question.class);
    if (a->meta)
        add_ptr(out, META, SERVICE, ttl);
    if (!a->service)
        return;
    add_ptr(out, SERVICE, m->instance, ttl);
    add_srv_and_ip(m, i, out, ttl);
    add_txt(m, i, out, ttl);
}

/* ---- questions ---- */

static void note_question(const struct mdns *m, const struct dns_question *q, struct asked *a)
{
    if ((q->class & ~DNS_TOP_BIT) != DNS_CLASS_IN && (q->class & ~DNS_TOP_BIT) != DNS_ANY)
        return;
    bool any = q->type == DNS_ANY;
    bool ptr = strcmp(q->name, SERVICE) == 0 && (any || q->type == DNS_PTR);
    bool details = (strcmp(q->name, m->instance) == 0 && (any || q->type == DNS_TXT || q->type == DNS_SRV)) ||
                   (strcmp(q->name, m->host) == 0 && (any || q->type == DNS_A || q->type == DNS_AAAA));
    bool service = ptr || details;
    bool meta = strcmp(q->name, META) == 0 && (any || q->type == DNS_PTR);
    if (!service && !meta)
        return;
    if (!a->service && !a->meta)
        a->question = *q;
    a->service |= service;
    a->details |= details;
    a->meta |= meta;
    a->unicast |= (q->class & DNS_TOP_BIT) != 0;
}

static void reply_to(struct mdns *m, const struct iface *i, const struct mdns_endpoint *to, const struct asked *a)
{
    if (m->reply_count >= SENDS_MAX || !bucket_take(&m->unicasts, m->now)) {
        m->stats.limited++;
        return;
    }
    struct reply *r = MEM_NEW(struct reply);
    r->to = *to;
    r->packet = BUF_INIT;
    write_answer(m, i, a, &r->packet);
    STAILQ_INSERT_TAIL(&m->replies, r, link);
    m->reply_count++;
}

/* What the asker knows already, with more than half of its time left, is not answered (RFC 6762 section 7.1). */
static int leave_out_known(const struct mdns *m, struct dns_reader *r, struct asked *a)
{
    struct dns_record rec;
    int more;
    while ((more = dns_next_record(r, &rec)) == 1) {
        char target[DNS_NAME_SIZE];
        if (rec.type != DNS_PTR || rec.ttl < TTL / 2 || dns_read_name(r->packet, rec.data_at, target) < 0)
            continue;
        if (strcmp(rec.name, SERVICE) == 0 && strcmp(target, m->instance) == 0 && !a->details)
            a->service = false;
        if (strcmp(rec.name, META) == 0 && strcmp(target, SERVICE) == 0)
            a->meta = false;
    }
    return more;
}

static int take_query(struct mdns *m, struct dns_reader *r, const struct mdns_endpoint *from)
{
    struct asked a = {.id = r->header.id, .legacy = from->port != MDNS_PORT};
    struct dns_question q;
    int more;
    while ((more = dns_next_question(r, &q)) == 1)
        note_question(m, &q, &a);
    struct iface *i = iface_find(m, from->iface, from->family);
    if (i && i->query_id && r->header.id == i->query_id && memcmp(from->ip, i->self.ip, from->family == MDNS_V4 ? 4 : 16) == 0)
        return more; /* our own */
    if (more == 0)
        more = leave_out_known(m, r, &a);
    if (more < 0 || !i || (!a.service && !a.meta) || !i->addr_count)
        return more;
    if (a.legacy || a.unicast) {
        reply_to(m, i, from, &a);
        return 0;
    }
    i->service |= a.service;
    i->meta |= a.meta;
    answer_soon(i, m->now + ANSWER_MIN + rng_below(m->rng, ANSWER_RANGE));
    return 0;
}

/* ---- answers ---- */

/* The id after the last /p2p/ of an address; empty: none, or more behind it. */
static struct span id_of(struct span addr)
{
    static const char mark[] = "/p2p/";
    const size_t len = sizeof mark - 1;
    for (size_t at = addr.len; at-- > 0;) {
        if (addr.data[at] != '/')
            continue;
        bool id = at + 1 >= len && memcmp(addr.data + at + 1 - len, mark, len) == 0;
        return id ? span_from(addr, at + 1) : SPAN_NONE;
    }
    return SPAN_NONE;
}

static bool printable(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] <= ' ' || s.data[i] >= 0x7f)
            return false;
    return s.len > 0;
}

static struct found *found_get(struct mdns *m, unsigned iface, struct span id, struct found **mine)
{
    for (struct found *f = *mine; f; f = STAILQ_NEXT(f, link))
        if (span_eq_str(id, (const char *)buf_span(&f->text).data))
            return f;
    if (m->found_count >= PEERS_MAX || !bucket_take(&m->peers, m->now)) {
        m->stats.limited++;
        return NULL;
    }
    struct found *f = MEM_NEW(struct found);
    f->iface = iface;
    buf_add_span(&f->text, id);
    buf_add_u8(&f->text, 0);
    STAILQ_INSERT_TAIL(&m->founds, f, link);
    m->found_count++;
    if (!*mine)
        *mine = f;
    return f;
}

static void take_text(struct mdns *m, unsigned iface, struct span text, struct found **mine)
{
    static const char key[] = "dnsaddr=";
    if (!span_starts(text, key))
        return;
    struct span addr = span_from(text, sizeof key - 1);
    struct span id = id_of(addr);
    if (!printable(addr) || !id.len || span_eq_str(id, m->peer_id))
        return;
    struct found *f = found_get(m, iface, id, mine);
    if (!f || f->count >= MDNS_ADDRS_MAX)
        return;
    buf_add_span(&f->text, addr);
    buf_add_u8(&f->text, 0);
    f->count++;
}

static bool is_instance(const struct mdns *m, const char *name)
{
    size_t len = strlen(name), service = sizeof "." SERVICE - 1;
    return len > service && strcmp(name + len - service, "." SERVICE) == 0 && strcmp(name, m->instance) != 0;
}

static void say_gone(struct mdns *m, unsigned iface, const char *peer)
{
    if (m->found_count >= PEERS_MAX || !bucket_take(&m->peers, m->now)) {
        m->stats.limited++;
        return;
    }
    struct found *f = MEM_NEW(struct found);
    f->iface = iface;
    f->gone = true;
    buf_add(&f->text, peer, strlen(peer) + 1);
    STAILQ_INSERT_TAIL(&m->founds, f, link);
    m->found_count++;
}

/* A record of an instance with TTL 0. Only who was heard before can go. */
static void take_goodbye(struct mdns *m, unsigned iface, const char *name)
{
    struct mdns_known *k = mdns_known_find(&m->known, iface, name);
    if (!k)
        return;
    say_gone(m, iface, k->peer);
    mdns_known_drop(k);
}

static void remember(struct mdns *m, unsigned iface, const struct dns_record *rec, const struct found *f)
{
    struct mdns_known k = {.iface = iface, .heard = m->now};
    const char *peer = (const char *)buf_span(&f->text).data;
    if (strlen(rec->name) > MDNS_KNOWN_NAME || strlen(peer) > MDNS_KNOWN_PEER)
        return;
    memcpy(k.name, rec->name, strlen(rec->name));
    memcpy(k.peer, peer, strlen(peer));
    mdns_known_put(&m->known, &k, rec->ttl);
}

static void take_record(struct mdns *m, unsigned iface, const struct dns_reader *r, const struct dns_record *rec,
                        struct found **mine)
{
    char target[DNS_NAME_SIZE];
    if ((rec->class & ~DNS_TOP_BIT) != DNS_CLASS_IN)
        return;
    if (rec->type == DNS_PTR && !rec->ttl && strcmp(rec->name, SERVICE) == 0 &&
        dns_read_name(r->packet, rec->data_at, target) > 0)
        take_goodbye(m, iface, target);
    if (rec->type != DNS_TXT || !is_instance(m, rec->name))
        return;
    if (!rec->ttl) {
        take_goodbye(m, iface, rec->name);
        return;
    }
    struct span text, data = rec->data;
    while (dns_next_text(&data, &text))
        take_text(m, iface, text, mine);
    if (*mine)
        remember(m, iface, rec, *mine);
}

static int take_answer(struct mdns *m, struct dns_reader *r, unsigned iface)
{
    struct found *mine = NULL; /* the first that this datagram made; they follow each other */
    struct dns_record rec;
    int more;
    while ((more = dns_next_record(r, &rec)) == 1)
        take_record(m, iface, r, &rec, &mine);
    return more;
}

void mdns_input(struct mdns *m, const struct mdns_endpoint *from, struct span datagram, mono_ns now)
{
    m->now = now;
    m->stats.received++;
    if (datagram.len > MDNS_INPUT_MAX || !bucket_take(&m->packets, now)) {
        m->stats.limited++;
        return;
    }
    struct dns_reader r;
    int err = dns_read(&r, datagram);
    bool response = err == 0 && (r.header.flags & DNS_RESPONSE);
    if (err == 0 && (r.header.flags & 0x780f)) /* opcode and rcode: RFC 6762 section 18 says to ignore others than 0 */
        return;
    if (err == 0)
        err = response ? take_answer(m, &r, from->iface) : take_query(m, &r, from);
    if (err < 0)
        m->stats.malformed++;
}

/* ---- events ---- */

static bool next_reply(struct mdns *m, struct mdns_event *ret)
{
    struct reply *r = STAILQ_FIRST(&m->replies);
    if (!r)
        return false;
    STAILQ_REMOVE_HEAD(&m->replies, link);
    m->reply_count--;
    buf_done(&m->packet);
    m->packet = r->packet;
    *ret = (struct mdns_event){.type = MDNS_SEND, .iface = r->to.iface, .family = r->to.family, .unicast = true, .to = r->to};
    ret->datagram = buf_span(&m->packet);
    free(r);
    m->stats.answers++;
    return true;
}

static bool next_found(struct mdns *m, struct mdns_event *ret)
{
    struct found *f = STAILQ_FIRST(&m->founds);
    found_free(m->told);
    m->told = f;
    if (!f)
        return false;
    STAILQ_REMOVE_HEAD(&m->founds, link);
    m->found_count--;
    m->stats.peers += !f->gone;
    *ret = (struct mdns_event){.type = f->gone ? MDNS_GONE : MDNS_PEER, .iface = f->iface};
    const char *at = (const char *)buf_span(&f->text).data;
    ret->peer_id = span_str(at);
    for (unsigned i = 0; i < f->count; i++) {
        at += strlen(at) + 1;
        ret->addrs[ret->addr_count++] = span_str(at);
    }
    return true;
}

static bool next_of_iface(struct mdns *m, struct iface *i, struct mdns_event *ret)
{
    if (!i->addr_count)
        i->answer_at = MONO_NEVER; /* nothing to say */
    bool answer = i->answer_at <= m->now || i->goodbye;
    if (!i->used || (!answer && i->query_at > m->now))
        return false;
    *ret = (struct mdns_event){.type = MDNS_SEND, .iface = i->self.iface, .family = i->self.family};
    buf_clear(&m->packet);
    if (answer) {
        i->answer_at = MONO_NEVER;
        struct asked a = {.service = i->service || i->goodbye, .meta = i->meta && !i->goodbye, .goodbye = i->goodbye};
        i->service = i->meta = i->goodbye = false;
        write_answer(m, i, &a, &m->packet);
        i->answered = m->now;
        i->ever_answered = true;
        m->stats.answers++;
    } else {
        i->query_id = (uint16_t)(1 + rng_below(m->rng, UINT16_MAX));
        write_query(m, i, &m->packet);
        i->query_at = m->now + i->period;
        i->period = i->period * 2 > MDNS_PERIOD_MAX ? MDNS_PERIOD_MAX : i->period * 2;
        m->stats.queries++;
    }
    ret->datagram = buf_span(&m->packet);
    return true;
}

bool mdns_next(struct mdns *m, struct mdns_event *ret)
{
    if (next_found(m, ret) || next_reply(m, ret))
        return true;
    for (unsigned n = 0; n < MDNS_IFACES_MAX; n++)
        if (next_of_iface(m, &m->ifaces[n], ret))
            return true;
    *ret = (struct mdns_event){.type = MDNS_NONE};
    return false;
}

mono_ns mdns_deadline(const struct mdns *m)
{
    mono_ns first = MONO_NEVER;
    for (unsigned n = 0; n < MDNS_IFACES_MAX; n++)
        if (m->ifaces[n].used)
            first = mono_min(first, mono_min(m->ifaces[n].query_at, m->ifaces[n].answer_at));
    return first;
}

void mdns_expire(struct mdns *m, mono_ns now)
{
    m->now = now;
}

void mdns_stats(const struct mdns *m, struct mdns_stats *ret)
{
    *ret = m->stats;
}
