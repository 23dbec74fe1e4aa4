/* SPDX-License-Identifier: MIT */
#include "net/addr/envelope.h"

#include "net/wire/envelope.pb-c.h"
#include "net/wire/wire.h"
#include "store/base/uvarint.h"

#include <assert.h>
#include <stdlib.h>

static const uint8_t type_peer[] = {0x03, 0x01};
static const uint8_t type_relay[] = {0x03, 0x02};
const struct span envelope_type_peer = {type_peer, sizeof type_peer};
const struct span envelope_type_relay = {type_relay, sizeof type_relay};

/* What the signature covers. */
static void envelope_signed_bytes(const char *domain, struct span type, struct span payload, struct buf *out)
{
    const struct span fields[] = {span_str(domain), type, payload};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        buf_add_uvarint(out, fields[i].len);
        buf_add_span(out, fields[i]);
    }
}

void envelope_seal(const struct identity *i, const char *domain, struct span type, struct span payload, struct buf *out)
{
    assert(type.len <= ENVELOPE_TYPE_MAX);
    struct buf bytes = BUF_INIT;
    envelope_signed_bytes(domain, type, payload, &bytes);
    uint8_t signature[ED25519_SIGNATURE];
    identity_sign(i, buf_span(&bytes), signature);
    buf_done(&bytes);

    Wire__PublicKey key = WIRE__PUBLIC_KEY__INIT;
    key.type = WIRE__KEY_TYPE__ED25519;
    key.data = wire_bytes(span_of(i->public_key, sizeof i->public_key));
    Wire__Envelope e = WIRE__ENVELOPE__INIT;
    e.public_key = &key;
    e.has_payload_type = e.has_payload = e.has_signature = true;
    e.payload_type = wire_bytes(type);
    e.payload = wire_bytes(payload);
    e.signature = wire_bytes(span_of(signature, sizeof signature));
    wire_pack(&e, out);
}

/* The key in its canonical form, through the one parser of keys. */
static int envelope_key(const Wire__Envelope *e, struct pubkey *ret)
{
    if (!e->public_key)
        return ERR_INVALID;
    struct buf b = BUF_INIT;
    wire_pack(e->public_key, &b);
    int r = pubkey_parse(buf_span(&b), ret);
    buf_done(&b);
    return r;
}

int envelope_open(struct span in, const char *domain, struct span type, struct pubkey *ret_signer, struct buf *payload)
{
    void *m;
    int r = wire_unpack(&wire__envelope__descriptor, in, ENVELOPE_MAX, &m);
    if (r < 0)
        return r;
    const Wire__Envelope *e = m;
    struct buf bytes = BUF_INIT;
    struct pubkey signer;
    r = envelope_key(e, &signer);
    if (r == 0 && !span_eq(wire_span(e->payload_type), type))
        r = ERR_INVALID;
    if (r < 0)
        goto out;
    envelope_signed_bytes(domain, type, wire_span(e->payload), &bytes);
    r = pubkey_verify(&signer, buf_span(&bytes), wire_span(e->signature));
    if (r < 0)
        goto out;
    *ret_signer = signer;
    buf_add_span(payload, wire_span(e->payload));
out:
    buf_done(&bytes);
    wire_free(m);
    return r;
}

/* ---- peer records ---- */

void peer_record_done(struct peer_record *r)
{
    free(r->addrs);
    *r = (struct peer_record){0};
}

void peer_record_seal(const struct identity *i, const struct peer_record *r, struct buf *out)
{
    assert(peer_id_eq(&r->peer, &i->id) && r->count <= PEER_RECORD_ADDRS_MAX);
    Wire__AddressInfo infos[PEER_RECORD_ADDRS_MAX];
    Wire__AddressInfo *list[PEER_RECORD_ADDRS_MAX];
    for (unsigned n = 0; n < r->count; n++) {
        wire__address_info__init(&infos[n]);
        infos[n].has_multiaddr = true;
        infos[n].multiaddr = wire_bytes(multiaddr_span(&r->addrs[n]));
        list[n] = &infos[n];
    }
    Wire__PeerRecord w = WIRE__PEER_RECORD__INIT;
    w.has_peer_id = w.has_seq = true;
    w.peer_id = wire_bytes(peer_id_span(&r->peer));
    w.seq = r->seq;
    w.n_addresses = r->count;
    w.addresses = list;
    struct buf payload = BUF_INIT;
    wire_pack(&w, &payload);
    envelope_seal(i, ENVELOPE_PEER, envelope_type_peer, buf_span(&payload), out);
    buf_done(&payload);
}

/* Addresses that cannot be parsed are left out: a peer may have transports that we have never heard of. */
static void record_addrs(const Wire__PeerRecord *w, struct peer_record *ret)
{
    size_t room = w->n_addresses < PEER_RECORD_ADDRS_MAX ? w->n_addresses : PEER_RECORD_ADDRS_MAX;
    ret->addrs = mem_array(room, sizeof *ret->addrs);
    for (size_t n = 0; n < w->n_addresses && ret->count < room; n++)
        if (multiaddr_parse(wire_span(w->addresses[n]->multiaddr), &ret->addrs[ret->count]) == 0)
            ret->count++;
}

static int record_parse(struct span payload, const struct peer_id *signer, struct peer_record *ret)
{
    void *m;
    int r = wire_unpack(&wire__peer_record__descriptor, payload, ENVELOPE_MAX, &m);
    if (r < 0)
        return r;
    const Wire__PeerRecord *w = m;
    struct peer_record record = {.seq = w->seq};
    r = peer_id_parse(wire_span(w->peer_id), &record.peer);
    if (r == 0 && !peer_id_eq(&record.peer, signer))
        r = ERR_VERIFY;
    if (r == 0) {
        record_addrs(w, &record);
        *ret = record;
    }
    wire_free(m);
    return r;
}

int peer_record_open(struct span envelope, struct peer_record *ret)
{
    struct buf payload = BUF_INIT;
    struct pubkey signer;
    struct peer_id id;
    int r = envelope_open(envelope, ENVELOPE_PEER, envelope_type_peer, &signer, &payload);
    if (r == 0) {
        pubkey_id(&signer, &id);
        r = record_parse(buf_span(&payload), &id, ret);
    }
    buf_done(&payload);
    return r;
}
