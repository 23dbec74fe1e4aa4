/* SPDX-License-Identifier: MIT */
#include "net/service/service_line.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const kind_names[SERVICE_KINDS] = {
    [SERVICE_TCP] = "tcp",   [SERVICE_UDP] = "udp",   [SERVICE_UNIX] = "unix", [SERVICE_EXEC] = "exec",
    [SERVICE_FILE] = "file", [SERVICE_ECHO] = "echo", [SERVICE_NONE] = "none", [SERVICE_LIVE] = "live",
};

const char *service_kind_name(enum service_kind k)
{
    return kind_names[k];
}

/* ---- words ---- */

struct words {
    struct buf bytes; /* each word with its NUL */
    size_t at[SERVICE_WORDS_MAX];
    unsigned count;
};

static const char *word(const struct words *w, unsigned i)
{
    return (const char *)w->bytes.base + w->bytes.start + w->at[i];
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Takes one word from the front of `in`; 0, or ERR_INVALID: a quote is not closed, or a byte that no line can have */
static int take_word(struct words *w, struct span *in)
{
    bool quoted = false;
    size_t i = 0;
    w->at[w->count++] = buf_len(&w->bytes);
    for (; i < in->len && (quoted || !is_blank(in->data[i])); i++) {
        uint8_t c = in->data[i];
        if (c == '"') {
            quoted = !quoted;
            continue;
        }
        if (c == '\\' && i + 1 < in->len)
            c = in->data[++i];
        if (c == 0 || c == '\n')
            return ERR_INVALID;
        buf_add_u8(&w->bytes, c);
    }
    buf_add_u8(&w->bytes, 0);
    *in = span_from(*in, i);
    return quoted ? ERR_INVALID : 0;
}

static int cut(struct words *w, struct span in, struct why *why)
{
    if (in.len > SERVICE_LINE_MAX)
        return why_set(why, ERR_INVALID, "the line is longer than %d bytes", SERVICE_LINE_MAX);
    for (;;) {
        while (in.len && is_blank(in.data[0]))
            in = span_from(in, 1);
        if (!in.len)
            break;
        if (w->count == SERVICE_WORDS_MAX)
            return why_set(why, ERR_INVALID, "the line has more than %d words", SERVICE_WORDS_MAX);
        if (take_word(w, &in) < 0)
            return why_set(why, ERR_INVALID, "a quote is not closed, or a line break in a word");
    }
    return w->count ? 0 : why_set(why, ERR_INVALID, "the line is empty");
}

static bool needs_quotes(struct span s)
{
    bool any = s.len == 0;
    for (size_t i = 0; i < s.len; i++)
        any |= is_blank(s.data[i]) || s.data[i] == '"' || s.data[i] == '\\';
    return any;
}

static void print_word(struct buf *out, struct span s)
{
    bool quotes = needs_quotes(s);
    buf_add_str(out, quotes ? " \"" : " ");
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '"' || s.data[i] == '\\')
            buf_add_u8(out, '\\');
        buf_add_u8(out, s.data[i]);
    }
    if (quotes)
        buf_add_u8(out, '"');
}

/* ---- names, ids ---- */

static bool name_byte(uint8_t c)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return letter || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

int service_name_check(struct span name, bool of_ours, struct why *why)
{
    bool bad = name.len == 0 || name.len > SERVICE_NAME_MAX || name.data[0] == '.' || name.data[0] == '/';
    for (size_t i = 0; i < name.len && !bad; i++)
        bad = !name_byte(name.data[i]) && (of_ours || name.data[i] <= 0x20 || name.data[i] >= 0x7f);
    if (!bad && (of_ours || !span_starts(name, "udp/")))
        return 0;
    return why_set(why, ERR_INVALID, "'%.*s' cannot be a service: 1 to %d letters, digits, '.', '-' or '_', no dot in front",
                   (int)(name.len > 80 ? 80 : name.len), (const char *)name.data, SERVICE_NAME_MAX);
}

char *service_id(const char *name, bool datagrams, char id[SERVICE_ID_SIZE])
{
    (void)snprintf(id, SERVICE_ID_SIZE, "%s%s", datagrams ? SERVICE_PREFIX_UDP : SERVICE_PREFIX, name); /* names are bounded */
    return id;
}

