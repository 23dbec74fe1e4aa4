/* SPDX-License-Identifier: MIT
 *
 * The table of protocols, and what follows from it: parsing both forms, text, components. multiaddr_host.c does IP. */
#include "net/addr/multiaddr.h"

#include "store/base/uvarint.h"
#include "store/content/cid.h"
#include "store/content/multibase.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>

/* How a value is written as text and what is checked. */
enum value_kind {
    VALUE_NONE,
    VALUE_IP4,
    VALUE_IP6,
    VALUE_U8,
    VALUE_U16,
    VALUE_U64,
    VALUE_NAME,   /* visible characters without '/' */
    VALUE_PATH,   /* the rest of the text, with its first '/'; always last */
    VALUE_QUOTED, /* any bytes, %XX in text */
    VALUE_PEER,
    VALUE_HASH, /* a multihash, multibase in text */
};

#define SIZE_PREFIXED (-1)

static const struct value_form {
    int size; /* bytes, or SIZE_PREFIXED: behind a uvarint length */
} forms[] = {
    [VALUE_NONE] = {0},
    [VALUE_IP4] = {4},
    [VALUE_IP6] = {16},
    [VALUE_U8] = {1},
    [VALUE_U16] = {2},
    [VALUE_U64] = {8},
    [VALUE_NAME] = {SIZE_PREFIXED},
    [VALUE_PATH] = {SIZE_PREFIXED},
    [VALUE_QUOTED] = {SIZE_PREFIXED},
    [VALUE_PEER] = {SIZE_PREFIXED},
    [VALUE_HASH] = {SIZE_PREFIXED},
};

static const struct protocol {
    const char *name;
    enum multiaddr_code code;
    enum value_kind kind;
} protocols[] = {
    {"ip4", MA_IP4, VALUE_IP4},
    {"tcp", MA_TCP, VALUE_U16},
    {"ip6", MA_IP6, VALUE_IP6},
    {"ip6zone", MA_IP6ZONE, VALUE_NAME},
    {"ipcidr", MA_IPCIDR, VALUE_U8},
    {"dns", MA_DNS, VALUE_NAME},
    {"dns4", MA_DNS4, VALUE_NAME},
    {"dns6", MA_DNS6, VALUE_NAME},
    {"dnsaddr", MA_DNSADDR, VALUE_NAME},
    {"udp", MA_UDP, VALUE_U16},
    {"webrtc-direct", MA_WEBRTC_DIRECT, VALUE_NONE},
    {"webrtc", MA_WEBRTC, VALUE_NONE},
    {"p2p-circuit", MA_P2P_CIRCUIT, VALUE_NONE},
    {"unix", MA_UNIX, VALUE_PATH},
    {"p2p", MA_P2P, VALUE_PEER},
    {"ipfs", MA_P2P, VALUE_PEER}, /* the old name: read only, the entry above is found first for writing */
    {"tls", MA_TLS, VALUE_NONE},
    {"sni", MA_SNI, VALUE_NAME},
    {"noise", MA_NOISE, VALUE_NONE},
    {"quic", MA_QUIC, VALUE_NONE},
    {"quic-v1", MA_QUIC_V1, VALUE_NONE},
    {"webtransport", MA_WEBTRANSPORT, VALUE_NONE},
    {"certhash", MA_CERTHASH, VALUE_HASH},
    {"ws", MA_WS, VALUE_NONE},
    {"wss", MA_WSS, VALUE_NONE},
    {"http", MA_HTTP, VALUE_NONE},
    {"http-path", MA_HTTP_PATH, VALUE_QUOTED},
    {"memory", MA_MEMORY, VALUE_U64},
};

/* The text grows most for `/webrtc-direct`: 14 characters for 2 bytes. */
static_assert(MULTIADDR_TEXT > MULTIADDR_MAX / 2 * 14, "text buffer");

static const struct protocol *protocol_by_code(uint64_t code)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (protocols[i].code == code)
            return &protocols[i];
    return NULL;
}

static const struct protocol *protocol_by_name(struct span name)
{
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (span_eq_str(name, protocols[i].name))
            return &protocols[i];
    return NULL;
}

/* ---- binary ---- */

