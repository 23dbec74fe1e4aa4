/* SPDX-License-Identifier: MIT */
#include "net/swarm/dnsaddr.h"

#include "net/wire/dns_packet.h"

#include <strings.h>

#define PREFIX "_dnsaddr."

/* The domain, when that is all there is but for a /p2p */
static bool domain_of(const struct multiaddr *m, struct span *ret)
{
    struct multiaddr_part part;
    size_t at = 0;
    if (!multiaddr_next(m, &at, &part) || part.code != MA_DNSADDR)
        return false;
    *ret = part.value;
    if (!part.value.len || part.value.len + sizeof PREFIX - 1 > MULTIADDR_HOST_MAX)
        return false;
    return !multiaddr_next(m, &at, &part) || (part.code == MA_P2P && part.end == m->len);
}

bool dnsaddr_is(const struct multiaddr *m)
{
    struct span ignored;
    return domain_of(m, &ignored);
}

static void add_name(struct dnsaddr *d, struct span domain)
{
    char *name = d->names[d->name_count];
    if (d->name_count == DNSADDR_LOOKUPS_MAX)
        return;
    memcpy(name, PREFIX, sizeof PREFIX - 1);
    memcpy(name + sizeof PREFIX - 1, domain.data, domain.len);
    name[sizeof PREFIX - 1 + domain.len] = 0;
    for (unsigned i = 0; i < d->name_count; i++)
        if (strcasecmp(d->names[i], name) == 0)
            return;
    d->name_count++;
}

void dnsaddr_init(struct dnsaddr *d, const struct multiaddr *m, const struct peer_id *want)
{
    struct span domain;
    *d = (struct dnsaddr){.want = *want};
    if (domain_of(m, &domain))
        add_name(d, domain);
}

bool dnsaddr_next(struct dnsaddr *d, char ret_name[MULTIADDR_HOST_MAX + 1])
{
    if (d->asked == d->name_count || d->addr_count == DNSADDR_ADDRS_MAX)
        return false;
    memcpy(ret_name, d->names[d->asked++], MULTIADDR_HOST_MAX + 1);
    return true;
}

/* One `dnsaddr=<multiaddr>`. A nested domain may leave the id to its own records. */
static void take(struct dnsaddr *d, struct span text)
{
    static const char key[] = "dnsaddr=";
    struct multiaddr m;
    struct peer_id id = {0};
    struct span domain;
    if (!span_starts(text, key) || multiaddr_from_text(span_from(text, sizeof key - 1), &m, NULL) < 0)
        return;
    bool named = multiaddr_peer(&m, &id), nested = domain_of(&m, &domain);
    bool wrong = named ? !peer_id_eq(&id, &d->want) : !nested;
    if (!peer_id_is_none(&d->want) && wrong)
        return;
    if (nested) {
        add_name(d, domain);
        return;
    }
    multiaddr_strip_peer(&m);
    if (!multiaddr_is_tcp(&m) || d->addr_count == DNSADDR_ADDRS_MAX)
        return;
    for (unsigned i = 0; i < d->addr_count; i++)
        if (multiaddr_eq(&d->addrs[i], &m))
            return;
    d->addrs[d->addr_count++] = m;
}

/* A record's strings are one text (RFC 7208 section 3.3 has the same rule): an address may be longer than 255 bytes. */
static void take_record(struct dnsaddr *d, const struct dns_record *rec)
{
    struct buf text = BUF_INIT;
    struct span part, data = rec->data;
    while (dns_next_text(&data, &part))
        buf_add_span(&text, part);
    take(d, buf_span(&text));
    buf_done(&text);
}

int dnsaddr_answer(struct dnsaddr *d, struct span packet)
{
    struct dns_reader r;
    struct dns_question q;
    struct dns_record rec;
    int more = dns_read(&r, packet);
    if (more < 0)
        return more;
    while ((more = dns_next_question(&r, &q)) == 1)
        ;
    for (unsigned n = 0; more == 0 && n < DNSADDR_RECORDS_MAX;) {
        int got = dns_next_record(&r, &rec);
        if (got <= 0)
            return got;
        if (rec.type != DNS_TXT || rec.class != DNS_CLASS_IN)
            continue;
        take_record(d, &rec);
        n++;
    }
    return more;
}