bool service_id_parse(const char *id, const char **ret_name, bool *ret_datagrams)
{
    struct span s = span_str(id);
    *ret_datagrams = span_starts(s, SERVICE_PREFIX_UDP);
    if (!*ret_datagrams && !span_starts(s, SERVICE_PREFIX))
        return false;
    *ret_name = id + (*ret_datagrams ? sizeof SERVICE_PREFIX_UDP : sizeof SERVICE_PREFIX) - 1;
    return service_name_check(span_str(*ret_name), false, NULL) == 0;
}

/* ---- addresses ---- */

static bool parse_port(const char *text, uint16_t *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long n = strtoul(text, &end, 10);
    *ret = (uint16_t)n;
    return *end == 0 && n <= UINT16_MAX;
}

static bool parse_ip(const char *text, size_t len, struct service_addr *ret)
{
    char ip[48];
    if (len >= sizeof ip)
        return false;
    memcpy(ip, text, len);
    ip[len] = 0;
    if (strcmp(ip, "localhost") == 0)
        return inet_pton(AF_INET, "127.0.0.1", ret->ip) == 1;
    if (inet_pton(AF_INET, ip, ret->ip) == 1)
        return true;
    ret->v6 = true;
    if (ip[0] == '[' && len > 2 && ip[len - 1] == ']') {
        ip[len - 1] = 0;
        return inet_pton(AF_INET6, ip + 1, ret->ip) == 1;
    }
    return false;
}

int service_addr_parse(const char *text, struct service_addr *ret, struct why *why)
{
    struct service_addr a = {.v6 = false};
    const char *colon = strrchr(text, ':');
    bool ok = colon ? parse_ip(text, (size_t)(colon - text), &a) : parse_ip("localhost", 9, &a);
    if (!ok || !parse_port(colon ? colon + 1 : text, &a.port) || !a.port)
        return why_set(why, ERR_INVALID, "'%.60s' is not an address: PORT, IP:PORT or [IPv6]:PORT", text);
    *ret = a;
    return 0;
}

char *service_addr_text(const struct service_addr *a, char text[SERVICE_ADDR_TEXT])
{
    char ip[INET6_ADDRSTRLEN] = "";
    (void)inet_ntop(a->v6 ? AF_INET6 : AF_INET, a->ip, ip, sizeof ip); /* it fits */
    (void)snprintf(text, SERVICE_ADDR_TEXT, a->v6 ? "[%s]:%u" : "%s:%u", ip, (unsigned)a->port);
    return text;
}

bool service_addr_is_loopback(const struct service_addr *a)
{
    static const uint8_t one[16] = {[15] = 1};
    return a->v6 ? memcmp(a->ip, one, 16) == 0 : a->ip[0] == 127;
}

bool service_addr_eq(const struct service_addr *a, const struct service_addr *b)
{
    return a->v6 == b->v6 && a->port == b->port && memcmp(a->ip, b->ip, a->v6 ? 16 : 4) == 0;
}

/* ---- commands ---- */

struct parsing {
    const struct words *w;
    struct service_names names;
    struct service_line *ret;
    struct why *why;
};

static int parse_name(struct parsing *p, unsigned i, bool of_ours)
{
    int r = service_name_check(span_str(word(p->w, i)), of_ours, p->why);
    if (r == 0)
        memcpy(p->ret->name, word(p->w, i), strlen(word(p->w, i)) + 1);
    return r;
}

static int parse_kind(struct parsing *p, unsigned i, enum service_kind last)
{
    for (int k = 0; k <= (int)last; k++)
        if (strcmp(word(p->w, i), kind_names[k]) == 0) {
            p->ret->kind = (enum service_kind)k;
            return 0;
        }
    return why_set(p->why, ERR_INVALID, "'%.40s' is not a kind; there are tcp, udp, unix%s", word(p->w, i),
                   last == SERVICE_UNIX ? "" : ", exec, file, echo, live");
}

static int parse_path(struct parsing *p, unsigned i)
{
    const char *path = word(p->w, i);
    if (*path != '/')
        return why_set(p->why, ERR_INVALID, "'%.100s' is not an absolute path", path);
    buf_add_str(&p->ret->text, path);
    return 0;
}

