/* SPDX-License-Identifier: MIT */
#include "cmd/daemon/petnames.h"

#include "store/repo/repo.h"

#include <stdlib.h>

#define FILE_MAX (UINT32_C(1) << 20)

struct petname {
    char name[PETNAME_MAX + 1];
    struct peer_id id;
};

struct petnames {
    char *path;
    struct petname *rows;
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
    p->rows = mem_grow(p->rows, p->count + 1, sizeof *p->rows);
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

int petnames_open(struct petnames **ret, const char *path, struct why *why)
{
    struct petnames *p = MEM_NEW(struct petnames);
    struct buf text = BUF_INIT;
    p->path = mem_str(path);
    int r = repo_read_file(path, FILE_MAX, &text, why);
    if (r == 0)
        r = parse(p, buf_span(&text), why);
    else if (r == ERR_NOT_FOUND)
        r = 0;
    buf_done(&text);
    if (r < 0)
        petnames_free(p);
    else
        *ret = p;
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

static int save(const struct petnames *p, struct why *why)
{
    struct buf text = BUF_INIT;
    char id[PEER_ID_TEXT_SIZE];
    for (unsigned i = 0; i < p->count; i++)
        buf_printf(&text, "%s\t%s\n", p->rows[i].name, peer_id_text(&p->rows[i].id, id));
    struct span s = buf_span(&text);
    int r = repo_write_file(p->path, s.data, s.len, 0600, why);
    buf_done(&text);
    return r;
}

/* Takes away rows with that name or that id; how many */
static unsigned drop(struct petnames *p, const char *name, const struct peer_id *id)
{
    unsigned kept = 0, before = p->count;
    for (unsigned i = 0; i < p->count; i++)
        if (strcmp(p->rows[i].name, name) != 0 && !(id && peer_id_eq(&p->rows[i].id, id)))
            p->rows[kept++] = p->rows[i];
    p->count = kept;
    return before - kept;
}

int petname_set(struct petnames *p, const char *name, const struct peer_id *id, struct why *why)
{
    int r = check_name(span_str(name), why);
    if (r == 0 && id && strcmp(name, "any") == 0) /* `allow any` means everybody, and must not look like one peer */
        r = why_set(why, ERR_INVALID, "'any' cannot be a name: it stands for every peer");
    if (r < 0)
        return r;
    struct petname *old = mem_copy(p->rows, p->count * sizeof *p->rows);
    unsigned old_count = p->count;
    unsigned dropped = drop(p, name, id);
    if (id && p->count >= PETNAMES_MAX)
        r = why_set(why, ERR_LIMIT, "there are %d names already", PETNAMES_MAX);
    else if (!id && !dropped)
        r = why_set(why, ERR_NOT_FOUND, "there is no name '%.80s'", name);
    else if (id)
        put(p, span_str(name), id);
    if (r == 0)
        r = save(p, why);
    if (r < 0) { /* as it was */
        free(p->rows);
        p->rows = old;
        p->count = old_count;
        return r;
    }
    free(old);
    return 0;
}
