/* SPDX-License-Identifier: MIT
 *
 * CIDs and multihashes: reading, checking, writing. Pure functions, any thread. Each parser checks a part before it copies it;
 * a struct cid is always well formed, so the getters below only assert.
 */
#include "store/content/cid.h"

#include "store/base/uvarint.h"
#include "store/content/hasher.h"
#include "store/content/multibase.h"

#include <assert.h>
#include <stdio.h>

_Static_assert(CID_MAX <= UINT8_MAX, "struct cid keeps its length in a byte");
_Static_assert((CID_MAX * 8 + 4) / 5 + 2 <= CID_TEXT_SIZE, "base32 with prefix and NUL fits");

#define DIGEST_MIN  20 /* shorter ones can be forged: boxo's verifcid */
#define V0_LEN      34
#define CODEC_LIMIT UINT64_C(0x10000000) /* four bytes of varint */

/* boxo's verifcid: nothing shorter than 160 bits, nothing broken, nothing that is not meant for content. */
static const struct {
    uint16_t first, last;
} allowed[] = {
    {0x00, 0x00},     /* identity */
    {0x11, 0x12},     /* sha1 (git), sha2-256 */
    {0x13, 0x17},     /* sha2-512, sha3-512, -384, -256, -224 */
    {0x19, 0x1e},     /* shake-256, keccak-224 … -512, blake3 */
    {0x56, 0x56},     /* dbl-sha2-256 */
    {0xb214, 0xb240}, /* blake2b-160 … -512 */
    {0xb254, 0xb260}, /* blake2s-160 … -256 */
};

static bool hash_allowed(uint64_t code)
{
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
        if (code >= allowed[i].first && code <= allowed[i].last)
            return true;
    return false;
}

int multihash_read(struct span in, uint64_t *ret_code, struct span *ret_digest)
{
    uint64_t code, len;
    int n = uvarint_read(in, &code);
    if (n < 0)
        return n;
    if (!hash_allowed(code))
        return ERR_INVALID;
    int m = uvarint_read(span_from(in, (size_t)n), &len);
    if (m < 0)
        return m;
    if (len > DIGEST_MAX || (code != HASH_IDENTITY && len < DIGEST_MIN))
        return ERR_INVALID;
    size_t at = (size_t)n + (size_t)m;
    if (in.len - at < len)
        return ERR_TRUNCATED;
    *ret_code = code;
    *ret_digest = span_sub(in, at, (size_t)len);
    return (int)(at + len);
}

bool cid_eq(const struct cid *a, const struct cid *b)
{
    return span_eq(cid_span(a), cid_span(b));
}

bool cid_same_block(const struct cid *a, const struct cid *b)
{
    return span_eq(cid_hash(a), cid_hash(b));
}