static int parse_peer(struct parsing *p, unsigned i, bool any)
{
    const char *text = word(p->w, i);
    if (any && strcmp(text, "any") == 0)
        return 0;
    if (p->names.find && p->names.find(p->names.arg, text, &p->ret->peer))
        return 0;
    if (peer_id_from_text(span_str(text), &p->ret->peer, NULL) == 0)
        return 0;
    return why_set(p->why, ERR_INVALID, "'%.100s' is neither a petname nor a peer id%s", text, any ? ", nor 'any'" : "");
}

static int parse_number(struct parsing *p, unsigned i)
{
    const char *text = word(p->w, i);
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || n > INT64_MAX)
        return why_set(p->why, ERR_INVALID, "'%.40s' is not a number", text);
    p->ret->number = n;
    return 0;
}

static void keep_arguments(struct parsing *p, unsigned from)
{
    for (unsigned i = from; i < p->w->count; i++)
        buf_add(&p->ret->text, word(p->w, i), strlen(word(p->w, i)) + 1);
}

static int parse_target(struct parsing *p, unsigned i)
{
    enum service_kind k = p->ret->kind;
    bool bare = k == SERVICE_ECHO || k == SERVICE_LIVE || k == SERVICE_NONE;
    unsigned given = p->w->count - i;
    if (bare ? given != 0 : k == SERVICE_EXEC ? given == 0 : given != 1)
        return why_set(p->why, ERR_INVALID,
                       bare                ? "%s takes no target"
                       : k == SERVICE_EXEC ? "%s takes a program, and its arguments"
                                           : "%s takes one target",
                       kind_names[k]);
    if (bare)
        return 0;
    if (k == SERVICE_TCP || k == SERVICE_UDP)
        return service_addr_parse(word(p->w, i), &p->ret->addr, p->why);
    if (k == SERVICE_EXEC) {
        if (!*word(p->w, i))
            return why_set(p->why, ERR_INVALID, "the program is empty");
        keep_arguments(p, i);
        return 0;
    }
    return parse_path(p, i);
}

static int parse_offer(struct parsing *p)
{
    int r = parse_name(p, 1, true);
    if (r == 0)
        r = parse_kind(p, 2, SERVICE_LIVE);
    return r < 0 ? r : parse_target(p, 3);
}

static int parse_only_name(struct parsing *p)
{
    return parse_name(p, 1, true);
}

static int parse_allow(struct parsing *p)
{
    int r = parse_name(p, 1, true);
    return r < 0 ? r : parse_peer(p, 2, true);
}

static int parse_limit(struct parsing *p)
{
    p->ret->rate = strcmp(word(p->w, 2), "rate") == 0;
    if (!p->ret->rate && strcmp(word(p->w, 2), "connections") != 0)
        return why_set(p->why, ERR_INVALID, "'%.40s' is not a limit; there are connections and rate", word(p->w, 2));
    int r = parse_name(p, 1, true);
    return r < 0 ? r : parse_number(p, 3);
}

static int parse_listen(struct parsing *p)
{
    int r = parse_kind(p, 1, SERVICE_UNIX);
    if (r < 0)
        return r;
    return p->ret->kind == SERVICE_UNIX ? parse_path(p, 2) : service_addr_parse(word(p->w, 2), &p->ret->addr, p->why);
}

static int parse_forward(struct parsing *p)
{
    int r = parse_listen(p);
    if (r == 0)
        r = parse_peer(p, 3, false);
    return r < 0 ? r : parse_name(p, 4, false);
}

static int parse_hangup(struct parsing *p)
{
    return parse_number(p, 1);
}