static bool name_ok(struct span v)
{
    if (v.len == 0)
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (v.data[i] <= ' ' || v.data[i] == 0x7f || v.data[i] == '/')
            return false;
    return true;
}

static bool path_ok(struct span v)
{
    if (v.len < 2 || v.data[0] != '/' || v.data[v.len - 1] == '/')
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (v.data[i] < ' ' || v.data[i] == 0x7f)
            return false;
    return true;
}

static bool value_ok(enum value_kind kind, struct span v)
{
    struct peer_id peer;
    uint64_t code;
    struct span digest;
    switch (kind) {
    case VALUE_NAME:
        return name_ok(v);
    case VALUE_PATH:
        return path_ok(v);
    case VALUE_QUOTED:
        return v.len > 0;
    case VALUE_PEER:
        return peer_id_parse(v, &peer) == 0;
    case VALUE_HASH:
        return multihash_read(v, &code, &digest) == (int)v.len;
    default:
        return true;
    }
}

/* One component at `at`. 0 or an error. */
static int part_read(struct span in, size_t at, struct multiaddr_part *ret)
{
    uint64_t code, len;
    int n = uvarint_read(span_from(in, at), &code);
    if (n < 0)
        return n;
    const struct protocol *p = protocol_by_code(code);
    if (!p)
        return ERR_UNSUPPORTED;
    size_t from = at + (size_t)n;
    len = (uint64_t)forms[p->kind].size;
    if (forms[p->kind].size == SIZE_PREFIXED) {
        n = uvarint_read(span_from(in, from), &len);
        if (n < 0)
            return n;
        from += (size_t)n;
    }
    if (len > in.len - from)
        return ERR_TRUNCATED;
    *ret = (struct multiaddr_part){code, span_sub(in, from, len), at, from + len};
    if (!value_ok(p->kind, ret->value))
        return ERR_INVALID;
    if (p->kind == VALUE_PATH && ret->end != in.len)
        return ERR_INVALID; /* has no text: the path would swallow what follows */
    return 0;
}

int multiaddr_parse(struct span in, struct multiaddr *ret)
{
    if (in.len == 0)
        return ERR_INVALID;
    if (in.len > MULTIADDR_MAX)
        return ERR_TOO_BIG;
    struct multiaddr_part part;
    for (size_t at = 0; at < in.len; at = part.end) {
        int r = part_read(in, at, &part);
        if (r < 0)
            return r;
    }
    ret->len = (uint16_t)in.len;
    memmove(ret->bytes, in.data, in.len); /* `in` may be a part of *ret */
    return 0;
}

bool multiaddr_next(const struct multiaddr *m, size_t *at, struct multiaddr_part *ret)
{
    if (*at >= m->len)
        return false;
    int r = part_read(multiaddr_span(m), *at, ret);
    assert(r == 0); /* was checked when it was made */
    (void)r;
    *at = ret->end;
    return true;
}

bool multiaddr_find(const struct multiaddr *m, uint64_t code, struct multiaddr_part *ret)
{
    size_t at = 0;
    while (multiaddr_next(m, &at, ret))
        if (ret->code == code)
            return true;
    return false;
}

bool multiaddr_is_relayed(const struct multiaddr *m)
{
    struct multiaddr_part part;
    return multiaddr_find(m, MA_P2P_CIRCUIT, &part);
}

bool multiaddr_eq(const struct multiaddr *a, const struct multiaddr *b)
{
    return span_eq(multiaddr_span(a), multiaddr_span(b));
}

