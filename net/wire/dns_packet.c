/* SPDX-License-Identifier: MIT */
#include "net/wire/dns_packet.h"

#include <assert.h>

#define HEADER_SIZE 12
#define LABEL_MAX   63

static uint16_t u16_at(struct span s, size_t at)
{
    return (uint16_t)(s.data[at] << 8 | s.data[at + 1]);
}

int dns_read(struct dns_reader *r, struct span packet)
{
    if (packet.len < HEADER_SIZE)
        return ERR_INVALID;
    r->packet = packet;
    r->at = HEADER_SIZE;
    r->header = (struct dns_header){u16_at(packet, 0), u16_at(packet, 2), u16_at(packet, 4),
                                    u16_at(packet, 6), u16_at(packet, 8), u16_at(packet, 10)};
    r->questions_left = r->header.questions;
    unsigned records = (unsigned)r->header.answers + r->header.authorities + r->header.additionals;
    r->records_left = records < DNS_RECORDS_MAX ? records : DNS_RECORDS_MAX;
    return 0;
}

static char plain(uint8_t byte)
{
    return byte > ' ' && byte != 0x7f && byte != '.' ? (char)byte : '?';
}

static void lower(char *name)
{
    for (; *name; name++)
        if (*name >= 'A' && *name <= 'Z')
            *name = (char)(*name + ('a' - 'A'));
        else if ((uint8_t)*name > 0x7f)
            *name = '?';
}

int dns_read_name(struct span packet, size_t at, char name[DNS_NAME_SIZE])
{
    size_t start = at, limit = at, len = 0;
    int used = -1; /* known once the first pointer was taken */
    for (;;) {
        if (at >= packet.len)
            return ERR_INVALID;
        uint8_t size = packet.data[at];
        if (size >= 0xc0) {
            if (at + 1 >= packet.len)
                return ERR_INVALID;
            if (used < 0)
                used = (int)(at + 2 - start);
            at = (size_t)(size & 0x3f) << 8 | packet.data[at + 1];
            if (at >= limit)
                return ERR_INVALID;
            limit = at;
            continue;
        }
        if (size > LABEL_MAX || at + 1 + size > packet.len || len + size + 1 >= DNS_NAME_SIZE)
            return ERR_INVALID;
        at++;
        if (!size)
            break;
        if (len)
            name[len++] = '.';
        for (unsigned i = 0; i < size; i++)
            name[len++] = plain(packet.data[at + i]);
        at += size;
    }
    name[len] = 0;
    return used < 0 ? (int)(at - start) : used;
}

int dns_next_question(struct dns_reader *r, struct dns_question *ret)
{
    if (!r->questions_left)
        return 0;
    r->questions_left--;
    int used = dns_read_name(r->packet, r->at, ret->name);
    if (used < 0 || r->packet.len - r->at - (size_t)used < 4)
        return ERR_INVALID;
    r->at += (size_t)used;
    lower(ret->name);
    ret->type = u16_at(r->packet, r->at);
    ret->class = u16_at(r->packet, r->at + 2);
    r->at += 4;
    return 1;
}

int dns_next_record(struct dns_reader *r, struct dns_record *ret)
{
    struct dns_question q;
    while (r->questions_left) {
        int err = dns_next_question(r, &q);
        if (err < 0)
            return err;
    }
    if (!r->records_left)
        return 0;
    r->records_left--;
    int used = dns_read_name(r->packet, r->at, ret->name);
    if (used < 0 || r->packet.len - r->at - (size_t)used < 10)
        return ERR_INVALID;
    size_t at = r->at + (size_t)used;
    lower(ret->name);
    ret->type = u16_at(r->packet, at);
    ret->class = u16_at(r->packet, at + 2);
    ret->ttl = (uint32_t)u16_at(r->packet, at + 4) << 16 | u16_at(r->packet, at + 6);
    size_t len = u16_at(r->packet, at + 8);
    at += 10;
    if (r->packet.len - at < len)
        return ERR_INVALID;
    ret->data = span_sub(r->packet, at, len);
    ret->data_at = at;
    r->at = at + len;
    return 1;
}

bool dns_next_text(struct span *data, struct span *ret)
{
    if (!data->len || data->len - 1 < data->data[0])
        return false;
    *ret = span_sub(*data, 1, data->data[0]);
    *data = span_from(*data, 1 + ret->len);
    return true;
}

/* ---- writing ---- */

void dns_add_u16(struct buf *out, uint16_t v)
{
    buf_add_u8(out, (uint8_t)(v >> 8));
    buf_add_u8(out, (uint8_t)v);
}

void dns_add_u32(struct buf *out, uint32_t v)
{
    dns_add_u16(out, (uint16_t)(v >> 16));
    dns_add_u16(out, (uint16_t)v);
}

void dns_add_header(struct buf *out, const struct dns_header *h)
{
    dns_add_u16(out, h->id);
    dns_add_u16(out, h->flags);
    dns_add_u16(out, h->questions);
    dns_add_u16(out, h->answers);
    dns_add_u16(out, h->authorities);
    dns_add_u16(out, h->additionals);
}

void dns_add_name(struct buf *out, const char *name)
{
    while (*name) {
        size_t len = strcspn(name, ".");
        assert(len >= 1 && len <= LABEL_MAX);
        buf_add_u8(out, (uint8_t)len);
        buf_add(out, name, len);
        name += len + (name[len] == '.');
    }
    buf_add_u8(out, 0);
}

void dns_add_question(struct buf *out, const char *name, uint16_t type, uint16_t class)
{
    dns_add_name(out, name);
    dns_add_u16(out, type);
    dns_add_u16(out, class);
}

size_t dns_begin_record(struct buf *out, const char *name, uint16_t type, uint16_t class, uint32_t ttl)
{
    dns_add_name(out, name);
    dns_add_u16(out, type);
    dns_add_u16(out, class);
    dns_add_u32(out, ttl);
    size_t length_at = buf_len(out);
    dns_add_u16(out, 0);
    return length_at;
}

void dns_end_record(struct buf *out, size_t length_at)
{
    size_t len = buf_len(out) - length_at - 2;
    uint8_t *at = out->base + out->start + length_at;
    assert(len <= UINT16_MAX);
    at[0] = (uint8_t)(len >> 8);
    at[1] = (uint8_t)len;
}