static const struct {
    const char *word, *operands, *help;
    unsigned least, most; /* words */
    int (*parse)(struct parsing *p);
} verbs[SERVICE_VERBS] = {
    [SERVICE_OFFER] = {"offer", "NAME KIND [TARGET]", "offer tcp, udp, unix, exec, file, echo or live", 3, SERVICE_WORDS_MAX,
                       parse_offer},
    [SERVICE_UNOFFER] = {"unoffer", "NAME", "no longer offer it", 2, 2, parse_only_name},
    [SERVICE_ALLOW] = {"allow", "NAME PEER|any", "this peer may dial it", 3, 3, parse_allow},
    [SERVICE_DENY] = {"deny", "NAME PEER|any", "it may no longer", 3, 3, parse_allow},
    [SERVICE_LIMIT] = {"limit", "NAME connections|rate N", "at most so many; 0: no limit", 4, 4, parse_limit},
    [SERVICE_FORWARD] = {"forward", "tcp|udp|unix LISTEN PEER SERVICE", "lead a local address to a peer's service", 5, 5,
                         parse_forward},
    [SERVICE_UNFORWARD] = {"unforward", "tcp|udp|unix LISTEN", "no longer do so", 3, 3, parse_listen},
    [SERVICE_HANGUP] = {"hangup", "STREAM", "end a stream, by its number", 2, 2, parse_hangup},
};

static int parse_words(const struct words *w, struct service_names names, struct service_line *ret, struct why *why)
{
    struct parsing p = {w, names, ret, why};
    for (int v = 0; v < SERVICE_VERBS; v++) {
        if (strcmp(word(w, 0), verbs[v].word) != 0)
            continue;
        if (w->count < verbs[v].least || w->count > verbs[v].most)
            return why_set(why, ERR_INVALID, "the command is: %s %s", verbs[v].word, verbs[v].operands);
        ret->verb = (enum service_verb)v;
        return verbs[v].parse(&p);
    }
    return why_set(why, ERR_INVALID, "there is no command '%.40s'", word(w, 0));
}

int service_line_parse(struct span line, struct service_names names, struct service_line *ret, struct why *why)
{
    struct words *w = MEM_NEW(struct words);
    *ret = (struct service_line){.verb = SERVICE_VERBS};
    int r = cut(w, line, why);
    if (r == 0)
        r = parse_words(w, names, ret, why);
    if (r < 0)
        service_line_done(ret);
    buf_done(&w->bytes);
    free(w);
    return r;
}

void service_line_done(struct service_line *l)
{
    buf_done(&l->text);
}

/* ---- printing ---- */

static void print_peer(struct buf *out, const struct peer_id *p)
{
    char text[PEER_ID_TEXT_SIZE];
    buf_printf(out, " %s", peer_id_is_none(p) ? "any" : peer_id_text(p, text));
}

static void print_place(const struct service_line *l, struct buf *out)
{
    char text[SERVICE_ADDR_TEXT];
    struct span rest = buf_span(&l->text);
    buf_printf(out, " %s", kind_names[l->kind]);
    if (l->kind == SERVICE_TCP || l->kind == SERVICE_UDP)
        buf_printf(out, " %s", service_addr_text(&l->addr, text));
    else if (l->kind != SERVICE_EXEC && rest.len)
        print_word(out, rest);
    for (; l->kind == SERVICE_EXEC && rest.len; rest = span_from(rest, strlen((const char *)rest.data) + 1))
        print_word(out, span_str((const char *)rest.data));
}

void service_line_print(const struct service_line *l, struct buf *out)
{
    bool place = l->verb == SERVICE_OFFER || l->verb == SERVICE_FORWARD || l->verb == SERVICE_UNFORWARD;
    buf_add_str(out, verbs[l->verb].word);
    if (l->name[0] && l->verb != SERVICE_FORWARD)
        buf_printf(out, " %s", l->name);
    if (place)
        print_place(l, out);
    if (l->verb == SERVICE_ALLOW || l->verb == SERVICE_DENY || l->verb == SERVICE_FORWARD)
        print_peer(out, &l->peer);
    if (l->verb == SERVICE_FORWARD)
        print_word(out, span_str(l->name));
    if (l->verb == SERVICE_LIMIT)
        buf_add_str(out, l->rate ? " rate" : " connections");
    if (l->verb == SERVICE_LIMIT || l->verb == SERVICE_HANGUP)
        buf_printf(out, " %llu", (unsigned long long)l->number);
}

void service_line_help(struct buf *out)
{
    for (int v = 0; v < SERVICE_VERBS; v++)
        buf_printf(out, "%s\t%s\t%s\n", verbs[v].word, verbs[v].operands, verbs[v].help);
}