uint64_t multiaddr_mix(const struct multiaddr *m)
{
    uint64_t v = UINT64_C(0xcbf29ce484222325); /* FNV-1a, then splitmix64's finalizer */
    for (size_t i = 0; i < m->len; i++)
        v = (v ^ m->bytes[i]) * UINT64_C(0x100000001b3);
    v = (v ^ (v >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ (v >> 27)) * UINT64_C(0x94d049bb133111eb);
    return v ^ (v >> 31);
}

/* ---- the peer at its end ---- */

static bool last_part(const struct multiaddr *m, struct multiaddr_part *ret)
{
    size_t at = 0;
    bool any = false;
    while (multiaddr_next(m, &at, ret))
        any = true;
    return any;
}

bool multiaddr_peer(const struct multiaddr *m, struct peer_id *ret)
{
    struct multiaddr_part part;
    return last_part(m, &part) && part.code == MA_P2P && peer_id_parse(part.value, ret) == 0;
}

void multiaddr_strip_peer(struct multiaddr *m)
{
    struct multiaddr_part part;
    if (last_part(m, &part) && part.code == MA_P2P)
        m->len = (uint16_t)part.at;
}

int multiaddr_add_peer(struct multiaddr *m, const struct peer_id *peer)
{
    uint8_t part[2 * UVARINT_MAX_LEN + PEER_ID_MAX];
    size_t n = uvarint_put(part, MA_P2P);
    n += uvarint_put(part + n, peer->len);
    memcpy(part + n, peer->bytes, peer->len);
    n += peer->len;
    struct multiaddr_part last;
    size_t keep = last_part(m, &last) && last.code == MA_P2P ? last.at : m->len;
    if (keep + n > MULTIADDR_MAX)
        return ERR_TOO_BIG;
    memcpy(m->bytes + keep, part, n);
    m->len = (uint16_t)(keep + n);
    return 0;
}

/* ---- text → binary ---- */

static int number_parse(struct span text, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    if (text.len == 0 || text.len > 20)
        return ERR_INVALID;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return ERR_INVALID;
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (v > (max - digit) / 10)
            return ERR_INVALID;
        v = v * 10 + digit;
    }
    *ret = v;
    return 0;
}

static int number_add(struct span text, unsigned bytes, struct buf *out)
{
    uint64_t v, max = bytes == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * bytes)) - 1;
    if (number_parse(text, max, &v) < 0)
        return ERR_INVALID;
    for (unsigned i = bytes; i-- > 0;)
        buf_add_u8(out, (uint8_t)(v >> (8 * i)));
    return 0;
}

static int ip_add(int family, size_t bytes, struct span text, struct buf *out)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t ip[16];
    if (text.len >= sizeof copy)
        return ERR_INVALID;
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    if (strlen(copy) != text.len || inet_pton(family, copy, ip) != 1)
        return ERR_INVALID;
    buf_add(out, ip, bytes);
    return 0;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int quoted_add(struct span text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] != '%') {
            buf_add_u8(out, text.data[i]);
            continue;
        }
        int high = i + 2 < text.len ? hex_digit(text.data[i + 1]) : -1;
        int low = i + 2 < text.len ? hex_digit(text.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return ERR_INVALID;
        buf_add_u8(out, (uint8_t)(high << 4 | low));
        i += 2;
    }
    return 0;
}

/* The value's bytes, without a length. Names, paths and hashes are checked afterwards, by value_ok. */
static int value_from_text(enum value_kind kind, struct span text, struct buf *out)
{
    struct peer_id peer;
    switch (kind) {
    case VALUE_IP4:
        return ip_add(AF_INET, 4, text, out);
    case VALUE_IP6:
        return ip_add(AF_INET6, 16, text, out);
    case VALUE_U8:
        return number_add(text, 1, out);
    case VALUE_U16:
        return number_add(text, 2, out);
    case VALUE_U64:
        return number_add(text, 8, out);
    case VALUE_QUOTED:
        return quoted_add(text, out);
    case VALUE_PEER:
        if (peer_id_from_text(text, &peer, NULL) < 0)
            return ERR_INVALID;
        buf_add_span(out, peer_id_span(&peer));
        return 0;
    case VALUE_HASH:
        return multibase_decode(out, text);
    default:
        buf_add_span(out, text);
        return 0;
    }
}

/* The characters up to the next '/', which is dropped. */
static struct span next_word(struct span *text)
{
    const uint8_t *slash = text->len ? memchr(text->data, '/', text->len) : NULL;
    struct span word = span_sub(*text, 0, slash ? (size_t)(slash - text->data) : text->len);
    *text = span_from(*text, word.len + (slash ? 1 : 0));
    return word;
}

