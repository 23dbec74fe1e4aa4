/* SPDX-License-Identifier: MIT */
#include "net/addr/peerid.h"

#include "store/content/cid.h"
#include "store/content/hasher.h"
#include "store/content/multibase.h"

#include <assert.h>
#include <stdio.h>

bool peer_id_eq(const struct peer_id *a, const struct peer_id *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

int peer_id_cmp(const struct peer_id *a, const struct peer_id *b)
{
    return span_cmp(peer_id_span(a), peer_id_span(b));
}

uint64_t peer_id_mix(const struct peer_id *p)
{
    /* The last 8 bytes are of a key or digest. Mixed (splitmix64's finalizer), because keys can be chosen to share low bits. */
    uint64_t v = p->len;
    for (unsigned i = 0; i < p->len; i++)
        v = (v ^ p->bytes[i]) * UINT64_C(0x9e3779b97f4a7c15), v ^= v >> 29;
    v = (v ^ (v >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ (v >> 27)) * UINT64_C(0x94d049bb133111eb);
    return v ^ (v >> 31);
}

int peer_id_parse(struct span in, struct peer_id *ret)
{
    if (in.len < 3 || in.len > PEER_ID_MAX || in.data[1] != in.len - 2)
        return ERR_INVALID; /* both lengths are below 128: one byte */
    bool inlined = in.data[0] == HASH_IDENTITY;
    bool hashed = in.data[0] == HASH_SHA2_256 && in.data[1] == SHA256_SIZE;
    if (!inlined && !hashed)
        return ERR_INVALID;
    struct peer_id p = {.len = (uint8_t)in.len};
    memcpy(p.bytes, in.data, in.len);
    *ret = p;
    return 0;
}

void peer_id_of_key(struct span key, struct peer_id *ret)
{
    struct peer_id p = {0};
    if (key.len <= PEER_ID_INLINE_MAX) {
        p.bytes[0] = HASH_IDENTITY;
        p.bytes[1] = (uint8_t)key.len;
        if (key.len)
            memcpy(p.bytes + 2, key.data, key.len);
    } else {
        p.bytes[0] = HASH_SHA2_256;
        p.bytes[1] = SHA256_SIZE;
        sha256(key, p.bytes + 2);
    }
    p.len = (uint8_t)(2 + p.bytes[1]);
    *ret = p;
}

bool peer_id_inline_key(const struct peer_id *p, struct span *ret_key)
{
    if (p->len < 3 || p->bytes[0] != HASH_IDENTITY)
        return false;
    *ret_key = span_of(p->bytes + 2, (size_t)p->len - 2);
    return true;
}

int peer_id_from_text(struct span text, struct peer_id *ret, struct why *why)
{
    int shown = text.len > 100 ? 100 : (int)text.len;
    const char *at = text.len ? (const char *)text.data : "";
    int r;
    if (span_starts(text, "Qm") || span_starts(text, "1")) {
        struct buf b = BUF_INIT;
        r = base58btc_decode(&b, text);
        if (r == 0)
            r = peer_id_parse(buf_span(&b), ret);
        buf_done(&b);
    } else {
        struct cid cid;
        r = cid_from_text(text, &cid, NULL);
        if (r == 0 && cid_version(&cid) == 1 && cid_codec(&cid) != CODEC_LIBP2P_KEY)
            return why_set(why, ERR_INVALID, "\"%.*s\" is the CID of something else than a peer", shown, at);
        if (r == 0)
            r = peer_id_parse(cid_hash(&cid), ret);
    }
    if (r < 0)
        return why_set(why, ERR_INVALID, "\"%.*s\" is not a peer id", shown, at);
    return 0;
}

char *peer_id_text(const struct peer_id *p, char text[PEER_ID_TEXT_SIZE])
{
    struct buf b = BUF_INIT;
    if (p->len)
        base58btc_encode(&b, peer_id_span(p));
    else
        buf_add_str(&b, "-");
    assert(buf_len(&b) < PEER_ID_TEXT_SIZE);
    memcpy(text, buf_cstr(&b), buf_len(&b) + 1);
    buf_done(&b);
    return text;
}

char *peer_id_cid_text(const struct peer_id *p, char text[PEER_ID_CID_SIZE])
{
    struct buf bytes = BUF_INIT, b = BUF_INIT;
    if (p->len) {
        buf_add_u8(&bytes, 1);
        buf_add_u8(&bytes, CODEC_LIBP2P_KEY);
        buf_add_span(&bytes, peer_id_span(p));
        multibase_encode(&b, 'k', buf_span(&bytes));
    } else {
        buf_add_str(&b, "-");
    }
    assert(buf_len(&b) < PEER_ID_CID_SIZE);
    memcpy(text, buf_cstr(&b), buf_len(&b) + 1);
    buf_done(&b);
    buf_done(&bytes);
    return text;
}

char *peer_id_short(const struct peer_id *p, char text[PEER_ID_SHORT_SIZE])
{
    enum { SHOWN = 8 };
    char whole[PEER_ID_TEXT_SIZE];
    size_t len = strlen(peer_id_text(p, whole));
    const char *from = len > SHOWN ? whole + len - SHOWN : whole;
    memcpy(text, from, strlen(from) + 1);
    return text;
}