uint64_t cid_mix(const struct cid *c)
{
    struct span s = cid_hash(c);
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ s.len;
    for (size_t at = 0; at < s.len; at += 8) {
        uint64_t word = 0;
        memcpy(&word, s.data + at, s.len - at < 8 ? s.len - at : 8);
        h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    return h;
}

int cid_version(const struct cid *c)
{
    return c->hash_at == 0 ? 0 : 1;
}

uint64_t cid_codec(const struct cid *c)
{
    if (c->hash_at == 0)
        return CODEC_DAG_PB;
    uint64_t codec = 0;
    int n = uvarint_read(span_of(c->bytes + 1, c->hash_at - 1U), &codec);
    assert(n > 0);
    (void)n; /* a struct cid is well formed */
    return codec;
}

static struct span digest_of(const struct cid *c, uint64_t *ret_code)
{
    struct span digest = SPAN_NONE;
    *ret_code = 0;
    int n = multihash_read(cid_hash(c), ret_code, &digest);
    assert(n > 0);
    (void)n; /* a struct cid is well formed */
    return digest;
}

uint64_t cid_hash_code(const struct cid *c)
{
    uint64_t code;
    (void)digest_of(c, &code); /* only the code is asked for */
    return code;
}

struct span cid_digest(const struct cid *c)
{
    uint64_t code;
    return digest_of(c, &code);
}

bool cid_inline(const struct cid *c, struct span *ret_block)
{
    if (cid_is_none(c) || c->bytes[c->hash_at] != HASH_IDENTITY)
        return false;
    *ret_block = cid_digest(c);
    return true;
}

static void cid_put(struct cid *ret, int version, uint64_t codec, struct span multihash)
{
    *ret = (struct cid){0};
    if (version == 1) {
        ret->bytes[0] = 1;
        ret->hash_at = (uint8_t)(1 + uvarint_put(ret->bytes + 1, codec));
    }
    assert(ret->hash_at + multihash.len <= CID_MAX);
    memcpy(ret->bytes + ret->hash_at, multihash.data, multihash.len);
    ret->len = (uint8_t)(ret->hash_at + multihash.len);
}

static bool v0_hash(struct span multihash)
{
    return multihash.len == V0_LEN && multihash.data[0] == HASH_SHA2_256 && multihash.data[1] == SHA256_SIZE;
}

int cid_from_hash(struct cid *ret, int version, uint64_t codec, struct span multihash)
{
    uint64_t code;
    struct span digest;
    int n = multihash_read(multihash, &code, &digest);
    if (n < 0 || (size_t)n != multihash.len || codec >= CODEC_LIMIT || version < 0 || version > 1)
        return ERR_INVALID;
    if (version == 0 && (codec != CODEC_DAG_PB || !v0_hash(multihash)))
        return ERR_INVALID;
    struct cid made;
    cid_put(&made, version, codec, multihash);
    *ret = made;
    return 0;
}

void cid_sha256(struct cid *ret, uint64_t codec, const uint8_t digest[32])
{
    uint8_t multihash[V0_LEN] = {HASH_SHA2_256, SHA256_SIZE};
    assert(codec < CODEC_LIMIT);
    memcpy(multihash + 2, digest, SHA256_SIZE);
    cid_put(ret, 1, codec, span_of(multihash, sizeof multihash));
}

void cid_of(struct cid *ret, uint64_t codec, struct span block)
{
    uint8_t digest[SHA256_SIZE];
    sha256(block, digest);
    cid_sha256(ret, codec, digest);
}

void cid_recode(struct cid *ret, const struct cid *c, uint64_t codec)
{
    struct cid from = *c; /* ret may be c */
    assert(codec < CODEC_LIMIT && !cid_is_none(c));
    cid_put(ret, 1, codec, cid_hash(&from));
}

/* ---- binary ---- */

static int v0_read(struct span in, struct cid *ret)
{
    if (in.len < V0_LEN)
        return ERR_TRUNCATED;
    cid_put(ret, 0, CODEC_DAG_PB, span_sub(in, 0, V0_LEN));
    return V0_LEN;
}

int cid_read(struct span in, struct cid *ret)
{
    if (in.len == 0)
        return ERR_TRUNCATED;
    if (in.data[0] == HASH_SHA2_256) {
        if (in.len > 1 && in.data[1] != SHA256_SIZE)
            return ERR_INVALID; /* 0x12 is no version either */
        return v0_read(in, ret);
    }
    if (in.data[0] != 1)
        return ERR_INVALID;
    uint64_t codec, code;
    struct span digest;
    int n = uvarint_read(span_from(in, 1), &codec);
    if (n < 0)
        return n;
    if (codec >= CODEC_LIMIT)
        return ERR_INVALID;
    struct span hash = span_from(in, 1 + (size_t)n);
    int m = multihash_read(hash, &code, &digest);
    if (m < 0)
        return m;
    cid_put(ret, 1, codec, span_sub(hash, 0, (size_t)m));
    return 1 + n + m;
}

int cid_parse(struct span in, struct cid *ret)
{
    struct cid c;
    int n = cid_read(in, &c);
    if (n < 0)
        return n;
    if ((size_t)n != in.len)
        return ERR_INVALID;
    *ret = c;
    return 0;
}

/* ---- text ---- */

#define V0_TEXT_LEN 46

static int text_bytes(struct span text, struct buf *out, bool *ret_v0)
{
    *ret_v0 = text.len == V0_TEXT_LEN && text.data[0] == 'Q' && text.data[1] == 'm';
    return *ret_v0 ? base58btc_decode(out, text) : multibase_decode(out, text);
}

/* What is wrong with a text that cannot be decoded */
static int text_fault(struct span text, const char *shown, bool v0, struct why *why)
{
    char base = v0 ? 'z' : text.len ? (char)text.data[0] : 0;
    size_t at = multibase_foreign(base, span_from(text, !v0)) + !v0;
    if (!multibase_has(base) && text.len > 1 && text.data[0] == 'Q' && text.data[1] == 'm')
        return why_set(why, ERR_INVALID, "'%s' is not a CID: with Qm in front it has %d characters, and this has %zu", shown,
                       V0_TEXT_LEN, text.len);
    if (!multibase_has(base))
        return why_set(why, ERR_INVALID, "'%s' is not a CID: it is in no base we know", shown);
    if (at < text.len && text.data[at] > 0x20 && text.data[at] < 0x7f)
        return why_set(why, ERR_INVALID, "'%s' is not a CID: its character %zu, '%c', is not of its base", shown, at + 1,
                       text.data[at]);
    if (at < text.len)
        return why_set(why, ERR_INVALID, "'%s' is not a CID: its character %zu is not of its base", shown, at + 1);
    return why_set(why, ERR_INVALID, "'%s' is not a CID: it is %s", shown,
                   text.len > MULTIBASE_TEXT_MAX ? "too long" : "cut short, or has a character too many");
}

/* What is wrong with decoded bytes that are no CID, in words. */
static const char *fault_text(struct span bytes, bool v0)
{
    if (bytes.len == 0)
        return "it holds nothing";
    if (!v0 && bytes.data[0] == HASH_SHA2_256)
        return "a version 0 CID has no multibase prefix";
    if (!v0 && bytes.data[0] != 1)
        return "its version is not 1";
    return "its hash is cut short, too long or of a function that is not allowed";
}

int cid_from_text(struct span text, struct cid *ret, struct why *why)
{
    char shown[80]; /* enough to recognise it */
    int cut = text.len < sizeof shown - 4 ? (int)text.len : (int)sizeof shown - 4;
    (void)snprintf(shown, sizeof shown, "%.*s%s", cut, text.len ? (const char *)text.data : "",
                   (size_t)cut < text.len ? "..." : "");
    struct buf bytes = BUF_INIT;
    bool v0;
    struct cid c;
    int err = text_bytes(text, &bytes, &v0);
    if (err) {
        err = text_fault(text, shown, v0, why);
        goto out;
    }
    struct span s = buf_span(&bytes);
    err = cid_parse(s, &c);
    if (err || (cid_version(&c) == 0) != v0) {
        err = why_set(why, ERR_INVALID, "'%s' is not a CID: %s", shown, fault_text(s, v0));
        goto out;
    }
    *ret = c;
out:
    buf_done(&bytes);
    return err;
}

void cid_text_base(const struct cid *c, char base, struct buf *out)
{
    assert(!cid_is_none(c));
    if (cid_version(c) == 0)
        base58btc_encode(out, cid_span(c));
    else
        multibase_encode(out, base, cid_span(c));
}

char *cid_text(const struct cid *c, char text[CID_TEXT_SIZE])
{
    if (cid_is_none(c)) {
        memcpy(text, "-", 2);
        return text;
    }
    struct buf out = BUF_INIT;
    cid_text_base(c, 'b', &out);
    assert(buf_len(&out) < CID_TEXT_SIZE);
    memcpy(text, buf_cstr(&out), buf_len(&out) + 1);
    buf_done(&out);
    return text;
}
