/* LINK: cmd_dns net_wire net_addr store_content store_base */
/* SPDX-License-Identifier: MIT
 *
 * One packet to the DNS server: what it answers is a whole message, no longer than allowed, with the asker's id and question, and
 * only names below our suffixes get anything but a refusal. */
#include "cmd/dns/dns_message.h"

#include <assert.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"

static const char *petname_at(void *arg, unsigned i, struct peer_id *ret)
{
    (void)arg;
    if (peer_id_from_text(span_str(ID), ret, NULL) < 0)
        return NULL;
    return i == 0 ? "bob" : NULL;
}

static const char *id_at(void *arg, unsigned i, struct peer_id *ret)
{
    (void)arg;
    return i == 0 && peer_id_from_text(span_str(ID), ret, NULL) == 0 ? ID : NULL;
}

static void check(const struct dns_query *q, const struct overlay_name *name, struct span out, size_t most)
{
    struct dns_reader r;
    struct dns_question question;
    struct dns_record rec;
    assert(out.len <= most && dns_read(&r, out) == 0);
    assert(r.header.id == q->header.id && r.header.flags & DNS_RESPONSE);
    int asked = dns_next_question(&r, &question);
    assert(asked == (q->question.len ? 1 : 0));
    unsigned records = 0;
    int more;
    while ((more = dns_next_record(&r, &rec)) == 1)
        records += rec.type != DNS_OPT;
    assert(more == 0 && r.at == out.len);
    if (name->kind == OVERLAY_FOREIGN || q->fault != DNS_OK)
        assert(!records && !(r.header.flags & DNS_AUTHORITATIVE) && (r.header.flags & 0xf || q->fault == DNS_BADVERS));
    else
        assert(records || r.header.flags & DNS_TRUNCATED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct peer_id self = {.len = 38, .bytes = {0, 36, 8, 1, 0x12, 0x20}};
    static const struct peer_book book = {NULL, petname_at, id_at, &self};
    static const struct dns_found found = {.ip = 0x7f400001, .port = 80};
    struct dns_query q;
    struct overlay_name name = {.kind = OVERLAY_FOREIGN};
    struct buf out = BUF_INIT;
    if (dns_query_read(span_of(data, size), &q) < 0)
        return 0;
    if (q.fault == DNS_OK)
        overlay_name_read(q.name, &book, &name);
    const size_t limits[] = {dns_udp_most(&q), DNS_TCP_MOST};
    for (unsigned i = 0; i < 2; i++) {
        buf_clear(&out);
        dns_answer_write(&q, &name, &found, limits[i], &out);
        check(&q, &name, buf_span(&out), limits[i]);
    }
    buf_done(&out);
    return 0;
}