static int part_from_text(struct span *text, struct buf *out, struct why *why)
{
    struct span name = next_word(text);
    const struct protocol *p = protocol_by_name(name);
    if (!p)
        return why_set(why, ERR_UNSUPPORTED, "\"%.*s\" is no protocol of a multiaddr that we know", (int)name.len, name.data);
    buf_add_uvarint(out, p->code);
    if (p->kind == VALUE_NONE)
        return 0;
    struct span word;
    if (p->kind == VALUE_PATH) { /* the '/' before it belongs to it; the text before text->data is ours to look at */
        word = text->len ? span_of(text->data - 1, text->len + 1) : SPAN_NONE;
        *text = SPAN_NONE;
    } else {
        word = next_word(text);
    }
    struct buf value = BUF_INIT;
    int r = word.len ? value_from_text(p->kind, word, &value) : ERR_INVALID;
    if (r == 0 && !value_ok(p->kind, buf_span(&value)))
        r = ERR_INVALID;
    if (r == 0) {
        if (forms[p->kind].size == SIZE_PREFIXED)
            buf_add_uvarint(out, buf_len(&value));
        buf_add_span(out, buf_span(&value));
    }
    buf_done(&value);
    if (r < 0)
        return why_set(why, ERR_INVALID, "\"%.*s\" is no value for /%s", (int)word.len, word.len ? (const char *)word.data : "",
                       p->name);
    return 0;
}

int multiaddr_from_text(struct span text, struct multiaddr *ret, struct why *why)
{
    if (text.len < 2 || text.data[0] != '/')
        return why_set(why, ERR_INVALID, "a multiaddr begins with /, as in /ip4/192.0.2.1/tcp/4001");
    if (text.len >= MULTIADDR_TEXT)
        return why_set(why, ERR_TOO_BIG, "the multiaddr is too long");
    struct buf b = BUF_INIT;
    struct span rest = span_from(text, 1);
    int r = 0;
    while (rest.len && rest.data[rest.len - 1] == '/')
        rest.len--;
    if (rest.len == 0)
        r = why_set(why, ERR_INVALID, "the multiaddr is empty");
    while (r == 0 && rest.len)
        r = part_from_text(&rest, &b, why);
    if (r == 0) {
        r = multiaddr_parse(buf_span(&b), ret);
        if (r < 0)
            (void)why_set(why, r, "the multiaddr %s", err_text(r));
    }
    buf_done(&b);
    return r;
}

/* ---- binary → text ---- */

static void quoted_text(struct span v, struct buf *out)
{
    for (size_t i = 0; i < v.len; i++) {
        uint8_t c = v.data[i];
        bool plain =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c != 0 && strchr("-_.~$&+=:@", c));
        if (plain)
            buf_add_u8(out, c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static void number_text(struct span v, struct buf *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < v.len; i++)
        n = n << 8 | v.data[i];
    buf_printf(out, "%llu", (unsigned long long)n);
}

static void value_text(enum value_kind kind, struct span v, struct buf *out)
{
    char ip[INET6_ADDRSTRLEN];
    switch (kind) {
    case VALUE_IP4:
    case VALUE_IP6:
        buf_add_str(out, inet_ntop(kind == VALUE_IP4 ? AF_INET : AF_INET6, v.data, ip, sizeof ip));
        break;
    case VALUE_U8:
    case VALUE_U16:
    case VALUE_U64:
        number_text(v, out);
        break;
    case VALUE_QUOTED:
        quoted_text(v, out);
        break;
    case VALUE_PEER:
        base58btc_encode(out, v);
        break;
    case VALUE_HASH:
        multibase_encode(out, 'u', v);
        break;
    default:
        buf_add_span(out, v);
    }
}

char *multiaddr_text(const struct multiaddr *m, char text[MULTIADDR_TEXT])
{
    struct buf b = BUF_INIT;
    struct multiaddr_part part;
    size_t at = 0;
    while (multiaddr_next(m, &at, &part)) {
        const struct protocol *p = protocol_by_code(part.code);
        buf_printf(&b, "/%s", p->name);
        if (p->kind != VALUE_NONE && p->kind != VALUE_PATH)
            buf_add_u8(&b, '/');
        value_text(p->kind, part.value, &b);
    }
    assert(buf_len(&b) < MULTIADDR_TEXT);
    memcpy(text, buf_cstr(&b), buf_len(&b) + 1);
    buf_done(&b);
    return text;
}
