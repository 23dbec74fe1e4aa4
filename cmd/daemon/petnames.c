/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/petnames.h"

#include "store/repo/repo.h"

#include <assert.h>
#include <stdlib.h>

#define FILE_MAX (UINT32_C(1) << 20)

struct petname {
    char name[PETNAME_MAX + 1];
    struct peer_id id;
};

struct petnames {
    char *path;
    struct petname *rows; /* room for PETNAMES_MAX: its pages exist when they are used, and no name needs a larger piece */
    unsigned count;
};

static int check_name(struct span name, struct why *why)
{
    struct peer_id id;
    bool bad = name.len == 0 || name.len > PETNAME_MAX || name.data[0] == '.';
    for (size_t i = 0; i < name.len && !bad; i++)
        bad = name.data[i] <= 0x20 || name.data[i] == 0x7f || name.data[i] == '/';
    if (bad)
        return why_set(why, ERR_INVALID,
                       "'%.*s' cannot be a name: 1 to %d bytes, no blanks, '/' or control characters, no dot in front",
                       (int)(name.len > 80 ? 80 : name.len), (const char *)name.data, PETNAME_MAX);
    if (peer_id_from_text(name, &id, NULL) == 0)
        return why_set(why, ERR_INVALID, "a peer id cannot be a name");
    return 0;
}

static void put(struct petnames *p, struct span name, const struct peer_id *id)
{
    assert(p->count < PETNAMES_MAX);
    struct petname *row = &p->rows[p->count++];
    memset(row, 0, sizeof *row);
    memcpy(row->name, name.data, name.len);
    row->id = *id;
}

static int parse_line(struct petnames *p, struct span line, unsigned number, struct why *why)
{
    struct peer_id id;
    struct why inner = {""};
    const uint8_t *tab = line.len ? memchr(line.data, '\t', line.len) : NULL;
    struct span name = span_sub(line, 0, tab ? (size_t)(tab - line.data) : 0);
    if (!tab || check_name(name, &inner) < 0 || peer_id_from_text(span_from(line, name.len + 1), &id, &inner) < 0)
        return why_set(why, ERR_CORRUPT, "%s, line %u: not `name TAB peer id`%s%s", p->path, number, inner.text[0] ? ": " : "",
                       inner.text);
    if (p->count == PETNAMES_MAX)
        return why_set(why, ERR_CORRUPT, "%s, line %u: more than %d names", p->path, number, PETNAMES_MAX);
    put(p, name, &id);
    return 0;
}

static int parse(struct petnames *p, struct span text, struct why *why)
{
    unsigned number = 0;
    while (text.len) {
        const uint8_t *nl = memchr(text.data, '\n', text.len);
        size_t len = nl ? (size_t)(nl - text.data) : text.len;
        number++;
        int r = len ? parse_line(p, span_sub(text, 0, len), number, why) : 0;
        if (r < 0)
            return r;
        text = span_from(text, len + 1);
    }
    return 0;
}

int petnames_parse(struct petnames **ret, const char *path, struct span text, struct why *why)
{
    struct petnames *p = MEM_NEW(struct petnames);
    p->path = mem_str(path);
    p->rows = mem_new(PETNAMES_MAX * sizeof *p->rows);
    int r = parse(p, text, why);
    if (r < 0)
        petnames_free(p);
    else
        *ret = p;
    return r;
}

int petnames_open(struct petnames **ret, const char *path, struct why *why)
{
    struct buf text = BUF_INIT;
    int r = repo_read_file(path, FILE_MAX, &text, why);
    if (r == 0 || r == ERR_NOT_FOUND)
        r = petnames_parse(ret, path, buf_span(&text), why);
    buf_done(&text);
    return r;
}

struct petnames *petnames_free(struct petnames *p)
{
    if (!p)
        return NULL;
    free(p->rows);
    free(p->path);
    free(p);
    return NULL;
}

const char *petname_of(const struct petnames *p, const struct peer_id *id)
{
    for (unsigned i = 0; i < p->count; i++)
        if (peer_id_eq(&p->rows[i].id, id))
            return p->rows[i].name;
    return "";
}

bool petname_find(const struct petnames *p, const char *name, struct peer_id *ret)
{
    for (unsigned i = 0; i < p->count; i++)
        if (strcmp(p->rows[i].name, name) == 0) {
            *ret = p->rows[i].id;
            return true;
        }
    return false;
}

bool petname_at(const struct petnames *p, unsigned i, const char **ret_name, struct peer_id *ret)
{
    if (i >= p->count)
        return false;
    *ret_name = p->rows[i].name;
    *ret = p->rows[i].id;
    return true;
}

/* What naming `id` takes away: its other name, and the name from who had it; of no id the name alone. */
static bool is_dropped(const struct petname *row, const char *name, const struct peer_id *id)
{
    return strcmp(row->name, name) == 0 || (id && peer_id_eq(&row->id, id));
}

/* The file as it is going to be */
static int save(const struct petnames *p, const char *name, const struct peer_id *take, struct why *why)
{
    struct buf text = BUF_INIT;
    char id[PEER_ID_TEXT_SIZE];
    if (!buf_try_reserve(&text, (p->count + 1) * (PETNAME_MAX + PEER_ID_TEXT_SIZE + 2)))
        return why_set(why, ERR_NO_MEMORY, "no memory to write %s", p->path);
    for (unsigned i = 0; i < p->count; i++)
        if (!is_dropped(&p->rows[i], name, take))
            buf_printf(&text, "%s\t%s\n", p->rows[i].name, peer_id_text(&p->rows[i].id, id));
    if (take)
        buf_printf(&text, "%s\t%s\n", name, peer_id_text(take, id));
    struct span s = buf_span(&text);
    int r = repo_write_file(p->path, s.data, s.len, 0600, why);
    buf_done(&text);
    return r;
}

int petname_set(struct petnames *p, const char *name, const struct peer_id *id, struct why *why)
{
    int r = check_name(span_str(name), why);
    if (r == 0 && id && strcmp(name, "any") == 0) /* `allow any` means everybody, and must not look like one peer */
        r = why_set(why, ERR_INVALID, "'any' cannot be a name: it stands for every peer");
    if (r < 0)
        return r;
    unsigned kept = 0;
    for (unsigned i = 0; i < p->count; i++)
        kept += !is_dropped(&p->rows[i], name, id);
    if (id && kept >= PETNAMES_MAX)
        return why_set(why, ERR_LIMIT, "there are %d names already", PETNAMES_MAX);
    if (!id && kept == p->count)
        return why_set(why, ERR_NOT_FOUND, "there is no name '%.80s'", name);
    r = save(p, name, id, why);
    if (r < 0)
        return r;
    kept = 0;
    for (unsigned i = 0; i < p->count; i++)
        if (!is_dropped(&p->rows[i], name, id))
            p->rows[kept++] = p->rows[i];
    p->count = kept;
    if (id)
        put(p, span_str(name), id);
    return 0;
}
