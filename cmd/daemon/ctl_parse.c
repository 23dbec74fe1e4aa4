/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/ctl_parse.h"

#include "store/base/err.h"

#define DECIMAL 10u

int ctl_parse_u64(const char *text, uint64_t *ret)
{
    uint64_t n = 0;
    if (!*text)
        return ERR_INVALID;
    for (; *text; text++) {
        unsigned digit = (unsigned)(unsigned char)*text - '0';
        if (digit >= DECIMAL || n > (UINT64_MAX - digit) / DECIMAL)
            return ERR_INVALID;
        n = n * DECIMAL + digit;
    }
    *ret = n;
    return 0;
}

static const char *skip(const char *path, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(path, prefix, n) == 0 ? path + n : path;
}

int ctl_parse_path(const char *text, struct ctl_path *ret, struct why *why)
{
    struct ctl_path p = {.rest = skip(text, "/")};
    if (strncmp(p.rest, "share", 5) == 0 && (p.rest[5] == 0 || p.rest[5] == '/')) {
        for (const char *s = p.rest; s; s = strchr(s, '/') ? strchr(s, '/') + 1 : NULL)
            if (strncmp(s, "..", 2) == 0 && (s[2] == 0 || s[2] == '/'))
                return why_set(why, ERR_INVALID, "'%.200s': '..' is not known here", text);
        p.is_share = true;
        *ret = p;
        return 0;
    }
    p.rest = skip(p.rest, "ipfs/");
    size_t n = strcspn(p.rest, "/");
    if (n == 0)
        return why_set(why, ERR_INVALID, "the path '%.200s' names no CID", text);
    int r = cid_from_text(span_of(p.rest, n), &p.root, why);
    if (r < 0)
        return ERR_INVALID; /* whatever is wrong with it: what was asked makes no sense */
    p.rest += n;
    *ret = p;
    return 0;
}

int ctl_parse_upload(const char *rest, uint64_t *ret_id, const char **ret_op)
{
    char digits[24]; /* more than the longest number has */
    size_t n = strcspn(rest, "/");
    if (n >= sizeof digits)
        return ERR_INVALID;
    memcpy(digits, rest, n);
    digits[n] = 0;
    int r = ctl_parse_u64(digits, ret_id);
    if (r < 0)
        return r;
    *ret_op = rest[n] ? rest + n + 1 : rest + n;
    return 0;
}

/* ---- orders ---- */

static const struct {
    const char *word, *operands, *help;
    unsigned least, most; /* operands */
} table[ORDER_COUNT] = {
#define X(verb, word, operands, help, least, most) [ORDER_##verb] = {word, operands, help, least, most},
    ORDERS(X)
#undef X
};

void ctl_order_help(struct buf *out)
{
    buf_add_str(out, "# command\toperands\tmeaning\n");
    for (size_t i = 0; i < ORDER_COUNT; i++)
        buf_printf(out, "%s\t%s\t%s\n", table[i].word, table[i].operands, table[i].help);
}

int ctl_parse_order(char *line, struct order_line *ret, struct why *why)
{
    struct order_line o = {.count = 0};
    unsigned words = 0, verb = 0;
    if (strlen(line) > ORDER_LINE_MAX)
        return why_set(why, ERR_INVALID, "the line is longer than %d bytes", ORDER_LINE_MAX);
    for (char *save = NULL, *w = strtok_r(line, " \t\n", &save); w; w = strtok_r(NULL, " \t\n", &save), words++)
        if (words < ORDER_WORDS)
            o.words[o.count++] = w;
    if (words == 0)
        return why_set(why, ERR_INVALID, "the line is empty");
    while (verb < ORDER_COUNT && strcmp(table[verb].word, o.words[0]) != 0)
        verb++;
    if (verb == ORDER_COUNT)
        return why_set(why, ERR_INVALID, "there is no command '%.60s'", o.words[0]);
    if (words - 1 < table[verb].least || words - 1 > table[verb].most)
        return why_set(why, ERR_INVALID, "the command is: %s%s%s", table[verb].word, *table[verb].operands ? " " : "",
                       table[verb].operands);
    o.verb = (enum order_verb)verb;
    *ret = o;
    return 0;
}
